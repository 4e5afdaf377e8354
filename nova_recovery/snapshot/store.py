# SPDX-License-Identifier: Apache-2.0

"""The directory of the snapshots: their names, and which are kept."""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
import dataclasses
import datetime
import os
import re
import time

from nova_recovery.exceptions import NotFound, RecoveryError
from nova_recovery.snapshot import writing
from nova_recovery.snapshot.reading import Snapshot

SUFFIX = '.snapshot'
LATEST = 'latest'

# 2026-11-22T14-49-51Z.snapshot, 2026-11-22T14-49-51Z-np-rcc4.snapshot
_NAME = re.compile(
    r'(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ)(?:-([\w.-]+))?\.snapshot'
)
_TIME = '%Y-%m-%dT%H-%M-%SZ'

#: Seconds after which a temporary file belongs to nobody any more.
_ABANDONED = 86400


@dataclasses.dataclass(frozen=True)
class Entry:
    """A snapshot in the directory.

    :ivar host: the host whose section alone it has, '' for a cloud
    :ivar problem: why it can't be read
    """

    path: str
    name: str
    taken: datetime.datetime
    size: int
    host: str
    servers: int
    volumes: int
    hosts: int
    complete: bool
    problem: str


def new_name(now: datetime.datetime, host: str = '') -> str:
    """The file name of a snapshot that is taken now (UTC)."""
    return f'{now.strftime(_TIME)}{f"-{host}" if host else ""}{SUFFIX}'


def entries(directory: str) -> list[Entry]:
    """The snapshots in a directory that it named itself, newest first.

    :raises RecoveryError: the directory can't be read
    """
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        # nothing was saved yet
        return []
    except OSError as error:
        raise RecoveryError(
            f"{directory}: can't be read: {error.strerror}"
        ) from error
    found = []
    for name in names:
        match = _NAME.fullmatch(name)
        if match:
            entry = _entry(directory, name, match)
            if entry is not None:
                found.append(entry)
    return sorted(found, key=lambda e: (e.taken, e.name), reverse=True)


def resolve(directory: str, name: str) -> str:
    """The path of a snapshot that is meant by a word.

    :param name: a name in the directory, with or without its suffix, a
        path, or ``latest``: the newest of the cloud
    :raises NotFound: there is none
    """
    if name == LATEST:
        for entry in entries(directory):
            if not entry.problem and not entry.host:
                return entry.path
        raise NotFound(f'{directory} has no snapshot of a cloud')
    if os.sep in name:
        if os.path.exists(name):
            return name
        raise NotFound(f'no such file: {name}')
    for candidate in (name, name + SUFFIX):
        path = os.path.join(directory, candidate)
        if os.path.exists(path):
            return path
    raise NotFound(
        f'no snapshot {name} in {directory}; a file elsewhere is given with '
        f'its path, such as ./{name}'
    )


def delete(paths: Sequence[str]) -> None:
    """Remove snapshots, and nothing that isn't one.

    :raises RecoveryError: one is no snapshot (nothing was removed), or
        can't be removed
    """
    for path in paths:
        if not _is_ours(path):
            # not even a damaged one of ours
            raise RecoveryError(
                f'{path}: not a snapshot of nova-recovery; nothing was deleted'
            )
    for path in paths:
        _unlink(path)


def expired(
    found: Sequence[Entry], count: int, days: int, now: datetime.datetime
) -> list[Entry]:
    """Those that need not be kept, the newest first.

    Of the cloud and of each host apart. The newest that is complete stays,
    whatever its age: when taking them has failed for a month, the last good
    one is worth more than ever.

    :param count: how many are kept; 0: any number
    :param days: how long; 0: for ever
    """
    groups: dict[str, list[Entry]] = {}
    for entry in found:
        groups.setdefault(entry.host, []).append(entry)
    dropped = []
    for group in groups.values():
        best = next((entry for entry in group if entry.complete), None)
        for place, entry in enumerate(group):
            old = days and now - entry.taken > datetime.timedelta(days=days)
            if entry is not best and (old or (count and place >= count)):
                dropped.append(entry)
    return dropped


def prune(
    directory: str, count: int, days: int, now: datetime.datetime
) -> list[str]:
    """Remove what has expired and what killed writers left; the names."""
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if name.startswith(writing.TEMPORARY):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - os.stat(path).st_mtime > _ABANDONED:
                    _unlink(path)
    dropped = expired(entries(directory), count, days, now)
    for entry in dropped:
        _unlink(entry.path)
    return [entry.name for entry in dropped]


def _entry(directory: str, name: str, match: re.Match[str]) -> Entry | None:
    path = os.path.join(directory, name)
    try:
        size = os.stat(path).st_size
        taken = datetime.datetime.strptime(match[1], _TIME)
    except (FileNotFoundError, ValueError):
        # removed just now, or the 31st of February
        return None
    servers = volumes = hosts = 0
    complete, problem = False, ''
    try:
        with Snapshot(path) as snapshot:
            servers = snapshot.count('servers')
            volumes = snapshot.count('volumes')
            hosts = len(snapshot.hosts)
            complete = snapshot.complete
    except RecoveryError as error:
        problem = str(error)
    return Entry(
        path=path,
        name=name.removesuffix(SUFFIX),
        taken=taken,
        size=size,
        host=match[2] or '',
        servers=servers,
        volumes=volumes,
        hosts=hosts,
        complete=complete,
        problem=problem,
    )


def _is_ours(path: str) -> bool:
    if _NAME.fullmatch(os.path.basename(path)):
        return True
    try:
        with Snapshot(path):
            return True
    except RecoveryError:
        return False


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        # somebody else was faster
        return
    except OSError as error:
        raise RecoveryError(
            f"{path}: can't be deleted: {error.strerror}"
        ) from error
