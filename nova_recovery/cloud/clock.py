# SPDX-License-Identifier: Apache-2.0

"""Clocks: after a power loss NTP is suspect, and heartbeats are times."""

from __future__ import annotations

from collections.abc import Callable
import datetime
import time

from oslo_utils import timeutils

from nova_recovery.cloud.db.database import Database


def now() -> str:
    """Return our own clock: UTC, ISO 8601 with Z, whole seconds."""
    return timeutils.utcnow().replace(microsecond=0).isoformat() + 'Z'


def database_now(database: Database) -> datetime.datetime:
    """Return the clock of a database's server, in UTC and aware of it.

    :raises DatabaseUnavailable: when it doesn't answer
    """
    with database.connect() as connection:
        # UNIX_TIMESTAMP would go through the server's time zone tables
        now = connection.exec_driver_sql('SELECT UTC_TIMESTAMP()').scalar_one()
    return now.replace(tzinfo=datetime.timezone.utc)


def offset(clock: Callable[[], datetime.datetime]) -> float:
    """Return by how many seconds another clock is ahead of ours.

    Such clocks tell whole seconds, so the result is good to a second, plus
    half of the time that the question takes.

    :param clock: asks the other clock; its answer is aware of its zone
    """
    started = time.monotonic()
    asked = datetime.datetime.now(datetime.timezone.utc)
    theirs = clock()
    middle = asked + datetime.timedelta(
        seconds=(time.monotonic() - started) / 2
    )
    # a whole second stands for the half second after it, on average
    return (theirs - middle).total_seconds() + 0.5
