# SPDX-License-Identifier: Apache-2.0

"""What a server holds in placement, exchanged by compare-and-set."""

from __future__ import annotations

from nova_recovery.changes.base import At, BaseChange
from nova_recovery.engine.change import JSON, Observed
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import Conflict


class MoveAllocation(BaseChange):
    """Replace the source's allocation by the same one on the target.

    Before the tombstone becomes visible: a returning nova-compute removes
    the allocations against its own provider, which must not be the only
    ones. Data: uuid, source, target (names), source_provider,
    target_provider, resources. Where that doesn't tell it all (an evacuation
    that stopped half-way holds both): seen and wanted, provider ->
    resources. Wanted is {}, and uuid a migration's, where that comes to its
    end (``_delete_allocation_after_move`` in nova/compute/manager.py).
    """

    kind = 'move-allocation'
    confirms = True

    def describe(self, item: Item) -> list[str]:
        seen, wanted = _sides(item.data)
        held = ', '.join(
            f'{name} {amount}'
            for resources in (wanted or seen).values()
            for name, amount in sorted(resources.items())
        )
        source = item.data['source']
        if not wanted:
            return [f'- allocation  of its migration on {source}   {held}']
        target = item.data['target']
        return [f'~ allocation  {source} -> {target}   {held}']

    def observe(self, at: At) -> Observed:
        seen, wanted = _sides(at.data)
        now = at.cloud.placement.allocations(at.data['uuid'])
        held = now['allocations']
        if held == wanted:
            return Observed.after('already there')
        if held == seen:
            return Observed.before(now)
        return Observed.neither(f'the allocation is now {held}')

    def apply(self, at: At) -> str:
        seen, wanted = _sides(at.data)
        _exchange(at, seen, wanted)
        if not wanted:
            return f'released on {at.data["source"]}'
        return f'allocated on {at.data["target"]}'

    def revert(self, at: At) -> str:
        seen, wanted = _sides(at.data)
        _exchange(at, wanted, seen)
        return f'allocated on {at.data["source"]} again'


def _sides(data: JSON) -> tuple[JSON, JSON]:
    """What is held before and afterwards: provider -> resources."""
    if 'seen' in data:
        return data['seen'], data['wanted']
    resources = data['resources']
    return (
        {data['source_provider']: resources},
        {data['target_provider']: resources},
    )


def _exchange(at: At, origin: JSON, goal: JSON) -> None:
    # Read again for the generation: placement itself compares it, which
    # makes this a compare-and-set over the network.
    now = at.cloud.placement.allocations(at.data['uuid'])
    held = now['allocations']
    if held == goal:
        return
    if held != origin:
        raise Conflict(f'allocation of server {at.data["uuid"]} is now {held}')
    if not held:
        # Who holds nothing is forgotten: whose it was, too.
        now = {**at.image, 'consumer_generation': None}
    at.confirm()
    at.cloud.placement.put_allocations(
        at.data['uuid'], {**now, 'allocations': goal}
    )
