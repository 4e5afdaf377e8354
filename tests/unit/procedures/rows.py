# SPDX-License-Identifier: Apache-2.0

"""Rows of the databases as plain records, made by hand."""

from __future__ import annotations

from collections.abc import Mapping
import json
from typing import Any

from nova_recovery.cloud.records import (
    BlockDevice,
    Migration,
    Server,
    ServerFacts,
)

UUID = '3f57699a-e773-4650-a443-b4b37eed5a06'


#: Of a server that is shut down on np-rcc54.
SERVER: dict[str, Any] = {
    'uuid': UUID,
    'id': 5561,
    'name': 'at3-ui02',
    'instance_name': 'instance-000015b9',
    'cell': 'cell1',
    'host': 'np-rcc54',
    'node': 'np-rcc54.example.org',
    'compute_id': 10,
    'vm_state': 'stopped',
    'power_state': 4,
    'task_state': None,
    'project': 'demo',
    'zone': 'nova',
    'locked': False,
    'hidden': False,
    'image': None,
    'root_device': '/dev/vda',
    'row': {},
}


def server(**fields: Any) -> Server:
    """A server that is shut down on np-rcc54."""
    return Server(**{**SERVER, **fields})


def device(number: int, **fields: Any) -> BlockDevice:
    """A volume by rbd; the first one is booted from."""
    usual: dict[str, Any] = {
        'id': number,
        'uuid': f'mapping-{number}',
        'instance_uuid': UUID,
        'volume_id': f'volume-{number}',
        'device_name': f'/dev/vd{"abcdef"[number]}',
        'boot_index': number,
        'source_type': 'volume',
        'destination_type': 'volume',
        'attachment_id': f'attachment-{number}',
        'connection_info': {'driver_volume_type': 'rbd', 'data': {}},
        'delete_on_termination': False,
        'tag': None,
    }
    return BlockDevice(**{**usual, **fields})


def image_disk(number: int = 0, **fields: Any) -> BlockDevice:
    """A disk from an image, in the instances directory."""
    usual: dict[str, Any] = {
        'volume_id': None,
        'source_type': 'image',
        'destination_type': 'local',
        'attachment_id': None,
        'connection_info': None,
    }
    return device(number, **{**usual, **fields})


def migration(number: int, **fields: Any) -> Migration:
    """An evacuation away from np-rcc46 that it didn't clean up after."""
    usual: dict[str, Any] = {
        'id': number,
        'uuid': f'migration-{number}',
        'instance_uuid': UUID,
        'source_compute': 'np-rcc46',
        'source_node': 'np-rcc46.example.org',
        'dest_compute': 'np-rcc54',
        'dest_node': 'np-rcc54.example.org',
        'status': 'done',
        'migration_type': 'evacuation',
        'deleted': False,
        'created_at': None,
    }
    return Migration(**{**usual, **fields})


def facts(
    own: Server | None = None,
    *,
    extra: Mapping[str, Any] | None = None,
    devices: tuple[BlockDevice, ...] | None = None,
    specs: Mapping[str, str] | None = None,
    image: Mapping[str, str] | None = None,
    **fields: Any,
) -> ServerFacts:
    """What the databases know of a server that boots from a volume.

    :param extra: columns of ``instance_extra``, as plain data
    :param specs: the extra specs of its flavor
    :param image: properties of its image
    """
    usual: dict[str, Any] = {
        'server': own or server(),
        'extra': {
            name: value if value is None else json.dumps(value)
            for name, value in (extra or {}).items()
        },
        'devices': (device(0),) if devices is None else devices,
        'migrations': (),
        'actions': (),
        'request_spec': None,
        'system_metadata': {
            f'image_{name}': value for name, value in (image or {}).items()
        },
        'network_info': (),
        'shares': 0,
        'flavor': {'vcpus': 2, 'extra_specs': dict(specs or {})},
    }
    return ServerFacts(**{**usual, **fields})
