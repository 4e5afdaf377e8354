# SPDX-License-Identifier: Apache-2.0

"""Tables of a database without a server: in SQLite, milliseconds each.

Either as few columns as a test needs, or those of a release as its dump in
``tests/schemas`` has them.
"""

from __future__ import annotations

from collections.abc import Iterable
import functools
import pathlib
import re
import sqlite3
from typing import Any

from oslo_utils import timeutils
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from nova_recovery.exceptions import Conflict

SCHEMAS = pathlib.Path(__file__).parents[1] / 'schemas'

_NUMBERS = {'id', 'deleted', 'power_state', 'hidden', 'dest_compute_id'}
_TABLE = re.compile(r'^CREATE TABLE `(\w+)` \(\n(.*?)\n\) ENGINE', re.M | re.S)
_COLUMN = re.compile(r'^  `(\w+)` (\w+)(?:\((\d+)\))?(.*?),?$', re.M)
_KEY = re.compile(r'^  (PRIMARY|UNIQUE) KEY (?:`\w+` )?\((.*?)\),?$', re.M)
_TYPES: dict[str, Any] = {
    'bigint': sa.Integer,
    'datetime': sa.DateTime,
    'float': sa.Float,
    'int': sa.Integer,
    'timestamp': sa.DateTime,
}
#: What our own SQL has that SQLite hasn't.
_MYSQL = (
    (re.compile(r'^SET SESSION .*'), 'SELECT 1'),
    (re.compile(r" SEPARATOR ('\n')\)"), r', \1)'),
    (re.compile(r'\bBINARY CONCAT_WS'), 'CONCAT_WS'),
    (re.compile(r' FOR UPDATE$'), ''),
    (re.compile(r' AS CHAR\)'), ' AS TEXT)'),
)


class Schema:
    """A database of which only the tables are looked at."""

    def __init__(self, **columns: str) -> None:
        self.metadata = sa.MetaData()
        self._tables = {
            name: sa.Table(name, self.metadata, *map(_guessed, words.split()))
            for name, words in columns.items()
        }
        self.tables = self
        self.seen: dict[str, int] = {}

    def __getitem__(self, name: str) -> sa.Table:
        return self._tables[name]

    def has(self, table: str, column: str | None = None) -> bool:
        found = self._tables.get(table)
        return found is not None and (column is None or column in found.c)


class Memory(Schema):
    """Tables of a database, in memory; in a file for several threads."""

    def __init__(self, file: str = '', **columns: str) -> None:
        super().__init__(**columns)
        self.name = 'memory'
        self._open(file)
        self.metadata.create_all(self.engine)

    def _open(self, file: str = '') -> None:
        self.engine = sa.create_engine(
            f'sqlite:///{file}',
            poolclass=sa.pool.NullPool if file else sa.pool.StaticPool,
            connect_args={'check_same_thread': False},
        )
        sa.event.listen(self.engine, 'connect', _teach)
        sa.event.listen(
            self.engine, 'before_cursor_execute', _in_sqlite, retval=True
        )
        self.reader = self.connect = self.engine.connect

    def write(self, work: Any) -> Any:
        try:
            with self.engine.begin() as connection:
                return work(connection)
        except sa.exc.IntegrityError as error:
            raise Conflict('such a row exists already') from error

    def add(self, table: str, **values: Any) -> None:
        self.write(lambda c: c.execute(sa.insert(self[table]).values(values)))

    def set(self, table: str, **values: Any) -> None:
        """In all rows of a table."""
        self.write(lambda c: c.execute(sa.update(self[table]).values(values)))

    def clear(self, table: str) -> None:
        self.write(lambda c: c.execute(sa.delete(self[table])))

    def rows(self, table: str, *columns: str) -> list[dict[str, Any]]:
        """All rows of a table, of these columns or of all."""
        found = self[table]
        chosen = [found.c[name] for name in columns] or [found]
        with self.reader() as connection:
            rows = connection.execute(sa.select(*chosen)).mappings()
            return [dict(row) for row in rows]

    def row(self, table: str, *columns: str) -> dict[str, Any]:
        """The only row of a table."""
        (found,) = self.rows(table, *columns)
        return found


class Real(Memory):
    """Tables of a release as they are.

    :param dump: the name of a file in ``tests/schemas``, ``nova34-cinder``
    :param names: of the tables; those that it doesn't have are left out
    :param name: what operators call the database
    """

    def __init__(
        self, dump: str, names: Iterable[str], name: str = 'memory'
    ) -> None:
        self.name = name
        self._tables, made = _made(dump, tuple(names))
        self.tables = self
        self.seen = {}
        self._open()
        with self.connect() as connection:
            # making them takes a hundred times as long
            made.backup(connection.connection.driver_connection)


@functools.cache
def _made(
    dump: str, names: tuple[str, ...]
) -> tuple[dict[str, sa.Table], sqlite3.Connection]:
    """Tables, and a database that has them."""
    metadata = sa.MetaData()
    known = _dumped(dump)
    tables = {
        name: _table(name, known[name], metadata)
        for name in names
        if name in known
    }
    engine = sa.create_engine('sqlite://', poolclass=sa.pool.StaticPool)
    metadata.create_all(engine)
    made = sqlite3.connect(':memory:', check_same_thread=False)
    with engine.connect() as connection:
        connection.connection.driver_connection.backup(made)
    engine.dispose()
    return tables, made


@functools.cache
def _dumped(dump: str) -> dict[str, str]:
    text = (SCHEMAS / f'{dump}.sql').read_text()
    return dict(_TABLE.findall(text))


def _table(name: str, text: str, metadata: sa.MetaData) -> sa.Table:
    keys = dict(_KEY.findall(text))
    primary = re.findall(r'`(\w+)`', keys.get('PRIMARY', ''))
    unique = [
        sa.UniqueConstraint(*re.findall(r'`(\w+)`', columns))
        for kind, columns in _KEY.findall(text)
        if kind == 'UNIQUE'
    ]
    columns = [
        sa.Column(
            column,
            _type(kind, size),
            primary_key=column in primary,
            nullable='NOT NULL' not in rest,
            server_default=_default(rest),
        )
        for column, kind, size, rest in _COLUMN.findall(text)
    ]
    return sa.Table(name, metadata, *columns, *unique)


def _type(kind: str, size: str) -> Any:
    if kind == 'tinyint':
        # what tells a boolean from an id in old schemas
        return mysql.TINYINT(int(size)).with_variant(sa.Integer(), 'sqlite')
    return _TYPES.get(kind, sa.String)()


def _default(rest: str) -> Any:
    found = re.search(r"DEFAULT ('[^']*'|[\d.]+)", rest)
    return sa.text(found[1]) if found else None


def _guessed(column: str) -> sa.Column[Any]:
    if column in _NUMBERS:
        return sa.Column(column, sa.Integer())
    if column.endswith('_at'):
        return sa.Column(column, sa.DateTime())
    return sa.Column(column, sa.String(255))


def _teach(connection: Any, _record: Any) -> None:
    """Functions of MySQL that an older SQLite hasn't."""
    connection.create_function('CONCAT_WS', -1, _concat_ws)
    connection.create_function(
        'utc_timestamp', 0, lambda: str(timeutils.utcnow())
    )


def _concat_ws(separator: str, *words: Any) -> str:
    return separator.join(str(word) for word in words if word is not None)


def _in_sqlite(
    _connection: Any, _cursor: Any, statement: str, values: Any, *_more: Any
) -> tuple[str, Any]:
    for pattern, words in _MYSQL:
        statement = pattern.sub(words, statement)
    return statement, values
