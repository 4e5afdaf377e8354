# SPDX-License-Identifier: Apache-2.0

"""``backup create``: plan the backups that ``backup check`` misses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery.cloud import clock
from nova_recovery.cloud.db import backups
from nova_recovery.cloud.db.backups import Inventory, Verdict, Volume
from nova_recovery.engine.plan import Gate, Item, LeftOut, Plan, Step
from nova_recovery.procedures import Procedure
from nova_recovery.procedures.backups import assess
from nova_recovery.procedures.backups import read as read_module
from nova_recovery.procedures.backups.read import Outside, Scope
from nova_recovery.procedures.volumes import read as volumes_read
from nova_recovery.report import wording

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud


NAME = 'backup-create'


@dataclasses.dataclass(frozen=True)
class Request:
    """What was asked for.

    :ivar limit: what is older doesn't count, seconds
    :ivar at_most: so many volumes, the neediest; None: all
    :ivar incremental: where there is a good backup to build on
    :ivar in_use: what to do with volumes in use: ``refuse``, ``skip`` or
        ``force``
    :ivar per_backend: so many at a time of one back end
    :ivar everywhere: so many at a time
    :ivar settle: seconds until a request can't arrive any more
    :ivar patience: seconds that one backup may take
    """

    scope: Scope
    limit: int
    at_most: int | None = None
    incremental: bool = False
    in_use: str = 'refuse'
    per_backend: int = 2
    everywhere: int = 8
    settle: int = 1800
    patience: int = 86400


@dataclasses.dataclass(frozen=True)
class Situation:
    """The volumes with their backups, and what cinder's API says.

    :ivar outside: text where it says nothing
    """

    inventory: Inventory
    outside: Outside | str


def read(cloud: Cloud, request: Request) -> Situation:
    """Read what a plan is made from.

    :raises DatabaseUnavailable: cinder's; for a host or server any cell's
    :raises NotFound: a volume, a host or a project that isn't there
    """
    found = read_module.inventory(
        cloud, request.scope, request.limit, whole=request.incremental
    )
    return Situation(found, read_module.outside(cloud))


def make_plan(cloud: Cloud, request: Request) -> Plan:
    """Read the cloud and decide.

    :raises RecoveryError: see ``read`` and ``decide``
    """
    return decide(request, read(cloud, request), clock.now())


def decide(request: Request, found: Situation, now: str = '') -> Plan:
    """The plan: one backup for each volume that lacks a good one."""
    items: list[Item] = []
    left_out: list[LeftOut] = []
    beyond = 0
    wanted = assess.lacking(found.inventory, request.limit)
    for volume, judged in wanted:
        why = _unfit(request, volume)
        if why:
            left_out.append(LeftOut(f'volume:{volume.id}', volume.name, why))
        elif request.at_most is not None and len(items) >= request.at_most:
            beyond += 1
        else:
            items.append(_item(request, volume, judged, found))
    for one in request.scope.volumes:
        if all(volume.id != one for volume, _ in wanted):
            why = (
                'it has a good backup that is young enough (--older-than 0 '
                'makes another)'
            )
            left_out.append(LeftOut(f'volume:{one}', '', why))
    return Plan(
        procedure=NAME,
        title=f'back up {wording.count(len(items), "volume")}',
        arguments=_arguments(request),
        steps=(
            Step(
                'back-up',
                'back up volumes',
                tuple(items),
                {'backend': request.per_backend},
                at_a_time=request.everywhere,
            ),
        )
        if items
        else (),
        gates=_gates(request, found, items),
        notes=_notes(items, found, beyond),
        left_out=tuple(left_out),
        created_at=now,
    )


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates as they are now, for what the run hasn't begun with."""
    items = [item for item in plan.items() if item.subject not in touched]
    volumes = tuple(item.data['volume'] for item in items)
    request = dataclasses.replace(_request(plan.arguments), scope=Scope())
    # a volume that was deleted since is its item's own matter
    found = backups.of_cinder(volumes_read.cinder(cloud), volumes)
    return _gates(request, Situation(found, read_module.outside(cloud)), items)


def _gates(
    request: Request, found: Situation, items: list[Item]
) -> tuple[Gate, ...]:
    volumes = [
        found.inventory.volumes[item.data['volume']]
        for item in items
        if item.data['volume'] in found.inventory.volumes
    ]
    named = [found.inventory.volumes[one] for one in request.scope.volumes]
    return tuple(gates(volumes, named, request.in_use, found.outside))


def _unfit(request: Request, volume: Volume) -> str:
    """Why cinder would not back a volume up; '' if it would."""
    if volume.status == 'in-use':
        skipped = request.in_use == 'skip'
        return 'it is in use (--skip-in-use)' if skipped else ''
    if volume.status != 'available':
        return (
            f'it is {volume.status}; cinder backs up what is available or '
            'in use'
        )
    return ''


def _item(
    request: Request, volume: Volume, judged: Verdict, found: Situation
) -> Item:
    base, why = None, ''
    if request.incremental and not isinstance(found.outside, str):
        base, why = backups.base(
            volume,
            found.inventory.backups.get(volume.id, ()),
            found.outside.project,
        )
    return Item(
        id=f'create-backup:{volume.id}',
        kind='create-backup',
        subject=f'volume:{volume.id}',
        label=volume.name or volume.id,
        data={
            'volume': volume.id,
            'size': volume.size,
            'backend': volume.backend,
            'newest': judged.newest.id if judged.newest else None,
            'base': base,
            'why_full': why,
            'force': request.in_use == 'force',
            'settle': request.settle,
            'patience': request.patience,
        },
    )


def _notes(
    items: list[Item], found: Situation, beyond: int
) -> tuple[str, ...]:
    notes = []
    in_use = [
        item
        for item in items
        if found.inventory.volumes[item.data['volume']].status == 'in-use'
    ]
    if in_use:
        notes.append(
            f'{len(in_use)} of them are in use. The backup of a running '
            'guest is crash-consistent only: what the guest has not written '
            'to its disk yet is not in it.'
        )
    if items and not isinstance(found.outside, str):
        notes.append(
            f'The backups belong to your project, {found.outside.project}, '
            'and count for its quota; the members of the projects that have '
            'the volumes do not see them.'
        )
    if beyond:
        notes.append(f'{beyond} more volumes are for another time (--limit).')
    return tuple(notes)


def _arguments(request: Request) -> dict[str, Any]:
    arguments = dataclasses.asdict(request)
    arguments['scope']['volumes'] = list(request.scope.volumes)
    return arguments


def _request(arguments: Mapping[str, Any]) -> Request:
    scope = dict(arguments['scope'])
    scope['volumes'] = tuple(scope['volumes'])
    return Request(**{**arguments, 'scope': Scope(**scope)})


PROCEDURE = Procedure(NAME, make_plan, check)


def gates(
    volumes: Sequence[Volume],
    named: Sequence[Volume],
    in_use: str,
    outside: Outside | str,
) -> Iterator[Gate]:
    """The gates of a plan.

    :param volumes: that are to be backed up
    :param named: that the operator named
    :param in_use: ``refuse``, ``skip`` or ``force``
    :param outside: what cinder's API says, or why it says nothing
    """
    for volume in named:
        if volume.status not in ('available', 'in-use'):
            yield Gate(
                'volume-state',
                volume.id,
                'hard',
                'refused',
                f'it is {volume.status}',
                'cinder backs up what is available or in use',
            )
    if not volumes:
        return
    yield from _in_use(volumes, in_use)
    if isinstance(outside, str):
        yield Gate(
            'cinder-answers',
            '',
            'hard',
            'unknown',
            outside,
            'cinder-api must answer, to an administrator',
        )
        return
    yield from _backup_services(volumes, outside)
    yield from _back_ends(volumes, outside)
    yield from _quota(volumes, outside)
    encrypted = sum(volume.encrypted for volume in volumes)
    if encrypted:
        yield Gate(
            'keys-readable',
            '',
            'advice',
            'unknown',
            f'{encrypted} of the volumes are encrypted',
            'the key manager must let your project read their keys, else '
            'these backups fail',
        )


def _in_use(volumes: Sequence[Volume], in_use: str) -> Iterator[Gate]:
    count = sum(volume.status == 'in-use' for volume in volumes)
    if count and in_use != 'force':
        yield Gate(
            'not-in-use',
            '',
            'hard',
            'refused',
            f'{count} of {len(volumes)} volumes are in use, and the backup '
            'of a running guest is crash-consistent only',
            '--force takes them too, --skip-in-use leaves them out',
        )


def _backup_services(
    volumes: Iterable[Volume], outside: Outside
) -> Iterator[Gate]:
    """cinder's scheduler takes one of the volume's zone."""
    up = [one for one in outside.backup if one.up and not one.disabled]
    for zone in sorted({volume.zone or '' for volume in volumes}):
        able = sorted(one.host for one in up if not zone or one.zone == zone)
        if able:
            yield Gate(
                'backup-service',
                zone,
                'hard',
                'ok',
                f'cinder-backup is up on {", ".join(able)}',
            )
            continue
        all_of_them = ', '.join(
            f'{one.host} is {"up" if one.up else "down"}'
            + (' and disabled' if one.disabled else '')
            for one in sorted(outside.backup, key=lambda s: s.host)
            if not zone or one.zone == zone
        )
        yield Gate(
            'backup-service',
            zone,
            'hard',
            'refused',
            all_of_them or 'there is no cinder-backup for this zone',
            'start cinder-backup there; openstack volume service list '
            '--service cinder-backup',
        )


def _back_ends(volumes: Iterable[Volume], outside: Outside) -> Iterator[Gate]:
    """cinder-volume hands the volume out; a request waits for it for ever."""
    known = {one.host: one for one in outside.volume}
    for backend in sorted({volume.backend for volume in volumes}):
        one = known.get(backend)
        if one is not None and one.up:
            yield Gate(
                'back-end-up', backend, 'hard', 'ok', 'cinder-volume is up'
            )
        else:
            yield Gate(
                'back-end-up',
                backend,
                'hard',
                'refused',
                'cinder-volume is down'
                if one
                else 'cinder has no such cinder-volume',
                'start it, or leave its volumes out',
            )


def _quota(volumes: Sequence[Volume], outside: Outside) -> Iterator[Gate]:
    needed = {
        'backups': len(volumes),
        'gigabytes': sum(volume.size for volume in volumes),
    }
    short = [
        f'{needed[key]} {key} are needed and {room} are left'
        for key, room in sorted(outside.room.items())
        if room is not None and room < needed[key]
    ]
    if short:
        yield Gate(
            'quota',
            outside.project,
            'soft',
            'refused',
            '; '.join(short),
            'openstack quota set --backups N --backup-gigabytes N '
            f'{outside.project}, or --limit',
        )
