# SPDX-License-Identifier: Apache-2.0

"""Correct the states of a server in its row.

The API can set ``active`` and ``error`` and clear the task; it can set
neither ``stopped`` nor the power state. What is written here is only what
nova itself would write: its periodic power sync acts on the rest, and stops
guests that a wrong row says are stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery.cloud import clock
from nova_recovery.cloud.db import services
from nova_recovery.cloud.db.servers import list_servers
from nova_recovery.cloud.records import Migration, Server
from nova_recovery.engine.plan import Gate, Item, Plan, Step
from nova_recovery.exceptions import NotFound, RecoveryError, UsageError
from nova_recovery.procedures import Procedure, whereabouts
from nova_recovery.procedures.whereabouts import Whereabouts

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

NAME = 'server-set'
#: nova/objects/fields.py; 2 and 5 are unused since Folsom.
POWER_STATES = {
    'nostate': 0,
    'running': 1,
    'paused': 3,
    'shutdown': 4,
    'crashed': 6,
    'suspended': 7,
}
#: vm_state -> power states that nova leaves alone beside it, the usual one
#: first (``_sync_instance_power_state`` in nova/compute/manager.py).
LEGAL: dict[str, tuple[int, ...]] = {
    'active': (1,),
    'stopped': (4, 6, 0),
    'paused': (3,),
    'suspended': (4, 7),
    'rescued': (1,),
    'error': (0, 1, 3, 4, 6, 7),
    'shelved': (4,),
}
#: What the API's os-resetState can do.
BY_API = frozenset({'active', 'error'})


@dataclasses.dataclass(frozen=True)
class Request:
    """What to set; None leaves it.

    :ivar clear_task: set task_state to NULL
    :ivar not_running: see ``whereabouts.not_there``
    """

    uuid: str
    cell: str
    vm_state: str | None = None
    power_state: int | None = None
    clear_task: bool = False
    not_running: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Resize:
    """One that waits to be confirmed.

    :ivar alive: whether nova-compute of its source is up; None: unknown
    :ivar held: what placement has allocated to it, provider -> resources;
        None: not asked
    """

    migration: Migration
    alive: bool | None
    held: dict[str, dict[str, int]] | None

    @property
    def source(self) -> str:
        return self.migration.source_compute or ''


@dataclasses.dataclass(frozen=True)
class Situation:
    """The server in its row and on its hypervisor.

    :ivar runs: whether the hypervisor has the guest running; None: unknown
    :ivar alive: whether nova-compute of the host looks alive; None: unknown
    :ivar place: where its guest may run; None: nobody asked
    :ivar resizes: of it, which wait to be confirmed
    """

    server: Server
    runs: bool | None
    alive: bool | None
    place: Whereabouts | None = None
    resizes: tuple[Resize, ...] = ()


def power_state(word: str) -> int:
    """A power state by name or number.

    :raises UsageError: it has no meaning in nova
    """
    if word.lower() in POWER_STATES:
        return POWER_STATES[word.lower()]
    if word.isdecimal() and int(word) in POWER_STATES.values():
        return int(word)
    hint = ''
    if word in ('5', '2') or word.lower() in ('shutoff', 'off'):
        hint = (
            '; that value is of 2012 and makes the status UNKNOWN today: a '
            'guest that is off has shutdown (4)'
        )
    raise UsageError(
        f'{word!r} is no power state; there are '
        + ', '.join(f'{k} ({v})' for k, v in POWER_STATES.items())
        + hint
    )


def vm_state(word: str) -> str:
    """A state of a server.

    :raises UsageError: nova doesn't know it, or it can't be set by hand
    """
    if word in LEGAL:
        return word
    hint = ''
    if word.lower() in ('shutoff', 'shutdown'):
        hint = (
            '; that value is of 2012 and makes the status UNKNOWN today: '
            'a server that is off is stopped'
        )
    raise UsageError(
        f'{word!r} is no state that can be set; there are '
        + ', '.join(sorted(LEGAL))
        + hint
    )


def read(cloud: Cloud, request: Request) -> Situation:
    """The server as it is, and what its hypervisor says if it answers."""
    found, unknown = list_servers(cloud.databases, uuids=[request.uuid])
    for error in unknown.values():
        if not found:
            raise error
    if not found:
        raise NotFound(f'server {request.uuid} is gone')
    server = found[0]
    alive = runs = None
    if server.host:
        database = cloud.databases.cell(server.cell)
        if services.compute_services(database, server.host):
            try:
                alive = cloud.compute.service(server.host)['state'] == 'up'
                # A dead host must not be asked: it would answer later.
                runs = cloud.compute.runs(server.uuid) if alive else None
            except RecoveryError:
                alive = runs = None
    places = whereabouts.read(
        cloud, [server], whereabouts.not_there(request.not_running)
    )
    resizes = tuple(_resizes(cloud, server)) if request.vm_state else ()
    return Situation(server, runs, alive, places[server.uuid], resizes)


def _resizes(cloud: Cloud, server: Server) -> Iterator[Resize]:
    """What waits to be confirmed; a new vm_state ends it."""
    rows = whereabouts.migrations(cloud, [server]).get(server.uuid, ())
    database = cloud.databases.cell(server.cell)
    for row in whereabouts.unconfirmed(rows):
        alive: bool | None = False
        held = None
        if services.compute_services(database, row.source_compute or ''):
            try:
                found = cloud.compute.service(row.source_compute or '')
                alive = found['state'] == 'up'
            except RecoveryError:
                alive = None
        with contextlib.suppress(RecoveryError):
            if row.uuid:
                found = cloud.placement.allocations(row.uuid)
                held = found['allocations']
        yield Resize(row, alive, held)


def make_plan(cloud: Cloud, request: Request) -> Plan:
    """Read the cloud and decide.

    :raises RecoveryError: see ``read`` and ``decide``
    """
    return decide(request, read(cloud, request), clock.now())


def decide(request: Request, found: Situation, now: str = '') -> Plan:
    """The plan to set the states.

    :raises UsageError: a combination that nova would not leave alone
    """
    server = found.server
    values = _values(request, server)
    seen = {
        'host': server.host,
        'vm_state': server.vm_state,
        'power_state': server.power_state,
        'task_state': server.task_state,
    }
    data: dict[str, Any] = {
        'uuid': server.uuid,
        'cell': server.cell,
        'seen': seen,
        'values': values,
    }
    if found.resizes:
        data['close'] = [
            {'id': row.id, 'status': row.status, 'type': row.migration_type}
            for row in (one.migration for one in found.resizes)
        ]
    item = Item(
        id=f'set-states:{server.uuid}',
        kind='set-states',
        subject=f'server:{server.uuid}',
        label=server.name,
        data=data,
    )
    items = (item, *_releases(found, item))
    # a row that is left of a server that is no longer resized goes, too
    changed = bool(found.resizes) or any(
        seen[name] != value for name, value in values.items()
    )
    return Plan(
        procedure=NAME,
        title=f'set the states of server {server.name}',
        arguments=dataclasses.asdict(request),
        steps=(Step('set', 'set its states', items),) if changed else (),
        gates=tuple(gates(found, values)),
        notes=tuple(_notes(found, values)),
        created_at=now,
    )


def _releases(found: Situation, item: Item) -> Iterator[Item]:
    """What resizes hold of their sources goes once they are closed."""
    for one in found.resizes:
        if one.held:
            yield dataclasses.replace(
                item,
                id=f'move-allocation:{one.migration.uuid}',
                kind='move-allocation',
                data={
                    'uuid': one.migration.uuid,
                    'source': one.source,
                    'seen': one.held,
                    'wanted': {},
                },
            )


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates as they are now."""
    request = Request(**plan.arguments)
    found = read(cloud, request)
    return tuple(gates(found, _values(request, found.server)))


def _values(request: Request, server: Server) -> dict[str, Any]:
    state = request.vm_state or server.vm_state or ''
    power = request.power_state
    if power is None and request.vm_state:
        # A new state takes the power state that belongs to it, unless the
        # present one does as well.
        legal = LEGAL[state]
        power = server.power_state if server.power_state in legal else legal[0]
    if power is None:
        power = server.power_state
    if power not in LEGAL.get(state, ()) and (
        request.vm_state or request.power_state is not None
    ):
        raise UsageError(
            f'nova does not leave vm_state {state} with power state {power} '
            f'alone; with {state} go '
            + (', '.join(map(str, LEGAL.get(state, ()))) or 'none')
        )
    return {
        'vm_state': state,
        'power_state': power,
        'task_state': None if request.clear_task else server.task_state,
    }


def gates(found: Situation, values: dict[str, Any]) -> Iterator[Gate]:
    """What must hold before the row is written."""
    name = found.server.name
    # An error is a mark: nova's sync leaves its guest alone.
    marked = values['vm_state'] == 'error'
    if not marked or values['task_state'] != found.server.task_state:
        yield from whereabouts.gates(found.place, found.server.uuid, name)
    for one in found.resizes:
        yield _abandoned(one, found.server)
    says_running = values['power_state'] == 1
    # Where only the task is cleared, nova's sync finds what it found before.
    same = (values['vm_state'], values['power_state']) == (
        found.server.vm_state,
        found.server.power_state,
    )
    if found.runs is None:
        yield Gate(
            'guest-agrees',
            name,
            'advice' if same or marked else 'soft',
            'unknown',
            'its hypervisor was not asked',
            'nova makes the guest what the row says at its next power sync: '
            'start nova-compute of its host, or make sure that the guest is '
            'what the row will say',
        )
    elif found.runs != says_running:
        # Where only a task is cleared, the sync writes down that it is off.
        harmless = same and not found.runs
        yield Gate(
            'guest-agrees',
            name,
            'advice' if harmless else 'soft',
            'refused',
            'the guest ' + ('runs' if found.runs else 'does not run'),
            'nova will make the guest what the row says at its next power '
            'sync; start or stop it with the client instead',
        )
    else:
        yield Gate(
            'guest-agrees',
            name,
            'soft',
            'ok',
            'the guest ' + ('runs' if found.runs else 'does not run'),
        )
    if found.server.task_state:
        dead = found.alive is not True
        yield Gate(
            'no-task',
            name,
            'soft',
            'refused',
            f'its task is {found.server.task_state}'
            + (
                ': the request may wait in the message bus and be carried '
                f'out when {found.server.host} returns'
                if dead
                else f': nova-compute on {found.server.host} may be at it'
            ),
            'wait for its end, or purge the queue '
            f'compute.{found.server.host} first',
        )


def _abandoned(one: Resize, server: Server) -> Gate:
    """A resize is closed by hand only where nova can't end it.

    The source confirms it, and removes what it keeps of the server
    (``confirm_resize`` in nova/compute/manager.py).
    """
    row, source = one.migration, one.source
    confirm = f'\nopenstack server resize confirm {server.uuid}'
    klass, state, remedy = 'soft', 'ok', ''
    observed = f'{source}, where it was resized from, is down'
    if row.row.get('cross_cell_move'):
        klass, state = 'hard', 'refused'
        observed = (
            f'its resize from {source} is between two cells, and the other '
            'has a hidden copy of its rows'
        )
        remedy = f'have nova end it, once {source} is up:{confirm}'
    elif server.vm_state != 'resized':
        # somebody reset its state: nova's API refuses to confirm it
        observed = (
            f'it is {server.vm_state}: nobody can confirm its resize from '
            f'{source} any more'
        )
    elif one.alive and row.status == 'confirming':
        state = 'refused'
        observed = (
            f'{source}, where it was resized from, is up, and was asked to '
            'end that'
        )
        remedy = 'wait for it; if it comes to nothing, override'
    elif one.alive:
        state = 'refused'
        observed = f'{source}, where it was resized from, is up'
        remedy = f'have nova end that, which cleans up there:{confirm}'
    elif one.alive is None:
        state = 'unknown'
        observed = f'nova was not asked whether {source} is up'
        remedy = f'where it is up, have nova end the resize:{confirm}'
    return Gate(
        'resize-abandoned', server.name, klass, state, observed, remedy
    )


def _notes(found: Situation, values: dict[str, Any]) -> Iterator[str]:
    server = found.server
    for one in found.resizes:
        kept = f'{server.uuid}_resize below its instances directory'
        if one.source == server.host:
            # resized within its host, the guest of now has that name there
            yield (
                f'{one.source} keeps the disk from before the resize: {kept}'
            )
        else:
            yield (
                f'{one.source} keeps what it had of it before the resize: '
                f'{kept}, and {server.instance_name} in libvirt, shut off. '
                'Once nobody needs that, remove it there: virsh undefine '
                f'{server.instance_name}'
            )
        if one.held is None and one.migration.uuid:
            yield (
                'Placement was not asked what the resize holds; that goes '
                'with: openstack resource provider allocation delete '
                f'{one.migration.uuid}'
            )
    only_api = (
        values['vm_state'] in BY_API
        and values['power_state'] == server.power_state
        # It always clears the task.
        and values['task_state'] is None
        and not found.resizes
    )
    if only_api:
        yield (
            'The API can do this: openstack server set --state '
            f'{values["vm_state"]} {server.uuid}'
        )
    if not found.resizes and server.vm_state in (
        'resized',
        'shelved_offloaded',
        'building',
    ):
        yield f'The server is {server.vm_state}, which nova finishes itself.'


PROCEDURE = Procedure(NAME, make_plan, check)
