# SPDX-License-Identifier: Apache-2.0

"""Connectors, and cinders that are too old to have any."""

from __future__ import annotations

import datetime
from typing import Any
from unittest import mock

from nova_recovery.cloud.db import volumes
from nova_recovery.cloud.db.volumes import Access
from tests.base import TestCase
from tests.unit.changes.case import Cloud


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

    def test_nothing_tells_how_a_server_may_use_a_volume(self) -> None:
        pair = ('web', 'data')
        self.assertEqual(
            {pair: Access()}, volumes.access(self.cinder, {pair: None})
        )
        self.cinder.reader.assert_not_called()


class TestAccess(TestCase):
    """Whether what a server has, or had, is read-only."""

    def setUp(self) -> None:
        super().setUp()
        self.cloud: Any = Cloud('nova34-nova', 'nova34-cinder')
        self.addCleanup(self.cloud.close)

    def add(self, name: str, mode: str | None, **fields: Any) -> None:
        self.cloud.cinder.add(
            'volume_attachment',
            **{
                'id': name,
                'volume_id': 'data',
                'instance_uuid': 'web',
                'attach_mode': mode,
                'attach_status': 'attached',
                'deleted': 0,
                'created_at': datetime.datetime(2026, 11, 22),
                **fields,
            },
        )

    def add_read_only(self, value: str) -> None:
        self.cloud.cinder.add(
            'volume_admin_metadata', id=1, volume_id='data', key='readonly',
            value=value, deleted=0,
        )  # fmt: skip

    def access(self, named: str | None = None) -> Access:
        pair = ('web', 'data')
        return volumes.access(self.cloud.cinder, {pair: named})[pair]

    def test_the_row_of_one_that_was_deleted_tells(self) -> None:
        self.add('a1', 'ro', deleted=1, attach_status='detached')
        self.assertEqual(Access('ro'), self.access('a1'))

    def test_that_of_another_server_does_not(self) -> None:
        self.add('a1', 'rw', instance_uuid='db')
        self.assertEqual(Access(None), self.access())

    def test_what_nova_names_tells_before_the_newest(self) -> None:
        self.add('a1', 'ro', deleted=1)
        self.add('a2', 'rw', created_at=datetime.datetime(2026, 11, 23))
        self.assertEqual(Access('ro'), self.access('a1'))
        self.assertEqual(Access('rw'), self.access())
        self.assertEqual(Access('rw'), self.access('purged'))

    def test_a_row_without_a_mode(self) -> None:
        self.add('a1', None)
        self.assertEqual(Access(''), self.access('a1'))

    def test_one_that_was_never_connected(self) -> None:
        """Cinder makes it writable when it connects it."""
        self.add('a1', 'null')
        self.assertEqual(Access('rw'), self.access('a1'))
        self.add('a0', 'ro', deleted=1)
        self.assertEqual(Access('ro'), self.access('a1'))

    def test_a_volume_that_cinder_attaches_read_only(self) -> None:
        self.add('a1', 'ro')
        self.add_read_only('True')
        self.assertEqual(Access('ro', read_only=True), self.access())

    def test_a_volume_that_was_read_only_once(self) -> None:
        self.add_read_only('False')
        self.assertEqual(Access(None), self.access())
