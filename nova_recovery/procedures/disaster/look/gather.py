# SPDX-License-Identifier: Apache-2.0

"""Asking the cloud for all that a plan is decided on."""

from __future__ import annotations

import bz2
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent import futures
import contextlib
import dataclasses
import datetime
import gzip
import lzma
import os
import re
from typing import Any, BinaryIO, TYPE_CHECKING
import zlib

from nova_recovery import exceptions, fencing, readiness
from nova_recovery.cloud import claims, records
from nova_recovery.cloud.db import volumes
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.cloud.db.volumes import Access, Pair
from nova_recovery.compat import pairs, sha256
from nova_recovery.engine import printable
from nova_recovery.exceptions import DatabaseUnavailable, RecoveryError
from nova_recovery.procedures import whereabouts
from nova_recovery.procedures.disaster.before_queens import (
    cleaning as cleaning_module,
)
from nova_recovery.procedures.disaster.before_queens.cleaning import Cleaning
from nova_recovery.procedures.disaster.look import read
from nova_recovery.procedures.disaster.request import Request
from nova_recovery.procedures.disaster.situation import (
    Connection,
    Dump,
    Found,
    Situation,
)
from nova_recovery.procedures.guests import reach
from nova_recovery.procedures.volumes import gates, policy
from nova_recovery.procedures.volumes import read as volumes_read
from nova_recovery.procedures.volumes.situation import Mismatch
from nova_recovery.procedures.whereabouts import Whereabouts
from nova_recovery.readiness import Site
from nova_recovery.snapshot import mapfile
from nova_recovery.snapshot.reading import Snapshot

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.cloud.db.database import Database

#: Sections of a snapshot without which it doesn't tell what was.
SECTIONS = frozenset({'servers', 'devices', 'volumes', 'attachments'})
Progress = Callable[[str], None]
#: Bytes at the beginning and the end of a dump that are looked at.
_EDGE = 4096
#: How a compressed file begins, and what opens it.
_COMPRESSED: Mapping[bytes, Callable[[BinaryIO], Any]] = {
    b'\x1f\x8b': gzip.open,
    b'BZh': bz2.open,
    b'\xfd7zXZ': lzma.open,
}
#: What a dump without comments begins with.
_SQL = re.compile(
    r'^\s*(/\*|--|(SET|USE|CREATE|INSERT|DROP|LOCK)\b)', re.I | re.M
)


def read_all(
    cloud: Cloud,
    request: Request,
    progress: Progress = lambda text: None,
    marks: Mapping[str, int] | None = None,
    with_dump: bool = True,
    watch: bool = True,
) -> Found:
    """Everything that is known.

    :param marks: those of the plan, when its gates are asked again
    :param with_dump: look at the dump too, which takes as long as reading it
    :param watch: see that cinder leaves alone what step 2 cleans
    :raises RecoveryError: see ``read.look``; or the map file has broken
        lines, which are named by their numbers
    """
    lines = None
    if request.map_file:
        lines = tuple(mapfile.load(request.map_file))
    with contextlib.ExitStack() as stack:
        snapshot = None
        if request.snapshot:
            snapshot = stack.enter_context(Snapshot(request.snapshot))
        progress('reading what was and what is …')
        here = read.look(
            cloud, snapshot, request.scope, since=_since(request), marks=marks
        )
        age = None
        if snapshot is not None:
            site = Site(cloud, snapshot, frozenset(here.computes))
            age = tuple(readiness.look(site, {'age'}))
        holes = _holes(snapshot, here)
    cleaning = _legacy(cloud, here)
    if lines is not None:
        here = _with_volumes(cloud, here, {line.volume for line in lines})
    dump = None
    if request.dump and with_dump:
        progress(f'reading {request.dump} for its checksum …')
        dump = read_dump(request.dump)
    versions: dict[str, str] = {}
    unreachable: dict[str, str] = {}
    if cleaning is None:
        versions, unreachable = _apis(cloud, here)
    # of an old cloud nothing is mended one by one, and no API is asked
    single = here.volumes if cleaning is None else None
    wrong = [] if single is None else policy.findings(single)
    places: Mapping[str, Whereabouts] = {}
    if cleaning is None:
        progress('asking where guests may run …')
        places = _places(cloud, request, here, unreachable)
    found = _of_cells(
        cloud,
        Found(
            situation=here,
            versions=versions,
            unreachable=unreachable,
            places=places,
            runs=_runs(cloud, here, wrong, unreachable),
            connections=_connections(cloud, here, wrong),
            access=_access(cloud, here, lines or (), wrong),
            age=age,
            holes=holes,
            dump=dump,
            lines=lines,
            reach=reach.read(cloud, here.servers.values())
            if request.guests.ssh
            else {},
            legacy=cleaning,
        ),
    )
    return _watched(cloud, found, progress) if watch else found


def _watched(cloud: Cloud, found: Found, progress: Progress) -> Found:
    """The same, with what step 2 would clean looked at again.

    Last, so that what took its time counts. What changed meanwhile is left
    as it is, whatever else was read of it before.
    """
    both = found.situation.volumes
    if both is None or found.legacy is not None:
        return found
    stale = {
        one.volume
        for one in policy.findings(both)
        if one.remedy in ('reset', 'detach-stale')
    }
    both = volumes_read.watch(cloud, both, stale, progress=progress)
    return dataclasses.replace(
        found, situation=dataclasses.replace(found.situation, volumes=both)
    )


def _since(request: Request) -> datetime.datetime | None:
    if request.since is None:
        return None
    return datetime.datetime.fromisoformat(request.since)


def _holes(snapshot: Snapshot | None, here: Situation) -> tuple[str, ...]:
    """What the snapshot doesn't tell of the cells that are in scope."""
    if snapshot is None:
        return ()
    sources = {f'cell:{cell}' for cell in here.marks} | {'cinder'}
    return tuple(
        f'{part.section} of {part.source}: {part.detail}'
        for part in snapshot.unknown
        if part.section in SECTIONS and part.source in sources
    )


def _legacy(cloud: Cloud, here: Situation) -> Cleaning | None:
    """Step 2 of a cloud from before Queens."""
    try:
        layout = cleaning_module.layout(cloud.databases)
    except DatabaseUnavailable:
        # Those that answer tell what the others are; where the silent one
        # matters, a gate says so.
        answers = [_named(cloud.databases.cell(name)) for name in here.marks]
        if any(answers) or not answers:
            return None
        raise
    if layout is None:
        return None
    servers = None if here.scope.everything else set(here.servers)
    return cleaning_module.clean(cloud.databases, servers, _alone(cloud, here))


def _alone(cloud: Cloud, here: Situation) -> frozenset[str]:
    """The servers that keep their volumes whatever is asked for."""
    alone = {
        uuid
        for uuid, server in here.servers.items()
        if server.host in here.scope.skip_hosts
    }
    for cell, uuids in _by_cell(here).items():
        alone |= set(_migrating(cloud.databases.cell(cell), uuids))
    return frozenset(alone)


def _by_cell(here: Situation) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for server in here.servers.values():
        found.setdefault(server.cell, []).append(server.uuid)
    return found


def _named(cell: Database) -> bool:
    """Whether its nova names attachments, as since Queens."""
    return cell.tables.has('block_device_mapping', 'attachment_id')


def _with_volumes(cloud: Cloud, here: Situation, ids: set[str]) -> Situation:
    """The same, with these volumes too."""
    both = here.volumes
    if both is None or ids <= set(both.volumes):
        return here
    more = volumes_read.both_sides(
        cloud, sorted(ids - set(both.volumes)), set(here.servers)
    )
    return dataclasses.replace(
        here,
        volumes=dataclasses.replace(
            both,
            volumes={**both.volumes, **more.volumes},
            mappings=(*both.mappings, *more.mappings),
            servers={**both.servers, **more.servers},
            gone={
                uuid: one
                for uuid, one in {**both.gone, **more.gone}.items()
                if uuid not in both.servers and uuid not in more.servers
            },
            elsewhere=both.elsewhere | more.elsewhere,
            looked=more.looked,
        ),
    )


def _apis(
    cloud: Cloud, here: Situation
) -> tuple[dict[str, str], dict[str, str]]:
    versions: dict[str, str] = {}
    unreachable: dict[str, str] = {}
    asked: dict[str, Callable[[], str]] = {
        'nova': lambda: cloud.compute.ping(),
        'placement': lambda: cloud.placement.ping(),
    }
    if here.volumes is not None and here.volumes.volumes:
        asked['cinder'] = lambda: cloud.volume.ping()
    for name, ping in asked.items():
        try:
            versions[name] = ping()
        except RecoveryError as error:
            unreachable[name] = str(error)
    return versions, unreachable


def _places(
    cloud: Cloud,
    request: Request,
    here: Situation,
    unreachable: dict[str, str],
) -> dict[str, Whereabouts]:
    """Where the guests may run, of all servers in scope.

    Where placement is silent, its gate refuses, and the plan goes by the
    migrations alone.

    :param unreachable: placement is added, where it can't be asked
    """
    servers = [server for server in here.servers.values() if server.host]
    held: whereabouts.Held = {}
    if 'placement' not in unreachable:
        try:
            held = whereabouts.allocated(cloud, servers)
        except RecoveryError as error:
            unreachable['placement'] = str(error)
    rows = whereabouts.migrations(cloud, servers)
    said = whereabouts.not_there(request.not_running)
    found = whereabouts.judge_all(servers, rows, held, said)
    off = _off(cloud, {host for one in found.values() for host in one.hosts()})
    doubtful = [one for one in servers if found[one.uuid].hosts() & off]
    seen = {
        one.uuid: {**dict.fromkeys(off, False), **said.get(one.uuid, {})}
        for one in doubtful
    }
    return found | whereabouts.judge_all(doubtful, rows, held, seen)


def _off(cloud: Cloud, hosts: Collection[str]) -> frozenset[str]:
    """Those of the hosts on which no guest runs, since they are off."""
    if not hosts:
        return frozenset()
    driver = fencing.load(cloud.conf, '')
    with futures.ThreadPoolExecutor(read.SIDE_BY_SIDE) as pool:
        answers = pairs(hosts, pool.map(driver.status, hosts))
        return frozenset(h for h, one in answers if one.state == 'off')


def _runs(
    cloud: Cloud,
    here: Situation,
    wrong: Iterable[Mismatch],
    unreachable: Mapping[str, str],
) -> dict[str, bool]:
    """Whether the guests run whose volumes would be taken and given back."""
    asked = {
        one.server: here.servers[one.server]
        for one in wrong
        if one.remedy in ('attach', 'detach-stale')
        and one.server in here.servers
        and here.servers[one.server].vm_state not in gates.OFF
        and here.compute(here.servers[one.server].host) == records.UP
    }
    if 'nova' in unreachable:
        return {}
    answers = read.running(cloud, list(asked.values()), holding=True)
    return {uuid: runs for uuid, runs in answers.items() if runs is not None}


def _connections(
    cloud: Cloud, here: Situation, wrong: Iterable[Mismatch]
) -> dict[Pair, Connection]:
    """How to connect what cinder doesn't hold, as it kept it.

    The row of a deleted attachment stays in cinder's database.
    """
    both, database = here.volumes, cloud.databases.cinder
    lost = [one for one in wrong if one.remedy == 'attach']
    if both is None or database is None or not lost:
        return {}
    named: dict[Pair, str | None] = {}
    for one in lost:
        for mapping in both.mapped(one.volume):
            if mapping.server == one.server:
                named[one.server, one.volume] = mapping.attachment
    kept = volumes.connectors(database, {one for one in named.values() if one})
    hosts = {both.servers[server].host for server, _ in named}
    known = volumes.host_connectors(database, sorted(h for h in hosts if h))
    access = volumes.access(database, named)
    found = {}
    for pair, attachment in named.items():
        host = both.servers[pair[0]].host
        old = kept.get(attachment or '', {})
        connector = old.get('connector')
        if connector is None or connector.get('host') != host:
            connector = known.get(host or '')
        found[pair] = Connection(connector, access[pair])
    return found


def _access(
    cloud: Cloud,
    here: Situation,
    lines: Iterable[mapfile.Line],
    wrong: Iterable[Mismatch],
) -> dict[Pair, Access]:
    """How servers could use what step 4 may attach to them."""
    both, database = here.volumes, cloud.databases.cinder
    if both is None or database is None:
        return {}
    # a mapping of these may go in step 2
    perhaps = {one.volume for one in wrong}
    named: dict[Pair, str | None] = {
        (one.server, one.volume): None for one in lines
    }
    for some in here.devices.values():
        named |= {(one.server, one.volume): one.attachment for one in some}
    return volumes.access(
        database,
        {
            (server, volume): attachment
            for (server, volume), attachment in named.items()
            if volume in perhaps
            or all(one.server != server for one in both.mapped(volume))
        },
    )


def _of_cells(cloud: Cloud, found: Found) -> Found:
    """The claims and migrations of the servers."""
    holders: dict[str, str] = {}
    movers: dict[str, str] = {}
    migrating: dict[str, str] = {}
    claimable = set()
    for cell, uuids in _by_cell(found.situation).items():
        database = cloud.databases.cell(cell)
        if claims.possible(database):
            claimable.add(cell)
            holders |= claims.server_holders(database, uuids)
        movers |= claims.under_hosts(database, uuids)
        migrating |= _migrating(database, uuids)
    return dataclasses.replace(
        found,
        holders=holders,
        movers=movers,
        migrating=migrating,
        claimable=frozenset(claimable),
    )


_MIGRATION = (
    'instance_uuid',
    'migration_type',
    'status',
    'source_compute',
    'dest_compute',
)


def _migrating(database: Database, uuids: Iterable[str]) -> dict[str, str]:
    """Migrations that are not over: their hosts are not what they seem."""
    if not database.tables.has('migrations', 'migration_type'):
        return {}
    status = database.tables['migrations'].c.status
    with Reader.of(database) as reader:
        return {
            row['instance_uuid']: f'{row["migration_type"]}'
            f' {row["source_compute"]} -> {row["dest_compute"]},'
            f' which is {row["status"]},'
            for row in reader.select(
                'migrations',
                _MIGRATION,
                'instance_uuid',
                uuids,
                status.not_in(whereabouts.OVER),
            )
        }


def read_dump(path: str) -> Dump:
    """A file that is said to be a dump; what is wrong with it is told."""
    path = os.path.abspath(path)
    try:
        with open(path, 'rb') as file:
            about = os.fstat(file.fileno())
            checksum = sha256(file)
            problem = _no_dump(file)
    except OSError as error:
        return Dump(path, problem=exceptions.plainly(error))
    if problem and about.st_size:
        return Dump(path, problem=problem)
    return Dump(
        path,
        datetime.datetime.fromtimestamp(
            about.st_mtime, datetime.timezone.utc
        ).replace(tzinfo=None, microsecond=0),
        about.st_size,
        checksum,
    )


def _no_dump(file: BinaryIO) -> str:
    """Why a file can't be a dump, by its head and its last line; or ''.

    What is compressed is looked into. Of the formats of other programs, such
    as the stream of mariadb-backup, nothing is known but that they are none
    of text.
    """
    file.seek(0)
    kind = file.read(8)
    for magic, opened in _COMPRESSED.items():
        if kind.startswith(magic):
            file.seek(0)
            try:
                with opened(file) as inside:
                    return _no_text(*_edges(inside))
            except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
                return (
                    f'it is cut off, or damaged: {exceptions.plainly(error)}'
                )
    file.seek(0)
    return _no_text(*_edges(file))


def _edges(file: Any) -> tuple[bytes, bytes]:
    """The beginning and the end of a file."""
    head: bytes = file.read(_EDGE)
    tail = head
    while more := file.read(1 << 20):
        tail = (tail + more)[-_EDGE:]
    return head, tail


def _no_text(head: bytes, tail: bytes) -> str:
    if b'-- MariaDB dump ' in head or b'-- MySQL dump ' in head:
        if b'-- Dump completed' not in tail:
            return 'it is cut off: "-- Dump completed" is not its end'
        return ''
    text = head.decode('utf-8', 'ignore')
    plain = b'\0' not in head and len(text.encode()) > len(head) - 4
    if plain and not _SQL.search(text):
        begins = printable.clean(text[:40])
        return f'it is no dump: there is no SQL where it begins, but {begins}'
    return ''
