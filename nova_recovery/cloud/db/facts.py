# SPDX-License-Identifier: Apache-2.0

"""Everything that the databases know of many servers, in few queries."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping, Sequence
import json
import logging
from typing import Any

import sqlalchemy as sa

from nova_recovery.cloud.db import schema
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import Databases, each
from nova_recovery.cloud.records import (
    Action,
    BlockDevice,
    Migration,
    Server,
    ServerFacts,
)

LOG = logging.getLogger(__name__)

BATCH = 500
ACTIONS = 20

Row = dict[str, Any]
Grouped = Mapping[Any, list[Row]]


def facts(
    databases: Databases, servers: Sequence[Server]
) -> dict[str, ServerFacts]:
    """Return what the databases know of servers, by UUID.

    One query a table for each 500 servers, in one snapshot of each cell;
    the request specs are of the API database and so of a moment later.

    :raises DatabaseUnavailable: when a cell of theirs, or the API database,
        doesn't answer: facts with holes would pass for facts
    """
    by_cell: dict[str, list[Server]] = collections.defaultdict(list)
    for server in servers:
        by_cell[server.cell].append(server)
    specs = _request_specs(databases.api, [server.uuid for server in servers])
    found: dict[str, ServerFacts] = {}
    for answer in each(
        [databases.cell(name) for name in by_cell],
        lambda database: _of_cell(database, by_cell[database.name], specs),
    ).values():
        if isinstance(answer, Exception):
            raise answer
        found |= answer
    return found


def migrations(
    database: Database, uuids: Sequence[str]
) -> dict[str, tuple[Migration, ...]]:
    """Return the rows of ``migrations`` of servers of a cell, by UUID.

    Soft-deleted ones too, oldest first; a server without any is left out.

    :raises DatabaseUnavailable: when the cell doesn't answer
    """
    with database.reader() as connection:
        rows = _Reader(database, connection).grouped(
            'migrations', 'instance_uuid', uuids, deleted=True
        )
    return {
        uuid: tuple(_migration(row) for row in some)
        for uuid, some in rows.items()
    }


def batches(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cut a sequence into pieces that an IN can take."""
    for start in range(0, len(values), BATCH):
        yield values[start : start + BATCH]


class _Reader:
    """Rows of the servers' tables, grouped by server, in one snapshot."""

    def __init__(
        self, database: Database, connection: sa.engine.Connection
    ) -> None:
        self.database = database
        self.connection = connection

    def grouped(
        self,
        table_name: str,
        column: str,
        values: Sequence[Any],
        columns: Sequence[str] = (),
        deleted: bool = False,
    ) -> Grouped:
        """Return {value of column: rows by id}; {} without the table.

        :param columns: only these, as far as the release has them
        :param deleted: soft-deleted rows too
        """
        found: dict[Any, list[Row]] = collections.defaultdict(list)
        if not self.database.tables.has(table_name, column):
            return found
        table = self.database.tables[table_name]
        wanted = [table.c[name] for name in columns if name in table.c]
        query = sa.select(*wanted) if wanted else sa.select(table)
        if not deleted:
            query = query.where(schema.live(table))
        rows: list[Row] = []
        for batch in batches(values):
            rows += [
                dict(row)
                for row in self.connection.execute(
                    query.where(table.c[column].in_(batch))
                ).mappings()
            ]
        # sorted here: the server would sort wide rows on disk
        for row in sorted(rows, key=lambda row: row['id']):
            found[row[column]].append(row)
        return found


def _of_cell(
    database: Database,
    servers: Sequence[Server],
    specs: Mapping[str, Mapping[str, Any]],
) -> dict[str, ServerFacts]:
    uuids = [server.uuid for server in servers]
    with database.reader() as connection:
        reader = _Reader(database, connection)
        devices = _devices(reader, servers)
        extra = reader.grouped('instance_extra', 'instance_uuid', uuids)
        migrations = reader.grouped(
            'migrations', 'instance_uuid', uuids, deleted=True
        )
        actions = _actions(reader, uuids)
        metadata = reader.grouped(
            'instance_system_metadata',
            'instance_uuid',
            uuids,
            ('id', 'instance_uuid', 'key', 'value'),
        )
        caches = _caches(reader, uuids)
        shares = reader.grouped(
            'share_mapping', 'instance_uuid', uuids, ('id', 'instance_uuid')
        )
    found = {}
    for server in servers:
        uuid = server.uuid
        extras = (extra.get(uuid) or [{}])[-1]
        found[uuid] = ServerFacts(
            server=server,
            extra=extras,
            devices=tuple(devices.get(uuid, ())),
            migrations=tuple(
                _migration(row) for row in migrations.get(uuid, ())
            ),
            actions=tuple(actions.get(uuid, ())),
            request_spec=specs.get(uuid),
            system_metadata={
                row['key']: row['value'] for row in metadata.get(uuid, ())
            },
            network_info=caches.get(uuid, ()),
            shares=len(shares.get(uuid, ())),
            flavor=_flavor(extras, uuid),
        )
    return found


def _request_specs(
    api: Database | None, uuids: Sequence[str]
) -> dict[str, Mapping[str, Any]]:
    if api is None or not uuids:
        return {}
    with api.reader() as connection:
        rows = _Reader(api, connection).grouped(
            'request_specs',
            'instance_uuid',
            uuids,
            ('id', 'instance_uuid', 'spec'),
        )
    found = {}
    for uuid, some in rows.items():
        spec = parsed(some[-1]['spec'], f'request_specs of {uuid}')
        if isinstance(spec, dict):
            found[uuid] = spec.get('nova_object.data') or {}
    return found


def _devices(
    reader: _Reader, servers: Sequence[Server]
) -> dict[str, list[BlockDevice]]:
    table = 'block_device_mapping'
    if reader.database.tables.has(table, 'instance_uuid'):
        rows = reader.grouped(
            table, 'instance_uuid', [server.uuid for server in servers]
        )
        return {
            uuid: [_device(row, uuid) for row in some]
            for uuid, some in rows.items()
        }
    # Essex: by the id of the server
    rows = reader.grouped(
        table, 'instance_id', [server.id for server in servers]
    )
    return {
        server.uuid: [_device(row, server.uuid) for row in rows[server.id]]
        for server in servers
        if server.id in rows
    }


def _device(row: Row, uuid: str) -> BlockDevice:
    info = parsed(
        row.get('connection_info'), f'block_device_mapping {row["id"]}'
    )
    volume = row.get('volume_id')
    return BlockDevice(
        id=row['id'],
        uuid=row.get('uuid'),
        instance_uuid=uuid,
        # a number in Essex
        volume_id=None if volume is None else str(volume),
        device_name=row.get('device_name'),
        boot_index=row.get('boot_index'),
        source_type=row.get('source_type'),
        destination_type=row.get('destination_type'),
        attachment_id=row.get('attachment_id'),
        connection_info=info if isinstance(info, dict) else None,
        delete_on_termination=bool(row.get('delete_on_termination')),
        tag=row.get('tag'),
        row=row,
    )


def _migration(row: Row) -> Migration:
    return Migration(
        id=row['id'],
        uuid=row.get('uuid'),
        instance_uuid=row['instance_uuid'],
        source_compute=row.get('source_compute'),
        source_node=row.get('source_node'),
        dest_compute=row.get('dest_compute'),
        dest_node=row.get('dest_node'),
        status=row.get('status'),
        migration_type=row.get('migration_type'),
        deleted=bool(row.get('deleted')),
        created_at=row.get('created_at'),
        row=row,
    )


def _actions(reader: _Reader, uuids: Sequence[str]) -> dict[str, list[Action]]:
    rows = reader.grouped(
        'instance_actions',
        'instance_uuid',
        uuids,
        (
            'id',
            'instance_uuid',
            'action',
            'request_id',
            'user_id',
            'project_id',
            'start_time',
        ),
    )
    return {
        uuid: [
            Action(
                id=row['id'],
                instance_uuid=uuid,
                action=row['action'],
                request_id=row.get('request_id'),
                user_id=row.get('user_id'),
                project_id=row.get('project_id'),
                start_time=row.get('start_time'),
            )
            for row in some[-ACTIONS:]
        ]
        for uuid, some in rows.items()
    }


def _caches(
    reader: _Reader, uuids: Sequence[str]
) -> dict[str, tuple[Mapping[str, Any], ...]]:
    table = 'instance_info_caches'
    # Essex calls the column instance_id, and has the UUID in it all the same
    column = 'instance_uuid'
    if not reader.database.tables.has(table, column):
        column = 'instance_id'
    rows = reader.grouped(table, column, uuids, ('id', column, 'network_info'))
    found = {}
    for uuid, some in rows.items():
        ports = parsed(some[-1]['network_info'], f'{table} of {uuid}')
        found[uuid] = tuple(ports) if isinstance(ports, list) else ()
    return found


def _flavor(extra: Mapping[str, Any], uuid: str) -> Mapping[str, Any] | None:
    stored = parsed(extra.get('flavor'), f'instance_extra of {uuid}')
    current = stored.get('cur') if isinstance(stored, dict) else None
    return current.get('nova_object.data') if current else None


def parsed(text: str | None, what: str) -> Any:
    """Return what a JSON column holds; None where that is nothing.

    A row that is broken must not hide the others: it is told and None.
    """
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        LOG.warning('%s holds no JSON', what)
        return None
