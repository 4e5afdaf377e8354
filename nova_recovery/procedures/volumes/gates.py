# SPDX-License-Identifier: Apache-2.0

"""Gates that the commands for single volumes have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import dataclasses
from typing import TYPE_CHECKING

from nova_recovery import fencing, program
from nova_recovery.cloud import claims
from nova_recovery.cloud.db.mappings import Mapping
from nova_recovery.cloud.db.volumes import Volume
from nova_recovery.cloud.records import Server
from nova_recovery.engine import claiming
from nova_recovery.engine.plan import Gate, Step
from nova_recovery.exceptions import RecoveryError
from nova_recovery.procedures import gates, whereabouts
from nova_recovery.procedures.volumes import situation
from nova_recovery.procedures.volumes.situation import BothSides, Mismatch

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud


#: States in which a guest is off whatever the host says.
OFF = frozenset({'stopped', 'shelved', 'shelved_offloaded', 'building'})
#: Changes of several requests, which two operators must not mix.
LONG = frozenset({'attach-volume', 'drop-attachment', 'recreate-attachment'})


@dataclasses.dataclass(frozen=True)
class Outside:
    """What the APIs and the claims say of a server.

    :ivar compute: 'up', 'down', 'forced down' or 'none' (on no host); None:
        unknown
    :ivar runs: whether the hypervisor has a guest that holds its volumes,
        running or paused; None: unknown
    :ivar holder: who claimed the server
    :ivar mover: whose run moves it just now
    :ivar claimable: its cell can hold claims
    :ivar unreachable: API -> why
    :ivar elsewhere: why its guest may run on another host, '' if nothing
        says so
    """

    compute: str | None = None
    runs: bool | None = None
    holder: str | None = None
    claimable: bool = False
    unreachable: dict[str, str] = dataclasses.field(default_factory=dict)
    mover: str | None = None
    elsewhere: str = ''


def outside(
    cloud: Cloud, server: Server | None, gone: Server | None = None
) -> Outside:
    """Ask for a server; a dead host is never asked.

    :param server: None: it is gone
    :param gone: as it was when it was deleted; nova tells no more of it, but
        on a host that is off no guest runs
    """
    if server is None:
        if gone is None or ended(gone):
            return Outside()
        status = fencing.load(cloud.conf, '').status(gone.host or '')
        return Outside(runs=False if status.state == 'off' else None)
    database = cloud.databases.cell(server.cell)
    claimable = claims.possible(database)
    holder = claims.server_holder(database, server.uuid)
    mover = claims.under_hosts(database, [server.uuid]).get(server.uuid)
    compute, runs = None, None
    unreachable: dict[str, str] = {}
    try:
        if not server.host:
            compute, runs = 'none', False
        else:
            service = cloud.compute.service(server.host)
            compute = (
                'forced down'
                if service.get('forced_down')
                else service['state']
            )
            if compute == 'up':
                runs = not cloud.compute.off(server.uuid)
    except RecoveryError as error:
        unreachable['nova'] = str(error)
    return Outside(
        compute,
        runs,
        holder,
        claimable,
        unreachable,
        mover,
        _elsewhere(cloud, server),
    )


def _elsewhere(cloud: Cloud, server: Server) -> str:
    """What stands against its guest being where its row says, if anything."""
    return '; '.join(
        f'perhaps on {one.host}: {one.because}'
        for answer in whereabouts.read(cloud, [server]).values()
        for one in answer.perhaps
        if one.sure
    )


def off(server: Server, seen: Outside) -> bool | None:
    """Whether the guest of a server is off; None: unknown."""
    if seen.elsewhere:
        return None
    if seen.runs is not None:
        return not seen.runs
    if not server.host:
        return True
    if server.vm_state in OFF and server.power_state != 1:
        return True
    return None


def whole(found: BothSides) -> Iterator[Gate]:
    """Whether all mappings could be read."""
    for cell, why in sorted(found.silent.items()):
        yield Gate(
            'cells-read',
            cell,
            'hard',
            'unknown',
            f'its mappings are not known: {why}',
            'bring its database back first',
        )
    for cell in found.disabled:
        yield Gate(
            'cells-read',
            cell,
            'soft',
            'unknown',
            'it is disabled and was not read: a server of it may have the '
            'volume',
            'enable the cell, or override if it has no servers',
        )


def other_way(name: str, one: Mismatch) -> Gate:
    """What is wrong is mended by another command, if by any."""
    return Gate(
        name,
        one.volume,
        'hard',
        'refused',
        f'{one.code}: {one.cause}',
        one.fix or 'there is no safe way by a command',
    )


def settled(volume: Volume, mappings: Iterable[Mapping]) -> Gate:
    """Whether cinder or nova may still be at it.

    Where its stamp alone can't tell, it was watched (``read.watch``).
    """
    doubtful = situation.doubtful(volume, mappings)
    if doubtful or situation.young(volume):
        # without the seconds: an override is for what it says
        seen = f'cinder changed it within the last {situation.SETTLE} s'
        if doubtful:
            seen = 'whether cinder changed it just now is not known'
        return Gate(
            'not-under-way',
            volume.id,
            'soft',
            'refused',
            f'{seen}: it may be under way',
            f'try again in {situation.SETTLE} s'
            if not doubtful or volume.watched is not None
            # of a plan: it was changed since it was watched for that
            else f'make a new plan: it is watched for {situation.SETTLE} s '
            'then',
        )
    if volume.watched is not None:
        seen = f'unchanged for {situation.SETTLE} s by our own clock'
    else:
        seen = f'unchanged for {volume.age or 0:.0f} s'
    return Gate('not-under-way', volume.id, 'soft', 'ok', seen)


def guest_off(server: Server, volume: str, seen: Outside, why: str) -> Gate:
    """A volume is never taken from under a running guest.

    :param why: what would happen to the guest
    """
    state = off(server, seen)
    if state:
        return Gate('guest-off', volume, 'hard', 'ok', 'the guest is off')
    observed = f'the guest of {server.name} runs'
    remedy = f'stop it first: openstack server stop {server.uuid}'
    if seen.elsewhere:
        observed = f'the guest of {server.name} runs {seen.elsewhere}'
        remedy = (
            f'look there first; {program.call(f"server show {server.uuid}")} '
            'tells all that is known'
        )
    elif state is None:
        observed = f'whether the guest of {server.name} runs is not known'
        remedy = (
            f'bring nova-compute of {server.host} back, or recover the '
            'server elsewhere first'
        )
    return Gate(
        'guest-off',
        volume,
        'hard',
        'refused' if state is False else 'unknown',
        f'{observed}: {why}',
        remedy,
    )


def ended(gone: Server) -> bool:
    """Whether a server that was deleted left no guest behind.

    nova-compute ends the guest and says so by its power state
    (``_delete_instance`` in nova/compute/manager.py). Where it was down, the
    API deleted the server alone and left the power state as it was
    (``_local_delete`` in nova/compute/api.py).
    """
    return not gone.host or gone.power_state in _ENDED


#: NOSTATE and SHUTDOWN (nova/compute/power_state.py).
_ENDED = frozenset({0, 4})


def guest_of_gone_off(
    uuid: str, gone: Server | None, volume: str, seen: Outside
) -> Gate:
    """The same of a server that was deleted.

    No command of nova's ends its guest, and none tells of it: soft.
    """
    if gone is not None and (ended(gone) or seen.runs is False):
        return Gate('guest-off', volume, 'soft', 'ok', 'the guest is off')
    host = (gone.host if gone else None) or ''
    name = (gone.name if gone else '') or uuid
    return Gate(
        'guest-off',
        volume,
        'soft',
        'unknown',
        f'{name} was deleted while nova-compute of {host or "its host"} was '
        'down: whether its guest still runs there is not known, it may have '
        'the volume connected',
        'see what runs there, and override where it is off:\n'
        + program.call(f'guest check {host}'.rstrip()),
    )


def unclaimed(
    server: Server, seen: Outside, touched: frozenset[str]
) -> Iterator[Gate]:
    """Whether nobody else works on the server.

    :param touched: subjects that the run has begun with
    """
    if f'server:{server.uuid}' not in touched:
        yield from gates.nobody_else(
            server.uuid,
            server.name,
            {server.uuid: seen.holder} if seen.holder else {},
            {server.uuid: seen.mover} if seen.mover else {},
        )


def no_task(server: Server) -> Iterator[Gate]:
    """A migration has its volumes in between two hosts."""
    if server.task_state:
        yield Gate(
            'no-task',
            server.name,
            'soft',
            'refused',
            f'its task is {server.task_state}: nova may be at its volumes',
            f'wait for its end; {program.call("server show")} tells of one '
            'that never will',
        )


def claimed(
    server: Server | None, seen: Outside, steps: Iterable[Step]
) -> tuple[Step, ...]:
    """The steps between a claim on the server and its release.

    What is one compare-and-set needs no claim.
    """
    steps = tuple(steps)
    several = any(item.kind in LONG for step in steps for item in step.items)
    if not several or server is None or not seen.claimable:
        return steps
    return claiming.around(
        [claiming.server(server.uuid, server.name, server.cell)],
        steps,
        titles=('claim the server', 'give the claim back'),
    )
