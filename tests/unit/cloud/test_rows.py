# SPDX-License-Identifier: Apache-2.0

"""Rows of a table, whatever release made it."""

from __future__ import annotations

from nova_recovery.cloud.db import rows
from nova_recovery.cloud.db.rows import Reader
from tests.base import TestCase
from tests.unit.tables import Memory


class TestReader(TestCase):
    """Three servers of a release without tags, one of them deleted."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = Memory(instances='id uuid host deleted')
        self.addCleanup(self.cell.engine.dispose)
        for number, uuid, host, deleted in (
            (3, 'mail', 'host2', 0),
            (2, 'gone', 'host1', 2),
            (1, 'web', 'host1', 0),
        ):
            self.cell.add(
                'instances', id=number, uuid=uuid, host=host, deleted=deleted
            )
        connection = self.cell.engine.connect()
        self.addCleanup(connection.close)
        self.reader = Reader(self.cell, connection)

    def select(self, *words: object, **options: object) -> list[str]:
        found = self.reader.select('instances', *words, **options)
        return sorted(row['uuid'] for row in found)

    def test_live_rows_unless_the_others_are_asked_for(self) -> None:
        self.assertEqual(['mail', 'web'], self.select())
        self.assertEqual(['gone', 'mail', 'web'], self.select(deleted=True))

    def test_what_a_release_does_not_have_is_none(self) -> None:
        for row in self.reader.select('instances', ('uuid', 'tag')):
            self.assertEqual({'uuid', 'tag'}, set(row))
            self.assertIsNone(row['tag'])

    def test_an_expression_under_its_name(self) -> None:
        host = self.cell['instances'].c.host
        found = self.reader.select(
            'instances', ('uuid',), given={'first': host == 'host1'}
        )
        self.assertEqual(
            {'web': 1, 'mail': 0}, {row['uuid']: row['first'] for row in found}
        )

    def test_rows_with_one_of_many_values_come_in_batches(self) -> None:
        many = {'host1', 'host2', *(f'other{n}' for n in range(rows.BATCH))}
        self.assertEqual(['mail', 'web'], self.select(by='host', values=many))
        self.assertEqual(['web'], self.select(by='host', values=['host1']))

    def test_none_of_no_values(self) -> None:
        self.assertEqual([], self.select(by='host', values=()))

    def test_a_condition_beside_the_values(self) -> None:
        number = self.cell['instances'].c.id
        self.assertEqual(
            ['gone'],
            self.select(
                by='host', values=['host1'], where=number > 1, deleted=True
            ),
        )

    def test_by_a_value_in_the_order_of_ids(self) -> None:
        found = self.reader.grouped(
            'instances', 'host', ['host1', 'host2'], ('uuid',), deleted=True
        )
        self.assertEqual(
            {'host1': ['web', 'gone'], 'host2': ['mail']},
            {
                host: [row['uuid'] for row in some]
                for host, some in found.items()
            },
        )

    def test_nothing_where_the_release_has_no_such_table(self) -> None:
        self.assertEqual({}, self.reader.grouped('tags', 'server', ['web']))
        self.assertIsNone(self.reader.highest('tags'))

    def test_the_highest_of_a_column(self) -> None:
        self.assertEqual(3, self.reader.highest('instances'))


class TestBatches(TestCase):
    def test_as_many_as_an_in_can_take(self) -> None:
        self.assertEqual(
            [[1, 2], [3]], [list(b) for b in rows.batches([1, 2, 3], 2)]
        )
