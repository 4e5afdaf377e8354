# SPDX-License-Identifier: Apache-2.0

"""The servers of a dead host run again on another.

``read`` asks the cloud, ``decide`` makes the plan of what was read;
``check`` asks the gates of a plan again, later.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
import dataclasses
import datetime
from typing import Any, TYPE_CHECKING

from nova_recovery import fencing, program
from nova_recovery.cloud import clock
from nova_recovery.engine import claiming
from nova_recovery.engine.plan import Gate, LeftOut, Plan
from nova_recovery.exceptions import UsageError
from nova_recovery.procedures import Procedure
from nova_recovery.procedures.recover import build, gates, read, sights, ways
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
    _check(request, found)
    assigned = ways.assign(chosen(request, found), request, found)
    found = sights.look(cloud, found, assigned)
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
    bare = _by_servers(plan, touched)
    found = read.read(cloud, request, driver, known=bare)
    dead = touched | {f'host:{name}' for name in bare}
    returned = gates.returned(request, found, dead)
    if returned:
        # nothing more is moved off these: the run is closed for them
        request, found = _without(set(returned), request, found)
    servers = {server.uuid: server for server in found.servers}
    # One that is claimed only may have gone elsewhere since.
    begun = claiming.changed(touched)
    assigned = []
    for item in plan.items():
        target = _target(item.kind, item.data)
        server = servers.get(item.data.get('uuid', ''))
        if target and server and item.subject not in begun:
            method = ways.MOVE if item.kind == 'move-record' else ways.EVACUATE
            assigned.append(Assignment(server, method, '', target))
    found = sights.look(cloud, found, assigned)
    # What is left of the plan tells, not what was asked for: the host may
    # have been off when it was made, or its turning off done or left out.
    to_fence = [
        item.data['host']
        for item in plan.items()
        if item.kind == 'fence-host' and item.data['host'] in request.hosts
    ]
    asked = [
        *returned.values(),
        *gates.check(request, found, assigned, to_fence),
        *_unseen(plan, assigned, found),
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


def _by_servers(plan: Plan, touched: frozenset[str]) -> dict[str, str]:
    """The hosts that could not be claimed, but server by server.

    :returns: host -> its cell
    """
    return {
        item.data['source']: item.data['cell']
        for item in plan.items()
        if item.kind in claiming.KINDS
        and 'source' in item.data
        and item.subject in touched
    }


def _without(
    hosts: Collection[str], request: Request, found: Situation
) -> tuple[Request, Situation]:
    """What is left of both without these dead hosts."""
    left = tuple(name for name in request.hosts if name not in hosts)
    servers = tuple(one for one in found.servers if one.host not in hosts)
    return (
        dataclasses.replace(request, hosts=left),
        dataclasses.replace(found, servers=servers),
    )


def _unseen(
    plan: Plan, assigned: Iterable[Assignment], found: Situation
) -> Iterator[Gate]:
    """A tombstone that is armed with the move needs what it was armed for."""
    at_once = {
        item.subject
        for item in plan.items()
        if item.kind == 'move-record' and not item.data.get('later')
    }
    for one in assigned:
        if one.server.subject in at_once and ways.unproven(one, found):
            yield Gate(
                'disk-reachable',
                found.label(one.server),
                'hard',
                gates.UNKNOWN,
                f'{one.target} saw its disk when the plan was made, and does '
                f'not say so now: {ways.sight(one, found)[1] or "not asked"}',
                'make a new plan, which keeps the copy of its host until the '
                'guest is seen to run',
            )


def _unplanned(
    plan: Plan, request: Request, found: Situation, touched: frozenset[str]
) -> Iterator[Gate]:
    """A server that had no target, or has come since, must not be forgotten.

    A plan that is refused for one can be saved, and has no items for it.
    """
    planned = {
        *(item.subject for item in plan.items()),
        *(one.subject for one in plan.left_out),
        *touched,
    }
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
    left_out = [
        LeftOut(server.subject, server.name, why)
        for server in found.servers
        if (why := ways.stays(server, request))
    ]
    if request.leave_out_refused:
        assigned, refused = _without_refused(assigned, request, found)
        servers = [one.server for one in assigned]
        left_out += refused
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
        notes=tuple(_notes(request, found, assigned)),
        left_out=tuple(left_out),
        created_at=now,
        down_since=_down_since(request, found),
    )


def _down_since(request: Request, found: Situation) -> dict[str, str]:
    """By the last heartbeat of each host, where it has one."""
    seen = {
        name: found.hosts[name].heartbeat
        for name in request.hosts
        if name in found.hosts
    }
    return {
        f'host:{name}': wording.iso(
            datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
        )
        for name, at in seen.items()
        if at is not None
    }


def chosen(request: Request, found: Situation) -> list[Server]:
    """The servers that the request is about."""
    return [
        server
        for server in found.servers
        if not ways.stays(server, request)
        and (not request.servers or server.uuid in request.servers)
    ]


def _without_refused(
    assigned: list[Assignment], request: Request, found: Situation
) -> tuple[list[Assignment], list[LeftOut]]:
    """Without the servers that their gates refuse, and who they are.

    Where one is left out there is room for others: then they are asked
    again, and whoever had no room is left out last.
    """
    left_out: list[LeftOut] = []
    while True:
        refused = gates.refused(assigned, request, found)
        if not refused:
            return assigned, left_out
        placed = {one.server.uuid for one in assigned if one.target}
        refused = {u: g for u, g in refused.items() if u in placed} or refused
        left_out += [
            LeftOut(one.server.subject, one.server.name, _reason(one, why))
            for one in assigned
            if (why := refused.get(one.server.uuid))
        ]
        assigned = ways.assign(
            [one.server for one in assigned if one.server.uuid not in refused],
            request,
            found,
        )


def _reason(one: Assignment, refused: Iterable[Gate]) -> str:
    why = '; '.join(f'{gate.name}: {gate.observed}' for gate in refused)
    return f'refused: {why}; what can be done is told by\n' + program.call(
        f'server recover {one.server.uuid} --dry-run'
    )


def to_arguments(request: Request) -> dict[str, Any]:
    """The request as JSON types."""
    arguments = dataclasses.asdict(request)
    for name, value in arguments.items():
        if isinstance(value, tuple):
            arguments[name] = list(value)
    return arguments


def from_arguments(arguments: dict[str, Any]) -> Request:
    """The request that a plan was made for."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in arguments.items()
    }
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


def _without_effect(request: Request, found: Situation) -> Iterator[str]:
    """Words of the request that exclude nothing, such as a typo."""
    servers = found.servers
    for option, words, fits in (
        ('project', request.exclude_projects, lambda s, w: s.project == w),
        ('metadata', request.exclude_metadata, ways.noted),
        ('tag', request.exclude_tags, lambda s, w: w in s.tags),
    ):
        for word in words:
            if not any(fits(server, word) for server in servers):
                yield f'No server there has {option} {word}: none is excluded.'


def _sights(found: Situation, assigned: Iterable[Assignment]) -> Iterator[str]:
    """What the targets say that they see of disks which may be lost."""
    said: dict[tuple[str, str], list[Server]] = {}
    for one in assigned:
        if ways.disks(one.server, one.method):
            said.setdefault(ways.sight(one, found), []).append(one.server)
    for (sight, what), servers in said.items():
        if sight == ways.SEEN:
            yield f'{_names(servers)}: the disk was seen: {what}.'
        elif sight == ways.UNSEEN and what:
            yield (
                f'{_names(servers)}: that the disk is seen is not proven: '
                f'{what}.'
            )


def _kept_copies(
    found: Situation, assigned: Iterable[Assignment]
) -> Iterator[str]:
    """What becomes of disks that only a word says are shared."""
    unproven = [
        a.server for a in assigned if a.target and ways.unproven(a, found)
    ]
    evacuated = {
        one.server.uuid for one in assigned if one.method == ways.EVACUATE
    }
    deleted = [one for one in unproven if one.uuid in evacuated]
    kept = [
        one for one in unproven if one.uuid not in evacuated and not one.runs
    ]
    if deleted:
        yield (
            f'{_names(deleted)}: evacuated, so that nova deletes the disk on '
            f'{_hosts(deleted)} when that returns. Keep it off until they '
            'were seen to have their data, if it may be local.'
        )
    if kept:
        yield (
            f'{_names(kept)}: not started, so that nobody sees whether the '
            'disk is there: the tombstone is not armed, and the copy stays '
            f'on {_hosts(kept)}. When they were seen to run, remove it there '
            'with virsh undefine.'
        )


def _names(some: Sequence[Server]) -> str:
    """The first ones, and how many more."""
    names = ', '.join(one.name for one in some[:3])
    more = len(some) - 3
    return names + (f' and {more} more' if more > 0 else '')


def _hosts(some: Iterable[Server]) -> str:
    return ', '.join(sorted({one.host for one in some}))


def _notes(
    request: Request, found: Situation, assigned: list[Assignment]
) -> list[str]:
    notes = list(_without_effect(request, found))
    notes += [
        f'{one.server.name} is moved by hand: {one.why}'
        for one in assigned
        if one.method == ways.MOVE and request.method == 'auto'
    ]
    notes += list(_resizes(assigned))
    notes += list(_sights(found, assigned))
    notes += list(_kept_copies(found, assigned))
    if not any(one.target for one in assigned):
        return notes
    bare = [n for n in request.hosts if found.hosts[n].service_id is None]
    for name in bare:
        notes.append(
            f'{name} has no service that could stay disabled. When it '
            'returns, its nova-compute makes a new one: with '
            'enable_new_services = False in its nova.conf it gets no server '
            'before it has cleaned up.'
        )
    kept = [name for name in request.hosts if name not in bare]
    if len(kept) == 1:
        notes.append(
            f'{kept[0]} stays disabled and forced down. When it '
            'returns, start its nova-compute and let it clean up before you '
            'enable it.'
        )
    elif kept:
        notes.append(
            f'{", ".join(kept)} stay disabled and forced down. When '
            'they return, start their nova-compute and let it clean up '
            'before you enable them.'
        )
    return notes


def _resizes(assigned: Iterable[Assignment]) -> Iterator[str]:
    """What a state that somebody reset by the API leaves behind."""
    for one in assigned:
        server = one.server
        if server.resized_from and server.vm_state != 'resized':
            yield (
                f'{server.name} is {server.vm_state}, and nova has its resize '
                f'from {", ".join(server.resized_from)} as one that waits: it '
                'would confirm that instead of a later one. Once it is '
                'recovered, close it: '
                + program.call(
                    f'server set {server.uuid} --vm-state {server.vm_state}'
                )
            )


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
