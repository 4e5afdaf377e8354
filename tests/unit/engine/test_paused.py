# SPDX-License-Identifier: Apache-2.0

"""A run that pauses by itself, and goes on."""

from __future__ import annotations

import dataclasses
import signal
import threading
from typing import Any

from nova_recovery import exit_codes
from nova_recovery.compat import pairs
from nova_recovery.engine import states
from nova_recovery.engine.plan import Item, Plan, Step
from nova_recovery.exceptions import ChangeFailed, Paused
from tests.unit.engine import test_runner, world
from tests.unit.engine.test_runner import RunnerTestCase
from tests.unit.engine.world import Killer, Set, Site


def numbered(*steps: tuple[int, list[Any]], **fields: Any) -> Plan:
    """A plan whose steps have these numbers."""
    made = world.plan_of(*(items for _, items in steps))
    return dataclasses.replace(
        made,
        steps=tuple(
            dataclasses.replace(step, number=number, **fields)
            for step, (number, _) in pairs(made.steps, steps)
        ),
    )


class TestThrough(RunnerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.run_id = self.site.create(
            numbered(
                (1, [world.set_item('s:1', '1')]),
                (2, [world.set_item('s:1', '2', from_='1')]),
                (3, [world.once_item('s:2')]),
                (0, [world.set_item('s:1', '4', from_='2')]),
            )
        )

    def test_it_pauses_before_the_next_step_and_goes_on(self) -> None:
        outcome = self.site.run(self.run_id, through=2)
        self.assertEqual(
            (states.PAUSED, exit_codes.PARTLY, {'done': 2, 'pending': 2}),
            (outcome.state, outcome.exit_code, outcome.counts),
        )
        self.assertEqual('as asked: through step 2', outcome.reason)
        run = self.site.open().run(self.run_id)
        self.assertEqual((states.PAUSED, ''), (run.state, run.holder))
        event = self.site.open().events(self.run_id)[-1]
        self.assertEqual(
            ('paused', 'as asked: through step 2'), (event.kind, event.detail)
        )
        self.assertEqual(0, self.site.run(self.run_id).exit_code)
        self.assertEqual('4', self.site.world.value('s:1'))
        self.assertEqual(1, self.site.world.sent('once:s:2'))

    def test_step_by_step(self) -> None:
        pending = []
        for number in (1, 2, 3):
            outcome = self.site.run(self.run_id, through=number)
            pending.append(outcome.counts.get('pending', 0))
        # what is of no step comes with the one before it
        self.assertEqual([3, 2, 0], pending)
        self.assertEqual(states.DONE, outcome.state)

    def test_a_paused_run_can_be_taken_back(self) -> None:
        self.site.run(self.run_id, through=2)
        outcome = self.site.undo(self.run_id)
        self.assertEqual(states.UNDONE, outcome.state)
        self.assertEqual({'reverted': 2, 'pending': 2}, outcome.counts)
        self.assertEqual('old', self.site.world.value('s:1'))

    def test_killed_at_any_write_it_pauses_and_goes_on(self) -> None:
        for when in ('before', 'after'):
            number, code = 0, -signal.SIGKILL
            while code == -signal.SIGKILL:
                number += 1
                with self.subTest(when=when, number=number):
                    code = self._killed(when, number)
            self.assertGreater(number, 8)

    def _killed(self, when: str, number: int) -> int:
        directory = self.site.directory / f'{when}{number}'
        directory.mkdir()
        site = Site(directory)
        run_id = site.create(
            numbered(
                (1, [world.set_item('s:1')]),
                (2, [world.once_item('s:2'), world.once_item('s:3')]),
                (3, [world.once_item('s:1')]),
            )
        )

        def act() -> int:
            killer = Killer(when, number)
            killed = Site(directory, world.killing(killer))
            return killed.run(run_id, through=2).exit_code

        code = world.ended(world.start(act))
        outcome = site.run(run_id, through=2)
        self.assertEqual(
            (states.PAUSED, {'done': 3, 'pending': 1}),
            (outcome.state, outcome.counts),
        )
        self.assertEqual(0, site.world.sent('once:s:1'))
        self.assertEqual(0, site.run(run_id).exit_code)
        for subject in ('s:1', 's:2', 's:3'):
            self.assertEqual(1, site.world.sent(f'once:{subject}'))
        return code


class TestBefore(RunnerTestCase):
    def test_it_is_asked_before_each_step_with_something_left(self) -> None:
        run_id = self.site.create(
            world.plan_of(
                [world.set_item('s:1')],
                [],
                [world.set_item('s:2')],
                [world.set_item('s:3')],
            )
        )
        asked: list[str] = []

        def before(step: Step) -> None:
            asked.append(step.name)
            if step.name == 's2':
                raise Paused('cinder-volume of host1 is down')

        outcome = self.site.run(run_id, before=before)
        self.assertEqual(['s0', 's2'], asked)
        self.assertEqual(states.PAUSED, outcome.state)
        self.assertEqual('cinder-volume of host1 is down', outcome.reason)
        self.assertEqual({'done': 1, 'pending': 2}, outcome.counts)
        asked.clear()
        outcome = self.site.run(
            run_id, before=lambda step: asked.append(step.name)
        )
        self.assertEqual((['s2', 's3'], 0), (asked, outcome.exit_code))

    def test_it_is_not_asked_when_the_operator_stops(self) -> None:
        run_id = self.site.create(
            world.plan_of([world.set_item('s:1')], [world.set_item('s:2')])
        )
        asked: list[str] = []

        def before(step: Step) -> None:
            asked.append(step.name)
            signal.raise_signal(signal.SIGINT)

        outcome = self.site.run(run_id, before=before)
        self.assertEqual(['s0'], asked)
        self.assertEqual(states.INTERRUPTED, outcome.state)


class TestGuard(RunnerTestCase):
    def test_what_is_in_flight_ends_and_the_rest_was_never_sent(self) -> None:
        """One of a wave is under way when the guard wants to pause."""
        gate = self.site.directory / 'gate'
        items = [world.once_item('s:0', gate=str(gate))]
        items += [world.once_item(f's:{n}') for n in range(1, 9)]
        run_id = self.site.create(world.plan_of(items))

        def guard(item: Item) -> None:
            if item.subject == 's:0':
                return
            world.poll(lambda: self.site.world.sent('once:s:0'))
            threading.Timer(0.1, gate.touch).start()
            raise Paused('cinder-volume answers no more')

        outcome = self.site.run(run_id, guard=guard, workers=3)
        self.assertEqual(states.PAUSED, outcome.state)
        self.assertEqual({'done': 1, 'pending': 8}, outcome.counts)
        self.assertEqual(
            {'once:s:0'},
            {e['item'] for e in self.site.world.happened() if 'sent' in e},
        )
        for record in self.site.items(run_id).values():
            self.assertEqual(record.state == 'done', record.begun)
        self.assertIn(
            'cinder-volume answers no more: nothing more is started',
            self.site.output.getvalue(),
        )
        self.assertEqual(0, self.site.run(run_id).exit_code)
        for n in range(9):
            self.assertEqual(1, self.site.world.sent(f'once:s:{n}'))

    def test_what_was_looked_at_when_another_paused_is_not_sent(self) -> None:
        run_id = self.site.create(
            world.plan_of(
                [world.set_item(f's:{n}', kind='scripted') for n in (1, 2)]
            )
        )
        looked, paused = threading.Event(), threading.Event()

        def observe(at: Any) -> Any:
            if at.item.subject == 's:2':
                looked.set()
                paused.wait(10)
            return Set().observe(at)

        def guard(item: Item) -> None:
            looked.wait(10)
            # once this one is back where it was, the other one goes on
            threading.Timer(0.3, paused.set).start()
            if item.subject == 's:1':
                raise Paused('stop')

        self.script['observe'] = observe
        outcome = self.site.run(run_id, guard=guard)
        self.assertEqual({'pending': 2}, outcome.counts)
        self.assertEqual([], self.site.world.happened())

    def test_what_failed_before_keeps_its_reason(self) -> None:
        run_id = self.one()
        self.script['apply'] = test_runner.raiser(ChangeFailed('no room'))
        self.site.run(run_id)
        self.script.clear()
        outcome = self.site.run(
            run_id, guard=test_runner.raiser(Paused('not now'))
        )
        self.assertEqual(
            (states.PAUSED, {'failed': 1}), (outcome.state, outcome.counts)
        )
        self.assertEqual('no room', self.only(run_id).detail)
        self.assertEqual(0, self.site.run(run_id).exit_code)

    def test_an_undo_can_pause_as_well(self) -> None:
        run_id = self.one()
        self.site.run(run_id)
        outcome = self.site.undo(
            run_id, guard=test_runner.raiser(Paused('not now'))
        )
        self.assertEqual(
            (states.PAUSED, {'done': 1}), (outcome.state, outcome.counts)
        )
        self.assertEqual({'reverted': 1}, self.site.undo(run_id).counts)


class TestFailures(RunnerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.bad = {f's:{n}' for n in range(3)}
        self.script['apply'] = self.apply

    def apply(self, at: Any) -> str:
        if at.item.subject in self.bad:
            raise ChangeFailed('no')
        return Set().apply(at)

    def create(self, failures: int, then: bool = True) -> str:
        wave = [world.set_item(f's:{n}', kind='scripted') for n in range(8)]
        last = [world.set_item('t:1')] if then else []
        return self.site.create(
            numbered((3, wave), (3, last), failures=failures)
        )

    def test_more_than_allowed_pause_the_run(self) -> None:
        run_id = self.create(failures=2)
        outcome = self.site.run(run_id, workers=1)
        self.assertEqual(states.PAUSED, outcome.state)
        self.assertEqual({'failed': 3, 'pending': 6}, outcome.counts)
        self.assertEqual(
            'Step 0: 3 ended badly, and at most 2 may', outcome.reason
        )

    def test_as_many_as_allowed_do_not(self) -> None:
        run_id = self.create(failures=3)
        outcome = self.site.run(run_id, workers=1)
        self.assertEqual(states.PARTLY, outcome.state)
        self.assertEqual({'failed': 3, 'done': 6}, outcome.counts)

    def test_a_session_counts_what_goes_wrong_in_it(self) -> None:
        run_id = self.create(failures=2)
        self.site.run(run_id, workers=1)
        # the three are tried again and fail again, which is nothing new
        outcome = self.site.run(run_id, workers=1)
        self.assertEqual(states.PARTLY, outcome.state)
        self.assertEqual({'failed': 3, 'done': 6}, outcome.counts)

    def test_new_ones_pause_it_again(self) -> None:
        run_id = self.create(failures=2)
        self.site.run(run_id, workers=1)
        self.bad |= {'s:3', 's:4', 's:5'}
        outcome = self.site.run(run_id, workers=1)
        self.assertEqual(states.PAUSED, outcome.state)
        self.assertEqual({'failed': 6, 'pending': 3}, outcome.counts)

    def test_each_step_counts_for_itself(self) -> None:
        items = [world.set_item(f's:{n}', kind='scripted') for n in range(3)]
        run_id = self.site.create(
            numbered(*((3, [item]) for item in items), failures=1)
        )
        outcome = self.site.run(run_id)
        self.assertEqual(states.PARTLY, outcome.state)

    def test_where_nothing_is_left_there_is_nothing_to_pause(self) -> None:
        run_id = self.create(failures=0, then=False)
        self.bad = {'s:7'}
        outcome = self.site.run(run_id, workers=1)
        self.assertEqual(states.PARTLY, outcome.state)

    def test_doubt_and_conflict_count_and_blocked_does_not(self) -> None:
        self.site.world.add(set='s:1', to='odd')
        self.bad = set()

        def apply(at: Any) -> str:
            if at.item.subject == 's:0':
                raise RuntimeError('died on the way')
            return Set().apply(at)

        self.script['apply'] = apply
        for failures, state in ((2, states.PARTLY), (1, states.PAUSED)):
            run_id = self.site.create(
                numbered(
                    (
                        3,
                        [
                            world.set_item('s:0', kind='scripted'),
                            world.set_item('s:0', 'newer', from_='new'),
                            world.set_item('s:1', kind='scripted'),
                            world.set_item(f's:{state}'),
                        ],
                    ),
                    failures=failures,
                )
            )
            with self.subTest(state):
                outcome = self.site.run(run_id, workers=1)
                self.assertEqual(state, outcome.state)
