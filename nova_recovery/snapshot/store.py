# SPDX-License-Identifier: Apache-2.0

"""The directory of the snapshots: their names, and which are kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
import contextlib
import dataclasses
import datetime
import logging
import os
import re
import time

from nova_recovery import exceptions, program
from nova_recovery.cloud.db import identity
from nova_recovery.cloud.db.identity import Identity
from nova_recovery.exceptions import NotFound, RecoveryError
from nova_recovery.snapshot import reading, writing
from nova_recovery.snapshot.reading import Snapshot

LOG = logging.getLogger(__name__)

SUFFIX = '.snapshot'
LATEST = 'latest'

# 2026-11-22T14-49-51Z.snapshot, 2026-11-22T14-49-51Z-np-rcc4.snapshot
_NAME = re.compile(
    r'(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ)(?:-([\w.-]+))?\.snapshot'
)
_TIME = '%Y-%m-%dT%H-%M-%SZ'

#: nova's default of ``service_down_time``, where nobody asks its nova.conf.
DOWN_TIME = 60

#: Seconds after which a temporary file belongs to nobody any more.
_ABANDONED = 86400


@dataclasses.dataclass(frozen=True)
class Entry:
    """A snapshot in the directory.

    :ivar host: the host whose section alone it has, '' for a cloud
    :ivar problem: why it can't be read
    :ivar cloud: of which it is; nothing where it does not say so
    :ivar dark: why it tells what was left, not what was: most computes were
        dead when it was taken; '' if they were not
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
    cloud: Identity = frozenset()
    dark: str = ''

    @property
    def good(self) -> bool:
        """Whether it tells all of a cloud that lived."""
        return self.complete and not self.dark

    @property
    def doubt(self) -> str:
        """Why another one may be better, '' if there is no reason."""
        whole = '' if self.complete else 'something could not be read'
        return self.problem or self.dark or whole


def new_name(now: datetime.datetime, host: str = '') -> str:
    """The file name of a snapshot that is taken now (UTC)."""
    return f'{now.strftime(_TIME)}{f"-{host}" if host else ""}{SUFFIX}'


def entries(directory: str, down_time: int = DOWN_TIME) -> list[Entry]:
    """The snapshots in a directory that it named itself, newest first.

    :param down_time: nova's ``service_down_time``
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
            entry = _entry(directory, name, match, down_time)
            if entry is not None:
                found.append(entry)
    return sorted(found, key=lambda e: (e.taken, e.name), reverse=True)


def latest(
    directory: str, down_time: int = DOWN_TIME, ours: Identity = frozenset()
) -> tuple[Entry, list[Entry]]:
    """The newest snapshot that is whole and of a cloud that lived.

    Where there is none, the newest whole one, else the newest. Never one of
    another cloud; one that says nothing of its cloud passes for ours.

    :param ours: which cloud this is; nothing: it is not known
    :returns: it, and those that are newer and were passed over
    :raises NotFound: there is none, or it is not known which ones are ours
    """
    every = [
        entry
        for entry in entries(directory, down_time)
        if not entry.problem and not entry.host
    ]
    some = [one for one in every if not identity.another(ours, one.cloud)]
    if not some:
        raise NotFound(
            f'{directory} has no snapshot of this cloud, and {len(every)} of '
            'other clouds: where its cells were mapped anew, name one '
            'instead of "latest", see ' + program.call('snapshot list')
            if every
            else f'{directory} has no snapshot of a cloud'
        )
    # those that say nothing of it are no cloud of their own
    told = [group for group in _clouds(some) if group[0].cloud]
    if not ours and len(told) > 1:
        raise NotFound(
            f'{directory} has snapshots of several clouds, and no database '
            'tells which one this is: name one instead of "latest", see '
            + program.call('snapshot list')
        )
    for fits in (lambda e: e.good, lambda e: e.complete, lambda e: True):
        for place, entry in enumerate(some):
            if fits(entry):
                return entry, some[:place]
    raise AssertionError


def resolve(
    directory: str,
    name: str,
    down_time: int = DOWN_TIME,
    ours: Callable[[], Identity] = frozenset,
) -> str:
    """The path of a snapshot that is meant by a word.

    :param name: a name in the directory, with or without its suffix, a
        path, or ``latest``: see :func:`latest`
    :param down_time: nova's ``service_down_time``
    :param ours: asks which cloud this is, for ``latest``
    :raises NotFound: there is none
    """
    if name == LATEST:
        found, passed = latest(directory, down_time, ours())
        for entry in passed:
            LOG.warning('latest is not %s: %s', entry.name, entry.doubt)
        if found.doubt:
            LOG.warning('latest is %s, though %s', found.name, found.doubt)
        return found.path
    if os.sep in name:
        if os.path.exists(name):
            # a plan keeps it, and is carried out from anywhere
            return os.path.abspath(name)
        raise NotFound(f'no such file: {name}')
    for candidate in (name, name + SUFFIX):
        path = os.path.join(directory, candidate)
        if os.path.exists(path):
            return path
    raise NotFound(
        f'no snapshot {name} in {directory}; a file elsewhere is given with '
        f'its path, such as ./{name}',
        exceptions.near(name, _names(directory)),
    )


def _names(directory: str) -> list[str]:
    """The snapshots of a directory, the newest first."""
    try:
        found = os.listdir(directory)
    except OSError:
        return []
    ours = [name for name in found if name.endswith(SUFFIX)]
    return sorted((n.removesuffix(SUFFIX) for n in ours), reverse=True)


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

    Of each cloud and of each host apart. The newest that is complete stays,
    whatever its age: when taking them has failed for a month, the last good
    one is worth more than ever. So does the newest of a cloud that lived: a
    timer goes on taking them while the power is gone.

    :param count: how many are kept; 0: any number
    :param days: how long; 0: for ever
    """
    hosts: dict[str, list[Entry]] = {}
    for entry in found:
        hosts.setdefault(entry.host, []).append(entry)
    dropped = []
    for group in (one for some in hosts.values() for one in _clouds(some)):
        best = [
            next((entry for entry in group if entry.complete), None),
            next((entry for entry in group if entry.good), None),
        ]
        for place, entry in enumerate(group):
            old = days and now - entry.taken > datetime.timedelta(days=days)
            if entry not in best and (old or (count and place >= count)):
                dropped.append(entry)
    return dropped


def _clouds(found: Sequence[Entry]) -> list[list[Entry]]:
    """The same, those of each cloud for themselves, in their order.

    Those that say nothing are one more.
    """
    groups: list[list[Entry]] = []
    for entry in found:
        for group in groups:
            known: Identity = frozenset().union(*(one.cloud for one in group))
            if known & entry.cloud or not (known or entry.cloud):
                group.append(entry)
                break
        else:
            groups.append([entry])
    return groups


def prune(
    directory: str,
    count: int,
    days: int,
    now: datetime.datetime,
    kept: Collection[str] = (),
    down_time: int = DOWN_TIME,
) -> list[str]:
    """Remove what has expired and what killed writers left; the names.

    :param kept: paths of those that a run needs
    :param down_time: nova's ``service_down_time``
    """
    needed = {os.path.realpath(path) for path in kept}
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if name.startswith(writing.TEMPORARY):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - os.stat(path).st_mtime > _ABANDONED:
                    _unlink(path)
    dropped = [
        entry
        for entry in expired(entries(directory, down_time), count, days, now)
        if os.path.realpath(entry.path) not in needed
    ]
    for entry in dropped:
        _unlink(entry.path)
    return [entry.name for entry in dropped]


def _entry(
    directory: str, name: str, match: re.Match[str], down_time: int
) -> Entry | None:
    path = os.path.join(directory, name)
    try:
        size = os.stat(path).st_size
        taken = datetime.datetime.strptime(match[1], _TIME)
    except (FileNotFoundError, ValueError):
        # removed just now, or the 31st of February
        return None
    servers = volumes = hosts = 0
    complete, problem, dark = False, '', ''
    cloud: Identity = frozenset()
    try:
        with Snapshot(path) as snapshot:
            servers = snapshot.count('servers')
            volumes = snapshot.count('volumes')
            hosts = len(snapshot.hosts)
            complete = snapshot.complete
            cloud = snapshot.cloud
            dark = _dark(*reading.pulse(snapshot, down_time))
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
        cloud=cloud,
        dark=dark,
    )


def _dark(computes: int, dead: int) -> str:
    if dead * 2 <= computes:
        return ''
    return f'{dead} of {computes} computes were dead when it was taken'


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
