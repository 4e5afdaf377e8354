# SPDX-License-Identifier: Apache-2.0

"""Ports of servers, as neutron lets an administrator bind them."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

import requests

from nova_recovery.cloud.api.network import Network, Port
from nova_recovery.exceptions import ChangeFailed, RecoveryError
from tests.base import TestCase

BINDINGS = '/ports/p1/bindings'
FORBIDDEN = (403, {'NeutronError': {'message': 'rule:activate is disallowed'}})


class BindTest(TestCase):
    """After a live migration that was cut, its target has a binding.

    What neutron 29 answers, as it was seen on the practice cloud.
    """

    def setUp(self) -> None:
        super().setUp()
        self.port = {
            'id': 'p1',
            'device_id': 'u1',
            'device_owner': 'compute:nova',
            'binding:host_id': 'host1',
            'binding:vif_type': 'ovs',
            'binding:profile': {'migrating_to': 'host2'},
        }
        self.inactive = ['host2']
        self.answers: dict[str, tuple[int, Any]] = {}
        self.sent: list[tuple[str, str, Any]] = []
        connection = mock.Mock(current_user_id='b0b', current_project_id='adm')
        for method in ('get', 'put', 'delete'):
            getattr(connection.network, method).side_effect = self.asked(
                method
            )
        self.network = Network(connection, 3)

    def asked(self, method: str) -> Any:
        def answer(path: str, **words: Any) -> requests.Response:
            code, body = self.answers.get(path) or self.done(method, path)
            if method != 'get':
                self.sent.append((method, path, words.get('json')))
            found = requests.Response()
            found.status_code = code
            found._content = json.dumps(body).encode()
            return found

        return answer

    def done(self, method: str, path: str) -> tuple[int, Any]:
        if path.endswith('/activate'):
            self.port |= {'binding:host_id': 'host2', 'binding:profile': {}}
        if path == BINDINGS:
            return 200, {
                'bindings': [
                    {'host': host, 'status': 'INACTIVE'}
                    for host in self.inactive
                ]
            }
        return 200, {'port': self.port}

    def bind(self) -> None:
        port: Port = self.network.port('p1')
        self.network.bind(port, 'host2', 'compute:nova', {})

    def test_the_one_that_is_there_counts_from_now_on(self) -> None:
        self.bind()
        body = {'binding:host_id': 'host2', 'device_owner': 'compute:nova'}
        self.assertEqual(
            [
                ('put', f'{BINDINGS}/host2/activate', None),
                ('delete', f'{BINDINGS}/host1', None),
                ('put', '/ports/p1', {'port': body}),
            ],
            self.sent,
        )

    def test_an_administrator_is_told_what_services_may(self) -> None:
        self.answers[f'{BINDINGS}/host2/activate'] = FORBIDDEN
        error = self.assertRaises(ChangeFailed, self.bind)
        self.assertIn('rule:activate is disallowed', str(error))
        self.assertIn(
            'openstack role add --user b0b --project adm service', str(error)
        )
        self.assertEqual(1, len(self.sent))

    def test_what_was_activated_counts_as_done_in_part(self) -> None:
        """The journal has to keep where it was bound before."""
        self.port['device_owner'] = 'compute:other'
        answers = self.done

        def then(method: str, path: str) -> tuple[int, Any]:
            if method == 'put' and path == '/ports/p1':
                return FORBIDDEN
            return answers(method, path)

        self.done = then  # type: ignore[method-assign]
        error = self.assertRaises(RecoveryError, self.bind)
        self.assertNotIsInstance(error, ChangeFailed)
        self.assertIn('is active already', str(error))

    def test_a_refusal_without_words(self) -> None:
        self.answers[f'{BINDINGS}/host2/activate'] = (403, None)
        error = self.assertRaises(ChangeFailed, self.bind)
        self.assertIn('(403)', str(error))

    def test_so_he_is_of_the_profile(self) -> None:
        self.inactive.clear()
        self.answers['/ports/p1'] = (200, {'port': self.port})
        port = self.network.port('p1')
        self.answers['/ports/p1'] = FORBIDDEN
        error = self.assertRaises(
            ChangeFailed, self.network.bind, port, 'host2', 'x', {}
        )
        self.assertIn('service', str(error))
        ((_, _, body),) = self.sent
        self.assertEqual({}, body['port']['binding:profile'])
