# SPDX-License-Identifier: Apache-2.0

"""What must hold before backups are asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from nova_recovery.cloud.db.backups import Volume
from nova_recovery.engine.plan import Gate
from nova_recovery.procedures.backups.read import Outside


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
    up = [one for one in outside.backup if one.enabled and one.up]
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
            + ('' if one.enabled else ' and disabled')
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
