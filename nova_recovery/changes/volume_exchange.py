# SPDX-License-Identifier: Apache-2.0
"""A new attachment in the place of another, in the only safe order.

1. a new attachment, reserved, which whoever calls has made;
2. nova's mapping names the new one (a reboot of nova 28 and later deletes
   mappings whose attachment cinder doesn't know);
3. what cinder has of the old one is deleted: cinder unmaps the host. It lets
   us, since nova names another (CVE-2023-2088);
4. the new one is connected. Only now: two connected ones are refused;
5. nova's mapping gets the connection data;
6. the attachment is completed.
"""

from __future__ import annotations

from collections.abc import Iterable
import json

from nova_recovery import program
from nova_recovery.changes import cell, volume_attach
from nova_recovery.changes import volume_rows as rows
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.cloud.db import volumes
from nova_recovery.engine.change import JSON, Observed
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import (
    ChangeFailed,
    Conflict,
    NotFound,
    NotRevertible,
    OutcomeUnknown,
)


def exchange(
    at: At, old: str | None, new: str, remove: Iterable[str], connector: JSON
) -> None:
    """Steps 2 to 6; each looks first, so that they can be repeated.

    Data of the item: as ``volume_rows.mapping`` and device.

    :param old: what the mapping names
    :param remove: attachments that end
    :raises Conflict: the mapping names another by now
    """
    volume, data = at.cloud.volume, at.data
    row = rows.mapping(at)
    named = row['attachment_id'] if row else None
    if row is None or named not in (old, new):
        raise Conflict(
            f'nova names attachment {named or "none"} of volume '
            f'{data["volume"]} now'
        )
    if named != new:
        at.confirm()
        _write(at, old, {'attachment_id': new})
    for one in remove:
        try:
            volume.attachment(one)
        except NotFound:
            continue
        at.confirm()
        volume.delete_attachment(one)
    found = volume.attachment(new)
    info = found.get('connection_info') or {}
    if not info.get('driver_volume_type'):
        connector = dict(connector)
        if data['device']:
            connector['mountpoint'] = data['device']
        if data['mode']:
            # cinder before 3.54 knows it by nothing else
            connector['mode'] = data['mode']
        at.confirm()
        info = volume.connect_attachment(new, connector)
    stored = _stored(at, info)
    _write(at, new, {'connection_info': stored})
    if found.get('status') != 'attached':
        volume.complete_attachment(new)


def _stored(at: At, info: JSON) -> str:
    """Connection data as nova keeps it."""
    uuid = at.data['volume']
    stored: JSON = {
        'driver_volume_type': info['driver_volume_type'],
        'data': {k: v for k, v in info.items() if k != 'driver_volume_type'},
        'serial': uuid,
    }
    if at.cloud.volume.volume(uuid).get('multiattach'):
        stored['multiattach'] = True
    return json.dumps(stored)


def _write(at: At, named: str | None, values: JSON) -> None:
    seen = {'deleted': 0, 'attachment_id': named}
    rows.update_mapping(at, seen, values)


class RecreateAttachment(BaseChange):
    """Make the attachment anew that a mapping of nova's has lost.

    One volume of a server that stays where it is, its boot volume too.

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
        new = self._new(at)
        if new is None:
            at.confirm()
            new = at.cloud.volume.create_attachment(
                data['volume'], data['uuid'], data['mode']
            )
        try:
            exchange(
                at, data['attachment'], new, data['remove'], data['connector']
            )
        except ChangeFailed as error:
            # Something was done before this was refused: it goes on from
            # there, it doesn't begin anew.
            raise OutcomeUnknown(str(error)) from error
        except Conflict as error:
            row = rows.mapping(at)
            if row is not None and row['attachment_id'] == new:
                # As above: nova names the new one already.
                raise OutcomeUnknown(str(error)) from error
            # Nobody names it: it would stay behind.
            at.cloud.volume.delete_attachment(new)
            raise
        return f'attached on {data["host"]}'

    def revert(self, at: At) -> str:
        row = rows.mapping(at)
        if row is not None and row['attachment_id'] == at.data['attachment']:
            # It stopped before nova named the new one, and nothing of what
            # was there is deleted before that.
            new = self._new(at)
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

    def _new(self, at: At) -> str | None:
        """The attachment that ``apply`` made, None if it made none.

        Found by what cinder has, not by what we noted: a crash between the
        request and the note would otherwise leave one behind for ever.
        """
        known = {at.data['attachment'], *at.data['remove']}
        found = [one for one in _own(at) if one not in known]
        return found[0] if found else None


def _own(at: At) -> dict[str, str]:
    """The live attachments of the volume for this server, by status."""
    return {
        one.id: one.status
        for one in rows.volume(at).attachments
        if one.server == at.data['uuid']
    }


def _taken(at: At, own: dict[str, str]) -> Observed | None:
    """Why the old attachments can't be deleted, None if they can."""
    if any(own.get(one) in volume_attach.IN_USE for one in at.data['remove']):
        return volume_attach.used(at)
    return None


class ReconnectVolume(BaseChange):
    """Connect a moved server's volume to its new host.

    What a host-bound protocol (iSCSI with initiator rights, Fibre Channel,
    NVMe-oF …) stored for the dead host must never be used on another: its
    LUN may be another tenant's there. So cinder is asked for new connection
    data.

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
        if named not in (data['attachment'], self._new(at)):
            return Observed.neither(f'nova names attachment {named} now')
        return Observed.before(at.image)

    def apply(self, at: At) -> str:
        data = at.data
        new = self._new(at)
        if new is None:
            at.confirm()
            new = at.cloud.volume.create_attachment(
                data['volume'], data['uuid'], data['mode']
            )
        try:
            exchange(
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
        new = self._new(at)
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
                + program.call(f'run resume {at.run_id}'),
            )
        cell.expect_parked(at)
        others = _others(at, {named})
        back = others[0] if others else None
        if back is None:
            back = at.cloud.volume.create_attachment(
                data['volume'], data['uuid'], data['mode']
            )
        exchange(at, named, back, [named], data['source_connector'])
        return f'connected to {data["source"]} again'

    def _new(self, at: At) -> str | None:
        """The attachment that ``apply`` made, None if it made none.

        Found by what cinder has, not by what we noted: a crash between the
        request and the note would otherwise leave one behind for ever.
        """
        known = {at.data['attachment'], *at.image['known']}
        found = _others(at, known)
        return found[0] if found else None


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


def _connected(at: At, mapping: JSON, host: str, old: str) -> bool:
    """Whether the mapping's attachment is connected to that host."""
    attachment = mapping['attachment_id']
    if attachment == old or not mapping['connection_info']:
        return False
    stored = volumes.connectors(rows.cinder(at), [attachment]).get(attachment)
    if stored is None or (stored['connector'] or {}).get('host') != host:
        return False
    found = at.cloud.volume.attachment(attachment)
    return bool(found.get('status') == 'attached')
