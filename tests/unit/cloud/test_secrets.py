# SPDX-License-Identifier: Apache-2.0

"""No secret is seen."""

from __future__ import annotations

import json

from nova_recovery.cloud import secrets
from nova_recovery.cloud.records import BlockDevice
from tests.base import TestCase

ISCSI = {
    'driver_volume_type': 'iscsi',
    'data': {
        'target_portal': '10.0.0.9:3260',
        'target_lun': 1,
        'auth_method': 'CHAP',
        'auth_username': 'volume-1',
        'auth_password': 'hunter2',
        'discovery_auth_password': 'hunter2',
        'discovery_auth_username': 'volume-1',
        'encrypted': False,
    },
    'serial': '39c9a6f3',
}
RBD = {
    'driver_volume_type': 'rbd',
    'data': {
        'name': 'volumes/volume-1',
        'hosts': ['10.0.0.1'],
        'auth_username': 'cinder',
        'secret_type': 'ceph',
        'secret_uuid': '457eb676-33da-42ec-9a8c-9293d545c337',
        'keyring': '[client.cinder]\nkey = hunter2==',
    },
}
NFS = {'data': {'options': '-o username=u,password=hunter2,vers=4'}}


class TestMask(TestCase):
    def test_connection_info(self) -> None:
        for info in (ISCSI, RBD, NFS):
            self.assertNotIn('hunter2', str(secrets.mask(info)))

    def test_what_is_no_secret_stays(self) -> None:
        data = secrets.mask(ISCSI)['data']
        self.assertEqual('volume-1', data['auth_username'])
        self.assertEqual('CHAP', data['auth_method'])
        self.assertEqual(1, data['target_lun'])
        data = secrets.mask(RBD)['data']
        self.assertEqual(RBD['data']['secret_uuid'], data['secret_uuid'])
        self.assertEqual('ceph', data['secret_type'])

    def test_the_original_is_left_alone(self) -> None:
        secrets.mask(ISCSI)
        self.assertEqual('hunter2', ISCSI['data']['auth_password'])

    def test_json_in_a_column_stays_json(self) -> None:
        row = {'id': 1, 'connection_info': json.dumps(ISCSI)}
        masked = secrets.mask(row)
        self.assertNotIn('hunter2', str(masked))
        self.assertEqual(
            '10.0.0.9:3260',
            json.loads(masked['connection_info'])['data']['target_portal'],
        )

    def test_an_empty_secret_is_seen_to_be_empty(self) -> None:
        self.assertEqual(
            {'auth_password': None}, secrets.mask({'auth_password': None})
        )

    def test_lists_and_tuples(self) -> None:
        self.assertEqual(
            [({'token': '***'},)], secrets.mask([({'token': 'hunter2'},)])
        )

    def test_a_block_device(self) -> None:
        device = BlockDevice(
            1, None, 'u', 'v', '/dev/vdb', 0, 'volume', 'volume', 'a', ISCSI,
            False, None, {'connection_info': json.dumps(ISCSI)},
        )  # fmt: skip
        self.assertNotIn('hunter2', repr(device))
        self.assertIn('10.0.0.9', repr(device))


class TestMaskUrl(TestCase):
    def test_the_password_only(self) -> None:
        self.assertEqual(
            'mysql+pymysql://nova:***@db1:3306/nova?charset=utf8',
            secrets.mask_url(
                'mysql+pymysql://nova:hunter2@db1:3306/nova?charset=utf8'
            ),
        )

    def test_without_a_password(self) -> None:
        for url in ('sqlite:////var/lib/x.sqlite', 'mysql://db1/nova'):
            self.assertEqual(url, secrets.mask_url(url))

    def test_passwords_that_are_not_encoded(self) -> None:
        for password in ('a@hunter2', 'a:hunter2', 'a/hunter2@', 'a?hunter2'):
            self.assertNotIn(
                'hunter2',
                secrets.mask_url(f'mysql://nova:{password}@db1/nova'),
            )

    def test_a_secret_in_the_query(self) -> None:
        self.assertEqual(
            'mysql://db1/nova?password=***&ssl_ca=/x',
            secrets.mask_url('mysql://db1/nova?password=hunter2&ssl_ca=/x'),
        )

    def test_what_is_no_url_may_be_anything(self) -> None:
        self.assertEqual('***', secrets.mask_url('hunter2'))


class TestMaskText(TestCase):
    def test_secrets_in_sentences(self) -> None:
        for text in (
            "could not connect to 'mysql://nova:hunter2@db1/nova'",
            'amqp://a:hunter2@rabbit1:5672,b:hunter2@rabbit2:5672/',
            'password=hunter2 is wrong',
            "{'auth_password': 'hunter2'}",
            '{"auth_password": "hunter2", "x": 1}',
            'X-Auth-Token: hunter2',
        ):
            self.assertNotIn('hunter2', secrets.mask_text(text), text)

    def test_other_text_stays(self) -> None:
        text = 'instance-000015b9: host np-rcc4 (http://api:8774/v2.1) 3:4'
        self.assertEqual(text, secrets.mask_text(text))
