# SPDX-License-Identifier: Apache-2.0

"""What an error of a database means, and how to say it without secrets."""

from __future__ import annotations

from oslo_db import exception as db_exception
from sqlalchemy import exc

SYNTAX_ERROR = 1064
NO_SUCH_TABLE = 1146
NO_RIGHT = frozenset({1142, 1143})

# ER_LOCK_DEADLOCK, ER_LOCK_WAIT_TIMEOUT and MariaDB's ER_CHECKREAD (with
# innodb_snapshot_isolation): the transaction can be done again as a whole
_DEADLOCK = frozenset({1213, 1205, 1020})

# Can't connect, gone away, lost; WSREP has not yet prepared the node (1047);
# too many connections, server is shutting down, killed, host is blocked
_LOST = frozenset(
    {2002, 2003, 2005, 2006, 2013, 2014, 2055, 1047}
    | {1040, 1053, 1077, 1079, 1129, 1203, 1317, 1927, 4031}
)

# Access denied to the server, the database, a table or a column; no such
# database: asking again is of no use, but nothing is known either.
_DENIED = {
    1045: 'the user or its password is wrong',
    1698: 'the user may not log in',
    1044: 'the user may not use this database',
    1049: 'there is no such database on that server',
    1142: 'the user lacks a right on a table; see "recovery config grants"',
    1143: 'the user lacks a right on a column; see "recovery config grants"',
    1227: 'the user lacks a privilege; see "recovery config grants"',
    1290: 'the server is read-only',
    1792: 'the transaction is read-only',
    1836: 'the server is read-only',
}

_WORDS = {
    1205: 'waited too long for a lock (1205)',
    1213: 'deadlock (1213)',
    1020: 'the row changed since it was read (1020)',
    1040: 'too many connections (1040)',
    1047: 'the Galera node is not ready (1047)',
    2013: 'the connection was lost (2013)',
    2006: 'the connection was lost (2006)',
}


def code(error: BaseException) -> int | None:
    """Return MySQL's number of an error, None when it has none."""
    seen = error
    while isinstance(seen, exc.DBAPIError | db_exception.DBError):
        inner = (
            seen.orig
            if isinstance(seen, exc.DBAPIError)
            else seen.inner_exception
        )
        if inner is None:
            return None
        seen = inner
    number = seen.args[0] if seen.args else None
    return number if isinstance(number, int) else None


def is_deadlock(error: BaseException) -> bool:
    """Tell whether the server undid the transaction in favour of another."""
    return isinstance(error, db_exception.DBDeadlock) or (
        _is_database_error(error) and code(error) in _DEADLOCK
    )


def is_lost(error: BaseException) -> bool:
    """Tell whether there is no server, or it is not there any more."""
    if isinstance(error, db_exception.DBConnectionError):
        return True
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    return _is_database_error(error) and code(error) in _LOST


def is_outage(error: BaseException) -> bool:
    """Tell whether the error means that nothing can be known or done."""
    return is_lost(error) or is_deadlock(error) or code(error) in _DENIED


def describe(error: BaseException) -> str:
    """Return one line without SQL, values, user names or the URL."""
    number = code(error)
    if number in _DENIED:
        return f'{_DENIED[number]} ({number})'
    if number in _WORDS:
        return _WORDS[number]
    if is_lost(error):
        # PyMySQL: "Can't connect to MySQL server on 'db1' ([Errno 111] …)"
        text = _driver_text(error)
        if 'timed out' in text:
            return 'the server did not answer in time'
        if 'refused' in text:
            return 'the server refused the connection: it is down'
        if 'not known' in text or 'resolution' in text:
            return 'the name of the server could not be resolved'
        return f'the server could not be reached ({number or "no number"})'
    if number is not None:
        return f'database error {number}'
    return type(error).__name__


def _driver_text(error: BaseException) -> str:
    return str(
        getattr(error, 'inner_exception', None)
        or getattr(error, 'orig', None)
        or error
    )


def _is_database_error(error: BaseException) -> bool:
    return isinstance(error, exc.DBAPIError | db_exception.DBError)
