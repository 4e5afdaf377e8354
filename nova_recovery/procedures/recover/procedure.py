# SPDX-License-Identifier: Apache-2.0

"""The servers of a dead host run again on another.

``read`` asks the cloud, ``decide`` makes the plan of what was read;
``check`` asks the gates of a plan again, later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery import fencing
from nova_recovery.cloud import clock
from nova_recovery.engine.plan import Gate, LeftOut, Plan
from nova_recovery.exceptions import UsageError
from nova_recovery.procedures import Procedure
from nova_recovery.procedures.recover import build, gates, read, ways
from nova_recovery.procedures.recover.situation import (
    JSON,
    Request,
    Server,
    Situation,
)
from nova_recovery.procedures.recover.ways import Assignment
from nova_recovery.report import summary, wording

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.engine.records import ItemRecord

NAME = 'host-recover'
COLUMNS = ('Server', 'ID', 'Method', 'Target', 'Outcome', 'Detail')
#: The item whose words tell best how a server ended well.
_TELLING = 'verify-server'


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
    return decide(request, found, clock.now())


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates of a plan, or of what is left of one, as they are now.

    :param touched: subjects that the run has begun to change: what was
        asked before the first change to them can't be asked any more
    """
    request = from_arguments(plan.arguments)
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
    for server in chosen(request, found):
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


def decide(request: Request, found: Situation, now: str = '') -> Plan:
    """The plan of a recovery.

    :param now: when the situation was read, UTC, ISO 8601 with Z
    :raises UsageError: the request contradicts itself
    """
    _check(request, found)
    servers = chosen(request, found)
    assigned = ways.assign(servers, request, found)
    left_out = tuple(
        LeftOut(server.subject, server.name, 'excluded')
        for server in found.servers
        if server.uuid in request.exclude
    )
    return Plan(
        procedure=NAME,
        title=(
            f'recover {wording.count(len(servers), "server")} of '
            f'{", ".join(request.hosts)}'
        ),
        arguments=to_arguments(request),
        steps=build.steps(request, found, assigned),
        gates=gates.check(
            request, found, assigned, request.hosts if request.fence else ()
        ),
        notes=tuple(_notes(request, assigned)),
        left_out=left_out,
        created_at=now,
    )


def chosen(request: Request, found: Situation) -> list[Server]:
    """The servers that the request is about."""
    return [
        server
        for server in found.servers
        if server.uuid not in request.exclude
        and (not request.servers or server.uuid in request.servers)
    ]


def to_arguments(request: Request) -> dict[str, Any]:
    """The request as JSON types."""
    arguments = dataclasses.asdict(request)
    for name, value in arguments.items():
        if isinstance(value, tuple):
            arguments[name] = list(value)
    return arguments


def from_arguments(arguments: dict[str, Any]) -> Request:
    """The request that a plan was made for."""
    values = dict(arguments)
    for name in ('hosts', 'servers', 'exclude'):
        values[name] = tuple(values[name])
    return Request(**values)


def _check(request: Request, found: Situation) -> None:
    known = {server.uuid for server in found.servers}
    for uuid in (*request.servers, *request.target_for, *request.exclude):
        if uuid not in known:
            raise UsageError(
                f'server {uuid} is none of those to be recovered of '
                f'{", ".join(request.hosts)}'
            )
    for uuid in request.target_for:
        if uuid in request.exclude:
            raise UsageError(
                f'server {uuid} is both excluded and given a target'
            )


def _notes(request: Request, assigned: list[Assignment]) -> list[str]:
    notes = [
        f'{one.server.name} is moved by hand: {one.why}'
        for one in assigned
        if one.method == ways.MOVE and request.method == 'auto'
    ]
    if not any(one.target for one in assigned):
        return notes
    if len(request.hosts) == 1:
        notes.append(
            f'{request.hosts[0]} stays disabled and forced down. When it '
            'returns, start its nova-compute and let it clean up before you '
            'enable it.'
        )
    else:
        notes.append(
            f'{", ".join(request.hosts)} stay disabled and forced down. When '
            'they return, start their nova-compute and let it clean up '
            'before you enable them.'
        )
    return notes


def table(
    plan: Plan, items: Iterable[ItemRecord] | None
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """A row for each server, in the order of names.

    :param items: what the journal has of them; None: only planned
    """
    planned: dict[str, tuple[str, str]] = {}
    labels: dict[str, str] = {}
    for item in plan.items():
        if item.kind == 'evacuate-server':
            planned[item.subject] = ('evacuate', item.data['target'])
        elif item.kind == 'move-record':
            planned[item.subject] = ('move', item.data['target']['host'])
        if item.subject in planned:
            labels[item.subject] = item.label
    ends = {} if items is None else _ends(items)
    rows = [
        (
            labels[subject],
            subject.partition(':')[2],
            method,
            target,
            *ends.get(subject, ('planned', '')),
        )
        for subject, (method, target) in planned.items()
    ]
    rows += [
        (
            one.label,
            one.subject.partition(':')[2],
            '',
            '',
            'left out',
            one.line,
        )
        for one in plan.left_out
    ]
    return COLUMNS, sorted(rows)


def _ends(items: Iterable[ItemRecord]) -> dict[str, tuple[str, str]]:
    decisive = summary.decisive(items, prefer=_TELLING)
    return {
        subject: (item.state, item.detail or '')
        for subject, item in decisive.items()
    }


PROCEDURE = Procedure(NAME, make_plan, check, table)
