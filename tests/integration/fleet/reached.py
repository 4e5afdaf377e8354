# SPDX-License-Identifier: Apache-2.0

"""Hosts that are reached by a real sshd, in a network of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import ctypes
import json
import os
import pathlib
import shlex
import subprocess
from typing import Any

import fixtures
from oslo_config import cfg

from nova_recovery import conf as conf_module
from nova_recovery.fleet.ansible import Transport
from nova_recovery.fleet.fleet import Fleet
from nova_recovery.host import zipapp
from tests.cloud import process
from tests.integration.agent import place

PORT = 2222
_CLONE_NEWNET = 0x40000000
_SSHD = """\
Port {port}
ListenAddress 0.0.0.0
HostKey {folder}/host_key
PidFile {folder}/sshd.pid
AuthorizedKeysFile /etc/user_key.pub
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
MaxStartups 500
MaxSessions 500
{more}
"""


class Network(fixtures.Fixture):
    """This thread, and what it starts, sees nothing but a loopback.

    All of 127.0.0.0/8 is there, so that each host has an address.
    """

    def _setUp(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        before = os.open('/proc/thread-self/ns/net', os.O_RDONLY)
        self.addCleanup(os.close, before)
        if libc.unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), 'unshare: it needs root')
        self.addCleanup(libc.setns, before, _CLONE_NEWNET)
        subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)


class Keys(fixtures.Fixture):
    """A folder with the keys of a server and of whoever logs in.

    :ivar more: variables for the inventory
    """

    def _setUp(self) -> None:
        self.more: dict[str, Any] = {}
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        for name in ('host_key', 'user_key'):
            subprocess.run(
                ['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', name],
                cwd=self.folder,
                check=True,
            )

    def variables(self) -> dict[str, Any]:
        """What an inventory says so that ssh can log in."""
        return {
            'ansible_port': PORT,
            'ansible_user': 'root',
            'ansible_ssh_private_key_file': f'{self.folder}/user_key',
            'ansible_ssh_common_args': (
                '-F none -o StrictHostKeyChecking=no '
                '-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR'
            ),
            **self.more,
        }


class Server(fixtures.Fixture):
    """An sshd in a place; without *hosts*, that place is what is reached.

    :param hosts: address -> the place that is reached there
    """

    def __init__(
        self,
        gate: place.Place,
        keys: Keys,
        hosts: Mapping[str, place.Place] | None = None,
    ) -> None:
        self.gate, self.keys, self.hosts = gate, keys, hosts

    def _setUp(self) -> None:
        folder = self.keys.folder
        # whoever logs in must be able to read it
        self.gate.write(
            'etc/user_key.pub', (folder / 'user_key.pub').read_text()
        )
        more = ''
        if self.hosts is not None:
            more = f'ForceCommand {self._enter(folder)}'
        config = folder / 'sshd_config'
        config.write_text(_SSHD.format(port=PORT, folder=folder, more=more))
        log = open(folder / 'sshd.log', 'ab')  # noqa: SIM115
        self.addCleanup(log.close)
        self.sshd = subprocess.Popen(
            self.gate.words(
                'sh',
                '-c',
                'mount -t tmpfs none /run; mkdir /run/sshd; '
                f'exec /usr/sbin/sshd -D -e -f {config}',
            ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        self.addCleanup(self.stop)
        process.wait_for(
            lambda: process.listens(PORT), 20, 'sshd', interval=0.05
        )

    def stop(self) -> None:
        """End it, each connection, and what runs in the places."""
        self.sshd.kill()
        self.sshd.wait()

    def _enter(self, folder: pathlib.Path) -> pathlib.Path:
        """The program that goes on in the place of the address."""
        lines = [
            '#!/bin/sh',
            'set -- $SSH_CONNECTION',
            f'echo $3 >> {folder}/entered',
            'cat /etc/noise 2> /dev/null',
            'case $3 in',
        ]
        for address, host in (self.hosts or {}).items():
            words = host.words('sh', '-c', 'COMMAND')
            typed = shlex.join(words).replace(
                ' COMMAND', ' "$SSH_ORIGINAL_COMMAND"'
            )
            lines.append(f'{address}) exec {typed} ;;')
        lines += ['esac', 'exit 1']
        path = folder / 'enter'
        path.write_text('\n'.join(lines) + '\n')
        path.chmod(0o755)
        return path


class Hosts(fixtures.Fixture):
    """So many compute hosts, c1, c2 and on, behind one sshd.

    :param agent: whether they have the agent already
    :ivar places: by name
    """

    def __init__(self, count: int, agent: bool = True) -> None:
        self.count, self.agent = count, agent

    def _setUp(self) -> None:
        self.useFixture(Network())
        self.keys = self.useFixture(Keys())
        # all that is run there ends with it
        self.gate = self.useFixture(place.Place('gate'))
        self.places = {}
        self.addresses = {}
        for number in range(1, self.count + 1):
            name = f'c{number}'
            self.places[name] = self.useFixture(
                place.Place(name, processes=False)
            )
            self.addresses[name] = f'127.0.1.{number}'
            if self.agent:
                put_agent(self.places[name])
        self.inventory(
            {n: {'ansible_host': a} for n, a in self.addresses.items()}
        )
        self.server = self.useFixture(
            Server(
                self.gate,
                self.keys,
                {a: self.places[n] for n, a in self.addresses.items()},
            )
        )

    def inventory(
        self,
        hosts: Mapping[str, Mapping[str, Any]],
        groups: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Write the operator's inventory anew."""
        self.path = self.keys.folder / 'inventory.json'
        children = {
            group: {'hosts': {name: {} for name in names}}
            for group, names in (groups or {}).items()
        }
        self.path.write_text(
            json.dumps(
                {
                    'all': {
                        'vars': self.keys.variables(),
                        'hosts': hosts,
                        'children': children,
                    }
                }
            )
        )

    def conf(self, **fleet: Any) -> cfg.ConfigOpts:
        return options(
            inventory=[str(self.path)],
            ansible_playbook=os.environ.get('NOVA_RECOVERY_TEST_ANSIBLE'),
            **fleet,
        )

    def fleet(
        self, mapped: Mapping[str, str] | None = None, **options: Any
    ) -> Fleet:
        conf = self.conf(**options)
        return Fleet(
            Transport(conf), mapped or {}, conf.fleet.home, conf.fleet.timeout
        )

    def entered(self) -> list[str]:
        """The addresses at which a command was run so far, in order."""
        path = self.keys.folder / 'entered'
        return path.read_text().split() if path.exists() else []


def put_agent(host: place.Place) -> None:
    agent = zipapp.agent()
    path = host.write(f'var/lib/nova-recovery/{agent.name}', '')
    path.write_bytes(agent.content)


def options(**fleet: Any) -> cfg.ConfigOpts:
    """Options as a file would give them."""
    conf = conf_module.load([])
    for name, value in fleet.items():
        conf.set_override(name, value, group='fleet')
    return conf
