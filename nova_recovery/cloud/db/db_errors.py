# SPDX-License-Identifier: Apache-2.0

"""What an error of a database means, and how to say it without secrets."""

from __future__ import annotations

import ssl

from oslo_db import exception as db_exception
import pymysql
from sqlalchemy import exc

from nova_recovery import program

SYNTAX_ERROR = 1064
NO_SUCH_VARIABLE = 1193
NO_SUCH_TABLE = 1146
NO_RIGHT = frozenset({1142, 1143})
#: CR_SSL_CONNECTION_ERROR
NO_TLS = 2026

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
    # MariaDB says the same of a user that has to come by TLS
    1045: 'the user or its password is wrong, or it has to come by TLS',
    1698: 'the user may not log in',
    1044: 'the user may not use this database',
    1049: 'there is no such database on that server: look at the URL',
    1290: 'the server is read-only: name the primary in the URL',
    1792: 'the transaction is read-only',
    1836: 'the server is read-only: name the primary in the URL',
    NO_TLS: 'its URL asks for TLS, and the server has none; take the ssl '
    'options out of the URL if that is right',
    3159: 'the server wants TLS, and its URL has none; add the ssl_ca of its '
    'authority',
}

#: What the user lacks.
_LACKS = {1142: 'a right on a table', 1143: 'a right on a column',
          1227: 'a privilege'}  # fmt: skip

_WORDS = {
    1205: 'waited too long for a lock (1205): SHOW PROCESSLIST has who holds '
    'it',
    1213: 'deadlock (1213)',
    1020: 'the row changed since it was read (1020)',
    1040: 'too many connections (1040): raise max_connections, or end some',
    1047: 'the Galera node is not ready (1047): look at its log',
    2013: 'the connection was lost (2013)',
    2006: 'the connection was lost (2006)',
}


def code(error: BaseException) -> int | None:
    """Return MySQL's number of an error, None when it has none."""
    seen = error
    while isinstance(seen, (exc.DBAPIError, db_exception.DBError)):
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
    return (
        is_lost(error)
        or is_deadlock(error)
        or code(error) in (_DENIED.keys() | _LACKS)
    )


def describe(error: BaseException) -> str:
    """Return one line without SQL, values, user names or the URL."""
    number = code(error)
    if number in _LACKS:
        see = program.call('config grants')
        return f'the user lacks {_LACKS[number]}; see "{see}" ({number})'
    if number in _DENIED:
        return f'{_DENIED[number]} ({number})'
    if number in _WORDS:
        return _WORDS[number]
    cause = _cause(error)
    text = str(cause)
    if isinstance(cause, ssl.SSLError) or '[SSL' in text:
        return _tls(text)
    if is_lost(error) or isinstance(cause, OSError):
        # PyMySQL: "Can't connect to MySQL server on 'db1' ([Errno 111] …)"
        if 'timed out' in text:
            return 'the server did not answer in time: look at its load'
        if 'refused' in text:
            return 'the server refused the connection: start it'
        if 'not known' in text or 'resolution' in text:
            return 'the name of the server could not be resolved: look at DNS'
        if 'No such file' in text:
            return 'the server has no socket there: start it'
        told = number or 'no number'
        return f'the server could not be reached ({told}): look at its log'
    if number is not None:
        return f'database error {number}: look at the log of the server'
    return type(cause).__name__


def unusable(error: BaseException) -> str:
    """The same where no connection came about."""
    if isinstance(error, pymysql.err.Error):
        # as oslo.db would have it
        error = db_exception.DBError(error)
    if isinstance(error, (exc.DBAPIError, db_exception.DBError, OSError)):
        return describe(error)
    # such as a password that MySQL's charset can't write
    return f'its URL can not be used ({type(error).__name__})'


def _tls(text: str) -> str:
    """What went wrong between two that wanted to speak TLS."""
    if 'mismatch' in text:
        return "the server's certificate is of another name (TLS)"
    if 'verify failed' in text:
        return (
            "the server's certificate is not of the authority in ssl_ca (TLS)"
        )
    if 'WRONG_VERSION' in text or 'UNSUPPORTED_PROTOCOL' in text:
        return 'the server speaks no TLS, or none that is known here'
    if '_ssl.c' in text or 'PEM' in text:
        return "no TLS: ssl_ca, ssl_cert or ssl_key isn't what it should be"
    return 'TLS failed'


def _cause(error: BaseException) -> BaseException:
    """The innermost error, which the driver or the system raised."""
    seen = error
    while isinstance(seen, (exc.DBAPIError, db_exception.DBError)):
        inner = getattr(seen, 'inner_exception', None)
        inner = inner or getattr(seen, 'orig', None)
        if not isinstance(inner, BaseException) or inner is seen:
            break
        seen = inner
    return seen


def _is_database_error(error: BaseException) -> bool:
    return isinstance(error, (exc.DBAPIError, db_exception.DBError))
