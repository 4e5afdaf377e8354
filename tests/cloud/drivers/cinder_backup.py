# SPDX-License-Identifier: Apache-2.0

"""cinder-backup where volumes hold nothing but their names.

cinder's own manager and its driver for a directory do the work; only the
device is ours: a small file in the place of each volume. Two files in
cinder's state_path make it go wrong on demand: ``failing-backups`` has the
UUIDs of volumes whose backup fails, and while ``held-backups`` is there
none comes to its end.
"""

import os
import time

from cinder import exception, interface
from cinder.backup import manager
from cinder.backup.drivers import posix
from oslo_config import cfg

CONF = cfg.CONF


def _in_state_path(*names):
    return os.path.join(CONF.state_path, *names)


def _connector_properties(*args, **kwargs):
    # os-brick's would look for initiators and multipath on this machine
    return {'host': CONF.host, 'ip': CONF.my_ip, 'multipath': False}


manager.volume_utils.brick_get_connector_properties = _connector_properties


class _Connector:
    """Connects a volume as a file; see os_brick's initiator connectors."""

    def connect_volume(self, data):
        path = _in_state_path('devices', data['volume_id'])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as device:
            device.write(data['volume_id'].encode() * 1024)
        return {'type': 'block', 'path': path}

    def disconnect_volume(self, data, device, **kwargs):
        os.unlink(device['path'])


class PracticeManager(manager.BackupManager):
    def _connect_device(self, conn):
        connector = _Connector()
        return {
            'conn': conn,
            'device': connector.connect_volume(conn['data']),
            'connector': connector,
        }


@interface.backupdriver
class PracticeDriver(posix.PosixBackupDriver):
    def backup(self, backup, volume_file, backup_metadata=True):
        while os.path.exists(_in_state_path('held-backups')):
            time.sleep(0.2)
        try:
            with open(_in_state_path('failing-backups')) as listed:
                failing = listed.read().split()
        except FileNotFoundError:
            failing = []
        if backup.volume_id in failing:
            raise exception.BackupDriverException(
                'the practice storage has no room left'
            )
        return super().backup(backup, volume_file, backup_metadata)
