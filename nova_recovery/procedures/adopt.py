# SPDX-License-Identifier: Apache-2.0

"""A guest runs on another host than its row says: its rows are brought there.

The way out where ``whereabouts`` refuses to start a guest, because the death
of its host in the middle of a migration left it running on the target. What
nova would have written at the end of that migration is written by hand; the
guest itself is not touched, and nothing is started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery import fencing, program
from nova_recovery.cloud import clock, volume_protocols
from nova_recovery.cloud.db import servers
from nova_recovery.cloud.records import Migration
from nova_recovery.engine import claiming
from nova_recovery.engine.plan import Gate, Item, Plan, Step
from nova_recovery.exceptions import NotFound, RecoveryError, UsageError
from nova_recovery.procedures import Procedure, whereabouts
from nova_recovery.procedures.recover import gates as recover_gates
from nova_recovery.procedures.recover import read as recover_read
from nova_recovery.procedures.recover import situation
from nova_recovery.procedures.recover.build import Builder
from nova_recovery.procedures.recover.situation import Host, Server, Situation
from nova_recovery.procedures.recover.ways import Assignment, MOVE

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

NAME = 'server-adopt'
#: What the row of a guest that runs says.
RUNNING = {'vm_state': 'active', 'power_state': 1, 'task_state': None}
#: nova makes these anew on the target, and keeps both sides until the end.
UNFINISHED = 'a migration of it was not finished'
OK, REFUSED, UNKNOWN = 'ok', 'refused', 'unknown'


@dataclasses.dataclass(frozen=True)
class Request:
    """What the operator asked for.

    :ivar uuid: of the server
    :ivar source: the host that its row names
    :ivar target: where its guest runs
    :ivar seen_running: how the operator knows that it does; '': nobody said
    :ivar fenced: the operator's sentence that the source is off
    :ivar not_running: see ``whereabouts.not_there``
    """

    uuid: str
    source: str
    target: str
    seen_running: str = ''
    fenced: str = ''
    not_running: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Found:
    """What is decided on.

    :ivar situation: of the source and the server, as of a recovery
    :ivar open: its migrations away from the source that have no end, each
        with what placement holds for it (provider -> resources)
    :ivar runs_on_source: whether the hypervisor of a source that is alive
        has the guest; None: it was not asked, for it is silent
    """

    situation: Situation
    open: tuple[tuple[Migration, Mapping[str, Any]], ...] = ()
    runs_on_source: bool | None = None

    @property
    def server(self) -> Server:
        return self.situation.servers[0]


def make_plan(
    cloud: Cloud,
    request: Request,
    progress: Callable[[str], None] = lambda text: None,
) -> Plan:
    """Read the cloud and decide.

    :raises RecoveryError: see ``read`` and ``decide``
    """
    return decide(request, read(cloud, request, progress), clock.now())


def read(
    cloud: Cloud,
    request: Request,
    progress: Callable[[str], None] = lambda text: None,
) -> Found:
    """The server, its host and the one where it runs. Writes nothing.

    :raises NotFound: the server is not on the source any more
    """
    found = recover_read.read(
        cloud,
        situation.Request(
            hosts=(request.source,),
            servers=(request.uuid,),
            target_host=request.target,
            fenced=request.fenced,
            not_running=request.not_running,
        ),
        fencing.load(cloud.conf, request.fenced),
        progress,
    )
    if not found.servers:
        raise NotFound(
            f'server {request.uuid} is not on {request.source} any more'
        )
    source = found.hosts[request.source]
    database = cloud.databases.cell(source.cell)
    rows = servers.migrations(database, [request.uuid]).get(request.uuid, ())
    return Found(
        found,
        tuple(
            (row, _held(cloud, row.uuid))
            for row in rows
            if row.source_compute == request.source
            and row.dest_compute == request.target
            and not row.deleted
            and row.status not in whereabouts.OVER
        ),
        _runs(cloud, source, request.uuid),
    )


def _held(cloud: Cloud, migration: str | None) -> Mapping[str, Any]:
    """What placement holds for a migration: the source's share."""
    if migration is None:
        return {}
    try:
        held = cloud.placement.allocations(migration)['allocations']
    except RecoveryError:
        # The gate of the APIs tells it.
        return {}
    return dict(held)


def _runs(cloud: Cloud, source: Host, uuid: str) -> bool | None:
    if source.silent or source.forced_down:
        # A dead host must not be asked: it would answer later.
        return None
    try:
        return not cloud.compute.off(uuid)
    except RecoveryError:
        return None


def decide(request: Request, found: Found, now: str = '') -> Plan:
    """The plan to adopt the guest.

    :raises UsageError: it is there already
    """
    server = found.server
    if request.target == request.source:
        raise UsageError(
            f'server {server.name} is on {request.target} in its row, too'
        )
    return Plan(
        procedure=NAME,
        title=f'adopt server {server.name}: it runs on {request.target}',
        arguments=dataclasses.asdict(request),
        steps=_steps(request, found),
        gates=tuple(_gates(request, found)),
        notes=tuple(_notes(request, found)),
        created_at=now,
    )


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates as they are now.

    What is asked of the server holds until it is begun; then its rows tell
    of the target, and the items themselves compare what they find.
    """
    request = Request(**plan.arguments)
    if f'server:{request.uuid}' in touched:
        return ()
    return tuple(_gates(request, read(cloud, request)))


def _steps(request: Request, found: Found) -> tuple[Step, ...]:
    target = found.situation.hosts.get(request.target)
    if target is None:
        return ()
    server = found.server
    one = Assignment(server, MOVE, '', request.target)
    # Whatever moves it, it claims and gives back the same.
    asked = situation.Request(hosts=(request.source,))
    builder = Builder(asked, found.situation)
    source = found.situation.hosts[request.source]
    kept: tuple[str, ...] = ()
    if source.service_id is None:
        claim = claiming.server(
            server.uuid, server.name, server.cell, source=source.name
        )
    else:
        claim = _claim(source, source.service_id, found)
        kept = (server.subject,)
    every = (
        Step('claim', f'claim {claim.label}', (claim,)),
        Step('lock', 'lock it', tuple(builder.lock(one))),
        Step(
            'allocation',
            'its allocations, where it runs',
            tuple(_allocations(builder, one, found)),
        ),
        Step('record', 'its row', tuple(_record(builder, one, found))),
        Step('ports', 'its ports', tuple(_ports(builder, one))),
        Step('verify', 'verify', tuple(_verify(builder, one))),
        Step(
            'tombstones',
            'arm its tombstone: its guest was seen to run',
            (builder.item('arm-tombstone', one),),
        ),
        Step('unlock', 'unlock it', tuple(builder.unlock(one))),
        Step(
            'release',
            f'give the claim on {claim.label} back',
            (claiming.release(claim, kept),),
        ),
    )
    return tuple(step for step in every if step.items)


def _claim(source: Host, service: int, found: Found) -> Item:
    """On the host of its row; one that is alive gets back what it had."""
    seen: dict[str, Any] = {
        'disabled': int(source.disabled),
        'disabled_reason': source.disabled_reason,
    }
    reports = None
    if found.runs_on_source is None:
        reports = source.reports[1]
    else:
        seen['forced_down'] = int(source.forced_down)
    return claiming.host(source.name, source.cell, service, seen, reports)


def _allocations(
    builder: Builder, one: Assignment, found: Found
) -> Iterator[Item]:
    """The server's on the target alone; its migrations' come to an end."""
    held, target = one.server.allocations, builder.provider(one.target)
    if held and target and set(held) != {target}:
        share = held.get(target) or next(iter(held.values()))
        yield builder.item(
            'move-allocation', one, seen=dict(held), wanted={target: share}
        )
    for row, of_migration in found.open:
        if of_migration:
            item = builder.item(
                'move-allocation',
                one,
                str(row.uuid),
                seen=dict(of_migration),
                wanted={},
            )
            item.data['uuid'] = row.uuid
            yield item


def _record(builder: Builder, one: Assignment, found: Found) -> Iterator[Item]:
    """That it runs there is a word until it is verified.

    A tombstone that is armed before would make the source, when its
    nova-compute starts, delete what may be the only copy.
    """
    for item in builder.record(one, later=True):
        item.data['values'] |= RUNNING
        item.data['close'] = [
            {'id': row.id, 'type': row.migration_type, 'status': row.status}
            for row, _ in found.open
        ]
        yield item


def _ports(builder: Builder, one: Assignment) -> Iterator[Item]:
    for item in builder.ports(one):
        item.data['adopted'] = True
        yield item


def _verify(builder: Builder, one: Assignment) -> Iterator[Item]:
    for item in builder.verify(one):
        item.data['running'] = True
        yield item


def _gates(request: Request, found: Found) -> Iterator[Gate]:
    """What must hold. Unknown refuses."""
    cloud, server = found.situation, found.server
    source = cloud.hosts[request.source]
    yield from recover_gates.of_cloud(cloud)
    yield from _gone_from_source(source, found)
    yield from _there(request, cloud.hosts.get(request.target), server)
    yield from _nowhere_else(request, server)
    against = [one for one in server.special if one != UNFINISHED]
    if server.vtpm:
        against.append('it has a virtual TPM')
    if server.allocations is None or server.ports is None:
        yield Gate(
            'adoptable',
            server.name,
            'hard',
            UNKNOWN,
            'placement or neutron was not asked',
        )
    elif not server.allocations:
        against.append('placement has no allocation for it at all')
    elif any('MEMORY_MB' not in held for held in server.allocations.values()):
        against.append('it has devices of their own in placement')
    if against:
        yield Gate(
            'adoptable',
            server.name,
            'hard',
            REFUSED,
            '; '.join(against),
            'what nova keeps of these on each host is not written by hand. '
            f'Turn its guest off on {request.target} (virsh destroy), then '
            f'recover it with --not-running {server.uuid}@{request.target}='
            'HOW',
        )
    if whereabouts.deleted(server):
        yield Gate(
            'adoptable',
            server.name,
            'hard',
            REFUSED,
            'its owner deleted it: it is not brought back to life',
            f'turn its guest off on {request.target} (virsh destroy), and '
            f'end it:\nopenstack server delete --force {server.uuid}',
        )
    yield from _volumes(request, server)


def _gone_from_source(source: Host, found: Found) -> Iterator[Gate]:
    """It must not run where its row says, or two do."""
    if found.runs_on_source is None:
        yield from recover_gates.of_source(source, False, found.situation)
        return
    yield Gate(
        'guest-gone',
        found.server.name,
        'hard',
        REFUSED if found.runs_on_source else OK,
        f'the hypervisor of {source.name} '
        + (
            'has it running'
            if found.runs_on_source
            else 'does not have it running'
        ),
        'it runs where its row says: there is nothing to adopt. Where it is '
        'only paused there, which a migration leaves on its source, and the '
        'migration is over (virsh domjobinfo), have nova end it:\n'
        f'openstack server stop {found.server.uuid}',
    )


def _there(
    request: Request, target: Host | None, server: Server
) -> Iterator[Gate]:
    against = []
    if target is None:
        against.append('the cell of the server has no such host')
    else:
        if target.silent:
            against.append(
                f'its report count stands still for {target.apart:.0f} s'
            )
        if len(target.nodes) != 1:
            against.append(f'it has {len(target.nodes)} compute nodes')
    yield Gate(
        'target-ready',
        request.target,
        'hard',
        REFUSED if against else OK,
        '; '.join(against) or 'its nova-compute is alive',
        'start nova-compute there' if target else 'name the host exactly',
    )
    if request.seen_running:
        yield Gate(
            'guest-seen',
            server.name,
            'soft',
            OK,
            f'operator: {request.seen_running}',
        )
    else:
        yield Gate(
            'guest-seen',
            server.name,
            'soft',
            UNKNOWN,
            f'nobody said that its guest runs on {request.target}; nova can '
            'ask the hypervisor only when its row names that host',
            'look there (virsh list) and say how you know with '
            '--seen-running HOW. The plan asks the hypervisor in the end, '
            'and run undo takes it back where it has no such guest',
        )


def _nowhere_else(request: Request, server: Server) -> Iterator[Gate]:
    answer = server.whereabouts
    others = answer.hosts() - {request.target} if answer else frozenset()
    if answer is None or others:
        yield Gate(
            'guest-only-there',
            server.name,
            'hard',
            REFUSED if others else UNKNOWN,
            answer.because() if answer else 'nobody asked',
            'look on each of them (virsh list --all), and say where it does '
            f'not run: --not-running {server.uuid}@HOST=HOW',
        )


def _volumes(request: Request, server: Server) -> Iterator[Gate]:
    """A guest that runs there has its volumes connected there."""
    for volume in server.volumes:
        host = (volume.source_connector or {}).get('host')
        if volume_protocols.host_bound(volume.protocol or '') and (
            host != request.target
        ):
            yield Gate(
                'volumes-there',
                server.name,
                'hard',
                REFUSED if host else UNKNOWN,
                f'volume {volume.id} is connected to {host or "no host"} as '
                'far as cinder knows',
                f'a guest that runs on {request.target} has it connected '
                'there: look again where it runs',
            )


def _notes(request: Request, found: Found) -> Iterator[str]:
    yield (
        f'Nothing is started. {request.source} keeps its copy of '
        f'{found.server.name} until the hypervisor of {request.target} was '
        'seen to have it running; from then on it cleans up when its '
        'nova-compute starts.'
    )
    yield (
        'Attachments that the migration left behind are shown by '
        f'{program.call("volume check")}.'
    )


PROCEDURE = Procedure(NAME, make_plan, check)
