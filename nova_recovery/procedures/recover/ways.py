# SPDX-License-Identifier: Apache-2.0

"""Which way each server goes, what speaks against the other, and where to.

Pure functions; ``server list`` shows the same words as the plans.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Mapping
import dataclasses

from nova_recovery.cloud import volume_protocols
from nova_recovery.procedures import whereabouts
from nova_recovery.procedures.recover.situation import (
    Host,
    JSON,
    Request,
    Server,
    Situation,
    Volume,
)

EVACUATE, MOVE = 'evacuate', 'move'


@dataclasses.dataclass(frozen=True)
class Assignment:
    """What is planned for one server.

    :ivar method: ``evacuate`` or ``move``
    :ivar why: with ``move``: nova's reason not to evacuate it
    :ivar target: the host, None where none has room
    """

    server: Server
    method: str
    why: str
    target: str | None


def stays(server: Server, request: Request) -> str:
    """Why a server is left alone whatever else holds; '' if it is not."""
    if server.uuid in request.exclude:
        return 'excluded'
    if server.project in request.exclude_projects:
        return f'excluded: of project {server.project}'
    for word in request.exclude_metadata:
        if noted(server, word):
            return f'excluded: its metadata has {word}'
    for tag in request.exclude_tags:
        if tag in server.tags:
            return f'excluded: it has tag {tag}'
    if server.hidden and server.mapped not in ('', server.cell):
        return (
            f'it is a hidden copy: nova has it in {server.mapped}, where its '
            'resize to another cell waits for its owner:\n'
            f'openstack server resize confirm {server.uuid}'
            if server.mapped
            else 'it is a hidden copy, of a resize to another cell'
        )
    return whereabouts.deleted(server)


def noted(server: Server, word: str) -> bool:
    """Whether its metadata has that.

    :param word: ``KEY``, or ``KEY=VALUE``
    """
    key, equals, value = word.partition('=')
    return key in server.metadata and (
        not equals or server.metadata[key] == value
    )


def needs(server: Server) -> dict[str, int]:
    """What a server takes of its host, as placement has it.

    An interrupted evacuation holds the same on two hosts; devices such as a
    virtual GPU are held beside it, on providers of their own.
    """
    for held in (server.allocations or {}).values():
        if 'MEMORY_MB' in held:
            return dict(held)
    return {}


def resources(amounts: Mapping[str, int]) -> str:
    """Amounts by resource class, in words."""
    return (
        ', '.join(f'{name} {amounts[name]}' for name in sorted(amounts))
        or 'nothing'
    )


def assign(
    servers: Iterable[Server], request: Request, found: Situation
) -> list[Assignment]:
    """A method and a target for each server, in the order of names.

    Where no target is named, a server goes to the host with the most free
    memory among those that placement has room on, counting the servers
    that were put there before it. One that a gate would refuse is taken
    only where there is no other: then the gate says why.
    """
    room = {
        name: dict(host.free)
        for name, host in found.hosts.items()
        if host.free is not None
    }
    assigned = []
    placed: dict[str, str] = {}
    for server in sorted(servers, key=lambda s: (s.name, s.uuid)):
        method, why = _method(server, request, found)
        named = request.target_for.get(server.uuid, request.target_host)
        target = named or _proposal(
            Assignment(server, method, why, None), request, found, room, placed
        )
        if target:
            placed[server.uuid] = target
        if target in room:
            for name, amount in needs(server).items():
                room[target][name] = room[target].get(name, 0) - amount
        assigned.append(Assignment(server, method, why, target))
    return assigned


def _method(
    server: Server, request: Request, found: Situation
) -> tuple[str, str]:
    if request.method == EVACUATE:
        return EVACUATE, ''
    if request.method == MOVE:
        return MOVE, 'asked for'
    against = to_evacuate(server, found.evacuates_with_task)
    return (MOVE, '; '.join(against)) if against else (EVACUATE, '')


def _proposal(
    one: Assignment,
    request: Request,
    found: Situation,
    room: Mapping[str, Mapping[str, int]],
    placed: Mapping[str, str],
) -> str | None:
    server = one.server
    wanted = needs(server)
    fitting = [
        name
        for name in sorted(room)
        if not list(unready(found.hosts[name], request))
        and found.hosts[name].cell == server.cell
        and server.pinned_zone in (None, found.hosts[name].zone)
        and all(room[name].get(k, 0) >= v for k, v in wanted.items())
    ]

    def worth(name: str) -> tuple[bool, int]:
        wrong = (
            one.method == EVACUATE and bool(server.armed.get(name))
        ) or not _suits(server, name, request, placed)
        return not wrong, room[name].get('MEMORY_MB', 0)

    return max(fitting, key=worth, default=None)


def _suits(
    server: Server, target: str, request: Request, placed: Mapping[str, str]
) -> bool:
    """Whether the policy of its group allows that, as far as is decided."""
    policy = (server.group or {}).get('policy')
    others = company(server, placed) - set(request.hosts)
    if policy == 'anti-affinity':
        return not crowded(server, target, placed)
    return policy != 'affinity' or others <= {target}


def crowded(server: Server, target: str, placed: Mapping[str, str]) -> bool:
    """Whether a host has as many of its anti-affinity group as it may.

    :param placed: server uuid -> where the plan puts it
    """
    group = server.group or {}
    there = [
        uuid
        for uuid, host in group.get('members', {}).items()
        if placed.get(uuid, host) == target
    ]
    return len(there) >= int(group.get('most', 1))


def company(server: Server, placed: Mapping[str, str]) -> set[str]:
    """The hosts of the other members of its server group.

    :param placed: server uuid -> where the plan puts it
    """
    members = (server.group or {}).get('members', {})
    hosts = {placed.get(uuid, host) for uuid, host in members.items()}
    return {host for host in hosts if host}


def unready(host: Host, request: Request) -> Iterator[str]:
    """Why nothing can be put on a host, in words; nothing: it can."""
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


def connector(host: Host, request: Request) -> JSON | None:
    """How a target connects to volumes: as given, else as cinder has it."""
    return request.connectors.get(host.name) or host.connector


#: ``evacuate`` in nova/compute/api.py.
EVACUABLE = frozenset({'active', 'stopped', 'error'})
#: A stopped row and a start bring these back; the others have state that
#: a start would lose (rescued, resized) or have no host.
MOVABLE = frozenset({'active', 'stopped', 'error', 'paused', 'suspended'})
#: vNIC types that are nothing but a tap device.
PLAIN_VNICS = frozenset({'normal'})


def to_evacuate(server: Server, evacuates_with_task: bool) -> list[str]:
    """Why nova won't evacuate this server; empty: it will."""
    why = []
    if server.serviceless:
        why.append(
            f'nova has no nova-compute of {server.host} any more: it '
            'evacuates nothing from there'
        )
    if server.vm_state not in EVACUABLE:
        why.append(
            f'it is {server.vm_state}: nova evacuates only active, stopped '
            'and error'
        )
    if server.specless and evacuates_with_task:
        # older ones could do without (``evacuate`` in nova/compute/api.py)
        why.append('its request spec is missing: nova answers 500')
    if server.task_state and not evacuates_with_task:
        why.append(
            f'its task is {server.task_state}: a nova before Zed evacuates '
            'only servers without a task'
        )
    if server.vtpm:
        why.append('it has a virtual TPM: nova refuses to rebuild it')
    if server.shares:
        why.append('it has shares mounted: nova refuses to evacuate it')
    return why


def to_move(server: Server) -> list[str]:
    """Why this server must not be moved by hand; empty: it may.

    Facts that hold wherever it goes; what depends on the target is for
    the gates.
    """
    why = []
    if server.vm_state not in MOVABLE:
        why.append(f'it is {server.vm_state}')
    why.extend(server.special)
    if server.vtpm:
        why.append('it has a virtual TPM, whose secret its owner has')
    if server.shares:
        why.append('it has shares mounted')
    why.extend(server.open_migrations)
    if server.devices:
        why.append(
            f'it has {", ".join(server.devices)}, which nova gives it anew '
            'when it evacuates it'
        )
    elif server.allocations is not None and len(server.allocations) != 1:
        why.append(f'placement has it on {len(server.allocations)} providers')
    for port in server.ports or ():
        if port.vnic_type not in PLAIN_VNICS:
            why.append(f'port {port.id} is {port.vnic_type}')
        if port.has_resources:
            why.append(f'port {port.id} has guaranteed resources')
    # From 28.0 on, as the column is (``_delete_dangling_bdms`` in
    # nova/compute/manager.py); a row that was not read may be of such a nova.
    strict = not server.row or 'compute_id' in server.row
    for volume in server.volumes:
        why.extend(_volume(volume, strict))
    why.extend(
        f'volume {volume} is mapped {times} times'
        for volume, times in collections.Counter(
            one.id for one in server.volumes
        ).items()
        if times > 1
    )
    return why


def _volume(volume: Volume, strict: bool) -> list[str]:
    """Why a volume can't be moved by hand with its server.

    :param strict: this nova deletes attachments that it doesn't name
    """
    if volume.attachment is None and strict:
        return [
            f'volume {volume.id} was attached before Queens: a reboot by '
            'its owner would detach it'
        ]
    if volume.attachment is None and volume_protocols.host_bound(
        volume.protocol or ''
    ):
        return [
            f'volume {volume.id} was attached before Queens by '
            f'{volume.protocol}: only an evacuation connects it anew'
        ]
    if volume.encrypted:
        return [f'volume {volume.id} is encrypted with a key of its owner']
    if volume.protocol is None:
        return [
            f'volume {volume.id} has no connection data: the guest would '
            'start without it'
        ]
    if volume_protocols.host_bound(volume.protocol) is None:
        return [
            f'volume {volume.id} is connected by {volume.protocol}, which '
            'nobody has described (nova_recovery.volume_protocols)'
        ]
    return []


def unproven(one: Assignment, found: Situation) -> bool:
    """Whether only somebody's word says that the target sees the disk.

    A server without anything on its host's disks has nothing to lose there.
    """
    return (
        disks(one.server, one.method) is not None
        and sight(one, found)[0] != SEEN
    )


SEEN, ABSENT, UNSEEN = 'seen', 'absent', 'unseen'
#: Seconds: twice nova's image_cache.manager_interval, as it is by default.
_REGISTERED = 4800
#: And what two clocks may differ, the host's and that of its conductor.
_SKEW = 60


def sight(one: Assignment, found: Situation) -> tuple[str, str]:
    """Whether the target sees the server's disk, as it says itself.

    A file alone proves nothing: it may be left over from an earlier life of
    the server, in a directory that the dead host did not use by then.

    :returns: ``SEEN``, ``ABSENT`` or ``UNSEEN`` (nobody knows), and what was
        seen, in words; '' where nobody asked
    """
    seen = found.sights.get(one.target or '')
    if seen is None:
        return UNSEEN, ''
    if seen.problem:
        return UNSEEN, f'{seen.host} did not say what it sees: {seen.problem}'
    server, source = one.server, found.hosts[one.server.host]
    if _needed(server, seen.images.get(server.uuid, ())):
        return SEEN, f'{seen.host} has it in pool {seen.pool} of Ceph'
    if seen.images_type == 'rbd':
        return ABSENT, f'{seen.host} does not have it in pool {seen.pool}'
    place = f'{seen.path} of {seen.host}, {seen.lies_on}'
    if seen.images_type not in _IN_FILES:
        return UNSEEN, f'{seen.host} keeps disks as {seen.images_type}'
    if not _fresh(seen.users.get(seen.host, 0.0), seen.time):
        return UNSEEN, (
            f'that nova-compute of {seen.host} uses {seen.path} is not '
            'written there (compute_nodes)'
        )
    if not _needed(server, seen.files.get(server.uuid, ())):
        return ABSENT, f'it is not in {place}'
    if not seen.remote:
        return UNSEEN, f'it is in {place}, a disk of that host by its type'
    wrote = seen.users.get(source.name)
    if wrote is None or not _fresh(wrote, source.heartbeat):
        return UNSEEN, (
            f'it is in {place}, and that {source.name} used this at its end '
            'is not written there (compute_nodes)'
        )
    return SEEN, f'{place}, which {source.name} used, too'


#: Values of images_type for which disks are files (of ploop they are
#: directories); None: nova's default.
_IN_FILES = frozenset({None, 'default', 'raw', 'flat', 'qcow2'})


def _needed(server: Server, names: Iterable[str]) -> bool:
    """Whether the files that a server can't be without are among these."""
    if server.local_disk and not any(one.root for one in server.volumes):
        return 'disk' in names
    return any(name != 'disk.info' for name in names)


def _fresh(wrote: float, then: float | None) -> bool:
    return then is not None and -_SKEW <= then - wrote <= _REGISTERED


def disks(server: Server, method: str) -> str | None:
    """What of the server may be lost with its host's disks, None: nothing.

    :param method: an evacuation makes a config drive anew, a move can't
    """
    if server.local_disk:
        return 'its disk is in the instances directory'
    if server.config_drive and method == 'move':
        return 'its config drive is in the instances directory'
    return None
