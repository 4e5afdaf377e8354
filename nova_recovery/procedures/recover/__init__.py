# SPDX-License-Identifier: Apache-2.0

"""The servers of a dead host run again on another.

``read`` asks the cloud, ``decide`` makes the plan of what was read;
``check`` asks the gates of a plan again, later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from nova_recovery import fencing
from nova_recovery.cloud import clock
from nova_recovery.engine.plan import Gate, Plan
from nova_recovery.procedures import Procedure
from nova_recovery.procedures.recover import decide, gates, outcome, read, ways
from nova_recovery.procedures.recover.situation import JSON, Request, Situation
from nova_recovery.procedures.recover.ways import Assignment

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud


def make_plan(
    cloud: Cloud,
    request: Request,
    progress: Callable[[str], None] = lambda text: None,
) -> Plan:
    """Read the cloud and decide.

    :raises RecoveryError: see ``read`` and ``decide``
    """
    driver = fencing.load(cloud.conf, request.fenced)
    found = read.read(cloud, request, driver, progress)
    return decide.decide(request, found, clock.now())


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates of a plan, or of what is left of one, as they are now.

    :param touched: subjects that the run has begun to change: what was
        asked before the first change to them can't be asked any more
    """
    request = decide.from_arguments(plan.arguments)
    driver = fencing.load(cloud.conf, request.fenced)
    found = read.read(cloud, request, driver)
    servers = {server.uuid: server for server in found.servers}
    assigned = []
    for item in plan.items():
        target = _target(item.kind, item.data)
        server = servers.get(item.data.get('uuid', ''))
        if target and server and item.subject not in touched:
            method = ways.MOVE if item.kind == 'move-record' else ways.EVACUATE
            assigned.append(Assignment(server, method, '', target))
    # What is left of the plan tells, not what was asked for: the host may
    # have been off when it was made, or its turning off done or left out.
    to_fence = [
        item.data['host'] for item in plan.items() if item.kind == 'fence-host'
    ]
    asked = [
        *gates.check(request, found, assigned, to_fence),
        *_unplanned(plan, request, found, touched),
    ]
    return tuple(
        gate
        for gate in asked
        if not (
            gate.name == 'source-unclaimed'
            and f'host:{gate.subject}' in touched
        )
    )


def _unplanned(
    plan: Plan, request: Request, found: Situation, touched: frozenset[str]
) -> Iterator[Gate]:
    """A server that had no target, or has come since, must not be forgotten.

    A plan that is refused for one can be saved, and has no items for it.
    """
    planned = {item.subject for item in plan.items()} | touched
    for server in decide.chosen(request, found):
        if server.subject not in planned:
            yield Gate(
                'server-planned',
                found.label(server),
                'soft',
                'refused',
                f'it is on {server.host}, and this plan does nothing for it',
                'make a new plan, where it has a target or is left out',
            )


def _target(kind: str, data: JSON) -> str | None:
    if kind == 'evacuate-server':
        return str(data['target'])
    if kind == 'move-record':
        return str(data['target']['host'])
    return None


PROCEDURE = Procedure(decide.NAME, make_plan, check, outcome.table)
