# SPDX-License-Identifier: Apache-2.0

"""Rows of a database's tables, whatever release made them."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
import contextlib
import datetime
from typing import Any, TYPE_CHECKING

import sqlalchemy as sa

from nova_recovery.cloud.db import schema
from nova_recovery.cloud.db.database import Database

#: How many values an IN gets at a time.
BATCH = 500

if TYPE_CHECKING:
    from typing_extensions import Self

Row = Mapping[str, Any]


class Reader:
    """One database in one snapshot: all that it reads is of one moment.

    :ivar connection: for what is more than rows of one table
    """

    def __init__(
        self, database: Database, connection: sa.engine.Connection
    ) -> None:
        self.database = database
        self.connection = connection

    @classmethod
    @contextlib.contextmanager
    def of(cls, database: Database) -> Iterator[Self]:
        """Yield a reader in a snapshot of its own.

        :raises DatabaseUnavailable: when it can't be had, or breaks
        """
        with database.reader() as connection:
            yield cls(database, connection)

    def select(
        self,
        name: str,
        columns: Iterable[str] = (),
        by: str = '',
        values: Iterable[Any] | None = None,
        where: Any = None,
        given: Mapping[str, Any] | None = None,
        deleted: bool = False,
    ) -> Iterator[Row]:
        """Yield rows of a table; no order is promised.

        :param columns: what the release doesn't have is None; () is all
            that it has
        :param by: a column, and only rows with one of the values in it;
            None: whatever is in it
        :param where: a further condition
        :param given: SQL expressions by the name they get in the row
        :param deleted: soft-deleted rows too
        :raises SchemaUnknown: there is no such table
        """
        table = self.database.tables[name]
        query = sa.select(*picked(table, columns, given))
        if not deleted:
            query = query.where(schema.live(table))
        if where is not None:
            query = query.where(where)
        column = table.c[by] if by else None
        for row in self.fetch(query, column, values):
            yield row._mapping

    def grouped(
        self,
        name: str,
        by: str,
        values: Iterable[Any],
        columns: Iterable[str] = (),
        deleted: bool = False,
    ) -> dict[Any, list[dict[str, Any]]]:
        """Return the rows for each value of a column, by id.

        Nothing where the release has no such table or column.
        """
        found: dict[Any, list[dict[str, Any]]] = collections.defaultdict(list)
        if not self.database.tables.has(name, by):
            return found
        rows = self.select(
            name,
            dict.fromkeys(('id', by, *columns)) if columns else (),
            by,
            values,
            deleted=deleted,
        )
        # sorted here: the server would sort wide rows on disk
        for row in sorted(map(dict, rows), key=lambda row: row['id']):
            found[row[by]].append(row)
        return found

    def fetch(
        self,
        query: Any,
        column: Any = None,
        values: Iterable[Any] | None = None,
        batch: int = BATCH,
    ) -> Iterator[Any]:
        """Yield rows of a query, as tuples; those with one of the values.

        :param values: of the column; None: all rows
        """
        if values is None:
            yield from self.connection.execute(query)
            return
        for some in batches(sorted(values), batch):
            yield from self.connection.execute(query.where(column.in_(some)))

    def highest(self, name: str, column: str = 'id') -> Any:
        """Return the highest value of a column; None where there is none."""
        if not self.database.tables.has(name, column):
            return None
        found = self.database.tables[name].c[column]
        return self.connection.execute(sa.select(sa.func.max(found))).scalar()

    def now(self) -> datetime.datetime:
        """Return the moment by the database's clock, in UTC without a zone."""
        found: datetime.datetime = self.connection.execute(
            sa.select(sa.func.utc_timestamp())
        ).scalar_one()
        return found


def picked(
    table: sa.Table,
    columns: Iterable[str],
    given: Mapping[str, Any] | None = None,
    renamed: Mapping[str, str] | None = None,
) -> list[Any]:
    """Return what to select, NULL for what the release doesn't have.

    :param columns: () is all that the table has
    :param given: SQL expressions by the name they get, of columns or beside
        them
    :param renamed: what columns are called in the table
    """
    wanted: dict[str, Any] = dict(given or {})
    names = renamed or {}
    for name in columns or table.c.keys():
        own = names.get(name, name)
        if name not in wanted:
            wanted[name] = table.c[own] if own in table.c else sa.null()
    order = dict.fromkeys((*columns, *wanted))
    return [wanted[name].label(name) for name in order]


def batches(
    values: Sequence[Any], size: int = BATCH
) -> Iterator[Sequence[Any]]:
    """Cut a sequence into pieces that an IN can take."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
