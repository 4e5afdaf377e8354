# SPDX-License-Identifier: Apache-2.0

"""The rows of one server, as changes read them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from nova_recovery.changes.base import At
from nova_recovery.cloud.db.database import Database
from nova_recovery.exceptions import Conflict, NotFound


def database(at: At) -> Database:
    """The cell database that an item names."""
    return at.cloud.databases.cell(at.data['cell'])


def server_row(at: At) -> dict[str, Any]:
    """The live row of the item's server, from the writer.

    :raises NotFound: the server was deleted
    """
    cell = database(at)
    with cell.reader() as connection:
        return instance(connection, cell, at.data['uuid'])


def instance(
    connection: sa.engine.Connection, cell: Database, uuid: str
) -> dict[str, Any]:
    instances = cell.tables['instances']
    row = (
        connection.execute(
            sa.select(instances).where(
                instances.c.uuid == uuid, instances.c.deleted == 0
            )
        )
        .mappings()
        .first()
    )
    if row is None:
        raise NotFound(f'server {uuid} was deleted')
    return dict(row)


def expect_parked(at: At) -> None:
    """What a moved server has on its new host may be taken from it.

    Of one that was adopted there (``adopted`` in the data) the row says that
    it runs, and the hypervisor whether it does.

    :raises Conflict: somebody started it there, with or without us
    """
    row = server_row(at)
    if at.data.get('adopted'):
        if not at.cloud.compute.off(at.data['uuid']):
            raise Conflict(
                f'server {at.data["uuid"]} has its guest on {row["host"]}, '
                'which needs that'
            )
        return
    if row['vm_state'] != 'stopped' or row['task_state'] is not None:
        raise Conflict(
            f'server {at.data["uuid"]} is {row["vm_state"]} on '
            f'{row["host"]}, task {row["task_state"] or "none"}: its guest '
            'needs that'
        )


def differences(
    seen: dict[str, Any], now: dict[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Columns that are no longer as seen: name -> (seen, now)."""
    return {
        key: (value, now.get(key))
        for key, value in seen.items()
        if now.get(key) != value
    }


def text(value: object) -> str:
    """The value of a column for people."""
    return 'none' if value is None else str(value)


def tell(found: dict[str, tuple[Any, Any]]) -> str:
    """Differences for people, one line."""
    return ', '.join(
        f'{key} was {was!r} and is {now!r}'
        for key, (was, now) in sorted(found.items())
    )
