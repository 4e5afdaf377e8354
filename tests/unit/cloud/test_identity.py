# SPDX-License-Identifier: Apache-2.0

"""Which cloud it is."""

from __future__ import annotations

import datetime
from types import SimpleNamespace
from typing import Any

from nova_recovery.cloud.db import identity
from nova_recovery.exceptions import ConfigError, DatabaseUnavailable
from tests.base import TestCase
from tests.unit.tables import Real


def cloud(*uuids: str, disabled: str = '', answers: Any = None) -> Any:
    cells = [SimpleNamespace(cell=SimpleNamespace(uuid=one)) for one in uuids]
    return SimpleNamespace(
        databases=SimpleNamespace(
            cells=cells,
            disabled=[SimpleNamespace(uuid=disabled)] if disabled else [],
            each_cell=lambda ask: answers or {},
        )
    )


class TestIdentity(TestCase):
    def test_by_its_cells_with_those_that_are_disabled(self) -> None:
        self.assertEqual({'a', 'b'}, identity.of(cloud('a', disabled='b')))

    def test_by_its_first_service_where_cells_have_no_name(self) -> None:
        self.assertEqual(
            {'service 1', 'service 2'},
            identity.of(
                cloud('', answers={'nova': ['service 1', 'service 2']})
            ),
        )
        silent = {'nova': DatabaseUnavailable('nova', 'it is down')}
        self.assertEqual(frozenset(), identity.of(cloud('', answers=silent)))

    def test_an_archive_takes_it_away_from_nobody(self) -> None:
        """Nor one of its first services that somebody deletes."""
        nova = Real('nova16-nova', ('services', 'shadow_services'), 'nova')
        self.addCleanup(nova.engine.dispose)
        for number in range(1, 9):
            born = datetime.datetime(2012, 11, 22, 14, 49, number)
            nova.add(
                'services', id=number, binary='nova-cert', host='control',
                created_at=born, report_count=1,
            )  # fmt: skip
        before = identity._first_services(nova)
        self.assertEqual(
            'service 1 nova-cert@control of 2012-11-22T14:49:01', before[0]
        )
        with nova.engine.begin() as connection:
            for words in (
                'INSERT INTO shadow_services SELECT * FROM services'
                ' WHERE id < 5',
                'DELETE FROM services WHERE id < 5',
            ):
                connection.exec_driver_sql(words)
        self.assertEqual(before, identity._first_services(nova))
        with nova.engine.begin() as connection:
            connection.exec_driver_sql('DELETE FROM shadow_services')
        self.assertTrue(set(before) & set(identity._first_services(nova)))

    def test_nothing_where_no_database_answers(self) -> None:
        class Silent:
            @property
            def databases(self) -> Any:
                raise ConfigError('no connection')

        found: Any = Silent()
        self.assertEqual(frozenset(), identity.of(found))

    def test_two_clouds_are_known_to_be_two(self) -> None:
        def another(one: str, other: str) -> bool:
            return identity.another(
                frozenset(one.split()), frozenset(other.split())
            )

        self.assertTrue(another('a', 'b'))
        self.assertFalse(another('a b', 'b c'))
        self.assertFalse(another('', 'b'))
        self.assertFalse(another('a', ''))
