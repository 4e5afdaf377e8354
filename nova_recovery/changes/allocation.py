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
    resources.
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
        source, target = item.data['source'], item.data['target']
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
        _exchange(at, *_sides(at.data))
        return f'allocated on {at.data["target"]}'

    def revert(self, at: At) -> str:
        seen, wanted = _sides(at.data)
        _exchange(at, wanted, seen)
        return f'allocated on {at.data["source"]} again'


class ReleaseAllocation(BaseChange):
    """What a migration holds of its source goes, as when it is confirmed.

    While a resize waits, the source's part is allocated to the migration
    (``_delete_allocation_after_move`` in nova/compute/manager.py ends that).

    Data: uuid (of the migration), source (host), seen (provider ->
    resources).
    """

    kind = 'release-allocation'
    confirms = True

    def describe(self, item: Item) -> list[str]:
        held = ', '.join(
            f'{name} {amount}'
            for resources in item.data['seen'].values()
            for name, amount in sorted(resources.items())
        )
        return [
            f'- allocation  of its resize on {item.data["source"]}   {held}'
        ]

    def observe(self, at: At) -> Observed:
        now = at.cloud.placement.allocations(at.data['uuid'])
        if not now['allocations']:
            return Observed.after('it holds nothing')
        if now['allocations'] == at.data['seen']:
            return Observed.before(now)
        return Observed.neither(f'the allocation is now {now["allocations"]}')

    def apply(self, at: At) -> str:
        # Read again for the generation, as in ``_exchange``.
        now = at.cloud.placement.allocations(at.data['uuid'])
        if now['allocations'] and now['allocations'] != at.data['seen']:
            raise Conflict(
                f'allocation of migration {at.data["uuid"]} is now '
                f'{now["allocations"]}'
            )
        at.confirm()
        at.cloud.placement.put_allocations(
            at.data['uuid'], {**now, 'allocations': {}}
        )
        return f'released on {at.data["source"]}'

    def revert(self, at: At) -> str:
        now = at.cloud.placement.allocations(at.data['uuid'])
        if now['allocations']:
            return 'already as it was'
        at.confirm()
        # A consumer that holds nothing is none: it has no generation.
        at.cloud.placement.put_allocations(
            at.data['uuid'], {**at.image, 'consumer_generation': None}
        )
        return f'held on {at.data["source"]} again'


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
    at.confirm()
    at.cloud.placement.put_allocations(
        at.data['uuid'], {**now, 'allocations': goal}
    )
