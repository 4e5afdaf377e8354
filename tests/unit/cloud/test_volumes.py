# SPDX-License-Identifier: Apache-2.0

"""Connectors, and cinders that are too old to have any."""

from __future__ import annotations

from unittest import mock

from nova_recovery.cloud.db import volumes
from tests.base import TestCase


class TestOldCinder(TestCase):
    """Juno has no table of attachments, Pike no connector in it."""

    def setUp(self) -> None:
        super().setUp()
        self.cinder = mock.Mock(spec_set=('tables', 'reader'))
        self.cinder.tables.has.return_value = False

    def test_no_host_has_a_connector_and_nothing_is_asked(self) -> None:
        self.assertEqual(
            {}, volumes.host_connectors(self.cinder, ['np-rcc46'])
        )
        self.cinder.reader.assert_not_called()

    def test_no_attachment_has_a_connector(self) -> None:
        self.assertEqual({}, volumes.connectors(self.cinder, ['a1']))
        self.cinder.reader.assert_not_called()
