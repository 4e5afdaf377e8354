# SPDX-License-Identifier: Apache-2.0

"""The addresses of servers, and what their images say they run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
import dataclasses
from typing import Any, Protocol, TYPE_CHECKING

import sqlalchemy as sa

from nova_recovery.cloud.db import schema
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import each
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.cloud.db.servers import parsed

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud


class Server(Protocol):
    """What is asked of a server that the plan brings back."""

    @property
    def uuid(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def cell(self) -> str: ...

    @property
    def host(self) -> str | None: ...

    @property
    def project(self) -> str | None: ...

    @property
    def metadata(self) -> Mapping[str, str]: ...


@dataclasses.dataclass(frozen=True)
class Address:
    """An address that nova knows of a server.

    :ivar network: what the network is called, and its id
    :ivar floating: reachable from outside
    """

    address: str
    network: tuple[str, str]
    floating: bool = False


@dataclasses.dataclass(frozen=True)
class Reach:
    """What the databases say of the way to a guest.

    :ivar os_type: as its image says: linux, windows; None: it doesn't
    """

    addresses: tuple[Address, ...] = ()
    os_type: str | None = None


def read(cloud: Cloud, servers: Iterable[Server]) -> dict[str, Reach]:
    """Return what nova knows of the way to servers, by UUID.

    :raises DatabaseUnavailable: a cell of theirs doesn't answer
    """
    by_cell: dict[str, list[str]] = {}
    for server in servers:
        by_cell.setdefault(server.cell, []).append(server.uuid)
    found: dict[str, Reach] = {}
    for answer in each(
        [cloud.databases.cell(name) for name in by_cell],
        lambda database: _of_cell(database, by_cell[database.name]),
    ).values():
        if isinstance(answer, Exception):
            raise answer
        found |= answer
    return found


def _of_cell(database: Database, uuids: list[str]) -> dict[str, Reach]:
    instances = database.tables['instances']
    caches = database.tables['instance_info_caches']
    # Essex calls the column instance_id, and has the UUID in it all the same
    key = caches.c[
        'instance_uuid' if 'instance_uuid' in caches.c else 'instance_id'
    ]
    query = (
        sa.select(instances.c.uuid, instances.c.os_type, caches.c.network_info)
        .select_from(
            instances.outerjoin(
                caches, sa.and_(key == instances.c.uuid, schema.live(caches))
            )
        )
        .order_by(caches.c.id)
    )
    found = {}
    with Reader.of(database) as reader:
        for uuid, os_type, text in reader.fetch(
            query, instances.c.uuid, uuids
        ):
            ports = parsed(text, f'instance_info_caches of {uuid}')
            found[uuid] = Reach(tuple(addresses(ports)), os_type or None)
    return found


def metadata(
    database: Database, uuids: list[str]
) -> dict[str, dict[str, str]]:
    """Return what the owners of servers wrote on them, by UUID."""
    found: dict[str, dict[str, str]] = {uuid: {} for uuid in uuids}
    if not database.tables.has('instance_metadata', 'instance_uuid'):
        return found
    with Reader.of(database) as reader:
        for row in reader.select(
            'instance_metadata',
            ('instance_uuid', 'key', 'value'),
            'instance_uuid',
            uuids,
        ):
            found[row['instance_uuid']][row['key']] = row['value'] or ''
    return found


def addresses(ports: Any) -> Iterator[Address]:
    """The addresses in a ``network_info``, in its order."""
    for port in ports if isinstance(ports, list) else ():
        network = port.get('network') or {}
        name = (str(network.get('label')), str(network.get('id')))
        for ip in _ips(network):
            yield Address(str(ip.get('address')), name)
            for one in ip.get('floating_ips') or ():
                yield Address(str(one.get('address')), name, True)


def _ips(network: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for subnet in network.get('subnets') or ():
        yield from subnet.get('ips') or ()
