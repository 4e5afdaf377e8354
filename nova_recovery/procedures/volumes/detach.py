# SPDX-License-Identifier: Apache-2.0

"""Take away what ties a volume to a server that neither side needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery.cloud import clock
from nova_recovery.cloud.db.volumes import Volume
from nova_recovery.engine.plan import Gate, Item, LeftOut, Plan, Step
from nova_recovery.procedures import Procedure
from nova_recovery.procedures.volumes import gates as gates_module
from nova_recovery.procedures.volumes import policy, reset
from nova_recovery.procedures.volumes import read as read_module
from nova_recovery.procedures.volumes import situation as situation_module
from nova_recovery.procedures.volumes.gates import Outside
from nova_recovery.procedures.volumes.situation import BothSides, Mismatch

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

NAME = 'volume-detach-stale'
#: Findings whose mapping goes.
MAPPINGS = frozenset({'VOL-LEFTOVER', 'VOL-LOST', 'VOL-ATTACHING'})
#: Findings whose attachment goes.
ATTACHMENTS = frozenset(
    {'VOL-ORPHAN', 'VOL-EXTRA', 'VOL-ATTACHING', 'VOL-UNLINKED'}
)


@dataclasses.dataclass(frozen=True)
class Request:
    """Which volume from which server, by UUIDs; the server may be gone."""

    server: str
    volume: str


@dataclasses.dataclass(frozen=True)
class Situation:
    """The pair on both sides."""

    situation: BothSides
    outside: Outside


def read(
    cloud: Cloud,
    request: Request,
    plan: Plan | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Situation:
    """The volume and the server on both sides; watched as by ``reset.read``.

    :param plan: the one that is to be carried out; None: it is to be made
    """
    found = read_module.both_sides(cloud, [request.volume], [request.server])
    if plan is not None:
        found = read_module.as_planned(found, plan)
    elif _findings(request, found):
        found = read_module.watch(
            cloud, found, [request.volume], [request.server], progress
        )
    server = found.servers.get(request.server)
    gone = found.gone.get(request.server)
    return Situation(found, gates_module.outside(cloud, server, gone))


def make_plan(
    cloud: Cloud,
    request: Request,
    progress: Callable[[str], None] = lambda text: None,
) -> Plan:
    """Read the cloud and decide.

    :param progress: told what takes its time
    :raises RecoveryError: see ``read`` and ``decide``
    """
    found = read(cloud, request, progress=progress)
    return decide(request, found, clock.now())


def decide(request: Request, found: Situation, now: str = '') -> Plan:
    """The plan; without items where nothing is stale."""
    server = found.situation.servers.get(request.server)
    planned = steps(request, found.situation)
    told = '; '.join(
        f'{one.code}: {one.cause}'
        for one in policy.findings(found.situation)
        if one.volume == request.volume
    )
    return Plan(
        procedure=NAME,
        title=f'detach what is stale of volume {request.volume} from '
        f'{found.situation.name(request.server)}',
        arguments=dataclasses.asdict(request),
        steps=gates_module.claimed(server, found.outside, planned),
        gates=tuple(gates(request, found, frozenset())),
        left_out=()
        if planned
        else (
            LeftOut(
                f'volume:{request.volume}',
                '',
                told or 'nothing of it is stale',
            ),
        ),
        created_at=now,
    )


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates as they are now."""
    request = Request(**plan.arguments)
    return tuple(gates(request, read(cloud, request, plan), touched))


def _findings(request: Request, found: BothSides) -> list[Mismatch]:
    """What is stale between these two."""
    return [
        one
        for one in policy.findings(found)
        if one.volume == request.volume
        and one.server == request.server
        and one.remedy == 'detach-stale'
    ]


def steps(request: Request, found: BothSides) -> tuple[Step, ...]:
    """What takes away that which is stale between these two."""
    wrong = _findings(request, found)
    volume = found.volumes.get(request.volume)
    server = found.servers.get(request.server)
    codes = {one.code for one in wrong}
    mappings = [
        one
        for one in found.mapped(request.volume)
        if one.server == request.server
    ]
    named = {one.attachment for one in wrong if one.code in ATTACHMENTS}
    twice = {one.mapping for one in wrong if one.code == 'VOL-TWICE'}
    several = []
    if codes & MAPPINGS or twice:
        several.append(
            Step(
                'mapping',
                "delete nova's mapping",
                tuple(
                    _item(
                        'drop-mapping',
                        str(one.id),
                        request,
                        found,
                        cell=one.cell,
                        mapping=one.id,
                        attachment=one.attachment,
                        device=one.device,
                        beside=one.id in twice,
                    )
                    for one in mappings
                    # of a boot volume only what is one too many
                    if one.id in twice or (codes & MAPPINGS and not one.root)
                ),
            )
        )
    if volume is not None and named:
        several.append(
            Step(
                'attachment',
                "delete cinder's attachment",
                tuple(
                    _item(
                        'drop-attachment',
                        one.id,
                        request,
                        found,
                        attachment=one.id,
                        seen=one.status,
                        cell=server.cell if server else None,
                    )
                    for one in volume.attachments
                    if one.id in named
                ),
            )
        )
    return tuple(several)


def _item(
    kind: str, number: str, request: Request, found: BothSides, **data: Any
) -> Item:
    volume = found.volumes.get(request.volume)
    return Item(
        id=f'{kind}:{number}',
        kind=kind,
        subject=f'volume:{request.volume}',
        label=(volume.name if volume else '') or request.volume,
        data={
            'uuid': request.server,
            'volume': request.volume,
            'changed': volume.stamp if volume else None,
            'mapped': [one.id for one in found.mapped(request.volume)],
            **data,
        },
        follows=(f'server:{request.server}',),
    )


def gates(
    request: Request, found: Situation, touched: frozenset[str]
) -> Iterator[Gate]:
    """What must hold before anything is taken away.

    :param touched: subjects that the run has begun with
    """
    yield from gates_module.whole(found.situation)
    if f'volume:{request.volume}' in touched:
        return
    volume = found.situation.volumes.get(request.volume)
    server = found.situation.servers.get(request.server)
    why = situation_module.untouchable(volume) if volume else ''
    wrong = _findings(request, found.situation)
    if why:
        yield Gate(
            'detachable',
            request.volume,
            'hard',
            'refused',
            why,
            'wait until cinder is done with it',
        )
        return
    if not wrong:
        yield from _not_stale(request, found.situation)
        return
    if volume is not None:
        yield gates_module.settled(volume, found.situation.mapped(volume.id))
    for one in wrong:
        yield from reset.known(one, found.situation)
    connected = _may_be_connected(wrong, volume, found.situation, request)
    if server is None:
        fate = found.situation.fate(request.server)
        if connected and fate == situation_module.DELETED:
            yield gates_module.guest_of_gone_off(
                request.server,
                found.situation.gone.get(request.server),
                request.volume,
                found.outside,
            )
        return
    yield from gates_module.unclaimed(server, found.outside, touched)
    yield from gates_module.no_task(server)
    if connected:
        gate = gates_module.guest_off(
            server,
            request.volume,
            found.outside,
            'it may have the volume connected',
        )
        if volume is None:
            # Nothing is given back to cinder that another server could get,
            # and a recovery can't attach it elsewhere either.
            gate = dataclasses.replace(gate, klass='soft')
        yield gate


def _not_stale(request: Request, found: BothSides) -> Iterator[Gate]:
    """What the server really has is no business of this command."""
    mapped = [
        one
        for one in found.mapped(request.volume)
        if one.server == request.server
    ]
    if mapped:
        told = [
            one
            for one in policy.findings(found)
            if one.volume == request.volume and one.server == request.server
        ]
        yield Gate(
            'detachable',
            request.volume,
            'hard',
            'refused',
            f'{told[0].code}: {told[0].cause}'
            if told
            else 'the server has it, on both sides',
            (told[0].fix if told else '')
            or 'openstack server remove volume '
            f'{request.server} {request.volume}',
        )


def _may_be_connected(
    wrong: list[Mismatch],
    volume: Volume | None,
    found: BothSides,
    request: Request,
) -> bool:
    """Whether the guest could be using what is to be taken away.

    Not what was never connected, nor what another host has: a migration
    that failed leaves that.
    """
    servers = {**found.gone, **found.servers}
    host = servers[request.server].host if request.server in servers else None
    codes = {one.code for one in wrong}
    if codes & MAPPINGS and any(
        one.connected
        for one in found.mapped(request.volume)
        if one.server == request.server
    ):
        return True
    named = {one.attachment for one in wrong}
    return volume is not None and any(
        one.id in named
        and one.status not in ('reserved',)
        and (host is None or one.host in (None, host))
        for one in volume.attachments
    )


PROCEDURE = Procedure(NAME, make_plan, check)
