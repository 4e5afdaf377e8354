# SPDX-License-Identifier: Apache-2.0

"""Runs that pause: what is typed, and what is said."""

from __future__ import annotations

import dataclasses
import json

import fixtures

from nova_recovery import exit_codes
from nova_recovery.compat import pairs
from nova_recovery.engine.plan import Item, Plan, Step
from nova_recovery.exceptions import Paused
from tests.unit import plans
from tests.unit.cli.runs import RunsTestCase


class PauseTest(RunsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.plan = self.of_the_guide(plans.make(), 1, 3)

    def of_the_guide(self, plan: Plan, *numbers: int) -> Plan:
        """The plan with the guide's numbers for its steps."""
        steps = tuple(
            dataclasses.replace(step, number=number)
            for step, number in pairs(plan.steps, numbers)
        )
        return dataclasses.replace(plan, steps=steps)

    def saved(self) -> str:
        path = str(self.folder / 'the.plan')
        self.ended(0, 'host', 'recover', '--plan-file', path)
        return path

    def paused(self) -> str:
        """A run of which only the first step is carried out; its ID."""
        path = self.saved()
        self.said = self.ended(
            exit_codes.PARTLY,
            'plan', 'apply', path, '--through', '1', '--yes',
        ).stderr  # fmt: skip
        return self.only_run()

    def test_one_step_at_a_time(self) -> None:
        run_id = self.paused()
        self.assertIn('Step 3  move what nova refuses', self.said)
        self.assertIn('Pauses when step 1 is over (--through).', self.said)
        self.assertIn(f'Run {run_id} paused: 2 pending, 1 done.', self.said)
        self.assertIn('Paused: as asked: through step 1.', self.said)
        self.assertIn(f'Go on:     nova-recovery run resume {run_id}',
                      self.said)  # fmt: skip
        ended = self.ended(0, 'run', 'resume', run_id, '--yes')
        self.assertIn('done: 3 done.', ended.stderr)

    def test_resume_pauses_again(self) -> None:
        self.plan = self.of_the_guide(plans.make(), 2, 3)
        path = self.saved()
        claim = self.claim

        def lost(item: Item) -> None:
            raise Paused('cinder-volume of host1 is down')

        self.claim = lost
        ended = self.ended(exit_codes.PARTLY, 'plan', 'apply', path, '--yes')
        self.assertIn(
            'cinder-volume of host1 is down: nothing more is started',
            ended.stderr,
        )
        self.claim = claim
        run_id = self.only_run()
        ended = self.ended(
            exit_codes.PARTLY,
            'run', 'resume', run_id, '--yes', '--through', '2',
        )  # fmt: skip
        self.assertIn('Paused: as asked: through step 2.', ended.stderr)

    def test_show_and_list_say_that_it_is_paused_and_why(self) -> None:
        run_id = self.paused()
        self.assertIn(' paused ', self.ended(0, 'run', 'list').stdout)
        text = self.ended(0, 'run', 'show', run_id).stdout
        self.assertIn('state      paused: 2 pending, 1 done', text)
        self.assertIn('because    as asked: through step 1', text)
        self.assertIn('Step 1  claim and force down', text)
        self.assertIn('Step 3  move what nova', text)
        shown = json.loads(
            self.ended(0, 'run', 'show', run_id, '-f', 'json').stdout
        )
        self.assertEqual(
            ('paused', 'as asked: through step 1'),
            (shown['state'], shown['reason']),
        )
        report = self.ended(0, 'run', 'report', run_id).stdout
        self.assertIn('Step 3: move what nova refuses', report)
        self.assertIn('paused', report)

    def test_it_is_taken_back(self) -> None:
        run_id = self.paused()
        ended = self.ended(0, 'run', 'undo', run_id, '--yes')
        self.assertIn('taken back: 2 pending, 1 reverted', ended.stderr)

    def test_a_step_that_there_is_not(self) -> None:
        path = self.saved()
        ended = self.ended(
            exit_codes.USAGE,
            'plan', 'apply', path, '--through', '2', '--yes',
        )  # fmt: skip
        self.assertIn('--through 2: the plan has the steps 1, 3', ended.stderr)
        self.assertEqual([], self.journal().runs())

    def test_a_plan_without_numbers(self) -> None:
        self.plan = plans.make()
        path = self.saved()
        ended = self.ended(
            exit_codes.USAGE,
            'plan', 'apply', path, '--through', '1', '--yes',
        )  # fmt: skip
        self.assertIn('one at a time', ended.stderr)

    def test_the_procedure_has_a_word_before_each_step(self) -> None:
        seen = []

        def before(plan, cloud, ours, states_of):  # type: ignore[no-untyped-def]
            def check(step: Step) -> None:
                seen.append((step.name, ours()))
                if step.name == 'move':
                    raise Paused('the site is not ready')

            return check

        self.useFixture(
            fixtures.MonkeyPatch('nova_recovery.procedures.before', before)
        )
        ended = self.ended(exit_codes.PARTLY, 'host', 'recover', '--yes')
        self.assertIn('Paused: the site is not ready.', ended.stderr)
        self.assertEqual([('claim', frozenset()), ('move', frozenset())], seen)
