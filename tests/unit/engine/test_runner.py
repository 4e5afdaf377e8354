# SPDX-License-Identifier: Apache-2.0

"""What the runner makes of what changes say, and in which order."""

from __future__ import annotations

import dataclasses
import pathlib
import secrets
import signal
import tempfile
import threading
import time
from typing import Any
from unittest import mock

import sqlalchemy as sa

from nova_recovery import exit_codes
from nova_recovery.engine import claiming, states
from nova_recovery.engine.change import Observed
from nova_recovery.engine.journal import ItemRecord, Journal
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import (
    ApiUnavailable,
    ChangeFailed,
    ClaimLost,
    Closed,
    Conflict,
    DatabaseUnavailable,
    JournalError,
    OutcomeUnknown,
    Paused,
    RecoveryError,
    RunLocked,
)
from tests.base import TestCase
from tests.unit.engine import world
from tests.unit.engine.world import Killer, Set, Site


def raiser(error: BaseException) -> Any:
    def act(*args: Any) -> Any:
        raise error

    return act


class RunnerTestCase(TestCase):
    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.site = Site(pathlib.Path(directory.name))
        self.script = self.site.scripted.script

    def one(self) -> str:
        """A run with one scripted item."""
        return self.site.create(
            world.plan_of([world.set_item('s:1', kind='scripted')])
        )

    def only(self, run_id: str) -> ItemRecord:
        (record,) = self.site.items(run_id).values()
        return record


class TestOneItem(RunnerTestCase):
    def test_it_is_done_and_its_before_image_kept(self) -> None:
        run_id = self.one()
        outcome = self.site.run(run_id)
        self.assertEqual((states.DONE, 0), (outcome.state, outcome.exit_code))
        record = self.only(run_id)
        self.assertEqual(states.DONE, record.state)
        self.assertEqual({'value': 'old'}, record.image)
        self.assertEqual('set to new', record.detail)
        self.assertRegex(record.started_at, r'^\d{4}-.*T.*\d{3}Z$')
        self.assertLessEqual(record.started_at, record.finished_at)

    def test_what_is_there_already_is_not_sent(self) -> None:
        run_id = self.one()
        self.site.world.add(set='s:1', to='new')
        self.assertEqual(0, self.site.run(run_id).exit_code)
        self.assertEqual(states.ALREADY, self.only(run_id).state)
        self.assertEqual(1, len(self.site.world.happened()))

    def test_what_somebody_changed_is_a_conflict_until_mended(self) -> None:
        run_id = self.one()
        self.site.world.add(set='s:1', to='odd')
        outcome = self.site.run(run_id)
        self.assertEqual(exit_codes.PARTLY, outcome.exit_code)
        self.assertEqual(states.CONFLICT, self.only(run_id).state)
        self.assertFalse(self.only(run_id).begun)
        self.site.world.add(set='s:1', to='old')
        self.assertEqual(0, self.site.run(run_id).exit_code)

    def test_unknown_means_that_nothing_is_sent(self) -> None:
        run_id = self.one()
        self.script['observe'] = lambda *a: Observed.unknown('no answer')
        self.site.run(run_id)
        record = self.only(run_id)
        self.assertEqual(states.FAILED, record.state)
        self.assertIn('unknown, so nothing was sent', record.detail)
        self.assertEqual([], self.site.world.happened())

    def test_a_cell_that_is_down_fails_the_item_until_it_is_back(self) -> None:
        run_id = self.one()
        self.script['observe'] = raiser(
            DatabaseUnavailable('cell1', 'refused')
        )
        self.site.run(run_id)
        self.assertEqual(states.FAILED, self.only(run_id).state)
        del self.script['observe']
        self.assertEqual(0, self.site.run(run_id).exit_code)

    def test_a_no_changes_nothing_and_the_next_image_is_a_new_one(
        self,
    ) -> None:
        run_id = self.one()
        images = iter(('first', 'second'))
        self.script['observe'] = lambda *a: Observed.before(
            {'value': next(images)}
        )
        self.script['apply'] = raiser(ChangeFailed('409'))
        self.site.run(run_id)
        record = self.only(run_id)
        self.assertEqual((states.FAILED, '409'), (record.state, record.detail))
        self.assertFalse(record.begun)
        self.script['apply'] = lambda *a: 'went well'
        self.site.run(run_id)
        record = self.only(run_id)
        self.assertEqual({'value': 'second'}, record.image)
        self.assertEqual(states.DONE, record.state)

    def test_no_answer_and_it_arrived(self) -> None:
        run_id = self.one()

        def apply(at: Any) -> str:
            Set().apply(at)
            raise OutcomeUnknown('lost at COMMIT')

        self.script['apply'] = apply
        self.assertEqual(0, self.site.run(run_id).exit_code)
        self.assertEqual(1, len(self.site.world.happened()))

    def test_no_answer_and_it_never_arrived_is_sent_again(self) -> None:
        run_id = self.one()
        lost = iter((True, False))

        def apply(at: Any) -> str:
            if next(lost):
                raise OutcomeUnknown('lost')
            return Set().apply(at)

        self.script['apply'] = apply
        self.assertEqual(0, self.site.run(run_id).exit_code)
        self.assertEqual('new', self.site.world.value('s:1'))

    def test_it_is_not_sent_for_ever(self) -> None:
        run_id = self.one()
        sent = []

        def apply(at: Any) -> str:
            sent.append(at.item)
            raise OutcomeUnknown('lost')

        self.script['apply'] = apply
        self.site.run(run_id)
        self.assertEqual(states.FAILED, self.only(run_id).state)
        self.assertEqual(3, len(sent))
        # why is told, and that nothing was changed is not known
        self.assertEqual(
            'sent 3 times without success: lost', self.only(run_id).detail
        )
        self.assertTrue(self.only(run_id).begun)

    def test_a_no_because_the_first_came_through_late(self) -> None:
        run_id = self.one()
        sent = []

        def apply(at: Any) -> str:
            sent.append(at.item)
            if len(sent) == 1:
                raise OutcomeUnknown('timed out')
            at.cloud.add(set='s:1', to='new')
            raise Conflict('somebody was there first')

        self.script['apply'] = apply
        self.assertEqual(0, self.site.run(run_id).exit_code)
        self.assertEqual(states.DONE, self.only(run_id).state)
        # so that it can be taken back
        self.assertTrue(self.only(run_id).begun)
        self.site.undo(run_id)
        self.assertEqual('old', self.site.world.value('s:1'))

    def test_a_no_after_one_without_an_answer_keeps_the_first_image(
        self,
    ) -> None:
        run_id = self.one()
        answers = iter((OutcomeUnknown('lost'), ChangeFailed('no')))

        def apply(*args: Any) -> str:
            raise next(answers)

        self.script['apply'] = apply
        self.site.run(run_id)
        record = self.only(run_id)
        self.assertEqual((states.FAILED, 'no'), (record.state, record.detail))
        self.assertTrue(record.begun)
        self.assertEqual({'value': 'old'}, record.image)

    def test_doubt_is_looked_at_again_and_never_sent_again(self) -> None:
        run_id = self.one()

        def observe(at: Any) -> Any:
            if not at.begun:
                return Set().observe(at)
            raise ApiUnavailable('nova is down')

        sent = []

        def apply(at: Any) -> str:
            sent.append(at.item)
            raise OutcomeUnknown('timed out')

        self.script.update(observe=observe, apply=apply)
        for _ in range(2):
            outcome = self.site.run(run_id)
            self.assertEqual(exit_codes.PARTLY, outcome.exit_code)
            self.assertEqual(states.DOUBT, self.only(run_id).state)
        self.assertEqual(1, len(sent))
        self.assertIn('nova is down', self.only(run_id).detail)

    def test_a_defect_leaves_doubt_and_does_not_end_the_run(self) -> None:
        run_id = self.site.create(
            world.plan_of(
                [world.set_item('s:1', kind='scripted'), world.set_item('s:2')]
            )
        )
        self.script['apply'] = raiser(
            KeyError("mysql://nova:password='hunter2'")
        )
        outcome = self.site.run(run_id)
        self.assertEqual({'doubt': 1, 'done': 1}, outcome.counts)
        record = self.site.items(run_id)['scripted-new:s:1']
        self.assertIn('KeyError', record.detail)
        self.assertNotIn('hunter2', record.detail)

    def test_a_defect_before_the_intent_is_a_failure(self) -> None:
        run_id = self.one()
        self.script['observe'] = raiser(ZeroDivisionError())
        self.site.run(run_id)
        self.assertEqual(states.FAILED, self.only(run_id).state)
        self.assertFalse(self.only(run_id).begun)

    def test_lost_while_following_is_doubt(self) -> None:
        run_id = self.one()
        self.script['follow'] = raiser(ApiUnavailable('gone'))
        self.site.run(run_id)
        self.assertEqual(states.DOUBT, self.only(run_id).state)
        # what it was for is there after all
        self.assertEqual(0, self.site.run(run_id).exit_code)

    def test_the_first_image_stays_when_it_is_sent_again(self) -> None:
        run_id = self.one()
        self.script['apply'] = raiser(RuntimeError('died on the way'))
        self.site.run(run_id)
        self.script['observe'] = lambda *a: Observed.before(
            {'value': 'something later'}
        )
        del self.script['apply']
        self.assertEqual(0, self.site.run(run_id).exit_code)
        self.assertEqual({'value': 'old'}, self.only(run_id).image)

    def test_a_note_is_on_disk_when_it_was_taken(self) -> None:
        run_id = self.one()

        def apply(at: Any) -> str:
            at.note(a=1)
            at.note(b=2)
            self.assertEqual({'a': 1, 'b': 2}, self.only(run_id).notes)
            return 'noted'

        def follow(at: Any) -> str:
            self.assertEqual({'a': 1, 'b': 2}, at.notes)
            self.assertEqual({'value': 'old'}, at.image)
            return ''

        self.script.update(apply=apply, follow=follow)
        self.assertEqual(0, self.site.run(run_id).exit_code)
        self.assertEqual('noted', self.only(run_id).detail)


class TestOrder(RunnerTestCase):
    def test_a_failure_keeps_back_its_own_subject_and_its_followers(
        self,
    ) -> None:
        run_id = self.site.create(
            world.plan_of(
                [
                    world.set_item('host:a', kind='scripted'),
                    world.set_item('host:b'),
                ],
                [
                    world.set_item('s:1', follows=('host:a',)),
                    world.set_item('s:2', follows=('host:b',)),
                ],
                [
                    world.set_item('s:1', 'up', from_='new'),
                    world.set_item('s:2', 'up', from_='new'),
                ],
            )
        )
        self.script['apply'] = raiser(ChangeFailed('no'))
        outcome = self.site.run(run_id)
        self.assertEqual({'failed': 1, 'blocked': 2, 'done': 3},
                         outcome.counts)  # fmt: skip
        items = self.site.items(run_id)
        self.assertEqual(states.BLOCKED, items['set-new:s:1'].state)
        self.assertIn('host:a is failed', items['set-up:s:1'].detail)
        self.script.clear()
        self.assertEqual({'done': 6}, self.site.run(run_id).counts)

    def test_within_a_step_a_subject_goes_item_by_item(self) -> None:
        chain = [
            world.set_item('s:1', str(n + 1), from_=str(n) if n else 'old')
            for n in range(20)
        ]
        run_id = self.site.create(world.plan_of(chain))
        self.assertEqual(0, self.site.run(run_id).exit_code)
        self.assertEqual('20', self.site.world.value('s:1'))

    def test_a_step_begins_when_the_one_before_is_over(self) -> None:
        first = [world.set_item(f's:{n}', kind='scripted') for n in range(6)]
        second = [world.set_item(f't:{n}', kind='scripted') for n in range(6)]
        run_id = self.site.create(world.plan_of(first, second))
        order = []

        def apply(at: Any) -> str:
            time.sleep(0.01 if at.item.subject == 's:3' else 0)
            order.append(at.item.subject[0])
            return ''

        self.script['apply'] = apply
        self.site.run(run_id)
        self.assertEqual(['s'] * 6 + ['t'] * 6, order)

    def test_no_more_than_the_limit_for_each_target(self) -> None:
        items = [
            world.set_item(f's:{n}', kind='scripted', target=f't{n % 2}')
            for n in range(20)
        ]
        run_id = self.site.create(world.plan_of(items, limits={'target': 2}))
        lock, busy, most = threading.Lock(), {'t0': 0, 't1': 0}, []

        def apply(at: Any) -> str:
            with lock:
                busy[at.data['target']] += 1
                most.append(max(busy.values()))
            time.sleep(0.005)
            with lock:
                busy[at.data['target']] -= 1
            return ''

        self.script['apply'] = apply
        self.assertEqual(0, self.site.run(run_id, workers=16).exit_code)
        self.assertEqual(2, max(most))

    def test_a_skipped_item_lets_the_next_one_go_on(self) -> None:
        run_id = self.site.create(
            world.plan_of(
                [world.set_item('s:1', kind='scripted')],
                [world.set_item('s:1', 'new')],
            )
        )
        self.script['apply'] = raiser(ChangeFailed('no'))
        self.site.run(run_id)
        self.site.open().skip(
            run_id, 'scripted-new:s:1', who='anna', machine='ctl1',
            reason='done by hand',
        )  # fmt: skip
        outcome = self.site.run(run_id)
        self.assertEqual({'skipped': 1, 'done': 1}, outcome.counts)
        self.assertEqual(0, outcome.exit_code)


class TestGuard(RunnerTestCase):
    def test_a_lost_claim_stops_everything_before_it_is_sent(self) -> None:
        run_id = self.site.create(
            world.plan_of([world.set_item(f's:{n}') for n in range(9)])
        )
        asked = []

        def guard(item: Any) -> None:
            asked.append(item)
            if len(asked) > 2:
                raise ClaimLost('bob has it')

        self.assertRaises(
            ClaimLost,
            self.site.run, run_id, guard=guard, workers=1,
        )  # fmt: skip
        self.assertEqual(2, len(self.site.world.happened()))
        self.assertEqual(
            {'done': 2, 'pending': 7}, self.site.open().run(run_id).counts
        )
        self.assertEqual(
            states.INTERRUPTED, self.site.open().run(run_id).state
        )
        self.assertIn(f'run resume {run_id}', self.site.output.getvalue())

    def test_an_unknown_claim_fails_the_item_unsent(self) -> None:
        run_id = self.one()
        self.site.run(
            run_id, guard=raiser(DatabaseUnavailable('cell1', 'down'))
        )
        self.assertEqual(states.FAILED, self.only(run_id).state)
        self.assertFalse(self.only(run_id).begun)
        self.assertEqual([], self.site.world.happened())


class TestFullDisk(RunnerTestCase):
    def test_nothing_is_sent_that_does_not_fit_into_the_journal(self) -> None:
        class NearlyFull(Journal):
            @classmethod
            def open(cls, url: str) -> Journal:
                journal = super().open(url)
                sa.event.listen(journal._engine, 'connect', limit)
                return journal

        def limit(connection: Any, record: Any) -> None:
            (pages,) = connection.execute('PRAGMA page_count').fetchone()
            connection.execute(f'PRAGMA max_page_count={pages + 20}')

        def observe(at: Any) -> Any:
            seen = Set().observe(at)
            # random, so that it can't be compressed
            padding = secrets.token_hex(8000)
            return dataclasses.replace(
                seen, image={**seen.image, 'padding': padding}
            )

        run_id = self.site.create(
            world.plan_of(
                [world.set_item(f's:{n}', kind='scripted') for n in range(40)]
            )
        )
        self.script['observe'] = observe
        self.site.journal_class = NearlyFull
        error = self.assertRaises(JournalError, self.site.run, run_id)
        self.assertIn('disk is full; make room', str(error))
        self.assertIn('journal.sqlite', str(error))
        self.assertIn(f'run resume {run_id}', self.site.output.getvalue())
        items = self.site.items(run_id)
        sent = {event['item'] for event in self.site.world.happened()}
        self.assertTrue(0 < len(sent) < 40)
        self.assertEqual(
            set(), sent - {id_ for id_, one in items.items() if one.begun}
        )
        self.site.journal_class = Journal
        self.assertEqual({'done': 40}, self.site.run(run_id).counts)
        self.assertEqual(40, len(self.site.world.happened()))


class TestRun(RunnerTestCase):
    def test_what_happened_is_kept(self) -> None:
        run_id = self.one()
        self.site.world.add(set='s:1', to='odd')
        self.site.run(run_id)
        self.site.world.add(set='s:1', to='old')
        self.site.run(run_id)
        self.assertEqual(
            ['created', 'started', 'finished', 'resumed', 'finished'],
            [event.kind for event in self.site.open().events(run_id)],
        )

    def test_a_change_of_another_version_is_refused(self) -> None:
        run_id = self.site.create(
            world.plan_of([world.set_item('s:1', kind='fly')])
        )
        error = self.assertRaises(RecoveryError, self.site.run, run_id)
        self.assertIn('fly', str(error))

    def test_a_run_that_is_carried_out_is_refused_with_the_pid(self) -> None:
        run_id = self.one()

        def apply(at: Any) -> str:
            error = self.assertRaises(RunLocked, self.site.run, run_id)
            self.assertRegex(str(error), r'carried out by pid \d+ on ')
            self.assertTrue(self.site.open().run(run_id).holder)
            return ''

        self.script['apply'] = apply
        self.assertEqual(0, self.site.run(run_id).exit_code)

    def test_thousands_with_a_limit_that_is_always_reached(self) -> None:
        items = [world.set_item(f's:{n}', kind='scripted', target='t')
                 for n in range(3000)]  # fmt: skip
        run_id = self.site.create(world.plan_of(items, limits={'target': 2}))
        self.script.update(observe=lambda *a: Observed.after())
        outcome = self.site.run(run_id)
        self.assertEqual({'already': 3000}, outcome.counts)


class TestClaimAndLook(RunnerTestCase):
    """A claim is given back although a look found something wrong."""

    def plan_of(self, *steps: list[Item]) -> str:
        return self.site.create(world.plan_of(*steps))

    def test_it_is_not_kept_for_what_a_look_found(self) -> None:
        look = world.set_item('s:1', kind='scripted', to='seen')
        give = world.set_item('host:h', follows=('s:1',))
        for looks, given in ((True, 'done'), (False, 'blocked')):
            self.site.scripted.looks = looks
            self.script['apply'] = raiser(ChangeFailed('no port'))
            run_id = self.plan_of([look], [give])
            with mock.patch.object(
                claiming, 'RELEASES', {'set': 'claim-host'}
            ):
                outcome = self.site.run(run_id)
            self.assertEqual(states.PARTLY, outcome.state)
            self.assertEqual(
                given, self.site.states(run_id)['set-new:host:h'], looks
            )


class TestClosed(RunnerTestCase):
    """What a run was for is gone, for one subject of several."""

    def setUp(self) -> None:
        super().setUp()
        self.gone = {'s:1'}

    def guard(self, item: Item) -> None:
        if item.subject in self.gone and item.data['to'] != 'first':
            raise Closed(f'{item.subject} is alive', then=('Do this next',))

    def create(self, kind: str = 'set') -> str:
        """:param kind: of the first step"""
        return self.site.create(
            world.plan_of(
                [
                    world.set_item(s, 'first', kind=kind)
                    for s in ('s:1', 's:2')
                ],
                [world.set_item(s, 'new', 'first') for s in ('s:1', 's:2')],
                [world.set_item(s, 'last', 'new') for s in ('s:1', 's:2')],
            )
        )

    def test_it_is_left_as_it_was_and_the_others_go_on(self) -> None:
        run_id = self.create()
        outcome = self.site.run(run_id, guard=self.guard)
        self.assertEqual(
            {
                'set-first:s:1': 'skipped',
                'set-first:s:2': 'done',
                'set-new:s:1': 'skipped',
                'set-new:s:2': 'done',
                'set-last:s:1': 'skipped',
                'set-last:s:2': 'done',
            },
            self.site.states(run_id),
        )
        self.assertEqual('old', self.site.world.value('s:1'))
        self.assertEqual('last', self.site.world.value('s:2'))
        self.assertEqual(
            (states.PARTLY, 4, ('Do this next',)),
            (outcome.state, outcome.exit_code, outcome.then),
        )
        self.assertEqual(
            's:1 is alive', self.site.items(run_id)['set-last:s:1'].detail
        )

    def test_what_is_in_conflict_has_no_further_need_of_it_either(
        self,
    ) -> None:
        run_id = self.create()
        self.site.world.add(set='s:1', to='odd')
        self.gone.clear()
        self.site.run(run_id, guard=self.guard)
        self.assertIn('conflict', self.site.states(run_id).values())
        self.gone.add('s:1')
        guard = self.guard

        def all_of_it(item: Item) -> None:
            if item.subject in self.gone:
                raise Closed('alive')
            guard(item)

        self.site.run(run_id, guard=all_of_it)
        self.assertEqual(
            {'skipped', 'done'}, set(self.site.states(run_id).values())
        )
        self.assertEqual('odd', self.site.world.value('s:1'))

    def test_a_resume_leaves_it_alone(self) -> None:
        """Stopped after it was closed, and what is left looks different."""
        run_id = self.create()
        self.site.run(run_id, guard=self.guard, before=_until('Step 2'))
        self.site.world.add(set='s:1', to='new')
        self.site.run(run_id)
        self.assertEqual('new', self.site.world.value('s:1'))
        self.assertEqual('skipped', self.site.states(run_id)['set-last:s:1'])

    def assert_closed(self, site: Site, run_id: str, where: Any = '') -> None:
        """Nothing is left of s:1, and s:2 has come to its end."""
        for item_id, state in site.states(run_id).items():
            wanted = 'skipped' if item_id.endswith('s:1') else 'done'
            self.assertEqual(wanted, state, (where, item_id))
        self.assertEqual('old', site.world.value('s:1'), where)
        self.assertEqual('last', site.world.value('s:2'), where)

    def test_killed_on_the_way_it_is_left_as_it_was_by_a_resume(self) -> None:
        for when in ('before', 'after'):
            number, code = 0, -signal.SIGKILL
            while code == -signal.SIGKILL:
                number += 1
                code = self._killed(when, number)
            self.assertGreater(number, 10)

    def _killed(self, when: str, number: int) -> int:
        directory = self.site.directory / f'{when}{number}'
        directory.mkdir()
        self.site = site = Site(directory)
        run_id = self.create()

        def act() -> int:
            killed = Site(directory, world.killing(Killer(when, number)))
            return killed.run(run_id, guard=self.guard).exit_code

        code = world.ended(world.start(act))
        outcome = site.run(run_id, guard=self.guard)
        self.assertEqual(states.PARTLY, outcome.state, (when, number))
        self.assert_closed(site, run_id, (when, number))
        return code

    def test_a_pause_does_not_keep_it_back(self) -> None:
        run_id = self.create()
        asked, paused = threading.Event(), threading.Event()
        times = []

        def guard(item: Item) -> None:
            if item.data['to'] == 'new' and item.subject == 's:2':
                asked.wait(10)
                # once this one paused the run, the other one goes on
                threading.Timer(0.3, paused.set).start()
                raise Paused('too many ended badly')
            if item.data['to'] == 'new':
                times.append(item)
                # the second time is whether it is closed, and it goes back
                if len(times) == 2:
                    asked.set()
                    paused.wait(10)
            self.guard(item)

        outcome = self.site.run(run_id, guard=guard)
        self.assertEqual(states.PAUSED, outcome.state)
        self.assertEqual('old', self.site.world.value('s:1'))
        self.site.run(run_id, guard=self.guard)
        self.assert_closed(self.site, run_id)

    def test_what_cannot_be_taken_back_is_told_and_tried_again(self) -> None:
        errors = (
            Conflict('it is odd by now'),
            OutcomeUnknown('no answer'),
            RuntimeError('a defect'),
        )
        for error in errors:
            self.site.world.add(set='s:1', to='old')
            self.site.world.add(set='s:2', to='old')
            run_id = self.create('scripted')
            self.script['revert'] = raiser(error)
            outcome = self.site.run(
                run_id, guard=self.guard, before=_until('Step 2')
            )
            self.assertEqual(states.PAUSED, outcome.state)
            (told,) = [one for one in outcome.then if 's:1: ' in one]
            self.assertIn(str(error), told)
            if not isinstance(error, RuntimeError):
                self.assertIn('was not taken back', told)
            self.assertEqual({'done', 'skipped', 'pending'},
                             set(outcome.counts))  # fmt: skip
            del self.script['revert']
            outcome = self.site.run(run_id, guard=self.guard)
            self.assertEqual(states.PARTLY, outcome.state)
            self.assert_closed(self.site, run_id, error)

    def test_a_pause_on_the_way_back_is_one(self) -> None:
        run_id = self.create('scripted')
        self.script['revert'] = raiser(Conflict('it is odd by now'))
        self.site.run(run_id, guard=self.guard, before=_until('Step 2'))
        del self.script['revert']
        outcome = self.site.run(run_id, guard=raiser(Paused('not now')))
        self.assertEqual(
            (states.PAUSED, 'not now'), (outcome.state, outcome.reason)
        )
        self.site.run(run_id, guard=self.guard)
        self.assert_closed(self.site, run_id)


def _until(title: str) -> Any:
    def before(step: Any) -> None:
        if step.title == title:
            raise Paused('as asked')

    return before
