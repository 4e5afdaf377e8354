# SPDX-License-Identifier: Apache-2.0

"""Reboot guests from inside, each exactly once.

By itself, for servers that are named, or as step 5 after a disaster, whose
planner asks ``choose`` which guests are meant and how each is reached.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
import dataclasses
from typing import Any, TYPE_CHECKING

from oslo_utils import strutils

from nova_recovery.cloud import claims, clock, records
from nova_recovery.cloud.db.servers import list_servers
from nova_recovery.engine import claiming
from nova_recovery.engine.plan import Gate, Item, LeftOut, Plan, Step
from nova_recovery.exceptions import Ambiguous, NotFound, UsageError
from nova_recovery.guests import ssh
from nova_recovery.procedures import gates as common_gates
from nova_recovery.procedures import Procedure
from nova_recovery.procedures.guests import reach as reach_module
from nova_recovery.procedures.guests.reach import Reach, Server

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud


#: The step.
STEP = 'guests'
TITLE = 'reboot guests from inside'
KIND = 'reboot-guest'


@dataclasses.dataclass(frozen=True)
class Request:
    """What the operator wants of step 5. JSON types but for tuples.

    :ivar ssh: reboot them; else they are only listed
    :ivar servers: names or UUIDs; () leaves it to metadata, and to which
        servers have volumes attached again
    :ivar addresses: server as in ``servers`` -> [USER@]ADDRESS
    :ivar keys: of metadata: reboot, address, network, user
    :ivar times: seconds: connect, answer, reach, settle, patience
    """

    ssh: bool = False
    servers: tuple[str, ...] = ()
    addresses: Mapping[str, str] = dataclasses.field(default_factory=dict)
    network: str | None = None
    user: str | None = None
    options: tuple[str, ...] = ()
    prefer: str = 'floating'
    identity: bool = True
    keys: Mapping[str, str] = dataclasses.field(default_factory=dict)
    times: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What step 5 is.

    :ivar items: of step 5, in the order of the servers
    :ivar left: UUID (or the word that names none) -> why it is left out
    :ivar notes: lines for the operator
    """

    items: tuple[Item, ...] = ()
    left: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()


class _NoWayIn(Exception):
    """Why a guest can't be reached."""


def choose(
    servers: Sequence[Server],
    request: Request,
    reach: Mapping[str, Reach] | None = None,
    attached: Sequence[Item] = (),
) -> Chosen:
    """What step 5 does with the servers that the plan brings back.

    :param reach: by UUID, of ``reach.read``
    :param attached: what step 4 does; a guest waits for its own volumes
    :raises Ambiguous: a name that several of them have
    """
    volumes: dict[str, list[str]] = {}
    for one in attached:
        volumes.setdefault(one.data['uuid'], []).append(one.subject)
    asked, left = _asked(servers, request, volumes)
    if not request.ssh:
        return Chosen((), left, tuple(_listed(asked)))
    made = []
    for server in asked:
        try:
            item = _item(server, request, (reach or {}).get(server.uuid))
        except _NoWayIn as error:
            left[server.uuid] = f'not rebooted from inside: {error}'
            continue
        waits = (*item.follows, *volumes.get(server.uuid, ()))
        made.append(dataclasses.replace(item, follows=waits))
    return Chosen(tuple(made), left)


def _asked(
    servers: Sequence[Server], request: Request, attached: Collection[str]
) -> tuple[list[Server], dict[str, str]]:
    if request.servers:
        return _named(servers, request.servers)
    found = []
    left = {}
    for server in servers:
        try:
            wish = _wish(server, request)
        except ValueError:
            key = request.keys['reboot']
            left[server.uuid] = (
                f'not rebooted from inside: its metadata {key} is neither '
                'true nor false'
            )
            continue
        if wish or (wish is None and server.uuid in attached):
            found.append(server)
    return found, left


def _wish(server: Server, request: Request) -> bool | None:
    said = server.metadata.get(request.keys.get('reboot', ''))
    if said is None:
        return None
    return bool(strutils.bool_from_string(said, strict=True))


def _named(
    servers: Sequence[Server], words: Sequence[str]
) -> tuple[list[Server], dict[str, str]]:
    found: dict[str, Server] = {}
    left = {}
    for word in words:
        meant = [s for s in servers if word in (s.uuid, s.name)]
        if len(meant) > 1:
            raise Ambiguous(
                f'several servers are called {word}; give the UUID:',
                [server.uuid for server in meant],
            )
        if meant:
            found[meant[0].uuid] = meant[0]
        else:
            left[word] = (
                'not rebooted from inside: none of the servers that run '
                'again has this name or UUID'
            )
    return list(found.values()), left


def _listed(asked: Sequence[Server]) -> Iterator[str]:
    """The guests by project, for whoever tells the projects."""
    projects: dict[str, list[str]] = {}
    for server in asked:
        projects.setdefault(server.project or 'none', []).append(
            f'{server.name} ({server.uuid})'
        )
    for project, names in sorted(projects.items()):
        yield (
            f'to be rebooted from inside by project {project}: '
            f'{", ".join(sorted(names))}'
        )


def _item(server: Server, request: Request, reach: Reach | None) -> Item:
    reach = reach or Reach()
    if (reach.os_type or 'linux') != 'linux':
        raise _NoWayIn(f'its image says os_type {reach.os_type}')
    user, address, why = _way(server, request, reach)
    data: dict[str, Any] = {
        'uuid': server.uuid,
        'cell': server.cell,
        'host': server.host,
        'address': address,
        'why': why,
        'user': user,
        'options': list(request.options),
        'identity': request.identity,
        **request.times,
    }
    try:
        ssh.check(address, user, request.options)
    except UsageError as error:
        raise _NoWayIn(str(error)) from None
    return Item(
        id=f'{KIND}:{server.uuid}',
        kind=KIND,
        subject=f'guest:{server.uuid}',
        label=server.name,
        data=data,
        follows=(f'server:{server.uuid}',),
    )


def _way(
    server: Server, request: Request, reach: Reach
) -> tuple[str | None, str, str]:
    """User, address, and where the address is from."""
    keys = request.keys
    said = {
        name: server.metadata.get(key) or None for name, key in keys.items()
    }
    user = said.get('user') or request.user
    for word in (server.uuid, server.name):
        if word in request.addresses:
            named, at, address = request.addresses[word].rpartition('@')
            return named if at else user, address, 'as asked'
    own = {one.address for one in reach.addresses}
    wanted = said.get('address')
    if wanted:
        if wanted not in own:
            # Or a tenant could have any machine rebooted that our keys open.
            raise _NoWayIn(
                f'its metadata {keys["address"]} names an address that is '
                'not its own'
            )
        return user, wanted, f'metadata {keys["address"]}'
    network = said.get('network') or request.network
    usable = [
        one
        for one in reach.addresses
        if network is None or network in one.network
    ]
    if not usable:
        raise _NoWayIn(
            f'it has no address on network {network}'
            if network and own
            else 'it has no address'
        )
    first = request.prefer == 'floating'
    best = min(usable, key=lambda one: one.floating is not first)
    kind = 'floating' if best.floating else 'fixed'
    return user, best.address, f'{kind}, {best.network[0]}'


NAME = 'guest-reboot'


@dataclasses.dataclass(frozen=True)
class Named:
    """A server as step 5 wants it."""

    uuid: str
    name: str
    cell: str
    host: str | None
    project: str | None
    metadata: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Situation:
    """The servers, the ways to them, and who works on them.

    :ivar metadata: by UUID
    :ivar reach: by UUID
    :ivar holders: UUID -> who claimed it
    :ivar movers: UUID -> whose run moves it just now
    """

    servers: tuple[records.Server, ...]
    metadata: dict[str, dict[str, str]]
    reach: dict[str, Reach]
    holders: dict[str, str]
    movers: dict[str, str]


def read(cloud: Cloud, found: Iterable[records.Server]) -> Situation:
    """What the databases know of these servers.

    :raises DatabaseUnavailable: a cell of theirs doesn't answer
    """
    servers = tuple(found)
    metadata: dict[str, dict[str, str]] = {}
    holders: dict[str, str] = {}
    movers: dict[str, str] = {}
    for cell in sorted({server.cell for server in servers}):
        database = cloud.databases.cell(cell)
        own = [server.uuid for server in servers if server.cell == cell]
        metadata |= reach_module.metadata(database, own)
        movers |= claims.under_hosts(database, own)
        holders |= claims.server_holders(database, own)
    named = _with_metadata(servers, metadata)
    return Situation(
        servers, metadata, reach_module.read(cloud, named), holders, movers
    )


def _with_metadata(
    servers: Iterable[records.Server], metadata: Mapping[str, dict[str, str]]
) -> list[Named]:
    return [
        Named(
            server.uuid,
            server.name,
            server.cell,
            server.host,
            server.project,
            metadata[server.uuid],
        )
        for server in servers
    ]


def make_plan(cloud: Cloud, request: Request) -> Plan:
    """Read the cloud and decide.

    :param request: names the servers by their UUIDs
    :raises NotFound: one of them was deleted
    :raises RecoveryError: see ``read``
    """
    servers = _live(cloud, request.servers)
    missing = set(request.servers) - {server.uuid for server in servers}
    if missing:
        raise NotFound(f'gone: {", ".join(sorted(missing))}')
    return decide(
        request,
        read(cloud, servers),
        cloud.conf.runner.per_target,
        clock.now(),
    )


def _live(cloud: Cloud, uuids: Collection[str]) -> list[records.Server]:
    """Those of the servers that are there.

    :raises DatabaseUnavailable: a cell that may have the others
    """
    found, unknown = list_servers(cloud.databases, uuids=sorted(uuids))
    for error in unknown.values():
        if set(uuids) - {server.uuid for server in found}:
            raise error
    return found


def decide(
    request: Request, found: Situation, per_host: int, now: str = ''
) -> Plan:
    """The plan: claim, reboot once, give the claim back.

    :param request: names the servers by their UUIDs
    :param per_host: at most so many at a time
    """
    chosen = choose(
        _with_metadata(found.servers, found.metadata), request, found.reach
    )
    names = {server.uuid: server.name for server in found.servers}
    number = len(chosen.items)
    limits = {'host': per_host}
    claimed = [
        claiming.server(item.data['uuid'], item.label, item.data['cell'])
        for item in chosen.items
    ]
    return Plan(
        procedure=NAME,
        title=f'reboot {number} guest{"s" * (number != 1)} from inside, '
        'each exactly once',
        arguments={**dataclasses.asdict(request), 'per_host': per_host},
        steps=claiming.around(
            claimed,
            [Step(STEP, TITLE, chosen.items, limits)],
            # kept while its guest is in doubt
            map(
                claiming.release, claimed, [(i.subject,) for i in chosen.items]
            ),
        )
        if number
        else (),
        gates=_gates(found, frozenset()),
        left_out=tuple(
            LeftOut(f'guest:{uuid}', names.get(uuid, uuid), why)
            for uuid, why in chosen.left.items()
        ),
        created_at=now,
    )


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates as they are now; a server that is gone is its item's."""
    uuids = {item.data['uuid'] for item in plan.items() if item.kind == KIND}
    return _gates(read(cloud, _live(cloud, uuids)), touched)


def _gates(found: Situation, touched: frozenset[str]) -> tuple[Gate, ...]:
    gates = []
    for server in found.servers:
        if server.vm_state != 'active' or server.task_state:
            gates.append(
                Gate(
                    'guest-runs',
                    server.name,
                    'hard',
                    'refused',
                    f'it is {server.vm_state}, its task is '
                    f'{server.task_state or "none"}',
                    'start it first, or leave it out',
                )
            )
        if f'server:{server.uuid}' not in touched:
            gates += common_gates.nobody_else(
                server.uuid, server.name, found.holders, found.movers
            )
    return tuple(gates)


PROCEDURE = Procedure(NAME, make_plan, check)
