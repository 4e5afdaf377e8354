# SPDX-License-Identifier: Apache-2.0

"""No secret is seen."""

from __future__ import annotations

import json
import time

import hypothesis
from hypothesis import strategies

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


class TestKeys(TestCase):
    def test_what_is_a_secret_is_told_by_its_name(self) -> None:
        for key in (
            'password', 'auth_password', 'password_0', 'passwords', 'PASSWD',
            'auth_pass', 'adminPass', 'admin_pass', 'san_pass', 'db-pwd',
            'pwd', 'passcode', 'passphrase', 'serverPassword',
            'serverpassword', 'passwordHash', 'chap_secret', 'X-Auth-Token',
            'TOKEN', 'access_tokens', 'jwt', 'keyring', 'keyrings',
            'credentials', 'ssh_private_key_pem', 'private_key', 'privateKey',
            'sslkey', 'APIKey', 'api_key', 'secret_keys', 'cephx_key', 'key',
            'Authorization', 'os-password', '--os-token',
        ):  # fmt: skip
            self.assertTrue(secrets.is_secret(key), key)

    def test_and_what_is_none(self) -> None:
        for key in (
            'secret_uuid', 'secret_type', 'auth_username', 'auth_method',
            'public_key', 'key_name', 'keypair', 'ssh_key', 'priority',
            'bypass', 'monkey', 'turkey', 'pass_through', 'compass', 'api',
            'storage', 'account', 'ssl', 'user_data', '', '_', '0',
            'tokenizer', 'password_file', 'keyfile', 'secretfile',
        ):  # fmt: skip
            self.assertFalse(secrets.is_secret(key), key)


class TestMaskUrl(TestCase):
    def test_a_bare_at_sign_slash_or_question_mark(self) -> None:
        for password in ('a@b', 'a/b', 'a@b/c', 'a?b', 'a?b=c', 'a#b', ':'):
            self.assertEqual(
                'mysql://nova:***@db1:3306/nova?charset=utf8',
                secrets.mask_url(
                    f'mysql://nova:{password}@db1:3306/nova?charset=utf8'
                ),
                password,
            )

    def test_harmless_urls_keep_their_port(self) -> None:
        for url in (
            'http://10.0.0.1:8774/v2.1/servers?tags=a@b',
            'https://keystone:5000/v3/users/anna@example.org',
            'mysql://db1:3306/nova?ssl_ca=/a@b',
            'sqlite:////var/lib/a@b/c:d@e.sqlite',
        ):
            self.assertEqual(url, secrets.mask_url(url))
            self.assertEqual(f'({url})', secrets.mask_text(f'({url})'))

    def test_the_password_of_a_proxy(self) -> None:
        self.assertEqual(
            'http://me:***@proxy:3128/x?m=a@b',
            secrets.mask_url('http://me:p@ss@proxy:3128/x?m=a@b'),
        )

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
            'Authorization: Bearer hunter2',
            'Authorization: Basic aHVudGVyMg== hunter2',
            '-H "Authorization: {SHA256}hunter2" -H "X-Auth-Token: hunter2"',
            'got Bearer hunter2hunter2',
            'Cookie: session=hunter2; path=/',
            "'auth_pass': 'hunter2', 'pwd': 'hunter2'",
            "adminPass='a\\'hunter2'",
            'passcode: hunter2',
            'sslkey=hunter2&ssl_ca=/x',
            'password_0 = hunter2',
            'mysql://nova:hunter2@x/hunter2@db1/nova is down',
            'mysql://nova:two hunter2@db1/nova is down',
            'http://me:hunter2@x@proxy:3128/',
            '[client.cinder]\nkey = hunter2==',
            "{'keyrings': ['hunter2', 'hunter2'], 'x': 1}",
            'RESP BODY: {"attachment": {"connection_info": {"data": '
            '{"keyrings": ["hunter2"], "credentials": {"a": {"b": "hunter2"}},'
            ' "auth_password": "a\\"hunter2"}}}}',
            r'body: "{\"auth_password\": \"hunter2\", \"x\": 1}"',
            r"b'{\\\"token\\\": \\\"hunter2\\\"}'",
            'openstack --os-password hunter2 --os-passw=hunter2 server list',
            'openstack --os-toke hunter2 server list',
            'ipmitool -I lanplus -U root -P hunter2 chassis power off',
            'fence_ipmilan -l root -p hunter2 -o status',
            'curl -u root:hunter2 https://bmc/redfish/v1',
            'connection = hunter2',
            'transport_url=rabbit://u:hunter2@mq/',
        ):
            self.assertNotIn('hunter2', secrets.mask_text(text), text)

    def test_other_text_stays(self) -> None:
        for text in (
            'instance-000015b9: host np-rcc4 (http://api:8774/v2.1) 3:4',
            'the connection: refused',
            'no answer of http://10.0.0.1:9696/v2.0 as admin@Default',
            'mysql://db1:3306 is asked as nova@db1:3306',
            'give --approve 0123456789abcdef or --yes',
            '--target-for web: give KEY=VALUE',
            'write mysql+pymysql://USER:PASSWORD@HOST/DATABASE',
            'secret_uuid: 457eb676-33da-42ec-9a8c-9293d545c337',
            '{"id": 1,   "name": "a"}',
            'ssh -p 2222 host1',
            "ext4 errors=remount-ro 0 1; {'a': ['b']}",
        ):
            self.assertEqual(text, secrets.mask_text(text))

    def test_a_long_text_takes_no_long_time(self) -> None:
        for text in ('[{"' * 50_000, 'a:' * 50_000, '{"a": ' * 20_000,
                     'x://a:' * 20_000, '\\"' * 50_000,
                     'password="' * 20_000):  # fmt: skip
            began = time.monotonic()
            secrets.mask_text(text)
            self.assertLess(time.monotonic() - began, 5, text[:10])

    @hypothesis.settings(
        max_examples=300, deadline=None, derandomize=True, database=None
    )
    @hypothesis.given(strategies.text(), strategies.text())
    def test_any_text_and_any_data(self, one: str, two: str) -> None:
        secrets.mask_text(one + two)
        secrets.mask_url(f'mysql://{one}@{two}')
        secrets.mask_command([one, two])
        json.loads(secrets.mask(json.dumps({one: two})))


class TestMaskCommand(TestCase):
    def test_no_secret_of_a_command_line_is_kept(self) -> None:
        for words in (
            ['--os-password', 'hunter2'],
            ['--os-password=hunter2'],
            ['--os-passw=hunter2'],
            ['--os-pass', 'hunter2'],
            ['--os-passc', 'hunter2'],
            ['--os-toke', 'hunter2'],
            ['--os-client-se', 'hunter2'],
            ['--os-application-credential-s', 'hunter2'],
            ['--os-acc', 'hunter2'],
            ['--os-auth-url', 'http://me:hunter2@k:5000'],
            ['--fenced', 'ipmitool -P hunter2 chassis power off'],
            ['--fenced', 'curl -u me:hunter2 https://bmc'],
            ['--override', 'source-fenced=password: hunter2'],
        ):
            shown = secrets.mask_command(['openstack', *words, 'recovery'])
            self.assertNotIn('hunter2', ' '.join(shown), words)
            self.assertEqual('recovery', shown[-1])

    def test_the_rest_is_as_it_was_typed(self) -> None:
        words = [
            'openstack', '--os-cloud', 'prod', '--os-auth-url',
            'http://k:5000', '--os-project-name', 'admin', 'recovery', 'host',
            'recover', 'np-rcc54', '--fenced', 'PDU port 14: off',
            '--approve', '0123456789abcdef', '--reason', 'the key is lost',
        ]  # fmt: skip
        self.assertEqual(words, secrets.mask_command(words))
