# SPDX-License-Identifier: Apache-2.0

"""Daemons that outlive the command which started them, known by pid file."""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import threading
import time


class CloudError(Exception):
    """Something of the practice cloud is missing or broken."""


def program(name: str, package: str) -> str:
    """Return the path of a program, also from the sbin directories.

    :raises CloudError: naming the Debian package that has the program
    """
    found = shutil.which(
        name, path=os.environ.get('PATH', '') + ':/usr/local/sbin:/usr/sbin'
    )
    if found is None:
        raise CloudError(
            f'{name} is missing: install the Debian package {package}, or '
            f"run 'python -m tests.cloud install'"
        )
    return found


_given: set[int] = set()
_starting = threading.Lock()


def free_port() -> int:
    """Return a TCP port of loopback that nobody listens on just now.

    No caller gets it twice: a cluster takes several before it listens.
    It lies below the range that the kernel takes for outgoing connections,
    so none of those can take it before the daemon does.
    """
    while True:
        port = random.randrange(26000, 32000)
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(('127.0.0.1', port))
            except OSError:
                continue
        _given.add(port)
        return port


def listens(port: int) -> bool:
    """Return whether something accepts connections on a loopback port."""
    try:
        with socket.create_connection(('127.0.0.1', port), timeout=2):
            return True
    except OSError:
        return False


def wait_for(
    predicate: collections.abc.Callable[[], object],
    seconds: float,
    what: str,
    interval: float = 0.2,
) -> object:
    """Poll until the predicate is true; return the value that was true.

    :raises CloudError: naming *what*, when the seconds are over
    """
    deadline = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise CloudError(f'waited {seconds:g} s in vain for {what}')
        time.sleep(interval)


def start_time(pid: int) -> str | None:
    """Return when a process started, in kernel ticks; None if it is gone.

    A zombie counts as gone. Field 22 of /proc/PID/stat, see proc(5).
    """
    try:
        stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(')')[2].split()
    return None if fields[0] in 'ZX' else fields[19]


def group_members(group: int) -> list[int]:
    """Return the living processes of a process group."""
    members = []
    for entry in pathlib.Path('/proc').iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / 'stat').read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = stat.rpartition(')')[2].split()
        if fields[0] not in 'ZX' and int(fields[2]) == group:
            members.append(int(entry.name))
    return members


def clean_environment(*changes: dict[str, str]) -> dict[str, str]:
    """Return the caller's environment without what would sway services.

    PYTHONDONTWRITEBYTECODE would make each start compile all of OpenStack
    again, and oslo.config takes OS_GROUP__OPTION for configuration.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(('PYTHON', 'OS_'))
    }
    for change in changes:
        environment.update(change)
    return environment


@dataclasses.dataclass
class Daemon:
    """One daemon in a session of its own, remembered in a pid file.

    The pid file holds the pid and the start time of the process, so that a
    later process which got the same pid is never taken for the daemon.

    :ivar forked_by: who starts it quicker, see tests/cloud/forkserver.py; a
        daemon whose argv has its socket at 2
    """

    name: str
    argv: list[str]
    pid_file: pathlib.Path
    log_file: pathlib.Path
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    directory: pathlib.Path | None = None
    forked_by: Daemon | None = None
    _child: subprocess.Popen[bytes] | None = None

    def pid(self) -> int | None:
        """Return the pid of the running daemon, None when it is down."""
        if self._child is not None:
            self._child.poll()
        try:
            pid, started = self.pid_file.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        return int(pid) if start_time(int(pid)) == started else None

    def start(self, extra: dict[str, str] | None = None) -> None:
        """Start the daemon unless it runs; don't wait until it serves."""
        if self.pid() is not None:
            return
        self.pid_file.parent.mkdir(parents=True, exist_ok=True)
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        environment = clean_environment(self.environment, extra or {})
        # what is preloaded has to be there before Python is
        if self.forked_by and 'LD_PRELOAD' not in environment:
            pid = self._forked(self.forked_by, environment)
        else:
            pid = self._spawned(environment)
        self.pid_file.write_text(f'{pid} {start_time(pid)}\n')

    def _spawned(self, environment: dict[str, str]) -> int:
        with open(self.log_file, 'ab') as log:
            self._child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=environment,
                start_new_session=True,
            )
        return self._child.pid

    def _forked(self, server: Daemon, environment: dict[str, str]) -> int:
        self._child = None
        server.start_forkserver()
        with socket.socket(socket.AF_UNIX) as asked:
            wait_for(
                lambda: server.connects(asked), 60, f'{server.name}', 0.05
            )
            wanted = {
                'argv': self.argv,
                'environment': environment,
                'directory': str(self.directory or '/'),
                'log': str(self.log_file),
            }
            asked.sendall(json.dumps(wanted).encode())
            asked.shutdown(socket.SHUT_WR)
            pid = asked.recv(100)
        if not pid:
            raise CloudError(f'{server.name}:\n{server.log_tail()}')
        return int(pid)

    def start_forkserver(self) -> None:
        """Start it unless it runs; don't wait until it has imported."""
        with _starting:
            if self.pid() is None:
                pathlib.Path(self.argv[2]).unlink(missing_ok=True)
                self.start()

    def connects(self, asking: socket.socket) -> bool:
        """Whether this fork server takes a connection.

        :raises CloudError: it has ended
        """
        with contextlib.suppress(OSError):
            asking.connect(self.argv[2])
            return True
        if self.pid() is None:
            raise CloudError(f'{self.name} ended:\n{self.log_tail()}')
        return False

    def stop(self, seconds: float = 20) -> None:
        """End the daemon and its workers, by SIGKILL when time is up."""
        self._end(signal.SIGTERM, seconds)

    def kill(self) -> None:
        """End the daemon and its workers by SIGKILL, as a crash would."""
        self._end(signal.SIGKILL, 10)

    def _end(self, number: signal.Signals, seconds: float) -> None:
        pid = self.pid()
        if pid is not None:
            # start_new_session made the pid the number of the group too
            os.killpg(pid, number)
            try:
                self._wait_gone(pid, seconds)
            except CloudError:
                os.killpg(pid, signal.SIGKILL)
                self._wait_gone(pid, 10)
        self.pid_file.unlink(missing_ok=True)

    def _wait_gone(self, group: int, seconds: float) -> None:
        def gone() -> bool:
            if self._child is not None:
                self._child.poll()
            return not group_members(group)

        wait_for(gone, seconds, f'the end of {self.name}', 0.05)

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines that the daemon wrote."""
        try:
            text = self.log_file.read_text(errors='replace')
        except FileNotFoundError:
            return ''
        return '\n'.join(text.splitlines()[-lines:])
