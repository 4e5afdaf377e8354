# SPDX-License-Identifier: Apache-2.0

"""What must hold for each server; what is in order is not worth a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from nova_recovery.cloud import volume_protocols
from nova_recovery.engine.plan import Gate
from nova_recovery.procedures.recover import obstacles, targets
from nova_recovery.procedures.recover.situation import Host, Request, Situation
from nova_recovery.procedures.recover.targets import Assignment

REFUSED, UNKNOWN = 'refused', 'unknown'


def check(
    assigned: Iterable[Assignment], request: Request, found: Situation
) -> Iterator[Gate]:
    """The gates of these servers that aren't passed."""
    assigned = list(assigned)
    placed = {a.server.uuid: a.target for a in assigned if a.target}
    for one in assigned:
        yield from _Server(one, request, found, placed).gates()


class _Server:
    """A server of the plan, with what is asked about it."""

    def __init__(
        self,
        one: Assignment,
        request: Request,
        found: Situation,
        placed: Mapping[str, str],
    ) -> None:
        self.one, self.server = one, one.server
        self.request, self.found, self.placed = request, found, placed
        self.moved = one.method == targets.MOVE
        self.target = found.hosts.get(one.target or '')
        self.label = found.label(one.server)
        self.leave_out = f'leave it out with --exclude {self.label}'
        self.elsewhere = (
            f'choose another target with --target-for {self.label}=HOST'
        )

    def gates(self) -> Iterator[Gate]:
        yield from self._place()
        yield from self._method()
        yield from self._disks()
        yield from self._queue()
        yield from self._keys()
        yield from self._memory()
        if self.target is not None:
            yield from self._guest_on(self.target)
            yield from self._connections(self.target)
            yield from self._company(self.target)

    def _gate(
        self, name: str, klass: str, state: str, observed: str, remedy: str
    ) -> Gate:
        return Gate(name, self.label, klass, state, observed, remedy)

    def _place(self) -> Iterator[Gate]:
        server, target = self.server, self.target
        if self.one.target is None:
            wanted = targets.resources(targets.needs(server))
            zone = server.pinned_zone
            of_zone = f' of zone {zone}' if zone else ''
            state = REFUSED
            why = f'no usable host{of_zone} has room for {wanted}'
            if server.allocations is None:
                state, why = UNKNOWN, 'placement was not asked for room'
            elif not server.allocations:
                why = 'placement does not know what room it needs'
            yield self._gate(
                'target-ready',
                'hard',
                state,
                why,
                f'name one with --target-for {self.label}=HOST, or '
                f'{self.leave_out}',
            )
        elif target is not None and target.cell != server.cell:
            yield self._gate(
                'same-cell',
                'hard',
                REFUSED,
                f'{target.name} is in {target.cell}, the server in '
                f'{server.cell}',
                f'choose a host of {server.cell}',
            )

    def _method(self) -> Iterator[Gate]:
        server = self.server
        to_evacuate = obstacles.to_evacuate(
            server, self.found.evacuates_with_task
        )
        name, why = 'evacuable', to_evacuate
        remedy = f'take --method auto, or {self.leave_out}'
        if self.moved:
            name, why = 'movable', obstacles.to_move(server)
            remedy = self.leave_out
            if not to_evacuate:
                remedy = f'take --method auto: nova evacuates it; or {remedy}'
        if why:
            yield self._gate(name, 'hard', REFUSED, '; '.join(why), remedy)
        elif self.moved and (
            server.allocations is None or server.ports is None
        ):
            yield self._gate(
                name, 'hard', UNKNOWN, 'placement or neutron was not asked', ''
            )

    def _disks(self) -> Iterator[Gate]:
        lost = obstacles.disks(self.server, self.one.method)
        shared = self.request.shared_storage
        if lost and not shared:
            yield self._gate(
                'disk-reachable',
                'soft',
                UNKNOWN if shared is None else REFUSED,
                f'{lost} of {self.server.host}',
                'if the targets see the same directory or Ceph pool, say so '
                f'with --shared-storage; else {self.leave_out}, or accept '
                + (
                    'that it may not start'
                    if self.moved
                    else 'a rebuild from its image, without its data'
                ),
            )

    def _queue(self) -> Iterator[Gate]:
        server = self.server
        if server.task_state:
            yield self._gate(
                'nothing-queued',
                'soft',
                REFUSED,
                f'its task is {server.task_state}: the request waits in the '
                f'message bus and is carried out when {server.host} returns',
                f'{self.leave_out}, or purge the queue '
                f'compute.{server.host} before the host returns',
            )

    def _keys(self) -> Iterator[Gate]:
        """Barbican gives a key to its owner, not to every administrator."""
        encrypted = [v.id for v in self.server.volumes if v.encrypted]
        if encrypted and not self.moved:
            yield self._gate(
                'keys-readable',
                'soft',
                UNKNOWN,
                f'volume {", ".join(encrypted)} is encrypted: nova asks for '
                'the key with the token of whoever evacuates',
                f'{self.leave_out}, or make sure that your account may read '
                'its keys',
            )

    def _memory(self) -> Iterator[Gate]:
        if self.moved and self.server.vm_state == 'suspended':
            yield self._gate(
                'memory-kept',
                'soft',
                REFUSED,
                f'its memory was saved on {self.server.host} and is lost; it '
                'will be stopped',
                self.leave_out,
            )

    def _guest_on(self, target: Host) -> Iterator[Gate]:
        allocated, left = targets.guest_on(self.server, target)
        if allocated:
            yield self._gate(
                'guest-not-on-target',
                'hard',
                REFUSED,
                f'placement has it on {target.name} too: an evacuation or a '
                'migration to there is not finished',
                f'look whether its guest runs on {target.name}, then '
                f'{self.elsewhere}',
            )
        elif left and not self.moved:
            # A move disarms it.
            yield self._gate(
                'guest-not-on-target',
                'hard',
                REFUSED,
                f'it was evacuated from {target.name} before, which has not '
                'cleaned up after itself: nova would find the old guest '
                'there',
                f'restart nova-compute on {target.name}, or {self.elsewhere}',
            )

    def _connections(self, target: Host) -> Iterator[Gate]:
        bound = [
            volume.id
            for volume in self.server.volumes
            if volume_protocols.host_bound(volume.protocol or '')
        ]
        if not (self.moved and bound):
            return
        if not targets.connector(target, self.request):
            yield self._gate(
                'volumes-connectable',
                'hard',
                UNKNOWN,
                f'how {target.name} connects to volumes is not known, and '
                f'{len(bound)} of its volumes must be connected anew',
                f'run "nova-manage volume_attachment get_connector --json" '
                f'on {target.name} and give its output with '
                f'--connector {target.name}=FILE',
            )

    def _company(self, target: Host) -> Iterator[Gate]:
        """What the scheduler minds; a move doesn't ask it."""
        state, against = REFUSED, []
        if self.server.pinned_zone not in (None, target.zone):
            against.append(
                f'it was asked for in zone {self.server.pinned_zone}, '
                f'{target.name} is in {target.zone}'
            )
        group = self.server.group or {'policy': '', 'members': {}}
        # The scheduler looks at where the members are, not at where they
        # will be: it evacuates no member of an affinity group alone.
        later = self.moved or group['policy'] == 'anti-affinity'
        others = targets.company(self.server, self.placed if later else {})
        if group['policy'] == 'anti-affinity' and target.name in others:
            against.append(
                f'a member of its anti-affinity group is on {target.name} '
                'or goes there'
            )
        if group['policy'] == 'affinity' and others - {target.name}:
            against.append(
                'members of its affinity group are on '
                + ', '.join(sorted(others - {target.name}))
            )
        if None in group['members'].values() and not against:
            state = UNKNOWN
            against.append(
                f'members of its {group["policy"]} group may be in a cell '
                'that does not answer'
            )
        if against:
            yield self._gate(
                'zone-and-group',
                'soft',
                state,
                '; '.join(against),
                self.elsewhere
                if self.moved
                else f'the scheduler may refuse it: {self.elsewhere}, or '
                'take --method move',
            )
