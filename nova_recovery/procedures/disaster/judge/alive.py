# SPDX-License-Identifier: Apache-2.0

"""Whether a server that is to run does, as far as anything tells."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import datetime

from nova_recovery.compat import utc
from nova_recovery.procedures.disaster import situation
from nova_recovery.procedures.disaster.look.hosts import Host
from nova_recovery.procedures.disaster.situation import (
    Action,
    Outage,
    Server,
    Situation,
)

#: It runs; it is being started; it doesn't; nothing since the outage tells.
UP, STARTING, DOWN, UNPROVEN = 'up', 'starting', 'down', 'unproven'

#: Tasks that end with a guest that runs.
_STARTING = frozenset(
    {
        'powering-on',
        'reboot_pending',
        'reboot_pending_hard',
        'reboot_started',
        'reboot_started_hard',
        'rebooting',
        'rebooting_hard',
    }
)
_BROUGHT_UP = frozenset({'reboot', 'start', 'evacuate', 'rebuild'})


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What is said of a server, and what says it.

    :ivar obvious: what W says of it tells the same
    """

    state: str
    why: str
    obvious: bool = False


def judge(
    found: Situation,
    server: Server,
    runs: Mapping[str, bool | None] | None = None,
) -> Judgement:
    """Whether a server of W runs.

    :param runs: what computes said when they were asked
    """
    told = (runs or {}).get(server.uuid)
    if told is not None:
        if told:
            return Judgement(UP, f'{server.host} runs it')
        return Judgement(DOWN, f'{server.host} does not run it')
    compute = found.compute(server.host)
    if compute in situation.NOT_UP:
        return Judgement(DOWN, f'nova-compute on {server.host} is {compute}')
    if server.task_state in _STARTING:
        return Judgement(STARTING, f'its task is {server.task_state}')
    seen = _seen(found, server)
    if seen is not None:
        return seen
    if server.vm_state != 'active':
        return Judgement(DOWN, f'it is {_word(server.vm_state)}', True)
    if server.power_state not in (situation.RUNNING, None):
        return Judgement(
            DOWN, f'its guest is off (power state {server.power_state})', True
        )
    last = brought_up(server)
    if last is not None:
        what = f'{last.action} since the outage ({last.request_id})'
        if last.result == 'Success' and not _before(last, found.outage):
            return Judgement(UP, what)
        if last.result == 'Error':
            return Judgement(DOWN, f'{what} failed')
        if last.result != 'Success':
            return Judgement(STARTING, f'{what} is not at its end')
    return Judgement(
        UNPROVEN, 'nova says that it runs, and nothing since proves it'
    )


def trusted(found: Situation, host: str | None) -> Host | None:
    """What a host told of itself after the outage; None: nothing."""
    told = found.hosts_now.get(host or '')
    if told is None or older(found, told):
        return None
    return told


def older(found: Situation, told: Host) -> bool:
    """Whether a host told it before the outage.

    One that was asked just now did not, whatever our clock says.
    """
    if not told.in_files:
        return False
    taken = _time(told.taken_at)
    return bool(taken and found.outage.at and taken < found.outage.at)


def _seen(found: Situation, server: Server) -> Judgement | None:
    """By what its host told of itself, unless something was asked since."""
    told = trusted(found, server.host)
    if told is None or told.domains is None:
        return None
    taken, last = _time(told.taken_at), brought_up(server)
    if told.in_files and last and last.at and (not taken or last.at > taken):
        return None
    domain = told.domains.get(server.uuid)
    if domain is not None and domain.runs:
        return Judgement(UP, f'{server.host} runs it')
    state = f'has it {domain.state}' if domain else 'does not have it'
    return Judgement(DOWN, f'{server.host} {state}')


def _before(action: Action, outage: Outage) -> bool:
    """Whether it was asked for before the power went, by the clocks.

    They may differ; what it then says wrongly is only less of a proof.
    """
    return bool(action.at and outage.at and action.at < outage.at)


def brought_up(server: Server) -> Action | None:
    """What was asked for last, since the mark, that starts a guest."""
    return next(
        (a for a in reversed(server.newest) if a.action in _BROUGHT_UP), None
    )


def _word(vm_state: str) -> str:
    return 'in error' if vm_state == 'error' else vm_state


def _time(text: str) -> datetime.datetime | None:
    try:
        return utc(text)
    except ValueError:
        return None
