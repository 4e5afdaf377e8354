# SPDX-License-Identifier: Apache-2.0


"""Very many rows as text, put together by the server.

A driver takes longer for a row than the server for a page of them: here a
page is one value, a line a row, and one comparison of two texts tells
whether a thousand rows are as they were seen.

A line is the key and the columns with ``|`` between, ``~`` for NULL. Texts
with these characters, or a line feed, are found by counting; a row that has
one is *odd*: it is given with ``?`` in their place, and named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import dataclasses
import re
from typing import Any

import sqlalchemy as sa

from nova_recovery.compat import pairs

SEPARATOR = '|'
NULL = '~'
#: Rows a page. Larger ones are not faster.
PAGE = 2000
#: MySQL's own limit is 1024; the largest packet bounds it as well.
_LONGEST = 16 * 1024**2

_ODD = re.compile(r'[|~\n]')
_PLAIN = re.compile(r'[0-9A-Za-z|~/:._ \n-]+')
_KEYS = re.compile(r"[0-9A-Za-z'_,-]*")


@dataclasses.dataclass(frozen=True)
class Selection:
    """Columns of some rows of a table.

    :ivar key: of the primary key; never NULL
    :ivar columns: those after it
    :ivar where: further conditions, SQL without parameters or percent signs
    """

    table: str
    key: str
    columns: tuple[str, ...]
    where: str = ''

    def statement(self, where: str) -> str:
        """Count, NULLs and text of the rows with *where*, in one row.

        No derived table and no order: these would be written to a temporary
        table first.
        """
        return (
            f'SELECT {self._sums()} FROM `{self.table}`'  # nosec B608
            f' WHERE {self._both(where)}'
        )

    def plainly(self, where: str) -> str:
        """The rows themselves, as text."""
        names = ', '.join(
            f'CAST(`{n}` AS CHAR)' for n in (self.key, *self.columns)
        )
        return (
            f'SELECT {names} FROM `{self.table}`'  # nosec B608
            f' WHERE {self._both(where)}'
        )

    def exactly(self, text: str) -> str:
        """The condition for rows that are as these lines say, or ''.

        '' where a line has what would have to be quoted. Use it beside
        :func:`among`, which finds the rows.
        """
        if not _PLAIN.fullmatch(text):
            return ''
        listed = text.replace('\n', "','")
        # to the letter, as no collation of a column compares
        return f"BINARY {self._line()} IN ('{listed}')"

    def _line(self) -> str:
        fields = ', '.join(
            [
                f'`{self.key}`',
                *(f"IFNULL(`{n}`, '{NULL}')" for n in self.columns),
            ]
        )
        return f"CONCAT_WS('{SEPARATOR}', {fields})"

    def _sums(self) -> str:
        nulls = ' + '.join(f'(`{n}` IS NULL)' for n in self.columns) or '0'
        return (
            f'COUNT(*), SUM({nulls}),'
            f" GROUP_CONCAT({self._line()} SEPARATOR '\n')"
        )

    def _both(self, where: str) -> str:
        return ' AND '.join(filter(None, (where, self.where))) or '1 = 1'


def prepare(connection: sa.engine.Connection) -> None:
    """Let this session give long texts."""
    connection.exec_driver_sql(
        f'SET SESSION group_concat_max_len = {_LONGEST}'
    )


def read(
    connection: sa.engine.Connection, selection: Selection
) -> tuple[list[str], set[str]]:
    """Return the lines of all rows, and the keys of odd ones."""
    prepare(connection)
    lines: list[str] = []
    odd: set[str] = set()
    for where, bounds in _pages(connection, selection):
        page, named = _page(connection, selection, where, bounds)
        lines += page
        odd |= named
    return lines, odd


def _pages(
    connection: sa.engine.Connection, selection: Selection
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Conditions, with their values, that cut a table by its key."""
    key = f'`{selection.key}`'
    where: str = ''
    last: tuple[Any, ...] = ()
    while True:
        end = connection.exec_driver_sql(
            f'SELECT {key} FROM `{selection.table}`'  # nosec B608
            + (f' WHERE {where}' if where else '')
            + f' ORDER BY {key} LIMIT {PAGE - 1}, 1',
            last,
        ).scalar()
        if end is None:
            yield where, last
            return
        both = ' AND '.join(filter(None, (where, f'{key} <= %s')))
        yield both, (*last, end)
        where, last = f'{key} > %s', (end,)


def _page(
    connection: sa.engine.Connection,
    selection: Selection,
    where: str,
    values: tuple[Any, ...] = (),
    tail: str = '',
) -> tuple[list[str], set[str]]:
    """The lines of some rows, and the keys of odd ones."""
    count, nulls, text = connection.exec_driver_sql(
        selection.statement(where) + tail, values
    ).one()
    if not count:
        return [], set()
    if _plain(selection, count, nulls, text):
        return text.split('\n'), set()
    return _rendered(
        connection.exec_driver_sql(
            selection.plainly(where) + tail, values
        ).all()
    )


def among(column: str, keys: Sequence[str]) -> str:
    """The condition that a column is one of these keys.

    As text of the statement: a thousand parameters take longer than the
    query itself.

    :raises ValueError: they can't be keys
    """
    text = "','".join(keys)
    if (
        not keys
        or not _KEYS.fullmatch(text)
        or text.count("'") != 2 * (len(keys) - 1)
    ):
        raise ValueError(f'no keys for {column}')
    return f"`{column}` IN ('{text}')"


def rows(
    connection: sa.engine.Connection,
    selection: Selection,
    where: str,
    lock: bool = False,
) -> list[str]:
    """Return the lines of some rows; odd ones with their marks replaced.

    :param where: from :func:`among`
    :param lock: until the transaction ends
    """
    prepare(connection)
    tail = ' FOR UPDATE' if lock else ''
    return _page(connection, selection, where, tail=tail)[0]


def count(
    connection: sa.engine.Connection, selection: Selection, where: str
) -> int:
    """Return how many rows there are.

    :param where: from :func:`among`
    """
    return int(
        connection.exec_driver_sql(
            f'SELECT COUNT(*) FROM `{selection.table}`'  # nosec B608
            f' WHERE {where} AND {selection.where}'
        ).scalar_one()
    )


def fields(line: str) -> list[str | None]:
    """Return the values of a line."""
    return [None if one == NULL else one for one in line.split(SEPARATOR)]


def key(line: str) -> str:
    """Return the key of a line."""
    return line.partition(SEPARATOR)[0]


def field(line: str, number: int) -> str:
    """Return a value of a line as it stands there; 0 is the key."""
    return line.split(SEPARATOR)[number]


def lines(text: str) -> list[str]:
    """Return the lines of a text; none of an empty one."""
    return text.split('\n') if text else []


def _plain(selection: Selection, count: Any, nulls: Any, text: str) -> bool:
    """Whether every mark in a text is one of ours; and all rows are there."""
    return (
        text.count('\n') == count - 1
        and text.count(SEPARATOR) == count * len(selection.columns)
        and text.count(NULL) == int(nulls)
    )


def _rendered(found: Sequence[Any]) -> tuple[list[str], set[str]]:
    lines, odd = [], set()
    for row in found:
        values = [NULL if value is None else str(value) for value in row]
        told = [
            value if given is None else _ODD.sub('?', value)
            for value, given in pairs(values, row)
        ]
        if told != values:
            odd.add(told[0])
        lines.append(SEPARATOR.join(told))
    return lines, odd
