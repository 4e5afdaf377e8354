# SPDX-License-Identifier: Apache-2.0

"""Move what a server holds in placement to another provider."""

from __future__ import annotations

from nova_recovery.changes.base import At, BaseChange
from nova_recovery.engine.change import Observed
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

    def observe(self, at: At) -> Observed:
        now = at.cloud.placement.allocations(at.data['uuid'])
        held = now['allocations']
        if held == {at.data['target_provider']: at.data['resources']}:
            return Observed.after('already there')
        if held == {at.data['source_provider']: at.data['resources']}:
            return Observed.before(now)
        return Observed.neither(f'the allocation is now {held}')

    def apply(self, at: At) -> str:
        _exchange(at, 'source_provider', 'target_provider')
        return f'allocated on {at.data["target"]}'

    def revert(self, at: At) -> str:
        _exchange(at, 'target_provider', 'source_provider')
        return f'allocated on {at.data["source"]} again'


def _exchange(at: At, origin: str, goal: str) -> None:
    # Read again for the generation: placement itself compares it, which
    # makes this a compare-and-set over the network.
    now = at.cloud.placement.allocations(at.data['uuid'])
    held, resources = now['allocations'], at.data['resources']
    if held == {at.data[goal]: resources}:
        return
    if held != {at.data[origin]: resources}:
        raise Conflict(f'allocation of server {at.data["uuid"]} is now {held}')
    at.cloud.placement.put_allocations(
        at.data['uuid'], {**now, 'allocations': {at.data[goal]: resources}}
    )
