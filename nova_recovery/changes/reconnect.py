# SPDX-License-Identifier: Apache-2.0

"""Connect a moved server's volume to its new host.

What a host-bound protocol (iSCSI with initiator rights, Fibre Channel,
NVMe-oF …) stored for the dead host must never be used on another: its LUN
may be another tenant's there. So cinder is asked for new connection data, in
the order of ``volume_exchange``, which loses nothing on the way.
"""

from __future__ import annotations

from nova_recovery.changes import cell, volume_exchange
from nova_recovery.changes import volume_rows as rows
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.cloud.db import attachments
from nova_recovery.engine.change import JSON, Observed
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import (
    ChangeFailed,
    Conflict,
    NotRevertible,
    OutcomeUnknown,
)


class ReconnectVolume(BaseChange):
    """One volume of a moved server.

    Data: cell, uuid, volume, mapping (id in ``block_device_mapping``),
    attachment, device, mode, protocol, source, target, connector (of the
    target) and source_connector (to go back).
    """

    kind = 'reconnect-volume'

    def describe(self, item: Item) -> list[str]:
        data = item.data
        return [
            f'~ volume  {data["volume"]}  {data["protocol"]}, connected to '
            f'{data["target"]} anew'
        ]

    def observe(self, at: At) -> Observed:
        data = at.data
        mapping = _mapping(at)
        named = mapping['attachment_id']
        if not at.begun:
            if named != data['attachment']:
                return Observed.neither(f'nova names attachment {named} now')
            others = _others(at, {data['attachment']})
            return Observed.before({'known': others})
        if _connected(at, mapping, data['target'], data['attachment']):
            return Observed.after('connected')
        if named not in (data['attachment'], _new(at)):
            return Observed.neither(f'nova names attachment {named} now')
        return Observed.before(at.image)

    def apply(self, at: At) -> str:
        data = at.data
        new = _new(at)
        if new is None:
            new = at.cloud.volume.create_attachment(
                data['volume'], data['uuid'], data['mode']
            )
        try:
            volume_exchange.exchange(
                at,
                data['attachment'],
                new,
                [data['attachment']],
                data['connector'],
            )
        except (ChangeFailed, Conflict) as error:
            # Something was done before this was refused: it goes on (or is
            # taken back) from there, it doesn't begin anew.
            raise OutcomeUnknown(str(error)) from error
        return f'connected to {data["target"]}'

    def revert(self, at: At) -> str:
        """Connect it to the source again, under another attachment."""
        data = at.data
        mapping = _mapping(at)
        named = mapping['attachment_id']
        new = _new(at)
        if named == data['attachment']:
            if new:
                at.cloud.volume.delete_attachment(new)
            return 'already as it was'
        if _connected(at, mapping, data['source'], data['attachment']):
            return 'already connected to the source'
        if not data['source_connector']:
            raise NotRevertible(
                f'how {data["source"]} was connected to volume '
                f'{data["volume"]} is not known',
                'recover the server on this host instead: '
                'openstack recovery run resume',
            )
        cell.expect_parked(at)
        others = _others(at, {named})
        back = others[0] if others else None
        if back is None:
            back = at.cloud.volume.create_attachment(
                data['volume'], data['uuid'], data['mode']
            )
        volume_exchange.exchange(
            at, named, back, [named], data['source_connector']
        )
        return f'connected to {data["source"]} again'


def _mapping(at: At) -> JSON:
    row = rows.mapping(at)
    if row is None:
        raise Conflict(
            f'server {at.data["uuid"]} no longer has volume '
            f'{at.data["volume"]}'
        )
    return row


def _others(at: At, known: set[str]) -> list[str]:
    """Other attachments of this volume for this server."""
    return [
        one['id']
        for one in at.cloud.volume.attachments(at.data['volume'])
        if one.get('instance') == at.data['uuid'] and one['id'] not in known
    ]


def _new(at: At) -> str | None:
    """The attachment that ``apply`` made, None if it made none.

    Found by what cinder has, not by what we noted: a crash between the
    request and the note would otherwise leave one behind for ever.
    """
    known = {at.data['attachment'], *at.image['known']}
    found = _others(at, known)
    return found[0] if found else None


def _connected(at: At, mapping: JSON, host: str, old: str) -> bool:
    """Whether the mapping's attachment is connected to that host."""
    attachment = mapping['attachment_id']
    if attachment == old or not mapping['connection_info']:
        return False
    stored = attachments.connectors(rows.cinder(at), [attachment]).get(
        attachment
    )
    if stored is None or (stored['connector'] or {}).get('host') != host:
        return False
    found = at.cloud.volume.attachment(attachment)
    return bool(found.get('status') == 'attached')
