# SPDX-License-Identifier: Apache-2.0

"""Look whether a recovered server is what it should be, everywhere."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from nova_recovery.changes import cell
from nova_recovery.changes.base import At, Look
from nova_recovery.cloud.providers import Providers
from nova_recovery.engine.change import JSON
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

    def apply(self, at: At) -> str:
        wrong = list(_differences(at))
        if wrong:
            raise ChangeFailed('; '.join(wrong))
        state = 'running' if at.data['running'] else 'stopped'
        return f'{state} on {at.data["target"]}'


def _differences(at: At) -> Iterator[str]:
    yield from _server(at)
    yield from _allocation(at)
    yield from _ports(at)
    yield from _volumes(at)


def _server(at: At) -> Iterator[str]:
    data = at.data
    row = cell.server_row(at)
    wanted = 'active' if data['running'] else 'stopped'
    if row['vm_state'] != wanted:
        yield f'the server is {row["vm_state"]}, not {wanted}'
    if row['host'] != data['target']:
        yield f'the server is on {row["host"]}, not {data["target"]}'
    # The resource tracker looks servers up by host and node.
    if row['node'] != data['node']:
        yield f'its node is {row["node"]}, not {data["node"]}'
    elif data['running'] and not at.cloud.compute.runs(data['uuid']):
        yield f'the hypervisor of {row["host"]} does not have it running'


def _allocation(at: At) -> Iterator[str]:
    """By provider tree: a device's provider is a child of its node's."""
    data = at.data
    held = at.cloud.placement.allocations(data['uuid'])['allocations']
    if data['provider'] not in held:
        yield f'placement has no allocation for it on {data["target"]}'
    # After an evacuation the source's is there until the source returns.
    others = set(held) - {data['provider'], data['source_provider']}
    if not others:
        return
    places = Providers(at.cloud)
    if places.unreachable:
        yield places.unreachable
    expected = {data['provider'], data['source_provider']}
    wrong = {
        one.host
        for root, one in places.of(others).items()
        # one that is nobody's any more was left by a node made anew
        if root not in expected and one.host is not None
    }
    if wrong:
        yield f'placement has allocations on {", ".join(sorted(wrong))}'


def _ports(at: At) -> Iterator[str]:
    for port in at.cloud.network.ports(at.data['uuid']):
        if port.host != at.data['target']:
            yield f'port {port.id} is bound to {port.host or "no host"}'
        elif port.vif_type in ('unbound', 'binding_failed'):
            yield f'port {port.id} is {port.vif_type}'


def _volumes(at: At) -> Iterator[str]:
    """nova's mappings against cinder's attachments."""
    database = cell.database(at)
    table = database.tables['block_device_mapping']
    mappings: dict[str, list[JSON]] = {}
    with database.reader() as connection:
        for row in connection.execute(
            sa.select(table).where(
                table.c.instance_uuid == at.data['uuid'],
                table.c.deleted == 0,
                table.c.volume_id.is_not(None),
            )
        ).mappings():
            mappings.setdefault(row['volume_id'], []).append(dict(row))
    for volume in at.data['volumes']:
        yield from _volume(at, volume, mappings.get(volume, []))


def _volume(at: At, volume: str, mappings: list[JSON]) -> Iterator[str]:
    """One volume, which an attach that was repeated maps several times."""
    if not mappings:
        yield f'nova has lost its mapping of volume {volume}'
        return
    own = {
        one['id']: one.get('instance')
        for one in at.cloud.volume.attachments(volume)
    }
    # Attached before Queens: the server is all that joins the two sides, and
    # nova evacuates it as it was.
    unnamed = at.data['uuid'] in own.values()
    held = [
        mapping
        for mapping in mappings
        if mapping['attachment_id'] in own
        or (mapping['attachment_id'] is None and unnamed)
    ]
    if not held:
        named = mappings[0]['attachment_id']
        yield f'cinder has no attachment {named} of volume {volume}'
    elif at.data['running'] and not any(m['connection_info'] for m in held):
        # Such a volume is skipped in silence when the guest starts.
        yield f'nova has no connection data for volume {volume}'
