# SPDX-License-Identifier: Apache-2.0

"""Which cell a compute host is of, whatever is left of it there.

Somebody deletes the service of a dead host, or its mapping; the servers
still name it. And a host has several names: what operators call it, what its
nova-compute calls itself (``[DEFAULT] host``), what its hypervisor does.
"""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses

import sqlalchemy as sa

from nova_recovery import exceptions
from nova_recovery.cloud.db import schema, services
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import Databases, divide
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.exceptions import Ambiguous, NotFound


@dataclasses.dataclass(frozen=True)
class _Known:
    """What a cell knows of a name.

    :ivar here: it has a nova-compute of that name, or servers that name it
    :ivar names: of all its hosts
    :ivar others: hosts that may be meant, since they, or their nodes, are
        called nearly so
    """

    here: bool
    others: frozenset[str]
    names: frozenset[str]


def cell_of(databases: Databases, host: str) -> str:
    """The name of the cell that has a compute host, or had it.

    By its mapping; else by its service, or by the servers that name it.

    :raises NotFound: no cell knows it, and every cell was asked; what it may
        be called is told
    :raises Ambiguous: several cells have it
    :raises DatabaseUnavailable: when that can't be known
    """
    try:
        return services.host_mapping(databases, host)
    except NotFound as error:
        missing = error
    known, unknown = divide(
        databases.each_cell(lambda database: _ask(database, host))
    )
    having = [name for name, one in known.items() if one.here]
    if len(having) > 1:
        raise Ambiguous(f'host {host} is in several cells', having)
    for silent in unknown.values():
        # it could be there as well
        raise silent
    if having:
        return having[0]
    others = sorted({name for one in known.values() for name in one.others})
    if others:
        raise NotFound(
            f'{missing}; the service of what may be meant is called '
            f'{" or ".join(others)}: give that name, to the letter'
        )
    names = {name for one in known.values() for name in one.names}
    raise NotFound(str(missing), exceptions.near(host, names))


def _ask(database: Database, host: str) -> _Known:
    having = {one.host for one in services.compute_services(database)}
    in_use = named(database)
    return _Known(
        host in having or host in in_use,
        frozenset(
            {one for one in having if _alike(one, host)}
            | {
                node.host
                for node in services.compute_nodes(database)
                if node.host and _alike(node.hypervisor_hostname or '', host)
            }
        ),
        frozenset(having | in_use),
    )


def named(database: Database) -> frozenset[str]:
    """The hosts that live servers of a cell name."""
    with Reader.of(database) as reader:
        return frozenset(_hosts(reader))


def _hosts(reader: Reader) -> Iterator[str]:
    table = reader.database.tables['instances']
    query = sa.select(table.c.host).where(schema.live(table)).distinct()
    for row in reader.fetch(query):
        if row[0]:
            yield row[0]


def _alike(one: str, other: str) -> bool:
    """Whether two names differ by case or domain alone."""
    one, other = one.lower(), other.lower()
    return one.partition('.')[0] == other.partition('.')[0]
