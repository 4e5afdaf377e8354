# SPDX-License-Identifier: Apache-2.0

"""Give a server a volume again that it has lost.

Where nova has lost the mapping, nova attaches it. Where nova has it and
cinder doesn't hold the volume for it, which a reboot makes worse, cinder's
attachment is made anew under the mapping that is there: nova would answer
"already attached", and a boot volume can't be attached at all.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery.cloud import clock
from nova_recovery.cloud.db import attachments
from nova_recovery.cloud.db.mappings import Server
from nova_recovery.engine.plan import Gate, Item, Plan, Step
from nova_recovery.exceptions import NotFound
from nova_recovery.procedures import Procedure
from nova_recovery.procedures.volumes import attach_gates, guards, pair, reset
from nova_recovery.procedures.volumes import read as read_module
from nova_recovery.procedures.volumes.pair import Found, Request
from nova_recovery.procedures.volumes.situation import Situation

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

NAME = 'volume-attach'


def read(cloud: Cloud, request: Request) -> Found:
    """The volume and the server on both sides.

    :raises NotFound: one of them is not there (any more)
    """
    found = read_module.both_sides(cloud, [request.volume], [request.server])
    if request.volume not in found.volumes:
        raise NotFound(f'cinder has no volume {request.volume}; give the UUID')
    server = found.servers.get(request.server)
    if server is None:
        raise NotFound(f'server {request.server} is gone')
    connector, mode = _connection(cloud, request, found, server)
    return Found(found, guards.outside(cloud, server), connector, mode)


def _connection(
    cloud: Cloud, request: Request, found: Situation, server: Server
) -> tuple[dict[str, Any] | None, str]:
    """How to connect, from the operator or from what cinder keeps.

    The row of a deleted attachment stays in cinder's database.
    """
    cinder = read_module.cinder(cloud)
    mapping = pair.mapping_of(request, found)
    mode, connector = 'rw', None
    if mapping is not None and mapping.attachment:
        kept = attachments.connectors(cinder, [mapping.attachment])
        old = kept.get(mapping.attachment)
        if old is not None:
            mode = 'ro' if old['mode'] == 'ro' else 'rw'
            connector = old['connector']
    given = request.connectors.get(server.host or '')
    if given is not None:
        return dict(given), mode
    if connector is not None and connector.get('host') == server.host:
        return connector, mode
    if server.host:
        return attachments.of_hosts(cinder, [server.host]).get(
            server.host
        ), mode
    return None, mode


def make_plan(cloud: Cloud, request: Request) -> Plan:
    """Read the cloud and decide.

    :raises RecoveryError: see ``read`` and ``decide``
    """
    return decide(request, read(cloud, request), clock.now())


def decide(request: Request, found: Found, now: str = '') -> Plan:
    """The plan; without items where the server has it already."""
    server = found.situation.servers[request.server]
    volume = found.situation.volumes[request.volume]
    items, why = steps(request, found)
    return Plan(
        procedure=NAME,
        title=f'attach volume {volume.name or volume.id} to {server.name}',
        arguments={
            **dataclasses.asdict(request),
            'connectors': dict(request.connectors),
        },
        steps=guards.claimed(server, found.outside, items),
        gates=tuple(attach_gates.gates(request, found, frozenset())),
        notes=_notes(request, found) if items else (),
        left_out={} if items else {volume.id: why},
        created_at=now,
    )


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates as they are now."""
    request = Request(**plan.arguments)
    return tuple(attach_gates.gates(request, read(cloud, request), touched))


def steps(request: Request, found: Found) -> tuple[tuple[Step, ...], str]:
    """The steps, or why there are none."""
    volume = found.situation.volumes[request.volume]
    mapping = pair.mapping_of(request, found.situation)
    lost = pair.lost_by(request, found)
    if mapping is None:
        why = pair.not_attachable(request, found)
        if why:
            return (), why
        return (
            Step(
                'attach',
                'attach through nova',
                (_item('attach-volume', request, found),),
            ),
        ), ''
    if lost is None:
        told = '; '.join(
            f'{one.code}: {one.cause}'
            for one in pair.findings_of(request, found.situation)
        )
        return (), told or 'the server has it already'
    if pair.adoptable(lost, mapping, found):
        item = _item(
            'link-mapping',
            request,
            found,
            mapping=mapping.id,
            attachment=lost.attachment,
        )
        return (Step('link', "name cinder's attachment in nova", (item,)),), ''
    several = []
    if not volume.attachments and volume.status != 'available':
        # cinder holds nothing anew that says it is held.
        several.append(
            Step(
                'reset',
                'reset in cinder',
                (
                    dataclasses.replace(
                        reset.item(volume, [], []),
                        follows=(f'server:{request.server}',),
                    ),
                ),
            )
        )
    item = _item(
        'recreate-attachment',
        request,
        found,
        mapping=mapping.id,
        attachment=mapping.attachment,
        remove=pair.own_attachments(request, found),
        device=mapping.device,
        mode=found.mode,
        connector=found.connector,
    )
    several.append(Step('attach', 'make its attachment anew', (item,)))
    return tuple(several), ''


def _item(kind: str, request: Request, found: Found, **data: Any) -> Item:
    server = found.situation.servers[request.server]
    volume = found.situation.volumes[request.volume]
    return Item(
        id=f'{kind}:{volume.id}',
        kind=kind,
        subject=f'volume:{volume.id}',
        label=volume.name or volume.id,
        data={
            'uuid': server.uuid,
            'cell': server.cell,
            'host': server.host,
            'volume': volume.id,
            'device': request.device,
            'tag': request.tag,
            'settle': request.settle,
            'patience': request.patience,
            **data,
        },
        follows=(f'server:{server.uuid}',),
    )


def _notes(request: Request, found: Found) -> tuple[str, ...]:
    if pair.mapping_of(request, found.situation) is None:
        return (
            'nova chooses the device itself; a device that is asked for is '
            'a wish. It never becomes a boot volume.',
        )
    if request.device or request.tag:
        return (
            'nova has a mapping, which keeps its device and tag: --device '
            'and --tag are not looked at.',
        )
    return ()


PROCEDURE = Procedure(NAME, make_plan, check)
