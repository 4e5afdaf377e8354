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
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.engine.change import JSON, Observed, State
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
        deleted = '  deleted with it' if _deleted(data) else ''
        return [
            f'> attached, once  {data["device"] or "next device"}'
            f'{tag}{deleted}'
        ]

    def observe(self, at: At) -> Observed:
        if not at.begun:
            if rows.mapping(at) is not None:
                return Observed.neither('nova maps it by now')
            image = {'newest_fault': history.newest(at, 'instance_faults')}
            found = rows.volume(at)
            if found.status == 'available' or (
                found.multiattach and found.status == 'in-use'
            ):
                return Observed.before(image)
            return Observed.neither(f'it is {found.status} now')
        return self._standing(at)

    def apply(self, at: At) -> str:
        data = at.data
        once.require_up(at)
        try:
            request_id = at.cloud.compute.attach_volume(
                data['uuid'],
                data['volume'],
                data['device'],
                data['tag'],
                _deleted(at.data),
            )
        except ChangeFailed as error:
            if rows.mapping(at) is None:
                raise
            # Already attached, says nova: not to be sent again, but looked
            # at.
            raise OutcomeUnknown(str(error)) from error
        at.note(accepted=True, request_id=request_id)
        return 'accepted'

    def follow(self, at: At) -> str:
        deadline = time.monotonic() + at.data['patience']
        while True:
            now = _mapped(at)
            if now is None:
                raise ChangeFailed(f'nova gave up: {history.fault(at)}')
            if now.state is State.AFTER:
                return now.detail + _not_kept(at)
            if time.monotonic() > deadline:
                raise OutcomeUnknown(
                    f'under way for {at.data["patience"]} s: {now.detail}'
                )
            at.progress(now.detail)
            at.wait(once.POLL)

    def revert(self, at: At) -> str:
        if rows.mapping(at) is None:
            return 'already as it was'
        raise NotRevertible(self.no_way_back(at.item))

    def no_way_back(self, item: Item) -> str:
        return (
            'the guest may use it by now; when it does not: openstack server '
            f'remove volume {item.data["uuid"]} {item.data["volume"]}'
        )

    def _standing(self, at: At) -> Observed:
        """What became of a request; waits while it may still arrive."""
        deadline = time.monotonic() + at.data['settle']
        while True:
            now = _mapped(at)
            if now is not None:
                return now
            if at.notes.get('accepted'):
                return Observed.neither(f'nova gave up: {history.fault(at)}')
            if time.monotonic() > deadline:
                break
            at.progress('making sure that nothing is on its way')
            at.wait(once.POLL)
        found = rows.volume(at)
        own = [a for a in found.attachments if a.server == at.data['uuid']]
        if own:
            return Observed.unknown(
                f'cinder has attachment {own[0].id} for it, and nova no '
                'mapping'
            )
        return Observed.before(at.image)


def _deleted(data: JSON) -> bool:
    return bool(data.get('delete_on_termination'))


def _not_kept(at: At) -> str:
    """What an old nova could not be asked for."""
    row = rows.mapping(at)
    if (
        _deleted(at.data)
        and row is not None
        and not row['delete_on_termination']
    ):
        return '; not deleted with the server, as it was: nova is too old'
    return ''


def _mapped(at: At) -> Observed | None:
    """How far the attach is, None if nova has no mapping."""
    row = rows.mapping(at)
    if row is None:
        return None
    found = rows.volume(at)
    status = {a.id: a.status for a in found.attachments}
    if (
        status.get(row['attachment_id'] or '') == 'attached'
        and found.status == 'in-use'
        and rows.connected(row)
    ):
        return Observed.after(f'attached as {row["device_name"]}')
    return Observed.underway(f'the volume is {found.status}')
