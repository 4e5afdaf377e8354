# SPDX-License-Identifier: Apache-2.0

"""Servers and volumes by name, and those that may be meant."""

from __future__ import annotations

from typing import Any

from nova_recovery.cloud.db import servers, volumes
from nova_recovery.exceptions import Ambiguous, NotFound
from tests.base import TestCase
from tests.unit.changes.case import Cloud

VOLUMES = {
    '81d7a173-e8b9-44c4-9daa-2c52a063da78': ('at3-data', 0),
    '9620e5d8-e1d7-42b8-9a7e-b9b72277dd7d': ('twin', 0),
    'aa20e5d8-e1d7-42b8-9a7e-b9b72277dd7d': ('twin', 0),
    'bb20e5d8-e1d7-42b8-9a7e-b9b72277dd7d': ('gone', 1),
    'cc20e5d8-e1d7-42b8-9a7e-b9b72277dd7d': ('50%_off', 0),
}


class TestVolumes(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.cloud: Any = Cloud('nova34-nova', 'nova34-cinder')
        self.addCleanup(self.cloud.close)
        for uuid, (name, deleted) in VOLUMES.items():
            self.cloud.cinder.add(
                'volumes', id=uuid, display_name=name, deleted=deleted,
                status='in-use', use_quota=1, volume_type_id='t',
            )  # fmt: skip

    def find(self, text: str) -> str:
        return volumes.find(self.cloud.databases.cinder, text)

    def missing(self, text: str) -> tuple[str, ...]:
        return self.assertRaises(NotFound, self.find, text).candidates

    def test_by_its_name_to_the_letter(self) -> None:
        self.assertTrue(self.find('at3-data').startswith('81d7a173'))
        self.assertTrue(self.find('50%_off').startswith('cc20e5d8'))
        self.assertRaises(NotFound, self.find, 'AT3-DATA')

    def test_of_several_the_candidates_are_told(self) -> None:
        error = self.assertRaises(Ambiguous, self.find, 'twin')
        self.assertEqual(
            ['9620e5d8', 'aa20e5d8'],
            sorted(one[:8] for one in error.candidates),
        )

    def test_nearly_its_name_or_the_beginning_of_its_uuid(self) -> None:
        for text in ('at3-dat', 'at3-dtaa', '81d7a173'):
            (one,) = self.missing(text)
            self.assertEqual(
                '81d7a173-e8b9-44c4-9daa-2c52a063da78  at3-data  in-use', one
            )

    def test_what_was_deleted_is_not_meant(self) -> None:
        self.assertEqual((), self.missing('gone'))

    def test_percent_and_underscore_are_letters(self) -> None:
        (one,) = self.missing('%')
        self.assertIn('50%_off', one)
        self.assertEqual((), self.missing('____'))


class TestServers(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.cloud: Any = Cloud('nova34-nova', 'nova34-cinder')
        self.addCleanup(self.cloud.close)
        for number in range(1, 10):
            self.cloud.cell.add(
                'instances', id=number, display_name=f'at3-ui0{number}',
                uuid=f'9620e50{number}-e1d7-42b8-9a7e-b9b72277dd7d',
                host='np-rcc4', deleted=0, locked=0,
            )  # fmt: skip

    def missing(self, text: str) -> tuple[str, ...]:
        find, databases = servers.find, self.cloud.databases
        return self.assertRaises(NotFound, find, databases, text).candidates

    def test_the_nearest_first_and_a_few(self) -> None:
        found = self.missing('at3-iu02')
        self.assertEqual(
            '9620e502-e1d7-42b8-9a7e-b9b72277dd7d  at3-ui02  np-rcc4', found[0]
        )
        self.assertEqual(5, len(found))

    def test_the_beginning_of_a_uuid_as_tables_show_it(self) -> None:
        (one,) = self.missing('9620e503')
        self.assertIn('at3-ui03', one)

    def test_nothing_is_near(self) -> None:
        self.assertEqual((), self.missing('zzz'))
