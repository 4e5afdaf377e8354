# SPDX-License-Identifier: Apache-2.0

"""What must hold before a recovery may begin.

Pure functions of the situation and of what is planned. Unknown refuses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
import dataclasses
import datetime
import shlex

from nova_recovery import program
from nova_recovery.cloud import claims, tasks, volume_protocols
from nova_recovery.engine import printable
from nova_recovery.engine.plan import Gate
from nova_recovery.procedures import whereabouts
from nova_recovery.procedures.gates import KEYS, keys_asked, ways_on
from nova_recovery.procedures.recover import ways
from nova_recovery.procedures.recover.situation import Host, Request, Situation
from nova_recovery.procedures.recover.ways import Assignment
from nova_recovery.procedures.whereabouts import MOVING_TASKS

OK, REFUSED, UNKNOWN = 'ok', 'refused', 'unknown'


def check(
    request: Request,
    found: Situation,
    assigned: Iterable[Assignment],
    to_fence: Collection[str],
) -> tuple[Gate, ...]:
    """All gates: of the cloud, the dead hosts, the targets, the servers.

    :param to_fence: hosts that will be turned off before anything else
    """
    assigned = list(assigned)
    gates = [*of_cloud(found)]
    for name in request.hosts:
        gates.extend(of_source(found.hosts[name], name in to_fence, found))
    gates.extend(_many_dead(request, found))
    for name in sorted({a.target for a in assigned if a.target}):
        gates.extend(_target(name, request, found, assigned))
    gates.extend(_servers(assigned, request, found))
    return tuple(gates)


def of_cloud(found: Situation) -> Iterator[Gate]:
    """The APIs and the cells."""
    if found.unreachable:
        why = '; '.join(_once_each(found.unreachable))
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


def _once_each(unreachable: dict[str, str]) -> Iterator[str]:
    """``nova, cinder: why``: without Keystone all have the same reason."""
    for why in dict.fromkeys(unreachable.values()):
        names = [name for name, reason in unreachable.items() if reason == why]
        # Each API begins its own words with its name.
        yield f'{", ".join(names)}: {why.removeprefix(f"{names[0]}: ")}'


def of_source(host: Host, to_fence: bool, found: Situation) -> Iterator[Gate]:
    """The dead host: silent, no other machine, off, nobody else's."""
    yield from _one_machine(host)
    if host.service_id is None:
        yield from _without_service(host, to_fence)
        yield from _same_machine(host, found)
        return
    yield _silent(host, found)
    yield from _same_machine(host, found)
    yield _fenced(host, to_fence)
    holder = claims.holder(host.disabled_reason)
    if holder:
        yield Gate(
            'source-unclaimed',
            host.name,
            'soft',
            REFUSED,
            f'claimed: {holder}',
            ways_on(
                'take it over where its controller is lost (run take over), '
                'and go on with it'
            ),
        )


def _one_machine(host: Host) -> Iterator[Gate]:
    """Where one nova-compute speaks for many machines, they didn't die."""
    ironic = any(node.hypervisor_type == 'ironic' for node in host.nodes)
    if len(host.nodes) > 1 or ironic:
        yield Gate(
            'source-one-machine',
            host.name,
            'hard',
            REFUSED,
            f'its nova-compute speaks for {len(host.nodes)} compute nodes'
            + (' (ironic)' if ironic else '')
            + ': servers run on other machines than this one',
            'start nova-compute again, there or on another controller under '
            f'the same name (host = {host.name} in nova.conf): the servers '
            'stay where they are',
        )


def _without_service(host: Host, to_fence: bool) -> Iterator[Gate]:
    """Nothing tells whether it lives but its power."""
    yield Gate(
        'source-silent',
        host.name,
        'hard',
        OK,
        'it has no nova-compute in the databases any more, and no heartbeat: '
        'that it is off has to be proven',
    )
    yield dataclasses.replace(_fenced(host, to_fence), klass='hard')


def _silent(host: Host, found: Situation) -> Gate:
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
            'a living host is not recovered: openstack server migrate '
            'empties it. If it is about to die, turn it off and say so with '
            '--fenced "HOW"',
        )
    doubt = _not_proven(host, found)
    if doubt:
        why, remedy = doubt
        return Gate(
            'source-silent', host.name, 'hard', UNKNOWN, why + last, remedy
        )
    return Gate(
        'source-silent',
        host.name,
        'hard',
        OK,
        f'report count stood still at {host.reports[1]} for '
        f'{host.apart:.0f} s{last}',
    )


def returned(
    request: Request, found: Situation, touched: Collection[str]
) -> dict[str, Gate]:
    """Of a run that goes on: the dead hosts that came back meanwhile.

    Its own guard closes the run for them, server by server; no gate that is
    asked of a dead host, or of what is still there, keeps it from that.

    :param touched: subjects that the run has begun to change
    """
    return {
        name: _returned(found.hosts[name])
        for name in request.hosts
        if f'host:{name}' in touched and not found.hosts[name].silent
    }


def _returned(host: Host) -> Gate:
    return Gate(
        'source-returned',
        host.name,
        'advice',
        REFUSED,
        f'its nova-compute is alive again: report count {host.reports[0]} -> '
        f'{host.reports[1]}',
        'what was not moved off it stays there and is left out; what was '
        'moved is brought to its end',
    )


def _not_proven(host: Host, found: Situation) -> tuple[str, str] | None:
    """Why a report count that stood still proves nothing yet, and what to do.

    A compute may report less often than this controller does; one that takes
    longer than ``service_down_time`` would be down for nova as well. And
    where no compute counts, it is the bus, the conductor or the database.
    """
    if host.apart < found.reports_apart:
        return f'watched for only {host.apart:.0f} s', 'make the plan again'
    age = host.heartbeat_age
    if host.apart < found.down_after and (
        age is None or age < found.down_after
    ):
        return (
            f'silent for less than the {found.down_after:.0f} s after which '
            'nova takes a compute for down',
            'make the plan again in a minute',
        )
    others = [
        other
        for other in found.hosts.values()
        if other.cell == host.cell and other.name != host.name
    ]
    if all(other.silent for other in others):
        return (
            f'no other compute of {host.cell} was heard of either',
            'look at the message bus, the conductor and the database of the '
            'cell first',
        )
    return None


def _same_machine(host: Host, found: Situation) -> Iterator[Gate]:
    """A machine whose nova-compute was given another name is alive."""
    for name, what in found.same_machine(host.name).items():
        if not found.hosts[name].silent:
            yield Gate(
                'source-same-machine',
                host.name,
                'hard',
                REFUSED,
                f'{name} has {what}, and its nova-compute is alive: the '
                'guests run under a nova-compute of another name',
                f'give nova-compute of that machine its old name (host = '
                f'{host.name} in nova.conf), or move its servers by hand '
                'when it is off',
            )


def age(seconds: float) -> str:
    """A heartbeat's age in words, by the clock of the database."""
    span = datetime.timedelta(seconds=round(seconds))
    if span < datetime.timedelta():
        return f'{-span} in the future: some clock is wrong'
    return f'{span} ago'


def _fenced(host: Host, to_fence: bool) -> Gate:
    if host.fence == 'off':
        return Gate('source-fenced', host.name, 'soft', OK, host.fence_detail)
    if host.fence == 'on' and to_fence:
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


def _many_dead(request: Request, found: Situation) -> Iterator[Gate]:
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
    name: str, request: Request, found: Situation, assigned: list[Assignment]
) -> Iterator[Gate]:
    host = found.hosts.get(name)
    if host is None:
        yield Gate(
            'target-ready', name, 'hard', REFUSED, 'nova has no such host'
        )
        return
    against = list(ways.unready(host, request))
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
        yield Gate('target-ready', name, 'hard', UNKNOWN, 'nova was not asked')
    else:
        yield Gate('target-ready', name, 'hard', OK, 'up and enabled')
    yield _capacity(host, assigned)


def _capacity(host: Host, assigned: list[Assignment]) -> Gate:
    wanted: dict[str, int] = {}
    for one in assigned:
        if one.target == host.name:
            for name, amount in ways.needs(one.server).items():
                wanted[name] = wanted.get(name, 0) + amount
    if host.free is None:
        return Gate(
            'capacity', host.name, 'hard', UNKNOWN, 'placement was not asked'
        )
    free = host.free
    words = (
        f'needs {ways.resources(wanted)}; free '
        f'{ways.resources({k: free.get(k, 0) for k in wanted})}'
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


def _servers(
    assigned: Iterable[Assignment], request: Request, found: Situation
) -> Iterator[Gate]:
    """The gates of these servers that aren't passed."""
    assigned = list(assigned)
    placed = {a.server.uuid: a.target for a in assigned if a.target}
    for one in assigned:
        yield from _Server(one, request, found, placed).gates()


def refused(
    assigned: Iterable[Assignment], request: Request, found: Situation
) -> dict[str, list[Gate]]:
    """The servers that their own gates refuse, with these, by UUID."""
    assigned = list(assigned)
    placed = {a.server.uuid: a.target for a in assigned if a.target}
    asked = {
        one.server.uuid: [
            gate
            for gate in _Server(one, request, found, placed).gates()
            if gate.blocks
        ]
        for one in assigned
    }
    return {uuid: some for uuid, some in asked.items() if some}


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
        self.moved = one.method == ways.MOVE
        self.target = found.hosts.get(one.target or '')
        self.label = found.label(one.server)
        self.typed = printable.typed(self.label, one.server.uuid)
        self.leave_out = f'leave it out with --exclude {self.typed}'
        self.elsewhere = (
            f'choose another target with --target-for {self.typed}=HOST'
        )

    def gates(self) -> Iterator[Gate]:
        """Each says how the server is left out, which ends it."""
        for gate in self._asked():
            remedy = gate.remedy
            if remedy and '--exclude' not in remedy:
                gate = dataclasses.replace(
                    gate, remedy=f'{self.leave_out}, or {remedy}'
                )
            yield gate

    def _asked(self) -> Iterator[Gate]:
        yield from whereabouts.gates(
            self.server.whereabouts, self.server.uuid, self.label
        )
        yield from self._mapping()
        yield from self._place()
        yield from self._method()
        yield from self._disks()
        yield from self._queue()
        yield from self._keys()
        yield from self._held()
        yield from self._memory()
        if self.target is not None:
            yield from self._guest_on(self.target)
            yield from self._connections(self.target)
            yield from self._company(self.target)

    def _gate(
        self, name: str, klass: str, state: str, observed: str, remedy: str
    ) -> Gate:
        return Gate(name, self.label, klass, state, observed, remedy)

    def _mapping(self) -> Iterator[Gate]:
        """Without it nova's API answers 404 to whatever is asked of it."""
        mapped, cell = self.server.mapped, self.server.cell
        if mapped in ('', cell):
            return
        uuid = self.server.uuid
        if mapped is None:
            observed = "nova's API does not find it: it has no mapping"
            remedy = (
                'map the servers of its cell (--cell_uuid: see nova-manage '
                'cell_v2 list_cells):\n'
                'nova-manage cell_v2 map_instances --reset --cell_uuid CELL'
            )
        else:
            observed = (
                f"nova's API looks for it in {mapped}, and it is in {cell}"
            )
            name = cell.replace("'", "''")
            # printed for a person; nothing here runs it
            remedy = (
                'set it right in the API database, no command does:\n'  # nosec B608
                'UPDATE instance_mappings SET cell_id = (SELECT id FROM '
                f"cell_mappings WHERE name = '{name}') WHERE instance_uuid = "
                f"'{uuid}';"
            )
        yield self._gate('instance-mapped', 'hard', REFUSED, observed, remedy)

    def _place(self) -> Iterator[Gate]:
        server, target = self.server, self.target
        if self.one.target is None:
            wanted = ways.resources(ways.needs(server))
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
                f'name one with --target-for {self.typed}=HOST, or '
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
        to_evacuate = ways.to_evacuate(server, self.found.evacuates_with_task)
        name, why = 'evacuable', to_evacuate
        remedy = f'take --method auto, or {self.leave_out}'
        if self.moved:
            name, why = 'movable', ways.to_move(server)
            remedy = self.leave_out
            if self._way():
                remedy = f'{self.leave_out}, or {self._way()}'
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

    def _way(self) -> str:
        """How one goes on that is neither evacuated nor moved as it is.

        :returns: words, and commands in lines of their own; '' for none
        """
        server = self.server
        uuid, name = server.uuid, server.name
        once = f'once {server.host} is proven to be off, '
        if server.vm_state == 'resized':
            return self._end_of_resize(once)
        if server.task_state == 'shelving_offloading':
            return '\n'.join(
                (
                    'have its owner make it anew from its image, which is '
                    'complete:',
                    'openstack image list --name '
                    + shlex.quote(f'{name}-shelved'),
                )
            )
        return '\n'.join(
            {
                'rescued': (
                    f'{once}give its rescue up, and recover it as a stopped '
                    'one:',
                    tasks.stopped(uuid, name),
                ),
                'shelved': (
                    f'{once}recover it as a stopped one, which it is until '
                    'it is offloaded; its image stays:',
                    tasks.stopped(uuid, name),
                ),
                'shelved_offloaded': (
                    f'{once}clear its task, and have it unshelved again '
                    'elsewhere:',
                    tasks.unstuck(uuid, name, 'REASON'),
                    f'openstack server unshelve {uuid}',
                ),
                'building': (
                    'have its owner delete it and make it anew:',
                    f'openstack server delete {uuid}',
                ),
            }.get(server.vm_state or '', ())
        )

    def _end_of_resize(self, once: str) -> str:
        """How the resize of a server whose present host is dead ends.

        Nova confirms it on the source alone, and refuses where that is down
        (``confirm_resize`` in nova/compute/api.py and manager.py); a revert
        begins on the present host, and would wait there for ever.
        """
        server, found = self.server, self.found
        uuid = server.uuid
        source = ', '.join(server.resized_from) or 'its source'
        alive = [
            name
            for name in server.resized_from
            if (name not in found.hosts or not found.hosts[name].silent)
            and name not in self.request.hosts
        ]
        if alive:
            lost = ways.disks(server, ways.EVACUATE)
            seen, _ = ways.sight(self.one, found)
            last = bool(
                lost and seen != ways.SEEN and not self.request.shared_storage
            )
            return (
                f'have {source} end its resize, and recover it then. That '
                f'removes the disk of before, {uuid}_resize on {source}'
                + (
                    f', the only one if {server.host} does not come back: '
                    'copy it first'
                    if last
                    else ''
                )
                + f':\nopenstack server resize confirm {uuid}'
            )
        state = 'active' if server.power_state == 1 else 'stopped'
        return (
            f'{once}end its resize without {source}, where {uuid}_resize is '
            'the disk of before, and recover it then:\n'
            + tasks.stopped(uuid, server.name, state)
        )

    def _disks(self) -> Iterator[Gate]:
        lost = ways.disks(self.server, self.one.method)
        shared = self.request.shared_storage
        sight, what = ways.sight(self.one, self.found)
        if not lost or sight == ways.SEEN:
            return
        absent = sight == ways.ABSENT
        if absent and (shared or self.moved):
            # Whatever somebody said: it would start without its data.
            yield self._gate(
                'disk-reachable',
                'hard',
                REFUSED,
                f'{lost} of {self.server.host}, and {self.one.target} does '
                f'not see it: {what}',
                f'{self.leave_out}, mount there what {self.server.host} has, '
                f'or {self.elsewhere}',
            )
        elif shared is False:
            # The source would delete the only copy when it returns.
            yield self._gate(
                'disk-reachable',
                'hard',
                REFUSED,
                f'{lost} of {self.server.host}, which is not shared',
                f'{self.leave_out}, and bring {self.server.host} back with '
                'its disks',
            )
        elif shared is None:
            say_so = (
                'if the targets see the same directory or Ceph pool, say so '
                'with --shared-storage; else '
            )
            yield self._gate(
                'disk-reachable',
                'soft',
                REFUSED if absent else UNKNOWN,
                f'{lost} of {self.server.host}' + (what and f'; {what}'),
                f'{"" if absent else say_so}{self.leave_out}, or accept '
                + (
                    'that it may not start'
                    if self.moved
                    else 'a rebuild from its image, without its data'
                ),
            )

    def _queue(self) -> Iterator[Gate]:
        """A task whose request may still wait for the dead host.

        Where a migration is under way, ``guest-only-here`` says so.
        """
        server, task = self.server, self.server.task_state or ''
        moving = task in MOVING_TASKS or (
            # an evacuation is a rebuild elsewhere
            task.startswith('rebuild') and bool(server.open_migrations)
        )
        if task and not moving:
            recipe = tasks.of_dead(task, server.host, server.vm_state)
            yield self._gate(
                'nothing-queued',
                'soft',
                REFUSED,
                recipe.means,
                f'{recipe.way}; or {self.leave_out}',
            )

    def _keys(self) -> Iterator[Gate]:
        encrypted = [v.id for v in self.server.volumes if v.encrypted]
        if encrypted and not self.moved:
            yield self._gate(
                'keys-readable',
                'soft',
                UNKNOWN,
                keys_asked(encrypted, 'evacuates'),
                f'{self.leave_out}, or {KEYS}',
            )

    def _held(self) -> Iterator[Gate]:
        """Who holds its volumes, as both sides have it.

        An evacuation asks cinder for new attachments; a move starts it on
        what is there.
        """
        unheld = self.server.unheld
        if unheld is None:
            return
        if unheld.foreign:
            yield self._gate(
                'volumes-held',
                'hard',
                REFUSED,
                'what nova names of volume '
                f'{", ".join(unheld.foreign)} is an attachment of another '
                'server, which would lose it or be written to',
                f'what is wrong is told by\n{program.call("volume check")}\n'
                f'or {self.leave_out}',
            )
        if unheld.gone:
            yield self._gate(
                'volumes-held',
                'hard',
                REFUSED,
                f'cinder has no volume {", ".join(unheld.gone)} any more: '
                'nova could not attach it, and would leave the server in '
                'error',
                self._without(unheld.gone),
            )
        elif unheld.taken and not self.moved:
            others = ', '.join(
                f'{volume}, which server {user} has'
                for volume, user in unheld.taken
            )
            yield self._gate(
                'volumes-held',
                'hard',
                REFUSED,
                f'cinder would not attach volume {others} by now: nova would '
                'leave the server in error',
                f'what is wrong is told by\n{program.call("volume check")}\n'
                f'or {self.leave_out}',
            )
        elif self.moved and unheld.lost:
            yield self._gate(
                'volumes-held',
                'hard',
                REFUSED,
                f'cinder holds volume {", ".join(unheld.lost)} for nobody, as '
                'after a reset of its state: another server may get it',
                'take --method evacuate where nova takes it, which attaches '
                f'it anew; or {self.leave_out}',
            )
        if self.moved and unheld.unknown:
            yield self._gate(
                'volumes-held',
                'hard',
                UNKNOWN,
                f'cinder was not asked who holds its volumes: '
                f'{unheld.unknown}',
                '',
            )

    def _without(self, gone: Collection[str]) -> str:
        """How a server goes on without volumes that are gone."""
        if any(one.root and one.id in gone for one in self.server.volumes):
            return f'{self.leave_out}: it boots from that'
        uuid = self.server.uuid
        return '\n'.join((
            f'{self.leave_out}, or take from it what is gone:',
            *(
                program.call(f'volume detach-stale {uuid} {volume}')
                for volume in gone
            ),
        ))  # fmt: skip

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
        if self.server.armed.get(target.name) and not self.moved:
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
        if not ways.connector(target, self.request):
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
        placed = self.placed if later else {}
        others = ways.company(self.server, placed)
        if group['policy'] == 'anti-affinity' and ways.crowded(
            self.server, target.name, placed
        ):
            most = int(group.get('most', 1))
            against.append(
                f'a member of its anti-affinity group is on {target.name} '
                'or goes there'
                if most == 1
                else f'{most} members of its anti-affinity group are on '
                f'{target.name} or go there, and no more may be'
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
                else f'{self.elsewhere}, or take --method move: the '
                'scheduler may refuse to evacuate it',
            )
