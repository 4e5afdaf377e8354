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

from nova_recovery.changes import base
from nova_recovery.changes import volume_rows
from nova_recovery.cloud import backup_chains
from nova_recovery.cloud import backups
from nova_recovery.engine import change
from nova_recovery.engine import plan
from nova_recovery import exceptions

JSON = change.JSON
#: Seconds between two looks at a backup under way.
POLL = 1.0


def name(run_id: str) -> str:
    """What all backups of a run are called."""
    return f'nova-recovery-{run_id}'


class CreateBackup(base.BaseChange):
    """A backup that cinder-backup makes.

    Data: volume, size, force, base (the backup on which it builds, None for
    a full one), why_full, newest (the newest good one when the plan was
    made), settle, patience.
    """

    kind = 'create-backup'
    once = True

    def describe(self, item: plan.Item) -> list[str]:
        data = item.data
        if data['base']:
            what = f'incremental on {data["base"]}'
        elif data['why_full']:
            what = f'full ({data["why_full"]})'
        else:
            what = 'full'
        return [f'+ backup, {what}  {data["size"]} GiB']

    def observe(
        self,
        item: plan.Item,
        context: change.Context,
        past: change.Past | None,
    ) -> change.Observed:
        if past is not None:
            return self._standing(item, context, past)
        before = self._ready(item, self._look(item, context))
        if before is not None:
            return before
        known = [row['id'] for row in _named(item, context)]
        return change.Observed(change.State.BEFORE, image={'known': known})

    def apply(
        self, item: plan.Item, context: change.Context, image: JSON
    ) -> str:
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

    def follow(
        self, item: plan.Item, context: change.Context, past: change.Past
    ) -> str:
        began = time.monotonic()
        while True:
            waited = time.monotonic() - began
            row = _ours(item, context, past)
            # we may read from another node of the cluster, which is a
            # little behind
            if row is None and waited < item.data['settle']:
                now = change.Observed(
                    change.State.UNDERWAY, 'cinder has no record of it yet'
                )
            else:
                now = _now(row, past)
            if now.state is change.State.AFTER:
                return now.detail
            if now.state is change.State.NEITHER:
                raise exceptions.ChangeFailed(now.detail)
            if waited > item.data['patience']:
                raise exceptions.OutcomeUnknown(
                    f'{now.detail} for {backup_chains.duration(waited)}; look '
                    'whether cinder-backup is up there: when it starts '
                    'anew, it gives up what it was at'
                )
            context.progress(f'{now.detail} for {int(waited)} s')
            if context.stopping.wait(POLL):
                raise change.Interrupted

    def revert(
        self, item: plan.Item, context: change.Context, past: change.Past
    ) -> str:
        row = _ours(item, context, past)
        if row is None:
            return 'there is no backup'
        raise exceptions.NotRevertible(
            f'backup {row["id"]} is kept',
            'when it is not wanted: openstack volume backup delete '
            f'{row["id"]}',
        )

    def no_way_back(self, item: plan.Item) -> str:
        return (
            'the backup is kept; when it is not wanted: openstack volume '
            'backup delete'
        )

    def _look(
        self, item: plan.Item, context: change.Context
    ) -> backups.Inventory:
        uuid = item.data['volume']
        found = backups.of_cinder(volume_rows.cinder(context), [uuid])
        if uuid not in found.volumes:
            raise exceptions.NotFound(f'volume {uuid} was deleted')
        return found

    def _ready(
        self, item: plan.Item, found: backups.Inventory
    ) -> change.Observed | None:
        """Why a backup makes no sense (any more); None if it does."""
        data = item.data
        volume = found.volumes[data['volume']]
        mine = found.backups.get(volume.id, ())
        newest = backup_chains.judge(mine, found.now, 0).newest
        if newest is not None and newest.id != data['newest']:
            return change.Observed(
                change.State.AFTER, f'{newest.id} was made since the plan'
            )
        if volume.status != 'available' and not (
            volume.status == 'in-use' and data['force']
        ):
            return change.Observed(
                change.State.NEITHER, f'the volume is {volume.status} now'
            )
        if data['base'] and (newest is None or data['base'] != newest.id):
            below = {one.id: one for one in mine}.get(data['base'])
            if below is None or backup_chains.broken(
                below, {one.id: one for one in mine}
            ):
                return change.Observed(
                    change.State.NEITHER,
                    f'backup {data["base"]}, on which it was to build, is '
                    'no longer good',
                )
        return None

    def _standing(
        self, item: plan.Item, context: change.Context, past: change.Past
    ) -> change.Observed:
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
                raise change.Interrupted
        if past.notes.get('backup'):
            return _now(None, past)
        found = self._look(item, context)
        ready = self._ready(item, found)
        if ready is None:
            return change.Observed(change.State.BEFORE, image=past.image)
        if found.volumes[item.data['volume']].status == 'backing-up':
            return change.Observed(
                change.State.UNKNOWN,
                'the volume is backing-up and cinder has no backup of ours',
            )
        return ready


def _named(item: plan.Item, context: change.Context) -> list[JSON]:
    return backups.of_run(
        volume_rows.cinder(context),
        item.data['volume'],
        name(context.run_id),
    )


def _ours(
    item: plan.Item, context: change.Context, past: change.Past
) -> JSON | None:
    """The row of our backup: by its id, else the new one of our name."""
    made = past.notes.get('backup')
    if made:
        return backups.state(volume_rows.cinder(context), made)
    known = set(past.image.get('known', ()))
    new = [row for row in _named(item, context) if row['id'] not in known]
    return new[0] if new else None


def _now(row: JSON | None, past: change.Past) -> change.Observed:
    """How our backup stands."""
    if row is None:
        made = past.notes.get('backup', '')
        return change.Observed(
            change.State.NEITHER, f'backup {made} was deleted'
        )
    if row['status'] in backups.SOUND:
        return change.Observed(change.State.AFTER, f'backup {row["id"]}')
    told = f'backup {row["id"]} is {row["status"]}'
    if row['status'] == 'creating':
        where = f' on {row["host"]}' if row['host'] else ''
        return change.Observed(change.State.UNDERWAY, told + where)
    reason = f': {row["fail_reason"]}' if row['fail_reason'] else ''
    return change.Observed(change.State.NEITHER, told + reason)
