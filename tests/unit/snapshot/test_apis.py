# SPDX-License-Identifier: Apache-2.0

"""Ports, agents and allocations as the APIs give them."""

from __future__ import annotations

import io
import types
from typing import Any

from keystoneauth1 import exceptions as ksa_exceptions

from nova_recovery.cli import snapshot as cli
from nova_recovery.cli.snapshot import Progress
from nova_recovery.exceptions import ApiUnavailable
from nova_recovery.snapshot import apis
from tests.base import TestCase


class API:
    """Answers by path; keeps what it was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def get(self, path: str, params: dict[str, Any], timeout: float) -> Any:
        self.asked.append((path, params))
        answer = self.answers[path.strip('/').replace('/', '_')]
        if isinstance(answer, Exception):
            raise answer
        code, body = answer(params) if callable(answer) else answer
        return types.SimpleNamespace(status_code=code, json=lambda: body)


class TestAPIs(TestCase):
    def test_ports_in_pages_and_of_servers_only(self) -> None:
        found = [
            {
                'id': f'port-{n:04}',
                'device_id': 'server',
                'device_owner': 'compute:nova' if n % 2 else 'network:dhcp',
                'binding:host_id': 'np-rcc4',
                'binding:profile': {'secret': 'hunter2'},
                'fixed_ips': [{'ip_address': '10.0.0.7'}],
            }
            for n in range(1500)
        ]

        def page(params: dict[str, Any]) -> tuple[int, Any]:
            rest = [p for p in found if p['id'] > params.get('marker', '')]
            return 200, {'ports': rest[: params['limit']]}

        network = API(ports=page)
        rows = list(apis.ports(types.SimpleNamespace(network=network), 5))
        self.assertEqual(750, len(rows))
        self.assertEqual(2, len(network.asked))
        self.assertEqual(
            ('port-0001', 'server', 'compute:nova', 'np-rcc4'), rows[0][:4]
        )
        self.assertEqual('["10.0.0.7"]', rows[0][-1])
        self.assertNotIn('hunter2', repr(rows))

    def test_agents(self) -> None:
        network = API(
            agents=(200, {'agents': [{'id': 'a', 'host': 'h', 'alive': True}]})
        )
        self.assertEqual(
            [('a', 'h', None, None, 1, None)],
            list(apis.agents(types.SimpleNamespace(network=network), 5)),
        )

    def test_allocations_by_provider(self) -> None:
        placement = API(
            resource_providers=(
                200,
                {'resource_providers': [{'uuid': 'p', 'name': 'np-rcc4'}]},
            ),
            resource_providers_p_allocations=(
                200,
                {'allocations': {'s': {'resources': {'VCPU': 1, 'A': 2}}}},
            ),
        )
        connection = types.SimpleNamespace(placement=placement)
        self.assertEqual(
            [('s', 'p', 'np-rcc4', '{"A":2,"VCPU":1}')],
            list(apis.allocations(connection, 5)),
        )

    def test_no_answer_and_a_refusal_are_unavailable(self) -> None:
        for answer in (
            (503, {}),
            (403, {}),
            ksa_exceptions.ConnectFailure('refused'),
        ):
            connection = types.SimpleNamespace(network=API(agents=answer))
            self.assertRaises(ApiUnavailable, list, apis.agents(connection, 5))


class TestProgress(TestCase):
    def test_a_line_when_something_has_been_read_for_a_while(self) -> None:
        stream = io.StringIO()
        progress = Progress(stream)
        progress('servers', 1000)
        self.assertEqual('', stream.getvalue())
        progress._said -= cli.EVERY
        progress('devices', 500)
        progress.end()
        self.assertRegex(
            stream.getvalue(), r'^1500 rows, \d+ a second \(devices\)\n$'
        )
