# SPDX-License-Identifier: Apache-2.0

"""The way back of a move, where nova went on with its own work since."""

from __future__ import annotations

from unittest import mock

from nova_recovery.changes.record import MoveRecord
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import Conflict
from tests.base import TestCase
from tests.unit.at import at
from tests.unit.changes import test_sql
from tests.unit.tables import Memory

BEFORE = {
    'host': 'np-rcc54',
    'node': 'np-rcc54.example.org',
    'vm_state': 'paused',
    'power_state': 3,
    'task_state': None,
}
ITEM = Item(
    'move', 'move-record', 'server:u', 'web',
    {**test_sql.DATA, 'cell': 'cell1', 'seen': BEFORE, 'disarm': []},
)  # fmt: skip


class Cell(Memory):
    """The two tables of a cell that a move writes to."""

    def __init__(self) -> None:
        super().__init__(
            instances='id uuid host node vm_state power_state task_state '
            'updated_at deleted',
            migrations='id updated_at deleted uuid instance_uuid status '
            'source_compute dest_compute migration_type',
        )


class TestWayBack(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.cell = Cell()
        self.addCleanup(self.cell.engine.dispose)
        self.cell.add(
            'instances', id=1, uuid=test_sql.UUID, deleted=0, **BEFORE
        )
        cloud = mock.Mock()
        cloud.databases.cell.return_value = self.cell
        self.move = MoveRecord()
        seen = self.move.observe(at(ITEM, cloud))
        self.at = at(ITEM, cloud, seen.image)
        self.move.apply(self.at)
        self.assertEqual('np-rcc46', self.cell.row('instances')['host'])

    def test_after_the_power_sync_of_the_target(self) -> None:
        # there is no guest: its power state is unknown
        self.cell.set('instances', power_state=0)
        self.move.revert(self.at)
        server = self.cell.row('instances')
        self.assertEqual(BEFORE, {name: server[name] for name in BEFORE})

    def test_not_after_somebody_started_it(self) -> None:
        self.cell.set('instances', power_state=1, vm_state='active')
        self.assertRaises(Conflict, self.move.revert, self.at)
