# SPDX-License-Identifier: Apache-2.0

"""``host path list``: the disks of volumes on hosts, and their paths.

One row for each disk that somebody can use: a map of multipath with its
paths, else the disk itself; and one for what qemu reaches by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery.cloud.db import connections as connections_module
from nova_recovery.cloud.db.connections import Connection
from nova_recovery.engine import findings
from nova_recovery.engine.findings import Assessment, Columns, Finding
from nova_recovery.procedures import reached
from nova_recovery.procedures.iscsi import facts as iscsi_facts
from nova_recovery.procedures.iscsi.facts import Facts
from nova_recovery.procedures.reached import Reached
from nova_recovery.report import wording

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

#: What a session, a remote port or a controller says when it is well.
_WELL = frozenset({'LOGGED_IN', 'Online', 'live'})

_COLUMNS: Columns = (
    *findings.OF_HOST,
    ('Disk', findings.more('disk')),
    ('Way', findings.more('way')),
    ('Paths', findings.more('paths')),
    ('Volume', lambda one: one.volume),
    ('Server', findings.more('server')),
    ('Seen', lambda one: one.cause),
)


@dataclasses.dataclass(frozen=True)
class Disk:
    """A disk, by however many paths.

    :ivar paths: each with why it is bad; '' if it is good
    :ivar used: who uses it on the host, lines
    """

    name: str
    way: str
    paths: tuple[tuple[str, str], ...]
    volumes: tuple[str, ...]
    servers: tuple[str, ...]
    used: tuple[str, ...] = ()


def assess(cloud: Cloud, names: Collection[str]) -> Assessment:
    """Ask hosts and the databases.

    :param names: exact names; none: all compute hosts of the cells
    """
    silent: tuple[str, ...] = ()
    if not names:
        names, silent = reached.hosts_of(cloud)
    hosts = reached.read(cloud, names, ('paths', {}))
    wanted, unknown = iscsi_facts.wanted_by(
        cloud, names, connections_module.DISKS
    )
    return judge(Facts(tuple(hosts), wanted, unknown, silent))


def judge(found: Facts) -> Assessment:
    """A row for each disk, and for each volume that should be one."""
    made = [one for host in found.hosts for one in _of_host(found, host)]
    made.sort(key=lambda one: findings.SEVERITIES.index(one.severity))
    result = Assessment(found, tuple(made), _COLUMNS, silent=found.silent)
    told = findings.counted(
        {k: n for k, n in result.counts.items() if k != findings.GOOD}
    )
    lines = [f'not compared with nova: {why}' for why in found.unknown]
    disks = sum(bool(one.more.get('paths')) for one in made)
    lines.append(
        f'{wording.count(disks, "disk")} on '
        f'{wording.count(len(found.hosts), "host")}: '
        f'{told or "nothing is wrong"}.'
    )
    return dataclasses.replace(result, summary=tuple(lines))


def _of_host(found: Facts, host: Reached) -> Iterator[Finding]:
    if host.problem:
        yield reached.unknown(host)
        return
    (said,) = host.said
    wanted = found.wanted.get(host.name, ())
    disks = list(_disks(said, wanted))
    for disk in disks:
        yield _judged(found, host, disk)
    if said['maps'] is None:
        why = 'dmsetup does not tell of its maps'
        yield reached.finding(host, 'PATH-UNKNOWN', findings.UNKNOWN, why)
    there = {volume for disk in disks for volume in disk.volumes}
    for one in wanted:
        if one.volume not in there:
            yield from _lost(host, said, one)


def _disks(
    said: Mapping[str, Any], wanted: Sequence[Connection]
) -> Iterator[Disk]:
    rows = {row['device']: row for row in said['disks']}
    failed = set()
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in said['maps'] or ():
        failed |= set(one['failed'])
        for device in (*one['good'], *one['failed']):
            if device in rows:
                groups.setdefault(one['name'], []).append(rows.pop(device))
    groups |= {device: [row] for device, row in rows.items()}
    domains = said['domains'] or ()
    for name, some in groups.items():
        yield _disk(name, some, failed, domains, wanted)
    for domain in domains:
        for name, volume in domain['network'].items():
            way = name.partition(':')[0]
            yield Disk(
                name,
                way,
                (('in the guest', ''),),
                (volume,) if volume else (),
                (domain['uuid'],),
                (f'{domain["name"]} ({domain["state"]})',),
            )


def _disk(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    failed: Collection[str],
    domains: Collection[Mapping[str, Any]],
    wanted: Sequence[Connection],
) -> Disk:
    volumes: dict[str, None] = {}
    servers: dict[str, None] = {}
    used: dict[str, None] = {}
    paths: list[tuple[str, str]] = []
    for row in rows:
        more, whose = iscsi_facts.of_disk(
            row, domains, wanted, row['target'], row['portal']
        )
        volumes.update(more)
        servers.update(whose)
        for use in row['uses']:
            # that of multipath itself says nothing
            if (use['kind'], use['what']) != ('map', name):
                used[f'{use["kind"]} {use["what"]}'] = None
        paths += _paths(row, failed)
    if not volumes:
        named = {iscsi_facts.volume_of(row['target']) for row in rows}
        volumes = dict.fromkeys(one for one in named if one)
    return Disk(
        name,
        rows[0]['way'],
        tuple(paths),
        tuple(volumes),
        tuple(servers),
        tuple(used),
    )


def _paths(
    row: Mapping[str, Any], failed: Collection[str]
) -> Iterator[tuple[str, str]]:
    """The kernel's word, that of what it comes over, and multipath's."""
    device = row['device']
    own = [] if row['state'] == 'running' else [row['state']]
    if device in failed:
        own.append('failed')
    if row['way'] == 'nvmeof':
        # several ways are one disk to all but the kernel
        for link, state in row['links']:
            bad = own + ([] if state in _WELL else [state])
            yield link, ', '.join(bad)
        return
    bad = own + [
        f'{link} {state}' for link, state in row['links'] if state not in _WELL
    ]
    yield device, ', '.join(bad)


def _judged(found: Facts, host: Reached, disk: Disk) -> Finding:
    bad = [f'{path}: {why}' for path, why in disk.paths if why]
    needed = disk.used or disk.servers
    used = '; '.join(disk.used)
    if bad and len(bad) == len(disk.paths):
        code = 'PATH-DEAD'
        severity = findings.DANGER if needed else findings.STALE
        seen = '; '.join(bad)
    elif bad:
        code, severity = 'PATH-FAILED', findings.STALE
        seen = f'{len(bad)} of {len(disk.paths)} are bad: {"; ".join(bad)}'
    elif needed:
        code, severity = 'PATH-GOOD', findings.GOOD
        seen = used or 'nova has it so'
    else:
        code, severity = 'PATH-UNUSED', findings.NOTE
        seen = (
            'nothing uses it now; what nova has there is not known'
            if found.unknown
            else 'nothing uses it, and nova has no volume there'
        )
    names = found.names
    return reached.finding(
        host,
        code,
        severity,
        seen,
        label=f'{disk.name} of {host.name}',
        volume=', '.join(disk.volumes),
        server=disk.servers[0] if len(disk.servers) == 1 else '',
        more={
            'disk': disk.name,
            'way': disk.way,
            'paths': ', '.join(
                f'{path} ({why})' if why else path for path, why in disk.paths
            ),
            'server': ', '.join(names.get(s) or s for s in disk.servers),
        },
    )


def _lost(
    host: Reached, said: Mapping[str, Any], one: Connection
) -> Iterator[Finding]:
    """Of an active server; one that is off gets its disks with its start."""
    if one.server.vm_state != 'active':
        return
    code, severity, seen = (
        (
            'PATH-UNKNOWN',
            findings.UNKNOWN,
            f'no disk on the host is known to be it: {said["why"]}',
        )
        if said['domains'] is None
        else (
            'PATH-LOST',
            findings.STALE,
            'no disk on the host is it; the server is active, and its guest '
            'does not run: its start connects it',
        )
        if iscsi_facts.guest_off(said, one.server.uuid)
        else (
            'PATH-LOST',
            findings.DANGER,
            'no disk on the host is it, and the server is active',
        )
    )
    yield reached.finding(
        host,
        code,
        severity,
        seen,
        label=one.volume,
        volume=one.volume,
        server=one.server.uuid,
        more={
            'way': one.protocol,
            'server': one.server.name or one.server.uuid,
        },
    )
