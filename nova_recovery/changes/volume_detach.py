# SPDX-License-Identifier: Apache-2.0

"""Delete an attachment that no server needs, through cinder."""

from __future__ import annotations

from nova_recovery.changes import guest_off
from nova_recovery.changes import volume_rows as rows
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.engine.change import Observed
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

    def observe(self, at: At) -> Observed:
        wanted = at.data['attachment']
        for one in rows.volume(at).attachments:
            if one.id == wanted:
                if not at.begun and one.status != at.data['seen']:
                    return Observed.neither(f'it is {one.status} now')
                taken = None
                if one.status != 'reserved':
                    taken = guest_off.refused(at, one.host)
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
            'should have the volume: openstack recovery volume attach '
            f'{item.data["uuid"]} {item.data["volume"]}'
        )
