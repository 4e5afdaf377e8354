# SPDX-License-Identifier: Apache-2.0

"""A MariaDB server for the tests of one process, and rows for it."""

from __future__ import annotations

import atexit
import functools
import pathlib
import tempfile
from typing import Any

from tests.cloud.mariadb import MariaDB

# not the directory that oslotest makes for a single test and removes
_TEMPORARY = tempfile.gettempdir()

SCHEMAS = pathlib.Path(__file__).parents[1] / 'schemas'


@functools.cache
def shared() -> MariaDB:
    """Return a running server, started when first asked for."""
    server = MariaDB(
        tempfile.mkdtemp(prefix='nova-recovery-db-', dir=_TEMPORARY)
    )
    server.start()
    atexit.register(server.stop, wipe=True)
    return server


def load(database: str, schema: str) -> None:
    """Make a database anew with one of the layouts in tests/schemas."""
    server = shared()
    server.sql(None, f'DROP DATABASE IF EXISTS `{database}`')
    server.load(database, SCHEMAS / f'{schema}.sql')
    if schema == 'old-folsom-nova':
        # what Folsom's migrations make of the column; its model is wrong
        server.sql(
            database,
            'ALTER TABLE block_device_mapping'
            ' MODIFY instance_uuid VARCHAR(36)',
        )


class Rows:
    """Puts rows into a database whatever release made it.

    :param database: the database's name on the shared server
    """

    def __init__(self, database: str) -> None:
        self._connection = shared().connect(database)
        self._columns: dict[str, set[str]] = {}
        with self._connection.cursor() as cursor:
            cursor.execute('SET foreign_key_checks = 0')
            cursor.execute(
                'SELECT table_name AS t, column_name AS c'
                ' FROM information_schema.columns'
                ' WHERE table_schema = DATABASE()'
            )
            for row in cursor.fetchall():
                self._columns.setdefault(row['t'], set()).add(row['c'])

    def has(self, table: str, column: str) -> bool:
        return column in self._columns.get(table, ())

    def add(self, table: str, **values: Any) -> int | None:
        """Insert a row, without the columns that the release lacks.

        Returns its id, None when the release has no such table.
        """
        if table not in self._columns:
            return None
        known = {
            name: value
            for name, value in values.items()
            if name in self._columns[table]
        }
        names = ', '.join(f'`{name}`' for name in known)
        marks = ', '.join(['%s'] * len(known))
        with self._connection.cursor() as cursor:
            cursor.execute(
                f'INSERT INTO `{table}` ({names}) VALUES ({marks})',
                list(known.values()),
            )
            return int(cursor.lastrowid)

    def add_server(
        self, uuid: str, host: str, name: str, **values: Any
    ) -> int:
        """Insert a live, active server; return its id."""
        number = self.add(
            'instances',
            **{
                'uuid': uuid,
                'host': host,
                'node': host,
                'display_name': name,
                'hostname': name,
                'vm_state': 'active',
                'power_state': 1,
                'project_id': 'demo',
                'user_id': 'alice',
                'deleted': 0,
                'launched_on': host,
                'availability_zone': 'nova',
                'hidden': 0,
                'locked': 0,
                'shutdown_terminate': 0,
                'disable_terminate': 0,
                **values,
            },
        )
        assert number is not None
        return number

    def sql(self, statement: str, values: Any = None) -> list[dict[str, Any]]:
        """Carry out one statement; return its rows."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    def close(self) -> None:
        self._connection.close()
