# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Connect a moved server's volume to its new host.

What a host-bound protocol (iSCSI with initiator rights, Fibre Channel,
NVMe-oF …) stored for the dead host must never be used on another: its LUN
may be another tenant's there. So cinder is asked for new connection data,
in the only order that loses nothing on the way:

1. a new attachment, reserved, beside the old one;
2. nova's mapping names the new one (a reboot of nova 28 and later deletes
   mappings whose attachment cinder doesn't know);
3. the old one is deleted: cinder unmaps the dead host. It lets us, since
   nova names another (CVE-2023-2088);
4. the new one is connected. Only now: two connected ones are refused;
5. nova's mapping gets the connection data;
6. the attachment is completed.
"""

from __future__ import annotations

import json

import sqlalchemy as sa

from nova_recovery.changes import base
from nova_recovery.changes import cell
from nova_recovery.cloud import attachments
from nova_recovery.cloud import cas
from nova_recovery.engine import change
from nova_recovery.engine import plan
from nova_recovery import exceptions

JSON = change.JSON


class ReconnectVolume(base.BaseChange):
    """One volume of a moved server.

    Data: cell, uuid, volume, mapping (id in ``block_device_mapping``),
    attachment, device, mode, protocol, source, target, connector (of the
    target) and source_connector (to go back).
    """

    kind = 'reconnect-volume'

    def describe(self, item: plan.Item) -> list[str]:
        data = item.data
        return [
            f'~ volume  {data["volume"]}  {data["protocol"]}, connected to '
            f'{data["target"]} anew'
        ]

    def observe(
        self,
        item: plan.Item,
        context: change.Context,
        past: change.Past | None,
    ) -> change.Observed:
        data = item.data
        mapping = _mapping(item, context)
        named = mapping['attachment_id']
        if past is None:
            if named != data['attachment']:
                return change.Observed(
                    change.State.NEITHER,
                    f'nova names attachment {named} now',
                )
            others = _others(context, data, {data['attachment']})
            return change.Observed(
                change.State.BEFORE, image={'known': others}
            )
        if _connected(context, mapping, data['target'], data['attachment']):
            return change.Observed(change.State.AFTER, 'connected')
        if named not in (data['attachment'], _new(context, data, past)):
            return change.Observed(
                change.State.NEITHER, f'nova names attachment {named} now'
            )
        return change.Observed(change.State.BEFORE, image=past.image)

    def apply(
        self, item: plan.Item, context: change.Context, image: JSON
    ) -> str:
        data = item.data
        new = _new(context, data, change.Past(image, {}))
        if new is None:
            new = context.cloud.volume.create_attachment(
                data['volume'], data['uuid'], data['mode']
            )
        try:
            _exchange(
                item, context, data['attachment'], new, data['connector']
            )
        except (exceptions.ChangeFailed, exceptions.Conflict) as error:
            # Something was done before this was refused: it goes on (or is
            # taken back) from there, it doesn't begin anew.
            raise exceptions.OutcomeUnknown(str(error)) from error
        return f'connected to {data["target"]}'

    def revert(
        self, item: plan.Item, context: change.Context, past: change.Past
    ) -> str:
        """Connect it to the source again, under another attachment."""
        data = item.data
        mapping = _mapping(item, context)
        named = mapping['attachment_id']
        new = _new(context, data, past)
        if named == data['attachment']:
            if new:
                context.cloud.volume.delete_attachment(new)
            return 'already as it was'
        if _connected(context, mapping, data['source'], data['attachment']):
            return 'already connected to the source'
        if not data['source_connector']:
            raise exceptions.NotRevertible(
                f'how {data["source"]} was connected to volume '
                f'{data["volume"]} is not known',
                'recover the server on this host instead: '
                'openstack recovery run resume',
            )
        cell.expect_parked(item, context)
        others = _others(context, data, {named})
        back = others[0] if others else None
        if back is None:
            back = context.cloud.volume.create_attachment(
                data['volume'], data['uuid'], data['mode']
            )
        _exchange(item, context, named, back, data['source_connector'])
        return f'connected to {data["source"]} again'


def _exchange(
    item: plan.Item,
    context: change.Context,
    old: str,
    new: str,
    connector: JSON,
) -> None:
    """Steps 2 to 6; each looks first, so that they can be repeated."""
    volume, data = context.cloud.volume, item.data
    mapping = _mapping(item, context)
    if mapping['attachment_id'] == old:
        _write_mapping(item, context, old, {'attachment_id': new})
    elif mapping['attachment_id'] != new:
        raise exceptions.Conflict(
            f'mapping of volume {data["volume"]} names attachment '
            f'{mapping["attachment_id"]} now'
        )
    try:
        volume.attachment(old)
    except exceptions.NotFound:
        pass
    else:
        volume.delete_attachment(old)
    found = volume.attachment(new)
    info = found.get('connection_info') or {}
    if not info.get('driver_volume_type'):
        info = volume.connect_attachment(
            new, {**connector, 'mountpoint': data['device']}
        )
    stored: JSON = {
        'driver_volume_type': info['driver_volume_type'],
        'data': {k: v for k, v in info.items() if k != 'driver_volume_type'},
        'serial': data['volume'],
    }
    if volume.volume(data['volume']).get('multiattach'):
        stored['multiattach'] = True
    _write_mapping(
        item, context, new, {'connection_info': json.dumps(stored)}
    )
    if found.get('status') != 'attached':
        volume.complete_attachment(new)


def _mapping(item: plan.Item, context: change.Context) -> JSON:
    database = cell.database(item, context)
    table = database.tables['block_device_mapping']
    with database.reader() as connection:
        row = (
            connection.execute(
                sa.select(table).where(
                    table.c.id == item.data['mapping'], table.c.deleted == 0
                )
            )
            .mappings()
            .first()
        )
    if row is None:
        raise exceptions.Conflict(
            f'server {item.data["uuid"]} no longer has volume '
            f'{item.data["volume"]}'
        )
    return dict(row)


def _write_mapping(
    item: plan.Item, context: change.Context, attachment: str, values: JSON
) -> None:
    database = cell.database(item, context)

    def write(connection: sa.engine.Connection) -> None:
        cas.update_one(
            connection,
            database.tables['block_device_mapping'],
            {'id': item.data['mapping'], 'deleted': 0},
            {'attachment_id': attachment},
            values,
        )

    database.write(write)


def _others(
    context: change.Context, data: JSON, known: set[str]
) -> list[str]:
    """Other attachments of this volume for this server."""
    return [
        one['id']
        for one in context.cloud.volume.attachments(data['volume'])
        if one.get('instance') == data['uuid'] and one['id'] not in known
    ]


def _new(
    context: change.Context, data: JSON, past: change.Past
) -> str | None:
    """The attachment that ``apply`` made, None if it made none.

    Found by what cinder has, not by what we noted: a crash between the
    request and the note would otherwise leave one behind for ever.
    """
    known = {data['attachment'], *past.image['known']}
    found = _others(context, data, known)
    return found[0] if found else None


def _connected(
    context: change.Context, mapping: JSON, host: str, old: str
) -> bool:
    """Whether the mapping's attachment is connected to that host."""
    attachment = mapping['attachment_id']
    if attachment == old or not mapping['connection_info']:
        return False
    stored = attachments.connectors(
        context.cloud.databases.cinder, [attachment]
    ).get(attachment)
    if stored is None or (stored['connector'] or {}).get('host') != host:
        return False
    found = context.cloud.volume.attachment(attachment)
    return bool(found.get('status') == 'attached')
