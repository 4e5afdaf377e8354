# SPDX-License-Identifier: Apache-2.0

"""``drill power-loss``: one server loses its power and its sessions.

The guide's last section. Nova is told nothing: what has to bring the server
back is the procedure after a disaster, in a run of its own (``back``). This
one takes the snapshot, claims the server, cuts its guest off and closes its
iSCSI sessions by their numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery import program, readiness
from nova_recovery.cloud import clock
from nova_recovery.cloud.db import connections
from nova_recovery.engine import claiming
from nova_recovery.engine.findings import Finding
from nova_recovery.engine.plan import Gate, Item, Plan, Step
from nova_recovery.exceptions import NotFound
from nova_recovery.procedures import Procedure, reached
from nova_recovery.procedures.disaster import request as disaster
from nova_recovery.procedures.disaster.look import gather
from nova_recovery.procedures.disaster.plan import gates as disaster_gates
from nova_recovery.procedures.disaster.scope import Scope
from nova_recovery.procedures.disaster.situation import Found, RUNNING, Server
from nova_recovery.procedures.iscsi import facts as iscsi_facts
from nova_recovery.procedures.iscsi import procedure as iscsi
from nova_recovery.procedures.iscsi.facts import Facts, Session
from nova_recovery.procedures.reached import Reached
from nova_recovery.procedures.volumes import policy
from nova_recovery.readiness import Site

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

NAME = 'drill'
#: The item that takes the power, and those that close sessions.
CUT, CLOSE = 'cut-guest', 'close-session'
#: What the snapshot is of.
SNAPSHOT = 'snapshot:drill'
#: Of a disaster's gates: these are about a moment after the loss, or about
#: what a power loss ends anyway.
_AFTERWARDS = frozenset({'dump-named', 'snapshot-given'})


@dataclasses.dataclass(frozen=True)
class Request:
    """Which server, and how long each step may take.

    :ivar server: UUID
    :ivar cell: the name of its cell
    :ivar targets: step -> seconds, see ``report.drill``
    """

    server: str
    cell: str
    targets: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Canary:
    """What is known of the server, and of its host.

    :ivar found: as a disaster of this one server would find it
    :ivar there: its host, with the answers to ``iscsi list`` and ``guests
        list``
    :ivar sessions: all of the host, and what nova has there
    :ivar red: what would hold the way back up, of readiness
    :ivar protocols: by which protocol each of its volumes is connected
    """

    found: Found
    server: Server
    there: Reached
    sessions: Facts
    red: tuple[Finding, ...] = ()
    protocols: Mapping[str, str] = dataclasses.field(default_factory=dict)


def scope(server: str, cell: str) -> Scope:
    """A disaster of one server."""
    return Scope(cells=(cell,), servers=(server,))


def make_plan(
    cloud: Cloud,
    request: Request,
    ours: Callable[[], frozenset[str]] = frozenset,
) -> Plan:
    """Ask the cloud and the host, and decide.

    :param ours: see ``readiness.Site``
    :raises NotFound: there is no such server by now, or it is on no host
    :raises ConfigError: no host can be reached
    """
    canary = _read(cloud, request, ours)
    return decide(request, canary, cloud.conf.fleet.home, clock.now())


def _read(
    cloud: Cloud, request: Request, ours: Callable[[], frozenset[str]]
) -> Canary:
    found = gather.read_all(
        cloud,
        disaster.Request(scope(request.server, request.cell)),
        watch=False,
    )
    server = found.situation.servers.get(request.server)
    if server is None or not server.host:
        raise NotFound(f'server {request.server} is on no host')
    host = server.host
    (there,) = reached.read(
        cloud, [host], ('iscsi list', {}), ('guests list', {})
    )
    every, unknown = iscsi_facts.wanted_by(cloud, [host], connections.DISKS)
    own = {
        name: tuple(one for one in some if one.protocol in connections.ISCSI)
        for name, some in every.items()
    }
    site = Site(
        cloud,
        hosts=frozenset({host}),
        servers=frozenset({server.uuid}),
        ours=ours,
    )
    return Canary(
        found,
        server,
        there,
        Facts((there,), own, unknown),
        tuple(readiness.red(readiness.look(site))),
        {
            one.volume: one.protocol
            for one in every.get(host, ())
            if one.server.uuid == server.uuid
        },
    )


def decide(request: Request, canary: Canary, home: str, now: str = '') -> Plan:
    """The plan to take its power."""
    server = canary.server
    sessions = _own(canary)
    steps: tuple[Step, ...] = ()
    if not canary.there.problem and sessions:
        steps = _steps(canary, sessions, home)
    return Plan(
        procedure=NAME,
        title=f'drill: {_name(server)} loses its power',
        arguments={
            'server': request.server,
            'cell': request.cell,
            'targets': dict(request.targets),
        },
        steps=steps,
        gates=tuple(_gates(canary, sessions)),
        notes=_notes(server) if steps else (),
        created_at=now,
    )


def _name(server: Server) -> str:
    return server.name or server.uuid


def _notes(server: Server) -> tuple[str, ...]:
    return (
        f'{_name(server)} is down until it is back: what it has not written '
        'is lost, as on the day.',
        'Then, unasked: whether the findings see the loss, the five steps of '
        'a disaster for this server alone, in a run of their own and without '
        'a dump of the databases, and whether it is whole again.',
        'Interrupted, or killed? Type the same again, and it goes on.',
    )


def _own(canary: Canary) -> list[Session]:
    """The sessions that carry something of the server."""
    if canary.there.problem:
        return []
    return [
        one
        for one in canary.sessions.sessions(canary.there)
        if canary.server.uuid in _whose(one)
    ]


def _whose(one: Session) -> set[str]:
    return {*one.servers, *(wanted.server.uuid for wanted in one.wanted)}


def _as_nova_names_it(one: Session) -> Session:
    """Without the other name of a migrated volume (cinder's ``name_id``).

    Its target has that name, and what is found of the loss does not.
    """
    wanted = dict.fromkeys(wanted.volume for wanted in one.wanted)
    return dataclasses.replace(one, volumes=tuple(wanted) or one.volumes)


def _steps(
    canary: Canary, sessions: list[Session], home: str
) -> tuple[Step, ...]:
    server, there = canary.server, canary.there
    claim = claiming.server(
        server.uuid, _name(server), server.cell, (SNAPSHOT,)
    )
    guest = f'guest:{there.name}:{server.uuid}'
    cut = Item(
        f'{CUT}:{server.uuid}',
        CUT,
        guest,
        _name(server),
        {
            'host': there.name,
            'machine_id': there.machine_id,
            'home': home,
            'uuid': server.uuid,
        },
        (claim.subject,),
    )
    closing = tuple(
        dataclasses.replace(
            iscsi.close(_as_nova_names_it(one), there, home), follows=(guest,)
        )
        for one in sessions
    )
    snapshot = Item(
        'take-snapshot:drill',
        'take-snapshot',
        SNAPSHOT,
        'the cloud as it is',
        {'cells': [server.cell]},
    )
    return (
        Step('snapshot', 'save how it is', (snapshot,), failures=0),
        *claiming.around(
            [claim],
            (
                Step('cut', 'take the power of its guest', (cut,)),
                Step('close', 'close its iSCSI sessions', closing),
            ),
            [
                claiming.release(
                    claim, (guest, *(item.subject for item in closing))
                )
            ],
            ('claim the server', 'give the claim back'),
        ),
    )


def _gates(
    canary: Canary,
    sessions: list[Session],
    touched: frozenset[str] = frozenset(),
) -> Iterator[Gate]:
    server = canary.server
    yield from reached.gates([canary.there])
    yield _runs(canary)
    yield from _sessions(canary, sessions)
    yield _sound(canary)
    yield from of_way_back(
        canary.found,
        canary.red,
        [server.uuid],
        touched,
        'close a session, and bring the server back by hand:\n'
        + program.call(f'iscsi session list {canary.there.name}'),
    )


def of_way_back(
    found: Found,
    red: Iterable[Finding],
    servers: list[str],
    touched: frozenset[str],
    by_hand: str,
) -> Iterator[Gate]:
    """Whether the procedure after a disaster could bring these back.

    :param red: what would hold it up, of readiness
    :param servers: UUIDs
    :param by_hand: what to do on a cloud from before Queens
    """
    if found.legacy is not None:
        yield Gate(
            'schema-modern',
            '',
            'hard',
            'refused',
            'this cloud is from before Queens: its servers are rebooted and '
            'their volumes attached by hand',
            by_hand,
        )
    for row in red:
        yield row.gate('site-ready', row.subject, 'hard')
    for gate in disaster_gates.gates(
        disaster.Request(), found, servers, touched, starts=servers
    ):
        if gate.name not in _AFTERWARDS:
            yield gate


def _runs(canary: Canary) -> Gate:
    """Only one that runs can lose its power, and come back by itself."""
    server, there = canary.server, canary.there
    state = f'it is {server.vm_state}'
    if server.task_state:
        state += f', its task is {server.task_state}'
    wrong = state
    if (server.vm_state, server.power_state) == ('active', RUNNING) and (
        not server.task_state
    ):
        wrong = ''
        if not there.problem and server.uuid not in {
            row['uuid']
            for row in there.said[1]['domains'] or ()
            if row['active']
        }:
            wrong = f'{state}, and libvirt of {there.name} does not run it'
    return Gate(
        'canary-runs',
        _name(server),
        'hard',
        'refused' if wrong else 'ok',
        wrong or f'{state}, on {there.name}',
        'is it down since a drill? '
        'Bring it back, and choose one that runs:\n'
        + program.call(f'server reboot {server.uuid}')
        if wrong
        else '',
    )


def _sessions(canary: Canary, sessions: list[Session]) -> Iterator[Gate]:
    server, there = canary.server, canary.there

    def refused(observed: str, remedy: str, state: str = 'refused') -> Gate:
        return Gate(
            'canary-sessions', _name(server), 'hard', state, observed, remedy
        )

    if there.problem:
        return
    if canary.sessions.unknown:
        yield refused(
            'whose sessions they are is not known: '
            + '; '.join(canary.sessions.unknown),
            'bring the database back first',
            'unknown',
        )
    if not sessions:
        kinds = sorted(set(canary.protocols.values()))
        told = ', '.join(kinds) if kinds else 'no disk of the host'
        yield refused(
            f'it has no iSCSI session on {there.name}: its volumes are by '
            f'{told}',
            'what else there is has no session to be closed by number, and '
            'is not drilled: choose a canary with an iSCSI volume of its '
            'own. What would be done for this one is shown by\n'
            + program.call(f'disaster plan --host {there.name}'),
        )
        return
    for one in sessions:
        others = sorted(_whose(one) - {server.uuid})
        if others:
            names = canary.sessions.names
            told = ', '.join(names.get(uuid) or uuid for uuid in others)
            yield refused(
                f'session {one.number} has disks of others too: {told}',
                'a drill touches no server that is not named: choose a '
                'canary with a target of its own',
            )
    held = _held(server, sessions)
    if held:
        told = '; '.join(
            f'session {number}: {device}: {use["kind"]} {use["what"]}'
            for number, device, use in held
        )
        yield refused(told, _freed(server, sessions, held))
    yield Gate(
        'canary-sessions',
        _name(server),
        'hard',
        'ok',
        'sessions of its own: '
        + ', '.join(
            f'{one.number} (volume {", ".join(one.volumes)})'
            for one in sessions
        ),
    )


def _held(
    server: Server, sessions: Sequence[Session]
) -> list[tuple[int, str, Mapping[str, Any]]]:
    """(session, disk, use) of what the host does with disks of the server."""
    return [
        (one.number, disk['device'], use)
        for one in sessions
        for disk in one.disks
        for use in disk['uses']
        if use['server'] != server.uuid
    ]


def _freed(
    server: Server,
    sessions: Sequence[Session],
    held: Sequence[tuple[int, str, Mapping[str, Any]]],
) -> str:
    """What can be done where the host uses disks of the server."""
    maps = sorted({u['what'] for *_disk, u in held if u['kind'] == 'map'})
    if not maps:
        return (
            'the host uses its disk besides the guest: unmount it, or choose '
            'another canary'
        )
    host = sessions[0].host
    return '\n'.join(
        [
            'no session is closed beneath a map, as multipath makes one: that '
            'fails a path, and is no power loss. Choose a canary without, or '
            f'do by hand what a drill does. On {host}, end the guest and take '
            'its maps away; then close its sessions, see that it is down, and '
            'bring it back:',
            f'virsh destroy {server.uuid}',
            *(f'multipath -f {name}' for name in maps),
            *(
                program.call(
                    f'iscsi session delete {host} --session {one.number}'
                )
                for one in sessions
            ),
            program.call(f'server reboot {server.uuid}'),
        ]
    )


def _sound(canary: Canary) -> Gate:
    """What is wrong before would be mended, and be none of the loss."""
    both = canary.found.situation.volumes
    wrong = [] if both is None else policy.findings(both)
    told = '; '.join(f'{one.code} of volume {one.volume}' for one in wrong)
    return Gate(
        'canary-sound',
        _name(canary.server),
        'hard',
        'refused' if wrong else 'ok',
        told or 'nothing is wrong with its volumes',
        'mend it first:\n'
        + program.call(f'volume check --server {canary.server.uuid}')
        if wrong
        else '',
    )


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates as they are now; what lost its power already runs no more."""
    # of what is left of a run, that item is no more
    for subject in touched:
        kind, _, rest = subject.partition(':')
        if kind == 'guest':
            host = rest.rpartition(':')[0]
            return tuple(reached.gates(reached.read(cloud, [host])))
    canary = _read(cloud, Request(**plan.arguments), frozenset)
    return tuple(_gates(canary, _own(canary), touched))


PROCEDURE = Procedure(NAME, make_plan, check)
