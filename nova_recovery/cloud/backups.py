# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Volumes and their backups, as cinder's database has them."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Mapping
import dataclasses
import datetime
from typing import Any

import sqlalchemy as sa

from nova_recovery.cloud import database as database_module
from nova_recovery.cloud import facts
from nova_recovery.cloud import schema
from nova_recovery.cloud import volumes as volumes_module

#: What can be restored. While one is being restored it is no worse for it
#: (``_cleanup_one_backup`` in cinder/backup/manager.py).
SOUND = frozenset({'available', 'restoring'})
#: Statuses of volumes with nothing in them that could be backed up.
EMPTY = frozenset(
    {
        'creating',
        'downloading',
        'deleting',
        'managing',
        'error_managing',
        'unmanaging',
    }
)


@dataclasses.dataclass(frozen=True)
class Backup:
    """A live row of ``backups``.

    :ivar project: whom it belongs to: who made it, not who has the volume
    :ivar parent: the backup on which this one builds; None: a full one
    :ivar taken: what the volume held then is in it; UTC
    :ivar size: of the volume then, GiB
    """

    id: str
    volume: str
    project: str | None
    status: str
    parent: str | None
    taken: datetime.datetime
    size: int
    reason: str = ''


@dataclasses.dataclass(frozen=True)
class Volume:
    """A live row of ``volumes`` that is somebody's.

    :ivar backend: ``host@backend`` of cinder-volume
    :ivar servers: UUIDs of those that it is attached to
    """

    id: str
    name: str
    project: str | None
    status: str
    size: int
    backend: str
    zone: str | None = None
    encrypted: bool = False
    servers: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Inventory:
    """Volumes with their backups, of one moment.

    :ivar backups: by volume; of other volumes too, perhaps
    :ivar now: by the database's clock, UTC
    """

    volumes: Mapping[str, Volume]
    backups: Mapping[str, tuple[Backup, ...]]
    now: datetime.datetime


def of_cinder(
    cinder: database_module.Database,
    ids: Collection[str] | None = None,
    project: str | None = None,
) -> Inventory:
    """Return volumes with their backups, one query a table.

    Left out is what is nobody's volume: copies that cinder makes for a
    backup or a migration.

    :param ids: only these volumes; None: all
    :param project: only volumes of this project
    :raises SchemaUnknown: cinder before Kilo, without attachments
    """
    schema.require(cinder, 'volume-attachment')
    volumes = cinder.tables['volumes']
    attachments = cinder.tables['volume_attachment']
    table = cinder.tables['backups']
    query = _volumes(volumes)
    if project is not None:
        query = query.where(volumes.c.project_id == project)
    with cinder.reader() as connection:
        now = connection.execute(sa.select(sa.func.utc_timestamp())).scalar()
        rows = list(
            volumes_module.selected(connection, query, volumes.c.id, ids)
        )
        some = ids
        if project is not None and ids is None:
            some = [row['id'] for row in rows]
        servers: dict[str, list[str]] = {}
        for row in volumes_module.selected(
            connection,
            sa.select(
                attachments.c.volume_id, attachments.c.instance_uuid
            ).where(
                schema.live(attachments),
                attachments.c.instance_uuid.is_not(None),
                attachments.c.attach_status != 'detached',
            ),
            attachments.c.volume_id,
            some,
        ):
            servers.setdefault(row['volume_id'], []).append(
                row['instance_uuid']
            )
        backups: dict[str, list[Backup]] = {}
        copies = set()
        # without an index each batch reads the whole table
        few = some if some is not None and len(some) <= facts.BATCH else None
        for row in volumes_module.selected(
            connection, _backups(table), table.c.volume_id, few
        ):
            backups.setdefault(row['volume_id'], []).append(_backup(row))
            copies.add(row['temp_volume_id'])
    return Inventory(
        {
            row['id']: _volume(row, servers.get(row['id'], ()))
            for row in rows
            if row['id'] not in copies
            and not (row['migration_status'] or '').startswith('target:')
        },
        {
            volume: tuple(sorted(found, key=lambda one: (one.taken, one.id)))
            for volume, found in backups.items()
        },
        now or datetime.datetime.min,
    )


def of_run(
    cinder: database_module.Database, volume: str, name: str
) -> list[dict[str, Any]]:
    """Return the live backups of a volume with a name, the oldest first.

    Reads the whole table, for cinder has no index for it.
    """
    table = cinder.tables['backups']
    query = (
        sa.select(*_state(table))
        .where(
            schema.live(table),
            table.c.volume_id == volume,
            table.c.display_name == name,
        )
        .order_by(table.c.created_at, table.c.id)
    )
    with cinder.reader() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def state(
    cinder: database_module.Database, backup: str
) -> dict[str, Any] | None:
    """Return id, status, fail_reason and host of a backup, None if gone."""
    table = cinder.tables['backups']
    with cinder.reader() as connection:
        row = (
            connection.execute(
                sa.select(*_state(table)).where(
                    schema.live(table), table.c.id == backup
                )
            )
            .mappings()
            .first()
        )
    return None if row is None else dict(row)


def _state(table: sa.Table) -> list[Any]:
    return [table.c[n] for n in ('id', 'status', 'fail_reason', 'host')]


def _volumes(table: sa.Table) -> Any:
    names = (
        'id',
        'display_name',
        'project_id',
        'status',
        'size',
        'host',
        'availability_zone',
        'migration_status',
        'encryption_key_id',
    )
    query = sa.select(*(table.c[name] for name in names)).where(
        schema.live(table), table.c.status.not_in(sorted(EMPTY))
    )
    if 'use_quota' in table.c:
        # cinder's own, since Xena; NULL where an upgrade isn't finished
        query = query.where(
            sa.or_(table.c.use_quota.is_(None), table.c.use_quota == 1)
        )
    return query


def _backups(table: sa.Table) -> Any:
    taken: Any = table.c.created_at
    if 'data_timestamp' in table.c:
        # that of a snapshot, if one was backed up
        taken = sa.func.coalesce(table.c.data_timestamp, taken)
    return sa.select(
        table.c.id,
        table.c.volume_id,
        table.c.project_id,
        table.c.status,
        table.c.parent_id if 'parent_id' in table.c else _none('parent_id'),
        taken.label('taken'),
        table.c.size,
        table.c.fail_reason,
        table.c.temp_volume_id
        if 'temp_volume_id' in table.c
        else _none('temp_volume_id'),
    ).where(schema.live(table))


def _none(name: str) -> Any:
    return sa.null().label(name)


def _backup(row: Any) -> Backup:
    return Backup(
        id=row['id'],
        volume=row['volume_id'],
        project=row['project_id'],
        status=row['status'] or '',
        parent=row['parent_id'],
        taken=row['taken'] or datetime.datetime.min,
        size=row['size'] or 0,
        reason=' '.join((row['fail_reason'] or '').split()),
    )


def _volume(row: Any, servers: Collection[str]) -> Volume:
    return Volume(
        id=row['id'],
        name=row['display_name'] or '',
        project=row['project_id'],
        status=row['status'] or '',
        size=row['size'] or 0,
        backend=(row['host'] or '').partition('#')[0],
        zone=row['availability_zone'],
        encrypted=bool(row['encryption_key_id']),
        servers=tuple(sorted(servers)),
    )
