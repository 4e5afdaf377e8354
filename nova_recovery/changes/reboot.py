# SPDX-License-Identifier: Apache-2.0

"""Start and hard reboot of a server, each sent once."""

from __future__ import annotations

from nova_recovery.changes import once
from nova_recovery.changes.base import At
from nova_recovery.changes.once import SentOnce
from nova_recovery.engine.change import JSON, Observed, State
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

    def ready(self, at: At, row: JSON) -> Observed:
        seen = once.rests(at, row, {'stopped', 'active'})
        if seen.state is State.BEFORE and row['vm_state'] == 'active':
            return Observed.after('runs already')
        return seen

    def send(self, at: At) -> str:
        once.require_up(at)
        return str(at.cloud.compute.start(at.data['uuid']))


class RebootServer(SentOnce):
    """Hard reboot, or start if it is stopped; exactly once."""

    kind = 'reboot-server'
    action = 'reboot'

    #: States in which nova takes a hard reboot (nova/compute/api.py).
    STATES = frozenset({'active', 'paused', 'suspended', 'error'})

    def describe(self, item: Item) -> list[str]:
        return ['> hard reboot, once']

    def ready(self, at: At, row: JSON) -> Observed:
        return once.rests(at, row, self.STATES)

    def send(self, at: At) -> str:
        once.require_up(at)
        return str(at.cloud.compute.reboot_hard(at.data['uuid']))
