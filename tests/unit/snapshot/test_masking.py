# SPDX-License-Identifier: Apache-2.0

"""No secret gets into a snapshot, and nothing else is lost."""

from __future__ import annotations

import json

from nova_recovery.cloud import secrets
from nova_recovery.snapshot import masking
from tests.base import TestCase

ISCSI = {
    'driver_volume_type': 'iscsi',
    'data': {
        'target_iqn': 'iqn.2010-10.org.openstack:volume-1',
        'auth_password': 'hunter2',
        'discovery_auth_password': 'hunter2',
        'auth_username': 'me',
        'target_lun': 1,
        'ca': None,
        'url': 'https://me:hunter2@storage/v1',
        'inner': '{"keyring": "hunter2", "pool": "p"}',
        'list': [{'token': 'hunter2'}, 'password=hunter2'],
    },
}


class TestMasking(TestCase):
    def test_the_same_as_the_rest_of_the_program(self) -> None:
        self.assertEqual(secrets.mask(ISCSI), masking.masked(ISCSI))
        self.assertNotIn('hunter2', json.dumps(masking.masked(ISCSI)))

    def test_json_that_can_not_be_read_is_masked_whole(self) -> None:
        self.assertEqual(secrets.MASK, masking.text('{"password": "hunt'))
        self.assertIsNone(masking.text(None))
        self.assertIsNone(masking.text('null'))

    def test_metadata_by_its_key(self) -> None:
        for key in ('admin_pass', 'db-pwd', 'password', 'api_key', 'TOKEN'):
            self.assertEqual(secrets.MASK, masking.pair(key, 'x'), key)
        for key in ('priority', 'bypass', 'monkey', 'pass_through'):
            self.assertEqual('x', masking.pair(key, 'x'), key)

    def test_mount_options_and_fstab(self) -> None:
        for line, masked in (
            (
                'mon1:/ /mnt ceph name=admin,secret=AQB==,noatime 0 0',
                'mon1:/ /mnt ceph name=admin,secret=***,noatime 0 0',
            ),
            (
                '//nas/v /v cifs username=u,password=p@:w,uid=1 0 0',
                '//nas/v /v cifs username=u,password=***,uid=1 0 0',
            ),
            (
                '//nas/v /v cifs user=u%pw,credentials=/etc/c 0 0',
                '//nas/v /v cifs user=u%***,credentials=/etc/c 0 0',
            ),
            (
                'http://u:pw@dav/x /x davfs rw 0 0',
                'http://u:***@dav/x /x davfs rw 0 0',
            ),
            (
                'mon:/ /m ceph name=a,secretfile=/etc/ceph/s 0 0',
                'mon:/ /m ceph name=a,secretfile=/etc/ceph/s 0 0',
            ),
            ('UUID=1-2 / ext4 errors=remount-ro 0 1',) * 2,
        ):
            self.assertEqual(masked, masking.options(line))
