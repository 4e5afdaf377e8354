# SPDX-License-Identifier: Apache-2.0

"""What a nova-compute would destroy at its start, asked before one is started.

It destroys the guests that its hypervisor has of all evacuations away from
its host that are not completed; it looks neither at where the server is by now
nor at whether that row is old (``_destroy_evacuated_instances`` in
nova/compute/manager.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery import program
from nova_recovery.cloud.db import servers as servers_module
from nova_recovery.cloud.db import tombstones
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.cloud.records import Server
from nova_recovery.engine import overrides
from nova_recovery.engine.plan import Gate, Item, Plan, Step
from nova_recovery.exceptions import Conflict
from nova_recovery.procedures import reached

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

#: Host -> UUIDs of the guests that run there.
Guests = Mapping[str, Collection[str]]


@dataclasses.dataclass(frozen=True)
class Evacuation:
    """A row of ``migrations``, of the cell of that name."""

    id: int
    cell: str
    status: str
    target: str | None


#: (UUID, host) -> the evacuations away from there on which the nova-compute
#: of the host acts at its start.
Away = Mapping[tuple[str, str], tuple[Evacuation, ...]]


@dataclasses.dataclass(frozen=True)
class Rows:
    """What the cells have of hosts, and of the guests that run there.

    :ivar servers: live ones, by UUID
    :ivar unknown: why that is not known as a whole, lines
    """

    servers: Mapping[str, Server] = dataclasses.field(default_factory=dict)
    away: Away = dataclasses.field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    def of(self, host: str) -> list[Server]:
        """The servers that nova has on a host."""
        return [one for one in self.servers.values() if one.host == host]


def running(said: Mapping[str, Any]) -> frozenset[str]:
    """UUIDs of the guests that run, by libvirt and by processes.

    :param said: what the agent's ``guests list`` says
    """
    return frozenset(row['uuid'] for row in said.get('processes', ())) | {
        row['uuid'] for row in said.get('domains') or () if row['active']
    }


def hosts(steps: Iterable[Step]) -> list[str]:
    """Those whose nova-compute these steps start."""
    return [
        item.data['host']
        for step in steps
        for item in step.items
        if begins(item)
    ]


def begins(item: Item, undoing: bool = False) -> bool:
    """Whether it starts a nova-compute: so does taking back its stop.

    Of which nothing but libvirt's own units ran, it is left off.
    """
    kind = 'stop-services' if undoing else 'start-services'
    return item.kind == kind and not all(
        name.startswith(('libvirt', 'virt')) for name in item.data['running']
    )


def read(cloud: Cloud, guests: Guests) -> Rows:
    """What the cells say of these hosts and their guests."""
    known, unknown = reached.of_cells(
        cloud, lambda cell: of_cell(cell, guests)
    )
    servers: dict[str, Server] = {}
    away: dict[tuple[str, str], tuple[Evacuation, ...]] = {}
    for own, some in known.values():
        for uuid, one in own.items():
            # a resize to another cell has a hidden copy of the server there
            if not one.hidden or uuid not in servers:
                servers[uuid] = one
        for key, rows in some.items():
            away[key] = away.get(key, ()) + rows
    return Rows(servers, away, unknown)


def of_cell(cell: Database, guests: Guests) -> tuple[dict[str, Server], Away]:
    """The servers of hosts and of guests, and what ``Rows.away`` has."""
    away: dict[tuple[str, str], tuple[Evacuation, ...]] = {}
    with Reader.of(cell) as reader:
        for row in reader.select(
            'migrations',
            (
                'id',
                'instance_uuid',
                'source_compute',
                'dest_compute',
                'migration_type',
                'status',
            ),
            'source_compute',
            guests,
            # nova reads soft-deleted ones, too
            deleted=True,
        ):
            # MySQL compares without regard to case or trailing blanks
            if (
                row['source_compute'] in guests
                and row['migration_type'] == 'evacuation'
                and row['status'] in tombstones.ARMED
            ):
                key = row['instance_uuid'], row['source_compute']
                one = Evacuation(
                    row['id'], cell.name, row['status'], row['dest_compute']
                )
                away[key] = (*away.get(key, ()), one)
        # nova may have them elsewhere
        seen = {uuid for uuid, host in away if uuid in guests[host]}
        servers = {
            row['uuid']: servers_module.server(row, cell.name, Server)
            for by, values in (('uuid', seen), ('host', guests))
            for row in reader.select(
                'instances', servers_module.COLUMNS, by, values
            )
            if row['uuid'] in seen or row['host'] in guests
        }
    return servers, away


def gates(rows: Rows, guests: Guests) -> Iterator[Gate]:
    """Whether these hosts' nova-compute may start.

    :param guests: those whose nova-compute is to be started, and no others
    """
    if rows.unknown and guests:
        yield Gate(
            'no-tombstone',
            '',
            'soft',
            'unknown',
            'evacuations away from there are not known: '
            + '; '.join(rows.unknown),
            'a starting nova-compute destroys the guests of those that are '
            'not completed: make sure that there is none',
        )
    for host, running_there in guests.items():
        for one in rows.of(host):
            if (one.uuid, host) in rows.away:
                yield _of_its_own(one, host, rows.away[one.uuid, host])
        for uuid in sorted(running_there):
            server = rows.servers.get(uuid)
            if (uuid, host) not in rows.away:
                continue
            if server is None or server.host != host:
                yield _elsewhere(uuid, host, server)


def _of_its_own(
    server: Server, host: str, away: Collection[Evacuation]
) -> Gate:
    """A server that nova has on the host, and evacuates as well.

    Nova ends such a row by that very start alone, and no command of ours does:
    by hand then, once somebody has looked.
    """
    told = ', '.join(
        f'{one.id} to {one.target or "a host not chosen yet"}: {one.status}'
        for one in away
    )
    targets = sorted({one.target for one in away if one.target} - {host})
    show = program.call(f'server show {server.uuid}')
    look = program.call(f'guest check {" ".join([host, *targets])}')
    ways = [
        f'see that no task works on it, and where it runs:\n{show}\n{look}'
    ]
    for target in targets:
        adopt = program.call(f'server adopt {server.uuid} --host {target}')
        ways.append(f'if on {target}, while no run has {host}:\n{adopt}')
    ends = '\n'.join(
        f'in the database of {one.cell}:\n{_end(one)}' for one in away
    )
    ways.append(f'if on {host}, or nowhere, end that evacuation {ends}')
    return Gate(
        'no-tombstone',
        server.name or server.uuid,
        'hard',
        'refused',
        f'an evacuation away from {host} is not completed ({told}): its '
        'nova-compute would destroy the guest at its start',
        '\n'.join(ways),
    )


def _end(one: Evacuation) -> str:
    """What ends it, as it was seen.

    One that did not come to its end failed: "completed" would say that the
    guest is on its target (``whereabouts``).
    """
    end = 'completed' if one.status == 'done' else 'failed'
    return (
        # told, not sent; a status is one of nova's own
        f"UPDATE migrations SET status = '{end}' "  # nosec B608
        f"WHERE id = {one.id} AND status = '{one.status}';"
    )


def _elsewhere(uuid: str, host: str, server: Server | None) -> Gate:
    """A guest that was left behind, or the only one that there is."""
    home = (server and server.host) or ''
    look = program.call(f'guest check {host} {home}'.rstrip())
    adopt = program.call(f'server adopt {uuid} --host {host}')
    return Gate(
        'no-tombstone',
        (server and server.name) or uuid,
        'soft',
        'refused',
        f'it runs on {host}, nova has it on {home or "no host"}, and the '
        f'nova-compute of {host} would end it at its start, with its local '
        'disk',
        f'see what nova has of it:\n{look}'
        if server is None
        else f'see that it runs where nova has it:\n{look}\n'
        f'if it does not, this is the only one; have it on {host}:\n{adopt}',
    )


def left(plan: Plan, cloud: Cloud, guests: Guests) -> tuple[Gate, ...]:
    """The gates of what is left of a run: of all hosts still to be started.

    :param guests: of the hosts that answer; the others have a gate of theirs
    """
    started = {n: guests[n] for n in hosts(plan.steps) if n in guests}
    return tuple(gates(read(cloud, started), started)) if started else ()


def confirm(cloud: Cloud, item: Item, plan: Plan, again: str) -> None:
    """Return if the nova-compute of the item's host may start, or runs.

    Asked right before it is started: the gates may be hours old, and nobody
    asks them when a stop is taken back.

    :param plan: with the overrides that were given
    :param again: the command that tries it once more
    :raises Conflict: it would destroy a guest, or nobody can tell
    """
    host = item.data['host']
    (there,) = reached.read(
        cloud, [host], ('guests list', {}), ('services list', {'group': NOVA})
    )
    if there.problem:
        raise Conflict(
            f'which guests run on {host} is not known: '
            f'{there.problem}. Then: {again}'
        )
    guests, services = there.said
    rows = [row for row in services['services'] if 'compute' in row['name']]
    if any(row['runs'] for row in rows):
        return
    # systemd would pass it by, and say that it was started
    held = ' '.join(sorted({row['held'] for row in rows} - {''}))
    first = f' (rm {held} there first)' if held else ''
    found = {host: running(guests)}
    now = tuple(gates(read(cloud, found), found))
    for gate in overrides.as_approved(now, plan.gates):
        if gate.blocks and gate.name == 'no-tombstone':
            raise Conflict(
                f'nova-compute is not started: {gate.subject or "servers"}: '
                f'{gate.observed}; {gate.remedy}\nThen, or when you have '
                f'started it there yourself{first}: {again}'
            )


#: Of the services of a host, those of nova alone.
NOVA = ['nova']
