# SPDX-License-Identifier: Apache-2.0

"""Step 5: which guests are rebooted from inside, and how each is reached.

Used by the planner in this order::

    request = guest_options.guest_request(parsed, cloud.conf)
    reach = guest_reach.read(cloud, servers)    # {} unless request.ssh
    chosen = guests.items(servers, request, reach, items_of_step_4)

``chosen.items`` is step 5 (``Step(NAME, TITLE, chosen.items, limits)``;
their data has ``host`` for limits), ``chosen.left`` names
the servers that were asked for and can't be reached, ``chosen.notes`` are
lines for the operator.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
import dataclasses
from typing import Any, Protocol

from oslo_utils import strutils

from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import Ambiguous, UsageError
from nova_recovery.guests import ssh

NAME = 'guests'
TITLE = 'reboot guests from inside'
KIND = 'reboot-guest'


class Server(Protocol):
    """What is asked of a server that the plan brings back."""

    @property
    def uuid(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def cell(self) -> str: ...

    @property
    def host(self) -> str | None: ...

    @property
    def project(self) -> str | None: ...

    @property
    def metadata(self) -> Mapping[str, str]: ...


@dataclasses.dataclass(frozen=True)
class Address:
    """An address that nova knows of a server.

    :ivar network: what the network is called, and its id
    :ivar floating: reachable from outside
    """

    address: str
    network: tuple[str, str]
    floating: bool = False


@dataclasses.dataclass(frozen=True)
class Reach:
    """What the databases say of the way to a guest.

    :ivar os_type: as its image says: linux, windows; None: it doesn't
    """

    addresses: tuple[Address, ...] = ()
    os_type: str | None = None


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
    config_file: str | None = None
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


def items(
    servers: Sequence[Server],
    request: Request,
    reach: Mapping[str, Reach] | None = None,
    attached: Sequence[Item] = (),
) -> Chosen:
    """What step 5 does with the servers that the plan brings back.

    :param reach: by UUID, of ``guest_reach.read``
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
        'config_file': request.config_file,
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
