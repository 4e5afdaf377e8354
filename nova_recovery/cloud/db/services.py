# SPDX-License-Identifier: Apache-2.0

"""Compute services and their nodes, as the cells have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import Databases, divide
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.cloud.records import ComputeNode, Service
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
        live = reader.select(
            'services',
            by='host',
            values=None if host is None else [host],
            where=binary == BINARY,
        )
        services = [_service(row, database.name) for row in live]
    return [
        one
        for one in sorted(services, key=lambda one: (one.host or '', one.id))
        # MySQL compares without regard to case or trailing blanks
        if host is None or one.host == host
    ]


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
    raise NotFound(f'host {host} is in cell {found[0]}, which is disabled')


def _service(row: Mapping[str, Any], cell: str) -> Service:
    forced_down = row.get('forced_down')
    return Service(
        id=row['id'],
        uuid=row.get('uuid'),
        host=row['host'],
        binary=row['binary'],
        topic=row.get('topic'),
        report_count=row.get('report_count') or 0,
        disabled=bool(row.get('disabled')),
        disabled_reason=row.get('disabled_reason'),
        forced_down=None if forced_down is None else bool(forced_down),
        last_seen_up=row.get('last_seen_up'),
        updated_at=row.get('updated_at'),
        version=row.get('version'),
        cell=cell,
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
