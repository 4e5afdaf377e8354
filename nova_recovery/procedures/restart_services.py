# SPDX-License-Identifier: Apache-2.0

"""``host service restart``: nova-compute and libvirt, in their right order.

A starting nova-compute destroys the guests of all evacuations away from its
host that are not completed; it looks neither at where the server is by now nor
at whether that row is old (``_destroy_evacuated_instances`` in
nova/compute/manager.py). So that is asked before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery.cloud import clock
from nova_recovery.cloud.db import servers as servers_module
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.cloud.records import Server
from nova_recovery.engine import claiming
from nova_recovery.engine.plan import Gate, Item, Plan, Step
from nova_recovery.procedures import Procedure, reached
from nova_recovery.procedures.reached import Reached
from nova_recovery.procedures.uid import gates as uid_gates
from nova_recovery.procedures.uid import procedure as uid_procedure
from nova_recovery.procedures.uid.procedure import Service

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

NAME = 'host-service-restart'
#: Of an evacuation that a starting nova-compute acts on.
_ARMED = ('accepted', 'pre-migrating', 'done')


@dataclasses.dataclass(frozen=True)
class Request:
    """What the operator wants.

    :ivar libvirt: libvirt's services, too
    """

    hosts: tuple[str, ...]
    libvirt: bool = False

    @property
    def groups(self) -> list[str]:
        return ['nova', 'libvirt'] if self.libvirt else ['nova']


@dataclasses.dataclass(frozen=True)
class Rows:
    """What the cells have of the hosts.

    :ivar servers: of each host
    :ivar doomed: server -> the host whose nova-compute would destroy it
    :ivar unknown: why that is not known as a whole, lines
    """

    servers: Mapping[str, tuple[Server, ...]]
    doomed: Mapping[str, str]
    unknown: tuple[str, ...] = ()


def make_plan(cloud: Cloud, request: Request) -> Plan:
    """Ask the hosts and the databases, and decide.

    :raises ConfigError: no host can be reached
    """
    hosts = reached.read(
        cloud,
        request.hosts,
        ('services list', {'group': request.groups}),
        ('guests list', {}),
    )
    layouts = {
        host.name: cloud.fleet.identity(host.name).found['layout']
        for host in hosts
        if not host.problem
    }
    known = [host.name for host in hosts if not host.problem]
    served = uid_procedure.services_of(cloud, known)
    rows = read(cloud, known)
    home = cloud.conf.fleet.home
    return decide(request, hosts, layouts, served, rows, home, clock.now())


def read(cloud: Cloud, names: Collection[str]) -> Rows:
    """What the cells say."""
    known, unknown = reached.of_cells(cloud, lambda cell: of_cell(cell, names))
    servers: dict[str, list[Server]] = {}
    doomed: dict[str, str] = {}
    for own, some in known.values():
        doomed |= some
        for one in own:
            servers.setdefault(one.host or '', []).append(one)
    return Rows(
        {host: tuple(some) for host, some in servers.items()}, doomed, unknown
    )


def of_cell(
    cell: Database, names: Collection[str]
) -> tuple[list[Server], dict[str, str]]:
    """The servers of hosts, and those of them that a start would destroy."""
    with Reader.of(cell) as reader:
        live = [
            servers_module.server(row, cell.name, Server)
            for row in reader.select(
                'instances', servers_module.COLUMNS, 'host', names
            )
            # MySQL compares without regard to case or trailing blanks
            if row['host'] in names
        ]
        away = {
            (row['instance_uuid'], row['source_compute'])
            for row in reader.select(
                'migrations',
                (
                    'instance_uuid',
                    'source_compute',
                    'migration_type',
                    'status',
                ),
                'source_compute',
                names,
                # nova reads soft-deleted ones, too
                deleted=True,
            )
            if row['migration_type'] == 'evacuation'
            and row['status'] in _ARMED
        }
    return live, {
        one.uuid: str(one.host) for one in live if (one.uuid, one.host) in away
    }


def decide(
    request: Request,
    hosts: Sequence[Reached],
    layouts: Mapping[str, Mapping[str, Any]],
    served: Mapping[str, Service],
    rows: Rows,
    home: str,
    now: str = '',
) -> Plan:
    """The plan: stop, start, and wait until nova sees them."""
    known = [host for host in hosts if not host.problem]
    gates = [
        *reached.gates(hosts),
        *_of_guests(request, known, layouts),
        *_of_rows(rows, known),
        *uid_gates.of_services([served[host.name] for host in known]),
    ]
    running = {host.name: _running(host) for host in known}
    busy = [host for host in known if running[host.name]]
    idle = [host.name for host in known if not running[host.name]]
    number = len(busy)
    return Plan(
        procedure=NAME,
        title=f'restart the services of {number} host{"s" * (number != 1)}',
        arguments={'hosts': list(request.hosts), 'libvirt': request.libvirt},
        steps=_steps(request, busy, running, served, home) if busy else (),
        gates=tuple(gates),
        notes=tuple(
            f'{name}: nothing of it runs, so nothing is restarted'
            for name in idle
        ),
        created_at=now,
    )


def _running(host: Reached) -> list[str]:
    return [row['name'] for row in host.said[0]['services'] if row['runs']]


def _steps(
    request: Request,
    hosts: Sequence[Reached],
    running: Mapping[str, list[str]],
    served: Mapping[str, Service],
    home: str,
) -> tuple[Step, ...]:
    def each(kind: str) -> tuple[Item, ...]:
        return tuple(
            Item(
                f'{kind}:{host.name}',
                kind,
                f'host:{host.name}',
                host.name,
                {
                    'host': host.name,
                    'machine_id': host.machine_id,
                    'home': home,
                    'groups': request.groups,
                    'running': running[host.name],
                },
            )
            for host in hosts
        )

    claimed = [
        served[host.name] for host in hosts if not served[host.name].why_not
    ]
    seen = tuple(
        Item(
            f'see-service:{one.host}',
            'see-service',
            f'host:{one.host}',
            one.host,
            {'host': one.host, 'cell': one.cell, 'service_id': one.id},
        )
        for one in claimed
        if any(name.count('compute') for name in running[one.host])
    )
    steps = [
        Step('stop', 'stop services', each('stop-services'), failures=0),
        Step('start', 'start them as they were', each('start-services')),
    ]
    if seen:
        steps.append(Step('seen', 'wait until nova sees them', seen))
    items = [
        claiming.host(one.host, one.cell, one.id, dict(one.seen))
        for one in claimed
    ]
    if not items:
        return tuple(steps)
    claim, *others = claiming.around(items, steps)
    return dataclasses.replace(claim, failures=0), *others


def _of_guests(
    request: Request,
    hosts: Sequence[Reached],
    layouts: Mapping[str, Mapping[str, Any]],
) -> Iterator[Gate]:
    """A container of libvirt's takes the guests along."""
    for host in hosts:
        running = host.said[1]['processes']
        contained = layouts[host.name]['exec_prefix']
        if request.libvirt and contained and running:
            yield Gate(
                'no-guest-runs',
                host.name,
                'hard',
                'refused',
                f'libvirt is in a container ({layouts[host.name]["layout"]}), '
                f'and {len(running)} guests run, which may end with it',
                'leave --libvirt away, or move the guests first',
            )


def _of_rows(rows: Rows, hosts: Sequence[Reached]) -> Iterator[Gate]:
    if rows.unknown:
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
    for host in hosts:
        for one in rows.servers.get(host.name, ()):
            if one.uuid in rows.doomed:
                yield Gate(
                    'no-tombstone',
                    one.name or one.uuid,
                    'hard',
                    'refused',
                    f'an evacuation away from {host.name} is not completed: '
                    'its nova-compute would destroy the guest at its start',
                    'is the guest there? Then complete that row of migrations '
                    'first',
                )
            if one.task_state:
                yield Gate(
                    'no-task',
                    one.name or one.uuid,
                    'soft',
                    'refused',
                    f'its task is {one.task_state}: nova-compute of '
                    f'{host.name} may be at it',
                    'wait until it is done',
                )


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates as they are now; hosts that were begun have to answer."""
    request = Request(
        tuple(plan.arguments['hosts']), plan.arguments['libvirt']
    )
    if any(f'host:{name}' in touched for name in request.hosts):
        return tuple(reached.gates(reached.read(cloud, request.hosts)))
    return make_plan(cloud, request).gates


PROCEDURE = Procedure(
    NAME, make_plan, check, back=frozenset({'claim', 'stop'})
)
