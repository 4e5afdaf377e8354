# SPDX-License-Identifier: Apache-2.0

"""Rows of a volume on both sides, as changes read and write them."""

from __future__ import annotations

import datetime
from typing import Any

from oslo_utils import timeutils
import sqlalchemy as sa

from nova_recovery.changes import cell
from nova_recovery.changes.base import At
from nova_recovery.cloud.db import cas, schema, volumes
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.volumes import Volume
from nova_recovery.engine.change import JSON
from nova_recovery.exceptions import DatabaseUnavailable, NotFound


def cinder(at: At) -> Database:
    """Cinder's database.

    :raises DatabaseUnavailable: the cinder.conf that the plan was made with
        isn't here
    """
    found = at.cloud.databases.cinder
    if found is None:
        raise DatabaseUnavailable(
            'cinder', 'no cinder.conf was found, or it names no [database]'
        )
    return found


def volume(at: At) -> Volume:
    """The item's volume with its live attachments.

    :raises NotFound: it was deleted
    """
    uuid = at.data['volume']
    found = volumes.of_cinder(cinder(at), [uuid])
    if uuid not in found:
        raise NotFound(f'volume {uuid} was deleted')
    return found[uuid]


def mapping(at: At, any_one: bool = False) -> JSON | None:
    """nova's live mapping of the item's volume for its server.

    The one with the id ``mapping``, where the item names it.

    :param any_one: whichever it has
    """
    database = cell.database(at)
    table = database.tables['block_device_mapping']
    query = sa.select(table).where(
        table.c.instance_uuid == at.data['uuid'],
        table.c.volume_id == at.data['volume'],
        schema.live(table),
    )
    if at.data.get('mapping') is not None and not any_one:
        query = query.where(table.c.id == at.data['mapping'])
    with database.reader() as connection:
        row = connection.execute(query).mappings().first()
    return None if row is None else dict(row)


def connected(row: JSON) -> bool:
    """Whether a mapping has stored how the hypervisor reaches the volume."""
    return 'driver_volume_type' in (row['connection_info'] or '')


def update_mapping(at: At, seen: JSON, values: JSON) -> None:
    """Change the item's mapping if it is as seen.

    :raises Conflict: it is not
    """
    database = cell.database(at)

    def write(connection: sa.engine.Connection) -> None:
        cas.update_one(
            connection,
            database.tables['block_device_mapping'],
            {'id': at.data['mapping']},
            seen,
            values,
        )

    database.write(write)


#: Of a before-image: what is written is stamped, and the stamp is a note.
#: Journals of before have no such image.
STAMPS = {'stamps': True}


def stamp(at: At) -> datetime.datetime:
    """The moment of a write, noted before it, so that an undo knows it.

    Whole seconds: of parts of one MariaDB keeps none, and MySQL rounds.
    """
    now = timeutils.utcnow().replace(microsecond=0)
    at.note(written=now.isoformat())
    return now


def written(at: At) -> bool:
    """Whether the change may have written anything.

    Where it hasn't, what is there as it wanted it is others' work.
    """
    return not at.image.get('stamps') or 'written' in at.notes


def ours(at: At, column: str = 'updated_at') -> JSON:
    """What a row must have besides its values to be as the change left it.

    Values may have gone and come back since, by others' work.
    """
    noted = at.notes.get('written')
    if not at.image.get('stamps') or noted is None:
        return {}
    return {column: datetime.datetime.fromisoformat(noted)}


def volume_row(
    connection: sa.engine.Connection, database: Database, uuid: str
) -> JSON:
    """The live row of a volume.

    :raises NotFound: it was deleted
    """
    table = database.tables['volumes']
    row = (
        connection.execute(
            sa.select(table).where(table.c.id == uuid, schema.live(table))
        )
        .mappings()
        .first()
    )
    if row is None:
        raise NotFound(f'volume {uuid} was deleted')
    return dict(row)


def attachments(
    connection: sa.engine.Connection,
    database: Database,
    uuid: str,
    lock: bool = False,
) -> dict[str, str]:
    """The live attachments of a volume: id -> attach_status."""
    table = database.tables['volume_attachment']
    status = sa.func.coalesce(table.c.attach_status, '')
    query = sa.select(table.c.id, status).where(
        table.c.volume_id == uuid, schema.live(table), status != 'detached'
    )
    if lock:
        query = query.with_for_update()
    return {row[0]: row[1] for row in connection.execute(query)}


def attached_mode(
    connection: sa.engine.Connection, database: Database, uuid: str
) -> list[int]:
    """The rows of admin metadata that go with the last attachment."""
    if not database.tables.has('volume_admin_metadata'):
        return []
    table = database.tables['volume_admin_metadata']
    return [
        row[0]
        for row in connection.execute(
            sa.select(table.c.id).where(
                table.c.volume_id == uuid,
                table.c.key == 'attached_mode',
                schema.live(table),
            )
        )
    ]


def set_metadata(
    connection: sa.engine.Connection,
    database: Database,
    ids: list[int],
    deleted_at: Any,
) -> None:
    """Delete rows of admin metadata, or bring them back (None)."""
    if ids:
        table = database.tables['volume_admin_metadata']
        connection.execute(
            sa.update(table)
            .where(table.c.id.in_(ids))
            .values(
                deleted=0 if deleted_at is None else 1, deleted_at=deleted_at
            )
        )
