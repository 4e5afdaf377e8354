# SPDX-License-Identifier: Apache-2.0

"""Rows from a database, one after the other, whatever release made it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
import datetime
import decimal
from typing import Any

from oslo_db import exception as db_exception
import sqlalchemy as sa
from sqlalchemy import exc

from nova_recovery.cloud.db import db_errors, rows, schema
from nova_recovery.cloud.db.database import Database
from nova_recovery.exceptions import DatabaseUnavailable
from nova_recovery.snapshot import format as format_module
from nova_recovery.snapshot import writing

#: Makes the rows of a section of what was selected for it.
Convert = Callable[[list[Any]], Sequence[Any]]

_SIMPLE = (str, int, float, type(None))


class Stream(rows.Reader):
    """One database, its tables read with no more than some rows in memory.

    :param source: the name of the database in the file
    """

    def __init__(
        self, source: str, database: Database, connection: sa.engine.Connection
    ) -> None:
        super().__init__(database, connection)
        self.source = source

    def table(self, name: str) -> sa.Table | None:
        """A table, None where the release has none of that name."""
        if not self.database.tables.has(name):
            return None
        return self.database.tables[name]

    def rows(
        self, query: Any, convert: Convert | None = None
    ) -> Generator[Sequence[Any], None, None]:
        """Plain rows from a cursor of the server.

        :raises DatabaseUnavailable: it doesn't answer any more
        :raises RecoveryError: it refuses the query
        """
        try:
            result = self.connection.execute(
                query.execution_options(
                    stream_results=True, max_row_buffer=writing.BATCH
                )
            )
            while batch := result.fetchmany(writing.BATCH):
                for row in batch:
                    values = [
                        v if type(v) in _SIMPLE else plain(v) for v in row
                    ]
                    yield values if convert is None else convert(values)
        except (exc.SQLAlchemyError, db_exception.DBError) as error:
            reason = db_errors.describe(error)
            raise DatabaseUnavailable(self.database.name, reason) from error

    def section(
        self,
        name: str,
        table: sa.Table,
        renamed: Mapping[str, str] | None = None,
        given: Mapping[str, Any] | None = None,
        convert: Mapping[str, Callable[[Any], Any]] | None = None,
        source: Any = None,
        where: Any = None,
    ) -> Iterator[Sequence[Any]]:
        """The live rows of a table as rows of a section.

        A column that the release lacks is NULL.

        :param renamed: what columns of the section are called in the table
        :param given: SQL expressions for columns of the section
        :param convert: column -> what is done to its value
        :param source: what is selected from, where that is a join
        """
        columns = format_module.SECTIONS[name].columns
        query = sa.select(*rows.picked(table, columns, given, renamed))
        query = query.where(schema.live(table))
        if source is not None:
            query = query.select_from(source)
        if where is not None:
            query = query.where(where)
        changes = [
            (columns.index(column), change)
            for column, change in (convert or {}).items()
        ]

        def converted(values: list[Any]) -> Sequence[Any]:
            for place, change in changes:
                values[place] = change(values[place])
            return values

        return self.rows(query, converted if changes else None)

    def moment(self) -> str:
        """The moment by the clock of the database."""
        return f'{plain(self.now())}Z'


def plain(value: Any) -> Any:
    """A value of a database as SQLite and JSON have it; times are UTC."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec='seconds')
    if isinstance(value, decimal.Decimal):
        return int(value) if value == int(value) else float(value)
    if isinstance(value, bytes):
        return value.decode('utf-8', 'replace')
    if value is None or isinstance(value, (str, int, float)):
        return value
    return str(value)
