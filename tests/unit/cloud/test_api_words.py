# SPDX-License-Identifier: Apache-2.0

"""What libraries say of a request, in one line that leads on."""

from __future__ import annotations

import json

from keystoneauth1 import exceptions as ksa
import novaclient.exceptions
from openstack import exceptions as sdk

from nova_recovery.cloud.api import apis, words
from nova_recovery.exceptions import ApiUnavailable, OutcomeUnknown
from tests.base import TestCase

#: As it was on the screen, of a Keystone that was down.
LAYERS = (
    'Unable to establish connection to http://127.0.0.1:15004/v3/auth/tokens:'
    " HTTPConnectionPool(host='127.0.0.1', port=15004): Max retries exceeded"
    ' with url: /v3/auth/tokens (Caused by NewConnectionError("'
    "HTTPConnection(host='127.0.0.1', port=15004): Failed to establish a new "
    'connection: [Errno 111] Connection refused"))'
)
FOREIGN = (
    'ConnectionPool',
    'Max retries',
    'Errno',
    'Caused by',
    'Expecting value',
    'char 0',
    'bugs.launchpad',
    'discovery',
)


class TestPlain(TestCase):
    def plain(self, error: Exception, service: str = 'nova-api') -> str:
        told = words.plain(error, service)
        for word in FOREIGN:
            self.assertNotIn(word, told)
        self.assertEqual(1, len(told.splitlines()))
        return told

    def test_keystone_is_down(self) -> None:
        for error in (
            ksa.ConnectFailure(LAYERS),
            ksa.DiscoveryFailure(
                'Could not find versioned identity endpoints when attempting '
                'to authenticate. Please check that your auth_url is correct.'
                f' {LAYERS}'
            ),
            sdk.SDKException(LAYERS),
        ):
            self.assertEqual(
                'nothing listens at http://127.0.0.1:15004: start Keystone '
                'there',
                self.plain(error),
            )

    def test_what_else_may_be_wrong_on_the_way(self) -> None:
        url = 'https://u:hunter2@c1:8774/v2.1'
        for said, told in (
            ("SSLError(1, 'CERTIFICATE_VERIFY_FAILED')", '--os-cacert'),
            ('[Errno -2] Name or service not known', 'DNS'),
            ('[Errno 113] No route to host', 'network'),
            ('Connection aborted.', 'the log of nova-api'),
            ('Read timed out.', 'no answer in time'),
        ):
            found = self.plain(
                ksa.ConnectFailure(f'Unable to connect to {url}: {said}')
            )
            self.assertIn(told, found)
            self.assertIn('https://c1:8774', found)
            self.assertNotIn('hunter2', found)

    def test_a_wrong_path_is_no_wrong_certificate(self) -> None:
        for kind, path in (
            ('CA certificate bundle', '/etc/{x}.pem'),
            ('key file', '/etc/key.pem'),
        ):
            found = self.plain(
                OSError(f'Could not find the TLS {kind}, invalid path: {path}')
            )
            self.assertIn(f'no such file: {path} ', found)
            self.assertNotIn('certificate', found)

    def test_what_may_have_to_be_started(self) -> None:
        for error, silent in (
            (ksa.ConnectFailure(LAYERS), True),
            (ksa.ConnectTimeout('http://c1:8774 timed out'), True),
            (ksa.ConnectFailure('http://c1:8774: not known'), False),
            (ksa.ConnectFailure('https://c1:8774: SSL'), False),
            (ksa.DiscoveryFailure('http://c1:80'), False),
            (OSError('TLS key, invalid path: /timeout'), False),
            (novaclient.exceptions.Forbidden(403, 'not allowed'), False),
            (ksa.EndpointNotFound(), False),
        ):
            self.assertEqual(silent, words.is_silent(error), repr(error))

    def test_what_serves_it_is_known_by_its_port(self) -> None:
        self.assertIn(
            'start cinder-api there',
            self.plain(
                ksa.ConnectFailure('to http://c1:8776/v3: refused'), ''
            ),
        )

    def test_credentials(self) -> None:
        self.assertIn('HTTP 401', self.plain(ksa.Unauthorized('no')))
        for error in (
            ksa.MissingAuthPlugin(),
            sdk.ConfigException('Cloud devstack was not found.'),
        ):
            self.assertIn('--os-cloud', self.plain(error))

    def test_not_in_the_catalogue(self) -> None:
        self.assertIn(
            'no endpoint of nova-api', self.plain(ksa.EndpointNotFound())
        )

    def test_an_answer_that_is_not_of_the_api(self) -> None:
        error = self.assertRaises(json.JSONDecodeError, json.loads, '<html>')
        self.assertIn('the answer is no JSON', self.plain(error))
        self.assertIn(
            'http://c1:80 answers, but not as Keystone does',
            self.plain(
                ksa.DiscoveryFailure(
                    'Could not find versioned identity endpoints at '
                    'http://c1:80/identity'
                )
            ),
        )

    def test_a_service_that_breaks_down(self) -> None:
        request = 'req-3fb04a53-0000-4000-8000-00000000beef'
        self.assertEqual(
            f'HTTP 500 ({request}): look at the log of nova-api',
            self.plain(
                novaclient.exceptions.ClientException(
                    500,
                    'Unexpected API Error. Please report this at '
                    'http://bugs.launchpad.net/nova/',
                    None,
                    request,
                )
            ),
        )

    def test_no_versions_where_nothing_listens(self) -> None:
        error = sdk.NotSupported(
            'The image service for envvars:RegionOne exists but does not '
            'have any supported versions.'
        )
        self.assertIn(
            'the endpoint of glance-api tells no versions: start glance-api',
            words.plain(error, 'glance-api'),
        )
        self.assertTrue(words.is_silent(error))

    def test_what_a_service_says_of_a_request_stays(self) -> None:
        self.assertIn(
            'Cannot reboot',
            self.plain(
                novaclient.exceptions.Conflict(409, 'Cannot reboot instance')
            ),
        )


class TestTranslated(TestCase):
    def test_no_json_is_no_answer(self) -> None:
        with self.assertRaisesRegex(ApiUnavailable, 'servers: .*no JSON'):
            with apis.reading('servers', 'nova-api'):
                json.loads('')
        with self.assertRaisesRegex(OutcomeUnknown, 'no JSON'):
            with apis.sending('reboot'):
                json.loads('')

    def test_a_file_of_tls_that_is_not_there(self) -> None:
        with self.assertRaisesRegex(ApiUnavailable, '--os-cacert'):
            with apis.reading('servers'):
                # as requests says it, which keystoneauth lets through
                raise OSError(
                    'Could not find a suitable TLS CA certificate bundle, '
                    'invalid path: /nowhere'
                )
