# SPDX-License-Identifier: Apache-2.0

"""The five steps, decided. Pure functions of what was found."""

from __future__ import annotations

from collections.abc import Iterator

from nova_recovery.engine.plan import LeftOut, Plan
from nova_recovery.procedures.disaster.before_queens.legacy import Cleaning
from nova_recovery.procedures.disaster.found import Found
from nova_recovery.procedures.disaster.judge import wanted
from nova_recovery.procedures.disaster.judge.wanted import Answer, Order
from nova_recovery.procedures.disaster.look import layout
from nova_recovery.procedures.disaster.plan import (
    clean,
    gates,
    guests,
    notes,
    reattach,
)
from nova_recovery.procedures.disaster.plan import decided as decided_module
from nova_recovery.procedures.disaster.plan import steps as steps_module
from nova_recovery.procedures.disaster.plan.clean import Cleaned
from nova_recovery.procedures.disaster.plan.decided import Decided
from nova_recovery.procedures.disaster.plan.guests import Chosen
from nova_recovery.procedures.disaster.plan.reattach import Again
from nova_recovery.procedures.disaster.request import Request
from nova_recovery.procedures.disaster.situation import Situation
from nova_recovery.report import wording


def decide(request: Request, found: Found, now: str = '') -> Plan:
    """The plan.

    :raises NotFound: a server group that isn't there
    :raises UsageError: ``--max-failures`` is no number and no share
    """
    decided = _decided(request, found)
    steps = steps_module.steps(request, found, decided)
    total = len(decided.running)
    # a record alone brings nobody anything
    if not any(step.items for step in steps[1:]):
        steps = ()
    return Plan(
        procedure=decided_module.NAME,
        title=f'record and clean the volumes of {request.scope.words()}'
        if found.legacy
        else f'bring {wording.count(total, "server")} of '
        f'{request.scope.words()} back',
        arguments=request.plain(),
        steps=steps,
        gates=tuple(
            gates.gates(
                request, found, steps_module.touches(steps), frozenset()
            )
        ),
        notes=tuple(notes.notes(request, found, decided)),
        left_out=tuple(_left_out(found, decided)),
        created_at=now,
    )


def _decided(request: Request, found: Found) -> Decided:
    here = found.situation
    answer = wanted.wanted(here, _order(request, here))
    left = dict(answer.left)
    alone = {
        uuid
        for uuid, server in here.servers.items()
        if server.host in here.scope.skip_hosts
    }
    for uuid, what in found.migrating.items():
        if uuid in here.servers:
            alone.add(uuid)
            left[uuid] = f'its {what} has no end: see it through first'
    if found.legacy is not None:
        return _before_queens(found.legacy, answer, left)
    cleaned = clean.plan(request, found, alone)
    running = []
    for one in answer.servers:
        if one.uuid in alone:
            continue
        if one.uuid in cleaned.danger:
            left[one.uuid] = cleaned.danger[one.uuid]
            continue
        running.append(one)
    again = reattach.plan(
        request,
        found,
        cleaned,
        {one.uuid for one in running},
        alone | set(cleaned.danger),
    )
    chosen = guests.items(
        [one.server for one in running],
        request.guests,
        found.reach,
        again.items,
    )
    return Decided(answer, tuple(running), left, cleaned, again, chosen)


def _before_queens(
    cleaning: Cleaning, answer: Answer, left: dict[str, str]
) -> Decided:
    """The record and the guide's UPDATE; the rest is the operator's.

    What the other steps ask of nova and cinder these don't answer.
    """
    items = tuple(i for step in cleaning.steps for i in step.items)
    for one in answer.servers:
        left[one.uuid] = 'to be rebooted by hand, and its volumes attached'
    return Decided(answer, (), left, Cleaned(items=items), Again(), Chosen())


def _order(request: Request, here: Situation) -> Order:
    return Order(
        first=request.first,
        key=request.priority_key,
        groups=tuple(layout.named_groups(here.groups, request.groups_first)),
    )


def _left_out(found: Found, decided: Decided) -> Iterator[LeftOut]:
    name = found.situation.name
    for uuid, why in decided.left.items():
        yield LeftOut(f'server:{uuid}', name(uuid), why)
    for volume, why in decided.cleaned.left.items():
        yield LeftOut(f'volume:{volume}', '', why)
    for (volume, uuid), why in decided.again.left.items():
        yield LeftOut(f'attach:{volume}:{uuid}', name(uuid), why)
    for uuid, why in decided.chosen.left.items():
        yield LeftOut(f'guest:{uuid}', name(uuid), why)
    if found.legacy is not None:
        yield from found.legacy.left_out
