# SPDX-License-Identifier: Apache-2.0

"""A volume is attached through nova, or an attachment of it dropped.

To attach is sent once. nova makes its mapping first, by a call that the host
answers, then cinder's attachment, and only then records the action
(``attach_volume`` in nova/conductor/manager.py): so it is the mapping that
tells whether a request arrived. To a dead host it is never sent: the call
would wait in the message bus, and its replay leaves a mapping that no API
repairs.
"""

from __future__ import annotations

import time

from nova_recovery import program
from nova_recovery.changes import cell, history, once
from nova_recovery.changes import volume_rows as rows
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.engine.change import JSON, Observed, State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import (
    ChangeFailed,
    NotFound,
    NotRevertible,
    OutcomeUnknown,
    RecoveryError,
)


class AttachVolume(BaseChange):
    """One volume for one server.

    Data: cell, uuid, volume, device, tag, settle, patience; and
    delete_on_termination, where the volume is to go with its server.
    """

    kind = 'attach-volume'
    once = confirms = True

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
            image = {
                **once.STAMPED,
                'newest_fault': history.newest(at, 'instance_faults'),
            }
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
        once.about_to_send(at)
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
        deadline = time.monotonic() + once.unsettled(at)
        while True:
            now = _mapped(at)
            if now is not None:
                return now
            if at.notes.get('accepted'):
                return Observed.neither(f'nova gave up: {history.fault(at)}')
            if time.monotonic() > deadline:
                break
            at.progress('making sure that nothing is on its way')
            at.pause(once.POLL)
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


class DropAttachment(BaseChange):
    """One attachment of a volume.

    Data: volume, attachment, seen (its status), uuid and cell of its server
    (cell None: it is gone).

    cinder tells the storage and sets the volume's status to what the other
    attachments make of it. It lets an administrator do so because nova
    names no such attachment (CVE-2023-2088).
    """

    kind = 'drop-attachment'

    def describe(self, item: Item) -> list[str]:
        return [f'- attachment {item.data["attachment"]}  by cinder']

    def observe(self, at: At) -> Observed:
        wanted = at.data['attachment']
        for one in rows.volume(at).attachments:
            if one.id == wanted:
                if not at.begun and one.status != at.data['seen']:
                    return Observed.neither(f'it is {one.status} now')
                taken = None
                if one.status != 'reserved':
                    taken = used(at, one.host)
                return taken or Observed.before()
        return Observed.after('gone')

    def apply(self, at: At) -> str:
        at.cloud.volume.delete_attachment(at.data['attachment'])
        return 'deleted'

    def revert(self, at: At) -> str:
        held = rows.volume(at).attachments
        if any(one.id == at.data['attachment'] for one in held):
            return 'it was not carried out'
        raise NotRevertible(self.no_way_back(at.item))

    def no_way_back(self, item: Item) -> str:
        return (
            f'attachment {item.data["attachment"]} is deleted; if the server '
            'should have the volume: '
            + program.call(
                f'volume attach {item.data["uuid"]} {item.data["volume"]}'
            )
        )


#: Statuses of attachments that a guest may be using.
IN_USE = frozenset({'attached', 'detaching'})


def used(at: At, host: str | None = None) -> Observed | None:
    """Why nothing may be taken from the item's server; None: it may.

    The gate of the plan asked that, perhaps days ago: its owner may have
    started the server since, which keeps nova's mapping as it was.

    A host whose nova-compute isn't up is not asked, it would wait for an
    answer: what the gate made of it stands.

    :param host: the one that the attachment is of, if it says
    """
    if at.data.get('cell') is None:
        # it was gone when this was planned
        return None
    try:
        own = cell.server_row(at)['host']
    except NotFound:
        return None
    if not own or host not in (None, own):
        return None
    compute = at.cloud.compute
    try:
        if once.compute_state(at, own) != 'up':
            return None
        off = compute.off(at.data['uuid'])
    except RecoveryError as error:
        return Observed.unknown(
            f'whether the guest runs on {own} is not known: {error}'
        )
    if off:
        return None
    return Observed.neither(
        f'a guest is on {own} by now and may use the volume: stop it '
        f'first: openstack server stop {at.data["uuid"]}'
    )
