# SPDX-License-Identifier: Apache-2.0

"""What became of a server, in all services, so that two can be compared."""

from __future__ import annotations

import collections
import json
from typing import Any

from tests.cloud.cloud import PracticeCloud
from tests.functional.state import State

#: Requests that must not be sent twice.
ONCE = ('start', 'evacuate', 'reboot')


def of(practice: PracticeCloud, uuid: str) -> dict[str, Any]:
    """Everything that a recovery may touch, without what differs anyway.

    Two servers that were alike and met the same fate have equal ones: ids
    and times are left out, references are followed.
    """
    seen = State(practice)
    row = seen.row(uuid)
    devices = seen.devices(uuid)
    ids = {seen.node(h)['id']: h for h in practice.config.hosts}
    return {
        'row': {
            'host': row['host'],
            'node': row['node'],
            'compute node of': ids.get(row['compute_id']),
            'availability_zone': row['availability_zone'],
            'vm_state': row['vm_state'],
            'power_state': row['power_state'],
            'task_state': row['task_state'],
            'locked': row['locked'],
        },
        'migrations': [
            {
                'from': (one['source_compute'], one['source_node']),
                'to': (one['dest_compute'], one['dest_node']),
                'type': one['migration_type'],
                'status': one['status'],
                'compute node of': ids.get(one['dest_compute_id']),
            }
            for one in seen.migrations(uuid)
        ],
        'once': {
            action: count
            for action, count in collections.Counter(
                seen.actions(uuid)
            ).items()
            if action in ONCE
        },
        'allocations': seen.allocations(uuid),
        'ports': [
            {
                name: port[name]
                for name in (
                    'binding:host_id',
                    'binding:vif_type',
                    'binding:profile',
                    'device_owner',
                )
            }
            for port in seen.ports(uuid)
        ],
        'volumes': [_volume(seen, uuid, device) for device in devices],
        # the storage itself has nothing but these, too
        'attachments': _attachments(practice, uuid),
        'guests': seen.guests(uuid),
        'guest volumes': _connected(practice, uuid, row['host']),
    }


def _volume(seen: State, uuid: str, device: dict[str, Any]) -> dict[str, Any]:
    """nova's mapping of a volume against cinder's attachments."""
    if not device['volume_id']:
        return {'destination': device['destination_type']}
    attachments = seen.attachments(device['volume_id'])
    info = json.loads(device['connection_info'] or '{}')
    return {
        'device': device['device_name'],
        'protocol': info.get('driver_volume_type'),
        'serial is right': info.get('serial') == device['volume_id'],
        'attachments': [
            {
                'of this server': one['instance_uuid'] == uuid,
                'named by nova': one['id'] == device['attachment_id'],
                'status': one['attach_status'],
                'mode': one['attach_mode'],
                'host': (one['connector'] or {}).get('host'),
                'mountpoint': one['mountpoint'],
            }
            for one in attachments
        ],
    }


def _attachments(practice: PracticeCloud, uuid: str) -> int:
    (row,) = practice.sql(
        'cinder',
        'SELECT COUNT(*) AS n FROM volume_attachment'
        ' WHERE instance_uuid = %s AND deleted = 0',
        [uuid],
    )
    return int(row['n'])


def _connected(practice: PracticeCloud, uuid: str, host: str) -> list[str]:
    guest = practice.guests(host).get(uuid, {})
    return sorted(guest.get('volumes', {}))
