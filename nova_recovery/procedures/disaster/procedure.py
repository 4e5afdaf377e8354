# SPDX-License-Identifier: Apache-2.0

"""A plan made, and its gates asked again."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery.cloud import clock
from nova_recovery.engine.plan import Gate, Plan
from nova_recovery.procedures import Procedure
from nova_recovery.procedures.disaster import request as request_module
from nova_recovery.procedures.disaster.judge import ready
from nova_recovery.procedures.disaster.look import gather
from nova_recovery.procedures.disaster.look.gather import Progress
from nova_recovery.procedures.disaster.plan import decide, gates, steps
from nova_recovery.procedures.disaster.request import of, Request
from nova_recovery.procedures.disaster.run import outcome
from nova_recovery.procedures.disaster.situation import Found

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.engine.change import Guard
    from nova_recovery.engine.plan import Step


def make_plan(
    cloud: Cloud, request: Request, progress: Progress = lambda text: None
) -> Plan:
    """Read the cloud and decide.

    :raises RecoveryError: see ``gather.read_all`` and ``decide.decide``
    """
    if request.snapshot:
        request = dataclasses.replace(
            request, snapshot_sha256=request_module.checksum(request.snapshot)
        )
    found = _asked(
        cloud, request, gather.read_all(cloud, request, progress), progress
    )
    return decide.decide(request, found, clock.now())


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates of a plan, or of what is left of one, as they are now.

    :param touched: subjects that the run has begun to change
    :raises Refused: the snapshot is gone, or another one
    """
    request = of(plan.arguments)
    request_module.require(request)
    record = next(
        (i.data for i in plan.items() if i.kind == 'record-relations'), {}
    )
    found = gather.read_all(
        cloud,
        request,
        marks=record.get('marks'),
        # what a run has begun with is no longer gated by it
        with_dump=not touched,
        # these gates ask for no single volume
        watch=False,
    )
    found = _asked(cloud, request, found)
    planned = (record.get('dump') or {}).get('sha256', '')
    return tuple(
        gates.gates(
            request,
            found,
            steps.touches(plan.steps),
            touched,
            planned,
            steps.starts(plan.steps),
        )
    )


def _asked(
    cloud: Cloud,
    request: Request,
    found: Found,
    progress: Progress = lambda text: None,
) -> Found:
    """With what the hosts of its servers tell, where that is asked for."""
    if not request.ask_hosts:
        return found
    hosts = {
        server.host
        for server in found.situation.servers.values()
        if server.host
    }.difference(request.scope.skip_hosts)
    told = ready.rows(cloud, hosts, request.scope, progress)
    return dataclasses.replace(found, told=told)


def _guard(
    plan: Plan, cloud: Cloud, marker: str, undoing: bool
) -> Guard | None:
    from nova_recovery.procedures.disaster.run import before

    return before.guard(plan, cloud, marker, undoing)


def _before(*args: Any) -> Callable[[Step], None]:
    from nova_recovery.procedures.disaster.run.before import Before

    return Before(*args)


PROCEDURE = Procedure(
    steps.NAME, make_plan, check, outcome.table, _guard, _before
)
