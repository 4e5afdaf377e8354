# SPDX-License-Identifier: Apache-2.0

"""``disaster status``: who is still down.

It looks at the cloud, not at a journal: what somebody else brought up is
up.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping
import dataclasses
import datetime
from typing import Any, TYPE_CHECKING

from nova_recovery.cloud import records
from nova_recovery.exceptions import RecoveryError
from nova_recovery.procedures.disaster.judge import alive
from nova_recovery.procedures.disaster.judge import wanted as wanted_module
from nova_recovery.procedures.disaster.judge.wanted import Order, Wanted
from nova_recovery.procedures.disaster.look import read
from nova_recovery.procedures.disaster.request import Request
from nova_recovery.procedures.disaster.situation import Server, Situation
from nova_recovery.report import wording

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.engine.plan import Plan

COLUMNS = (
    'Project',
    'Priority',
    'Minutes',
    'State',
    'ID',
    'Name',
    'Host',
    'Why',
)

#: What sends it is the proof that it is meant.
_RESTART = 'restart-server'


@dataclasses.dataclass(frozen=True)
class Row:
    """A server that is to run and doesn't, as far as is known.

    :ivar minutes: since its power went; None: not known
    :ivar state: ``alive.DOWN``, ``alive.STARTING`` or ``alive.UNPROVEN``
    """

    server: Server
    priority: int
    minutes: int | None
    state: str
    why: str


@dataclasses.dataclass(frozen=True)
class Status:
    """Who is still down.

    :ivar total: how many are to run
    :ivar rows: those that don't, by project, priority and time
    :ivar unasked: why computes could not be asked; '' if they could
    """

    found: Situation
    total: int
    rows: tuple[Row, ...]
    unasked: str = ''

    def summary(self) -> str:
        """How many, since when."""
        counts = collections.Counter(row.state for row in self.rows)
        told = ', '.join(
            f'{counts[state]} {state}'
            for state in (alive.DOWN, alive.STARTING, alive.UNPROVEN)
            if counts[state]
        )
        projects = wording.count(
            len({row.server.project for row in self.rows}), 'project'
        )
        of = f' ({told}) of {projects}' if told else ''
        silent = ', '.join(self.found.silent)
        return (
            f'not up: {len(self.rows)} of '
            f'{wording.count(self.total, "server")} to run{of}'
            f'{_since(self.found)}'
            f'{f"; silent: {silent}" if silent else ""}'
        )

    def table(self) -> list[tuple[Any, ...]]:
        return [
            (
                row.server.project,
                row.priority,
                row.minutes,
                row.state,
                row.server.uuid,
                row.server.name,
                row.server.host,
                row.why,
            )
            for row in self.rows
        ]


def planned(plan: Plan) -> dict[str, tuple[str, int]]:
    """The servers that a plan brings up: UUID -> (cell, mark)."""
    return {
        str(item.data['uuid']): (
            str(item.data['cell']),
            int(item.data['mark']),
        )
        for item in plan.items()
        if item.kind == _RESTART
    }


def marks(servers: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Cell -> mark, of what :func:`planned` tells."""
    return dict(servers)


def order(request: Request) -> Order:
    """The order that a plan was made with, but for its server groups."""
    return Order(first=request.first, key=request.priority_key)


def status(
    cloud: Cloud,
    found: Situation,
    order: Order,
    only: Mapping[str, Any] | None = None,
    ask: bool = True,
) -> Status:
    """Who of W is still down.

    :param only: those of a run, by UUID; None: all that are to run
    :param ask: ask computes of servers of which nothing else tells; while
        nobody knows when the outage was, of those too that were started
        since the snapshot: the power may have gone once more after that
    """
    chosen = _chosen(found, order, only)
    asked_of = {alive.UNPROVEN}
    if found.outage.how not in ('given', 'heartbeat'):
        asked_of.add(alive.UP)
    unproven = [
        one.server
        for one in chosen
        if alive.judge(found, one.server).state in asked_of
    ]
    runs: Mapping[str, bool | None] = {}
    unasked = ''
    if ask:
        try:
            runs = read.running(cloud, unproven)
        except RecoveryError as error:
            # what the databases tell is worth having all the same
            unasked = str(error)
    return Status(
        found, len(chosen), tuple(rows(found, chosen, runs)), unasked
    )


def rows(
    found: Situation, chosen: Iterable[Wanted], runs: Mapping[str, bool | None]
) -> list[Row]:
    """Those that are not up: by project, then priority, then time."""
    some = []
    for one in chosen:
        judged = alive.judge(found, one.server, runs)
        if judged.state != alive.UP:
            some.append(
                Row(
                    one.server,
                    one.priority,
                    _minutes(found, one.server),
                    judged.state,
                    judged.why,
                )
            )
    # what is equal stays in the order in which it is to come up
    return sorted(
        some,
        key=lambda row: (
            row.server.project,
            row.priority,
            -(row.minutes or 0),
        ),
    )


def _chosen(
    found: Situation, order: Order, only: Mapping[str, Any] | None
) -> list[Wanted]:
    answer = wanted_module.wanted(found, order)
    if only is None:
        return list(answer.servers)
    # of a run it is known that they ran
    return [
        *(one for one in answer.servers if one.uuid in only),
        *(
            Wanted(
                found.servers[uuid],
                answer.left[uuid],
                wanted_module.priority(found.servers[uuid], order.key),
            )
            for uuid in sorted(answer.doubtful)
            if uuid in only
        ),
    ]


def _minutes(found: Situation, server: Server) -> int | None:
    """By the last heartbeat of its host, if that is still down."""
    at: datetime.datetime | None = found.outage.at
    compute = found.computes.get(server.host or '')
    if (
        found.outage.how != 'given'
        and compute is not None
        and compute.state == records.DOWN
        and compute.last_seen
    ):
        at = compute.last_seen
    if at is None:
        return None
    return max(0, int((found.now - at).total_seconds() // 60))


def _since(found: Situation) -> str:
    if found.outage.at is None:
        return ''
    how = {
        'given': 'since',
        'heartbeat': 'since about',
        'snapshot': 'at some time since the snapshot of',
    }[found.outage.how]
    return f', {how} {found.outage.at:%Y-%m-%dT%H:%M:%S}Z'
