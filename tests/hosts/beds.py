# SPDX-License-Identifier: Apache-2.0

"""Compute hosts for tests: made in seconds, gone with whoever made them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import types
import uuid

from tests.cloud import process
from tests.cloud.process import CloudError
from tests.hosts import cgroups, keeper, packages, tree
from tests.hosts import machine as machine_module
from tests.hosts.bed import Bed
from tests.hosts.machine import Machine
from tests.hosts.packages import BedError

_HERE = pathlib.Path(__file__).parent
_NETWORK = '10.78.0'
#: Seconds for all hosts to boot on a busy machine.
_BOOT = 90
#: What outlives the keeper when it is killed bears this name.
_GROUP = 'nova-recovery-{}'


class Beds:
    """Some compute hosts on one switch, in a network of their own.

    Nothing leads from there to the outside. They are gone with the process
    that made them, except those that are to stand.

    :ivar directory: their keys, ssh's configuration, their disks
    :ivar hosts: the beds, compute1 first
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        plan = json.loads((directory / 'plan').read_text())
        self.group: str = plan['group']
        if not _alive(directory):
            raise BedError(f'no beds are up in {directory}')
        self.pid, self._started = _remembered(directory)
        self.tree = pathlib.Path(plan['tree'])
        self.hosts = [Bed(self, host) for host in plan['hosts']]
        self.machines: list[Machine] = []
        self._keeper: subprocess.Popen[bytes] | None = None
        self._spawned: list[subprocess.Popen[bytes]] = []

    @classmethod
    def up(cls, count: int = 3, stand: bool = False) -> Beds:
        """Make beds; return when they have booted.

        :param count: how many
        :param stand: they outlive this process, until somebody says down
        :raises BedError: one doesn't boot; none is left
        """
        root = tree.build()
        state = tree.state_directory()
        with tree.locked(state / 'lock'):
            _sweep(state)
            directory = pathlib.Path(tempfile.mkdtemp('', 'beds-', state))
            directory.chmod(0o755)
            started = _start(directory, _plan(directory, root, count), stand)
        beds = cls(directory)
        beds._keeper = started
        beds._write_ssh_config()
        try:
            process.wait_for(beds._made, _BOOT, 'the keeper', 0.01)
            for host in beds:
                host.wait_booted(1, _BOOT)
        except BaseException:
            beds.down()
            raise
        return beds

    @classmethod
    def find(cls) -> Beds | None:
        """Return the beds that stand, if any do."""
        for directory in tree.state_directory().glob('beds-*'):
            if (directory / 'stand').exists() and _alive(directory):
                return cls(directory)
        return None

    def down(self) -> None:
        """End all hosts and leave nothing of them behind."""
        (self.directory / 'wanted').unlink(missing_ok=True)
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.close()
        try:
            process.wait_for(self.ended, 15, 'the end of the beds', 0.02)
        except CloudError:
            # the kernel ends all that is below it
            os.kill(self.pid, signal.SIGKILL)
            process.wait_for(self.ended, 10, 'the end of the beds', 0.02)
        for one in self._spawned:
            one.wait(10)
        sweep()

    def _made(self) -> bool:
        self.check()
        return (self.directory / 'made').exists()

    def check(self) -> None:
        """Ask whether they are there.

        :raises BedError: they have ended; with the keeper's last words
        """
        if self.ended():
            log = (self.directory / 'keeper.log').read_text(errors='replace')
            raise BedError(f'the beds have ended\n{log[-2000:]}')

    def ended(self) -> bool:
        """Return whether all that ran for them has ended."""
        if self._keeper is not None:
            self._keeper.poll()
        return process.start_time(self.pid) != self._started

    def __enter__(self) -> Beds:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.down()

    def __iter__(self) -> Iterator[Bed]:
        return iter(self.hosts)

    def __getitem__(self, name: str) -> Bed:
        """Return the bed of a name.

        :raises BedError: there is none
        """
        for host in self.hosts:
            if host.name == name:
                return host
        raise BedError(f'there is no bed {name}')

    @property
    def key(self) -> pathlib.Path:
        """The private key of root, stack and nova on each host."""
        return self.directory / 'key'

    @property
    def ssh_config(self) -> pathlib.Path:
        """For ``ssh -F``: it leads from anywhere into the beds' network."""
        return self.directory / 'ssh_config'

    def _write_ssh_config(self) -> None:
        addresses = ''.join(
            f'Host {host.name}\n  HostName {host.address}\n'
            for host in [*self.hosts, *self.machines]
        )
        connect = f'{sys.executable} -IS {_HERE}/connect.py'
        # an emulated machine may need a while for an answer
        text = f"""{addresses}
Host iscsi*
  ConnectTimeout 30
  ServerAliveCountMax 15
Host compute* iscsi* {_NETWORK}.*
  User root
  IdentityFile {self.key}
  IdentitiesOnly yes
  UserKnownHostsFile {self.directory}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  LogLevel ERROR
  ConnectTimeout 10
  ServerAliveInterval 2
  ServerAliveCountMax 3
  ProxyCommand {connect} /proc/{self.pid}/ns/net %h %p
  ProxyUseFdpass yes
"""
        self.ssh_config.write_text(text)

    def inventory(self, user: str = 'root') -> pathlib.Path:
        """Return an inventory of Ansible with the hosts and the way to them.

        :param user: root, or stack, who is in the group sudo with the
            password "practice"
        """
        path = self.directory / f'inventory-{user}.ini'
        lines = [
            f'{host.name} ansible_host={host.name}'
            for host in [*self.hosts, *self.machines]
        ]
        path.write_text(
            '[compute]\n' + '\n'.join(lines) + '\n\n[compute:vars]\n'
            f'ansible_user={user}\n'
            f'ansible_ssh_common_args=-F {self.ssh_config}\n'
            'ansible_python_interpreter=/usr/bin/python3\n'
        )
        return path

    def enter(self, *argv: str) -> list[str]:
        """Return the command that runs a program in the beds' network."""
        return ['nsenter', f'--net=/proc/{self.pid}/ns/net', '--', *argv]

    def run(self, *argv: str) -> str:
        """Run a program at the switch: in the beds' network and mounts.

        :returns: what it printed
        :raises BedError: it failed
        """
        return packages.run(*self._inside(), '--', *argv)

    def _inside(self) -> list[str]:
        return [
            *('nsenter', f'--target={self.pid}', '--net', '--mount'),
            # the process that all hosts live below is not in it itself
            f'--pid=/proc/{self.pid}/ns/pid_for_children',
        ]

    def spawn(
        self, group: str, directory: pathlib.Path, argv: list[str]
    ) -> None:
        """Start a program at the switch that runs until the beds are gone.

        :param group: the control group that it is to be in
        :param directory: where it runs; its output is there in ``log``
        """
        with open(directory / 'log', 'ab') as log:
            started = subprocess.Popen(
                [*self._inside(), f'--wd={directory}', '--', *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=process.clean_environment(),
                start_new_session=True,
                preexec_fn=lambda: cgroups.enter(group),
            )
        self._spawned.append(started)

    def machine(self) -> Machine:
        """Add a whole machine that has iSCSI; return when it answers.

        :raises BedError: it doesn't
        """
        image = machine_module.build(self.tree)
        machine = Machine(self, len(self.machines) + 1)
        machine.wake(image / 'disk.qcow2')
        self.machines.append(machine)
        self._write_ssh_config()
        process.wait_for(machine.answers, 90, f'{machine.name} to answer')
        return machine

    def share(self, path: str, hosts: Iterable[Bed] = ()) -> pathlib.Path:
        """Mount one new directory on several hosts, as shared storage is.

        It belongs to nova, as the first host has it.

        :param path: where, on each
        :param hosts: on which; all without
        :returns: the directory as it is seen from outside
        """
        chosen = list(hosts) or self.hosts
        shared = self.directory / 'shared'
        shared.mkdir(exist_ok=True)
        source = pathlib.Path(tempfile.mkdtemp('', 'export-', shared))
        source.chmod(0o755)
        for host in chosen:
            host.mount(source, path)
        chosen[0].run('chown', 'nova:nova', path)
        return source


def sweep() -> None:
    """Remove what is left of beds whose keeper is gone."""
    state = tree.state_directory()
    if state.exists():
        with tree.locked(state / 'lock'):
            _sweep(state)


def _sweep(state: pathlib.Path) -> None:
    for directory in state.glob('beds-*'):
        if not _alive(directory):
            keeper.discard(directory, _GROUP.format(directory.name))


def _alive(directory: pathlib.Path) -> bool:
    """Return whether the process is there that beds live and die with."""
    try:
        pid, started = _remembered(directory)
    except FileNotFoundError:
        return False
    return process.start_time(pid) == started


def _remembered(directory: pathlib.Path) -> tuple[int, str]:
    """Return the pid of that process and when it started."""
    pid, started = (directory / 'pid').read_text().split()
    return int(pid), started


def _plan(
    directory: pathlib.Path, root: pathlib.Path, count: int
) -> dict[str, object]:
    """Return what the keeper is to make, with the keys in it."""
    known = []
    hosts = []
    public = _new_key(directory / 'key')
    for number in range(1, count + 1):
        name, address = f'compute{number}', f'{_NETWORK}.{10 + number}'
        (directory / name).mkdir()
        (directory / name / 'power').touch()
        host_key = directory / name / 'ssh_host_ed25519_key'
        known.append(f'{name},{address} {_new_key(host_key)}')
        files = {
            'etc/hostname': (0o644, f'{name}\n'),
            'etc/hosts': (0o644, f'127.0.0.1 localhost\n{address} {name}\n'),
            'etc/machine-id': (0o444, f'{uuid.uuid4().hex}\n'),
            'etc/nova/nova.conf': (0o644, _nova_conf(name, address)),
            'etc/ssh/authorized_keys': (0o644, public),
            'etc/ssh/ssh_host_ed25519_key': (0o600, host_key.read_text()),
        }
        hosts.append(
            {
                'name': name,
                'address': address,
                'port': f'host{number}',
                'files': files,
            }
        )
    (directory / 'known_hosts').write_text(''.join(known))
    return {
        'group': _GROUP.format(directory.name),
        'tree': str(root),
        'switch': f'{_NETWORK}.1',
        'hosts': hosts,
    }


def _new_key(path: pathlib.Path) -> str:
    packages.run(
        'ssh-keygen',
        '-q',
        '-t',
        'ed25519',
        '-N',
        '',
        '-C',
        'beds',
        '-f',
        str(path),
    )
    return path.with_name(f'{path.name}.pub').read_text()


def _nova_conf(name: str, address: str) -> str:
    return (
        f'[DEFAULT]\nhost = {name}\nmy_ip = {address}\n'
        'state_path = /var/lib/nova\n'
        'instances_path = $state_path/instances\n\n'
        '[libvirt]\nvirt_type = qemu\n\n'
        f'[vnc]\nserver_listen = {address}\n'
    )


def _start(
    directory: pathlib.Path, plan: dict[str, object], stand: bool
) -> subprocess.Popen[bytes]:
    keeper.write(directory / 'plan', json.dumps(plan), 0o600)
    (directory / 'wanted').touch()
    if stand:
        (directory / 'stand').touch()
    with open(directory / 'keeper.log', 'wb') as log:
        started = subprocess.Popen(
            [
                *('unshare', '--mount', '--net', '--pid', '--fork'),
                *('--kill-child', '--mount-proc', '--'),
                *(sys.executable, '-m', 'tests.hosts.keeper', str(directory)),
            ],
            stdin=subprocess.DEVNULL if stand else subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=_HERE.parent.parent,
            env=process.clean_environment(),
            start_new_session=True,
        )
    pid = started.pid
    keeper.write(directory / 'pid', f'{pid} {process.start_time(pid)}\n')
    return started
