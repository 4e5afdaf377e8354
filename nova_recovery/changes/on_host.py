# SPDX-License-Identifier: Apache-2.0

"""What changes on compute hosts have in common: asking the agent there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_recovery.changes.base import At
from nova_recovery.exceptions import Conflict, OutcomeUnknown
from nova_recovery.fleet.answer import Answer

#: Seconds between two looks at what was started, at first and at most.
POLL, SELDOM = 1.0, 10.0
#: Seconds for which a host may say nothing while something works there; a
#: reboot takes that long.
SILENCE = 600
#: How often something is started that its host was rebooted under.
STARTS = 4


def state(at: At, name: str) -> str:
    """Where the host keeps what it must remember of this run."""
    return f'{at.data["home"]}/uid-{at.run_id}/{name}'


def ask(
    at: At, verb: str, data: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    """Have the host of the item carry out a verb; what it answered.

    Data of the item: host, machine_id, home (``[fleet] home``).

    :raises Conflict: another machine has that name by now; nothing was sent
    :raises ChangeFailed: refused; nothing was carried out
    :raises OutcomeUnknown: it may have been carried out
    """
    check_machine(at)
    found: Answer = at.cloud.fleet.run(at.data['host'], verb, data)
    return found.need()


def check_machine(at: At) -> None:
    """That it is the machine of the plan.

    :raises Conflict: it isn't
    :raises OutcomeUnknown: it doesn't say
    """
    host, fleet = at.data['host'], at.cloud.fleet
    if at.cloud.conf.fleet.home != at.data['home']:
        raise Conflict(
            f'the plan was made with [fleet] home = {at.data["home"]}, where '
            f'the hosts remember how they were: set it so'
        )
    known = fleet.identity(host)
    if known is None:
        fleet.identify([host])[host].need()
        known = fleet.identity(host)
    if known.machine_id != at.data['machine_id']:
        raise Conflict(
            f'{host} is another machine than when the plan was made: its '
            f'machine-id is {known.machine_id}, it was '
            f'{at.data["machine_id"]}'
        )


def quiet(at: At) -> None:
    """Stop what a reboot of the host has started again meanwhile.

    It is remembered with what was stopped first.
    """
    ask(at, 'services stop', {'state': state(at, 'services')})


def status(at: At, run: str) -> Mapping[str, Any]:
    """How it stands: ``running``, ``done``, ``lost`` or ``unknown``."""
    check_machine(at)
    found: Mapping[str, Any] = at.cloud.fleet.status(
        at.data['host'], run
    ).need()
    return found


def start(at: At, run: str, verb: str, data: Mapping[str, Any]) -> str:
    """Start what takes long; the same once more goes on with it.

    Nova and libvirt are stopped, should a reboot have started them.
    """
    quiet(at)
    found = at.cloud.fleet.start(at.data['host'], run, verb, data).need()
    return 'started' if found['started'] else f'it is {found["state"]}'


def through(
    at: At, run: str, verb: str, data: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Start it, again after each reboot of its host, and wait for its end.

    :returns: the status, which is done
    :raises OutcomeUnknown: the host says nothing, or was rebooted too often
    """
    for _ in range(STARTS):
        start(at, run, verb, data)
        found = follow(at, run)
        if found['state'] == 'done':
            return found
    raise OutcomeUnknown(f'{at.data["host"]} was interrupted {STARTS} times')


def follow(at: At, run: str) -> Mapping[str, Any]:
    """Wait for its end.

    :returns: the status: done, lost (the host was rebooted), or unknown
    :raises OutcomeUnknown: the host says nothing any more
    """
    pause, silent = POLL, 0.0
    while True:
        try:
            found = status(at, run)
        except OutcomeUnknown as error:
            silent += pause
            if silent > SILENCE:
                raise
            at.progress(f'waiting for an answer: {error}')
        else:
            silent = 0.0
            if found['state'] != 'running':
                return found
            at.progress(_told(found['progress']))
        at.wait(pause)
        pause = min(pause * 1.5, SELDOM)


def _told(line: Mapping[str, Any] | None) -> str:
    if not line:
        return 'it works'
    left = line.get('left_seconds')
    more = f', about {left} s left' if left is not None else ''
    return (
        f'{line.get("seen", 0)} files seen, {line.get("changed", 0)} '
        f'changed{more}'
    )
