# SPDX-License-Identifier: Apache-2.0

"""Ask cinder for a backup of a volume, once.

Neither the id nor the request id of a backup can be chosen before it is
asked for, but its name can: that of a backup of ours names the run, and the
row names the volume. So a request without an answer is found again, and the
names make out the backups of a run: ``openstack volume backup list --name``.

cinder-api marks the volume *backing-up* before it writes the backup's row
(``create`` in cinder/backup/api.py): a volume that stays so without one is
what an API that died in between leaves behind.
"""

from __future__ import annotations

import time

from nova_recovery.changes import once, volume_rows
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.cloud.db import backups
from nova_recovery.cloud.db.backups import Inventory
from nova_recovery.engine.change import JSON, Observed, State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import (
    ChangeFailed,
    NotFound,
    NotRevertible,
    OutcomeUnknown,
)

#: Seconds between two looks at a backup under way.
POLL = 1.0


def name(run_id: str) -> str:
    """What all backups of a run are called."""
    return f'nova-recovery-{run_id}'


class CreateBackup(BaseChange):
    """A backup that cinder-backup makes.

    Data: volume, size, force, base (the backup on which it builds, None for
    a full one), why_full, newest (the newest good one when the plan was
    made), settle, patience.
    """

    kind = 'create-backup'
    once = confirms = True

    def describe(self, item: Item) -> list[str]:
        data = item.data
        if data['base']:
            what = f'incremental on {data["base"]}'
        elif data['why_full']:
            what = f'full ({data["why_full"]})'
        else:
            what = 'full'
        return [f'+ backup, {what}  {data["size"]} GiB']

    def observe(self, at: At) -> Observed:
        if at.begun:
            return self._standing(at)
        before = self._ready(at, self._look(at))
        if before is not None:
            return before
        known = [row['id'] for row in _named(at)]
        return Observed.before({'known': known, **once.STAMPED})

    def apply(self, at: At) -> str:
        data = at.data
        once.about_to_send(at)
        made = at.cloud.volume.create_backup(
            data['volume'],
            name(at.run_id),
            at.marker,
            bool(data['base']),
            data['force'],
        )
        at.note(backup=made)
        return f'backup {made}'

    def follow(self, at: At) -> str:
        began = time.monotonic()
        while True:
            waited = time.monotonic() - began
            row = _ours(at)
            # we may read from another node of the cluster, which is a
            # little behind
            wait = min(once.RECORDED, at.data['settle'])
            if row is None and waited < wait:
                now = Observed.underway('cinder has no record of it yet')
            else:
                now = _now(at, row)
            if now.state is State.AFTER:
                return now.detail
            if now.state is State.NEITHER:
                raise ChangeFailed(now.detail)
            if waited > at.data['patience']:
                raise OutcomeUnknown(
                    f'{now.detail} for {backups.duration(waited)}; look '
                    'whether cinder-backup is up there: when it starts '
                    'anew, it gives up what it was at'
                )
            at.progress(f'{now.detail} for {int(waited)} s')
            at.wait(POLL)

    def revert(self, at: At) -> str:
        row = _ours(at)
        if row is None:
            return 'there is no backup'
        raise NotRevertible(
            f'backup {row["id"]} is kept',
            'when it is not wanted: openstack volume backup delete '
            f'{row["id"]}',
        )

    def no_way_back(self, item: Item) -> str:
        return (
            'the backup is kept; when it is not wanted: openstack volume '
            'backup delete'
        )

    def _look(self, at: At) -> Inventory:
        uuid = at.data['volume']
        found = backups.of_cinder(volume_rows.cinder(at), [uuid])
        if uuid not in found.volumes:
            raise NotFound(f'volume {uuid} was deleted')
        return found

    def _ready(self, at: At, found: Inventory) -> Observed | None:
        """Why a backup makes no sense (any more); None if it does."""
        data = at.data
        volume = found.volumes[data['volume']]
        mine = found.backups.get(volume.id, ())
        newest = backups.judge(mine, found.now, 0).newest
        if newest is not None and newest.id != data['newest']:
            return Observed.after(f'{newest.id} was made since the plan')
        if volume.status != 'available' and not (
            volume.status == 'in-use' and data['force']
        ):
            return Observed.neither(f'the volume is {volume.status} now')
        if data['base'] and (newest is None or data['base'] != newest.id):
            below = {one.id: one for one in mine}.get(data['base'])
            if below is None or backups.broken(
                below, {one.id: one for one in mine}
            ):
                return Observed.neither(
                    f'backup {data["base"]}, on which it was to build, is '
                    'no longer good'
                )
        return None

    def _standing(self, at: At) -> Observed:
        """What became of a request; waits while it may still arrive."""
        deadline = time.monotonic() + once.unsettled(at)
        while True:
            row = _ours(at)
            if row is not None:
                return _now(at, row)
            if time.monotonic() > deadline:
                break
            at.progress('making sure that nothing is on its way')
            at.pause(POLL)
        if at.notes.get('backup'):
            return _now(at, None)
        found = self._look(at)
        ready = self._ready(at, found)
        if ready is None:
            return Observed.before(at.image)
        if found.volumes[at.data['volume']].status == 'backing-up':
            return Observed.unknown(
                'the volume is backing-up and cinder has no backup of ours'
            )
        return ready


def _named(at: At) -> list[JSON]:
    return backups.of_run(
        volume_rows.cinder(at), at.data['volume'], name(at.run_id)
    )


def _ours(at: At) -> JSON | None:
    """The row of our backup: by its id, else the new one of our name."""
    made = at.notes.get('backup')
    if made:
        return backups.state(volume_rows.cinder(at), made)
    known = set(at.image.get('known', ()))
    new = [row for row in _named(at) if row['id'] not in known]
    return new[0] if new else None


def _now(at: At, row: JSON | None) -> Observed:
    """How our backup stands."""
    if row is None:
        made = at.notes.get('backup', '')
        return Observed.neither(f'backup {made} was deleted')
    if row['status'] in backups.SOUND:
        return Observed.after(f'backup {row["id"]}')
    told = f'backup {row["id"]} is {row["status"]}'
    if row['status'] == 'creating':
        where = f' on {row["host"]}' if row['host'] else ''
        return Observed.underway(told + where)
    reason = f': {row["fail_reason"]}' if row['fail_reason'] else ''
    return Observed.neither(told + reason)
