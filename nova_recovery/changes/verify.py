# SPDX-License-Identifier: Apache-2.0

"""Look whether a recovered server is what it should be, everywhere."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from nova_recovery.changes import cell
from nova_recovery.changes.base import Look
from nova_recovery.engine.change import Context, JSON
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed


class VerifyServer(Look):
    """Changes nothing; fails with every difference that it finds.

    Data: cell, uuid, source, target, running (whether the guest should),
    provider (of the target), volumes (ids), apis (False where there is
    nothing but databases).
    """

    kind = 'verify-server'

    def describe(self, item: Item) -> list[str]:
        state = 'running' if item.data['running'] else 'stopped'
        return [f'? {state} on {item.data["target"]}, with all it had']

    def apply(self, item: Item, context: Context, image: JSON) -> str:
        wrong = list(_differences(item, context))
        if wrong:
            raise ChangeFailed('; '.join(wrong))
        state = 'running' if item.data['running'] else 'stopped'
        return f'{state} on {item.data["target"]}'


def _differences(item: Item, context: Context) -> Iterator[str]:
    yield from _server(item, context)
    yield from _allocation(item, context)
    yield from _ports(item, context)
    yield from _volumes(item, context)


def _server(item: Item, context: Context) -> Iterator[str]:
    data = item.data
    row = cell.server_row(item, context)
    wanted = 'active' if data['running'] else 'stopped'
    if row['vm_state'] != wanted:
        yield f'the server is {row["vm_state"]}, not {wanted}'
    if row['host'] != data['target']:
        yield f'the server is on {row["host"]}, not {data["target"]}'
    # The resource tracker looks servers up by host and node.
    if row['node'] != data['node']:
        yield f'its node is {row["node"]}, not {data["node"]}'
    elif data['running'] and not context.cloud.compute.runs(data['uuid']):
        yield f'the hypervisor of {row["host"]} does not have it running'


def _allocation(item: Item, context: Context) -> Iterator[str]:
    data = item.data
    held = context.cloud.placement.allocations(data['uuid'])['allocations']
    if data['provider'] not in held:
        yield f'placement has no allocation for it on {data["target"]}'
    # After an evacuation the source's is there until the source returns.
    others = set(held) - {data['provider'], data['source_provider']}
    if others:
        yield f'placement has allocations on {", ".join(sorted(others))}'


def _ports(item: Item, context: Context) -> Iterator[str]:
    for port in context.cloud.network.ports(item.data['uuid']):
        if port.host != item.data['target']:
            yield f'port {port.id} is bound to {port.host or "no host"}'
        elif port.vif_type in ('unbound', 'binding_failed'):
            yield f'port {port.id} is {port.vif_type}'


def _volumes(item: Item, context: Context) -> Iterator[str]:
    """nova's mappings against cinder's attachments."""
    database = cell.database(item, context)
    table = database.tables['block_device_mapping']
    with database.reader() as connection:
        mappings = {
            row['volume_id']: dict(row)
            for row in connection.execute(
                sa.select(table).where(
                    table.c.instance_uuid == item.data['uuid'],
                    table.c.deleted == 0,
                    table.c.volume_id.is_not(None),
                )
            ).mappings()
        }
    for volume in item.data['volumes']:
        mapping = mappings.get(volume)
        if mapping is None:
            yield f'nova has lost its mapping of volume {volume}'
            continue
        attached = {
            one['id']: one for one in context.cloud.volume.attachments(volume)
        }
        if mapping['attachment_id'] not in attached:
            yield (
                f'cinder has no attachment {mapping["attachment_id"]} of '
                f'volume {volume}'
            )
        elif item.data['running'] and not mapping['connection_info']:
            # Such a volume is skipped in silence when the guest starts.
            yield f'nova has no connection data for volume {volume}'
