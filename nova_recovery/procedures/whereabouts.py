# SPDX-License-Identifier: Apache-2.0

"""Where may the guest of a server run? Asked wherever one is started.

nova's row names one host. It is written at the end of a migration, so the
death of a host in the middle leaves it on the source while the guest runs on
the target: whoever starts it where the row says starts it twice, on one
disk. So the row is one witness among several:

* every row of ``migrations`` since the guest last surely ran where the row
  says, soft-deleted ones too (nova reads those when a host returns);
* the allocations, by provider tree: nova moves a server's own allocation to
  the target when a live migration begins, and doubles it for an evacuation;
* the task: one that names a migration of which there is no row;
* a hypervisor's own answer, or an operator's who looked there.

``judge`` is a pure function of these. What can't be known is never taken for
"here".
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
from typing import TYPE_CHECKING

from nova_recovery import program
from nova_recovery.cloud.db import servers as servers_module
from nova_recovery.cloud.db import tombstones
from nova_recovery.cloud.providers import Provider, Providers
from nova_recovery.cloud.records import Migration, Server
from nova_recovery.engine.plan import Gate
from nova_recovery.exceptions import ApiUnavailable, RecoveryError

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

GATE = 'guest-only-here'

#: Server UUID -> its rows of ``migrations``, soft-deleted ones too.
Migrations = Mapping[str, tuple[Migration, ...]]
#: Server UUID -> root provider -> whose it is, for all that it holds.
Held = Mapping[str, Mapping[str, Provider]]

EVACUATION = 'evacuation'
LIVE = 'live-migration'
#: Both copy the disk and start the guest anew (nova/objects/fields.py).
COLD = frozenset({'migration', 'resize'})

#: What moved its guest for good: the row has to name the target.
_ARRIVED = {
    EVACUATION: frozenset({'done', 'completed'}),
    LIVE: frozenset({'completed'}),
    **dict.fromkeys(COLD, frozenset({'finished', 'confirming', 'confirmed'})),
}
#: Rolled back, or never begun, and the guest is where it was. A live
#: migration that is 'queued' waits at its source.
_NOT_GONE = {
    EVACUATION: frozenset({'cancelled'}),
    LIVE: frozenset({'accepted', 'queued', 'failed', 'cancelled'}),
    **dict.fromkeys(
        COLD,
        frozenset(
            {
                'accepted',
                'pre-migrating',
                'failed',
                'error',
                'cancelled',
                'reverted',
            }
        ),
    ),
}
#: The same words where the row names the target: of a resize whose
#: confirmation failed, or that was closed without one
#: (``_poll_unconfirmed_resizes``), and of a move by hand.
_AFTER_ALL = {
    EVACUATION: frozenset({tombstones.UNARMED}),
    LIVE: frozenset(),
    **dict.fromkeys(COLD, frozenset({'error'})),
}
#: nova says that it failed, which it also does when the guest was started
#: and something after that went wrong (compute/manager.py,
#: ``_rebuild_instance_with_claim`` and ``_post_live_migration``).
_FAILED = {
    EVACUATION: frozenset({'failed', 'error'}),
    LIVE: frozenset({'error'}),
}
#: Under way: the guest, or its disk, may be on the target.
_UNDERWAY = {
    EVACUATION: frozenset({'accepted', 'pre-migrating'}),
    LIVE: frozenset(
        {'preparing', 'running', 'post-migrating', 'running (post-copy)'}
    ),
    **dict.fromkeys(COLD, frozenset({'migrating', 'post-migrating'})),
}
#: A migration that is over (``in_progress`` in nova/db/main/api.py lists
#: the others); 'finished' is a resize that waits to be confirmed.
OVER = frozenset(
    {
        'confirmed',
        'reverted',
        'error',
        'failed',
        'completed',
        'cancelled',
        'done',
    }
)
#: Tasks that only a migration sets (nova/compute/task_states.py).
MOVING_TASKS = frozenset(
    {
        'migrating',
        'resize_prep',
        'resize_migrating',
        'resize_migrated',
        'resize_finish',
        'resize_reverting',
        'resize_confirming',
    }
)
#: Tasks of a server that its owner deleted (nova/compute/task_states.py).
DELETING = frozenset({'deleting', 'soft-deleting'})


@dataclasses.dataclass(frozen=True)
class Perhaps:
    """A host where the guest may run, too.

    :ivar sure: the evidence stands; else nova itself says that it came to
        nothing, and is sometimes wrong
    """

    host: str
    because: str
    sure: bool = True


@dataclasses.dataclass(frozen=True)
class Whereabouts:
    """The answer for one server.

    :ivar host: where its row says, '' where it is on no host
    :ivar perhaps: where it may run as well
    :ivar unknown: what could not be had, in words
    """

    host: str
    perhaps: tuple[Perhaps, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def here_only(self) -> bool:
        return not self.perhaps and not self.unknown

    def hosts(self) -> frozenset[str]:
        """The other hosts where it may run."""
        return frozenset(one.host for one in self.perhaps)

    def because(self) -> str:
        """All that speaks against "here", as one line."""
        return '; '.join(
            [
                *(f'perhaps on {p.host}: {p.because}' for p in self.perhaps),
                *self.unknown,
            ]
        )

    def told(self) -> str:
        """The answer as one line for people."""
        if not self.host:
            return 'on no host'
        return 'here only' if self.here_only else self.because()


def read(
    cloud: Cloud,
    servers: Sequence[Server],
    seen: Mapping[str, Mapping[str, bool]] | None = None,
) -> dict[str, Whereabouts]:
    """Where the guests of servers may run, by server UUID.

    :param seen: server UUID -> host -> whether its hypervisor has the guest
    :raises DatabaseUnavailable: a cell of theirs does not answer
    """
    held: Held | None = None
    with contextlib.suppress(RecoveryError):
        held = allocated(cloud, servers)
    return judge_all(servers, migrations(cloud, servers), held, seen)


def allocated(cloud: Cloud, servers: Iterable[Server]) -> Held:
    """What placement has allocated to servers.

    :raises ApiUnavailable: it can't be asked
    """
    providers = Providers(cloud)
    if providers.unreachable:
        raise ApiUnavailable(providers.unreachable)
    return providers.held([server.uuid for server in servers])


def migrations(cloud: Cloud, servers: Iterable[Server]) -> Migrations:
    """All rows of ``migrations`` of servers.

    :raises DatabaseUnavailable: a cell of theirs does not answer
    """
    by_cell: dict[str, list[str]] = collections.defaultdict(list)
    for server in servers:
        by_cell[server.cell].append(server.uuid)
    found: dict[str, tuple[Migration, ...]] = {}
    for cell, uuids in by_cell.items():
        found |= servers_module.migrations(cloud.databases.cell(cell), uuids)
    return found


def judge_all(
    servers: Iterable[Server],
    rows: Migrations,
    held: Held | None,
    seen: Mapping[str, Mapping[str, bool]] | None = None,
) -> dict[str, Whereabouts]:
    """``judge`` of each of them.

    :param rows: as ``migrations`` tells
    :param held: as ``allocated`` tells; None: placement was not asked
    :param seen: server UUID -> host -> whether its hypervisor has the guest
    """
    return {
        server.uuid: judge(
            server,
            rows.get(server.uuid, ()),
            None if held is None else held.get(server.uuid, {}),
            (seen or {}).get(server.uuid),
        )
        for server in servers
    }


def not_there(words: Mapping[str, str]) -> dict[str, dict[str, bool]]:
    """What operators said of guests that they looked for, as ``seen``.

    :param words: ``SERVER-UUID@HOST`` -> how they know
    """
    found: dict[str, dict[str, bool]] = {}
    for word in words:
        uuid, _, host = word.partition('@')
        found.setdefault(uuid, {})[host] = False
    return found


def harmless(kind: str | None, status: str | None) -> bool:
    """Whether a migration is over, and its end can be believed."""
    return status in OVER and status not in _FAILED.get(kind or '', ())


def unconfirmed(migrations: Iterable[Migration]) -> list[Migration]:
    """Those of a resize that waits to be confirmed, newest last.

    Soft-deleted ones, too, which nova's API reads
    (``migration_get_by_instance_and_status`` in nova/db/main/api.py); and
    one whose request the source never took up.
    """
    return [
        row
        for row in migrations
        if row.migration_type in COLD
        and row.status in ('finished', 'confirming')
    ]


def judge(
    server: Server,
    migrations: Iterable[Migration],
    held: Mapping[str, Provider] | None,
    seen: Mapping[str, bool] | None = None,
) -> Whereabouts:
    """Where the guest of a server may run.

    :param migrations: all rows of it, soft-deleted ones too
    :param held: root provider -> whose it is, for all that placement has
        allocated to the server; None: placement was not asked
    :param seen: host -> whether its hypervisor has the guest running, as far
        as any was asked
    """
    host = server.host or ''
    if not host:
        return Whereabouts('')
    seen = seen or {}
    rows = sorted(migrations, key=lambda row: row.id, reverse=True)
    moved = list(_of_migrations(host, rows))
    unknown = [one for one in moved if isinstance(one, str)]
    perhaps = [one for one in moved if isinstance(one, Perhaps)]
    for one in _of_allocations(server, rows, held):
        if isinstance(one, str):
            unknown.append(one)
        else:
            perhaps.append(one)
    if server.task_state in MOVING_TASKS and not moved:
        unknown.append(
            f'its task is {server.task_state}, and nova has no row of that '
            'migration'
        )
    for name, runs in seen.items():
        if runs and name != host:
            perhaps.append(Perhaps(name, 'its hypervisor has it running'))
    return Whereabouts(
        host,
        tuple(
            _one_each(
                one for one in perhaps if seen.get(one.host) is not False
            )
        ),
        tuple(dict.fromkeys(unknown)),
    )


def _of_migrations(
    host: str, rows: Iterable[Migration]
) -> Iterator[Perhaps | str]:
    """What each migration means, back to where the guest surely was here.

    :param rows: newest first
    """
    for row in rows:
        kind, status = row.migration_type or '', row.status or ''
        arrived = _ARRIVED.get(kind)
        what = f'its {kind or "migration"} {row.source_compute} -> ' + (
            row.dest_compute or 'a host not chosen yet'
        )
        if arrived is None:
            yield f'{what} is of a kind that is not known here'
        elif status in arrived:
            if row.dest_compute == host:
                return
            if row.dest_compute:
                yield Perhaps(
                    row.dest_compute,
                    f'{what} is {status}, and its row still names {host}',
                )
            elif row.source_compute == host:
                yield f'{what} is {status}'
            return
        elif row.source_compute == host:
            yield from _from_here(row, kind, status, what)
        elif kind in COLD and status in ('reverting', 'reverted'):
            yield from _reverted(row, host, status, what)
        elif row.dest_compute == host and (
            status not in _NOT_GONE[kind] or status in _AFTER_ALL[kind]
        ):
            # From elsewhere to here, and the row names the target: whatever
            # became of it since, it brought the guest here, and what was
            # before tells nothing any more.
            return


def _from_here(
    row: Migration, kind: str, status: str, what: str
) -> Iterator[Perhaps | str]:
    """A migration away from where the row says that the guest is."""
    if status in _NOT_GONE[kind] or status in ('reverting', 'reverted'):
        return
    if row.dest_compute == row.source_compute:
        # a resize within its host: the guest is nowhere else
        yield f'{what} is {status}, and its disk may be half of it'
        return
    if status in _FAILED.get(kind, ()):
        if row.dest_compute:
            yield Perhaps(
                row.dest_compute,
                f'{what} is {status}, which nova also says when the guest '
                'was started there',
                sure=False,
            )
    elif status not in _UNDERWAY[kind]:
        yield f'{what} is {status}, which is not known here'
    elif row.dest_compute:
        yield Perhaps(row.dest_compute, f'{what} is {status}')
    else:
        yield f'{what} is {status}'


def _reverted(
    row: Migration, host: str, status: str, what: str
) -> Iterator[Perhaps]:
    """A resize that was, or is being, taken back to its source."""
    if row.dest_compute == host and row.source_compute:
        # ``finish_revert_resize`` names the source before it starts it there
        yield Perhaps(row.source_compute, f'{what} is {status}')


def _of_allocations(
    server: Server,
    rows: Iterable[Migration],
    held: Mapping[str, Provider] | None,
) -> Iterator[Perhaps | str]:
    if held is None:
        yield 'placement was not asked where it has its allocation'
        return
    # An evacuated server's source keeps its allocation until it returns.
    left = {
        row.source_compute
        for row in rows
        if row.migration_type == EVACUATION
        and row.status in ('done', tombstones.UNARMED)
        and row.dest_compute == server.host
    }
    for provider in held.values():
        if provider.host is None:
            # A node that was made anew, or deleted, has the same name.
            if provider.name != server.node:
                yield (
                    f'placement has an allocation of it on {provider.name}, '
                    'which is no compute node any more'
                )
        elif provider.host != server.host and provider.host not in left:
            yield Perhaps(
                provider.host, 'placement has an allocation of it there'
            )


def _one_each(found: Iterable[Perhaps]) -> Iterator[Perhaps]:
    """One for each host, with all that speaks for it."""
    by_host: dict[str, list[Perhaps]] = {}
    for one in found:
        by_host.setdefault(one.host, []).append(one)
    for host, some in by_host.items():
        yield Perhaps(
            host,
            '; '.join(dict.fromkeys(one.because for one in some)),
            any(one.sure for one in some),
        )


def gates(answer: Whereabouts | None, uuid: str, label: str) -> Iterator[Gate]:
    """Those that refuse to start a guest where its row says.

    A hard one where the evidence stands: then the guest is adopted there, or
    somebody looks. Soft ones where it is weak, or could not be had.

    :param answer: None: nobody asked, which refuses
    """
    if answer is None:
        yield Gate(GATE, label, 'hard', 'unknown', 'nobody asked')
        return
    for one in answer.perhaps:
        yield Gate(
            GATE,
            label,
            'hard' if one.sure else 'soft',
            'refused',
            f'its guest may run on {one.host}: {one.because}',
            _way_out(uuid, one.host),
        )
    if answer.unknown:
        yield Gate(
            GATE,
            label,
            'soft',
            'unknown',
            '; '.join(answer.unknown),
            'find out where its guest runs; what is known is told by\n'
            + program.call(f'server show {uuid}'),
        )


def _way_out(uuid: str, host: str) -> str:
    """What to do about a guest that may run on a host, the commands last."""
    return (
        f'look on {host} (virsh list --all). Where it does not run, say how '
        'you know:\n'
        f'--not-running {uuid}@{host}=HOW\n'
        'Where it runs, its row is brought there:\n'
        + program.call(f'server adopt {uuid} --host {host}')
    )


def deleted(server: Server) -> str:
    """Why a server must not be brought back: its owner deleted it; or ''.

    nova-compute ends that when it starts (``_init_instance`` in
    nova/compute/manager.py). While its host is down the API ends it by itself
    (``_local_delete_cleanup`` in nova/compute/api.py), where it is forced:
    a second plain request is ignored.
    """
    if server.vm_state == 'soft-delete':
        return (
            'its owner deleted it, and may have it back until nova reclaims '
            f'it:\nopenstack server restore {server.uuid}'
        )
    if server.task_state not in DELETING:
        return ''
    return (
        'its owner deleted it; nova-compute ends that when its host returns, '
        f'an administrator now:\nopenstack server delete --force {server.uuid}'
    )


def left_alone(answer: Whereabouts, uuid: str) -> str:
    """Why a server is left out of what restarts many, and what to do."""
    if answer.perhaps:
        one = answer.perhaps[0]
        return f'its guest may run on {one.host}: {one.because}; ' + _way_out(
            uuid, one.host
        )
    return (
        f'where its guest runs is not known: {"; ".join(answer.unknown)}; '
        'when you found out:\n' + program.call(f'server reboot {uuid}')
    )
