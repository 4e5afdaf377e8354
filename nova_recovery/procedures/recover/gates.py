# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""What must hold before a recovery may begin.

Pure functions of the situation and of what is planned. Unknown refuses.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
import datetime

from nova_recovery.cloud import claims
from nova_recovery.cloud import volume_protocols
from nova_recovery.engine.plan import Gate
from nova_recovery.procedures.recover import obstacles
from nova_recovery.procedures.recover import situation
from nova_recovery.procedures.recover import targets

OK, REFUSED, UNKNOWN = 'ok', 'refused', 'unknown'


def check(
    request: situation.Request,
    found: situation.Situation,
    assigned: Iterable[targets.Assignment],
) -> tuple[Gate, ...]:
    """All gates: of the cloud, the dead hosts, the targets, the servers."""
    assigned = list(assigned)
    gates = [*_cloud(found)]
    for name in request.hosts:
        gates.extend(_source(found.hosts[name], request, found))
    gates.extend(_many_dead(request, found))
    for name in sorted({a.target for a in assigned if a.target}):
        gates.extend(_target(name, request, found, assigned))
    for one in assigned:
        gates.extend(_server(one, request, found))
    return tuple(gates)


def _cloud(found: situation.Situation) -> Iterator[Gate]:
    if found.unreachable:
        why = '; '.join(f'{k}: {v}' for k, v in found.unreachable.items())
        yield Gate(
            'apis-reachable',
            '',
            'hard',
            UNKNOWN,
            why,
            'the plan can be read without them, but not carried out',
        )
    else:
        versions = ', '.join(f'{k} {v}' for k, v in found.apis.items())
        yield Gate('apis-reachable', '', 'hard', OK, versions)
    if not found.modern:
        yield Gate(
            'schema-modern',
            '',
            'hard',
            REFUSED,
            'these databases are older than cells and placement',
            'print the statements with --sql and run them by hand',
        )
    for cell, why in found.unknown_cells.items():
        yield Gate('cell-known', cell, 'advice', UNKNOWN, why)


def _source(
    host: situation.Host,
    request: situation.Request,
    found: situation.Situation,
) -> Iterator[Gate]:
    yield _silent(host, found)
    yield _fenced(host, request)
    holder = claims.holder(host.disabled_reason)
    if holder:
        yield Gate(
            'source-unclaimed',
            host.name,
            'soft',
            REFUSED,
            f'claimed: {holder}',
            'go on with that run (run resume), or take it over where its '
            'controller is lost (run take over). Only where its journal is '
            'lost as well and nothing carries it out any more: --override',
        )


def _silent(host: situation.Host, found: situation.Situation) -> Gate:
    """The report count tells; a heartbeat's age depends on two clocks."""
    last = ''
    if host.heartbeat_age is not None:
        last = f'; last heartbeat {age(host.heartbeat_age)}'
    if not host.silent:
        return Gate(
            'source-silent',
            host.name,
            'hard',
            REFUSED,
            f'its nova-compute is alive: report count {host.reports[0]} -> '
            f'{host.reports[1]} within {host.apart:.0f} s{last}',
            'stop nova-compute there first, or use openstack server migrate',
        )
    if host.apart < found.reports_apart:
        return Gate(
            'source-silent',
            host.name,
            'hard',
            UNKNOWN,
            f'watched for only {host.apart:.0f} s',
        )
    return Gate(
        'source-silent',
        host.name,
        'hard',
        OK,
        f'report count stood still at {host.reports[1]} for '
        f'{host.apart:.0f} s{last}',
    )


def age(seconds: float) -> str:
    """A heartbeat's age in words, by the clock of the database."""
    if seconds < 0:
        return f'{_span(-seconds)} in the future: some clock is wrong'
    return f'{_span(seconds)} ago'


def _span(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))


def _fenced(host: situation.Host, request: situation.Request) -> Gate:
    if host.fence == 'off':
        return Gate(
            'source-fenced', host.name, 'soft', OK, host.fence_detail
        )
    if host.fence == 'on' and request.fence:
        return Gate(
            'source-fenced',
            host.name,
            'soft',
            OK,
            'on; will be turned off by the fencing driver',
        )
    if host.fence == 'on':
        return Gate(
            'source-fenced',
            host.name,
            'hard',
            REFUSED,
            host.fence_detail,
            'turn it off, or let --fence do it: its guests may still run',
        )
    return Gate(
        'source-fenced',
        host.name,
        'soft',
        UNKNOWN,
        host.fence_detail,
        'a silent nova-compute proves nothing about the guests beside it. '
        'Turn the host off and say so with --fenced "HOW", or configure '
        '[fencing]',
    )


def _many_dead(
    request: situation.Request, found: situation.Situation
) -> Iterator[Gate]:
    """Many silent computes are a broken message bus, not dead hosts."""
    for cell in sorted({found.hosts[name].cell for name in request.hosts}):
        hosts = [h for h in found.hosts.values() if h.cell == cell]
        # A host that somebody took out of service is known to be dead.
        dead = sorted(
            host.name
            for host in hosts
            if host.silent
            and (
                host.name in request.hosts
                or not (host.disabled or host.forced_down)
            )
        )
        words = f'{len(dead)} of {len(hosts)} computes are silent'
        if len(dead) > max(1.0, len(hosts) / 5):
            yield Gate(
                'cell-alive',
                cell,
                'soft',
                REFUSED,
                f'{words}: {", ".join(dead[:10])}',
                'more than a fifth: look at the message bus, the conductor '
                'and the database of the cell first',
            )
        else:
            yield Gate('cell-alive', cell, 'soft', OK, words)


def _target(
    name: str,
    request: situation.Request,
    found: situation.Situation,
    assigned: list[targets.Assignment],
) -> Iterator[Gate]:
    host = found.hosts.get(name)
    if host is None:
        yield Gate(
            'target-ready', name, 'hard', REFUSED, 'nova has no such host'
        )
        return
    against = list(_unready(host, request))
    if against:
        yield Gate(
            'target-ready',
            name,
            'hard',
            REFUSED,
            '; '.join(against),
            'choose another with --target-host or --target-for',
        )
    elif host.api_state is None:
        yield Gate(
            'target-ready', name, 'hard', UNKNOWN, 'nova was not asked'
        )
    else:
        yield Gate('target-ready', name, 'hard', OK, 'up and enabled')
    yield _capacity(host, assigned)


def _unready(
    host: situation.Host, request: situation.Request
) -> Iterator[str]:
    if host.name in request.hosts:
        yield 'it is one of the dead hosts'
    if host.disabled:
        yield f'disabled: {host.disabled_reason or "no reason given"}'
    if host.forced_down:
        yield 'forced down'
    if host.api_state == 'down':
        yield 'nova says that it is down'
    if host.silent:
        yield f'its report count stands still for {host.apart:.0f} s'
    if len(host.nodes) != 1:
        yield f'it has {len(host.nodes)} compute nodes'
    if any(node.hypervisor_type == 'ironic' for node in host.nodes):
        yield 'it is ironic'


def _capacity(
    host: situation.Host, assigned: list[targets.Assignment]
) -> Gate:
    wanted: dict[str, int] = {}
    for one in assigned:
        if one.target == host.name:
            for name, amount in targets.needs(one.server).items():
                wanted[name] = wanted.get(name, 0) + amount
    if host.free is None:
        return Gate(
            'capacity', host.name, 'hard', UNKNOWN, 'placement was not asked'
        )
    free = host.free
    words = (
        f'needs {_resources(wanted)}; free '
        f'{_resources({k: free.get(k, 0) for k in wanted})}'
    )
    short = [k for k, v in wanted.items() if free.get(k, 0) < v]
    if short:
        return Gate(
            'capacity',
            host.name,
            'hard',
            REFUSED,
            f'{words}: not enough {", ".join(sorted(short))}',
            'spread the servers with --target-for, or leave some out with '
            '--exclude',
        )
    return Gate('capacity', host.name, 'hard', OK, words)


def _resources(amounts: dict[str, int]) -> str:
    return (
        ', '.join(f'{name} {amounts[name]}' for name in sorted(amounts))
        or 'nothing'
    )


def _server(
    one: targets.Assignment,
    request: situation.Request,
    found: situation.Situation,
) -> Iterator[Gate]:
    """What refuses for one server; what is in order is not worth a line."""
    server, label = one.server, found.label(one.server)
    leave_out = f'leave it out with --exclude {label}'
    target = found.hosts.get(one.target or '')
    if one.target is None:
        yield Gate(
            'target-ready',
            label,
            'hard',
            REFUSED,
            f'no host has room for {_resources(targets.needs(server))}',
            f'name one with --target-for {label}=HOST, or {leave_out}',
        )
    elif target is not None and target.cell != server.cell:
        yield Gate(
            'same-cell',
            label,
            'hard',
            REFUSED,
            f'{target.name} is in {target.cell}, the server in {server.cell}',
            f'choose a host of {server.cell}',
        )
    yield from _method(one, found, label, leave_out)
    lost = obstacles.disks(server, one.method)
    if lost and not request.shared_storage:
        yield Gate(
            'disk-reachable',
            label,
            'soft',
            UNKNOWN if request.shared_storage is None else REFUSED,
            f'{lost} of {server.host}',
            'if the targets see the same directory or Ceph pool, say so with '
            f'--shared-storage; else {leave_out}, or accept '
            + (
                'a rebuild from its image'
                if one.method == targets.EVACUATE
                else 'that it may not start'
            )
            + ' with --override',
        )
    if server.task_state:
        yield Gate(
            'nothing-queued',
            label,
            'soft',
            REFUSED,
            f'its task is {server.task_state}: the request waits in the '
            f'message bus and is carried out when {server.host} returns',
            f'purge the queue compute.{server.host} before the host '
            f'returns, then --override; or {leave_out}',
        )
    if target is not None:
        yield from _guest_on_target(one, target, label)
    if one.method == targets.MOVE:
        yield from _moved(one, target, request, label, leave_out)


def _method(
    one: targets.Assignment,
    found: situation.Situation,
    label: str,
    leave_out: str,
) -> Iterator[Gate]:
    server = one.server
    if one.method == targets.EVACUATE:
        name = 'evacuable'
        why = obstacles.to_evacuate(server, found.evacuates_with_task)
        other = 'take --method auto'
    else:
        name = 'movable'
        why = obstacles.to_move(server)
        other = ''
        if not obstacles.to_evacuate(server, found.evacuates_with_task):
            other = 'nova can evacuate it: take --method auto'
    if why:
        yield Gate(
            name,
            label,
            'hard',
            REFUSED,
            '; '.join(why),
            f'{other}, or {leave_out}' if other else leave_out,
        )
    elif one.method == targets.MOVE and (
        server.allocations is None or server.ports is None
    ):
        yield Gate(
            name,
            label,
            'hard',
            UNKNOWN,
            'placement or neutron was not asked',
        )


def _guest_on_target(
    one: targets.Assignment, target: situation.Host, label: str
) -> Iterator[Gate]:
    server = one.server
    providers = {node.uuid for node in target.nodes}
    if providers & set(server.allocations or {}):
        yield Gate(
            'guest-not-on-target',
            label,
            'hard',
            REFUSED,
            f'placement has it on {target.name} too: an evacuation or a '
            'migration to there is not finished',
            f'look whether its guest runs on {target.name}, then choose '
            'another target',
        )
    elif one.method == targets.EVACUATE and server.armed.get(target.name):
        yield Gate(
            'guest-not-on-target',
            label,
            'hard',
            REFUSED,
            f'it was evacuated from {target.name} before, which has not '
            'cleaned up after itself: nova would find the old guest there',
            f'restart nova-compute on {target.name}, or choose another '
            'target',
        )


def _moved(
    one: targets.Assignment,
    target: situation.Host | None,
    request: situation.Request,
    label: str,
    leave_out: str,
) -> Iterator[Gate]:
    server = one.server
    if server.vm_state == 'suspended':
        yield Gate(
            'memory-kept',
            label,
            'soft',
            REFUSED,
            f'its memory was saved on {server.host} and is lost; it will '
            'be stopped',
            f'{leave_out}, or accept that with --override',
        )
    if target is None:
        return
    bound = [
        volume.id
        for volume in server.volumes
        if volume_protocols.host_bound(volume.protocol or '')
    ]
    if bound and not targets.connector(target, request):
        yield Gate(
            'volumes-connectable',
            label,
            'hard',
            UNKNOWN,
            f'how {target.name} connects to volumes is not known, and '
            f'{len(bound)} of its volumes must be connected anew',
            f'run "nova-manage volume_attachment get_connector --json" on '
            f'{target.name} and give its output with '
            f'--connector {target.name}=FILE',
        )
    against = list(_zone_and_group(server, target))
    if against:
        yield Gate(
            'zone-and-group',
            label,
            'soft',
            REFUSED,
            '; '.join(against),
            f'choose another target with --target-for {label}=HOST',
        )


def _zone_and_group(
    server: situation.Server, target: situation.Host
) -> Iterator[str]:
    """What the scheduler would mind; a move doesn't ask it."""
    if server.pinned_zone not in (None, target.zone):
        yield (
            f'it was asked for in zone {server.pinned_zone}, '
            f'{target.name} is in {target.zone}'
        )
    if server.group:
        others = server.group['hosts']
        policy = server.group['policy']
        if policy == 'anti-affinity' and target.name in others:
            yield f'a member of its anti-affinity group is on {target.name}'
        if policy == 'affinity' and others and target.name not in others:
            yield (
                f'its affinity group is on {", ".join(sorted(set(others)))}'
            )
