# SPDX-License-Identifier: Apache-2.0

"""Stop the services of a compute host, and start them as they were."""

from __future__ import annotations

from collections.abc import Sequence

from nova_recovery.changes import on_host
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.engine.change import Observed
from nova_recovery.engine.plan import Item


class StopServices(BaseChange):
    """Those of nova and libvirt that run; the host remembers which.

    Data: host, machine_id, running (names), groups (nova, libvirt), hold
    (nobody starts them before they are given back, not even a boot).
    """

    kind = 'stop-services'

    def describe(self, item: Item) -> list[str]:
        return [f'- {_told(item.data["running"])}']

    def observe(self, at: At) -> Observed:
        words = on_host.stop_words(at)
        found = on_host.ask(at, 'services list', words)
        running = [row['name'] for row in found['services'] if row['runs']]
        kept = found['held'] or not words['hold']
        if at.begun and not running and kept:
            return Observed.after('none of them runs')
        return Observed.before({'running': running})

    def apply(self, at: At) -> str:
        return _stop(at)

    def revert(self, at: At) -> str:
        return _start(at)


class StartServices(BaseChange):
    """Those that were stopped, the last first: libvirt before nova.

    That is libvirt's restart, without which it keeps the numbers that it read
    when it was started. Data: host, machine_id, running.
    """

    kind = 'start-services'

    def describe(self, item: Item) -> list[str]:
        return [f'+ {_told(item.data["running"])}, as they were']

    def observe(self, at: At) -> Observed:
        # the host knows what it has started already
        on_host.check_machine(at)
        return Observed.before()

    def apply(self, at: At) -> str:
        return _start(at)

    def revert(self, at: At) -> str:
        return _stop(at)


def _stop(at: At) -> str:
    found = on_host.ask(at, 'services stop', on_host.stop_words(at))
    return f'stopped: {_told(found["stopped"])}'


def _start(at: At) -> str:
    data = {'state': on_host.state(at, 'services')}
    found = on_host.ask(at, 'services start', data)
    return f'started: {_told(found["started"])}'


def _told(names: Sequence[str]) -> str:
    return ', '.join(names) or 'none'
