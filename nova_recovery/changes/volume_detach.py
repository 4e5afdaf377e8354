# SPDX-License-Identifier: Apache-2.0

"""Delete an attachment that no server needs, through cinder."""

from __future__ import annotations

from nova_recovery.changes import guest_off
from nova_recovery.changes import volume_rows as rows
from nova_recovery.changes.base import BaseChange
from nova_recovery.engine.change import Context, JSON, Observed, Past, State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import NotRevertible


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

    def observe(
        self, item: Item, context: Context, past: Past | None
    ) -> Observed:
        wanted = item.data['attachment']
        for one in rows.volume(item, context).attachments:
            if one.id == wanted:
                if past is None and one.status != item.data['seen']:
                    return Observed(State.NEITHER, f'it is {one.status} now')
                taken = None
                if one.status != 'reserved':
                    taken = guest_off.refused(item, context, one.host)
                return taken or Observed(State.BEFORE)
        return Observed(State.AFTER, 'gone')

    def apply(self, item: Item, context: Context, image: JSON) -> str:
        context.cloud.volume.delete_attachment(item.data['attachment'])
        return 'deleted'

    def revert(self, item: Item, context: Context, past: Past) -> str:
        held = rows.volume(item, context).attachments
        if any(one.id == item.data['attachment'] for one in held):
            return 'it was not carried out'
        raise NotRevertible(self.no_way_back(item))

    def no_way_back(self, item: Item) -> str:
        return (
            f'attachment {item.data["attachment"]} is deleted; if the server '
            'should have the volume: openstack recovery volume attach '
            f'{item.data["uuid"]} {item.data["volume"]}'
        )
