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

from nova_recovery.changes import history, once
from nova_recovery.changes import volume_rows as rows
from nova_recovery.changes.base import BaseChange
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
    NotRevertible,
    OutcomeUnknown,
)


class AttachVolume(BaseChange):
    """Data: cell, uuid, volume, device, tag, settle, patience.

    And delete_on_termination, where the volume is to go with its server.
    """

    kind = 'attach-volume'
    once = True

    def describe(self, item: Item) -> list[str]:
        data = item.data
        tag = f'  tag {data["tag"]}' if data['tag'] else ''
        deleted = '  deleted with it' if _deleted(item) else ''
        return [
            f'> attached, once  {data["device"] or "next device"}'
            f'{tag}{deleted}'
        ]

    def observe(
        self, item: Item, context: Context, past: Past | None
    ) -> Observed:
        if past is None:
            if rows.mapping(item, context) is not None:
                return Observed(State.NEITHER, 'nova maps it by now')
            image = {
                'newest_fault': history.newest(
                    item, context, 'instance_faults'
                )
            }
            found = rows.volume(item, context)
            if found.status == 'available' or (
                found.multiattach and found.status == 'in-use'
            ):
                return Observed(State.BEFORE, image=image)
            return Observed(State.NEITHER, f'it is {found.status} now')
        return self._standing(item, context, past)

    def apply(self, item: Item, context: Context, image: JSON) -> str:
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
        except ChangeFailed as error:
            if rows.mapping(item, context) is None:
                raise
            # Already attached, says nova: not to be sent again, but looked
            # at.
            raise OutcomeUnknown(str(error)) from error
        context.note(accepted=True, request_id=request_id)
        return 'accepted'

    def follow(self, item: Item, context: Context, past: Past) -> str:
        deadline = time.monotonic() + item.data['patience']
        while True:
            now = _mapped(item, context)
            if now is None:
                raise ChangeFailed(
                    f'nova gave up: {history.fault(item, context, past)}'
                )
            if now.state is State.AFTER:
                return now.detail + _not_kept(item, context)
            if time.monotonic() > deadline:
                raise OutcomeUnknown(
                    f'under way for {item.data["patience"]} s: {now.detail}'
                )
            context.progress(now.detail)
            if context.stopping.wait(once.POLL):
                raise Interrupted

    def revert(self, item: Item, context: Context, past: Past) -> str:
        if rows.mapping(item, context) is None:
            return 'already as it was'
        raise NotRevertible(self.no_way_back(item))

    def no_way_back(self, item: Item) -> str:
        return (
            'the guest may use it by now; when it does not: openstack server '
            f'remove volume {item.data["uuid"]} {item.data["volume"]}'
        )

    def _standing(self, item: Item, context: Context, past: Past) -> Observed:
        """What became of a request; waits while it may still arrive."""
        deadline = time.monotonic() + item.data['settle']
        while True:
            now = _mapped(item, context)
            if now is not None:
                return now
            if past.notes.get('accepted'):
                return Observed(
                    State.NEITHER,
                    f'nova gave up: {history.fault(item, context, past)}',
                )
            if time.monotonic() > deadline:
                break
            context.progress('making sure that nothing is on its way')
            if context.stopping.wait(once.POLL):
                raise Interrupted
        found = rows.volume(item, context)
        own = [a for a in found.attachments if a.server == item.data['uuid']]
        if own:
            return Observed(
                State.UNKNOWN,
                f'cinder has attachment {own[0].id} for it, and nova no '
                'mapping',
            )
        return Observed(State.BEFORE, image=past.image)


def _deleted(item: Item) -> bool:
    return bool(item.data.get('delete_on_termination'))


def _not_kept(item: Item, context: Context) -> str:
    """What an old nova could not be asked for."""
    row = rows.mapping(item, context)
    if _deleted(item) and row is not None and not row['delete_on_termination']:
        return '; not deleted with the server, as it was: nova is too old'
    return ''


def _mapped(item: Item, context: Context) -> Observed | None:
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
        return Observed(State.AFTER, f'attached as {row["device_name"]}')
    return Observed(State.UNDERWAY, f'the volume is {found.status}')
