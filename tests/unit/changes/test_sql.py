# SPDX-License-Identifier: Apache-2.0

"""The SQL of a move as it is printed, for schemas of several ages."""

from __future__ import annotations

from typing import Any

import fixtures

from nova_recovery.changes import record
from nova_recovery.changes.record import MoveRecord
from nova_recovery.engine.plan import Item
from tests.base import TestCase
from tests.unit.tables import Schema

UUID = '3f57699a-e773-4650-a443-b4b37eed5a06'
TOMBSTONE = '0d1fd0b8-3b5c-44a0-b1c6-57d2cb0a9f1e'
DATA: dict[str, Any] = {
    'uuid': UUID,
    'source': {'host': 'np-rcc54', 'node': 'np-rcc54.example.org'},
    'target': {
        'host': 'np-rcc46',
        'node': 'np-rcc46.example.org',
        'host_ip': '192.0.2.46',
        'compute_id': 20,
    },
    'seen': {'host': 'np-rcc54', 'vm_state': 'paused', 'task_state': None},
    'values': {
        'host': 'np-rcc46',
        'node': 'np-rcc46.example.org',
        'vm_state': 'stopped',
        'power_state': 4,
        'task_state': None,
    },
    'disarm': [{'id': 7, 'status': 'done'}, {'id': 9, 'status': 'accepted'}],
}


MODERN = Schema(
    instances='uuid host node availability_zone vm_state power_state '
    'task_state deleted',
    migrations='id created_at updated_at deleted uuid instance_uuid '
    'source_compute source_node dest_compute dest_node dest_host '
    'dest_compute_id status migration_type hidden',
)
#: Before Folsom there is no node, before Liberty no tombstone.
ESSEX = Schema(
    instances='uuid host vm_state power_state task_state deleted',
    migrations='id source_compute dest_compute dest_host status',
)


class SqlTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.useFixture(fixtures.MonkeyPatch('uuid.uuid4', lambda: TOMBSTONE))

    def statements(self, schema: Schema, **data: Any) -> list[str]:
        return record.statements(schema, {**DATA, **data})  # type: ignore

    def test_a_modern_schema_gets_the_row_and_the_tombstones(self) -> None:
        self.assertEqual(
            [
                'BEGIN;',
                "UPDATE instances SET host='np-rcc46', "
                "node='np-rcc46.example.org', vm_state='stopped', "
                'power_state=4, task_state=NULL '
                f"WHERE instances.uuid = '{UUID}' "
                "AND instances.host = 'np-rcc54' "
                "AND instances.vm_state = 'paused' "
                'AND instances.task_state IS NULL AND instances.deleted = 0;',
                "UPDATE migrations SET status='completed' "
                'WHERE migrations.id IN (7, 9);',
                'INSERT INTO migrations (created_at, updated_at, deleted, '
                'uuid, instance_uuid, source_compute, source_node, '
                'dest_compute, dest_node, dest_host, dest_compute_id, '
                'status, migration_type, hidden) VALUES (utc_timestamp(), '
                f"utc_timestamp(), 0, '{TOMBSTONE}', '{UUID}', 'np-rcc54', "
                "'np-rcc54.example.org', 'np-rcc46', 'np-rcc46.example.org', "
                "'192.0.2.46', 20, 'done', 'evacuation', 0);",
                'COMMIT;',
            ],
            [' '.join(one.split()) for one in self.statements(MODERN)],
        )

    def test_an_old_schema_gets_what_it_has(self) -> None:
        begin, update, commit = self.statements(ESSEX)
        self.assertEqual(('BEGIN;', 'COMMIT;'), (begin, commit))
        self.assertNotIn('node', update)
        self.assertIn("host='np-rcc46'", update)

    def test_without_old_tombstones_none_is_disarmed(self) -> None:
        for found in ({'disarm': []}, {}):
            data = {k: v for k, v in DATA.items() if k != 'disarm'}
            shown = record.statements(MODERN, {**data, **found})  # type: ignore
            self.assertEqual(4, len(shown))

    def test_a_value_is_printed_as_mysql_reads_it(self) -> None:
        for value, literal in (
            ('50% off', "'50% off'"),
            ('two  blanks', "'two  blanks'"),
            ("o'clock", "'o''clock'"),
            ('back\\slash', "'back\\\\slash'"),
            ('a:b :c', "'a:b :c'"),
            ('Zürich', "'Zürich'"),
        ):
            shown = self.statements(
                MODERN, values={'availability_zone': value}
            )
            self.assertIn(f'availability_zone={literal}', shown[1])

    def test_one_line_each(self) -> None:
        for statement in self.statements(MODERN):
            self.assertNotIn('\n', statement)
            self.assertEqual(1, statement.count(';'))


class DescribeTest(TestCase):
    def test_only_what_differs_is_shown(self) -> None:
        item = Item('i', 'move-record', f'server:{UUID}', 'web', DATA)
        self.assertEqual(
            [
                '~ host  np-rcc54 -> np-rcc46',
                '~ node  none -> np-rcc46.example.org',
                '~ vm_state  paused -> stopped',
                '~ power_state  none -> 4',
                '+ tombstone  np-rcc54 cleans up after itself when it returns',
                '~ evacuation 7  done -> completed   it would destroy the '
                'guest on np-rcc46',
                '~ evacuation 9  accepted -> completed   it would destroy '
                'the guest on np-rcc46',
            ],
            MoveRecord().describe(item),
        )
