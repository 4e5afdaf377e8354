# SPDX-License-Identifier: Apache-2.0

"""This host has its disks, as the snapshot saw them.

Only with ``--local``, on a compute host: where instances_path is mounted
from and that it can be written to, the disks of its servers, iSCSI and
multipath. Nothing is written to find out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
import dataclasses
import functools
import os
import socket
from typing import Any

from nova_recovery import readiness
from nova_recovery.engine.findings import Finding
from nova_recovery.host import domains, iscsi, mounts, multipath
from nova_recovery.host.commands import NotInstalled
from nova_recovery.host.iscsi import Session
from nova_recovery.readiness import bounded, common, database, Site
from nova_recovery.snapshot import masking

LAYER = 'local'
_PATIENCE = 8.0

_row = functools.partial(Finding, LAYER)

JSON = Mapping[str, Any]
Rows = Iterator[Finding]


@dataclasses.dataclass(frozen=True)
class Before:
    """What the snapshot has of the host.

    :ivar mounts: mount point -> device
    :ivar files: file of a disk -> the server
    :ivar directories: server -> name, of all that were on the host
    :ivar sessions: iSCSI sessions, as in the section
    """

    mounts: Mapping[str, str]
    files: Mapping[str, str]
    directories: Mapping[str, str]
    sessions: tuple[JSON, ...]


class Probe:
    """See :class:`nova_recovery.readiness.Probe`."""

    needs: tuple[str, ...] = ()

    def rows(self, site: Site) -> Rows:
        if not site.local:
            return
        host = site.cloud.nova.host
        path = os.path.realpath(site.cloud.nova.instances_path)
        before = _before(site, host)
        if before is None:
            named = site.snapshot is not None
            yield _row(
                readiness.UNKNOWN if named else readiness.GO,
                host,
                'the snapshot has nothing of this host'
                if named
                else 'no snapshot was named: nothing is compared',
                'the host as it was',
                f'name one that was made on {host} with --local'
                if named
                else '',
            )
        looks: dict[str, Callable[[], Finding | None]] = {
            'instances_path': functools.partial(_storage, path, before),
            'disks': functools.partial(disks, path, before),
            'iscsi': functools.partial(_iscsi, before),
            'multipath': _multipath,
        }
        # a dead NFS server makes whatever touches its files hang
        for name, answer in bounded.each(looks, _PATIENCE).items():
            if isinstance(answer, BaseException):
                yield _row(
                    readiness.UNKNOWN,
                    name,
                    bounded.words(answer),
                    'it can be looked at',
                    'mend what is said, then look again',
                )
            elif answer is not None:
                yield answer


def storage(
    path: str,
    before: Mapping[str, str] | None,
    now: Mapping[str, str],
    problem: str,
) -> Finding:
    """Where instances_path is mounted from, and whether it can be used.

    :param before: mount point -> device in the snapshot; None: not known
    :param problem: why it can't be written to, '' if it can
    """
    place = mount_point(path, now)
    device = now.get(place, 'no disk')
    wanted_place, wanted = place, device
    if before is not None:
        wanted_place = mount_point(path, before)
        wanted = before.get(wanted_place, 'no disk')
    observed = f'{path} is on {device} ({place})'
    if problem:
        observed += f', {problem}'
    bad = bool(problem) or (wanted_place, wanted) != (place, device)
    remedy = ''
    if (wanted_place, wanted) != (place, device):
        remedy = f'mount {wanted_place}'
    elif problem == 'read-only':
        remedy = f'mount -o remount,rw {place}'
    elif problem:
        remedy = f'ls -ld {path}  # by the user of nova-compute'
    return _row(
        readiness.NO_GO if bad else readiness.GO,
        'instances_path',
        observed,
        f'on {wanted} ({wanted_place}), read-write',
        remedy,
    )


def mount_point(path: str, mounted: Iterable[str]) -> str:
    """The mount point that a path is below, ``/`` if it is no other."""
    over = [
        point
        for point in mounted
        if path == point or path.startswith(point.rstrip('/') + '/')
    ]
    return max(over, key=len, default='/')


def disks(path: str, before: Before | None) -> Finding | None:
    """Whether the disks of each server are there.

    Their files as libvirt had them, and nova's directory of each.
    """
    if before is None:
        return None
    wanted = {
        **{f'{path}/{uuid}': uuid for uuid in before.directories},
        **before.files,
    }
    gone = sorted(
        {server for file, server in wanted.items() if not os.path.exists(file)}
    )
    servers = len(set(wanted.values()))
    observed = f'{servers - len(gone)} of {servers} servers have their disks'
    if gone:
        observed += f'; not {common.many(gone)}'
    return _row(
        readiness.NO_GO if gone else readiness.GO,
        'disks',
        observed,
        'the disks of each server of the snapshot',
        f'mount what {path} was on; a disk that is lost: openstack server '
        'rebuild, or leave the server out'
        if gone
        else '',
    )


def sessions(
    before: Iterable[JSON], now: Iterable[Session], silent: Mapping[str, str]
) -> Finding:
    """Whether the iSCSI sessions of the host itself are there again.

    Those of volumes come back with their servers: nova logs in when it
    starts them. Until then their portals have to answer.

    :param silent: portals that don't answer, and why
    """
    there = {(one.target, one.portal) for one in now}
    of_host = {
        (one['target'], one['portal']) for one in before if not one['volume']
    }
    of_volumes = {
        (one['target'], one['portal']) for one in before if one['volume']
    }
    gone = sorted(of_host - there)
    observed = (
        f'{len(of_host) - len(gone)} of {len(of_host)} sessions of the host; '
        f'{len(of_volumes & there)} of {len(of_volumes)} of volumes, which '
        'come back with their servers'
    )
    remedy = ''
    if gone:
        target, portal = gone[0]
        observed += f'; missing: {common.many([t for t, _ in gone])}'
        remedy = f'iscsiadm -m node -T {target} -p {portal} --login'
    if silent:
        observed += '; ' + '; '.join(
            f'portal {portal}: {why}' for portal, why in silent.items()
        )
        remedy = remedy or (
            'start the target (cinder-volume, tgtd or the array) behind '
            + common.many(silent)
        )
    return _row(
        readiness.NO_GO if gone or silent else readiness.GO,
        'iscsi',
        observed,
        'sessions of the host as in the snapshot; every portal answers',
        remedy,
    )


def _storage(path: str, before: Before | None) -> Finding:
    now = {
        mount.target: masking.options(mount.device)
        for mount in mounts.mounted()
    }
    return storage(
        path, None if before is None else before.mounts, now, _problem(path)
    )


def _problem(path: str) -> str:
    """Why a directory can't be written to, '' if it can; writes nothing."""
    try:
        flags = os.statvfs(path).f_flag
    except OSError as error:
        return error.strerror or 'not there'
    if flags & os.ST_RDONLY:
        return 'read-only'
    if not os.access(path, os.W_OK | os.X_OK):
        return 'no right to write'
    return ''


def _iscsi(before: Before | None) -> Finding | None:
    if before is None or not before.sessions:
        return None
    portals = {one['portal'] for one in before.sessions}
    answers = bounded.each(
        {portal: functools.partial(_reach, portal) for portal in portals},
        _PATIENCE / 2,
    )
    return sessions(
        before.sessions,
        iscsi.sessions(),
        {
            portal: bounded.words(answer)
            for portal, answer in answers.items()
            if isinstance(answer, BaseException)
        },
    )


def _reach(portal: str) -> None:
    host, port = database.split(portal)
    with socket.create_connection((host, port), timeout=3):
        pass


def _multipath() -> Finding | None:
    try:
        found = multipath.maps()
    except NotInstalled:
        return None
    failed = [
        f'{name} ({", ".join(paths.failed)})'
        for name, paths in found.items()
        if paths.failed
    ]
    return _row(
        readiness.NO_GO if failed else readiness.GO,
        'multipath',
        f'{len(found)} maps'
        + (f'; failed paths: {common.many(failed)}' if failed else ''),
        'no failed path',
        'multipath -r  # once the storage network is mended' if failed else '',
    )


def _before(site: Site, host: str) -> Before | None:
    source = f'host:{host}'
    with site.before() as snapshot:
        if snapshot is None or host not in snapshot.hosts:
            return None
        return Before(
            mounts={
                row['target']: row['device']
                for row in snapshot.rows('mounts', source=source)
            },
            files={
                file: row['uuid']
                for row in snapshot.rows('domains', source=source)
                for file in domains.files(row['xml'])
            },
            directories={
                row['uuid']: row['name']
                for row in snapshot.rows('servers', host=host)
                if row['vm_state'] not in ('building', 'deleted')
            },
            sessions=tuple(snapshot.rows('sessions', source=source)),
        )
