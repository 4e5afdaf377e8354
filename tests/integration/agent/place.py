# SPDX-License-Identifier: Apache-2.0

"""A host made of namespaces: its own /etc, /var, names and processes.

What runs in it are the machine's own programs, so that usermod is usermod,
and nothing of the machine is changed by it. It needs root, as usermod does.
"""

from __future__ import annotations

from collections.abc import Sequence
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
from typing import Any
import uuid

import fixtures

#: The repository: what the agent is imported from.
ROOT = pathlib.Path(__file__).parents[3]
_COPIED = ('ld.so.cache', 'login.defs', 'localtime')
_PASSWD = """\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
sshd:x:99:65534::/run/sshd:/usr/sbin/nologin
nova:x:108:120::/var/lib/nova:/bin/sh
libvirt-qemu:x:112:124::/var/lib/libvirt:/usr/sbin/nologin
"""
_GROUP = """\
root:x:0:
daemon:x:1:
nogroup:x:65534:
nova:x:120:
libvirt:x:121:nova
kvm:x:124:
"""


class Place(fixtures.Fixture):
    """One such host.

    :param processes: whether it has processes of its own; with them, what it
        started ends with the command that started it
    """

    def __init__(self, name: str = 'c1', processes: bool = True) -> None:
        self.name = name
        self.processes = processes
        #: whether the agent is to believe that systemd runs
        self.systemd = False

    def _setUp(self) -> None:
        self.root = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.machine_id = uuid.uuid4().hex
        for folder in ('etc/nova', 'var/lib/nova', 'var/mail', 'var/lib/misc'):
            (self.root / folder).mkdir(parents=True)
        for folder in ('var/tmp', 'var/log', 'var/run', 'sbin'):
            (self.root / folder).mkdir()
        for name in _COPIED:
            if os.path.exists(f'/etc/{name}'):
                shutil.copy(f'/etc/{name}', self.root / 'etc' / name)
        self.write('etc/passwd', _PASSWD)
        self.write('etc/group', _GROUP)
        for name, source in (('shadow', _PASSWD), ('gshadow', _GROUP)):
            rest = ':*:19000:0:99999:7:::' if name == 'shadow' else ':!::'
            self.write(
                f'etc/{name}',
                ''.join(
                    line.partition(':')[0] + rest + '\n'
                    for line in source.splitlines()
                ),
            )
        self.write('etc/nsswitch.conf', 'passwd: files\ngroup: files\n')
        self.write('etc/machine-id', self.machine_id + '\n')
        self.write('etc/nova/nova.conf', f'[DEFAULT]\nhost = {self.name}\n')
        self.reboot()

    def reboot(self) -> None:
        """Another boot id; nothing is stopped."""
        self.write('boot_id', f'{uuid.uuid4()}\n')

    def write(self, name: str, text: str) -> pathlib.Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def program(self, name: str, script: str) -> None:
        """What the agent finds before the machine's own program."""
        self.write(f'sbin/{name}', f'#!/bin/sh\n{script}\n').chmod(0o755)

    def words(self, *words: str) -> list[str]:
        """The command that runs these words in this place."""
        flags = ['--mount', '--uts', '--propagation', 'private']
        if self.processes:
            flags += ['--pid', '--fork', '--mount-proc', '--kill-child']
        script = '\n'.join(
            [
                'set -e',
                f'mount --bind {self.root}/etc /etc',
                f'mount --bind {self.root}/var /var',
                f'mount --bind {self.root}/sbin /usr/local/sbin',
                f'mount --bind {self.root}/boot_id '
                '/proc/sys/kernel/random/boot_id',
                *(
                    [
                        'mount -t tmpfs none /run',
                        'mkdir -p /run/systemd/system',
                    ]
                    if self.systemd
                    else []
                ),
                # another library than libc may look at it
                f'hostname {shlex.quote(self.name)}',
                # not by exec: nobody can kill the first process from inside
                '"$@"; exit $?',
            ]
        )
        return ['unshare', *flags, 'sh', '-c', script, 'sh', *words]

    def run(self, *words: str, **more: Any) -> subprocess.CompletedProcess:
        """Run a program here, to its end."""
        return subprocess.run(
            self.words(*words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            env={
                **{
                    name: value
                    for name, value in os.environ.items()
                    # how much the tests cover is counted here too
                    if name == 'PATH' or name.startswith('COVERAGE_')
                },
                'PYTHONPATH': str(ROOT),
            },
            **more,
        )

    def shell(self, script: str) -> str:
        """What a shell script prints that must not fail."""
        done = self.run('sh', '-ec', script)
        if done.returncode:
            raise AssertionError(f'{script}: {done.stderr}')
        return done.stdout

    def agent(
        self, *words: str, python: str = sys.executable
    ) -> tuple[int, dict[str, Any]]:
        """The exit code of the agent here, and its last line."""
        return ended(self.run(*agent_words(words, python)))

    def refused(self, *words: str) -> str:
        """What the agent says to what it must not do."""
        code, line = self.agent(*words)
        if code != 3 or line['event'] != 'refused':
            raise AssertionError(f'{words}: {code} {line}')
        return str(line['text'])

    def account(self, name: str) -> tuple[int, str]:
        """The uid and the home of a user, as the file has it."""
        for line in (self.root / 'etc/passwd').read_text().splitlines():
            row = line.split(':')
            if row[0] == name:
                return int(row[2]), row[5]
        raise AssertionError(f'no {name}')

    def gid(self, name: str) -> int:
        for line in (self.root / 'etc/group').read_text().splitlines():
            row = line.split(':')
            if row[0] == name:
                return int(row[2])
        raise AssertionError(f'no {name}')


def agent_words(
    words: Sequence[str], python: str = sys.executable
) -> list[str]:
    return [python, '-m', 'nova_recovery.host.agent', *words]


def ended(done: subprocess.CompletedProcess) -> tuple[int, dict[str, Any]]:
    """Exit code and last line of an agent that has run."""
    lines = done.stdout.splitlines()
    if not lines:
        raise AssertionError(f'{done.args}: {done.stderr}')
    return done.returncode, json.loads(lines[-1])


def pythons() -> list[str]:
    """Every Python from 3.6 on that this machine has, one a release."""
    found = {}
    folders = os.environ['PATH'].split(os.pathsep)
    folders += map(str, pathlib.Path.home().glob('.pyenv/versions/*/bin'))
    for minor in range(6, 20):
        for folder in folders:
            path = os.path.join(folder, f'python3.{minor}')
            if os.access(path, os.X_OK) and '/shims' not in folder:
                found.setdefault(minor, path)
    return list(found.values()) or [sys.executable]
