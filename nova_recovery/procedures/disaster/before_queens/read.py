# SPDX-License-Identifier: Apache-2.0

"""Both sides of a cloud from before Queens, a line a row."""

from __future__ import annotations

import dataclasses

from nova_recovery.cloud.db import bulk, old_volumes, schema
from nova_recovery.cloud.db.bulk import Selection
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import Databases, divide, each
from nova_recovery.cloud.db.old_volumes import Layout
from nova_recovery.exceptions import SchemaUnknown


@dataclasses.dataclass(frozen=True)
class Cell:
    """What nova has (:mod:`nova_recovery.cloud.db.bulk`).

    :ivar servers: live ones: id, uuid, root_device_name
    :ivar mappings: live ones of volumes: id, volume, server as the layout
        names it, device and, where the schema has it, boot_index
    """

    servers: list[str]
    mappings: list[str]


@dataclasses.dataclass(frozen=True)
class Volumes:
    """What cinder has, or nova's own volume service.

    :ivar rows: live ones that aren't available: id, the layout's columns
        and, where the schema has it, migration_status
    :ivar odd: ids of those whose row no line can hold
    :ivar attachments: live ones: id, volume, attach_status, server, host,
        device
    :ivar modes: of admin metadata, live attached_mode: id, volume
    """

    rows: list[str]
    odd: frozenset[str] = frozenset()
    attachments: list[str] = dataclasses.field(default_factory=list)
    modes: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Situation:
    """Both sides, each of one moment."""

    layout: Layout
    cells: dict[str, Cell]
    volumes: Volumes


_ATTACHMENTS = dataclasses.replace(
    old_volumes.ATTACHMENTS,
    columns=(*old_volumes.ATTACHMENTS.columns, 'attached_host', 'mountpoint'),
)


def read(databases: Databases) -> Situation:
    """Read both sides, side by side.

    :raises SchemaUnknown: not a legacy layout
    :raises DatabaseUnavailable: a cell or cinder doesn't answer
    """
    layout = old_volumes.of(databases)
    if layout is None:
        raise SchemaUnknown(
            'this nova knows attachments: its volumes are repaired one by '
            'one, never reset wholesale'
        )
    cells = [known.database for known in databases.cells]
    holder = old_volumes.database(databases, layout, cells[0].name)

    def ask(database: Database) -> tuple[Cell | None, Volumes | None]:
        with database.reader() as connection:
            cell = volumes = None
            if database in cells:
                cell = Cell(
                    bulk.read(connection, _servers(database))[0],
                    bulk.read(connection, _mappings(database, layout))[0],
                )
            if database is holder:
                rows, odd = bulk.read(connection, _volumes(layout))
                volumes = Volumes(
                    rows,
                    frozenset(odd),
                    bulk.read(connection, _ATTACHMENTS)[0]
                    if layout.server is None
                    else [],
                    bulk.read(connection, old_volumes.MODES)[0]
                    if layout.modes
                    else [],
                )
            return cell, volumes

    answers, unknown = divide(each([*{*cells, holder}], ask))
    for error in unknown.values():
        raise error
    return Situation(
        layout,
        {name: cell for name, (cell, _) in answers.items() if cell},
        next(volumes for _, volumes in answers.values() if volumes),
    )


def _servers(database: Database) -> Selection:
    schema.require(database, 'servers')
    return Selection(
        'instances', 'id', ('uuid', 'root_device_name'), 'deleted = 0'
    )


def _mappings(database: Database, layout: Layout) -> Selection:
    columns = ['volume_id', layout.mapped_by, 'device_name']
    # the device tells before Havana
    if database.tables.has('block_device_mapping', 'boot_index'):
        columns.append('boot_index')
    return Selection(
        'block_device_mapping',
        'id',
        tuple(columns),
        'deleted = 0 AND volume_id IS NOT NULL',
    )


def _volumes(layout: Layout) -> Selection:
    selection = layout.volumes(
        "deleted = 0 AND IFNULL(status, '') <> 'available'"
    )
    if layout.migrating:
        return dataclasses.replace(
            selection, columns=(*selection.columns, 'migration_status')
        )
    return selection
