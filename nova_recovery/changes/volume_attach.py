# SPDX-License-Identifier: Apache-2.0

"""Attach a volume through nova, once.

nova makes its mapping first, by a call that the host answers, then cinder's
attachment, and only then records the action (``attach_volume`` in
nova/conductor/manager.py): so it is the mapping that tells whether a
request arrived. To a dead host it is never sent: the call would wait in the
message bus, and its replay leaves a mapping that no API repairs.
"""

from __future__ import annotations

import time

from nova_recovery.changes import base
from nova_recovery.changes import history
from nova_recovery.changes import once
from nova_recovery.changes import volume_rows as rows
from nova_recovery.engine import change
from nova_recovery.engine import plan
from nova_recovery import exceptions

JSON = change.JSON


class AttachVolume(base.BaseChange):
    """Data: cell, uuid, volume, device, tag, settle, patience.

    And delete_on_termination, where the volume is to go with its server.
    """

    kind = 'attach-volume'
    once = True

    def describe(self, item: plan.Item) -> list[str]:
        data = item.data
        tag = f'  tag {data["tag"]}' if data['tag'] else ''
        deleted = '  deleted with it' if _deleted(item) else ''
        return [
            f'> attached, once  {data["device"] or "next device"}'
            f'{tag}{deleted}'
        ]

    def observe(
        self,
        item: plan.Item,
        context: change.Context,
        past: change.Past | None,
    ) -> change.Observed:
        if past is None:
            if rows.mapping(item, context) is not None:
                return change.Observed(
                    change.State.NEITHER, 'nova maps it by now'
                )
            image = {'newest_fault': history.newest(
                item, context, 'instance_faults'
            )}
            found = rows.volume(item, context)
            if found.status == 'available' or (
                found.multiattach and found.status == 'in-use'
            ):
                return change.Observed(change.State.BEFORE, image=image)
            return change.Observed(
                change.State.NEITHER, f'it is {found.status} now'
            )
        return self._standing(item, context, past)

    def apply(
        self, item: plan.Item, context: change.Context, image: JSON
    ) -> str:
        data = item.data
        once.require_up(context.cloud.compute, item, context)
        try:
            request_id = context.cloud.compute.attach_volume(
                data['uuid'],
                data['volume'],
                data['device'],
                data['tag'],
                _deleted(item),
            )
        except exceptions.ChangeFailed as error:
            if rows.mapping(item, context) is None:
                raise
            # Already attached, says nova: not to be sent again, but looked
            # at.
            raise exceptions.OutcomeUnknown(str(error)) from error
        context.note(accepted=True, request_id=request_id)
        return 'accepted'

    def follow(
        self, item: plan.Item, context: change.Context, past: change.Past
    ) -> str:
        deadline = time.monotonic() + item.data['patience']
        while True:
            now = _mapped(item, context)
            if now is None:
                raise exceptions.ChangeFailed(
                    f'nova gave up: {history.fault(item, context, past)}'
                )
            if now.state is change.State.AFTER:
                return now.detail + _not_kept(item, context)
            if time.monotonic() > deadline:
                raise exceptions.OutcomeUnknown(
                    f'under way for {item.data["patience"]} s: {now.detail}'
                )
            context.progress(now.detail)
            if context.stopping.wait(once.POLL):
                raise change.Interrupted

    def revert(
        self, item: plan.Item, context: change.Context, past: change.Past
    ) -> str:
        if rows.mapping(item, context) is None:
            return 'already as it was'
        raise exceptions.NotRevertible(self.no_way_back(item))

    def no_way_back(self, item: plan.Item) -> str:
        return (
            'the guest may use it by now; when it does not: openstack server '
            f'remove volume {item.data["uuid"]} {item.data["volume"]}'
        )

    def _standing(
        self, item: plan.Item, context: change.Context, past: change.Past
    ) -> change.Observed:
        """What became of a request; waits while it may still arrive."""
        deadline = time.monotonic() + item.data['settle']
        while True:
            now = _mapped(item, context)
            if now is not None:
                return now
            if past.notes.get('accepted'):
                return change.Observed(
                    change.State.NEITHER,
                    f'nova gave up: {history.fault(item, context, past)}',
                )
            if time.monotonic() > deadline:
                break
            context.progress('making sure that nothing is on its way')
            if context.stopping.wait(once.POLL):
                raise change.Interrupted
        found = rows.volume(item, context)
        own = [a for a in found.attachments if a.server == item.data['uuid']]
        if own:
            return change.Observed(
                change.State.UNKNOWN,
                f'cinder has attachment {own[0].id} for it, and nova no '
                'mapping',
            )
        return change.Observed(change.State.BEFORE, image=past.image)


def _deleted(item: plan.Item) -> bool:
    return bool(item.data.get('delete_on_termination'))


def _not_kept(item: plan.Item, context: change.Context) -> str:
    """What an old nova could not be asked for."""
    row = rows.mapping(item, context)
    if _deleted(item) and row is not None and not row['delete_on_termination']:
        return '; not deleted with the server, as it was: nova is too old'
    return ''


def _mapped(
    item: plan.Item, context: change.Context
) -> change.Observed | None:
    """How far the attach is, None if nova has no mapping."""
    row = rows.mapping(item, context)
    if row is None:
        return None
    found = rows.volume(item, context)
    status = {a.id: a.status for a in found.attachments}
    if (
        status.get(row['attachment_id'] or '') == 'attached'
        and found.status == 'in-use'
        and rows.connected(row)
    ):
        return change.Observed(
            change.State.AFTER, f'attached as {row["device_name"]}'
        )
    return change.Observed(
        change.State.UNDERWAY, f'the volume is {found.status}'
    )
