# SPDX-License-Identifier: Apache-2.0

"""From each state of a run and of its items there is a way to an end."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import os
import signal
from typing import Any

import fixtures

from nova_recovery import exit_codes
from nova_recovery.engine import states, undo
from nova_recovery.engine.change import Observed
from nova_recovery.engine.journal import Journal
from nova_recovery.exceptions import (
    ChangeFailed,
    ClaimLost,
    Conflict,
    NotRevertible,
    OutcomeUnknown,
    Paused,
)
from nova_recovery.report import standing
from tests.unit.engine import test_runner, world
from tests.unit.engine.test_runner import RunnerTestCase

raiser = test_runner.raiser


def call(*words: str) -> str:
    return ' '.join(words)


class WalkTest(RunnerTestCase):
    """One item ends badly; another of its subject stands on it."""

    def setUp(self) -> None:
        super().setUp()
        self.useFixture(
            fixtures.MonkeyPatch('nova_recovery.engine.attempt.LOOK_AGAIN', 0)
        )

    def bad(self) -> dict[str, dict[str, Any]]:
        """State of the item -> what the change does."""
        return {
            states.FAILED: {'apply': raiser(ChangeFailed('no'))},
            states.CONFLICT: {'apply': raiser(Conflict('changed'))},
            states.DOUBT: {
                'apply': raiser(OutcomeUnknown('no answer')),
                'observe': self.unknown,
            },
        }

    @staticmethod
    def unknown(at: Any) -> Observed:
        if at.begun:
            return Observed.unknown('no answer')
        return Observed.before({'value': 'old'})

    def ended(self, state: str) -> str:
        """A run whose first item ended in this state."""
        self.script.clear()
        self.script.update(self.bad()[state])
        run_id = self.site.create(
            world.plan_of(
                [world.set_item('s:1', kind='scripted')],
                [world.set_item('s:1', 'newer', 'new')],
            )
        )
        outcome = self.site.run(run_id)
        self.assertEqual(exit_codes.PARTLY, outcome.exit_code)
        self.assertEqual(
            [state, states.BLOCKED], list(self.site.states(run_id).values())
        )
        return run_id

    def ways(self, run_id: str) -> str:
        """The commands that are printed of a run as it stands."""
        with contextlib.closing(Journal.open(self.site.url)) as journal:
            run = journal.run(run_id)
            forward = undo.forward(
                journal.plan(run_id), journal.items(run_id), self.site.registry
            )
            return '\n'.join(standing.lines(run, call, forward))

    def skip(self, run_id: str) -> None:
        with contextlib.closing(Journal.open(self.site.url)) as journal:
            for item in list(journal.items(run_id)):
                if item.state in states.SKIPPABLE:
                    journal.skip(
                        run_id,
                        item.id,
                        who='anna',
                        machine='ctl1',
                        reason='seen',
                    )

    def test_what_ended_badly_is_mended_and_resumed(self) -> None:
        for state in self.bad():
            run_id = self.ended(state)
            self.assertIn(f'run resume {run_id}', self.ways(run_id), state)
            self.script.clear()
            self.assertEqual(0, self.site.run(run_id).exit_code, state)
            self.assertNotIn('resume', self.ways(run_id), state)
            self.site.undo(run_id)

    def test_what_ended_badly_is_left_out(self) -> None:
        for state in self.bad():
            run_id = self.ended(state)
            self.skip(run_id)
            self.assertEqual(0, self.site.run(run_id).exit_code, state)
            self.assertNotIn('resume', self.ways(run_id), state)

    def test_what_ended_badly_is_taken_back(self) -> None:
        for state in self.bad():
            run_id = self.ended(state)
            self.assertIn(f'run undo {run_id}', self.ways(run_id), state)
            self.script.clear()
            self.assertEqual(0, self.site.undo(run_id).exit_code, state)
            self.assertEqual('', self.ways(run_id), state)

    def test_what_was_kept_is_taken_back_later(self) -> None:
        self.script.clear()
        run_id = self.site.create(
            world.plan_of([world.set_item('s:1', kind='scripted')])
        )
        self.site.run(run_id)
        self.script['revert'] = raiser(NotRevertible('not now', 'later'))
        self.assertEqual(exit_codes.PARTLY, self.site.undo(run_id).exit_code)
        self.assertIn(f'run undo {run_id}', self.ways(run_id))
        self.assertNotIn('resume', self.ways(run_id))
        self.script.clear()
        self.assertEqual(0, self.site.undo(run_id).exit_code)
        self.assertEqual('', self.ways(run_id))

    def test_what_was_stopped_goes_on_or_back(self) -> None:
        for way, code in ((self.site.run, 0), (self.site.undo, 0)):
            run_id = self.site.create(
                world.plan_of(
                    [world.set_item('s:1')],
                    [world.set_item('s:1', 'newer', 'new')],
                )
            )
            outcome = self.site.run(run_id, before=_second)
            self.assertEqual(states.PAUSED, outcome.state)
            for command in ('resume', 'undo'):
                self.assertIn(f'run {command} {run_id}', self.ways(run_id))
            self.assertEqual(code, way(run_id).exit_code)
            self.site.undo(run_id)

    def died(self, session: Callable[..., Any], run_id: str) -> None:
        """Carry it out, or back, in a process that dies in the middle.

        Right after the world was changed, before the journal says so.
        """

        def dying(act: Callable[..., str]) -> Callable[..., None]:
            def die(at: Any) -> None:
                act(at)
                os.kill(os.getpid(), signal.SIGKILL)

            return die

        really = world.Set()
        self.script['apply'] = dying(really.apply)
        self.script['revert'] = dying(really.revert)
        pid = world.start(lambda: session(run_id, workers=1))
        self.assertEqual(-signal.SIGKILL, world.ended(pid))
        self.script.clear()

    def began(self) -> str:
        """A run whose second item is what a process may die of."""
        return self.site.create(
            world.plan_of(
                [world.set_item('s:1'), world.set_item('s:2')],
                [world.set_item('s:2', 'newer', 'new', kind='scripted')],
            )
        )

    def test_what_was_killed_goes_on_or_back(self) -> None:
        for way, command in (
            (self.site.run, 'resume'),
            (self.site.undo, 'undo'),
        ):
            run_id = self.began()
            self.died(self.site.run, run_id)
            with contextlib.closing(Journal.open(self.site.url)) as journal:
                run = journal.run(run_id)
            self.assertEqual('killed', standing.state_of(run))
            self.assertIn(f'run {command} {run_id}', self.ways(run_id))
            self.assertEqual(0, way(run_id).exit_code, command)
            self.assertNotIn('resume', self.ways(run_id))
            self.site.undo(run_id)
            self.assertEqual('', self.ways(run_id))

    def test_an_undo_that_was_killed_is_undone_to_its_end(self) -> None:
        run_id = self.began()
        self.assertEqual(0, self.site.run(run_id).exit_code)
        self.died(self.site.undo, run_id)
        self.assertIn(f'run undo {run_id}', self.ways(run_id))
        self.assertNotIn('resume', self.ways(run_id))
        self.assertEqual(0, self.site.undo(run_id).exit_code)
        self.assertEqual('', self.ways(run_id))

    def test_what_lost_its_claim_goes_on_or_back(self) -> None:
        """It ends as one that was interrupted by a signal does."""
        for way in (self.site.run, self.site.undo):
            run_id = self.began()
            asked: list[Any] = []

            def guard(item: Any, asked: list[Any] = asked) -> None:
                asked.append(item)
                if len(asked) > 1:
                    raise ClaimLost('bob has it')

            self.assertRaises(
                ClaimLost, self.site.run, run_id, guard=guard, workers=1
            )
            for command in ('resume', 'undo'):
                self.assertIn(f'run {command} {run_id}', self.ways(run_id))
            self.assertEqual(0, way(run_id).exit_code)
            self.site.undo(run_id)
            self.assertEqual('', self.ways(run_id))


def _second(step: Any) -> None:
    if step.title == 'Step 1':
        raise Paused('as asked')
