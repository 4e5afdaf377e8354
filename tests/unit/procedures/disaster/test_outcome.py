# SPDX-License-Identifier: Apache-2.0
"""What became of each server, as a table."""

from __future__ import annotations

import dataclasses
import types
from typing import Any

from nova_recovery.compat import pairs
from nova_recovery.procedures import table
from nova_recovery.procedures.disaster.plan import decide
from tests.base import TestCase
from tests.unit.procedures.disaster import test_scenarios


class OutcomeTest(TestCase):
    """A scenario, and how its items ended.

    :ivar ends: item id -> (state, detail, image, notes)
    """

    def setUp(self) -> None:
        super().setUp()
        self.ends: dict[str, tuple[Any, ...]] = {}

    def rows(self, name: str, planned: bool = False) -> dict[str, Any]:
        """Server -> its row by the names of the columns."""
        request, found, _ = test_scenarios.load(test_scenarios.FOLDERS / name)
        plan = decide.decide(request, found)
        records: Any = None
        if not planned:
            records = [self.record(item) for item in plan.items()]
        columns, rows = table(plan, records)
        return {row[1]: dict(pairs(columns, row)) for row in rows}

    def record(self, item: Any) -> types.SimpleNamespace:
        end = self.ends.get(item.id, ('done', '', {}))
        state, detail, image, notes = (*end, {})[:4]
        return types.SimpleNamespace(
            id=item.id, state=state, detail=detail, image=image, notes=notes
        )

    def test_a_plan(self) -> None:
        rows = self.rows('volumes_that_nova_lost', planned=True)
        self.assertEqual('planned', rows['web']['State'])
        self.assertEqual('3 attached', rows['web']['Volumes'])
        self.assertEqual('', rows['web']['Console'])
        self.assertEqual('left out', rows['db']['State'])
        self.assertEqual('it was stopped before', rows['db']['Detail'])

    def test_a_name_with_a_colon_is_told_whole(self) -> None:
        request, found, _ = test_scenarios.load(
            test_scenarios.FOLDERS / 'nothing_ran'
        )
        (uuid,) = found.situation.servers
        found.situation.servers[uuid] = dataclasses.replace(
            found.situation.servers[uuid], name='db: main'
        )
        _, rows = table(decide.decide(request, found), None)
        self.assertEqual(('db: main', uuid), rows[0][:2])
        self.assertEqual('it was stopped before', rows[0][-1])

    def test_a_server_that_came_back(self) -> None:
        self.ends = {
            'restart-server:web': (
                'done', 'runs on np-rcc4', {'action': 'start'}
            ),
            'watch-boot:web': ('done', 'booted', {}, {'console': 'booted'}),
        }  # fmt: skip
        row = self.rows('volumes_that_nova_lost')['web']
        self.assertEqual(
            ('start', 'done', 'booted', 'active', 'runs on np-rcc4'),
            tuple(
                row[name]
                for name in ('Action', 'State', 'Console', 'Was', 'Detail')
            ),
        )

    def test_a_server_that_ran_already(self) -> None:
        self.ends = {
            'restart-server:web': ('already', 'runs already', {}),
            'watch-boot:web': (
                'done',
                'silent: nova keeps no log',
                {},
                {'console': 'silent'},
            ),
        }
        row = self.rows('volumes_that_nova_lost')['web']
        self.assertEqual('none', row['Action'])
        self.assertEqual('already', row['State'])
        self.assertEqual('silent', row['Console'])

    def test_a_server_that_somebody_left_out(self) -> None:
        self.ends = dict.fromkeys(
            ('restart-server:web', 'watch-boot:web'),
            ('skipped', 'its board is burnt', {}),
        )
        row = self.rows('volumes_that_nova_lost')['web']
        self.assertEqual(
            ('skipped', '', 'its board is burnt'),
            (row['State'], row['Console'], row['Detail']),
        )

    def test_a_boot_that_ends_in_emergency_mode(self) -> None:
        self.ends = {
            'restart-server:web': ('done', '', {'action': 'reboot'}),
            'watch-boot:web': (
                'failed', 'emergency mode: You are in emergency mode', {},
                {'console': 'emergency mode'},
            ),
        }  # fmt: skip
        row = self.rows('volumes_that_nova_lost')['web']
        self.assertEqual('emergency mode', row['Console'])
        self.assertEqual('failed', row['State'])
        self.assertIn('You are in', row['Detail'])

    def test_a_volume_that_failed_is_told_of_its_server(self) -> None:
        self.ends = {
            'attach-volume:data:web': ('failed', 'nova gave up', {}),
            'attach-volume:logs:web': ('blocked', '', {}),
        }
        row = self.rows('volumes_that_nova_lost')['web']
        self.assertEqual('failed', row['State'])
        self.assertEqual('nova gave up', row['Detail'])
        self.assertEqual('1 attached', row['Volumes'])

    def test_a_server_of_which_only_a_volume_is_cleaned(self) -> None:
        self.ends = {'drop-attachment:a6': ('done', 'deleted', {})}
        row = self.rows('stale_volumes_are_cleaned')['deleted']
        self.assertEqual('', row['Action'])
        self.assertEqual('2 detached', row['Volumes'])
