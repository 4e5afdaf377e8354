# SPDX-License-Identifier: Apache-2.0

"""The claim is looked at last, and no old intent is carried out."""

from __future__ import annotations

import os
import pathlib
import signal
from typing import Any

import fixtures

from nova_recovery.engine import attempt, states
from nova_recovery.engine.change import At
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ClaimLost
from tests.base import TestCase
from tests.unit.engine import world
from tests.unit.engine.world import Scripted, Site, World


class Slow(Scripted):
    """Looks at something before it sends, which takes its time."""

    kind = 'scripted'
    confirms = True

    def apply(self, at: At[World]) -> str:
        self.script['meanwhile'](at)
        at.confirm()
        at.cloud.add(set=at.item.subject, to=at.data['to'], item=at.item.id)
        return 'set'


class ConfirmedTestCase(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.slow = Slow()
        home = self.useFixture(fixtures.TempDir()).path
        self.site = Site(pathlib.Path(home), scripted=self.slow)
        self.item = world.set_item('s:1', kind='scripted')
        self.run_id = self.site.create(world.plan_of([self.item]))
        self.asked = 0
        self.theirs = False

    def guard(self, item: Item) -> None:
        self.asked += 1
        if self.theirs:
            raise ClaimLost('bob has it')

    def sent(self) -> int:
        return len(self.site.world.happened())

    def record(self) -> Any:
        return self.site.items(self.run_id)[self.item.id]


class TestClaimLast(ConfirmedTestCase):
    def test_taken_over_while_a_change_looked_at_something(self) -> None:
        self.slow.script['meanwhile'] = lambda at: setattr(
            self, 'theirs', True
        )
        self.assertRaises(
            ClaimLost, self.site.run, self.run_id, guard=self.guard
        )
        self.assertEqual((0, 1), (self.sent(), self.asked))
        self.assertEqual(
            (states.PENDING, False), (self.record().state, self.record().begun)
        )

    def test_it_is_asked_once(self) -> None:
        self.slow.script['meanwhile'] = lambda at: None
        self.site.run(self.run_id, guard=self.guard)
        self.assertEqual((1, 1), (self.sent(), self.asked))


class TestOldIntent(ConfirmedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.now = 1000.0
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.engine.attempt.boot_clock', lambda: self.now
            )
        )

    def test_it_is_intended_again_and_asked_again(self) -> None:
        def meanwhile(at: At[World]) -> None:
            self.now += attempt.FRESH + 1

        self.slow.script['meanwhile'] = meanwhile
        self.site.run(self.run_id, guard=self.guard)
        self.assertEqual((1, 2), (self.sent(), self.asked))

    def test_where_asking_itself_takes_that_long(self) -> None:
        def guard(item: Item) -> None:
            self.guard(item)
            self.now += attempt.FRESH + 1

        self.slow.script['meanwhile'] = lambda at: None
        self.site.run(self.run_id, guard=guard)
        self.assertEqual(0, self.sent())
        self.assertEqual(
            (states.FAILED, False), (self.record().state, self.record().begun)
        )
        self.assertIn('nothing was sent', self.record().detail)


class TestFrozen(TestCase):
    """A process stands still between the answer and the request.

    Meanwhile somebody takes the run over: awake, it sends nothing.
    """

    def test_the_claim_went_away_in_the_sleep(self) -> None:
        home = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        site = Site(home)
        item = world.set_item('s:1')
        run_id = site.create(world.plan_of([item]))
        taken = home / 'taken'

        def guard(item: Item) -> None:
            if taken.exists():
                raise ClaimLost('bob has it')
            asked = attempt.boot_clock()
            os.kill(os.getpid(), signal.SIGSTOP)
            # the signal takes a moment to reach this thread
            world.poll(lambda: attempt.boot_clock() - asked > 0.2)

        def go() -> int:
            try:
                site.run(run_id, guard=guard, workers=1)
            except ClaimLost:
                return 3
            return 0

        with fixtures.MonkeyPatch('nova_recovery.engine.attempt.FRESH', 0.2):
            pid = world.start(go)
            self.addCleanup(world.ended, pid)
            stat = pathlib.Path(f'/proc/{pid}/stat')
            world.poll(
                lambda: stat.read_text().rpartition(')')[2].split()[0] == 'T'
            )
            frozen = attempt.boot_clock()
            taken.touch()
            world.poll(lambda: attempt.boot_clock() - frozen > 0.3)
            os.kill(pid, signal.SIGCONT)
            world.poll(
                lambda: stat.read_text().rpartition(')')[2].split()[0] == 'Z'
            )
        self.assertEqual([], site.world.happened())
        self.assertEqual(states.PENDING, site.items(run_id)[item.id].state)
