# SPDX-License-Identifier: Apache-2.0

"""The way back of a move, where nova went on with its own work since."""

from __future__ import annotations

from typing import Any
from unittest import mock

import sqlalchemy as sa

from nova_recovery.changes.record import MoveRecord
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import Conflict
from tests.base import TestCase
from tests.unit.at import at
from tests.unit.changes import test_sql
from tests.unit.changes.test_sql import Schema

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


class Memory(Schema):
    """Tables of a database, in memory; in a file for several threads."""

    def __init__(self, file: str = '', **columns: str) -> None:
        super().__init__(**columns)
        self.engine = sa.create_engine(
            f'sqlite:///{file}',
            poolclass=sa.pool.NullPool if file else sa.pool.StaticPool,
        )
        next(iter(self._tables.values())).metadata.create_all(self.engine)
        self.reader = self.engine.connect

    def write(self, work: Any) -> Any:
        with self.engine.begin() as connection:
            return work(connection)

    def add(self, table: str, **values: Any) -> None:
        self.write(lambda c: c.execute(sa.insert(self[table]).values(values)))


class Cell(Memory):
    """The two tables of a cell that a move writes to."""

    def __init__(self) -> None:
        super().__init__(
            instances='id uuid host node vm_state power_state task_state '
            'updated_at deleted',
            migrations='id updated_at deleted uuid instance_uuid status '
            'source_compute dest_compute migration_type',
        )

    def set(self, **values: Any) -> None:
        self.write(
            lambda c: c.execute(sa.update(self['instances']).values(values))
        )

    def server(self) -> dict[str, Any]:
        with self.reader() as connection:
            found = connection.execute(sa.select(self['instances']))
            return dict(found.mappings().one())


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
        self.assertEqual('np-rcc46', self.cell.server()['host'])

    def test_after_the_power_sync_of_the_target(self) -> None:
        # there is no guest: its power state is unknown
        self.cell.set(power_state=0)
        self.move.revert(self.at)
        server = self.cell.server()
        self.assertEqual(BEFORE, {name: server[name] for name in BEFORE})

    def test_not_after_somebody_started_it(self) -> None:
        self.cell.set(power_state=1, vm_state='active')
        self.assertRaises(Conflict, self.move.revert, self.at)
