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

from nova_recovery.changes import volume_rows
from nova_recovery.changes.base import BaseChange
from nova_recovery.cloud.db import backup_chains, backups
from nova_recovery.cloud.db.backups import Inventory
from nova_recovery.engine.change import (
    Context,
    Interrupted,
    JSON,
    Observed,
    Past,
    State,
)
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
    once = True

    def describe(self, item: Item) -> list[str]:
        data = item.data
        if data['base']:
            what = f'incremental on {data["base"]}'
        elif data['why_full']:
            what = f'full ({data["why_full"]})'
        else:
            what = 'full'
        return [f'+ backup, {what}  {data["size"]} GiB']

    def observe(
        self, item: Item, context: Context, past: Past | None
    ) -> Observed:
        if past is not None:
            return self._standing(item, context, past)
        before = self._ready(item, self._look(item, context))
        if before is not None:
            return before
        known = [row['id'] for row in _named(item, context)]
        return Observed(State.BEFORE, image={'known': known})

    def apply(self, item: Item, context: Context, image: JSON) -> str:
        data = item.data
        made = context.cloud.volume.create_backup(
            data['volume'],
            name(context.run_id),
            context.marker,
            bool(data['base']),
            data['force'],
        )
        context.note(backup=made)
        return f'backup {made}'

    def follow(self, item: Item, context: Context, past: Past) -> str:
        began = time.monotonic()
        while True:
            waited = time.monotonic() - began
            row = _ours(item, context, past)
            # we may read from another node of the cluster, which is a
            # little behind
            if row is None and waited < item.data['settle']:
                now = Observed(
                    State.UNDERWAY, 'cinder has no record of it yet'
                )
            else:
                now = _now(row, past)
            if now.state is State.AFTER:
                return now.detail
            if now.state is State.NEITHER:
                raise ChangeFailed(now.detail)
            if waited > item.data['patience']:
                raise OutcomeUnknown(
                    f'{now.detail} for {backup_chains.duration(waited)}; look '
                    'whether cinder-backup is up there: when it starts '
                    'anew, it gives up what it was at'
                )
            context.progress(f'{now.detail} for {int(waited)} s')
            if context.stopping.wait(POLL):
                raise Interrupted

    def revert(self, item: Item, context: Context, past: Past) -> str:
        row = _ours(item, context, past)
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

    def _look(self, item: Item, context: Context) -> Inventory:
        uuid = item.data['volume']
        found = backups.of_cinder(volume_rows.cinder(context), [uuid])
        if uuid not in found.volumes:
            raise NotFound(f'volume {uuid} was deleted')
        return found

    def _ready(self, item: Item, found: Inventory) -> Observed | None:
        """Why a backup makes no sense (any more); None if it does."""
        data = item.data
        volume = found.volumes[data['volume']]
        mine = found.backups.get(volume.id, ())
        newest = backup_chains.judge(mine, found.now, 0).newest
        if newest is not None and newest.id != data['newest']:
            return Observed(
                State.AFTER, f'{newest.id} was made since the plan'
            )
        if volume.status != 'available' and not (
            volume.status == 'in-use' and data['force']
        ):
            return Observed(
                State.NEITHER, f'the volume is {volume.status} now'
            )
        if data['base'] and (newest is None or data['base'] != newest.id):
            below = {one.id: one for one in mine}.get(data['base'])
            if below is None or backup_chains.broken(
                below, {one.id: one for one in mine}
            ):
                return Observed(
                    State.NEITHER,
                    f'backup {data["base"]}, on which it was to build, is '
                    'no longer good',
                )
        return None

    def _standing(self, item: Item, context: Context, past: Past) -> Observed:
        """What became of a request; waits while it may still arrive."""
        deadline = time.monotonic() + item.data['settle']
        while True:
            row = _ours(item, context, past)
            if row is not None:
                return _now(row, past)
            if time.monotonic() > deadline:
                break
            context.progress('making sure that nothing is on its way')
            if context.stopping.wait(POLL):
                raise Interrupted
        if past.notes.get('backup'):
            return _now(None, past)
        found = self._look(item, context)
        ready = self._ready(item, found)
        if ready is None:
            return Observed(State.BEFORE, image=past.image)
        if found.volumes[item.data['volume']].status == 'backing-up':
            return Observed(
                State.UNKNOWN,
                'the volume is backing-up and cinder has no backup of ours',
            )
        return ready


def _named(item: Item, context: Context) -> list[JSON]:
    return backups.of_run(
        volume_rows.cinder(context), item.data['volume'], name(context.run_id)
    )


def _ours(item: Item, context: Context, past: Past) -> JSON | None:
    """The row of our backup: by its id, else the new one of our name."""
    made = past.notes.get('backup')
    if made:
        return backups.state(volume_rows.cinder(context), made)
    known = set(past.image.get('known', ()))
    new = [row for row in _named(item, context) if row['id'] not in known]
    return new[0] if new else None


def _now(row: JSON | None, past: Past) -> Observed:
    """How our backup stands."""
    if row is None:
        made = past.notes.get('backup', '')
        return Observed(State.NEITHER, f'backup {made} was deleted')
    if row['status'] in backups.SOUND:
        return Observed(State.AFTER, f'backup {row["id"]}')
    told = f'backup {row["id"]} is {row["status"]}'
    if row['status'] == 'creating':
        where = f' on {row["host"]}' if row['host'] else ''
        return Observed(State.UNDERWAY, told + where)
    reason = f': {row["fail_reason"]}' if row['fail_reason'] else ''
    return Observed(State.NEITHER, told + reason)
