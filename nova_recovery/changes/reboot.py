# SPDX-License-Identifier: Apache-2.0

"""Start and hard reboot of a server, each sent once."""

from __future__ import annotations

from nova_recovery.changes import once
from nova_recovery.changes.once import SentOnce
from nova_recovery.engine.change import Context, JSON, Observed, State
from nova_recovery.engine.plan import Item


class StartServer(SentOnce):
    """Start a server that was moved; nova-compute defines it anew.

    ``os-start`` is a compare-and-set itself: nova refuses it with 409
    unless the server is stopped and without a task.
    """

    kind = 'start-server'
    action = 'start'

    def describe(self, item: Item) -> list[str]:
        return ['> started, once']

    def ready(self, row: JSON, item: Item) -> Observed:
        seen = once.rests(row, item, {'stopped', 'active'})
        if seen.state is State.BEFORE and row['vm_state'] == 'active':
            return Observed(State.AFTER, 'runs already')
        return seen

    def send(self, item: Item, context: Context, image: JSON) -> str:
        compute = context.cloud.compute
        once.require_up(compute, item, context)
        return str(compute.start(item.data['uuid']))


class RebootServer(SentOnce):
    """Hard reboot, or start if it is stopped; exactly once."""

    kind = 'reboot-server'
    action = 'reboot'

    #: States in which nova takes a hard reboot (nova/compute/api.py).
    STATES = frozenset({'active', 'paused', 'suspended', 'error'})

    def describe(self, item: Item) -> list[str]:
        return ['> hard reboot, once']

    def ready(self, row: JSON, item: Item) -> Observed:
        return once.rests(row, item, self.STATES)

    def send(self, item: Item, context: Context, image: JSON) -> str:
        compute = context.cloud.compute
        once.require_up(compute, item, context)
        return str(compute.reboot_hard(item.data['uuid']))
