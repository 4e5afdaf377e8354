# SPDX-License-Identifier: Apache-2.0

"""What several probes need, asked once for all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
import re
from typing import Any

import sqlalchemy as sa

from nova_recovery import program
from nova_recovery.cloud.api import words as api_words
from nova_recovery.cloud.db import schema, services
from nova_recovery.cloud.db.databases import divide
from nova_recovery.engine.findings import Finding
from nova_recovery.readiness import Site

JSON = dict[str, Any]

#: How many of many are named.
_NAMED = 5


def nova_services(site: Site) -> list[JSON]:
    """Every service of nova, as its API tells it.

    :raises ApiUnavailable: it doesn't
    """
    # what is asked every few sends, is asked for little
    binary = 'nova-compute' if site.brief else None
    return site.once(
        'nova services', lambda: site.apis().compute.services(binary)
    )


def computes(site: Site) -> dict[str, JSON]:
    """The nova-compute of each host that matters, by host."""
    return {
        one['host']: one
        for one in nova_services(site)
        if one['binary'] == 'nova-compute' and site.covers(one['host'])
    }


def cells_of_hosts(site: Site) -> dict[str, str]:
    """The cell of each compute host that matters.

    :raises DatabaseUnavailable: a cell doesn't answer
    """

    def ask() -> dict[str, str]:
        databases = site.cloud.databases
        found, silent = divide(databases.each_cell(services.compute_services))
        for error in silent.values():
            raise error
        return {
            service.host: name
            for name, some in found.items()
            for service in some
            if site.covers(service.host)
        }

    return site.once('cells of hosts', ask)


def backends(site: Site) -> list[str]:
    """The back ends that matter and have volumes, ``host@backend``.

    A clustered one by the name of its cluster, which answers for it.

    :raises DatabaseUnavailable: cinder's database doesn't answer
    """
    known = _with_volumes(site)
    return sorted(
        {
            name
            for host, name in known
            if (site.backends is None or host in site.backends)
            and not {host, name} & site.without
        }
    )


def _with_volumes(site: Site) -> list[tuple[str, str]]:
    """The ``host@backend`` of volumes, each with what answers for it."""

    def ask() -> list[tuple[str, str]]:
        known = site.memory.get('backends')
        if site.brief and known is not None:
            return list(known)
        cinder = site.cloud.databases.cinder
        if cinder is None:
            return []
        table = cinder.tables['volumes']
        columns = [table.c.host]
        if 'cluster_name' in table.c:
            columns.append(table.c.cluster_name)
        query = sa.select(*columns).where(schema.live(table)).distinct()
        with cinder.reader() as connection:
            rows = [tuple(row) for row in connection.execute(query)]
        found = sorted(
            {
                (
                    str(row[0]).partition('#')[0],
                    str(row[-1] or row[0]).partition('#')[0],
                )
                for row in rows
                if row[0]
            }
        )
        site.memory['backends'] = found
        return found

    return site.once('backends', ask)


def restart(ours: bool, host: str) -> str:
    """How the nova-compute of a host is restarted.

    What its unit or its container is called, kolla and TripleO decide: where
    hosts are reached from here, ours finds it.

    :param ours: they are, see ``Cloud.reaches_hosts``
    """
    if ours:
        return program.call(f'host service restart {host}')
    return f'systemctl restart nova-compute  # on {host}'


def start(ours: bool, host: str) -> str:
    """How a nova-compute that does not run is brought to run.

    :param ours: hosts are reached from here: ours tells what it is called
        there, and what holds it off
    """
    if ours:
        look = program.call(f'host service list {host}')
        return f'{look}  # it says what is to be done there'
    return f'systemctl start nova-compute  # on {host}'


def many(names: Collection[str]) -> str:
    """Names in one line: the first few of many."""
    ordered = sorted(names)
    shown = ', '.join(ordered[:_NAMED])
    more = len(ordered) - _NAMED
    return f'{shown} and {more} more' if more > 0 else shown


def on_one_line(bad: Iterable[Finding], good: Finding) -> Iterator[Finding]:
    """The rows that are not good, else the one that stands for all."""
    rows = list(bad)
    yield from rows or [good]


def mend_api(error: BaseException, service: str) -> str:
    """What is done about an API that did not do as asked.

    :param service: what serves it
    :returns: a command; '' where it answered and refused, or the way to it,
        a name or TLS is wrong: no restart mends that
    """
    mended = f'systemctl restart {service}  # or the web server that runs it'
    if isinstance(error, TimeoutError):
        return mended
    code = code_of(error)
    if code is not None:
        return mended if code >= 500 else ''
    cause = error.__cause__
    return mended if cause and api_words.is_silent(cause) else ''


def code_of(error: BaseException) -> int | None:
    """The HTTP status that an error stands for, None for none."""
    cause = error.__cause__
    code = None if cause is None else api_words.code_of(cause)
    if code is None:
        # of what we judged ourselves only the words tell
        found = re.search(r'HTTP (\d{3})\b', str(error))
        code = int(found.group(1)) if found else None
    return code
