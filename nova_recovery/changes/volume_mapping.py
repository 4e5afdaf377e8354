# SPDX-License-Identifier: Apache-2.0

"""nova's mapping of a volume: take a leftover away, name its attachment."""

from __future__ import annotations

from oslo_utils import timeutils

from nova_recovery.changes import volume_rows as rows
from nova_recovery.changes.base import BaseChange
from nova_recovery.engine.change import Context, JSON, Observed, Past, State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import Conflict


class DropMapping(BaseChange):
    """Delete a mapping that no API of nova repairs, as nova deletes one.

    Data: cell, uuid, volume, mapping (its id), attachment (that it names),
    device. The row stays, marked as deleted, so that it can come back.
    """

    kind = 'drop-mapping'

    def describe(self, item: Item) -> list[str]:
        device = item.data['device'] or 'no device'
        return [f'- mapping {item.data["mapping"]}  {device}']

    def observe(
        self, item: Item, context: Context, past: Past | None
    ) -> Observed:
        row = rows.mapping(item, context)
        if row is None:
            return Observed(State.AFTER, 'gone')
        if row['attachment_id'] != item.data['attachment']:
            return Observed(
                State.NEITHER,
                f'it names attachment {row["attachment_id"]} now',
            )
        return Observed(State.BEFORE)

    def apply(self, item: Item, context: Context, image: JSON) -> str:
        rows.update_mapping(
            item,
            context,
            {'deleted': 0, 'attachment_id': item.data['attachment']},
            # nova marks a deleted row with its own id
            {
                'deleted': item.data['mapping'],
                'deleted_at': timeutils.utcnow(),
            },
        )
        return 'deleted'

    def revert(self, item: Item, context: Context, past: Past) -> str:
        if rows.mapping(item, context) is not None:
            return 'already as it was'
        others = rows.mapping(
            Item(
                item.id,
                item.kind,
                item.subject,
                item.label,
                {**item.data, 'mapping': None},
            ),
            context,
        )
        if others is not None:
            raise Conflict(
                f'server {item.data["uuid"]} has volume '
                f'{item.data["volume"]} again'
            )
        rows.update_mapping(
            item,
            context,
            {
                'deleted': item.data['mapping'],
                'attachment_id': item.data['attachment'],
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

    def observe(
        self, item: Item, context: Context, past: Past | None
    ) -> Observed:
        row = rows.mapping(item, context)
        if row is None:
            return Observed(State.NEITHER, 'nova no longer maps it')
        named, wanted = row['attachment_id'], item.data['attachment']
        if named == wanted:
            return Observed(State.AFTER, 'named already')
        known = {one.id for one in rows.volume(item, context).attachments}
        if named is not None or wanted not in known:
            return Observed(
                State.NEITHER,
                f'nova names {named or "none"}, cinder has '
                f'{", ".join(sorted(known)) or "none"}',
            )
        return Observed(State.BEFORE)

    def apply(self, item: Item, context: Context, image: JSON) -> str:
        rows.update_mapping(
            item,
            context,
            {'deleted': 0, 'attachment_id': None},
            {'attachment_id': item.data['attachment']},
        )
        return 'nova names the attachment'

    def revert(self, item: Item, context: Context, past: Past) -> str:
        row = rows.mapping(item, context)
        if row is not None and row['attachment_id'] is None:
            return 'already as it was'
        rows.update_mapping(
            item,
            context,
            {'deleted': 0, 'attachment_id': item.data['attachment']},
            {'attachment_id': None},
        )
        return 'names none again'
