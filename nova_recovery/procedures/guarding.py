# SPDX-License-Identifier: Apache-2.0

"""The claims of a plan, looked at again before each change.

So is the silence of a host that was claimed as a dead one: when it comes back
in the middle of a run, its guests would be started on two hosts. What is
still there stays there, and the run is closed for it; what was moved off goes
on, once the host has cleaned up its copy. Not asked on the way back: that
starts nothing, and what it returns was the host's.

And before a guest is started: has somebody begun to move it since the gates
were asked where it may run? And before a nova-compute is, on either way: would
it destroy a guest?
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from nova_recovery import program
from nova_recovery.cloud import claims
from nova_recovery.cloud.db import services, tombstones
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.engine import claiming
from nova_recovery.engine.change import Guard
from nova_recovery.engine.plan import Item, Plan
from nova_recovery.exceptions import ClaimLost, Closed, Conflict
from nova_recovery.procedures import starts, whereabouts

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.cloud.db.database import Database


def guard(
    plan: Plan, cloud: Cloud, marker: str, undoing: bool
) -> Guard | None:
    """See ``procedures.guard``."""
    claimed = claiming.claims(plan)
    if not claimed and not any(
        starts.begins(item, undoing) for item in plan.items()
    ):
        return None

    started = [item for item in plan.items() if item.kind in STARTS]
    marks = {} if undoing else _marks(cloud, started)
    overridden = {
        gate.subject
        for gate in plan.gates
        if gate.name == 'not-moved-now' and gate.state == 'overridden'
    }

    def confirm(item: Item) -> None:
        if item.kind in claiming.KINDS:
            # they look for themselves
            return
        if item.kind in STARTS and not undoing:
            _stays(cloud, item, marks[item.data['cell']])
        if starts.begins(item, undoing):
            way = 'run undo' if undoing else 'run resume'
            again = program.call(f'{way} {claims.run_of(marker)}')
            starts.confirm(cloud, item, plan, again)
        for claim in _around(item, claimed):
            if claim.label not in overridden:
                _alone(cloud, claim, marker, claim.subject in claimed)
        # the last, so that the least time passes until it is sent
        for subject in (item.subject, *item.follows):
            if subject in claimed:
                _confirm(cloud, claimed[subject], marker, undoing, item)

    return confirm


#: What starts a guest.
STARTS = frozenset(
    {'evacuate-server', 'reboot-server', 'restart-server', 'start-server'}
)


def _marks(cloud: Cloud, items: Iterable[Item]) -> dict[str, int]:
    """The newest migration of each cell: of those up to it gates ask.

    As it was when they began to ask: until the run is agreed to and begins,
    others may have begun to move a server.
    """
    found = {}
    for cell in {str(item.data['cell']) for item in items}:
        database = cloud.databases.cell(cell)
        with Reader.of(database) as reader:
            newest = int(reader.highest('migrations') or 0)
        found[cell] = database.seen.get('migrations', newest)
    return found


def _stays(cloud: Cloud, item: Item, mark: int) -> None:
    """Return if nobody has begun to move the server since.

    One query by index. Its allocations and a hypervisor are asked by gates
    only: nova writes a row before it touches either. One that failed is as
    bad, where nova also says that of a guest that was started.

    :raises Conflict: somebody has; only this server is kept back
    """
    database = cloud.databases.cell(item.data['cell'])
    if not database.tables.has('migrations', 'migration_type'):
        return
    table = database.tables['migrations'].c
    with Reader.of(database) as reader:
        for row in reader.select(
            'migrations',
            ('migration_type', 'status', 'source_compute', 'dest_compute'),
            'instance_uuid',
            [item.data['uuid']],
            table.id > mark,
        ):
            if whereabouts.harmless(row['migration_type'], row['status']):
                continue
            raise Conflict(
                f'somebody moves it: its {row["migration_type"]} '
                f'{row["source_compute"]} -> {row["dest_compute"]} is '
                f'{row["status"]}. See it through, and resume; or leave the '
                'server out with '
                + program.call(f'run resume RUN --skip {item.label}=REASON')
            )


def _confirm(
    cloud: Cloud, claim: Item, marker: str, undoing: bool, item: Item
) -> None:
    """The claim is there, and ours.

    :raises ClaimLost: nobody but an administrator takes one off, so that the
        run is somebody else's by now, or nobody's
    """
    database = cloud.databases.cell(claim.data['cell'])
    if claim.kind == claiming.SERVER:
        held = claims.server_holder(database, claim.data['uuid'])
        if held != marker:
            how = 'somebody took it'
            if held:
                how = f'it is claimed by {held}'
            elif claims.archived(database, claim.data['uuid'], marker):
                how = (
                    'nova-manage db archive_deleted_rows --task-log took it '
                    'away, which must not run beside us'
                )
            raise ClaimLost(
                f'the claim on server {claim.label} is gone: {how}{_OVER}'
            )
        source = claim.data.get('source')
        if source and not undoing:
            # Nothing told whether it lives; its nova-compute makes itself a
            # new row as soon as it starts.
            if services.compute_services(database, source):
                _came_back(database, source, marker, item)
        return
    row = claims.service_row(database, claim.data['service_id'])
    reason = row['disabled_reason']
    back = (
        claiming.silent(claim)
        and row['report_count'] != claim.data['report_count']
    )
    # Whoever puts a host that came back to use takes the claim off with it.
    if reason != marker and not (back and claims.holder(reason) is None):
        raise ClaimLost(
            f'the claim on {claim.label} is gone; its nova-compute is now '
            f'disabled because: {reason}{_OVER}'
        )
    if back and not undoing:
        _came_back(database, claim.label, marker, item)


def _came_back(database: Database, host: str, marker: str, item: Item) -> None:
    """The dead host is alive: what of it may still go on.

    :raises Closed: the server is on it, or there is none
    :raises Conflict: it was moved off, and the host has not cleaned up
    """
    kind, _, uuid = item.subject.partition(':')
    if item.kind in claiming.GIVES_BACK:
        return
    there, status = (
        tombstones.after(database, uuid, host)
        if kind == 'server'
        else (host, None)
    )
    if there is None:
        # deleted: whoever looks at it says so
        return
    if there == host:
        raise Closed(
            f'{host} is alive again, and it is still there: left as it is',
            then=ways_on(host),
        )
    run = claims.run_of(marker)
    if status == tombstones.UNARMED and item.kind not in ENDS:
        raise Conflict(
            f'{host} is alive again and keeps its copy, which may run; take '
            f'the move back: {program.call(f"run undo {run}")}'
        )
    if status in tombstones.ARMED:
        raise Conflict(
            f'{host} is alive again and has not cleaned up its copy, which '
            f'may run: restart nova-compute there, then '
            f'{program.call(f"run resume {run}")}; or take the move back: '
            + program.call(f'run undo {run}')
        )


#: What a move comes to once its guest was started: the host is made to clean
#: up, alive or not.
ENDS = frozenset({'verify-server', 'arm-tombstone'})


def ways_on(host: str) -> tuple[str, ...]:
    """What to do with a host that came back, one line each."""
    return (
        f'{host} is alive again, and what was not moved stays there.',
        'Put it to use once its nova-compute has started anew and cleaned up:',
        f'  openstack compute service set --up {host} nova-compute',
        f'  openstack compute service set --enable {host} nova-compute',
        'If it dies again, what is still there is a new recovery:',
        '  ' + program.call(f'host recover {host}'),
    )


#: The way on of a run without its claims.
_OVER = (
    '. A run that was taken over goes on there; else end this one '
    f'({program.call("run abandon RUN")} --reason WHY) and make a new plan'
)


def _around(item: Item, claimed: Mapping[str, Item]) -> Iterator[Item]:
    """The servers of an item, each as the item that would claim it."""
    found = {}
    for subject in (item.subject, *item.follows):
        claim = claimed.get(subject)
        if claim is not None and claim.kind == claiming.SERVER:
            found[claim.data['uuid']] = claim
    uuid = item.data.get('uuid')
    if uuid and 'cell' in item.data and uuid not in found:
        found[uuid] = claiming.server(uuid, item.label, item.data['cell'])
    yield from found.values()


def _alone(cloud: Cloud, claim: Item, marker: str, own: bool) -> None:
    """Nobody works on the server by the other kind of claim.

    A run that has its host and one that has the server alone write their
    claims in two places. Each writes, then looks, so that of two at once at
    least one sees the other.

    :param own: the server has a claim of its own, which is looked at next
    :raises Conflict: somebody does; nothing more is done to this server
    """
    uuid = claim.data['uuid']
    database = cloud.databases.cell(claim.data['cell'])
    others = {
        held
        for held in (
            None if own else claims.server_holder(database, uuid),
            claims.under_hosts(database, [uuid]).get(uuid),
        )
        # one that was taken over is told as that
        if held and claims.run_of(held) != claims.run_of(marker)
    }
    if others:
        raise Conflict(
            f'another run works on server {claim.label}: '
            f'{", ".join(sorted(others))}; nothing more is done to it here. '
            'When that run is over, go on with '
            f'{program.call("run resume RUN")}'
        )
