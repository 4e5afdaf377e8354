# SPDX-License-Identifier: Apache-2.0

"""``host service restart``: nova-compute and libvirt, in their right order.

What a starting nova-compute would destroy is asked before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery.cloud import clock
from nova_recovery.engine import claiming
from nova_recovery.engine.plan import Gate, Item, Plan, Step
from nova_recovery.procedures import Procedure, reached, starts
from nova_recovery.procedures.reached import Reached
from nova_recovery.procedures.starts import Rows
from nova_recovery.procedures.uid import gates as uid_gates
from nova_recovery.procedures.uid import procedure as uid_procedure
from nova_recovery.procedures.uid.procedure import Service

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

NAME = 'host-service-restart'


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
    rows = starts.read(cloud, _guests(hosts))
    home = cloud.conf.fleet.home
    return decide(request, hosts, layouts, served, rows, home, clock.now())


def _guests(hosts: Sequence[Reached]) -> dict[str, frozenset[str]]:
    """Those that run on each host that answered."""
    return {
        host.name: starts.running(host.said[-1])
        for host in hosts
        if not host.problem
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
    running = {host.name: _running(host) for host in known}
    busy = [host for host in known if running[host.name]]
    idle = [host.name for host in known if not running[host.name]]
    number = len(busy)
    steps = _steps(request, busy, running, served, home) if busy else ()
    guests = _guests(hosts)
    started = {name: guests[name] for name in starts.hosts(steps)}
    gates = [
        *reached.gates(hosts),
        *_of_guests(request, known, layouts),
        *starts.gates(rows, started),
        *_of_tasks(rows, known),
        *uid_gates.of_services([served[host.name] for host in known]),
    ]
    return Plan(
        procedure=NAME,
        title=f'restart the services of {number} host{"s" * (number != 1)}',
        arguments={'hosts': list(request.hosts), 'libvirt': request.libvirt},
        steps=steps,
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


def _of_tasks(rows: Rows, hosts: Sequence[Reached]) -> Iterator[Gate]:
    for host in hosts:
        for one in rows.of(host.name):
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
    """The gates as they are now.

    A host that was begun has to answer, and its nova-compute is started: what
    that would destroy is asked again, of all that are left, begun or not.
    """
    request = Request(
        tuple(plan.arguments['hosts']), plan.arguments['libvirt']
    )
    if any(f'host:{name}' in touched for name in request.hosts):
        hosts = reached.read(cloud, request.hosts, ('guests list', {}))
        return (
            *reached.gates(hosts),
            *starts.left(plan, cloud, _guests(hosts)),
        )
    return make_plan(cloud, request).gates


PROCEDURE = Procedure(
    NAME, make_plan, check, back=frozenset({'claim', 'stop'})
)
