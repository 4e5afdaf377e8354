# SPDX-License-Identifier: Apache-2.0

"""Control groups of beds: what runs in one, and its end."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import os
import pathlib
import time

_TOP = pathlib.Path('/sys/fs/cgroup')


def hierarchies() -> list[pathlib.Path]:
    """Return the version 2 hierarchy, and systemd's own where it has one.

    See cgroups(7) and systemd's CGROUP_DELEGATION: "hybrid" has both.
    """
    if (_TOP / 'cgroup.procs').exists():
        return [_TOP]
    return [_TOP / 'unified', _TOP / 'systemd']


def create(name: str) -> None:
    """Make a group in each hierarchy."""
    for top in hierarchies():
        (top / name).mkdir(parents=True, exist_ok=True)


def enter(name: str) -> None:
    """Put the calling process into a group."""
    for top in hierarchies():
        (top / name / 'cgroup.procs').write_text('0')


def members(name: str) -> list[int]:
    """Return the processes of a group and of those below it."""
    return [
        int(line)
        for directory in _below(hierarchies()[0] / name)
        for line in _lines(directory / 'cgroup.procs')
    ]


def kill(name: str) -> None:
    """Send SIGKILL to all of a group and of those below it, at once."""
    with contextlib.suppress(FileNotFoundError):
        (hierarchies()[0] / name / 'cgroup.kill').write_text('1')


def remove(name: str, seconds: float = 10) -> None:
    """Remove a group and those below it, once its killed members are gone.

    :raises OSError: somebody still runs in it when the time is over
    """
    deadline = time.monotonic() + seconds
    for top in hierarchies():
        for directory in _below(top / name):
            while True:
                try:
                    directory.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)
                else:
                    break


def _below(group: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield a group's directories, the deepest first."""
    for path, _directories, _files in os.walk(group, topdown=False):
        yield pathlib.Path(path)


def _lines(path: pathlib.Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        # the group went away, or has threads only
        return []
