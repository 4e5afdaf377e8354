# SPDX-License-Identifier: Apache-2.0

"""What nova has: servers, devices, interfaces, services, nodes, aggregates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import functools
import json
from typing import Any

import sqlalchemy as sa

from nova_recovery.cloud import names, secrets
from nova_recovery.cloud.db import schema
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.snapshot import format as format_module
from nova_recovery.snapshot import masking, volumes
from nova_recovery.snapshot.streams import Stream
from nova_recovery.snapshot.writing import Writer

#: What a database older than the snapshot has lower numbers of.
MARKERS = ('instances', 'instance_actions', 'migrations')

#: The sections that a cell fills.
SECTIONS = (
    'servers',
    'flavors',
    'metadata',
    'tags',
    'devices',
    'interfaces',
    'services',
    'nodes',
)


def markers(reader: Reader) -> dict[str, Any]:
    """The highest id of tables that only grow."""
    return {name: reader.highest(name) for name in MARKERS}


def write(stream: Stream, writer: Writer, template: str) -> None:
    """Write everything that a cell has.

    :param template: ``instance_name_template``
    :raises DatabaseUnavailable: it doesn't answer any more
    """
    for name, rows in (
        ('servers', _servers(stream, template)),
        ('flavors', _flavors(stream)),
        ('metadata', _metadata(stream)),
        ('tags', _tags(stream)),
        ('devices', _devices(stream)),
        ('interfaces', _interfaces(stream)),
        ('services', _plain(stream, 'services')),
        ('nodes', _nodes(stream)),
        ('aggregates', aggregates(stream)),
        # in Essex volumes are in nova
        ('volumes', volumes.of_nova(stream)),
        ('attachments', volumes.attachments_of_nova(stream)),
    ):
        if rows is not None:
            writer.part(name, stream.source, rows)
        elif name in SECTIONS:
            writer.missing(
                name, stream.source, format_module.ABSENT, 'no such table'
            )


Rows = Iterator[Sequence[Any]]


def _plain(stream: Stream, section: str) -> Rows | None:
    table = stream.table(section)
    return None if table is None else stream.section(section, table)


def _servers(stream: Stream, template: str) -> Rows:
    table = stream.database.tables['instances']
    columns = format_module.SECTIONS['servers'].columns
    name, number = columns.index('instance_name'), columns.index('id')
    uuid = columns.index('uuid')

    def named(values: Sequence[Any]) -> Sequence[Any]:
        row = {'id': values[number], 'uuid': values[uuid]}
        return (
            *values[:name],
            names.instance_name(template, row),
            *values[name + 1 :],
        )

    rows = stream.section(
        'servers',
        table,
        renamed={'name': 'display_name', 'flavor_id': 'instance_type_id'},
    )
    return map(named, rows)


def _flavors(stream: Stream) -> Rows | None:
    table = stream.table('instance_extra')
    if table is None or 'flavor' not in table.c:
        return None
    query = sa.select(table.c.instance_uuid, table.c.flavor).where(
        schema.live(table), table.c.flavor.is_not(None)
    )
    return stream.rows(query, lambda row: (row[0], *_flavor(row[1])))


@functools.lru_cache(maxsize=4096)
def _flavor(text: str) -> tuple[Any, ...]:
    # the servers of a flavor have the same text
    try:
        data = json.loads(text)['cur']['nova_object.data']
        specs = masking.masked(data.get('extra_specs') or {})
    except (ValueError, KeyError, TypeError):
        return ('(unreadable)', None, None, None, None, None)
    return (
        *(data.get(k) for k in ('name', 'flavorid', 'vcpus', 'memory_mb')),
        data.get('root_gb'),
        json.dumps(specs, sort_keys=True),
    )


def _metadata(stream: Stream) -> Rows | None:
    table = stream.table('instance_metadata')
    if table is None or 'instance_uuid' not in table.c:
        return None
    query = sa.select(table.c.instance_uuid, table.c.key, table.c.value).where(
        schema.live(table)
    )
    return stream.rows(
        query, lambda row: (row[0], row[1], masking.pair(row[1], row[2]))
    )


def _tags(stream: Stream) -> Rows | None:
    table = stream.table('tags')
    if table is None:
        return None
    return stream.rows(sa.select(table.c.resource_id, table.c.tag))


def _devices(stream: Stream) -> Rows:
    table = stream.database.tables['block_device_mapping']
    source = None
    given: dict[str, Any] = {}
    if 'instance_uuid' in table.c:
        given['server'] = table.c.instance_uuid
    else:
        # Essex: by the id of the server
        servers = stream.database.tables['instances']
        given['server'] = servers.c.uuid
        source = table.join(servers, table.c.instance_id == servers.c.id)
    rows = stream.section(
        'devices',
        table,
        renamed={'volume': 'volume_id', 'attachment': 'attachment_id'},
        given=given,
        source=source,
    )
    columns = format_module.SECTIONS['devices'].columns
    disk, volume = columns.index('disk'), columns.index('volume')
    device, index = columns.index('device_name'), columns.index('boot_index')
    driver, info = columns.index('driver'), columns.index('connection_info')

    def converted(values: Sequence[Any]) -> Sequence[Any]:
        row = list(values)
        if row[volume] is not None:
            # a number in Essex
            row[volume] = str(row[volume])
        # the same disk has a new row after it was attached again
        row[disk] = row[volume] or f'local:{row[index]}:{row[device]}'
        row[driver], row[info] = _connection(row[info])
        return row

    return map(converted, rows)


def _connection(text: str | None) -> tuple[str | None, str | None]:
    """The protocol, and the connection data without secrets."""
    if not text:
        return None, None
    try:
        data = json.loads(text)
    except ValueError:
        return None, secrets.MASK
    if not isinstance(data, dict):
        return None, masking.text(text)
    driver = data.get('driver_volume_type')
    return (
        None if driver is None else str(driver),
        masking.compact(masking.masked(data)),
    )


def _interfaces(stream: Stream) -> Rows | None:
    table = stream.table('instance_info_caches')
    if table is None:
        return None
    # Essex calls the column instance_id, and has the UUID in it all the same
    column = 'instance_uuid' if 'instance_uuid' in table.c else 'instance_id'
    query = sa.select(table.c[column], table.c.network_info).where(
        schema.live(table), table.c.network_info.is_not(None)
    )

    def each() -> Rows:
        for server, text in stream.rows(query):
            yield from _ports(server, text)

    return each()


def _ports(server: str, text: str) -> Rows:
    try:
        ports = json.loads(text) or []
    except ValueError:
        ports = []
    for port in ports:
        if not isinstance(port, dict):
            continue
        network = port.get('network')
        if not isinstance(network, dict):
            network = {}
        yield (
            server,
            port.get('id'),
            port.get('address'),
            network.get('id'),
            masking.compact(list(_addresses(network))),
            port.get('type'),
        )


def _addresses(network: dict[str, Any]) -> Iterator[str]:
    for subnet in network.get('subnets') or ():
        for address in subnet.get('ips') or ():
            yield str(address.get('address'))
            for floating in address.get('floating_ips') or ():
                yield str(floating.get('address'))


def _nodes(stream: Stream) -> Rows | None:
    table = stream.table('compute_nodes')
    if table is None:
        return None
    services = stream.database.tables['services']
    given: dict[str, Any] = {}
    source = None
    if 'service_id' in table.c:
        # up to Juno only the service says the host
        source = table.outerjoin(services, services.c.id == table.c.service_id)
        given['host'] = (
            sa.func.coalesce(table.c.host, services.c.host)
            if 'host' in table.c
            else services.c.host
        )
    return stream.section('nodes', table, given=given, source=source)


def aggregates(stream: Stream) -> Rows | None:
    """The aggregates, each with its hosts and metadata; None: no table.

    They are in the API database, before Ocata in the only cell. A cell of
    a newer release has no more tables for them, or empty ones.
    """
    table = stream.table('aggregates')
    members = stream.table('aggregate_hosts')
    details = stream.table('aggregate_metadata')
    if table is None or members is None or details is None:
        return None
    hosts: dict[int, list[str]] = {}
    for aggregate, host in stream.rows(
        sa.select(members.c.aggregate_id, members.c.host).where(
            schema.live(members)
        )
    ):
        hosts.setdefault(aggregate, []).append(host)
    metadata: dict[int, dict[str, Any]] = {}
    for aggregate, key, value in stream.rows(
        sa.select(
            details.c.aggregate_id, details.c.key, details.c.value
        ).where(schema.live(details))
    ):
        metadata.setdefault(aggregate, {})[key] = masking.pair(key, value)
    uuid = table.c.uuid if 'uuid' in table.c else sa.null()
    return stream.rows(
        sa.select(table.c.id, uuid, table.c.name).where(schema.live(table)),
        lambda row: (
            *row,
            masking.compact(sorted(hosts.get(row[0], ()))),
            masking.compact(dict(sorted(metadata.get(row[0], {}).items()))),
        ),
    )
