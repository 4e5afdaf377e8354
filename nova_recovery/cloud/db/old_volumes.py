# SPDX-License-Identifier: Apache-2.0


"""Where volumes are, and who has them, before nova knew attachments."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

from sqlalchemy.dialects import mysql

from nova_recovery.cloud.db import bulk, schema
from nova_recovery.cloud.db.bulk import Selection
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import Databases
from nova_recovery.exceptions import ConfigError, SchemaUnknown

#: Statuses that say that a server has the volume, or is about to. No other
#: status is of attachments, and none of the others is ever overwritten.
STALE = (
    'attaching',
    'detaching',
    'error_attaching',
    'error_detaching',
    'in-use',
)
_NOT_MIGRATING = "('', 'none', 'success', 'error')"

#: Of a volume that nobody has.
FREE = {'status': 'available', 'attach_status': 'detached'}
#: What says where a volume is attached, as far as the schema has it; after
#: the server itself.
_WHERE = ('mountpoint', 'attach_time', 'attached_host')


@dataclasses.dataclass(frozen=True)
class Layout:
    """What is where.

    :ivar name: ``L0``, ``L1`` or ``M1``
    :ivar server: the column of ``volumes`` with the server; None in M1
    :ivar cleared: columns of ``volumes`` that become NULL, the server first
    :ivar migrating: ``volumes.migration_status`` is there
    :ivar modes: ``volume_admin_metadata`` is there, with ``attached_mode``
    :ivar mapped_by: the column of ``block_device_mapping`` with the server
    """

    name: str
    server: str | None
    cleared: tuple[str, ...]
    migrating: bool
    modes: bool
    mapped_by: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of ``volumes`` that are compared and written."""
        return (*FREE, *self.cleared)

    @property
    def stale(self) -> str:
        """The condition for volumes that may be cleaned."""
        statuses = "', '".join(STALE)
        found = f"deleted = 0 AND status IN ('{statuses}')"
        if self.migrating:
            found += f" AND IFNULL(migration_status, '') IN {_NOT_MIGRATING}"
        return found

    @property
    def clean(self) -> str:
        """The assignments that clean a volume."""
        return ', '.join(
            [
                *(f"{name} = '{value}'" for name, value in FREE.items()),
                *(f'{name} = NULL' for name in self.cleared),
            ]
        )

    def cleaned(self, key: str) -> str:
        """The line of a volume that was cleaned."""
        return bulk.SEPARATOR.join(
            [key, *FREE.values(), *(bulk.NULL for _ in self.cleared)]
        )

    def volumes(self, where: str) -> Selection:
        """The columns that are compared and written."""
        return Selection('volumes', 'id', self.columns, where)

    def mappings(self) -> Selection:
        """What is compared of nova's live mappings."""
        return Selection(
            'block_device_mapping', 'id', ('volume_id',), 'deleted = 0'
        )


#: What is compared of the attachments of M1. The status is all that is
#: lost when they are deleted.
ATTACHMENTS = Selection(
    'volume_attachment',
    'id',
    ('volume_id', 'attach_status', 'instance_uuid'),
    'deleted = 0',
)

#: Says how a volume was attached, as long as it is; cinder soft-deletes it
#: with the attachment. Other admin metadata stays.
MODES = Selection(
    'volume_admin_metadata',
    'id',
    ('volume_id',),
    "deleted = 0 AND `key` = 'attached_mode'",
)


def of(databases: Databases) -> Layout | None:
    """Return the layout; None where nova knows attachments.

    :raises SchemaUnknown: cells of both kinds, or no volumes anywhere
    :raises DatabaseUnavailable: that can't be known
    """
    answers = {
        known.cell.name: _kind(known.database) for known in databases.cells
    }
    kinds = set(answers.values())
    if kinds == {'modern'} or not kinds:
        return None
    if len(kinds) > 1:
        raise SchemaUnknown(
            'the cells have schemas of different ages: '
            + ', '.join(f'{n} ({k})' for n, k in sorted(answers.items()))
        )
    if kinds == {'essex'}:
        if len(answers) > 1:
            raise SchemaUnknown('Essex had no cells')
        return _on_volumes('L0', databases.cells[0].database, 'instance_id')
    cinder = databases.cinder
    if cinder is None:
        raise ConfigError(
            'the volumes of this cloud are in cinder: give its cinder.conf '
            'with --cinder-config-file'
        )
    if cinder.tables.has('volume_attachment', 'volume_id'):
        return Layout(
            name='M1',
            server=None,
            cleared=(),
            migrating=cinder.tables.has('volumes', 'migration_status'),
            modes=cinder.tables.has('volume_admin_metadata', 'key'),
            mapped_by='instance_uuid',
        )
    schema.require(cinder, 'volume-instance')
    return _on_volumes('L1', cinder, 'instance_uuid')


def database(databases: Databases, layout: Layout, cell: str) -> Database:
    """Return the database with the volumes."""
    if layout.name == 'L0' or databases.cinder is None:
        return databases.cell(cell)
    return databases.cinder


def stale(
    cinder: Database, layout: Layout, volumes: Sequence[str]
) -> set[str]:
    """Those of the volumes that cinder still has as stale."""
    selection = Selection('volumes', 'id', (), layout.stale)
    among = bulk.among('id', volumes)
    with cinder.reader() as connection:
        if bulk.count(connection, selection, among) == len(volumes):
            return set(volumes)
        return set(bulk.rows(connection, selection, among))


def holders(
    cinder: Database, layout: Layout, volumes: Sequence[str]
) -> dict[str, set[str]]:
    """The servers that cinder has each volume for, of those it has stale.

    ``~`` stands for one that it has for nobody in particular.
    """
    if layout.server is not None:
        selection = Selection('volumes', 'id', (layout.server,), layout.stale)
        with cinder.reader() as connection:
            return {
                bulk.key(r): {bulk.field(r, 1)}
                for r in bulk.rows(
                    connection, selection, bulk.among('id', volumes)
                )
            }
    found = {one: {bulk.NULL} for one in stale(cinder, layout, volumes)}
    with cinder.reader() as connection:
        for row in bulk.rows(
            connection, ATTACHMENTS, bulk.among('volume_id', volumes)
        ):
            volume = bulk.field(row, 1)
            if volume in found:
                found[volume] -= {bulk.NULL}
                found[volume].add(bulk.field(row, 3))
    return found


def deleted(database: Database, table: str) -> str:
    """Return what soft-deletes a row: its id, or 1 where it's a boolean."""
    column = database.tables[table].c.deleted
    return '1' if isinstance(column.type, mysql.TINYINT) else 'id'


def _kind(cell: Database) -> str:
    table = 'block_device_mapping'
    if cell.tables.has(table, 'attachment_id'):
        return 'modern'
    if cell.tables.has(table, 'instance_uuid'):
        return 'before attachments'
    schema.require(cell, 'servers', 'volumes-in-nova')
    return 'essex'


def _on_volumes(name: str, database: Database, server: str) -> Layout:
    return Layout(
        name=name,
        server=server,
        cleared=(
            server,
            *(one for one in _WHERE if database.tables.has('volumes', one)),
        ),
        migrating=database.tables.has('volumes', 'migration_status'),
        modes=database.tables.has('volume_admin_metadata', 'key'),
        mapped_by='instance_id' if name == 'L0' else 'instance_uuid',
    )
