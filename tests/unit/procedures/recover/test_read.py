# SPDX-License-Identifier: Apache-2.0

"""What is read of the servers of a dead host."""

from __future__ import annotations

import types
from typing import Any

from nova_recovery.cloud.records import Server
from nova_recovery.procedures.recover import read
from nova_recovery.procedures.recover.situation import Request
from tests.base import TestCase
from tests.unit.procedures import rows
from tests.unit.tables import Real


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
