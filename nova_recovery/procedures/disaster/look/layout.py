# SPDX-License-Identifier: Apache-2.0

"""Where hosts are, which services are up, which server groups there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import dataclasses
import datetime
from typing import TYPE_CHECKING

from nova_recovery.cloud.db import compute_hosts
from nova_recovery.cloud.db import services as services_module
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import divide
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.cloud.records import Service
from nova_recovery.exceptions import (
    Ambiguous,
    DatabaseUnavailable,
    NotFound,
    SchemaUnknown,
)
from nova_recovery.procedures.disaster.scope import Layout

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.cloud.db.database import Database


COMPUTE = 'nova-compute'

#: They have a row for their version and send no heartbeat.
_SILENT = frozenset({'nova-osapi_compute', 'nova-metadata'})


@dataclasses.dataclass(frozen=True)
class Services:
    """The services of a database, by its own clock.

    :ivar named: the hosts that live servers of a cell name, with or without
        a service
    """

    services: tuple[Service, ...]
    now: datetime.datetime
    named: frozenset[str] = frozenset()


def of_cells(
    cloud: Cloud,
) -> tuple[dict[str, Services], dict[str, DatabaseUnavailable]]:
    """What each cell has, and the cells that don't answer."""
    down_time = cloud.nova.service_down_time
    return divide(
        cloud.databases.each_cell(
            lambda cell: dataclasses.replace(
                services_of(cell, down_time), named=compute_hosts.named(cell)
            )
        )
    )


def of_cinder(cloud: Cloud) -> tuple[Service, ...]:
    """Cinder's; none where its database doesn't answer.

    That it doesn't is told where its volumes are.
    """
    database = cloud.databases.cinder
    if database is None:
        return ()
    try:
        down_time = cloud.cinder.service_down_time
        return services_of(database, down_time).services
    except (DatabaseUnavailable, SchemaUnknown):
        return ()


def services_of(database: Database, down_time: int) -> Services:
    """The services of nova in a cell, or of cinder in its database."""
    with Reader.of(database) as reader:
        now = reader.now()
        live = services_module.read(reader)
    return Services(
        tuple(
            services_module.judged(one, now, down_time)
            for one in live
            if one.binary not in _SILENT
        ),
        now,
    )


@dataclasses.dataclass(frozen=True)
class Groups:
    """Server groups.

    :ivar names: UUID -> name
    :ivar members: server -> UUID of its group
    """

    names: Mapping[str, str]
    members: Mapping[str, str]


def read(
    cloud: Cloud, services: Mapping[str, Services], silent: Iterable[str]
) -> tuple[Layout, Groups]:
    """The cells, zones and aggregates of hosts; the groups of servers.

    From the API database; before Ocata they are in the only cell.

    :raises DatabaseUnavailable: the API database
    """
    databases = cloud.databases
    zones: dict[str, str] = {}
    aggregates: dict[str, frozenset[str]] = {}
    names: dict[str, str] = {}
    members: dict[str, str] = {}
    asked = (
        [databases.api]
        if databases.api is not None
        else [
            cell.database
            for cell in databases.cells
            if cell.cell.name in services
        ]
    )
    for database in asked:
        some, named = _aggregates(database)
        zones |= some
        for name, hosts in named.items():
            aggregates[name] = aggregates.get(name, frozenset()) | hosts
        groups = _groups(database)
        names |= groups.names
        members |= groups.members
    return (
        Layout(
            cells=frozenset(cell.cell.name for cell in databases.cells),
            hosts={
                host: cell
                for cell, some in services.items()
                for host in some.named
            }
            | {
                one.host: cell
                for cell, some in services.items()
                for one in some.services
                if one.binary == COMPUTE
            },
            zones=zones,
            default=cloud.nova.default_availability_zone,
            aggregates=aggregates,
            silent=frozenset(silent),
        ),
        Groups(names, members),
    )


def named_groups(groups: Mapping[str, str], words: Iterable[str]) -> list[str]:
    """The UUIDs of server groups that are named by UUID or by name.

    :param groups: UUID -> name
    :raises NotFound: there is none
    :raises Ambiguous: several have that name
    """
    found = []
    for word in words:
        meant = [uuid for uuid, name in groups.items() if word in (uuid, name)]
        if not meant:
            raise NotFound(f'no server group {word}')
        if len(meant) > 1:
            raise Ambiguous(
                f'server group {word} is not the only one of that name',
                sorted(meant),
            )
        found.append(meant[0])
    return list(dict.fromkeys(found))


def _aggregates(
    database: Database,
) -> tuple[dict[str, str], dict[str, frozenset[str]]]:
    """Host -> zone, and aggregate -> hosts."""
    if not database.tables.has('aggregate_hosts', 'host'):
        return {}, {}
    with Reader.of(database) as reader:
        hosts: dict[int, set[str]] = {}
        for row in reader.select('aggregate_hosts', ('aggregate_id', 'host')):
            hosts.setdefault(row['aggregate_id'], set()).add(row['host'])
        named: dict[str, frozenset[str]] = {}
        for row in reader.select('aggregates', ('id', 'name')):
            own = frozenset(hosts.get(row['id'], ()))
            named[row['name']] = named.get(row['name'], frozenset()) | own
        zones = {
            host: row['value']
            for row in reader.select(
                'aggregate_metadata',
                ('aggregate_id', 'value'),
                'key',
                ['availability_zone'],
            )
            for host in hosts.get(row['aggregate_id'], ())
            if row['value']
        }
    return zones, named


def _groups(database: Database) -> Groups:
    if not database.tables.has('instance_group_member', 'group_id'):
        return Groups({}, {})
    member = 'instance_group_member'
    # in a cell the column that has the UUID is called instance_id
    server = 'instance_uuid'
    if not database.tables.has(member, server):
        server = 'instance_id'
    with Reader.of(database) as reader:
        names = {
            row['id']: (row['uuid'], row['name'] or '')
            for row in reader.select('instance_groups', ('id', 'uuid', 'name'))
        }
        members = {
            row[server]: names[row['group_id']][0]
            for row in reader.select(member, (server, 'group_id'))
            if row['group_id'] in names
        }
    return Groups(dict(names.values()), members)
