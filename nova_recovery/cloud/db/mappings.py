# SPDX-License-Identifier: Apache-2.0

"""Which servers have which volumes, as the cells of nova have it."""

from __future__ import annotations

from collections.abc import Collection
import dataclasses
from typing import Any

import sqlalchemy as sa

from nova_recovery.cloud.db import schema, volumes
from nova_recovery.cloud.db.database import Database
from nova_recovery.exceptions import SchemaUnknown


@dataclasses.dataclass(frozen=True)
class Mapping:
    """A live row of ``block_device_mapping`` that names a volume.

    :ivar attachment: None where nova attached it before Queens, or failed
        before it had one
    :ivar connected: nova has stored how the hypervisor reaches it
    """

    id: int
    cell: str
    server: str
    volume: str
    device: str | None
    root: bool
    attachment: str | None
    connected: bool


@dataclasses.dataclass(frozen=True)
class Server:
    """What matters here of a live row of ``instances``."""

    uuid: str
    name: str
    cell: str
    host: str | None
    project: str | None
    vm_state: str
    power_state: int | None
    task_state: str | None
    hidden: bool = False


@dataclasses.dataclass(frozen=True)
class Cell:
    """What one cell has.

    :ivar gone: UUIDs of servers that were asked for and are deleted here
    :ivar needs_attachments: its nova deletes mappings whose attachment
        cinder doesn't know, at each reboot (28.0 and later; the column
        ``instances.compute_id`` came with the same release)
    """

    servers: dict[str, Server]
    mappings: tuple[Mapping, ...]
    gone: frozenset[str]
    needs_attachments: bool


def of_cell(
    cell: Database, ids: Collection[str] | None, servers: Collection[str]
) -> Cell:
    """Return the mappings of volumes, and the servers that they are of.

    :param ids: only mappings of these volumes; None: all, and all servers
    :param servers: these servers too, whether they have mappings or not
    """
    schema.require(cell, 'servers')
    if not cell.tables.has('block_device_mapping', 'instance_uuid'):
        # Essex maps by the server's id, and its volumes are nova's own
        raise SchemaUnknown(
            f'the database of {cell.name} has no '
            'block_device_mapping.instance_uuid'
        )
    table = cell.tables['block_device_mapping']
    instances = cell.tables['instances']
    named = cell.tables.has('block_device_mapping', 'attachment_id')
    info: Any = table.c.connection_info.like(volumes.CONNECTED)
    query = sa.select(
        table.c.id,
        table.c.instance_uuid,
        table.c.volume_id,
        table.c.device_name,
        # the device tells before Havana
        (table.c.boot_index if 'boot_index' in table.c else sa.null()).label(
            'boot_index'
        ),
        (table.c.attachment_id if named else sa.null()).label('attachment_id'),
        info.label('connected'),
    ).where(schema.live(table), table.c.volume_id.is_not(None))
    wanted = [
        instances.c[name]
        for name in (
            'uuid',
            'display_name',
            'host',
            'project_id',
            'vm_state',
            'power_state',
            'task_state',
            'deleted',
            'hidden',
        )
        if name in instances.c
    ]
    with cell.reader() as connection:
        mappings = tuple(
            _mapping(row, cell.name)
            for row in volumes.selected(
                connection, query, table.c.volume_id, ids
            )
        )
        asked = {mapping.server for mapping in mappings} | set(servers)
        select = sa.select(*wanted)
        live: dict[str, Server] = {}
        if ids is None:
            for row in volumes.selected(
                connection,
                select.where(schema.live(instances)),
                instances.c.uuid,
                None,
            ):
                live[row['uuid']] = _server(row, cell.name)
        gone: set[str] = set()
        for row in volumes.selected(
            connection, select, instances.c.uuid, asked - set(live)
        ):
            if row['deleted']:
                gone.add(row['uuid'])
            else:
                live[row['uuid']] = _server(row, cell.name)
    # A resize to another cell has a hidden copy of the server there, with
    # mappings of its own (cross_cell_migrate.py in nova/conductor/tasks).
    copies = {uuid for uuid, server in live.items() if server.hidden}
    return Cell(
        servers={u: s for u, s in live.items() if u not in copies},
        mappings=tuple(m for m in mappings if m.server not in copies),
        gone=frozenset(gone - set(live)),
        needs_attachments=cell.tables.has('instances', 'compute_id'),
    )


def _mapping(row: Any, cell: str) -> Mapping:
    return Mapping(
        id=row['id'],
        cell=cell,
        server=row['instance_uuid'],
        volume=row['volume_id'],
        device=row['device_name'],
        root=row['boot_index'] == 0,
        attachment=row['attachment_id'],
        connected=bool(row['connected']),
    )


def _server(row: Any, cell: str) -> Server:
    return Server(
        uuid=row['uuid'],
        name=row['display_name'] or '',
        cell=cell,
        host=row['host'],
        project=row['project_id'],
        vm_state=row['vm_state'] or '',
        power_state=row['power_state'],
        task_state=row['task_state'],
        hidden=bool(row.get('hidden')),
    )
