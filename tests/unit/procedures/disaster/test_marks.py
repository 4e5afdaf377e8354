# SPDX-License-Identifier: Apache-2.0
"""Which requests were made before the outage."""

from __future__ import annotations

import dataclasses
import datetime
import types
from typing import Any

import sqlalchemy as sa

from nova_recovery.procedures.disaster.look.cells import Asked, CellReader
from nova_recovery.procedures.disaster.plan import decide
from nova_recovery.procedures.disaster.situation import Outage
from tests.base import TestCase
from tests.unit.procedures.disaster import test_scenarios

OUTAGE = datetime.datetime(2026, 11, 22, 14, 0)
HOUR = datetime.timedelta(hours=1)


class Tables(dict[str, sa.Table]):
    def has(self, table: str, *columns: str) -> bool:
        return table in self


class MarkTest(TestCase):
    """Ten requests, an hour between two; the outage after the sixth."""

    def setUp(self) -> None:
        super().setUp()
        metadata = sa.MetaData()
        table = sa.Table(
            'instance_actions', metadata,
            sa.Column('id', sa.Integer),
            sa.Column('start_time', sa.DateTime),
        )  # fmt: skip
        engine = sa.create_engine('sqlite://')
        self.addCleanup(engine.dispose)
        connection: Any = engine.connect()
        self.addCleanup(connection.close)
        metadata.create_all(connection)
        connection.execute(
            table.insert(),
            [
                {'id': n, 'start_time': OUTAGE + (n - 6.5) * HOUR}
                for n in range(1, 11)
            ],
        )
        cell: Any = types.SimpleNamespace(
            name='cell1', tables=Tables({'instance_actions': table})
        )
        self.reader = CellReader(cell, connection)

    def marks(self, **asked: Any) -> tuple[int, str, int]:
        about = Asked(**asked)
        mark, how = self.reader.mark(about)
        return mark, how, self.reader.before_outage(about, mark)

    def test_what_each_tells(self) -> None:
        self.assertEqual((10, 'now', 10), self.marks())
        self.assertEqual((6, 'time', 6), self.marks(since=OUTAGE))
        self.assertEqual((2, 'snapshot', 2), self.marks(marks={'cell1': 2}))

    def test_the_moment_beside_a_snapshot(self) -> None:
        """Who stopped it in between is still to be seen."""
        self.assertEqual(
            (2, 'snapshot', 6), self.marks(marks={'cell1': 2}, since=OUTAGE)
        )
        self.assertEqual(
            (8, 'snapshot', 8), self.marks(marks={'cell1': 8}, since=OUTAGE)
        )

    def test_a_restart_goes_by_the_later_one(self) -> None:
        folder = test_scenarios.FOLDERS / 'a_cloud_comes_back'
        request, found, _ = test_scenarios.load(folder)
        there = dataclasses.replace(
            found.situation, before_outage={'cell1': 12345}
        )
        found = dataclasses.replace(found, situation=there)
        marks = {
            item.data['mark']
            for item in decide.decide(request, found).items()
            if item.kind == 'restart-server'
        }
        self.assertEqual({12345}, marks)

    def test_the_plan_says_when_the_power_went_if_that_is_known(self) -> None:
        folder = test_scenarios.FOLDERS / 'a_cloud_comes_back'
        request, found, _ = test_scenarios.load(folder)
        for how, known in (
            ('given', {'': '2026-11-22T14:00:00.000Z'}),
            ('heartbeat', {'': '2026-11-22T14:00:00.000Z'}),
            # which only says that it was later
            ('snapshot', {}),
        ):
            there = dataclasses.replace(
                found.situation, outage=Outage(OUTAGE, how)
            )
            there = dataclasses.replace(found, situation=there)
            plan = decide.decide(request, there)
            self.assertEqual(known, plan.down_since)
