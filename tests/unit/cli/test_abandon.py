# SPDX-License-Identifier: Apache-2.0

"""run abandon: nobody goes on with a run, and it holds nothing."""

from __future__ import annotations

from typing import Any
from unittest import mock

import fixtures

from nova_recovery import procedures
from nova_recovery.cli.run_abandon import AbandonRun
from nova_recovery.cloud import claims
from nova_recovery.cloud.db.cells import Cell
from nova_recovery.cloud.db.databases import CellDatabase, Databases
from nova_recovery.engine import records
from nova_recovery.engine.plan import Item, Step
from tests.unit import plans
from tests.unit.cli.runs import RunsTestCase
from tests.unit.tables import Real

UUID = '3f57699a-e773-4650-a443-b4b37eed5a06'


class TestAbandon(RunsTestCase):
    commands = {**RunsTestCase.commands, 'run abandon': AbandonRun}

    def setUp(self) -> None:
        super().setUp()
        self.cell: Any = Real('nova34-nova', ('services', 'task_log'), 'cell1')
        self.addCleanup(self.cell.engine.dispose)
        cell: Any = CellDatabase(Cell('', 'cell1', ''), self.cell)
        cloud = mock.Mock(databases=Databases(None, [cell]))
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.cli.base.RecoveryMixin.cloud',
                lambda command, parsed: cloud,
            )
        )

    def claimed(self, run: str = '1a2b3c4d') -> None:
        claims.claim_server(
            self.cell, UUID, records.marker(run, 'anna', 'ctl1')
        )

    def abandon(self, code: int, run: str, *words: str) -> str:
        return self.ended(
            code,
            *('run', 'abandon', run, '--reason', 'ctl1 burnt'),
            *(words or ('--yes',)),
        ).stderr

    def test_of_a_journal_that_is_lost(self) -> None:
        self.claimed()
        told = self.abandon(0, '1a2b3c4d')
        self.assertIn(f'server {UUID}: its claim is taken off', told)
        self.assertIn('Run 1a2b3c4d is abandoned', told)
        self.assertEqual([], list(claims.every(self.cell)))
        told = self.abandon(1, '1a2b3c4d')
        self.assertIn('no run 1a2b3c4d in this journal', told)

    def test_nothing_is_taken_off_unasked(self) -> None:
        self.claimed()
        told = self.abandon(0, '1a2b3c4d', '--dry-run')
        self.assertIn(f'  server {UUID}, nova-recovery run=1a2b3c4d', told)
        self.assertIn('Nothing was changed', told)
        told = self.abandon(3, '1a2b3c4d', '--approve', '0' * 16)
        self.assertIn('has the digest', told)
        self.assertEqual(1, len(list(claims.every(self.cell))))

    def test_a_beginning_is_not_enough(self) -> None:
        """Nor is nothing at all: a variable that is not set."""
        self.claimed()
        for word in ('1a2b', ''):
            self.abandon(1, word)
        self.ended(0, 'host', 'recover', '--yes')
        run = self.only_run()
        for word in (run[:4], ''):
            self.assertIn('give its ID whole', self.abandon(2, word))
        self.assertEqual(1, len(list(claims.every(self.cell))))

    def test_one_that_there_is_not_names_those_that_there_are(self) -> None:
        self.claimed()
        told = self.abandon(1, '77')
        self.assertIn('these do: nova-recovery run=1a2b3c4d by=anna', told)
        self.assertEqual(1, len(list(claims.every(self.cell))))

    def test_of_this_journal(self) -> None:
        self.ended(0, 'host', 'recover', '--yes')
        run = self.only_run()
        self.claimed(run)
        self.abandon(0, run)
        journal = self.journal()
        self.assertEqual('partly', journal.run(run).state)
        self.assertEqual([], list(claims.every(self.cell)))
        event = journal.events(run)[-1]
        self.assertEqual(
            ('abandoned', 'ctl1 burnt'), (event.kind, event.detail)
        )

    def test_hosts_that_it_leaves_held_are_told(self) -> None:
        data = {
            'host': 'c1',
            'home': '/var/lib/nova-recovery',
            'hold': True,
            'running': ['nova-compute.service'],
        }
        stop = Item('stop:c1', 'stop-services', 'host:c1', 'c1', data)
        step = Step('stop', 'stop', (stop,))
        self.plan = plans.without(self.plan, steps=(step,))

        class Stop(plans.Claim):
            kind = 'stop-services'

        self.registry['stop-services'] = Stop()
        self.ended(0, 'host', 'recover', '--yes')
        run = self.only_run()
        line = f'rm /var/lib/nova-recovery/uid-{run}/services/held;'
        self.assertIn(line, self.abandon(0, run, '--dry-run'))
        self.assertIn(line, self.abandon(0, run))

    def test_what_it_still_has_to_give_back_is_told(self) -> None:
        self.ended(0, 'host', 'recover', '--yes')
        run = self.only_run()
        self.useFixture(
            fixtures.MockPatchObject(
                procedures, 'only_forward', lambda *_: 'the power is off'
            )
        )
        told = self.abandon(0, run, '--dry-run')
        self.assertIn('the power is off, which nobody does', told)
        self.assertIn(f'run resume {run}', told)
