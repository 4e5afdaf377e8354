# SPDX-License-Identifier: Apache-2.0

"""Taking a run back."""

from __future__ import annotations

import contextlib
import signal
from typing import Any
from unittest import mock

from nova_recovery import exit_codes
from nova_recovery.engine import states, undo
from nova_recovery.engine.change import Observed
from nova_recovery.exceptions import (
    ChangeFailed,
    ClaimLost,
    OutcomeUnknown,
    Refused,
)
from tests.unit.engine import test_runner, world
from tests.unit.engine.test_runner import RunnerTestCase
from tests.unit.engine.world import Killer, Once, Scripted, Set, Site

raiser = test_runner.raiser


class TestUndo(RunnerTestCase):
    def run_of(self, *steps: list) -> str:
        run_id = self.site.create(world.plan_of(*steps))
        self.assertEqual(0, self.site.run(run_id).exit_code)
        return run_id

    def test_the_world_is_as_it_was(self) -> None:
        run_id = self.run_of(
            [world.set_item('host:h')],
            [
                world.set_item('s:1', follows=('host:h',)),
                world.set_item('s:1', 'newer', from_='new'),
            ],
        )
        outcome = self.site.undo(run_id)
        self.assertEqual(
            (states.UNDONE, 0, {'reverted': 3}),
            (outcome.state, outcome.exit_code, outcome.counts),
        )
        self.assertEqual('old', self.site.world.value('s:1'))
        self.assertEqual('old', self.site.world.value('host:h'))

    def test_it_is_offered_as_long_as_there_is_something_to_it(self) -> None:
        run_id = self.run_of([world.set_item('s:1')])

        def worth() -> bool:
            with contextlib.closing(self.site.open()) as journal:
                return undo.worth(
                    journal.plan(run_id),
                    list(journal.items(run_id)),
                    self.site.registry,
                )

        self.assertTrue(worth())
        self.site.undo(run_id)
        self.assertFalse(worth())

    def test_what_was_not_ours_stays(self) -> None:
        self.site.world.add(set='s:1', to='new')
        run_id = self.run_of([world.set_item('s:1'), world.set_item('s:2')])
        self.site.undo(run_id)
        self.assertEqual('new', self.site.world.value('s:1'))
        self.assertEqual('old', self.site.world.value('s:2'))

    def test_what_cannot_go_back_keeps_what_it_stands_on(self) -> None:
        run_id = self.run_of(
            [world.set_item('host:a'), world.set_item('host:b')],
            [world.set_item('s:1', follows=('host:a',)),
             world.set_item('s:2', follows=('host:b',))],
            [world.once_item('s:1')],
        )  # fmt: skip
        outcome = self.site.undo(run_id)
        self.assertEqual(
            {
                'set-new:host:a': 'kept',
                'set-new:host:b': 'reverted',
                'set-new:s:1': 'kept',
                'set-new:s:2': 'reverted',
                'once:s:1': 'kept',
            },
            self.site.states(run_id),
        )
        self.assertEqual(exit_codes.PARTLY, outcome.exit_code)
        items = self.site.items(run_id)
        self.assertIn('nothing helps', items['once:s:1'].detail)
        self.assertIn('done to s:1 stands on it', items['set-new:s:1'].detail)

    def test_what_another_did_stands_on_it_as_well(self) -> None:
        run_id = self.site.create(
            world.plan_of(
                [world.set_item('v:1'), world.set_item('v:2')],
                [world.set_item('s:1', kind='scripted', follows=('v:1',))],
            )
        )
        self.script['observe'] = lambda *args: Observed.after('runs already')
        with mock.patch.object(Scripted, 'once', True):
            self.site.run(run_id)
            self.site.undo(run_id)
        self.assertEqual('new', self.site.world.value('v:1'))
        self.assertEqual('old', self.site.world.value('v:2'))
        detail = self.site.items(run_id)['set-new:v:1'].detail
        self.assertIn('runs already', detail)

    def test_what_came_after_it_stands_on_nothing_of_another(self) -> None:
        run_id = self.site.create(
            world.plan_of(
                [
                    world.set_item('s:1'),
                    world.set_item('s:1', 'on', 'new', kind='scripted'),
                    world.set_item('s:1', 'newer', from_='new'),
                ]
            )
        )
        self.script['observe'] = lambda *args: Observed.after('on')
        with mock.patch.object(Scripted, 'once', True):
            self.site.run(run_id)
            self.site.undo(run_id)
        self.assertEqual('new', self.site.world.value('s:1'))
        self.assertEqual(
            {
                'set-new:s:1': 'kept',
                'scripted-on:s:1': 'already',
                'set-newer:s:1': 'reverted',
            },
            self.site.states(run_id),
        )

    def test_a_request_in_doubt_is_looked_at_each_time(self) -> None:
        run_id = self.one()
        self.script['apply'] = raiser(RuntimeError('?'))
        lost = Observed.unknown('nova is down')
        with (
            mock.patch.object(Scripted, 'once', True),
            mock.patch.object(Scripted, 'no_way_back', lambda *a: 'runs'),
        ):
            self.site.run(run_id)
            self.script['observe'] = lambda *args: lost
            self.assertEqual({'kept': 1}, self.site.undo(run_id).counts)
            self.assertIn('nova is down', self.only(run_id).detail)
            del self.script['observe']
            self.assertEqual({'reverted': 1}, self.site.undo(run_id).counts)

    def test_what_somebody_changed_since_is_kept_until_mended(self) -> None:
        run_id = self.run_of([world.set_item('s:1')])
        self.site.world.add(set='s:1', to='odd')
        self.assertEqual({'kept': 1}, self.site.undo(run_id).counts)
        self.assertIn('is odd by now', self.only(run_id).detail)
        self.site.world.add(set='s:1', to='new')
        self.assertEqual({'reverted': 1}, self.site.undo(run_id).counts)

    def test_what_is_in_doubt_is_looked_at_first(self) -> None:
        for arrived in (False, True):
            subject = f's:{arrived}'
            run_id = self.site.create(
                world.plan_of([world.set_item(subject, kind='scripted')])
            )
            self.script['apply'] = raiser(RuntimeError('?'))
            self.site.run(run_id)
            self.assertEqual(states.DOUBT, self.only(run_id).state)
            if arrived:
                self.site.world.add(set=subject, to='new')
            self.assertEqual({'reverted': 1}, self.site.undo(run_id).counts)
            self.assertEqual('old', self.site.world.value(subject))

    def test_what_was_stopped_half_way_is_taken_back_as_well(self) -> None:
        run_id = self.one()

        def apply(at: Any) -> str:
            at.cloud.add(set='s:1', to='half')
            raise RuntimeError('died on the way')

        def observe(at: Any) -> Any:
            # may be applied again, which is not: was never applied
            return Observed.before({'value': 'old'})

        def revert(at: Any) -> str:
            at.cloud.add(set='s:1', to=at.image['value'])
            return 'set back'

        self.script.update(apply=apply, observe=observe, revert=revert)
        self.site.run(run_id)
        self.assertEqual({'reverted': 1}, self.site.undo(run_id).counts)
        self.assertEqual('old', self.site.world.value('s:1'))

    def test_what_is_proven_not_to_be_sent_needs_no_way_back(self) -> None:
        run_id = self.site.create(world.plan_of([world.once_item('s:1')]))
        crash = raiser(RuntimeError('died before it was sent'))
        with mock.patch.object(Once, 'apply', crash):
            self.site.run(run_id)
        outcome = self.site.undo(run_id)
        self.assertEqual({'reverted': 1}, outcome.counts)
        self.assertEqual('it was not carried out', self.only(run_id).detail)

    def test_an_unknown_outcome_is_tried_again_by_the_next_undo(self) -> None:
        run_id = self.run_of([world.set_item('s:1', kind='scripted')])
        self.script['revert'] = raiser(OutcomeUnknown('lost'))
        outcome = self.site.undo(run_id)
        self.assertEqual(exit_codes.INTERRUPTED, outcome.exit_code)
        self.assertEqual(states.REVERTING, self.only(run_id).state)
        del self.script['revert']
        self.assertEqual({'reverted': 1}, self.site.undo(run_id).counts)

    def test_what_was_taken_back_is_not_resumed(self) -> None:
        run_id = self.run_of([world.set_item('s:1')])
        self.site.undo(run_id)
        self.assertRaises(Refused, self.site.run, run_id)

    def test_what_never_began_cannot_be_taken_back(self) -> None:
        self.assertRaises(Refused, self.site.undo, self.one())

    def test_a_lost_claim_stops_it(self) -> None:
        run_id = self.run_of([world.set_item('s:1')])
        self.assertRaises(
            ClaimLost, self.site.undo, run_id,
            guard=raiser(ClaimLost('bob has it')),
        )  # fmt: skip
        self.assertEqual('new', self.site.world.value('s:1'))
        self.assertEqual(states.DONE, self.only(run_id).state)


class TestPastUndoing(RunnerTestCase):
    """One thing of a subject can't go back any more: nothing of it does."""

    def setUp(self) -> None:
        super().setUp()
        self.past = {'s:1': 'it was cleaned up'}
        self.root = self.site.directory
        self.prepare(self.site)

    def prepare(self, site: Site) -> None:
        self.site, self.script = site, site.scripted.script
        self.script['past_undoing'] = lambda at: self.past.get(
            at.item.subject, ''
        )
        self.script['apply'] = self.apply

    def apply(self, at: Any) -> str:
        if at.data['to'] == 'last':
            raise ChangeFailed('no')
        return Set.apply(self.site.scripted, at)

    def begun(self, *subjects: str) -> str:
        """A run whose last step fails for all of them."""
        run_id = self.site.create(
            world.plan_of(
                [world.set_item(s, 'mid', 'old') for s in subjects],
                [
                    world.set_item(s, 'new', 'mid', kind='scripted')
                    for s in subjects
                ],
                [
                    world.set_item(s, 'last', 'new', kind='scripted')
                    for s in subjects
                ],
            )
        )
        self.site.run(run_id)
        return run_id

    def test_nothing_goes_back_and_told_is_how_to_go_on(self) -> None:
        run_id = self.begun('s:1')
        before = self.site.states(run_id)
        error = self.assertRaises(Refused, self.site.undo, run_id)
        self.assertIn('it was cleaned up', str(error))
        self.assertIn(f'run resume {run_id}', str(error))
        self.assertEqual(before, self.site.states(run_id))
        self.assertEqual('new', self.site.world.value('s:1'))
        del self.script['apply']
        self.assertEqual(0, self.site.run(run_id).exit_code)

    def test_the_others_go_back_and_this_one_goes_forward(self) -> None:
        run_id = self.begun('s:1', 's:2')
        outcome = self.site.undo(run_id)
        self.assertEqual(
            (states.PARTLY, 4), (outcome.state, outcome.exit_code)
        )
        self.assertEqual('new', self.site.world.value('s:1'))
        self.assertEqual('old', self.site.world.value('s:2'))
        del self.script['apply']
        outcome = self.site.run(run_id)
        self.assertEqual('last', self.site.world.value('s:1'))
        self.assertEqual('old', self.site.world.value('s:2'))
        self.assertEqual(
            {'done', 'skipped', 'reverted'},
            set(self.site.states(run_id).values()),
        )
        self.assertEqual(states.PARTLY, outcome.state)

    def test_killed_the_others_are_not_left_half_taken_back(self) -> None:
        """A resume is for what goes forward, once all others are back."""
        refused = 0
        for when in ('before', 'after'):
            number, code = 0, -signal.SIGKILL
            while code == -signal.SIGKILL:
                number += 1
                code = self.killed(when, number)
                del self.script['apply']
                (run,) = self.site.open().runs()
                try:
                    self.site.run(run.id)
                except Refused as error:
                    self.assertIn(f'run undo {run.id}', str(error))
                    refused += 1
                    self.site.undo(run.id)
                    self.site.run(run.id)
                self.assertEqual('last', self.site.world.value('s:1'))
                found = {
                    record.state
                    for record in self.site.items(run.id).values()
                    if record.subject == 's:2'
                }
                # nothing of it was taken back yet, or all
                value = self.site.world.value('s:2')
                self.assertEqual(
                    {'old': {'reverted', 'skipped'}, 'last': {'done'}}[value],
                    found,
                    (when, number),
                )
        self.assertGreater(refused, 3)

    def killed(self, when: str, number: int) -> int:
        """An undo in a process that is killed at a write; its exit code."""
        directory = self.root / f'{when}{number}'
        directory.mkdir()
        self.prepare(Site(directory))
        run_id = self.begun('s:1', 's:2')

        def act() -> int:
            killer = world.killing(Killer(when, number))
            self.prepare(Site(directory, killer))
            return self.site.undo(run_id).exit_code

        return world.ended(world.start(act))
