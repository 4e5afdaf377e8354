# SPDX-License-Identifier: Apache-2.0

"""Volumes and their attachments, as cinder's database has them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
import dataclasses
import datetime
from typing import Any

import sqlalchemy as sa

from nova_recovery.cloud.db import facts, schema
from nova_recovery.cloud.db.database import Database

#: Statuses that are of attachments; all others are cinder's own work
#: (creating, deleting, error_deleting, backing-up, retyping, maintenance,
#: awaiting-transfer …, and what a later release may add) and are never
#: touched.
OF_ATTACHMENTS = frozenset(
    {
        'available',
        'in-use',
        'reserved',
        'attaching',
        'detaching',
        'error_attaching',
        'error_detaching',
        'error',
    }
)
#: ``migration_status`` of a volume that isn't being migrated: the last two
#: stay for ever (``AVAILABLE_MIGRATION_STATUS`` in cinder/volume/api.py).
NOT_MIGRATING = frozenset({None, '', 'none', 'success', 'error'})
#: What connection data always has. Judged by the database: the text itself
#: holds secrets and is most of what a mapping weighs.
CONNECTED = '%driver_volume_type%'


@dataclasses.dataclass(frozen=True)
class Attachment:
    """A live row of ``volume_attachment``.

    :ivar server: UUID; None where a host, not a server, uses the volume
    :ivar connected: cinder has connection data for it; None before Queens,
        which didn't store any
    """

    id: str
    volume: str
    server: str | None
    status: str
    host: str | None
    mode: str
    connected: bool | None


@dataclasses.dataclass(frozen=True)
class Volume:
    """A live row of ``volumes``.

    :ivar age: seconds since cinder last changed it or an attachment of it,
        by the database's clock; None: unknown
    :ivar host: the cinder-volume that has it, ``host@backend#pool``
    """

    id: str
    name: str
    project: str | None
    status: str
    attach_status: str
    migration_status: str | None
    multiattach: bool
    age: float | None
    attachments: tuple[Attachment, ...] = ()
    host: str | None = None


def of_cinder(
    cinder: Database, ids: Collection[str] | None = None
) -> dict[str, Volume]:
    """Return live volumes with their live attachments, by id.

    :param ids: only these; None: all
    :raises SchemaUnknown: cinder before Kilo, without attachments
    """
    schema.require(cinder, 'volume-attachment')
    volumes = cinder.tables['volumes']
    attachments = cinder.tables['volume_attachment']
    stored = 'connection_info' in attachments.c
    connected: Any = (
        attachments.c.connection_info.like(CONNECTED) if stored else sa.null()
    )
    columns = [
        volumes.c[name]
        for name in (
            'id',
            'display_name',
            'project_id',
            'status',
            'attach_status',
            'migration_status',
            'multiattach',
            'host',
            'created_at',
            'updated_at',
        )
    ]
    with cinder.reader() as connection:
        now = connection.execute(sa.select(sa.func.utc_timestamp())).scalar()
        rows = list(
            selected(
                connection,
                sa.select(*columns).where(schema.live(volumes)),
                volumes.c.id,
                ids,
            )
        )
        attached = selected(
            connection,
            sa.select(
                attachments.c.id,
                attachments.c.volume_id,
                attachments.c.instance_uuid,
                attachments.c.attach_status,
                attachments.c.attached_host,
                attachments.c.attach_mode,
                attachments.c.created_at,
                attachments.c.updated_at,
                connected.label('connected'),
            ).where(schema.live(attachments)),
            attachments.c.volume_id,
            ids,
        )
        by_volume: dict[str, list[tuple[Attachment, Any]]] = {}
        for row in attached:
            # as cinder reads them (volume_attachment_get_all_by_volume_id)
            if row['attach_status'] != 'detached':
                by_volume.setdefault(row['volume_id'], []).append(
                    (_attachment(row, stored), _changed(row))
                )
    return {
        row['id']: _volume(row, by_volume.get(row['id'], []), now)
        for row in rows
    }


def selected(
    connection: sa.engine.Connection,
    query: Any,
    column: Any,
    values: Collection[str] | None,
) -> Iterator[Any]:
    """Yield the rows of a query, those with a column in values."""
    if values is None:
        yield from connection.execute(query).mappings()
        return
    ordered: Sequence[str] = sorted(values)
    for batch in facts.batches(ordered):
        yield from connection.execute(
            query.where(column.in_(batch))
        ).mappings()


def _changed(row: Any) -> datetime.datetime | None:
    return row['updated_at'] or row['created_at']


def _volume(
    row: Any, attached: list[tuple[Attachment, Any]], now: Any
) -> Volume:
    times = [
        time for time in (_changed(row), *(t for _, t in attached)) if time
    ]
    return Volume(
        id=row['id'],
        name=row['display_name'] or '',
        project=row['project_id'],
        status=row['status'] or '',
        attach_status=row['attach_status'] or 'detached',
        migration_status=row['migration_status'],
        multiattach=bool(row['multiattach']),
        age=(now - max(times)).total_seconds() if times else None,
        attachments=tuple(
            sorted((one for one, _ in attached), key=lambda one: one.id)
        ),
        host=row['host'],
    )


def _attachment(row: Any, stored: bool) -> Attachment:
    return Attachment(
        id=row['id'],
        volume=row['volume_id'],
        server=row['instance_uuid'],
        status=row['attach_status'] or '',
        host=row['attached_host'],
        mode=row['attach_mode'] or '',
        connected=bool(row['connected']) if stored else None,
    )
