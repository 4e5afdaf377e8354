# SPDX-License-Identifier: Apache-2.0

"""How often something is sent to placement and neutron."""

from __future__ import annotations

from typing import Any
from unittest import mock

from keystoneauth1 import session, token_endpoint
from openstack import proxy
import requests

from nova_recovery.cloud.api import placement
from nova_recovery.cloud.api.network import Network, Port
from nova_recovery.cloud.api.placement import Placement
from nova_recovery.exceptions import ApiUnavailable, OutcomeUnknown
from tests.base import TestCase

ALLOCATION = {
    'allocations': {'provider': {'VCPU': 1}},
    'project_id': 'p1',
    'user_id': 'u1',
    'consumer_generation': 1,
}
PORT = Port(
    id='p1', device_id='u1', device_owner='compute:a', host='np-rcc54',
    vnic_type='normal', vif_type='ovs', status='DOWN', profile={},
    addresses=(), has_resources=False,
)  # fmt: skip


class TestSentOnce(TestCase):
    """Through a proxy of openstacksdk that was told to try again."""

    def setUp(self) -> None:
        super().setUp()
        self.sent: list[str] = []
        http = mock.Mock()
        http.request.side_effect = self.answer
        own = session.Session(
            token_endpoint.Token('http://127.0.0.1', 't'), session=http
        )
        self.connection = mock.Mock(
            cache_enabled=False, _global_request_id=None, _api_cache_keys=()
        )
        own._sdk_connection = self.connection
        one = proxy.Proxy(
            own,
            service_type='placement',
            connect_retries=1,
            status_code_retries=1,
            connect_retry_delay=0.001,
            status_code_retry_delay=0.001,
        )
        self.connection.placement = self.connection.network = one

    def answer(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """What only reads is answered in time."""
        if method != 'GET':
            self.sent.append(method)
            raise requests.exceptions.ReadTimeout
        found = requests.Response()
        found.status_code = 404
        return found

    def test_an_allocation(self) -> None:
        one = Placement(self.connection, 3)
        one._version = placement.MODERN
        self.assertRaises(
            OutcomeUnknown, one.put_allocations, 'u1', ALLOCATION
        )
        self.assertEqual(['PUT'], self.sent)

    def test_a_binding(self) -> None:
        one = Network(self.connection, 3)
        self.assertRaises(OutcomeUnknown, one.bind, PORT, 'np-rcc46', 'x', {})
        self.assertEqual(['PUT'], self.sent)


class TestVersion(TestCase):
    def test_one_that_is_not_told_is_not_taken_for_the_oldest(self) -> None:
        for data in (None, mock.Mock(max_microversion=None)):
            connection = mock.Mock()
            connection.placement.get_endpoint_data.return_value = data
            one = Placement(connection, 3)
            self.assertRaises(ApiUnavailable, one.ping)
