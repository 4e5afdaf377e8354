# SPDX-License-Identifier: Apache-2.0

"""Whether a volume has a good backup that is young enough. Pure."""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses
import datetime

from nova_recovery.cloud.db import backups
from nova_recovery.cloud.db.backups import Backup, Volume


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What there is of backups of one volume.

    :ivar newest: the newest that can be restored
    :ivar age: of what is in it, seconds
    :ivar why: why that is not good enough; '' if it is
    """

    newest: Backup | None
    age: float | None
    why: str

    @property
    def good(self) -> bool:
        return not self.why


def judge(
    found: Iterable[Backup], now: datetime.datetime, limit: float
) -> Verdict:
    """Judge the backups of one volume.

    :param limit: what is older doesn't count, seconds
    """
    known = {one.id: one for one in found}
    ordered = sorted(known.values(), key=lambda b: (b.taken, b.id))
    newest, last = None, ''
    for one in reversed(ordered):
        why = broken(one, known)
        if not why:
            newest = one
            break
        last = last or why
    if newest is None:
        return Verdict(None, None, last or 'no backup')
    age = (now - newest.taken).total_seconds()
    if age <= limit:
        return Verdict(newest, age, '')
    why = f'older than {duration(limit)}'
    return Verdict(newest, age, f'{why}; {last}' if last else why)


def broken(one: Backup, known: dict[str, Backup]) -> str:
    """Why a backup can't be restored; '' if it can.

    An incremental one needs all those on which it builds.

    :param known: all backups of the volume, by id
    """
    if one.status not in backups.SOUND:
        reason = f': {one.reason}' if one.reason else ''
        return f'backup {one.id} is {one.status}{reason}'
    seen = {one.id}
    below = one
    while below.parent:
        parent = known.get(below.parent)
        if parent is None or parent.id in seen:
            return (
                f'backup {one.id} is incremental, and {below.parent} is gone'
            )
        if parent.status not in backups.SOUND:
            return (
                f'backup {one.id} is incremental, and {parent.id} is '
                f'{parent.status}'
            )
        seen.add(parent.id)
        below = parent
    return ''


def base(
    volume: Volume, found: Iterable[Backup], project: str
) -> tuple[str | None, str]:
    """The backup on which cinder would build, or why none is fit for it.

    Cinder takes the newest available one of the caller's project, whatever
    became of those below it (``create`` in cinder/backup/api.py).

    :param project: of whoever asks for the backup
    """
    known = {one.id: one for one in found}
    own = [
        one
        for one in known.values()
        if one.project == project and one.status == 'available'
    ]
    if not own:
        return None, 'your project has none to build on'
    newest = max(own, key=lambda b: b.taken)
    why = broken(newest, known)
    if why:
        return None, why
    if volume.size > newest.size:
        return None, f'the volume was extended since {newest.id}'
    return newest.id, ''


def duration(seconds: float) -> str:
    """``7d``, ``2d 3h``, ``5h 10m``, ``0m``: a unit and the next smaller."""
    minutes = int(seconds) // 60
    parts = (
        (minutes // 1440, 'd'),
        (minutes // 60 % 24, 'h'),
        (minutes % 60, 'm'),
    )
    for place, (count, _) in enumerate(parts):
        if count:
            return ' '.join(
                f'{n}{unit}' for n, unit in parts[place : place + 2] if n
            )
    return '0m'
