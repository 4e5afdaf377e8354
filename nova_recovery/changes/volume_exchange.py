# SPDX-License-Identifier: Apache-2.0
"""Put a new attachment in the place of one, in the only safe order.

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

from nova_recovery.changes import volume_rows as rows
from nova_recovery.changes.base import At
from nova_recovery.engine.change import JSON
from nova_recovery.exceptions import Conflict, NotFound


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
        _write(at, old, {'attachment_id': new})
    for one in remove:
        try:
            volume.attachment(one)
        except NotFound:
            continue
        volume.delete_attachment(one)
    found = volume.attachment(new)
    info = found.get('connection_info') or {}
    if not info.get('driver_volume_type'):
        connector = dict(connector)
        if data['device']:
            connector['mountpoint'] = data['device']
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
