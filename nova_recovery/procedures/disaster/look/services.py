# SPDX-License-Identifier: Apache-2.0

"""The services of nova and of cinder, and which of them are up."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any, TYPE_CHECKING

import sqlalchemy as sa

from nova_recovery.cloud.db import schema
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import divide
from nova_recovery.exceptions import DatabaseUnavailable, SchemaUnknown
from nova_recovery.procedures.disaster import situation
from nova_recovery.procedures.disaster.situation import Service

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

COMPUTE = 'nova-compute'

#: They have a row for their version and send no heartbeat.
_SILENT = frozenset({'nova-osapi_compute', 'nova-metadata'})

#: Seconds without a heartbeat after which cinder calls a service down.
DOWN_TIME = 60


@dataclasses.dataclass(frozen=True)
class Services:
    """The services of a database, by its own clock."""

    services: tuple[Service, ...]
    now: datetime.datetime


def of_cells(
    cloud: Cloud,
) -> tuple[dict[str, Services], dict[str, DatabaseUnavailable]]:
    """What each cell has, and the cells that don't answer."""
    down_time = cloud.nova.service_down_time
    return divide(
        cloud.databases.each_cell(lambda cell: read(cell, down_time))
    )


def of_cinder(cloud: Cloud) -> tuple[Service, ...]:
    """Cinder's; none where its database doesn't answer.

    That it doesn't is told where its volumes are.
    """
    database = cloud.databases.cinder
    if database is None:
        return ()
    try:
        return read(database, DOWN_TIME).services
    except (DatabaseUnavailable, SchemaUnknown):
        return ()


def read(database: Database, down_time: int) -> Services:
    """The services of nova in a cell, or of cinder in its database.

    Up or down as nova's and cinder's own APIs judge it, by the age of the
    last heartbeat, with the database's clock for that of the API.
    """
    table = database.tables['services']
    query = sa.select(
        *(
            table.c[name]
            for name in (
                'host',
                'binary',
                'disabled',
                'forced_down',
                'last_seen_up',
                'updated_at',
                'created_at',
            )
            if name in table.c
        )
    ).where(schema.live(table))
    with database.reader() as connection:
        now: datetime.datetime = connection.execute(
            sa.select(sa.func.utc_timestamp())
        ).scalar_one()
        rows = connection.execute(query).mappings().all()
    return Services(
        tuple(
            Service(
                binary=row['binary'] or '',
                host=row['host'] or '',
                cell=database.name,
                state=_state(row, now, down_time),
                last_seen=_seen(row),
                disabled=bool(row['disabled']),
            )
            for row in rows
            if row['binary'] not in _SILENT
        ),
        now,
    )


def _seen(row: Any) -> datetime.datetime | None:
    # as nova/servicegroup/drivers/db.py and cinder/objects/service.py
    seen = row.get('last_seen_up') or row['updated_at'] or row['created_at']
    return seen if isinstance(seen, datetime.datetime) else None


def _state(row: Any, now: datetime.datetime, down_time: int) -> str:
    if row.get('forced_down'):
        return situation.FORCED_DOWN
    seen = _seen(row)
    if seen is None:
        return situation.DOWN
    age = (now - seen).total_seconds()
    if age < -down_time:
        return situation.UNKNOWN
    return situation.UP if age <= down_time else situation.DOWN
