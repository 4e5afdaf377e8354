# SPDX-License-Identifier: Apache-2.0

"""The tables of a database as they are, whatever release made them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
import threading

from oslo_db import exception as db_exception
import sqlalchemy
from sqlalchemy import exc

from nova_recovery.cloud.db import db_errors
from nova_recovery.exceptions import SchemaUnknown


class Tables:
    """Tables by name, reflected when first asked for.

    :param name: the database as operators call it, for errors
    :param connect: yields a connection
    """

    def __init__(
        self,
        name: str,
        connect: Callable[
            [], AbstractContextManager[sqlalchemy.engine.Connection]
        ],
    ) -> None:
        self._name = name
        self._connect = connect
        self._lock = threading.RLock()
        self._columns: dict[str, frozenset[str]] | None = None
        self._tables: dict[str, sqlalchemy.Table] = {}

    def __getitem__(self, table: str) -> sqlalchemy.Table:
        """Return a table with its columns and their types.

        :raises SchemaUnknown: when there is no such table
        :raises DatabaseUnavailable: when that can't be known
        """
        with self._lock:
            if table not in self._tables:
                if not self.has(table):
                    raise SchemaUnknown(
                        f'the database of {self._name} has no table {table}'
                    )
                with self._connect() as connection:
                    self._tables[table] = sqlalchemy.Table(
                        table,
                        sqlalchemy.MetaData(),
                        autoload_with=connection,
                        resolve_fks=False,
                    )
            return self._tables[table]

    def has(self, table: str, column: str | None = None) -> bool:
        """Tell whether there is a table, or a column of it.

        :raises DatabaseUnavailable: when that can't be known; so too when
            the user may not read the table, which must not be taken for
            the schema of an older release
        """
        columns = self._known_columns()
        if table not in columns:
            self._prove_absence(table)
            return False
        return column is None or column in columns[table]

    def _known_columns(self) -> dict[str, frozenset[str]]:
        with self._lock:
            if self._columns is None:
                columns: dict[str, set[str]] = {}
                with self._connect() as connection:
                    rows = connection.exec_driver_sql(
                        'SELECT table_name, column_name'
                        ' FROM information_schema.columns'
                        ' WHERE table_schema = DATABASE()'
                    )
                    for table, column in rows:
                        columns.setdefault(table, set()).add(column)
                self._columns = {
                    table: frozenset(names) for table, names in columns.items()
                }
            return self._columns

    def _prove_absence(self, table: str) -> None:
        # information_schema shows only what the user has rights on
        with self._connect() as connection:
            try:
                connection.execute(
                    sqlalchemy.select(sqlalchemy.literal(1))
                    .select_from(sqlalchemy.table(table))
                    .limit(0)
                )
            except (exc.SQLAlchemyError, db_exception.DBError) as error:
                if db_errors.code(error) != db_errors.NO_SUCH_TABLE:
                    raise
