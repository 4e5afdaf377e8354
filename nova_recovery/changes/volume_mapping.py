# SPDX-License-Identifier: Apache-2.0

"""nova's mapping of a volume: take a leftover away, name its attachment."""

from __future__ import annotations

from oslo_utils import timeutils

from nova_recovery.changes import volume_rows as rows
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.engine.change import Observed
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import Conflict


class DropMapping(BaseChange):
    """Delete a mapping that no API of nova repairs, as nova deletes one.

    Data: cell, uuid, volume, mapping (its id), attachment (that it names),
    device; beside, where it was one too many. The row stays, marked as
    deleted, so that it can come back.
    """

    kind = 'drop-mapping'

    def describe(self, item: Item) -> list[str]:
        device = item.data['device'] or 'no device'
        return [f'- mapping {item.data["mapping"]}  {device}']

    def observe(self, at: At) -> Observed:
        row = rows.mapping(at)
        if row is None:
            return Observed.after('gone')
        if row['attachment_id'] != at.data['attachment']:
            return Observed.neither(
                f'it names attachment {row["attachment_id"]} now'
            )
        return Observed.before(at.image if at.begun else dict(rows.STAMPS))

    def apply(self, at: At) -> str:
        rows.update_mapping(
            at,
            {'deleted': 0, 'attachment_id': at.data['attachment']},
            # nova marks a deleted row with its own id
            {'deleted': at.data['mapping'], 'deleted_at': rows.stamp(at)},
        )
        return 'deleted'

    def revert(self, at: At) -> str:
        if not rows.written(at):
            return 'it was not carried out'
        if rows.mapping(at) is not None:
            return 'already as it was'
        # one too many was there beside another
        other = rows.mapping(at, any_one=True)
        if other is not None and not at.data.get('beside'):
            raise Conflict(
                f'server {at.data["uuid"]} has volume '
                f'{at.data["volume"]} again'
            )
        rows.update_mapping(
            at,
            {
                'deleted': at.data['mapping'],
                'attachment_id': at.data['attachment'],
                **rows.ours(at, 'deleted_at'),
            },
            {'deleted': 0, 'deleted_at': None},
        )
        return 'brought back'


class LinkMapping(BaseChange):
    """Let a mapping of before Queens name the attachment that cinder has.

    Data: cell, uuid, volume, mapping, attachment (to be named).
    """

    kind = 'link-mapping'

    def describe(self, item: Item) -> list[str]:
        return [f'~ attachment  none -> {item.data["attachment"]}']

    def observe(self, at: At) -> Observed:
        row = rows.mapping(at)
        if row is None:
            return Observed.neither('nova no longer maps it')
        named, wanted = row['attachment_id'], at.data['attachment']
        if named == wanted:
            return Observed.after('named already')
        known = {one.id for one in rows.volume(at).attachments}
        if named is not None or wanted not in known:
            return Observed.neither(
                f'nova names {named or "none"}, cinder has '
                f'{", ".join(sorted(known)) or "none"}'
            )
        return Observed.before(at.image if at.begun else dict(rows.STAMPS))

    def apply(self, at: At) -> str:
        rows.update_mapping(
            at,
            {'deleted': 0, 'attachment_id': None},
            {
                'attachment_id': at.data['attachment'],
                'updated_at': rows.stamp(at),
            },
        )
        return 'nova names the attachment'

    def revert(self, at: At) -> str:
        if not rows.written(at):
            return 'it was not carried out'
        row = rows.mapping(at)
        if row is not None and row['attachment_id'] is None:
            return 'already as it was'
        rows.update_mapping(
            at,
            {
                'deleted': 0,
                'attachment_id': at.data['attachment'],
                **rows.ours(at),
            },
            {'attachment_id': None, 'updated_at': timeutils.utcnow()},
        )
        return 'names none again'
