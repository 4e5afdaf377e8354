# SPDX-License-Identifier: Apache-2.0

"""The items of a recovery: what exactly is done to each server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from nova_recovery.cloud import volume_protocols
from nova_recovery.engine import claiming
from nova_recovery.engine.plan import Item, Step
from nova_recovery.procedures.recover import ways
from nova_recovery.procedures.recover.situation import Host, Request, Situation
from nova_recovery.procedures.recover.ways import Assignment

JSON = dict[str, Any]
#: The row of a moved server until it is started: it makes os-start the
#: only way on, and survives a restart of the target's nova-compute, which
#: would plug and perhaps boot an ``active`` one.
PARKED = {'vm_state': 'stopped', 'power_state': 4, 'task_state': None}


def steps(
    request: Request, found: Situation, assigned: Iterable[Assignment]
) -> tuple[Step, ...]:
    """The steps in their order; those without items are left out."""
    assigned = [one for one in assigned if one.target in found.hosts]
    builder = Builder(request, found)
    evacuated = [a for a in assigned if a.method == ways.EVACUATE]
    moved = [a for a in assigned if a.method == ways.MOVE]
    dead = [found.hosts[name] for name in request.hosts]
    hosts = [host for host in dead if host.service_id is not None]
    # Where there is no service to claim, each server is claimed.
    single = [
        claiming.server(
            one.server.uuid,
            one.server.name or one.server.uuid,
            host.cell,
            source=host.name,
        )
        for one in assigned
        if (host := found.hosts[one.server.host]).service_id is None
    ]
    per_target = {'target': request.per_target}
    names = ', '.join(request.hosts)
    every = [
        Step(
            'claim', f'claim {names}', (*_all(builder.claim, hosts), *single)
        ),
        Step('fence', f'turn off {names}', _all(builder.fence, dead)),
        Step('force-down', f'force down {names}', _all(builder.down, hosts)),
        Step(
            'evacuate',
            'evacuate through nova',
            _all(builder.evacuate, evacuated),
            per_target,
        ),
        Step('lock', 'lock what is moved by hand', _all(builder.lock, moved)),
        Step(
            'allocation',
            'move their allocations',
            _all(builder.allocation, moved),
        ),
        Step(
            'record',
            'move their rows',
            _all(
                lambda one: builder.record(one, ways.unproven(one, found)),
                moved,
            ),
        ),
        Step('ports', 'bind their ports', _all(builder.ports, moved)),
        Step(
            'volumes',
            'connect their volumes anew',
            _all(builder.volumes, moved),
        ),
        Step(
            'start',
            'start those that ran',
            _all(builder.start, moved),
            per_target,
        ),
        Step('verify', 'verify', _all(builder.verify, assigned)),
        Step(
            'tombstones',
            'arm the tombstones of those whose guests run',
            _all(builder.arm, moved),
        ),
        Step('unlock', 'unlock', _all(builder.unlock, moved)),
        Step(
            'release',
            f'give the claim on {names} back',
            (
                *(
                    item
                    for host in hosts
                    for item in builder.release(host, assigned)
                ),
                *map(claiming.release, single),
            ),
        ),
    ]
    if not assigned:
        return ()
    return tuple(step for step in every if step.items)


def _all(
    build: Callable[[Any], list[Item]], subjects: Iterable[Any]
) -> tuple[Item, ...]:
    return tuple(item for one in subjects for item in build(one))


class Builder:
    """The items of a server or host; ``adopt`` uses most of them, too."""

    def __init__(self, request: Request, found: Situation) -> None:
        self._request = request
        self._found = found

    def _host_item(self, kind: str, host: Host, **data: Any) -> Item:
        return Item(
            id=f'{kind}:{host.name}',
            kind=kind,
            subject=f'host:{host.name}',
            label=host.name,
            data={
                'cell': host.cell,
                'host': host.name,
                'service_id': host.service_id,
                **data,
            },
        )

    def claim(self, host: Host) -> list[Item]:
        if host.service_id is None:
            return []
        seen = {
            'disabled': int(host.disabled),
            'disabled_reason': host.disabled_reason,
        }
        return [
            claiming.host(
                host.name, host.cell, host.service_id, seen, host.reports[1]
            )
        ]

    def fence(self, host: Host) -> list[Item]:
        if not (self._request.fence and host.fence == 'on'):
            return []
        return [self._host_item('fence-host', host)]

    def down(self, host: Host) -> list[Item]:
        return [self._host_item('force-down', host)]

    def release(self, host: Host, assigned: list[Assignment]) -> list[Item]:
        # Kept while any of its servers still has to be recovered.
        follows = tuple(
            one.server.subject
            for one in assigned
            if one.server.host == host.name
        )
        return [claiming.release(claim, follows) for claim in self.claim(host)]

    def item(
        self, kind: str, one: Assignment, part: str = '', **data: Any
    ) -> Item:
        server = one.server
        return Item(
            id=f'{kind}:{server.uuid}' + (f':{part}' if part else ''),
            kind=kind,
            subject=server.subject,
            label=server.name,
            data={
                'uuid': server.uuid,
                'cell': server.cell,
                'source': server.host,
                'target': one.target,
                **data,
            },
            follows=(f'host:{server.host}',),
        )

    def _once(self, kind: str, one: Assignment, **data: Any) -> Item:
        return self.item(
            kind,
            one,
            settle=self._request.settle,
            patience=self._request.patience,
            **data,
        )

    def evacuate(self, one: Assignment) -> list[Item]:
        return [
            self._once(
                'evacuate-server', one, task_state=one.server.task_state
            )
        ]

    def lock(self, one: Assignment) -> list[Item]:
        if one.server.locked:
            return []
        return [self.item('lock-server', one, why=one.why)]

    def unlock(self, one: Assignment) -> list[Item]:
        if one.server.locked:
            return []
        return [self.item('unlock-server', one)]

    def allocation(self, one: Assignment) -> list[Item]:
        held = one.server.allocations
        if held is None or len(held) != 1:
            # A gate refuses such a plan; it can still be read.
            return []
        source, resources = next(iter(held.items()))
        return [
            self.item(
                'move-allocation',
                one,
                source_provider=source,
                target_provider=self.provider(one.target),
                resources=resources,
            )
        ]

    def record(self, one: Assignment, later: bool = False) -> list[Item]:
        """:param later: the tombstone is armed later, see ``arm``"""
        server, host = one.server, self._found.hosts[one.target or '']
        node = host.nodes[0] if host.nodes else None
        target = {
            'host': host.name,
            'node': node.name if node else None,
            'host_ip': node.host_ip if node else None,
            'compute_id': node.id if node else None,
        }
        seen = {
            'host': server.host,
            'node': server.node,
            'availability_zone': server.zone,
            'vm_state': server.vm_state,
            'power_state': server.power_state,
            'task_state': server.task_state,
        }
        values = {
            'host': target['host'],
            'node': target['node'],
            'availability_zone': host.zone or server.zone,
            **PARKED,
        }
        if server.compute_id is not None:
            # From 28.0 on: the id of the compute node's row.
            seen['compute_id'] = server.compute_id
            values['compute_id'] = target['compute_id']
        item = self.item(
            'move-record',
            one,
            seen=seen,
            values=values,
            disarm=server.armed.get(host.name, []),
        )
        item.data['source'] = {'host': server.host, 'node': server.node}
        item.data['target'] = target
        if later:
            item.data['later'] = True
        return [item]

    def arm(self, one: Assignment) -> list[Item]:
        """One that was not started was not seen to have its disk, either."""
        if not ways.unproven(one, self._found) or not one.server.runs:
            return []
        return [self.item('arm-tombstone', one)]

    def ports(self, one: Assignment) -> list[Item]:
        zone = self._found.hosts[one.target or ''].zone or ''
        return [
            self.item(
                'bind-port',
                one,
                port.id,
                port=port.id,
                address=port.address,
                zone=zone,
            )
            for port in one.server.ports or ()
        ]

    def volumes(self, one: Assignment) -> list[Item]:
        return [
            self.item(
                'reconnect-volume',
                one,
                volume.id,
                volume=volume.id,
                mapping=volume.mapping,
                attachment=volume.attachment,
                device=volume.device,
                mode=volume.mode,
                protocol=volume.protocol,
                connector=ways.connector(
                    self._found.hosts[one.target or ''], self._request
                ),
                source_connector=volume.source_connector,
            )
            for volume in one.server.volumes
            if volume_protocols.host_bound(volume.protocol or '')
        ]

    def start(self, one: Assignment) -> list[Item]:
        return [self._once('start-server', one)] if one.server.runs else []

    def verify(self, one: Assignment) -> list[Item]:
        server = one.server
        runs = server.runs
        if one.method == ways.EVACUATE:
            # nova makes an active server of one that was in error.
            runs = server.vm_state != 'stopped'
        host = self._found.hosts[one.target or '']
        return [
            self.item(
                'verify-server',
                one,
                running=runs,
                node=host.nodes[0].name if host.nodes else None,
                provider=self.provider(one.target),
                source_provider=self.provider(server.host),
                volumes=[volume.id for volume in server.volumes],
            )
        ]

    def provider(self, host: str | None) -> str | None:
        """The resource provider of a host, None where it has no node."""
        nodes = self._found.hosts[host or ''].nodes
        return nodes[0].uuid if nodes else None
