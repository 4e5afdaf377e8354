# SPDX-License-Identifier: Apache-2.0

"""Stop the services of a compute host, and start them as they were."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nova_recovery import program
from nova_recovery.changes import on_host
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.engine import states
from nova_recovery.engine.change import Observed
from nova_recovery.engine.plan import Item, Plan
from nova_recovery.engine.records import ItemRecord
from nova_recovery.host.agent import held


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


def kept_off(
    plan: Plan, items: Iterable[ItemRecord], run_id: str
) -> list[str]:
    """The hosts whose services a run may hold, and how each is let go.

    Where it goes on, its start or its undo lets go of them; else nobody does.

    :param items: all of the run
    """
    found = {record.id: record for record in items}
    going = {
        item.subject
        for item in plan.items()
        if item.kind == StartServices.kind
        and found[item.id].state in states.RIGHT
    }
    return [
        _let_go(item, run_id)
        for item in plan.items()
        if item.kind == StopServices.kind
        and item.data.get('hold')
        and item.subject not in going
        and found[item.id].begun
        and found[item.id].state != states.REVERTED
    ]


def _let_go(item: Item, run_id: str) -> str:
    data, look = item.data, program.call('host uid show')
    marker = held.where(on_host.place(data['home'], run_id, 'services'))
    return (
        f'{data["host"]}: nova-compute and libvirt are kept off there, also '
        'at a boot. When its accounts and its files have their numbers '
        f'({look} {data["host"]}), on that host: rm {marker}; then start '
        f'what ran: {_told(data["running"][::-1])}'
    )


def _stop(at: At) -> str:
    found = on_host.ask(at, 'services stop', on_host.stop_words(at))
    return f'stopped: {_told(found["stopped"])}'


def _start(at: At) -> str:
    data = {'state': on_host.state(at, 'services')}
    found = on_host.ask(at, 'services start', data)
    return f'started: {_told(found["started"])}'


def _told(names: Sequence[str]) -> str:
    return ', '.join(names) or 'none'
