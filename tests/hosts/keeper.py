# SPDX-License-Identifier: Apache-2.0

"""The process that the beds live and die with.

It is the first of a process namespace, with mounts and a network of its own:
whatever ends it, by the kernel's hand no process, mount or network of a bed
is left. Only control groups and files can be; ``beds.sweep`` removes those.

    unshare --mount --net --pid ... python -m tests.hosts.keeper DIRECTORY

It ends when somebody removes the file ``wanted``, or when its standard input
does where that is a pipe: the test that made it is gone. A host is on as long
as its file ``power`` is there; ``state`` tells how it is.
"""

from __future__ import annotations

import json
import os
import pathlib
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from typing import Any

from tests.hosts import cgroups
from tests.hosts.packages import BedError, run

#: How often it looks whether somebody wants something else, in seconds.
_LOOK = 0.03
#: systemd-nspawn with --keep-unit: the host wants to boot again.
_REBOOT = 133
_PREFIX = 24


def write(path: pathlib.Path, text: str, mode: int = 0o644) -> None:
    """Replace a file as a whole: nobody sees a half of it."""
    with tempfile.NamedTemporaryFile(
        'w', dir=path.parent, delete=False
    ) as file:
        file.write(text)
        os.fchmod(file.fileno(), mode)
    os.rename(file.name, path)


def _ip(words: str) -> None:
    run('ip', *words.split())


class Host:
    """One bed: an overlay, a network namespace and systemd-nspawn."""

    def __init__(
        self, directory: pathlib.Path, group: str, plan: dict[str, Any]
    ) -> None:
        self.name = plan['name']
        self.directory = directory / self.name
        self.root = self.directory / 'root'
        self.layers = self.directory / 'layers'
        self.group = f'{group}/{self.name}'
        self.plan = plan
        self.boots = 0
        self.ready = False
        self.process: subprocess.Popen[bytes] | None = None
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def make(self, tree: str) -> None:
        """Make what lasts over reboots."""
        self.root.mkdir()
        self.layers.mkdir()
        if run('stat', '-f', '-c', '%T', tree).strip() == 'overlayfs':
            # no overlay takes what is written on another one
            run('mount', '-t', 'tmpfs', 'tmpfs', str(self.layers))
        upper, work = self.layers / 'upper', self.layers / 'work'
        upper.mkdir()
        work.mkdir()
        options = f'lowerdir={tree},upperdir={upper},workdir={work}'
        run('mount', '-t', 'overlay', 'overlay', '-o', options, str(self.root))
        # what is mounted in it from here later is seen by the host too
        run('mount', '--make-shared', str(self.root))
        for name, (mode, text) in self.plan['files'].items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, text, mode)
        self.notified.bind(f'/run/notify-{self.name}')
        port, name = self.plan['port'], self.name
        _ip(f'netns add {name}')
        _ip(f'link add {port} type veth peer eth0 netns {name}')
        _ip(f'link set {port} master hosts up')
        _ip(f'-netns {name} link set lo up')
        _ip(f'-netns {name} link set eth0 up')
        address = f'{self.plan["address"]}/{_PREFIX}'
        _ip(f'-netns {name} address add {address} dev eth0')

    def start(self) -> None:
        """Start it; the notification tells when it has booted."""
        cgroups.create(self.group)
        network = f'/run/netns/{self.name}'
        argv = [
            # from there: its /sys is of the network it was started in
            *('nsenter', f'--net={network}', '--'),
            *('systemd-nspawn', '--quiet', '--boot'),
            f'--directory={self.root}',
            f'--machine={self.name}',
            *('--register=no', '--keep-unit', '--link-journal=no'),
            *('--resolv-conf=off', '--timezone=off', '--notify-ready=yes'),
            *('--console=pipe', '--kill-signal=SIGRTMIN+3'),
            f'--network-namespace-path={network}',
            # its guests have taps
            *('--bind=/dev/net/tun', '--capability=CAP_NET_ADMIN'),
        ]
        with open(self.directory / 'console', 'ab') as console:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={
                    'PATH': '/usr/sbin:/usr/bin:/sbin:/bin',
                    'NOTIFY_SOCKET': f'/run/notify-{self.name}',
                },
                preexec_fn=lambda: cgroups.enter(self.group),
            )
        self.boots += 1
        self.ready = False
        self.tell()

    def stop(self) -> None:
        """End all of it at once, as a power cut does."""
        cgroups.kill(self.group)

    def hear(self) -> None:
        """Take a notification of systemd-nspawn, see sd_notify(3)."""
        words = self.notified.recv(4096).decode().split('\n')
        if 'READY=1' in words:
            self.ready = True
            self.tell()

    def ended(self, code: int) -> None:
        """Its process has ended: it boots again, or its power is off."""
        self.process = None
        self.ready = False
        cgroups.kill(self.group)
        cgroups.remove(self.group)
        if code != _REBOOT:
            (self.directory / 'power').unlink(missing_ok=True)
        self.tell()

    def look(self) -> None:
        """Make it as its power switch says."""
        wanted = (self.directory / 'power').exists()
        if wanted and self.process is None:
            self.start()
        elif not wanted and self.process is not None:
            self.stop()

    def tell(self) -> None:
        """Write how it is."""
        on = self.process is not None
        state = {'on': on, 'ready': self.ready, 'boots': self.boots}
        write(self.directory / 'state', json.dumps(state))


class Keeper:
    """All beds of one directory."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.plan = json.loads((directory / 'plan').read_text())
        self.group = self.plan['group']
        self.hosts = [
            Host(directory, self.group, host) for host in self.plan['hosts']
        ]

    def make(self) -> None:
        """Make the switch that all hosts are connected to, and the hosts."""
        # locks of systemd-nspawn, names of network namespaces
        run('mount', '-t', 'tmpfs', 'tmpfs', '/run')
        _ip('link set lo up')
        _ip('link add hosts type bridge')
        _ip('link set hosts up')
        _ip(f'address add {self.plan["switch"]}/{_PREFIX} dev hosts')
        for host in self.hosts:
            host.make(self.plan['tree'])
        (self.directory / 'made').touch()

    def keep(self) -> None:
        """Look after the hosts until nobody wants them."""
        heard = {host.notified.fileno(): host for host in self.hosts}
        is_pipe = stat.S_ISFIFO(os.fstat(0).st_mode)
        lifeline = [0] if is_pipe else []
        while (self.directory / 'wanted').exists():
            for host in self.hosts:
                host.look()
            ready, _, _ = select.select([*lifeline, *heard], [], [], _LOOK)
            if 0 in ready:
                return
            for one in ready:
                heard[one].hear()
            self._reap()

    def _reap(self) -> None:
        """Take the status of children, and of orphans as the first does."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for host in self.hosts:
                if host.process is not None and host.process.pid == pid:
                    code = os.waitstatus_to_exitcode(status)
                    host.process.returncode = code
                    host.ended(code)

    def end(self) -> None:
        """End all hosts; nothing but files is left."""
        cgroups.kill(self.group)
        for host in self.hosts:
            for path in (host.root, host.layers):
                if path.is_mount():
                    # with all that was mounted in it
                    run('umount', '--lazy', str(path))
        cgroups.remove(self.group)


def discard(directory: pathlib.Path, group: str) -> None:
    """Remove the control groups and files of beds; end who runs in them."""
    cgroups.kill(group)
    cgroups.remove(group)
    for path in directory.glob('*/root'):
        if path.is_mount():
            # somebody else's files may be mounted below
            raise BedError(f'{path} is still mounted')
    # last the file that says whose it is
    for path in sorted(directory.iterdir(), key=lambda it: it.name == 'pid'):
        if path.is_file():
            path.unlink()
            continue
        try:
            shutil.rmtree(path)
        except PermissionError:
            # a test made something immutable
            run('chattr', '-R', '-f', '-ia', str(path))
            shutil.rmtree(path)
    directory.rmdir()


def main(directory: pathlib.Path) -> None:
    """Keep the beds of a directory."""
    # to the first process only signals with a handler are delivered
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    keeper = Keeper(directory)
    try:
        keeper.make()
        keeper.keep()
    finally:
        keeper.end()
    # where it failed, somebody will want to read why, and sweep then
    discard(directory, keeper.group)


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]))
