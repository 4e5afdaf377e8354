# SPDX-License-Identifier: Apache-2.0

"""Give a server a volume again that it has lost.

Where nova has lost the mapping, nova attaches it. Where nova has it and
cinder doesn't hold the volume for it, which a reboot makes worse, cinder's
attachment is made anew under the mapping that is there: nova would answer
"already attached", and a boot volume can't be attached at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery import program
from nova_recovery.cloud import clock
from nova_recovery.cloud.db import mappings as nova
from nova_recovery.cloud.db import volumes
from nova_recovery.cloud.db.volumes import Access, MODES
from nova_recovery.cloud.records import Server
from nova_recovery.engine.plan import Gate, Item, LeftOut, Plan, Step
from nova_recovery.exceptions import NotFound
from nova_recovery.procedures import Procedure
from nova_recovery.procedures.volumes import gates as gates_module
from nova_recovery.procedures.volumes import policy, reset
from nova_recovery.procedures.volumes import read as read_module
from nova_recovery.procedures.volumes import situation as situation_module
from nova_recovery.procedures.volumes.gates import Outside
from nova_recovery.procedures.volumes.situation import BothSides

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud


#: Findings of a mapping that an attachment made anew mends.
LOST = frozenset({'VOL-UNLINKED', 'VOL-NODATA', 'VOL-LEGACY', 'VOL-HOST'})


@dataclasses.dataclass(frozen=True)
class Request:
    """Which volume to which server.

    :ivar server: UUID
    :ivar device: only a wish, as for nova
    :ivar mode: ``rw`` or ``ro``, by the operator's word
    :ivar connectors: host -> how it connects, given by the operator
    """

    server: str
    volume: str
    device: str | None = None
    tag: str | None = None
    connectors: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    settle: int = 1800
    patience: int = 600
    mode: str | None = None


@dataclasses.dataclass(frozen=True)
class Situation:
    """The pair on both sides.

    :ivar connector: how the server's host connects to volumes; None:
        unknown
    :ivar access: of the attachment that it had
    """

    situation: BothSides
    outside: Outside
    connector: dict[str, Any] | None = None
    access: Access = Access()


def mapping_of(request: Request, found: BothSides) -> nova.Mapping | None:
    kept, _ = policy.once_each(
        found.mapped(request.volume), found.volumes.get(request.volume)
    )
    return next((one for one in kept if one.server == request.server), None)


def findings_of(
    request: Request, found: BothSides
) -> list[situation_module.Mismatch]:
    """What is wrong between these two."""
    return [
        one
        for one in policy.findings(found)
        if one.volume == request.volume and one.server == request.server
    ]


def lost_by(
    request: Request, found: Situation
) -> situation_module.Mismatch | None:
    for one in findings_of(request, found.situation):
        if one.code in LOST and one.remedy == 'attach':
            return one
    return None


def own_attachments(request: Request, found: Situation) -> list[str]:
    volume = found.situation.volumes[request.volume]
    return sorted(
        one.id for one in volume.attachments if one.server == request.server
    )


def adoptable(
    lost: situation_module.Mismatch, mapping: nova.Mapping, found: Situation
) -> bool:
    """Whether naming cinder's attachment is all that is missing.

    A live migration takes connection data from the attachment: one that has
    none would break it.
    """
    if lost.code != 'VOL-LEGACY' or not mapping.connected:
        return False
    volume = found.situation.volumes[lost.volume]
    server = found.situation.servers[lost.server]
    return any(
        one.id == lost.attachment
        and one.connected
        and one.status == 'attached'
        and one.host == server.host
        for one in volume.attachments
    )


def not_attachable(request: Request, found: Situation) -> str:
    """Why nova can't attach it, '' if it can."""
    volume = found.situation.volumes[request.volume]
    others = found.situation.mapped(request.volume)
    if volume.status == 'available' and volume.attach_status == 'detached':
        if others and not volume.multiattach:
            return f'nova maps it for server {others[0].server}'
        return ''
    if volume.multiattach and volume.status == 'in-use':
        return ''
    held = ', '.join(
        found.situation.name(one.server) if one.server else 'a host'
        for one in volume.attachments
    )
    return f'it is {volume.status} and {volume.attach_status}' + (
        f', attached to {held}' if held else ''
    )


#: nova attaches to servers in these (nova/compute/api.py: attach_volume);
#: a shelved and offloaded one is on no host.
ATTACHES = frozenset({'active', 'paused', 'stopped', 'resized'})


def gates(
    request: Request, found: Situation, touched: frozenset[str]
) -> Iterator[Gate]:
    """What must hold before it is attached.

    :param touched: subjects that the run has begun with
    """
    yield from gates_module.whole(found.situation)
    server = found.situation.servers[request.server]
    volume = found.situation.volumes[request.volume]
    mapping = mapping_of(request, found.situation)
    lost = lost_by(request, found)
    if f'volume:{volume.id}' in touched:
        return
    wrong = findings_of(request, found.situation)
    if mapping is not None and lost is None and not wrong:
        return
    why = situation_module.untouchable(volume)
    if why:
        yield _refused(volume.id, why, 'wait until cinder is done with it')
        return
    for one in wrong:
        if one is not lost and one.remedy != 'attach':
            yield gates_module.other_way('attachable', one)
    if mapping is None and not wrong:
        why = not_attachable(request, found)
        if why:
            yield _refused(
                volume.id,
                why,
                f'see {program.call("volume check")} for what to do first',
            )
    yield from gates_module.unclaimed(server, found.outside, touched)
    if mapping is None:
        yield from _host(server, found.outside, 'hard')
        yield from _takes(server)
        yield from _mode_known(
            request,
            by_nova(request.mode or found.access.mode, found.access),
            f'first: openstack volume set --read-only {volume.id}',
        )
        return
    yield from gates_module.no_task(server)
    if lost is not None and not adoptable(lost, mapping, found):
        yield from _host(server, found.outside, 'soft')
        yield from _anew(request, found)


def _refused(volume: str, observed: str, remedy: str) -> Gate:
    return Gate('attachable', volume, 'hard', 'refused', observed, remedy)


def _host(server: Server, seen: Outside, klass: str) -> Iterator[Gate]:
    """nova attaches through the host: hard; cinder by itself: soft."""
    host = server.host or 'no host'
    if seen.compute == 'up':
        yield Gate('host-up', host, klass, 'ok', 'nova-compute is up')
        return
    state = 'unknown' if seen.compute is None else 'refused'
    told = '; '.join(seen.unreachable.values()) or f'it is {seen.compute}'
    yield Gate(
        'host-up',
        host,
        klass,
        state,
        told,
        'if the host does not come back, recover the server first: '
        + program.call(f'server recover {server.uuid}')
        + (
            ''
            if klass == 'soft'
            else '; the request would wait in the message bus, and its '
            'replay leaves a mapping that no API repairs'
        ),
    )


def _takes(server: Server) -> Iterator[Gate]:
    if server.vm_state not in ATTACHES or server.task_state:
        yield Gate(
            'server-takes-it',
            server.name,
            'hard',
            'refused',
            f'it is {server.vm_state}, task {server.task_state or "none"}',
            'wait until nova is done with it',
        )


def by_nova(mode: str | None, access: Access) -> str:
    """Why nova may not attach it, '' if it may.

    It asks cinder for no mode, so that the server may write
    (``_volume_attach`` in nova/virt/block_device.py).

    :param mode: that it had; None: it never had it
    """
    if access.read_only or mode in (None, 'rw'):
        return ''
    if mode == 'ro':
        return 'it was attached read-only, and nova attaches it writable'
    return _UNKNOWN


_UNKNOWN = 'whether it was attached read-only is not known'


def _mode_known(request: Request, why: str, otherwise: str) -> Iterator[Gate]:
    """What a server could only read must not become writable.

    :param otherwise: how it stays read-only
    """
    if not why:
        return
    way = program.call(f'volume attach {request.server} {request.volume}')
    yield Gate(
        'mode-known',
        request.volume,
        'hard',
        'unknown' if why == _UNKNOWN else 'refused',
        why,
        f'if the server may write to it:\n{way} --mode rw\nif it must not, '
        + otherwise,
    )


def _anew(request: Request, found: Situation) -> Iterator[Gate]:
    server = found.situation.servers[request.server]
    volume = found.situation.volumes[request.volume]
    if found.connector is None:
        yield Gate(
            'connector-known',
            server.host or 'no host',
            'hard',
            'unknown',
            f'how {server.host} connects to volumes is not known',
            'give --connector HOST=FILE, made there with "nova-manage '
            'volume_attachment get_connector --json"',
        )
    else:
        yield Gate(
            'connector-known', server.host or 'no host', 'hard', 'ok', 'known'
        )
    yield from _mode_known(
        request,
        '' if _mode(request, found) in MODES else _UNKNOWN,
        'the same with --mode ro',
    )
    held = [
        one
        for one in volume.attachments
        if one.server == request.server
        and one.status in ('attached', 'detaching')
    ]
    if held:
        yield gates_module.guest_off(
            server,
            volume.id,
            found.outside,
            'cinder takes the volume away for a moment',
        )


def _mode(request: Request, found: Situation) -> str | None:
    """The mode of an attachment that is made anew."""
    if found.access.read_only:
        return 'ro'
    return request.mode or found.access.mode


NAME = 'volume-attach'


def read(cloud: Cloud, request: Request) -> Situation:
    """The volume and the server on both sides.

    :raises NotFound: one of them is not there (any more)
    """
    found = read_module.both_sides(cloud, [request.volume], [request.server])
    if request.volume not in found.volumes:
        raise NotFound(f'cinder has no volume {request.volume}; give the UUID')
    server = found.servers.get(request.server)
    if server is None:
        raise NotFound(f'server {request.server} is gone')
    mapping = mapping_of(request, found)
    named = mapping.attachment if mapping is not None else None
    pair = request.server, request.volume
    return Situation(
        found,
        gates_module.outside(cloud, server),
        _connection(cloud, request, named, server),
        volumes.access(read_module.cinder(cloud), {pair: named})[pair],
    )


def _connection(
    cloud: Cloud, request: Request, named: str | None, server: Server
) -> dict[str, Any] | None:
    """How to connect, from the operator or from what cinder keeps.

    The row of a deleted attachment stays in cinder's database.

    :param named: the attachment that nova names
    """
    cinder = read_module.cinder(cloud)
    given = request.connectors.get(server.host or '')
    if given is not None:
        return dict(given)
    if named:
        old = volumes.connectors(cinder, [named]).get(named, {})
        connector = old.get('connector')
        if connector is not None and connector.get('host') == server.host:
            return dict(connector)
    if server.host:
        return volumes.host_connectors(cinder, [server.host]).get(server.host)
    return None


def make_plan(cloud: Cloud, request: Request) -> Plan:
    """Read the cloud and decide.

    :raises RecoveryError: see ``read`` and ``decide``
    """
    return decide(request, read(cloud, request), clock.now())


def decide(request: Request, found: Situation, now: str = '') -> Plan:
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
        steps=gates_module.claimed(server, found.outside, items),
        gates=tuple(gates(request, found, frozenset())),
        notes=_notes(request, found) if items else (),
        left_out=()
        if items
        else (LeftOut(f'volume:{volume.id}', volume.name, why),),
        created_at=now,
    )


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates as they are now."""
    request = Request(**plan.arguments)
    return tuple(gates(request, read(cloud, request), touched))


def _before_attaching(item: Item, server: str) -> Item:
    """A reset that an attachment of the same volume follows."""
    return dataclasses.replace(
        item,
        follows=(f'server:{server}',),
        data={**item.data, 'attaches': True},
    )


def steps(request: Request, found: Situation) -> tuple[tuple[Step, ...], str]:
    """The steps, or why there are none."""
    volume = found.situation.volumes[request.volume]
    mapping = mapping_of(request, found.situation)
    lost = lost_by(request, found)
    if mapping is None:
        why = not_attachable(request, found)
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
            for one in findings_of(request, found.situation)
        )
        return (), told or 'the server has it already'
    if adoptable(lost, mapping, found):
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
                    _before_attaching(
                        reset.item(volume, [], []), request.server
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
        remove=own_attachments(request, found),
        device=mapping.device,
        mode=_mode(request, found),
        connector=found.connector,
    )
    several.append(Step('attach', 'make its attachment anew', (item,)))
    return tuple(several), ''


def _item(kind: str, request: Request, found: Situation, **data: Any) -> Item:
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


def _notes(request: Request, found: Situation) -> tuple[str, ...]:
    if mapping_of(request, found.situation) is None:
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
