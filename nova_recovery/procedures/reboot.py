# SPDX-License-Identifier: Apache-2.0

"""Reboot servers, each exactly once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
import dataclasses
from typing import TYPE_CHECKING

from nova_recovery import program
from nova_recovery.cloud import claims, clock, tasks
from nova_recovery.cloud.db import mappings
from nova_recovery.cloud.db.mappings import Unheld
from nova_recovery.cloud.db.servers import list_servers, newest_actions
from nova_recovery.cloud.records import Server
from nova_recovery.engine import claiming
from nova_recovery.engine.plan import Gate, Item, Plan, Step
from nova_recovery.exceptions import NotFound, RecoveryError
from nova_recovery.procedures import gates as common_gates
from nova_recovery.procedures import Procedure, whereabouts
from nova_recovery.procedures.whereabouts import Whereabouts
from nova_recovery.report import wording

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

NAME = 'server-reboot'
#: What nova takes a hard reboot of (nova/compute/api.py); a stopped one is
#: started instead.
REBOOTS = frozenset({'active', 'paused', 'suspended', 'error'})
SENDS = frozenset({'start-server', 'reboot-server'})


@dataclasses.dataclass(frozen=True)
class Request:
    """Which servers; see changes.once for the seconds.

    :ivar not_running: see ``whereabouts.not_there``
    """

    servers: tuple[str, ...]
    settle: int = 1800
    patience: int = 600
    per_host: int = 4
    not_running: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Situation:
    """The servers, their computes and who claimed them.

    :ivar computes: host -> 'up', 'down' or 'forced down'; None: unknown
    :ivar holders: server uuid -> who claimed it
    :ivar movers: server uuid -> whose run moves it just now
    :ivar volumes: server uuid -> what a reboot would do to its volumes
    :ivar marks: server uuid -> the newest of what was asked of it
    :ivar places: server uuid -> where its guest may run
    :ivar encrypted: server uuid -> its encrypted volumes
    :ivar versions: API -> its version
    :ivar unreachable: API -> why
    """

    servers: tuple[Server, ...]
    computes: dict[str, str] | None
    holders: dict[str, str]
    versions: dict[str, str]
    unreachable: dict[str, str]
    movers: dict[str, str] = dataclasses.field(default_factory=dict)
    volumes: dict[str, Unheld] = dataclasses.field(default_factory=dict)
    marks: dict[str, int] = dataclasses.field(default_factory=dict)
    places: dict[str, Whereabouts] = dataclasses.field(default_factory=dict)
    encrypted: dict[str, tuple[str, ...]] = dataclasses.field(
        default_factory=dict
    )


def read(
    cloud: Cloud,
    uuids: Sequence[str],
    not_running: Mapping[str, str] | None = None,
) -> Situation:
    """The servers and the computes that they are on.

    :param not_running: see ``whereabouts.not_there``
    :raises NotFound: one of them was deleted
    """
    found = _live(cloud, uuids)
    missing = set(uuids) - {server.uuid for server in found}
    if missing:
        raise NotFound(f'gone: {", ".join(sorted(missing))}')
    return _situation(cloud, found, not_running or {})


def _live(cloud: Cloud, uuids: Iterable[str]) -> list[Server]:
    found, unknown = list_servers(cloud.databases, uuids=list(uuids))
    missing = set(uuids) - {server.uuid for server in found}
    if missing:
        for error in unknown.values():
            raise error
    return found


def _situation(
    cloud: Cloud, found: list[Server], not_running: Mapping[str, str]
) -> Situation:
    computes: dict[str, str] | None = None
    versions: dict[str, str] = {}
    unreachable: dict[str, str] = {}
    try:
        versions['nova'] = cloud.compute.ping()
        computes = {
            s['host']: 'forced down' if s.get('forced_down') else s['state']
            for s in cloud.compute.services()
        }
    except RecoveryError as error:
        unreachable['nova'] = str(error)
    holders: dict[str, str] = {}
    movers: dict[str, str] = {}
    volumes: dict[str, Unheld] = {}
    marks: dict[str, int] = {}
    encrypted: dict[str, tuple[str, ...]] = {}
    for cell in sorted({server.cell for server in found}):
        database = cloud.databases.cell(cell)
        own = [server.uuid for server in found if server.cell == cell]
        holders |= claims.server_holders(database, own)
        movers |= claims.under_hosts(database, own)
        volumes |= mappings.unheld(cloud, database, own)
        marks |= newest_actions(database, own)
        encrypted |= mappings.encrypted(database, own)
    return Situation(
        tuple(found),
        computes,
        holders,
        versions,
        unreachable,
        movers,
        volumes,
        marks,
        whereabouts.read(cloud, found, whereabouts.not_there(not_running)),
        encrypted,
    )


def make_plan(cloud: Cloud, request: Request) -> Plan:
    """Read the cloud and decide.

    :raises RecoveryError: see ``read`` and ``decide``
    """
    return decide(
        request, read(cloud, request.servers, request.not_running), clock.now()
    )


def decide(request: Request, found: Situation, now: str = '') -> Plan:
    """The plan: claim, send once, give the claim back."""
    ordered = sorted(found.servers, key=lambda s: (s.name, s.uuid))
    limits = {'host': request.per_host}
    sent = tuple(
        _sent(server, request, found.marks.get(server.uuid, 0))
        for server in ordered
    )
    return Plan(
        procedure=NAME,
        title=(
            f'reboot {wording.count(len(ordered), "server")}, each exactly '
            'once'
        ),
        arguments={
            **dataclasses.asdict(request),
            'servers': list(request.servers),
        },
        steps=claiming.around(
            [claiming.server(s.uuid, s.name, s.cell) for s in ordered],
            [Step('reboot', 'reboot or start', sent, limits)],
        )
        if ordered
        else (),
        gates=tuple(gates(found, frozenset())),
        created_at=now,
    )


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates as they are now, of what is left of the plan.

    A server that is gone is its item's matter: the others go on.
    """
    left = {
        str(item.data['uuid']): None
        for item in plan.items()
        if item.kind in SENDS
    }
    words = plan.arguments.get('not_running', {})
    found = _situation(cloud, _live(cloud, left), words)
    return tuple(gates(found, touched))


def _sent(server: Server, request: Request, mark: int) -> Item:
    starts = server.vm_state == 'stopped'
    kind = 'start-server' if starts else 'reboot-server'
    return Item(
        id=f'{kind}:{server.uuid}',
        kind=kind,
        subject=f'server:{server.uuid}',
        label=server.name,
        data={
            'uuid': server.uuid,
            'cell': server.cell,
            'host': server.host,
            'settle': request.settle,
            'patience': request.patience,
            'mark': mark,
        },
    )


def gates(found: Situation, touched: frozenset[str]) -> Iterator[Gate]:
    """What must hold before anything is sent.

    :param touched: subjects that the run has begun with
    """
    yield common_gates.apis_reachable(found.versions, found.unreachable)
    yield from _hosts(found)
    for server in found.servers:
        if f'server:{server.uuid}' not in touched:
            yield from _server(server, found)
        # What is claimed only is touched, and not rebooted yet.
        yield from whereabouts.gates(
            found.places.get(server.uuid), server.uuid, server.name
        )
        yield from _volumes(server, found)
        yield from common_gates.keys_readable(
            server.uuid,
            server.name,
            server.host,
            found.encrypted.get(server.uuid, ()),
        )


def _hosts(found: Situation) -> Iterator[Gate]:
    for host in sorted({server.host or '' for server in found.servers}):
        if found.computes is None:
            yield Gate(
                'host-up', host, 'hard', 'unknown', 'nova was not asked'
            )
            continue
        state = found.computes.get(host)
        if state == 'up':
            yield Gate('host-up', host, 'hard', 'ok', 'nova-compute is up')
            continue
        yield Gate(
            'host-up',
            host or 'no host',
            'hard',
            'refused',
            f'it is {state}' if state else 'nova has no such host',
            'a request would wait in the message bus and be carried out '
            f'when the host returns; see {program.call("host recover")}',
        )


def _server(server: Server, found: Situation) -> Iterator[Gate]:
    if server.task_state:
        yield Gate(
            'rebootable',
            server.name,
            'hard',
            'refused',
            f'it is {server.vm_state}, its task is {server.task_state}',
            'wait for its task to end; one that does not, because nobody is '
            'at it, is cleared by:\n'
            + tasks.unstuck(server.uuid, server.name),
        )
    elif server.vm_state not in REBOOTS | {'stopped'}:
        yield Gate(
            'rebootable',
            server.name,
            'hard',
            'refused',
            f'it is {server.vm_state}: nova starts or reboots no such server',
            'leave it out',
        )
    yield from common_gates.nobody_else(
        server.uuid, server.name, found.holders, found.movers
    )


def _volumes(server: Server, found: Situation) -> Iterator[Gate]:
    """What a reboot (not a start) does to volumes that cinder doesn't know.

    ``_delete_dangling_bdms`` in nova/compute/manager.py, 28.0 and later.
    """
    volumes = found.volumes.get(server.uuid)
    if volumes is None:
        return
    if volumes.foreign:
        yield Gate(
            'volumes-held',
            server.name,
            'hard',
            'refused',
            f'what nova names of volume {", ".join(volumes.foreign)} is an '
            'attachment of another server, which would be written to',
            f'see {program.call("volume check")}',
        )
    if server.vm_state == 'stopped':
        return
    repair = program.call(f'volume attach {server.uuid} VOLUME')
    if volumes.lost:
        yield Gate(
            'volumes-held',
            server.name,
            'hard',
            'refused',
            f'cinder has no attachment of volume {", ".join(volumes.lost)}: '
            'the reboot would make nova forget it',
            f'make it anew first: {repair}',
        )
    if volumes.unknown:
        yield Gate(
            'volumes-held',
            server.name,
            'hard',
            'unknown',
            f'cinder was not asked whether it holds its volumes: '
            f'{volumes.unknown}',
            'a reboot makes nova forget those that it does not',
        )
    if volumes.unnamed:
        yield Gate(
            'volumes-named',
            server.name,
            'soft',
            'refused',
            f'nova names no attachment of volume '
            f'{", ".join(volumes.unnamed)}, attached before Queens: a reboot '
            'by its own project detaches it',
            f'name it first: {repair}',
        )


PROCEDURE = Procedure(NAME, make_plan, check)
