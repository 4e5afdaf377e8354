# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.


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

from nova_recovery.cloud import db_errors
from nova_recovery.cloud import db_url
from nova_recovery import exceptions


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
    problem = db_url.resolve(url, timeout)
    if problem is not None:
        raise exceptions.DatabaseUnavailable(name, problem)
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
    places, named = url.get_dialect()().create_connect_args(url)
    try:
        with contextlib.closing(
            pymysql.connect(
                *places,
                **{
                    **named,
                    'connect_timeout': timeout,
                    'read_timeout': timeout,
                    'write_timeout': timeout,
                },
            )
        ) as connection:
            yield connection
    except (pymysql.err.Error, OSError) as error:
        # as oslo.db would have it, for the words
        reason = db_errors.describe(db_exception.DBError(error))
        raise exceptions.DatabaseUnavailable(name, reason) from None
