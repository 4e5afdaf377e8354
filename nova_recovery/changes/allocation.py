# SPDX-License-Identifier: Apache-2.0

"""Move what a server holds in placement to another provider."""

from __future__ import annotations

from nova_recovery.changes.base import BaseChange
from nova_recovery.engine.change import Context, JSON, Observed, Past, State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import Conflict


class MoveAllocation(BaseChange):
    """Replace the source's allocation by the same one on the target.

    Before the tombstone becomes visible: a returning nova-compute removes
    the allocations against its own provider, which must not be the only
    ones. Data: uuid, source, target (names), source_provider,
    target_provider, resources, project_id, user_id.
    """

    kind = 'move-allocation'

    def describe(self, item: Item) -> list[str]:
        held = ', '.join(
            f'{name} {amount}'
            for name, amount in sorted(item.data['resources'].items())
        )
        return [
            f'~ allocation  {item.data["source"]} -> {item.data["target"]}   '
            f'{held}'
        ]

    def observe(
        self, item: Item, context: Context, past: Past | None
    ) -> Observed:
        now = context.cloud.placement.allocations(item.data['uuid'])
        held = now['allocations']
        if held == {item.data['target_provider']: item.data['resources']}:
            return Observed(State.AFTER, 'already there')
        if held == {item.data['source_provider']: item.data['resources']}:
            return Observed(State.BEFORE, image=now)
        return Observed(State.NEITHER, f'the allocation is now {held}')

    def apply(self, item: Item, context: Context, image: JSON) -> str:
        _exchange(item, context, 'source_provider', 'target_provider')
        return f'allocated on {item.data["target"]}'

    def revert(self, item: Item, context: Context, past: Past) -> str:
        _exchange(item, context, 'target_provider', 'source_provider')
        return f'allocated on {item.data["source"]} again'


def _exchange(item: Item, context: Context, origin: str, goal: str) -> None:
    # Read again for the generation: placement itself compares it, which
    # makes this a compare-and-set over the network.
    now = context.cloud.placement.allocations(item.data['uuid'])
    held, resources = now['allocations'], item.data['resources']
    if held == {item.data[goal]: resources}:
        return
    if held != {item.data[origin]: resources}:
        raise Conflict(
            f'allocation of server {item.data["uuid"]} is now {held}'
        )
    context.cloud.placement.put_allocations(
        item.data['uuid'], {**now, 'allocations': {item.data[goal]: resources}}
    )
