# SPDX-License-Identifier: Apache-2.0

"""What is read of the servers of a dead host."""

from __future__ import annotations

import types
from typing import Any
from unittest import mock

import fixtures

from nova_recovery.cloud.records import Server
from nova_recovery.exceptions import NotFound
from nova_recovery.procedures.recover import read
from nova_recovery.procedures.recover.situation import Request
from tests.base import TestCase
from tests.unit.procedures import rows
from tests.unit.tables import Real


class ForgottenHostTest(TestCase):
    """Nothing names the host any more: all its servers were moved off."""

    def setUp(self) -> None:
        super().setUp()
        self.reader = mock.Mock()
        self.reader.servers.return_value = []
        self.reader.hosts.return_value = []
        self.reader.unreachable, self.reader.apis = {}, {}
        missing = mock.Mock(side_effect=NotFound('no such host'))
        for name, value in (
            ('_Reader', lambda *words: self.reader),
            ('_reports', lambda database: {}),
            ('_long_ago', lambda *words: True),
            ('compute_hosts', mock.Mock(cell_of=missing)),
        ):
            self.useFixture(fixtures.MockPatchObject(read, name, value))

    def read(self, **known: Any) -> Any:
        cloud = mock.Mock()
        cloud.nova.report_interval = cloud.nova.service_down_time = 0
        cloud.databases.api = None
        return read.read(cloud, Request(('np-rcc54',)), mock.Mock(), **known)

    def test_of_a_new_plan_it_is_refused(self) -> None:
        self.assertRaises(NotFound, self.read)

    def test_a_run_that_goes_on_knows_it(self) -> None:
        """What is moved still has to be started."""
        found = self.read(known={'np-rcc54': 'cell1'})
        self.assertEqual({'np-rcc54'}, set(found.hosts))
        self.reader.without_service.assert_called_once_with(
            'np-rcc54', mock.ANY
        )


class OwnersWordsTest(TestCase):
    """Metadata and tags, by which whole sorts of servers are excluded."""

    def words(self, **asked: Any) -> Any:
        cell = Real('nova34-nova', ('instance_metadata', 'tags'), 'cell1')
        self.addCleanup(cell.engine.dispose)
        for number, (uuid, deleted) in enumerate(
            [('web', 0), ('web', 1), ('other', 0)]
        ):
            cell.add(
                'instance_metadata', id=number, instance_uuid=uuid,
                key=f'role{number}', value='amphora', deleted=deleted,
            )  # fmt: skip
            if not deleted:
                cell.add('tags', resource_id=uuid, tag=f'tag{number}')
        reader: Any = read._Reader.__new__(read._Reader)
        reader._cloud = types.SimpleNamespace(
            databases=types.SimpleNamespace(cell=lambda name: cell)
        )
        reader._request = Request(('np-rcc54',), **asked)
        server = Server(
            **{**rows.SERVER, 'uuid': 'web', 'host': '', 'node': ''}
        )
        return reader._owners_words([server])

    def test_those_that_are_asked_for(self) -> None:
        self.assertEqual(
            ({'web': {'role0': 'amphora'}}, {}),
            self.words(exclude_metadata=('role0',)),
        )
        self.assertEqual(
            ({}, {'web': frozenset({'tag0'})}),
            self.words(exclude_tags=('tag0',)),
        )

    def test_nobody_asks(self) -> None:
        self.assertEqual(({}, {}), self.words())
