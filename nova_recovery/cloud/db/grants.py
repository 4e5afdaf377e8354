# SPDX-License-Identifier: Apache-2.0

"""The least rights that the database user needs."""

from __future__ import annotations

from collections.abc import Mapping
import re

from oslo_db import exception as db_exception
from sqlalchemy import exc

from nova_recovery.cloud.db import db_errors
from nova_recovery.cloud.db.database import Database

#: What carrying plans out writes to a cell, beyond reading everything.
#: Whoever writes to another table adds it here.
CELL: Mapping[str, tuple[str, ...]] = {
    # claim and fence a host
    'services': ('UPDATE',),
    # move a server
    'instances': ('UPDATE',),
    # its tombstone; DELETE to undo
    'migrations': ('INSERT', 'UPDATE', 'DELETE'),
    # consoles that point at the old host
    'console_auth_tokens': ('DELETE',),
    # attachments made anew
    'block_device_mapping': ('UPDATE',),
    # what a resize that is ended keeps of both hosts
    'instance_extra': ('UPDATE',),
    # claim a server
    'task_log': ('INSERT', 'UPDATE', 'DELETE'),
}

#: Nothing is written to the API database: mappings never change.
API: Mapping[str, tuple[str, ...]] = {}

CINDER: Mapping[str, tuple[str, ...]] = {
    # reset a volume
    'volumes': ('UPDATE',),
    'volume_attachment': ('UPDATE',),
    'volume_admin_metadata': ('UPDATE',),
}

# EXPLAIN needs the rights of what it explains, and changes nothing
_PROBES = {
    'INSERT': 'EXPLAIN INSERT INTO `{table}` () VALUES ()',
    'UPDATE': 'EXPLAIN UPDATE `{table}` SET `{column}` = `{column}` '
    'WHERE 1 = 0',
    'DELETE': 'EXPLAIN DELETE FROM `{table}` WHERE 1 = 0',
}

_SAFE = re.compile(r"[^'\\\x00-\x1f]+")


def statements(
    database: Database,
    writes: Mapping[str, tuple[str, ...]],
    user: str,
    host: str,
    planning: bool = False,
) -> list[str]:
    """Return the GRANT statements for one database.

    :param writes: table -> rights; a table that this release doesn't have
        is left out, since a GRANT on it would fail
    :param user: whom to grant to
    :param host: where that user comes from, as MySQL writes it
    :param planning: only what making plans needs
    :raises ValueError: a name that can't be quoted
    :raises DatabaseUnavailable: when its tables can't be known
    """
    if not _SAFE.fullmatch(user) or not _SAFE.fullmatch(host):
        raise ValueError('a user or host has a quote or a control character')
    whom = f"'{user}'@'{host}'"
    name = str(database.schema).replace('`', '``')
    # in a GRANT for a whole database _ and % stand for anything: nova_api
    # would cover novaXapi
    pattern = re.sub(r'([_%])', r'\\\1', name)
    granted = [f'GRANT SELECT ON `{pattern}`.* TO {whom};']
    if not planning:
        granted += [
            f'GRANT {", ".join(rights)} ON `{name}`.`{table}` TO {whom};'
            for table, rights in writes.items()
            if database.tables.has(table)
        ]
    return granted


def missing(
    database: Database, writes: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """Return what the user may not do, such as ``UPDATE instances``.

    A user that lacks it all can still plan.

    :param writes: table -> rights
    :raises DatabaseUnavailable: when the database doesn't answer
    """
    lacking = []
    for table, rights in writes.items():
        if not database.tables.has(table):
            continue
        column = next(iter(database.tables[table].c)).name
        for right in rights:
            statement = _PROBES[right].format(table=table, column=column)
            if not _allowed(database, statement):
                lacking.append(f'{right} {table}')
    return lacking


def _allowed(database: Database, statement: str) -> bool:
    with database.connect() as connection:
        try:
            connection.exec_driver_sql(statement)
        except (exc.SQLAlchemyError, db_exception.DBError) as error:
            if db_errors.is_lost(error):
                raise
            # anything else speaks of the statement, not of the right to it
            return db_errors.code(error) not in db_errors.NO_RIGHT
    return True
