# SPDX-License-Identifier: Apache-2.0

"""Services and compute nodes, as the cells and cinder have them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
import dataclasses
import datetime
from typing import Any

import sqlalchemy as sa

from nova_recovery.cloud.db import cells as cells_module
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import Databases, divide
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.cloud.records import (
    ComputeNode,
    DOWN,
    FORCED_DOWN,
    Service,
    UNKNOWN,
    UP,
)
from nova_recovery.exceptions import Ambiguous, NotFound

BINARY = 'nova-compute'


def compute_services(
    database: Database, host: str | None = None
) -> list[Service]:
    """Return the live nova-compute services of a cell, by host.

    :param host: only this host's, to the letter
    :raises DatabaseUnavailable: when the cell doesn't answer
    """
    binary = database.tables['services'].c.binary
    with Reader.of(database) as reader:
        services = read(
            reader, None if host is None else [host], binary == BINARY
        )
    return [
        one
        for one in sorted(services, key=lambda one: (one.host or '', one.id))
        # MySQL compares without regard to case or trailing blanks
        if host is None or one.host == host
    ]


def read(
    reader: Reader, hosts: Collection[str] | None = None, where: Any = None
) -> list[Service]:
    """Return the live services of a cell or of cinder, whatever they are.

    :param hosts: only those on these, None: on all
    :param where: a further condition
    """
    return [
        Service(
            binary=row['binary'] or '',
            host=row['host'] or '',
            cell=reader.database.name,
            id=row['id'],
            report_count=row['report_count'] or 0,
            disabled=bool(row['disabled']),
            disabled_reason=row['disabled_reason'],
            forced_down=None
            if row['forced_down'] is None
            else bool(row['forced_down']),
            last_seen=_seen(row),
            zone=row['availability_zone'],
        )
        for row in reader.select('services', _SERVICE, 'host', hosts, where)
    ]


_SERVICE = (
    'id',
    'host',
    'binary',
    'report_count',
    'disabled',
    'disabled_reason',
    'forced_down',
    'last_seen_up',
    'updated_at',
    'created_at',
    'availability_zone',
)


def _seen(row: Mapping[str, Any]) -> datetime.datetime | None:
    # as nova/servicegroup/drivers/db.py and cinder/objects/service.py
    seen = row['last_seen_up'] or row['updated_at'] or row['created_at']
    return seen if isinstance(seen, datetime.datetime) else None


def judged(one: Service, now: datetime.datetime, down_time: int) -> Service:
    """Return a service with its state, as the APIs judge it.

    By the age of the last heartbeat, with the database's clock for that of
    the API.

    :param down_time: seconds without a heartbeat after which it is down
    """
    if one.forced_down:
        state = FORCED_DOWN
    elif one.last_seen is None:
        state = DOWN
    else:
        age = (now - one.last_seen).total_seconds()
        state = UP if age <= down_time else DOWN
        if age < -down_time:
            state = UNKNOWN
    return dataclasses.replace(one, state=state)


def compute_nodes(
    database: Database, host: str | None = None
) -> list[ComputeNode]:
    """Return the live compute nodes of a cell, by host and name.

    :param host: only this host's, to the letter
    :raises DatabaseUnavailable: when the cell doesn't answer
    """
    # up to Juno only the service says the host, and Kilo's rows that were
    # not updated yet still have none
    by_service = {}
    with Reader.of(database) as reader:
        live = list(map(dict, reader.select('compute_nodes')))
        if any(row.get('host') is None for row in live):
            by_service = {
                row['id']: row['host']
                for row in reader.select(
                    'services', ('id', 'host'), deleted=True
                )
            }
    nodes = [_node(row, by_service, database.name) for row in live]
    return sorted(
        (node for node in nodes if host is None or node.host == host),
        key=lambda node: (node.host or '', node.hypervisor_hostname or ''),
    )


def host_mapping(databases: Databases, host: str) -> str:
    """Return the name of the cell of a compute host.

    From ``host_mappings`` of the API database; without one, the cell whose
    services name the host.

    :raises NotFound: no cell has it, and every cell was asked
    :raises Ambiguous: several cells have it
    :raises DatabaseUnavailable: when that can't be known
    """
    if databases.api is not None:
        return _mapped(databases, databases.api, host)
    known, unknown = divide(
        databases.each_cell(lambda cell: compute_services(cell, host))
    )
    having = [name for name, found in known.items() if found]
    if len(having) > 1:
        raise Ambiguous(f'host {host} is in several cells', having)
    for error in unknown.values():
        # it could be there as well
        raise error
    if not having:
        raise NotFound(f'no cell has a compute host named {host}')
    return having[0]


def _mapped(databases: Databases, api: Database, host: str) -> str:
    mappings = api.tables['host_mappings']
    cells = api.tables['cell_mappings']
    with api.reader() as connection:
        found = [
            row[1]
            for row in connection.execute(
                sa.select(mappings.c.host, cells.c.uuid)
                .select_from(
                    mappings.join(cells, mappings.c.cell_id == cells.c.id)
                )
                .where(mappings.c.host == host)
            )
            if row[0] == host
        ]
    if not found:
        raise NotFound(
            f'no cell has a compute host named {host} (host_mappings)'
        )
    for known in databases.cells:
        if known.cell.uuid == found[0]:
            return known.cell.name
    raise NotFound(
        f'host {host} is in cell {found[0]}, which is disabled; enable it '
        f'with: {cells_module.enable(found[0])}'
    )


def _node(
    row: Mapping[str, Any], by_service: Mapping[int, str], cell: str
) -> ComputeNode:
    service = row.get('service_id')
    return ComputeNode(
        id=row['id'],
        uuid=row.get('uuid'),
        host=row.get('host')
        or (by_service.get(service) if service is not None else None),
        hypervisor_hostname=row.get('hypervisor_hostname'),
        host_ip=row.get('host_ip'),
        hypervisor_type=row.get('hypervisor_type'),
        vcpus=row.get('vcpus'),
        memory_mb=row.get('memory_mb'),
        local_gb=row.get('local_gb'),
        cell=cell,
        row=row,
    )
