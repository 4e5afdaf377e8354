# SPDX-License-Identifier: Apache-2.0

"""What changes on compute hosts have in common: asking the agent there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nova_recovery.changes.base import At
from nova_recovery.exceptions import Conflict, OutcomeUnknown
from nova_recovery.fleet import fleet, runs
from nova_recovery.fleet.answer import Answer

#: How often something is started that its host was rebooted under.
STARTS = 4


def state(at: At, name: str) -> str:
    """Where the host keeps what it must remember of this run."""
    return place(at.data['home'], at.run_id, name)


def place(home: str, run_id: str, name: str) -> str:
    """The same of any run.

    :param home: ``[fleet] home`` of its plan
    """
    return f'{home}/uid-{run_id}/{name}'


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
    host, hosts = at.data['host'], at.cloud.fleet
    if at.cloud.conf.fleet.home != at.data['home']:
        raise Conflict(
            f'the plan was made with [fleet] home = {at.data["home"]}, where '
            f'the hosts remember how they were: set it so'
        )
    known = hosts.identity(host)
    if known is None:
        hosts.identify([host])[host].need()
        known = hosts.identity(host)
    if known.machine_id != at.data['machine_id']:
        raise Conflict(
            f'{host} is another machine than when the plan was made: its '
            f'machine-id is {known.machine_id}, it was '
            f'{at.data["machine_id"]}'
        )


def stop_words(at: At) -> dict[str, Any]:
    """What ``services stop`` is told: whose services, and who remembers.

    And whether nobody may start them meanwhile. A plan of an earlier version
    does not say: services of both, and a boot starts them.
    """
    return {
        'state': state(at, 'services'),
        'group': at.data.get('groups', ['nova', 'libvirt']),
        'hold': at.data.get('hold', False),
    }


def stopped_first(
    at: At, verb: str, data: Mapping[str, Any]
) -> Mapping[str, Any]:
    """As :func:`ask`; nova and libvirt are stopped before.

    They should be (those that the item names); a reboot of the host may have
    started them again. They are remembered with what was stopped first.
    """
    check_machine(at)
    found: Answer = at.cloud.fleet.several(
        at.data['host'], ('services stop', stop_words(at)), (verb, data)
    )
    answers: Sequence[Mapping[str, Any]] = found.need()['answers']
    return answers[-1]


def start(at: At, run: str, verb: str, data: Mapping[str, Any]) -> str:
    """Start what takes long; the same once more goes on with it."""
    found = stopped_first(at, fleet.starting(run, verb), data)
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


def status(at: At, run: str) -> Mapping[str, Any]:
    """How it stands: ``running``, ``done``, ``lost`` or ``unknown``."""
    check_machine(at)
    found: Answer = at.cloud.fleet.status(at.data['host'], run)
    return found.need()


def follow(at: At, run: str) -> Mapping[str, Any]:
    """Wait for its end, see ``fleet.runs.follow``."""
    check_machine(at)
    return runs.follow(
        at.cloud.fleet, at.data['host'], run, at.wait, at.progress
    )
