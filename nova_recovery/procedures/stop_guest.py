# SPDX-License-Identifier: Apache-2.0

"""``guest stop``: a guest is ended on a host where nova does not have it.

For one that runs twice. Which of the two goes is an operator's word, one guest
and one host at a time; that the other one runs is looked for on its host.
"""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses
from typing import TYPE_CHECKING

from nova_recovery import program
from nova_recovery.cloud import clock
from nova_recovery.cloud.records import Server
from nova_recovery.engine.plan import Gate, Item, Plan, Step
from nova_recovery.procedures import check_guests, Procedure, reached
from nova_recovery.procedures.check_guests import Guest
from nova_recovery.procedures.reached import Reached

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

NAME = 'guest-stop'


@dataclasses.dataclass(frozen=True)
class Request:
    """Which guest, by the UUID of its server, and on which host."""

    uuid: str
    host: str


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of it.

    :ivar there: the host on which it is to be ended
    :ivar home: the host on which nova has it, where that is another
    :ivar server: as nova has it, None where it doesn't
    :ivar deleted: UUIDs that nova had, as far as its databases tell
    :ivar unknown: why nova's side is not known, lines
    """

    there: Reached
    home: Reached | None
    server: Server | None
    deleted: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()


def make_plan(cloud: Cloud, request: Request) -> Plan:
    """Ask both hosts and the databases, and decide.

    :raises ConfigError: no host can be reached
    """
    found = _read(cloud, request)
    return decide(request, found, cloud.conf.fleet.home, clock.now())


def _read(cloud: Cloud, request: Request) -> Facts:
    servers, deleted, unknown = check_guests.read_nova(
        cloud, (), [request.uuid]
    )
    server = servers.get(request.uuid)
    names = [request.host]
    if server is not None and server.host and server.host != request.host:
        names.append(server.host)
    there, *home = reached.read(cloud, names, ('guests list', {}))
    return Facts(there, home[0] if home else None, server, deleted, unknown)


def _guest(host: Reached, uuid: str) -> Guest | None:
    return next(
        (g for g in check_guests.guests_of(host) if g.uuid == uuid), None
    )


def state(host: Reached, uuid: str) -> str:
    """What it does on a host that answered, see ``Guest.state``."""
    guest = _guest(host, uuid)
    return guest.state if guest else ''


def decide(request: Request, found: Facts, home: str, now: str = '') -> Plan:
    """The plan to end it."""
    gates = [*reached.gates([found.there])]
    steps: tuple[Step, ...] = ()
    if not found.there.problem:
        gates += _gates(request, found)
        item = Item(
            f'stop-guest:{request.host}:{request.uuid}',
            'stop-guest',
            f'guest:{request.host}:{request.uuid}',
            (found.server and found.server.name) or request.uuid,
            {
                'host': request.host,
                'machine_id': found.there.machine_id,
                'home': home,
                'uuid': request.uuid,
                'cell': found.server.cell if found.server else None,
            },
        )
        steps = (Step('stop', 'end the guest', (item,)),)
    return Plan(
        procedure=NAME,
        title=f'end guest {request.uuid} on {request.host}',
        arguments=dataclasses.asdict(request),
        steps=steps,
        gates=tuple(gates),
        notes=(
            'There is no way back, and what it has not written is lost. It '
            f'stays defined on {request.host}.',
        ),
        created_at=now,
    )


def _gates(request: Request, found: Facts) -> Iterator[Gate]:
    if not state(found.there, request.uuid):
        yield Gate(
            'guest-runs-there',
            request.host,
            'hard',
            'refused',
            f'{request.uuid} does not run there',
            'look again:\n' + program.call(f'guest check {request.host}'),
        )
    yield from _of_nova(request, found)
    yield from _at_home(request, found)
    yield from _another(request, found)


def _of_nova(request: Request, found: Facts) -> Iterator[Gate]:
    """One that nova does not have is ended if nova had it, and no other.

    Its rows may be older than the guest, or be archived.
    """
    if found.server is not None:
        return
    guest = _guest(found.there, request.uuid)
    if guest and guest.domain and not guest.domain['nova']:
        yield Gate(
            'guest-of-nova',
            request.host,
            'hard',
            'refused',
            'nova did not make it',
            'what others made is theirs to end',
        )
    elif request.uuid not in found.deleted and not found.unknown:
        yield Gate(
            'guest-of-nova',
            request.host,
            'soft',
            'refused',
            'no cell ever had it, as far as the rows tell: they were '
            'archived, or the databases are older than the guest',
            'were the databases restored from a dump? Then the guest may be '
            'all that is left of its server: leave it. If not, it was deleted '
            'and its rows archived: find it in the log of nova-api, and '
            'override',
        )


def _at_home(request: Request, found: Facts) -> Iterator[Gate]:
    """Nova's own guest is nova's to stop."""
    server = found.server
    if found.unknown and server is None:
        yield Gate(
            'guest-not-at-home',
            request.host,
            'soft',
            'unknown',
            f'where nova has it is not known: {"; ".join(found.unknown)}',
            'make sure that nova has it on another host',
        )
    elif server is not None and server.host == request.host:
        yield Gate(
            'guest-not-at-home',
            request.host,
            'hard',
            'refused',
            'nova has it there',
            'end the other one, or have nova stop it: openstack server stop '
            f'{request.uuid}',
        )
    if server is not None and server.task_state:
        yield Gate(
            'no-task',
            server.name or server.uuid,
            'soft',
            'refused',
            f'its task is {server.task_state}: it may be on its way between '
            'the two hosts',
            'wait until it is done',
        )


def _another(request: Request, found: Facts) -> Iterator[Gate]:
    """What is ended should not be the only one.

    One that is paused at home is no other one: a live migration leaves it so
    on its source, and the row names that host where its end was lost.
    """
    server, home = found.server, found.home
    if server is None or server.host == request.host:
        # nova has none, or it is refused already
        return
    at_home = '' if home is None else state(home, request.uuid)
    if home is None or home.problem:
        yield Gate(
            'guest-runs-at-home',
            server.host or 'no host',
            'soft',
            'unknown',
            home.problem if home else 'nova has it on no host',
            'this may be the only one: see that the other one runs',
        )
    elif at_home == 'running':
        yield Gate(
            'guest-runs-at-home',
            home.name,
            'soft',
            'ok',
            f'it runs on {home.name}, too, where nova has it',
        )
    elif at_home == 'unknown':
        yield Gate(
            'guest-runs-at-home',
            home.name,
            'soft',
            'unknown',
            f'it has a process on {home.name}, where nova has it, and libvirt '
            'does not tell whether it is paused: this may be the only one',
            f'on {home.name}: restart libvirt, which finds it again',
        )
    elif at_home:
        yield Gate(
            'guest-runs-at-home',
            home.name,
            'hard',
            'refused',
            f'on {home.name}, where nova has it, it is only {at_home}: what '
            f'runs on {request.host} may be the only one',
            _only_paused(request, home.name),
        )
    else:
        yield Gate(
            'guest-runs-at-home',
            home.name,
            'soft',
            'refused',
            f'it does not run on {home.name}, where nova has it: this is the '
            'only one',
            'bring the rows to it instead:\n'
            + program.call(
                f'server adopt {request.uuid} --host {request.host}'
            ),
        )


def _only_paused(request: Request, home: str) -> str:
    """What to do about two of which the one at home waits.

    ``server adopt`` is refused while it is there; nova ends it where its row
    says, which is at home.
    """
    return (
        f'on {home}: see that no migration is under way (virsh domjobinfo), '
        f'and which of the two writes. If the one on {home} is to stay, end '
        f'the one on {request.host} by hand (virsh destroy). If the one on '
        f'{request.host} is, nova ends the one on {home} (virsh destroy there '
        'where nova refuses to), and the rows are brought to the other:\n'
        f'openstack server stop {request.uuid}\n'
        + program.call(f'server adopt {request.uuid} --host {request.host}')
    )


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates as they are now; one that was begun may have ended.

    One that has not may be nova's own by now: it was adopted there.
    """
    request = Request(**plan.arguments)
    found = _read(cloud, request)
    if touched and not found.there.problem:
        if not state(found.there, request.uuid):
            return tuple(reached.gates([found.there]))
    return decide(request, found, cloud.conf.fleet.home).gates


PROCEDURE = Procedure(NAME, make_plan, check)
