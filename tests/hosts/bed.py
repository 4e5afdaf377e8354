# SPDX-License-Identifier: Apache-2.0

"""One compute host: what a test does to it, by the hand of God."""

from __future__ import annotations

import json
import pathlib
import subprocess
from typing import Any, TYPE_CHECKING

from tests.cloud import process
from tests.cloud.process import CloudError
from tests.hosts import cgroups
from tests.hosts.guest import Guest
from tests.hosts.packages import BedError

if TYPE_CHECKING:
    from tests.hosts.beds import Beds

_ENVIRONMENT = {
    'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    'HOME': '/root',
    'LANG': 'C.UTF-8',
}


class Host:
    """Something on the switch of the beds that answers to ssh.

    :ivar name: its hostname, its nova host, its name for Ansible and ssh
    :ivar address: in the network of the beds
    :ivar port: of the switch, where its cable is
    """

    def __init__(self, beds: Beds, name: str, address: str, port: str) -> None:
        self.beds = beds
        self.name = name
        self.address = address
        self.port = port

    def __repr__(self) -> str:
        return f'<{self.name} {self.address}>'

    def ssh(
        self, *argv: str, user: str = 'root', timeout: int = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run a command over ssh, as an operator would; 255: no way to it."""
        return subprocess.run(
            [
                'ssh',
                '-F',
                str(self.beds.ssh_config),
                '-o',
                'BatchMode=yes',
                f'{user}@{self.name}',
                *argv,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def answers(self) -> bool:
        """Return whether a login over ssh ends well."""
        return self.ssh('true', timeout=60).returncode == 0

    def cut_network(self) -> None:
        """Pull its cable; it runs on, and no connection is closed."""
        self.beds.run('ip', 'link', 'set', self.port, 'down')

    def mend_network(self) -> None:
        """Plug its cable in again."""
        self.beds.run('ip', 'link', 'set', self.port, 'up')


class Bed(Host):
    """A compute host in a container."""

    def __init__(self, beds: Beds, plan: dict[str, Any]) -> None:
        super().__init__(beds, plan['name'], plan['address'], plan['port'])
        self._directory = beds.directory / self.name
        self._leader: tuple[int, int] | None = None

    @property
    def root(self) -> pathlib.Path:
        """Its root tree as it is seen from outside, whether it is on or not.

        Without its /run, /tmp, /proc. Links in it that begin with a slash
        lead out of it.
        """
        inside = self._directory / 'root'
        return pathlib.Path(f'/proc/{self.beds.pid}/root{inside}')

    # what runs in it

    def run(
        self,
        *argv: str,
        input: str | None = None,
        check: bool = True,
        timeout: int = 60,
    ) -> str:
        """Run a program as root in it, not over its network.

        :returns: what it printed
        :raises BedError: the host is off; or it failed, unless *check* is
            false
        """
        done = self.ran(*argv, input=input, timeout=timeout)
        if check and done.returncode != 0:
            raise BedError(
                f'{self.name}: {" ".join(argv)}: {done.returncode}\n'
                f'{done.stdout[-2000:]}{done.stderr[-2000:]}'
            )
        return done.stdout

    def ran(
        self, *argv: str, input: str | None = None, timeout: int = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as root in it; return how it ended (124: too late)."""
        enter = [
            *('nsenter', f'--target={self.leader()}', '--mount', '--uts'),
            *('--ipc', '--net', '--pid', '--cgroup', '--root', '--wd'),
            # what is started inside is also ended inside
            *('timeout', '--kill-after=2', str(timeout)),
        ]
        return subprocess.run(
            [*enter, *argv],
            input=input or '',
            capture_output=True,
            text=True,
            env=_ENVIRONMENT,
            cwd='/',
        )

    def read(self, path: str) -> str:
        """Return what a file has."""
        return self.run('cat', path)

    def write(
        self, path: str, text: str, mode: int = 0o644, owner: str = 'root'
    ) -> None:
        """Write a file, with the directories above it.

        :param owner: the user; the group is its own
        """
        group = self.run('id', '--group', owner).strip()
        self.run(
            'install',
            '-D',
            f'--mode={mode:o}',
            f'--owner={owner}',
            f'--group={group}',
            '/dev/stdin',
            path,
            input=text,
        )

    def leader(self) -> int:
        """Return the pid of its systemd, as this machine has it.

        :raises BedError: the host is off
        """
        boots = self.state()['boots']
        if self._leader is not None and self._leader[0] == boots:
            if process.start_time(self._leader[1]):
                return self._leader[1]
        for pid in cgroups.members(f'{self.beds.group}/{self.name}'):
            numbers = _numbers(pid)
            # first in a namespace below that of the keeper
            if numbers[-1:] == [1] and len(numbers) >= 3:
                self._leader = (boots, pid)
                return pid
        raise BedError(f'{self.name} is off')

    # its power

    def state(self) -> dict[str, Any]:
        """Return whether it is ``on`` and ``ready``, and its ``boots``."""
        try:
            text = (self._directory / 'state').read_text()
        except FileNotFoundError:
            return {'on': False, 'ready': False, 'boots': 0}
        return json.loads(text)

    def boot_id(self) -> str:
        """Return the number of its present boot."""
        return self.read('/proc/sys/kernel/random/boot_id').strip()

    def reboot(self) -> None:
        """Reboot it from inside; return when it has booted."""
        boots = self.state()['boots']
        self.run('systemctl', 'reboot')
        self.wait_booted(boots + 1)

    def power_cut(self) -> None:
        """End all that runs on it at once; it stays off.

        What it had written stays written, also what was not synced.
        """
        (self._directory / 'power').unlink(missing_ok=True)
        process.wait_for(
            lambda: not self.state()['on'], 15, f'{self.name} to be off', 0.02
        )

    def power_on(self) -> None:
        """Switch it on; return when it has booted."""
        boots = self.state()['boots']
        (self._directory / 'power').touch()
        self.wait_booted(boots + 1)

    def wait_booted(self, times: int, seconds: float = 60) -> None:
        """Wait until it has booted for the nth time.

        :raises BedError: it doesn't; with what its console says
        """

        def booted() -> bool:
            self.beds.check()
            state = self.state()
            return state['ready'] and state['boots'] >= times

        try:
            process.wait_for(booted, seconds, f'{self.name} to boot', 0.03)
        except CloudError as error:
            raise BedError(f'{error}\n{self._console()}') from error

    def _console(self) -> str:
        try:
            text = (self._directory / 'console').read_text(errors='replace')
        except FileNotFoundError:
            return ''
        return text[-2000:]

    # what it has

    def guest(self, number: int = 1, **kinds: str) -> Guest:
        """Define a tiny guest on it; nothing is started yet.

        :param kinds: see :class:`tests.hosts.guest.Guest`
        """
        return Guest(self, number, **kinds)

    def mount(
        self, source: pathlib.Path, path: str, read_only: bool = False
    ) -> None:
        """Mount a directory of this machine; it stays over reboots.

        It can be done whether the host is on or not.

        :param path: where; no part of it is a link
        """
        target = self._directory / 'root' / path.lstrip('/')
        self.beds.run('mkdir', '--parents', str(target))
        bind = ('mount', '--bind')
        if not read_only:
            self.beds.run(*bind, str(source), str(target))
            return
        # the host gets the mount as it is made, not what is changed later
        stage = '/run/stage'
        self.beds.run('mkdir', '--parents', stage)
        self.beds.run(*bind, '-o', 'ro', str(source), stage)
        self.beds.run(*bind, stage, str(target))
        self.beds.run('umount', stage)

    def unmount(self, path: str) -> None:
        """Take away what was mounted, whoever uses it."""
        target = self._directory / 'root' / path.lstrip('/')
        self.beds.run('umount', '--lazy', str(target))


def _numbers(pid: int) -> list[int]:
    """Return the numbers of a process, the innermost namespace's last."""
    try:
        status = pathlib.Path(f'/proc/{pid}/status').read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    line = next(it for it in status.splitlines() if it.startswith('NSpid:'))
    return [int(number) for number in line.split()[1:]]
