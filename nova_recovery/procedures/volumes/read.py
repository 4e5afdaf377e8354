# SPDX-License-Identifier: Apache-2.0

"""Both sides of volumes, from the databases. No API is asked."""

from __future__ import annotations

from collections.abc import Callable, Collection
import dataclasses
import time
from typing import Any, TYPE_CHECKING

import sqlalchemy as sa

from nova_recovery.cloud.db import mappings as nova
from nova_recovery.cloud.db import schema, volumes
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import Databases, divide
from nova_recovery.cloud.db.mappings import Mapping
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.cloud.records import Server
from nova_recovery.engine.plan import Plan
from nova_recovery.exceptions import ConfigError
from nova_recovery.procedures.volumes import situation
from nova_recovery.procedures.volumes.situation import BothSides
from nova_recovery.report import wording

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud


@dataclasses.dataclass(frozen=True)
class Scope:
    """What to look at; all None is the whole cloud.

    :ivar host: to the letter
    :ivar server: UUID
    """

    host: str | None = None
    server: str | None = None
    project: str | None = None

    @property
    def everything(self) -> bool:
        return not (self.host or self.server or self.project)


def cinder(cloud: Cloud) -> Database:
    """Cinder's database.

    :raises ConfigError: no cinder.conf leads to it
    """
    found = cloud.databases.cinder
    if found is None:
        raise ConfigError(
            'no cinder.conf was found, or it names no [database]: give it '
            'with --cinder-config-file'
        )
    return found


def both_sides(
    cloud: Cloud,
    ids: Collection[str] | None = None,
    servers: Collection[str] = (),
) -> BothSides:
    """Volumes as cinder and as nova have them.

    One snapshot of cinder, then one of each cell; what is in work between
    them differs, so that a difference is a finding only if it is there at
    a second look.

    :param ids: only these volumes; None: all
    :param servers: these servers too, whether they have volumes or not
    :raises DatabaseUnavailable: cinder's or the API's; a cell that is
        silent is in the situation
    """
    looked = time.monotonic()
    known = volumes.of_cinder(cinder(cloud), ids)
    named = {
        attachment.server
        for volume in known.values()
        for attachment in volume.attachments
        if attachment.server
    }
    cells, unknown = divide(
        cloud.databases.each_cell(
            lambda cell: nova.of_cell(cell, ids, named | set(servers))
        )
    )
    live: dict[str, Server] = {}
    mappings: list[Mapping] = []
    gone: dict[str, Server] = {}
    for found in cells.values():
        live |= found.servers
        mappings += found.mappings
        gone |= found.gone
    asked = (named | set(servers)) - set(live) - set(gone)
    return BothSides(
        volumes=known,
        mappings=tuple(mappings),
        servers=live,
        gone={u: s for u, s in gone.items() if u not in live},
        elsewhere=_elsewhere(cloud.databases, asked, set(cells)),
        strict=frozenset(n for n, c in cells.items() if c.needs_attachments),
        silent={name: error.reason for name, error in unknown.items()},
        disabled=tuple(cell.name for cell in cloud.databases.disabled),
        looked=looked,
    )


def watch(
    cloud: Cloud,
    found: BothSides,
    ids: Collection[str],
    servers: Collection[str] = (),
    progress: Callable[[str], None] = lambda text: None,
) -> BothSides:
    """The same, with volumes that cinder was seen to leave alone, or not.

    Those of which one look can't tell (``situation.doubtful``) are looked at
    again, all at once, ``situation.SETTLE`` seconds after the first look by
    our own clock: no other one has to be right, and what was read meanwhile
    is no time lost. Both sides of them are then as the second look has them.

    :param ids: the volumes that matter
    :param servers: these servers too, as in ``both_sides``
    :param progress: told that it takes its time
    """
    watched = {
        one
        for one in ids
        if one in found.volumes
        and situation.doubtful(found.volumes[one], found.mapped(one))
    }
    if not watched:
        return found
    began = time.monotonic() if found.looked is None else found.looked
    left = situation.SETTLE - (time.monotonic() - began)
    if left > 0:
        progress(
            f'watching {wording.count(len(watched), "volume")} for '
            f'{left:.0f} s: cinder or nova may be at work …'
        )
        # Not a wait for something to happen, but a measurement: that
        # nothing happens can only be seen over time.
        time.sleep(left)
    apart = time.monotonic() - began
    again = both_sides(cloud, sorted(watched), servers)
    return _renewed(
        found,
        dataclasses.replace(
            again,
            volumes={
                volume: dataclasses.replace(
                    one,
                    watched=apart
                    if one.same(found.volumes[volume])
                    and again.mapped(volume) == found.mapped(volume)
                    else 0.0,
                )
                for volume, one in again.volumes.items()
            },
        ),
        watched,
    )


def _renewed(
    found: BothSides, again: BothSides, ids: Collection[str]
) -> BothSides:
    """The same, with what a second look at these volumes saw."""
    live = {**found.servers, **again.servers}
    live = {k: v for k, v in live.items() if k not in again.gone}
    gone = {**found.gone, **again.gone}
    gone = {k: v for k, v in gone.items() if k not in live}
    kept = {k: v for k, v in found.volumes.items() if k not in ids}
    return dataclasses.replace(
        found,
        volumes={**kept, **again.volumes},
        mappings=(
            *(one for one in found.mappings if one.volume not in ids),
            *again.mappings,
        ),
        servers=live,
        gone=gone,
        elsewhere=(found.elsewhere | again.elsewhere) - set(live) - set(gone),
        silent={**found.silent, **again.silent},
    )


def as_planned(found: BothSides, plan: Plan) -> BothSides:
    """The same: a volume with its stamp of then was let alone since then.

    It was watched when the plan was made; as long again is not waited. Of an
    attach that begins now nova's mapping tells, and not yet the stamp.
    """
    planned = {
        item.data['volume']: item.data
        for item in plan.items()
        if 'volume' in item.data
    }

    def let_alone(volume: str, stamp: str | None) -> bool:
        data = planned.get(volume, {})
        mapped = [one.id for one in found.mapped(volume)]
        return (
            stamp is not None
            and stamp == data.get('changed')
            and mapped == data.get('mapped', mapped)
        )

    return dataclasses.replace(
        found,
        volumes={
            volume: dataclasses.replace(one, watched=situation.SETTLE)
            if let_alone(volume, one.stamp)
            and situation.doubtful(one, found.mapped(volume))
            else one
            for volume, one in found.volumes.items()
        },
    )


def of_scope(cloud: Cloud, scope: Scope) -> set[str] | None:
    """The volumes that a scope is about, None for all of them."""
    if scope.everything:
        return None
    ids: set[str] = set()
    servers: set[str] = {scope.server} if scope.server else set()

    def ask(cell: Database) -> tuple[set[str], set[str]]:
        return _of_cell(cell, scope)

    answers, unknown = divide(cloud.databases.each_cell(ask))
    for error in unknown.values():
        # It may have the most of them.
        raise error
    for some_servers, some_volumes in answers.values():
        servers |= some_servers
        ids |= some_volumes
    database = cinder(cloud)
    schema.require(database, 'volume-attachment')
    asked: list[tuple[str, str, str, Collection[str]]] = [
        ('volume_attachment', 'volume_id', 'instance_uuid', servers)
    ]
    if scope.host:
        asked.append(
            ('volume_attachment', 'volume_id', 'attached_host', [scope.host])
        )
    if scope.project:
        asked.append(('volumes', 'id', 'project_id', [scope.project]))
    with Reader.of(database) as reader:
        for table, column, by, values in asked:
            some = reader.select(table, (column,), by, values)
            ids |= {row[column] for row in some}
    return ids


def _of_cell(cell: Database, scope: Scope) -> tuple[set[str], set[str]]:
    """The servers of a scope in a cell, and the volumes that they map."""
    instances = cell.tables['instances']
    where: Any = sa.true()
    if scope.host:
        where = sa.and_(where, instances.c.host == scope.host)
    if scope.project:
        where = sa.and_(where, instances.c.project_id == scope.project)
    with Reader.of(cell) as reader:
        if scope.server:
            # A deleted one may have left a mapping.
            uuids = {scope.server}
        else:
            uuids = {
                row['uuid']
                for row in reader.select('instances', ('uuid',), where=where)
            }
        return uuids, nova.mapped(reader, uuids)


def _elsewhere(
    databases: Databases, servers: Collection[str], read: Collection[str]
) -> frozenset[str]:
    """Those of the servers that nova has in no cell that was read."""
    if databases.api is None:
        silent = {cell.cell.name for cell in databases.cells} - set(read)
        return frozenset(servers) if silent else frozenset()
    answered = {
        known.cell.uuid for known in databases.cells if known.cell.name in read
    }
    mappings = databases.api.tables['instance_mappings']
    cells = databases.api.tables['cell_mappings']
    query = sa.select(mappings.c.instance_uuid, cells.c.uuid).select_from(
        mappings.outerjoin(cells, mappings.c.cell_id == cells.c.id)
    )
    with Reader.of(databases.api) as reader:
        return frozenset(
            server
            for server, cell in reader.fetch(
                query, mappings.c.instance_uuid, servers
            )
            if cell not in answered
        )
