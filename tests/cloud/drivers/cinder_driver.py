# SPDX-License-Identifier: Apache-2.0

"""Two cinder back ends without storage, which write down what is asked.

Each call is one JSON line in ``calls.jsonl`` of cinder's state_path:
``{"time": 1.0, "backend": "iscsi", "call": "ensure_export",
"volume": UUID, "connector_host": null}``.
"""

import json
import os
import time

from cinder.volume import driver
from oslo_config import cfg

CONF = cfg.CONF


class _PracticeDriver(driver.VolumeDriver):
    VERSION = '1.0.0'
    protocol = ''

    def _call(self, what, volume, connector=None):
        line = {
            'time': time.time(),
            'backend': self.configuration.volume_backend_name,
            'call': what,
            'volume': volume['id'],
            'connector_host': (connector or {}).get('host'),
        }
        with open(os.path.join(CONF.state_path, 'calls.jsonl'), 'a') as calls:
            calls.write(json.dumps(line) + '\n')

    def check_for_setup_error(self):
        pass

    def _update_volume_stats(self):
        name = self.configuration.volume_backend_name
        self._stats = {
            'volume_backend_name': name,
            'vendor_name': 'practice',
            'driver_version': self.VERSION,
            'storage_protocol': self.protocol,
            'pools': [
                {
                    'pool_name': name,
                    'total_capacity_gb': 'infinite',
                    'free_capacity_gb': 'infinite',
                    'provisioned_capacity_gb': 0,
                    'reserved_percentage': 0,
                    'multiattach': True,
                }
            ],
        }

    def create_volume(self, volume):
        self._call('create_volume', volume)

    def delete_volume(self, volume):
        self._call('delete_volume', volume)

    def extend_volume(self, volume, new_size):
        pass

    def create_snapshot(self, snapshot):
        pass

    def delete_snapshot(self, snapshot):
        pass

    def create_volume_from_snapshot(self, volume, snapshot):
        pass

    def create_cloned_volume(self, volume, src_vref):
        pass

    def clone_image(self, context, volume, location, meta, service):
        # "cloned": nothing has to be copied
        return {}, True

    def create_export(self, context, volume, connector):
        self._call('create_export', volume, connector)

    def ensure_export(self, context, volume):
        self._call('ensure_export', volume)

    def remove_export(self, context, volume):
        self._call('remove_export', volume)

    def initialize_connection(self, volume, connector):
        self._call('initialize_connection', volume, connector)
        return {
            'driver_volume_type': self.protocol,
            'data': self._connection(volume, connector),
        }

    def terminate_connection(self, volume, connector, **kwargs):
        self._call('terminate_connection', volume, connector)


class ISCSIDriver(_PracticeDriver):
    """Bound to a host: the target's list of initiators has its name."""

    protocol = 'iscsi'

    def create_export(self, context, volume, connector):
        super().create_export(context, volume, connector)
        return {
            'provider_location': f'192.0.2.100:3260,1 {self._iqn(volume)} 1',
            'provider_auth': 'CHAP practice practice-chap-secret',
        }

    def _iqn(self, volume):
        return f'iqn.2010-10.org.openstack:volume-{volume["id"]}'

    def _connection(self, volume, connector):
        return {
            'target_discovered': False,
            'target_portal': '192.0.2.100:3260',
            'target_iqn': self._iqn(volume),
            'target_lun': 1,
            'volume_id': volume['id'],
            'auth_method': 'CHAP',
            'auth_username': 'practice',
            'auth_password': 'practice-chap-secret',
            'access_mode': 'rw',
            'initiator': connector.get('initiator'),
        }


class RBDDriver(_PracticeDriver):
    """Not bound to a host: every client of the cluster can open it."""

    protocol = 'rbd'

    def _update_volume_stats(self):
        super()._update_volume_stats()
        self._stats['storage_protocol'] = 'ceph'

    def _connection(self, volume, connector):
        return {
            'name': f'volumes/volume-{volume["id"]}',
            'hosts': ['192.0.2.101'],
            'ports': ['6789'],
            'cluster_name': 'ceph',
            'auth_enabled': True,
            'auth_username': 'cinder',
            'secret_type': 'ceph',
            'secret_uuid': '9dd7a1f4-6a84-4bb3-9a37-1f5a4a1f2a11',
            'volume_id': volume['id'],
            'discard': True,
            'keyring': None,
            'access_mode': 'rw',
        }
