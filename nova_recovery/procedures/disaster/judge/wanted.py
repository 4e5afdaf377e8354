# SPDX-License-Identifier: Apache-2.0

"""Which servers are to run again, and in what order.

Pure functions. Whether a server ran is the snapshot's to say; whether it
exists, and where, the databases' as they are now; and what its owner asked
for in between counts more than what was.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

from nova_recovery.procedures import whereabouts
from nova_recovery.procedures.disaster import situation
from nova_recovery.procedures.disaster.situation import (
    Action,
    Server,
    Situation,
)

#: Actions (nova/compute/instance_actions.py) after which a server runs, and
#: those after which it doesn't. The others, evacuations and rebuilds too,
#: leave it as it was.
STARTS = frozenset(
    {
        'create',
        'reboot',
        'restore',
        'resume',
        'start',
        'unpause',
        'unrescue',
        'unshelve',
    }
)
ENDS = frozenset(
    {
        'delete',
        'pause',
        'rescue',
        'shelve',
        'shelveOffload',
        'softDelete',
        'stop',
        'suspend',
    }
)

#: Tasks (InstanceTaskState in nova/objects/fields.py) that end with a server
#: that doesn't run.
ENDING = frozenset(
    {
        'pausing',
        'powering-off',
        'rescuing',
        'shelving',
        'shelving_image_pending_upload',
        'shelving_image_uploading',
        'shelving_offloading',
        'suspending',
    }
)

#: Where the priority of a server is in its metadata, and what it is for
#: one that has none.
PRIORITY_KEY = 'recovery_priority'
DEFAULT = 100

_STAYS = {
    'building': 'it is being built',
    'deleted': 'it was deleted',
    'paused': 'it is paused: its memory is lost, its owner decides',
    'rescued': 'it is rescued',
    'resized': 'it is resized, which its owner has to confirm or revert',
    'shelved': 'it is shelved',
    'shelved_offloaded': 'it is shelved',
    'suspended': 'it is suspended',
}


@dataclasses.dataclass(frozen=True)
class Order:
    """Who comes first: what the operator named, then what servers say.

    :ivar first: UUIDs of servers, before all others, in this order
    :ivar key: metadata key with a number, 1 before 2
    :ivar groups: UUIDs of server groups, within the same number
    """

    first: tuple[str, ...] = ()
    key: str = PRIORITY_KEY
    groups: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A server that is to run again.

    :ivar why: how it is known that it ran, and what is different now
    :ivar task: what nova is at with it, or was when the power went; ''
    """

    server: Server
    why: str
    priority: int = DEFAULT
    task: str = ''

    @property
    def uuid(self) -> str:
        return self.server.uuid

    @property
    def moved(self) -> bool:
        """Whether it is on another host than in the snapshot."""
        before = self.server.before
        return before is not None and before.host != self.server.host


@dataclasses.dataclass(frozen=True)
class Answer:
    """W, and what is not in it.

    :ivar servers: W, in the order in which they are to come up
    :ivar left: UUID -> why it is left alone; with those that are gone
    :ivar doubtful: those of ``left`` of which nobody can tell
    :ivar silent: cell -> why it is not known what ran there: nothing may be
        concluded of it
    """

    servers: tuple[Wanted, ...]
    left: dict[str, str]
    doubtful: frozenset[str] = frozenset()
    silent: dict[str, str] = dataclasses.field(default_factory=dict)


def wanted(found: Situation, order: Order | None = None) -> Answer:
    """The servers that are to run again (W), and why the others are not."""
    order = order or Order()
    servers: list[Wanted] = []
    left: dict[str, str] = {}
    doubtful: set[str] = set()
    for server in found.servers.values():
        reason = _stays(found, server)
        if reason:
            left[server.uuid] = reason
            continue
        why, doubt = _ran(found, server)
        if why:
            servers.append(
                Wanted(
                    server,
                    why,
                    priority(server, order.key),
                    server.task_state or '',
                )
            )
            continue
        left[server.uuid] = doubt or _did_not(server)
        if doubt:
            doubtful.add(server.uuid)
    for gone in found.gone:
        left[gone.uuid] = (
            f'it is on {gone.host} now, which is not asked for'
            if gone.host
            else 'it was deleted since the snapshot'
            if gone.deleted
            else 'nova has no such server any more'
        )
    return Answer(
        tuple(sorted(servers, key=lambda one: _rank(one, order))),
        left,
        frozenset(doubtful),
        dict(found.silent),
    )


def priority(server: Server, key: str = PRIORITY_KEY) -> int:
    """The number in its metadata; DEFAULT where it has none that is one."""
    try:
        return int(server.metadata[key])
    except (KeyError, TypeError, ValueError):
        return DEFAULT


def by_sync(server: Server) -> Action | None:
    """The stop by nova's own power sync, if that is why it is stopped.

    The sync has no user (``_sync_instance_power_state`` in
    nova/compute/manager.py calls the API with an admin context).
    """
    last = last_power(server.newest)
    if last is not None and last.action == 'stop' and last.user is None:
        return last
    return None


def last_power(actions: Sequence[Action]) -> Action | None:
    """The newest that has to do with whether it runs."""
    for action in reversed(actions):
        if action.action in STARTS | ENDS:
            return action
    return None


def _stays(found: Situation, server: Server) -> str:
    """Why it must be left alone whether it ran or not; '' if it needn't."""
    if server.host and server.host in found.scope.skip_hosts:
        reason = found.scope.skip_hosts[server.host]
        return f'its host {server.host} is skipped: {reason}'
    gone = whereabouts.deleted(server)
    if gone:
        return gone
    if server.vm_state in _STAYS:
        return _STAYS[server.vm_state]
    if not server.host:
        return f'it is {server.vm_state}, on no host'
    synced = by_sync(server)
    last = last_power(server.newest)
    if last is not None and last is not synced and last.action in ENDS:
        return f'{last.action} was asked for since ({last.request_id})'
    if server.task_state in ENDING and synced is None:
        return f'its task is {server.task_state}, which somebody asked for'
    return ''


def _ran(found: Situation, server: Server) -> tuple[str, str]:
    """How it is known that it ran, and else why that can't be known."""
    started = _started(server)
    before = server.before
    if before is None:
        return _without_snapshot(found, server, started)
    if before.ran:
        if server.vm_state == 'stopped':
            synced = by_sync(server)
            if synced is None:
                return '', (
                    'it ran, it is stopped, and no action since tells who '
                    'stopped it'
                )
            return f"it ran; nova's power sync stopped it{_moved(server)}", ''
        return f'it ran{_now(server)}{_moved(server)}', ''
    was = f'it was {before.vm_state}'
    if before.vm_state == 'active':
        was = f'its guest was off (power state {before.power_state})'
    if started and server.vm_state in ('active', 'stopped', 'error'):
        return f'{was}; {started.action} since{_moved(server)}', ''
    if server.vm_state == 'active' and server.power_state == situation.RUNNING:
        return f'{was}, and is active now{_moved(server)}', ''
    return '', ''


def _without_snapshot(
    found: Situation, server: Server, started: Action | None
) -> tuple[str, str]:
    new = 'new since the snapshot; ' if server.uuid in found.new else ''
    if server.vm_state == 'active':
        return f'{new}it is active{_power(server)}', ''
    if server.vm_state == 'stopped':
        synced = by_sync(server)
        if synced is None:
            return '', ''
        earlier = server.earlier
        if started is None and earlier and earlier.action in ENDS:
            # libvirt had started a guest that was to stay off, and nova
            # stopped it again
            return '', ''
        return f"{new}nova's power sync stopped it since", ''
    if server.vm_state == 'error':
        if started is not None or new:
            return f'{new}it is in error{_asked(started)}', ''
        return '', 'it is in error, and nothing tells whether it ran'
    return '', ''


def _did_not(server: Server) -> str:
    before = server.before
    if before is None:
        return f'it is {server.vm_state}'
    if before.vm_state == 'active':
        return 'its guest was off before'
    return f'it was {before.vm_state} before'


def _started(server: Server) -> Action | None:
    """What has made it run since the mark, whatever came after."""
    for action in reversed(server.newest):
        if action.action in STARTS:
            return action
        if action.action in ENDS and action.user is not None:
            return None
    return None


def _asked(action: Action | None) -> str:
    return f'; {action.action} since' if action else ''


def _now(server: Server) -> str:
    if server.vm_state != 'active':
        return f', and is in {server.vm_state} now'
    return _power(server)


def _power(server: Server) -> str:
    if server.power_state in (situation.RUNNING, None):
        return ''
    return f', and its guest is off (power state {server.power_state})'


def _moved(server: Server) -> str:
    before = server.before
    if before is None or before.host == server.host:
        return ''
    return f'; on {server.host} instead of {before.host}'


def _rank(one: Wanted, order: Order) -> tuple[int, int, int, str, str]:
    server = one.server
    return (
        _place(server.uuid, order.first),
        one.priority,
        _place(server.group, order.groups),
        server.name,
        server.uuid,
    )


def _place(what: str | None, named: Sequence[str]) -> int:
    return named.index(what) if what in named else len(named)
