# SPDX-License-Identifier: Apache-2.0

"""Reboot guests from inside, each exactly once, apart from a disaster.

Step 5 by itself: the same items (see procedures.disaster.guests), for
servers that are named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
import dataclasses
from typing import TYPE_CHECKING

from nova_recovery.cloud import claims, clock
from nova_recovery.cloud.db.servers import list_servers
from nova_recovery.cloud.records import Server
from nova_recovery.engine.plan import Gate, Item, LeftOut, Plan, Step
from nova_recovery.exceptions import NotFound
from nova_recovery.procedures import gates as common_gates
from nova_recovery.procedures import Procedure
from nova_recovery.procedures.disaster.look import guest_reach
from nova_recovery.procedures.disaster.plan import guests
from nova_recovery.procedures.disaster.plan.guests import Reach, Request

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

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

    servers: tuple[Server, ...]
    metadata: dict[str, dict[str, str]]
    reach: dict[str, Reach]
    holders: dict[str, str]
    movers: dict[str, str]


def read(cloud: Cloud, found: Iterable[Server]) -> Situation:
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
        metadata |= guest_reach.metadata(database, own)
        movers |= claims.movers(database, own)
        if database.tables.has('tags'):
            for uuid in own:
                holder = claims.server_holder(database, uuid)
                if holder:
                    holders[uuid] = holder
    named = _named(servers, metadata)
    return Situation(
        servers, metadata, guest_reach.read(cloud, named), holders, movers
    )


def _named(
    servers: Iterable[Server], metadata: Mapping[str, dict[str, str]]
) -> list[Named]:
    return [
        Named(
            server.uuid,
            server.name,
            server.cell,
            server.host,
            server.project_id,
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


def _live(cloud: Cloud, uuids: Collection[str]) -> list[Server]:
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
    chosen = guests.items(
        _named(found.servers, found.metadata), request, found.reach
    )
    names = {server.uuid: server.name for server in found.servers}
    number = len(chosen.items)
    return Plan(
        procedure=NAME,
        title=f'reboot {number} guest{"s" * (number != 1)} from inside, '
        'each exactly once',
        arguments={**dataclasses.asdict(request), 'per_host': per_host},
        steps=(
            Step('claim', 'claim', _claims('claim-server', chosen.items)),
            Step(guests.NAME, guests.TITLE, chosen.items, {'host': per_host}),
            Step(
                'release',
                'give the claims back',
                _claims('release-server', chosen.items),
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
    uuids = {
        item.data['uuid'] for item in plan.items() if item.kind == guests.KIND
    }
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


def _claims(kind: str, items: Iterable[Item]) -> tuple[Item, ...]:
    return tuple(
        Item(
            id=f'{kind}:{item.data["uuid"]}',
            kind=kind,
            subject=f'server:{item.data["uuid"]}',
            label=item.label,
            data={'uuid': item.data['uuid'], 'cell': item.data['cell']},
            # kept while its guest is in doubt
            follows=(item.subject,),
        )
        for item in items
    )


PROCEDURE = Procedure(NAME, make_plan, check)
