# SPDX-License-Identifier: Apache-2.0

"""``iscsi session delete`` and ``create``: one session of one host.

A number means another target after each login, and after each boot: what is
planned is the number with its target and portal, which the host compares
again right before.
"""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery import program
from nova_recovery.cloud import clock
from nova_recovery.cloud.db import volumes
from nova_recovery.engine.plan import Gate, Item, Plan, Step
from nova_recovery.exceptions import RecoveryError
from nova_recovery.procedures import Procedure, reached
from nova_recovery.procedures.iscsi import facts as facts_module
from nova_recovery.procedures.iscsi.facts import Facts, Session
from nova_recovery.procedures.volumes import read as volumes_read

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.procedures.reached import Reached

NAME = 'iscsi-session'


@dataclasses.dataclass(frozen=True)
class Request:
    """What the operator wants: a session closed, or one opened.

    :ivar session: the number of the one to be closed; None: open one
    :ivar target: of the one to be opened
    :ivar portal: the same, ``ADDRESS:PORT``
    """

    host: str
    session: int | None = None
    target: str = ''
    portal: str = ''


@dataclasses.dataclass(frozen=True)
class Elsewhere:
    """Who else has the volume of a target that is to be opened.

    :ivar holders: such as ``server 3f57… on np-rcc4``
    :ivar unknown: why that is not known; '' if it is
    """

    holders: tuple[str, ...] = ()
    unknown: str = ''


def make_plan(cloud: Cloud, request: Request) -> Plan:
    """Ask the host and the databases, and decide.

    :raises ConfigError: the host can't be reached at all
    """
    home, now = cloud.conf.fleet.home, clock.now()
    if request.session is not None:
        found = facts_module.read(cloud, [request.host])
        return decide_close(request, found, home, now)
    found = facts_module.read(
        cloud, [request.host], target=request.target, portal=request.portal
    )
    (offered,) = reached.read(
        cloud, [request.host], ('iscsi discover', {'portal': request.portal})
    )
    other = _elsewhere(cloud, request)
    return decide_open(request, found, offered, other, home, now)


def _elsewhere(cloud: Cloud, request: Request) -> Elsewhere:
    volume = facts_module.volume_of(request.target)
    if volume is None:
        return Elsewhere(unknown='the name of the target tells no volume')
    try:
        known = volumes.of_cinder(volumes_read.cinder(cloud), [volume])
    except RecoveryError as error:
        return Elsewhere(unknown=str(error))
    if volume not in known:
        return Elsewhere(unknown=f'cinder has no volume {volume}')
    return Elsewhere(
        tuple(
            f'server {one.server or "none"} on {one.host or "no host"}'
            for one in known[volume].attachments
            if one.host != request.host
        )
    )


def decide_close(
    request: Request, found: Facts, home: str, now: str = ''
) -> Plan:
    """The plan to close one."""
    (host,) = found.hosts
    sessions = [] if host.problem else list(found.sessions(host))
    one = next((s for s in sessions if s.number == request.session), None)
    gates = [*reached.gates(found.hosts)]
    steps: tuple[Step, ...] = ()
    if one is not None:
        gates += _of_session(found, one)
        steps = (
            Step('close', 'close the session', (close(one, host, home),)),
        )
    elif not host.problem:
        gates.append(_no_session(request, sessions))
    return Plan(
        procedure=NAME,
        title=f'close iSCSI session {request.session} of {request.host}',
        arguments=_arguments(request),
        steps=steps,
        gates=tuple(gates),
        notes=tuple(_of_closing(one)) if one else (),
        created_at=now,
    )


def _arguments(request: Request) -> dict[str, Any]:
    return dataclasses.asdict(request)


def _data(host: Reached, home: str) -> dict[str, Any]:
    return {'host': host.name, 'machine_id': host.machine_id, 'home': home}


def close(one: Session, host: Reached, home: str) -> Item:
    """What closes a session of a host."""
    return Item(
        f'close-session:{one.host}:{one.number}',
        'close-session',
        f'session:{one.host}:{one.number}',
        f'session {one.number} of {one.host}',
        {
            **_data(host, home),
            'session': one.number,
            'target': one.target,
            'portal': one.portal,
            'disks': [disk['device'] for disk in one.disks],
            'volumes': list(one.volumes),
        },
    )


def _no_session(request: Request, sessions: list[Session]) -> Gate:
    there = ', '.join(str(one.number) for one in sessions)
    return Gate(
        'session-there',
        request.host,
        'hard',
        'refused',
        f'no session {request.session}; its sessions: {there or "none"}',
        'look again:\n' + program.call(f'iscsi session list {request.host}'),
    )


def _of_session(found: Facts, one: Session) -> Iterator[Gate]:
    uses = one.uses
    if uses:
        yield Gate(
            'session-unused',
            one.host,
            'hard',
            'refused',
            '; '.join(uses),
            'unmount, unmap or stop what is named: without its disk it would '
            'see I/O errors',
        )
    else:
        disks = ', '.join(d['device'] for d in one.disks) or 'it has no disk'
        yield Gate(
            'session-unused',
            one.host,
            'hard',
            'ok',
            f'session {one.number}: nothing on {one.host} uses {disks}',
        )
    yield from _unneeded(found, one)


def _unneeded(found: Facts, one: Session) -> Iterator[Gate]:
    if found.unknown:
        yield Gate(
            'session-unneeded',
            one.host,
            'soft',
            'unknown',
            f'what nova has there is not known: {"; ".join(found.unknown)}',
            'make sure that no server has a volume through it',
        )
        return
    whose = {c.server.uuid: c.server for c in one.wanted}
    whose_uuids = [*whose, *(s for s in one.servers if s not in whose)]
    if not whose_uuids:
        return
    told = ', '.join(
        f'{whose[uuid].name or uuid} ({whose[uuid].vm_state})'
        if uuid in whose
        else f'the domain {uuid}'
        for uuid in whose_uuids
    )
    several = len(whose_uuids) > 1
    yield Gate(
        'session-unneeded',
        one.host,
        'hard' if several else 'soft',
        'refused',
        f'session {one.number} has disks of {told}',
        'one session carries the volumes of all of them: detach theirs first'
        if several
        else 'nova opens it again when it starts the server',
    )


def _of_closing(one: Session) -> Iterator[str]:
    for disk in one.disks:
        size = disk['bytes'] / 1024**3
        yield (
            f'{one.host} loses {disk["device"]} (LUN {disk["lun"]}, '
            f'{size:.2f} GiB)'
        )
    yield (
        'The record of the node stays: where its node.startup is automatic, '
        'the host logs in again when it boots.'
    )


def decide_open(
    request: Request,
    found: Facts,
    offered: Reached,
    other: Elsewhere,
    home: str,
    now: str = '',
) -> Plan:
    """The plan to open one."""
    (host,) = found.hosts
    gates = [*reached.gates(found.hosts)]
    steps: tuple[Step, ...] = ()
    notes: list[str] = []
    if not host.problem:
        there = [
            one.number
            for one in found.sessions(host)
            if (one.target, one.portal) == (request.target, request.portal)
        ]
        if there:
            notes.append(f'{request.host} has it already: session {there[0]}')
        else:
            gates += _of_opening(request, offered, other)
            item = _open(request, host, home)
            steps = (Step('open', 'open a session', (item,)),)
            notes.append(
                'Nova does not know of it: it opens its own for the volumes '
                'of servers, and this one is for you to look at the disk.'
            )
    return Plan(
        procedure=NAME,
        title=f'open an iSCSI session of {request.host}',
        arguments=_arguments(request),
        steps=steps,
        gates=tuple(gates),
        notes=tuple(notes),
        created_at=now,
    )


def _open(request: Request, host: Reached, home: str) -> Item:
    return Item(
        f'open-session:{request.host}:{request.target}',
        'open-session',
        f'session:{request.host}:new',
        f'a session of {request.host}',
        {
            **_data(host, home),
            'target': request.target,
            'portal': request.portal,
        },
    )


def _of_opening(
    request: Request, offered: Reached, other: Elsewhere
) -> Iterator[Gate]:
    if offered.problem:
        yield Gate(
            'target-offered',
            request.host,
            'soft',
            'unknown',
            offered.problem,
            'is the portal alive, and does the host reach it?',
        )
    elif request.target not in {
        row['target'] for row in offered.said[0]['targets']
    }:
        yield Gate(
            'target-offered',
            request.host,
            'soft',
            'refused',
            f'{request.portal} does not offer {request.target}',
            'what it offers:\n'
            + program.call(
                f'iscsi discover {request.host} --portal {request.portal}'
            ),
        )
    if other.unknown or other.holders:
        yield Gate(
            'disk-nowhere-else',
            request.host,
            'soft',
            'unknown' if other.unknown else 'refused',
            other.unknown or f'attached: {", ".join(other.holders)}',
            'a disk that two hosts write to is lost: make sure that nobody '
            'else has it, or only read',
        )


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates as they are now.

    Of one that was begun it is asked that the host answers: its session is
    on its way.
    """
    request = Request(**plan.arguments)
    if touched:
        return tuple(reached.gates(reached.read(cloud, [request.host])))
    return make_plan(cloud, request).gates


PROCEDURE = Procedure(NAME, make_plan, check)
