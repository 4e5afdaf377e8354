# SPDX-License-Identifier: Apache-2.0

"""The clocks of databases, APIs and this host are within a second.

An API tells the time in the ``Date`` of its answers, unless it is served by
a program that sends none. Of the services without an API there are their
heartbeats, which can't be of the future.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
import datetime
from email import utils as email_utils
import functools
import time
from typing import Any, Optional

from keystoneauth1 import adapter
import sqlalchemy as sa

from nova_recovery import readiness
from nova_recovery.cloud import clock
from nova_recovery.cloud.api import apis
from nova_recovery.cloud.db import schema
from nova_recovery.cloud.db.database import Database
from nova_recovery.engine.findings import Finding
from nova_recovery.readiness import bounded, common, Site

LAYER = 'clocks'
_PATIENCE = 8.0

#: Seconds that two clocks may be apart.
APART = 1.0

#: Databases and HTTP tell whole seconds. Asked so often, so far apart, the
#: answers leave a tenth of a second of doubt and the time that they take.
SAMPLES, EVERY = 10, 0.1

#: service types in the catalogue, and the rows that say whether they answer
_APIS = {
    'identity': 'keystone/*',
    'compute': 'control/nova-api',
    'block-storage': 'control/cinder-api',
    'image': 'control/glance-api',
    'network': 'network/*',
    'placement': 'placement/*',
}

Range = tuple[float, float]
Clock = Callable[[], Optional[datetime.datetime]]


class Probe:
    """See :class:`nova_recovery.readiness.Probe`."""

    needs: tuple[str, ...] = ('database/*', 'keystone/*')

    def rows(self, site: Site) -> Iterator[Finding]:
        asks: dict[str, Clock] = {}
        behind: dict[str, tuple[str, ...]] = {}
        databases = list(_databases(site))
        for database in databases:
            asks[f'database {database.name}'] = functools.partial(
                clock.database_now, database
            )
        connection = site.apis().connection
        for kind, row in _APIS.items():
            asks[f'{kind} API'] = functools.partial(api_now, connection, kind)
            behind[f'{kind} API'] = (row,)
        measures = {
            name: functools.partial(measured, ask)
            for name, ask in asks.items()
        }
        yield from judge(
            bounded.each(measures, _PATIENCE, workers=len(measures)), behind
        )
        for database in _with_services(site):
            yield from ahead(database.name, _ahead(database))


def measured(ask: Clock) -> Range | None:
    """By how many seconds a clock is ahead of ours: at least, at most.

    :param ask: asks the other clock, which tells whole seconds, or None
    """
    known = float('-inf'), float('inf')
    for number in range(SAMPLES):
        if number:
            time.sleep(EVERY)
        before = time.time()
        theirs = ask()
        after = time.time()
        if theirs is None:
            return None
        known = narrowed(known, theirs.timestamp(), before, after)
    return known


def narrowed(
    known: Range, theirs: float, before: float, after: float
) -> Range:
    """What is known of an offset after one more answer.

    Theirs was between the second that it told and the next one, at some
    moment between before and after of ours.
    """
    return max(known[0], theirs - after), min(known[1], theirs + 1 - before)


def judge(
    found: Mapping[str, Range | None | BaseException],
    behind: Mapping[str, tuple[str, ...]],
) -> Iterator[Finding]:
    """One row if all clocks are near ours, else one for each that isn't."""
    expected = f'within {APART:g} s of this host'
    bad = []
    for name, answer in found.items():
        if isinstance(answer, BaseException):
            bad.append(
                Finding(
                    LAYER,
                    readiness.UNKNOWN,
                    name,
                    bounded.words(answer),
                    expected,
                    'mend what does not answer',
                    behind.get(name, ()),
                )
            )
            continue
        if answer is None:
            continue
        low, high = answer
        middle = (low + high) / 2
        # one that was set while it was asked has no range
        if abs(middle) > APART or low > high + APART:
            bad.append(
                Finding(
                    LAYER,
                    readiness.NO_GO,
                    name,
                    f'{abs(middle):.1f} s '
                    + ('ahead of' if middle > 0 else 'behind')
                    + ' this host',
                    expected,
                    'chronyc makestep  # there, or here if all others agree',
                )
            )
    told = [
        abs(answer[0] + answer[1]) / 2
        for answer in found.values()
        if isinstance(answer, tuple)
    ]
    observed = (
        f'{len(told)} asked, at most {max(told, default=0):.1f} s from this '
        'host'
    )
    if len(told) < len(found):
        mute = [name for name, answer in found.items() if answer is None]
        observed += f'; {len(mute)} APIs tell no time'
    yield from common.on_one_line(
        bad, Finding(LAYER, readiness.GO, 'all', observed, expected)
    )


def ahead(
    database: str, found: Mapping[tuple[str, str], float]
) -> Iterator[Finding]:
    """Services whose heartbeat is of the future, if there are any.

    :param found: service and its host -> seconds
    """
    # times of a database are rounded to a second
    wrong = {who: by for who, by in found.items() if by > APART + 1}
    if wrong:
        worst = max(wrong, key=lambda who: wrong[who])
        names = [' '.join(who) for who in wrong]
        yield Finding(
            LAYER,
            readiness.NO_GO,
            f'heartbeats {database}',
            f'{common.many(names)}: up to {wrong[worst]:.0f} s ahead of the '
            'database',
            f'within {APART:g} s of the database',
            f'chronyc makestep  # on {worst[1]}',
        )


def _ahead(database: Database) -> dict[tuple[str, str], float]:
    table = database.tables['services']
    beats = [
        table.c[name]
        for name in ('last_seen_up', 'updated_at')
        if name in table.c
    ]
    query = sa.select(table.c.binary, table.c.host, *beats).where(
        schema.live(table)
    )
    with database.reader() as connection:
        now = connection.execute(
            sa.select(sa.func.utc_timestamp())
        ).scalar_one()
        return {
            (row[0], row[1]): (max(seen) - now).total_seconds()
            for row in connection.execute(query)
            if (seen := [beat for beat in row[2:] if beat is not None])
        }


def _with_services(site: Site) -> Iterable[Database]:
    found = site.cloud.databases
    every = (*(c.database for c in found.cells), found.cinder)
    return [database for database in every if database is not None]


def _databases(site: Site) -> Iterable[Database]:
    """One on each server."""
    found = site.cloud.databases
    every = (found.api, *(c.database for c in found.cells), found.cinder)
    by_server: dict[Any, Database] = {}
    for database in every:
        if database is not None:
            by_server.setdefault(database.server, database)
    return by_server.values()


def endpoint(connection: Any, kind: str) -> str:
    """The URL of an API in the catalogue; '' where there is none.

    :param kind: as the catalogue has it, such as ``block-storage``
    """
    with apis.reading(kind):
        proxy = getattr(connection, kind.replace('-', '_'))
        # the proxy of Keystone has another method of that name
        return str(adapter.Adapter.get_endpoint(proxy) or '')


def api_now(connection: Any, kind: str) -> datetime.datetime | None:
    """The time by an API's clock, asked without a token.

    None where it tells none, or where there is no such API.
    """
    url = endpoint(connection, kind)
    if not url:
        return None
    with apis.reading(kind):
        answer = connection.session.get(
            url,
            authenticated=False,
            raise_exc=False,
            connect_retries=0,
            timeout=_PATIENCE,
        )
    told = answer.headers.get('Date')
    return email_utils.parsedate_to_datetime(told) if told else None
