# SPDX-License-Identifier: Apache-2.0

"""Servers by host, UUID or any name, and all that the databases know."""

from __future__ import annotations

import collections
from collections.abc import Collection, Iterable, Mapping, Sequence
import json
import logging
import re
import types
from typing import Any, TypeVar

import sqlalchemy as sa

from nova_recovery import exceptions
from nova_recovery.cloud import names
from nova_recovery.cloud.db import cells as cells_module
from nova_recovery.cloud.db import schema
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import (
    CellDatabase,
    Databases,
    divide,
    each,
)
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.cloud.names import Meaning
from nova_recovery.cloud.records import (
    Action,
    BlockDevice,
    Migration,
    Server,
    ServerFacts,
)
from nova_recovery.exceptions import Ambiguous, DatabaseUnavailable, NotFound

LOG = logging.getLogger(__name__)

#: Of all servers whose rows are not read whole: a hundred thousand of them.
_NO_ROW: Mapping[str, Any] = types.MappingProxyType({})

#: How many of a server's actions are told, the newest.
ACTIONS = 20
_ACTION = ('action', 'user_id', 'request_id', 'start_time')

S = TypeVar('S', bound=Server)


def list_servers(
    databases: Databases,
    host: str | None = None,
    uuids: Sequence[str] | None = None,
) -> tuple[list[Server], dict[str, DatabaseUnavailable]]:
    """Return live servers, by cell and id, and the cells that are unknown.

    :param host: only those of this host, to the letter: np-rcc4 is not
        np-rcc46, nor NP-RCC4
    :param uuids: only these
    """

    by, values = ('uuid', uuids) if uuids is not None else ('host', None)
    if values is None and host is not None:
        values = [host]

    def ask(database: Database) -> list[Server]:
        with Reader.of(database) as reader:
            live = [
                dict(row)
                for row in reader.select('instances', by=by, values=values)
                # MySQL compares without regard to case or trailing blanks
                if host is None or row['host'] == host
            ]
        return [
            _whole(row, database.name, databases.instance_name_template)
            for row in sorted(live, key=lambda row: row['id'])
        ]

    known, unknown = divide(databases.each_cell(ask))
    return [one for found in known.values() for one in found], unknown


def newest_actions(
    database: Database, uuids: Collection[str]
) -> dict[str, int]:
    """The highest ``instance_actions.id`` of each server that has one."""
    table = database.tables['instance_actions']
    query = sa.select(table.c.instance_uuid, sa.func.max(table.c.id)).group_by(
        table.c.instance_uuid
    )
    with Reader.of(database) as reader:
        return {
            uuid: int(number)
            for uuid, number in reader.fetch(
                query, table.c.instance_uuid, uuids
            )
        }


def find(databases: Databases, text: str) -> Server:
    """Return the one live server that the operator means.

    By its UUID, its name, its name in the hypervisor
    (``instance-000015b9``), that of EC2 (``i-000015b9``), or the id in the
    database (``5561``, ``0x15b9``).

    :raises NotFound: there is none, and every cell was asked
    :raises Ambiguous: several: ids and names repeat in other cells
    :raises DatabaseUnavailable: a cell that could have it, or another one
        of the same name, is down
    """
    meanings = names.meanings(text, databases.instance_name_template)
    unique = meanings[0].column == 'uuid'
    asked: Sequence[CellDatabase] = databases.cells
    if unique:
        asked = _mapped_cells(databases, str(meanings[0].value))
    template = databases.instance_name_template
    known, unknown = divide(
        each(
            [cell.database for cell in asked],
            lambda database: _find_in(database, meanings, template),
        )
    )
    found = _without_copies([s for some in known.values() for s in some])
    if len(found) > 1:
        raise Ambiguous(
            f'{text} could be any of {len(found)} servers; give the UUID',
            [_candidate(one) for one in found],
        )
    if unknown and not (unique and found):
        raise next(iter(unknown.values()))
    if not found:
        raise NotFound(
            f'no server {text}{_not_searched(databases)}',
            _nearly(databases, text),
        )
    return found[0]


def _nearly(databases: Databases, text: str) -> list[str]:
    """Servers that may be meant: their names or UUIDs are nearly that."""

    def ask(database: Database) -> list[Any]:
        table = database.tables['instances']
        query = (
            sa.select(table.c.uuid, table.c.display_name, table.c.host)
            .where(_like(table, text), schema.live(table))
            .limit(_LOOKED_AT)
        )
        with database.reader() as connection:
            return list(connection.execute(query))

    known, _ = divide(databases.each_cell(ask))
    rows = [row for some in known.values() for row in some]
    begin = [row for row in rows if row[0].startswith(text.lower())]
    names = exceptions.near(text, {row[1] or '' for row in rows})
    alike = [row for name in names for row in rows if row[1] == name]
    told = ('  '.join(filter(None, row)) for row in (*begin, *alike))
    return list(dict.fromkeys(told))[: exceptions.NEAR]


def _like(table: Any, text: str) -> Any:
    """Rows whose name has it in it, or begins as it does, or whose UUID."""
    begin = text[: max(2, len(text) // 2)]
    some = [
        table.c.display_name.contains(text, autoescape=True),
        table.c.display_name.startswith(begin, autoescape=True),
    ]
    if re.fullmatch('[0-9a-f-]{4,36}', text.lower()):
        some.append(table.c.uuid.startswith(text.lower()))
    return sa.or_(*some)


#: So many servers are looked at for those that may be meant.
_LOOKED_AT = 500
#: What :func:`server` takes of a row.
COLUMNS = (
    'uuid',
    'id',
    'display_name',
    'host',
    'node',
    'compute_id',
    'vm_state',
    'power_state',
    'task_state',
    'project_id',
    'availability_zone',
    'locked',
    'hidden',
    'image_ref',
    'root_device_name',
)


def server(
    row: Mapping[str, Any], cell: str, into: type[S], /, **more: Any
) -> S:
    """Return the record of a row of ``instances`` of any release.

    :param into: ``Server``, or what derives from it
    :param more: further fields; they win over the row
    """
    hidden = row.get('hidden')
    fields = {
        'uuid': row['uuid'],
        'id': row['id'],
        'name': row.get('display_name') or '',
        'cell': cell,
        'host': row.get('host'),
        'node': row.get('node'),
        'compute_id': row.get('compute_id'),
        'vm_state': row.get('vm_state') or '',
        'power_state': row.get('power_state'),
        'task_state': row.get('task_state'),
        'project': row.get('project_id'),
        'zone': row.get('availability_zone'),
        'locked': bool(row.get('locked')),
        'hidden': None if hidden is None else bool(hidden),
        'image': row.get('image_ref') or None,
        'root_device': row.get('root_device_name') or None,
        'instance_name': '',
        'row': _NO_ROW,
    }
    return into(**{**fields, **more})


def _whole(row: Mapping[str, Any], cell: str, template: str) -> Server:
    """The record of a row with all its columns."""
    return server(
        row,
        cell,
        Server,
        instance_name=names.instance_name(template, row),
        row=row,
    )


def _mapped_cells(databases: Databases, uuid: str) -> Sequence[CellDatabase]:
    """Return the cell that has a UUID, or all where nothing says so.

    With it a cell that is down does not matter for the servers of others.
    """
    if databases.api is None:
        return databases.cells
    mappings = databases.api.tables['instance_mappings']
    cells = databases.api.tables['cell_mappings']
    with databases.api.reader() as connection:
        cell = connection.execute(
            sa.select(cells.c.uuid)
            .select_from(
                mappings.join(cells, mappings.c.cell_id == cells.c.id)
            )
            .where(mappings.c.instance_uuid == uuid)
        ).scalar()
    if cell is None:
        return databases.cells
    if cell == cells_module.CELL0:
        raise NotFound(f'server {uuid} is in cell0: it was never on a host')
    mapped = [known for known in databases.cells if known.cell.uuid == cell]
    if not mapped:
        raise NotFound(
            f'server {uuid} is in cell {cell}, which is disabled; enable it '
            f'with: {cells_module.enable(cell)}'
        )
    return mapped


def _find_in(
    database: Database, meanings: Iterable[Meaning], template: str
) -> list[Server]:
    table = database.tables['instances']
    found: dict[int, Server] = {}
    with database.reader() as connection:
        for meaning in meanings:
            condition = _condition(database, connection, meaning)
            if condition is None:
                continue
            for row in connection.execute(
                sa.select(table).where(condition, schema.live(table))
            ).mappings():
                exact = (
                    not isinstance(meaning.value, str)
                    or row[meaning.column] == meaning.value
                )
                if exact:
                    found[row['id']] = _whole(
                        dict(row), database.name, template
                    )
    return list(found.values())


def _condition(
    database: Database, connection: sa.engine.Connection, meaning: Meaning
) -> sa.sql.elements.ColumnElement[bool] | None:
    table = database.tables['instances']
    if meaning.column != 'ec2':
        if meaning.column not in table.c:
            return None
        return table.c[meaning.column] == meaning.value
    if not database.tables.has('instance_id_mappings'):
        # Essex: the number is the id itself
        return table.c.id == meaning.value
    # since Folsom the two diverge (nova commit 0dc32690fe)
    mapping = database.tables['instance_id_mappings']
    uuid = connection.execute(
        sa.select(mapping.c.uuid).where(
            mapping.c.id == meaning.value, schema.live(mapping)
        )
    ).scalar()
    return None if uuid is None else table.c.uuid == uuid


def _without_copies(found: list[Server]) -> list[Server]:
    # a resize to another cell has a hidden copy of the server there
    # (nova/conductor/tasks/cross_cell_migrate.py)
    shown = {one.uuid for one in found if not one.hidden}
    return [one for one in found if not one.hidden or one.uuid not in shown]


def _candidate(one: Server) -> str:
    return f'{one.uuid}  {one.instance_name}  {one.name}  cell {one.cell}'


def _not_searched(databases: Databases) -> str:
    if not databases.disabled:
        return ''
    disabled = ', '.join(cell.name for cell in databases.disabled)
    return f'; not searched, because disabled: {disabled}'


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
    with Reader.of(database) as reader:
        found = _migrations(reader, uuids)
    return {uuid: tuple(map(_migration, some)) for uuid, some in found.items()}


def _migrations(
    reader: Reader, uuids: Sequence[str]
) -> Mapping[str, Sequence[Any]]:
    """The rows of servers; up to which one they are is remembered."""
    newest = int(reader.highest('migrations') or 0)
    reader.database.seen.setdefault('migrations', newest)
    return reader.grouped('migrations', 'instance_uuid', uuids, deleted=True)


def _of_cell(
    database: Database,
    servers: Sequence[Server],
    specs: Mapping[str, Mapping[str, Any]],
) -> dict[str, ServerFacts]:
    uuids = [server.uuid for server in servers]
    with Reader.of(database) as reader:
        devices = _devices(reader, servers)
        extra = reader.grouped('instance_extra', 'instance_uuid', uuids)
        migrations = _migrations(reader, uuids)
        actions = _actions(reader, uuids)
        metadata = reader.grouped(
            'instance_system_metadata',
            'instance_uuid',
            uuids,
            ('key', 'value'),
        )
        caches = _caches(reader, uuids)
        shares = reader.grouped(
            'share_mapping', 'instance_uuid', uuids, ('id',)
        )
    found = {}
    for server in servers:
        uuid = server.uuid
        extras = (extra.get(uuid) or [{}])[-1]
        found[uuid] = ServerFacts(
            server=server,
            extra=extras,
            devices=tuple(devices.get(uuid, ())),
            migrations=tuple(map(_migration, migrations.get(uuid, ()))),
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
    with Reader.of(api) as reader:
        specs = reader.grouped(
            'request_specs', 'instance_uuid', uuids, ('spec',)
        )
    found = {}
    for uuid, some in specs.items():
        spec = parsed(some[-1]['spec'], f'request_specs of {uuid}')
        if isinstance(spec, dict):
            found[uuid] = spec.get('nova_object.data') or {}
    return found


def _devices(
    reader: Reader, servers: Sequence[Server]
) -> dict[str, list[BlockDevice]]:
    table = 'block_device_mapping'
    keys: dict[Any, str]
    if reader.database.tables.has(table, 'instance_uuid'):
        by, keys = 'instance_uuid', {one.uuid: one.uuid for one in servers}
    else:
        # Essex: by the id of the server
        by, keys = 'instance_id', {one.id: one.uuid for one in servers}
    return {
        keys[key]: [_device(row, keys[key]) for row in some]
        for key, some in reader.grouped(table, by, keys).items()
        if key in keys
    }


def _device(row: Mapping[str, Any], uuid: str) -> BlockDevice:
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


def _migration(row: Mapping[str, Any]) -> Migration:
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


def _actions(reader: Reader, uuids: Sequence[str]) -> dict[str, list[Action]]:
    found = reader.grouped('instance_actions', 'instance_uuid', uuids, _ACTION)
    return {
        uuid: [action(row) for row in some[-ACTIONS:]]
        for uuid, some in found.items()
    }


def action(row: Mapping[str, Any], result: str | None = None) -> Action:
    """Return the record of a row of ``instance_actions``."""
    return Action(
        id=row['id'],
        action=row['action'] or '',
        user=row['user_id'],
        request_id=row['request_id'],
        result=result,
        at=row['start_time'],
    )


def _caches(
    reader: Reader, uuids: Sequence[str]
) -> dict[str, tuple[Mapping[str, Any], ...]]:
    table = 'instance_info_caches'
    # Essex calls the column instance_id, and has the UUID in it all the same
    column = 'instance_uuid'
    if not reader.database.tables.has(table, column):
        column = 'instance_id'
    found = {}
    for uuid, some in reader.grouped(
        table, column, uuids, ('network_info',)
    ).items():
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
