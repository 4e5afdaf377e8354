# SPDX-License-Identifier: Apache-2.0

"""Nobody else moves servers while we do.

What was done since the marker of the snapshot, by others than us and nova's
own power sync. What lies back is history, and the plan takes the servers as
they are now; what was done within the last minutes is movement.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
import dataclasses
import datetime
from typing import Any

import sqlalchemy as sa

from nova_recovery import readiness
from nova_recovery.cloud.db import schema
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import divide
from nova_recovery.engine.findings import Finding
from nova_recovery.exceptions import RecoveryError
from nova_recovery.readiness import Site

LAYER = 'quiet'

#: service type in the catalogue -> who it is, and what stops it
MOVERS = {
    'instance-ha': (
        'Masakari',
        'systemctl stop masakari-hostmonitor masakari-instancemonitor',
    ),
    'load-balancer': (
        "Octavia's health manager",
        'systemctl stop octavia-health-manager',
    ),
}

#: What is read of a cell, at most: times have no index.
_NEWEST = 10000


@dataclasses.dataclass(frozen=True)
class Move:
    """Something that was done to a server.

    :ivar table: ``instance_actions`` or ``migrations``
    :ivar what: the action, or the type and status of the migration
    :ivar user: who asked for it; None: nova by itself
    :ivar age: seconds since it began or went on
    """

    table: str
    id: int
    server: str
    what: str
    request: str | None
    user: str | None
    age: float


class Probe:
    """See :class:`nova_recovery.readiness.Probe`."""

    needs: tuple[str, ...] = ('database/*',)

    def rows(self, site: Site) -> Iterator[Finding]:
        window = float(site.cloud.conf.disaster.quiet)
        markers = _markers(site)
        databases = site.cloud.databases
        answers = databases.each_cell(
            lambda cell: _moves(cell, markers.get(cell.name, {}), window)
        )
        found, silent = divide(answers)
        ours = site.ours()
        for cell, moves in found.items():
            yield judge(cell, moves, ours, window, site.unsure, site.servers)
        for cell, error in silent.items():
            yield Finding(
                LAYER,
                readiness.UNKNOWN,
                cell,
                str(error),
                'nobody else moves anything',
                'mend the database',
            )
        yield from _movers(site)


def judge(
    cell: str,
    moves: Iterable[Move],
    ours: Collection[str],
    window: float,
    unsure: Collection[str] = frozenset(),
    servers: Collection[str] | None = None,
) -> Finding:
    """Whether somebody else is at work in a cell.

    :param window: seconds; 0: whoever is at work is no hindrance
    :param servers: whoever is at work on others is none either, so that no
        member can hold up a whole cloud; None: all matter
    """
    others = [
        move
        for move in moves
        if move.request not in ours
        and move.server not in unsure
        and (servers is None or move.server in servers)
        and not is_power_sync(move)
        and window
        and move.age <= window
    ]
    expected = (
        f'nothing above the marker for {window:g} s, but ours and the '
        'power sync'
    )
    if not others:
        return Finding(
            LAYER, readiness.GO, cell, 'nobody else moves anything', expected
        )
    newest = min(others, key=lambda move: move.age)
    return Finding(
        LAYER,
        readiness.NO_GO,
        cell,
        f'{len(others)} by others; the newest: {newest.table} {newest.id} '
        f'({newest.what} of {newest.server} by '
        f'{newest.user or "nova"}), {max(newest.age, 0):.0f} s ago',
        expected,
        f'keep users from the API, wait {window:g} s and look again; '
        f'what it was: openstack server event list {newest.server}',
    )


def is_power_sync(move: Move) -> bool:
    """Whether nova stopped a server by itself, for it didn't run.

    ``_sync_instance_power_state`` in nova/compute/manager.py, which has no
    user.
    """
    return move.what == 'stop' and not move.user


def _movers(site: Site) -> Iterator[Finding]:
    """Services that move servers by themselves, if there are any.

    Whether their monitors run can't be asked for; what they do is seen
    above.
    """
    try:
        session = site.apis().connection.session
        catalog = session.auth.get_access(session).service_catalog
        types = set(catalog.get_endpoints())
    except (AttributeError, RecoveryError):
        # keystone has a layer of its own
        return
    for kind, (name, remedy) in MOVERS.items():
        if kind in types:
            yield Finding(
                LAYER,
                readiness.GO,
                name,
                'in the catalogue: it may move servers by itself; stop its '
                'monitors first',
                'stopped while servers are started',
                remedy,
            )


def _markers(site: Site) -> dict[str, dict[str, Any]]:
    with site.before() as snapshot:
        if snapshot is None:
            return {}
        return {
            source.name.removeprefix('cell:'): source.markers
            for source in snapshot.sources
            if source.kind == 'cell'
        }


def _moves(
    database: Database, marker: dict[str, Any], window: float
) -> list[Move]:
    with database.reader() as connection:
        now: datetime.datetime = connection.exec_driver_sql(
            'SELECT UTC_TIMESTAMP()'
        ).scalar_one()
        since = now - datetime.timedelta(seconds=window)
        return [
            move
            for name in ('instance_actions', 'migrations')
            for move in _rows(
                database, connection, name, marker.get(name), since, now
            )
        ]


def _rows(
    database: Database,
    connection: sa.engine.Connection,
    name: str,
    marker: int | None,
    since: datetime.datetime,
    now: datetime.datetime,
) -> Iterator[Move]:
    if not database.tables.has(name, 'instance_uuid'):
        return
    table = database.tables[name]
    highest = connection.execute(sa.select(sa.func.max(table.c.id))).scalar()
    moment = sa.func.coalesce(table.c.updated_at, table.c.created_at)
    query = sa.select(table, moment.label('moment')).where(
        schema.live(table),
        moment >= since,
        table.c.id > max(marker or 0, (highest or 0) - _NEWEST),
    )
    for row in connection.execute(query).mappings():
        yield Move(
            table=name,
            id=row['id'],
            server=row['instance_uuid'],
            what=row['action']
            if name == 'instance_actions'
            else f'{row.get("migration_type") or "migration"}, '
            f'{row["status"]}',
            request=row.get('request_id'),
            user=row.get('user_id'),
            age=(now - row['moment']).total_seconds(),
        )
