# SPDX-License-Identifier: Apache-2.0

"""Compare-and-set on one row: change it only if it is as it was seen.

The idea is ``oslo_db.sqlalchemy.update_match``'s. The row is locked and
compared in Python, where NULL equals NULL and the difference can be told;
the same comparison stands in the UPDATE, since on Galera a lock guards
nothing against a writer on another node.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from nova_recovery.exceptions import Conflict


def update_one(
    connection: sa.engine.Connection,
    table: sa.Table,
    key: Mapping[str, Any],
    seen: Mapping[str, Any],
    values: Mapping[str, Any],
) -> dict[str, Any]:
    """Set *values* in the one row with *key*, if it is as *seen*.

    Use it inside :meth:`Database.write`. *seen* may be a whole row; what
    nova's periodic tasks touch all the time (``updated_at`` and the like)
    should not be in it.

    :returns: the whole row as it was
    :raises Conflict: it is gone, or no longer as seen; with differences
    """
    row = _locked(connection, table, key, seen)
    done = connection.execute(
        sa.update(table)
        .where(*_equal(table, {**seen, **key}))
        .values(dict(values))
    )
    _exactly_one(done.rowcount, table, key)
    return row


def _locked(
    connection: sa.engine.Connection,
    table: sa.Table,
    key: Mapping[str, Any],
    seen: Mapping[str, Any],
) -> dict[str, Any]:
    if not key:
        raise ValueError('a compare-and-set needs a key')
    rows = [
        dict(row)
        for row in connection.execute(
            sa.select(table).where(*_equal(table, key)).with_for_update()
        ).mappings()
    ]
    if len(rows) != 1:
        raise Conflict(f'{len(rows)} rows instead of one: {_name(table, key)}')
    found = {
        column: (value, rows[0][column])
        for column, value in seen.items()
        if not same(value, rows[0][column])
    }
    if found:
        raise Conflict(
            f'{_name(table, key)} is no longer as it was seen: '
            + ', '.join(sorted(found)),
            found,
        )
    return rows[0]


def same(seen: Any, now: Any) -> bool:
    """Tell whether a value is as it was seen; text to the letter.

    Numbers of different types are equal (True and 1, in releases where a
    column is a boolean or an integer), text and numbers never are.
    """
    if isinstance(seen, str) != isinstance(now, str):
        return False
    return bool(seen == now)


def _equal(
    table: sa.Table, columns: Mapping[str, Any]
) -> list[sa.sql.elements.ColumnElement[bool]]:
    return [
        table.c[name].is_(None) if value is None else table.c[name] == value
        for name, value in columns.items()
    ]


def _exactly_one(count: int, table: sa.Table, key: Mapping[str, Any]) -> None:
    # rows found, not rows changed: SQLAlchemy sets CLIENT.FOUND_ROWS
    if count != 1:
        raise Conflict(
            f'{count} rows instead of one were matched: {_name(table, key)}'
        )


def _name(table: sa.Table, key: Mapping[str, Any]) -> str:
    where = ', '.join(f'{name} {value}' for name, value in key.items())
    return f'{table.name} ({where})'
