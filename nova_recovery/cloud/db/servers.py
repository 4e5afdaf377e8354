# SPDX-License-Identifier: Apache-2.0

"""Servers by host, UUID or any of their names, in every cell."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from nova_recovery.cloud import names
from nova_recovery.cloud.db import cells as cells_module
from nova_recovery.cloud.db import facts as facts_module
from nova_recovery.cloud.db import schema
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import (
    CellDatabase,
    Databases,
    divide,
    each,
)
from nova_recovery.cloud.names import Meaning
from nova_recovery.cloud.records import Server
from nova_recovery.exceptions import Ambiguous, DatabaseUnavailable, NotFound

facts = facts_module.facts


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

    def ask(database: Database) -> list[Server]:
        table = database.tables['instances']
        queries = [sa.select(table).where(schema.live(table))]
        if host is not None:
            queries = [query.where(table.c.host == host) for query in queries]
        if uuids is not None:
            queries = [
                query.where(table.c.uuid.in_(batch))
                for query in queries
                for batch in facts_module.batches(uuids)
            ]
        with database.reader() as connection:
            rows = [
                dict(row)
                for query in queries
                for row in connection.execute(query).mappings()
            ]
        return [
            server(row, database.name, databases.instance_name_template)
            for row in sorted(rows, key=lambda row: row['id'])
            # MySQL compares without regard to case or trailing blanks
            if host is None or row['host'] == host
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
    with database.reader() as connection:
        return {
            row[0]: int(row[1])
            for batch in facts_module.batches(sorted(uuids))
            for row in connection.execute(
                query.where(table.c.instance_uuid.in_(batch))
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
        raise NotFound(f'no server {text}{_not_searched(databases)}')
    return found[0]


def server(row: Mapping[str, Any], cell: str, template: str) -> Server:
    """Return the record of a row of ``instances`` of any release."""
    hidden = row.get('hidden')
    return Server(
        uuid=row['uuid'],
        id=row['id'],
        name=row.get('display_name') or '',
        instance_name=names.instance_name(template, row),
        cell=cell,
        host=row.get('host'),
        node=row.get('node'),
        compute_id=row.get('compute_id'),
        vm_state=row.get('vm_state'),
        power_state=row.get('power_state'),
        task_state=row.get('task_state'),
        project_id=row.get('project_id'),
        user_id=row.get('user_id'),
        availability_zone=row.get('availability_zone'),
        launched_on=row.get('launched_on'),
        locked=bool(row.get('locked')),
        hidden=None if hidden is None else bool(hidden),
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
        raise NotFound(f'server {uuid} is in cell {cell}, which is disabled')
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
                    found[row['id']] = server(
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
