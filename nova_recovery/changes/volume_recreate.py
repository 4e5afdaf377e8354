# SPDX-License-Identifier: Apache-2.0

"""Make the attachment anew that a mapping of nova's has lost.

In the order of ``volume_exchange``, for a server that stays where it is.
"""

from __future__ import annotations

from nova_recovery.changes import guest_off, volume_exchange
from nova_recovery.changes import volume_rows as rows
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.engine.change import Observed
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import (
    ChangeFailed,
    Conflict,
    NotRevertible,
    OutcomeUnknown,
)


class RecreateAttachment(BaseChange):
    """One volume of a server, its boot volume too.

    Data: cell, uuid, volume, mapping, attachment (that the mapping names,
    or None), remove (attachments of this server that cinder has), device,
    mode, host, connector.
    """

    kind = 'recreate-attachment'

    def describe(self, item: Item) -> list[str]:
        data = item.data
        return [
            f'+ attachment  {data["device"] or "no device"} on {data["host"]}',
            *(f'- attachment {one}  by cinder' for one in data['remove']),
        ]

    def observe(self, at: At) -> Observed:
        data = at.data
        row = rows.mapping(at)
        if row is None:
            return Observed.neither('nova no longer maps it')
        named = row['attachment_id']
        own = _own(at)
        if not at.begun:
            if named != data['attachment']:
                return Observed.neither(
                    f'nova names attachment {named or "none"} now'
                )
            if sorted(own) != sorted(data['remove']):
                return Observed.neither(
                    f'cinder has attachments {", ".join(sorted(own))} now'
                )
            return _taken(at, own) or Observed.before()
        if named != data['attachment'] and named not in own:
            return Observed.neither(
                f'nova names attachment {named or "none"} now'
            )
        left = set(own) - {named}
        if own.get(named) == 'attached' and rows.connected(row) and not left:
            return Observed.after('attached')
        return _taken(at, own) or Observed.before(at.image)

    def apply(self, at: At) -> str:
        data = at.data
        new = _new(at)
        if new is None:
            new = at.cloud.volume.create_attachment(
                data['volume'], data['uuid'], data['mode']
            )
        try:
            volume_exchange.exchange(
                at, data['attachment'], new, data['remove'], data['connector']
            )
        except ChangeFailed as error:
            # Something was done before this was refused: it goes on from
            # there, it doesn't begin anew.
            raise OutcomeUnknown(str(error)) from error
        except Conflict:
            row = rows.mapping(at)
            if row is None or row['attachment_id'] != new:
                # Nobody names it: it would stay behind.
                at.cloud.volume.delete_attachment(new)
            raise
        return f'attached on {data["host"]}'

    def revert(self, at: At) -> str:
        row = rows.mapping(at)
        if row is not None and row['attachment_id'] == at.data['attachment']:
            # It stopped before nova named the new one, and nothing of what
            # was there is deleted before that.
            new = _new(at)
            if new is not None:
                at.cloud.volume.delete_attachment(new)
            return 'it was not carried out'
        raise NotRevertible(self.no_way_back(at.item))

    def no_way_back(self, item: Item) -> str:
        return (
            f'volume {item.data["volume"]} was held by nobody before, which '
            'is nothing to go back to; to take it from the server: openstack '
            f'server remove volume {item.data["uuid"]} {item.data["volume"]}'
        )


def _own(at: At) -> dict[str, str]:
    """The live attachments of the volume for this server, by status."""
    return {
        one.id: one.status
        for one in rows.volume(at).attachments
        if one.server == at.data['uuid']
    }


def _taken(at: At, own: dict[str, str]) -> Observed | None:
    """Why the old attachments can't be deleted, None if they can."""
    if any(own.get(one) in guest_off.IN_USE for one in at.data['remove']):
        return guest_off.refused(at)
    return None


def _new(at: At) -> str | None:
    """The attachment that ``apply`` made, None if it made none.

    Found by what cinder has, not by what we noted: a crash between the
    request and the note would otherwise leave one behind for ever.
    """
    known = {at.data['attachment'], *at.data['remove']}
    found = [one for one in _own(at) if one not in known]
    return found[0] if found else None
