# SPDX-License-Identifier: Apache-2.0

"""What a database server says of itself, whatever state it is in.

A Galera node that is cut off from the others answers nothing but SHOW, so
neither the pool nor what it asks at first are of use.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
from typing import Any

from oslo_db import exception as db_exception
import pymysql
import sqlalchemy

from nova_recovery.cloud.db import db_errors, db_url
from nova_recovery.exceptions import DatabaseUnavailable


def show(
    name: str,
    url: sqlalchemy.engine.URL,
    statements: tuple[str, ...],
    timeout: float,
) -> dict[str, str]:
    """Carry out SHOW statements of names and values; names in lower case.

    :param name: of the database, for errors
    :param timeout: seconds to connect, and for each answer
    :raises DatabaseUnavailable: it can't be asked
    """
    problem = db_url.obstacle(url, timeout)
    if problem is not None:
        raise DatabaseUnavailable(name, problem)
    found: dict[str, str] = {}
    with _connected(name, url, timeout) as connection:
        for statement in statements:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                found |= {
                    str(row[0]).lower(): str(row[1])
                    for row in cursor.fetchall()
                }
    return found


@contextlib.contextmanager
def _connected(
    name: str, url: sqlalchemy.engine.URL, timeout: float
) -> Iterator[Any]:
    try:
        connection = _connect(url, timeout)
    except Exception as error:
        # see Database._open
        raise DatabaseUnavailable(name, db_errors.unusable(error)) from None
    try:
        with contextlib.closing(connection):
            yield connection
    except (pymysql.err.Error, OSError) as error:
        # as oslo.db would have it, for the words
        reason = db_errors.describe(db_exception.DBError(error))
        raise DatabaseUnavailable(name, reason) from None


def _connect(url: sqlalchemy.engine.URL, timeout: float) -> Any:
    places, named = url.get_dialect()().create_connect_args(url)
    connection = pymysql.connect(
        *places,
        **{
            **named,
            'connect_timeout': timeout,
            'read_timeout': timeout,
            'write_timeout': timeout,
        },
    )
    if db_url.wants_tls(url):
        check_tls(connection)
    return connection


def check_tls(connection: Any, *unused: Any) -> None:
    """Refuse a connection without the TLS that its URL asks for.

    PyMySQL up to 1.1 goes on in clear where the server has none
    (``connections.py: _request_authentication``).

    :param connection: of PyMySQL
    :raises pymysql.err.OperationalError: it has none
    """
    if not connection._secure:
        raise pymysql.err.OperationalError(
            db_errors.NO_TLS, 'the server has no TLS'
        )
