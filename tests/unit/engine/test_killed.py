# SPDX-License-Identifier: Apache-2.0

"""A process that is killed at any of its writes, and what comes after."""

from __future__ import annotations

import pathlib
import signal
import tempfile

from nova_recovery.engine import states
from nova_recovery.engine.journal import Journal
from tests.base import TestCase
from tests.unit.engine import world
from tests.unit.engine.world import Killer, Site

SERVERS = ('server:1', 'server:2')
PLAN = world.plan_of(
    [world.set_item('host:h', 'down')],
    [world.set_item(s, 'moved', follows=('host:h',)) for s in SERVERS],
    [world.once_item(s) for s in SERVERS],
    [
        world.set_item(s, 'verified', from_='moved')
        for s in SERVERS
    ],
)  # fmt: skip
TAKEN_BACK = world.plan_of(
    [world.set_item('host:h', 'down')],
    [world.set_item(s, 'moved', follows=('host:h',)) for s in SERVERS],
    [world.set_item(s, 'verified', from_='moved') for s in SERVERS],
)
#: No run here has more writes; reaching it would mean an endless one.
MANY = 100


class KilledTestCase(TestCase):
    def site(self) -> Site:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        return Site(pathlib.Path(directory.name))

    def die(
        self, site: Site, run_id: str, way: str, when: str, number: int
    ) -> bool:
        """Go that way in a process killed at a write; False if it wasn't."""

        def act() -> int:
            killer = Killer(when, number)
            doomed = Site(site.directory, world.killing(killer))
            return getattr(doomed, way)(run_id).exit_code

        code = world.ended(world.start(act))
        self.assertIn(code, (0, -signal.SIGKILL))
        return code != 0

    def assert_nothing_without_intent(self, site: Site, run_id: str) -> None:
        items = site.items(run_id)
        for event in site.world.happened():
            if 'item' in event:
                record = items[event['item']]
                self.assertTrue(record.begun, event)
                self.assertNotEqual({}, record.image, event)

    def assert_all_done(self, site: Site, run_id: str) -> None:
        self.assertEqual({states.DONE}, set(site.states(run_id).values()))
        self.assertEqual('down', site.world.value('host:h'))
        for server in SERVERS:
            self.assertEqual('verified', site.world.value(server))
            self.assertEqual(1, site.world.sent(f'once:{server}'))
        for event in site.world.happened():
            if 'item' in event:
                same = [
                    e
                    for e in site.world.happened()
                    if e.get('item') == event['item']
                ]
                self.assertEqual(1, len(same), event)
        for record in site.items(run_id).values():
            if record.kind == 'set':
                before = {'s3': 'moved'}.get(record.step, 'old')
                self.assertEqual({'value': before}, record.image)


class TestKilledRun(KilledTestCase):
    def test_resume_reaches_the_same_end_wherever_it_was_killed(self) -> None:
        for when in ('before', 'after'):
            killed = 0
            for number in range(1, MANY):
                site = self.site()
                run_id = site.create(PLAN)
                if not self.die(site, run_id, 'run', when, number):
                    break
                killed += 1
                self.assert_nothing_without_intent(site, run_id)
                outcome = site.run(run_id)
                self.assertEqual(0, outcome.exit_code, (when, number))
                self.assert_all_done(site, run_id)
            self.assertGreater(killed, 10)
            self.assertLess(killed, MANY - 1)

    def test_killed_again_and_again_it_still_comes_to_its_end(self) -> None:
        site = self.site()
        run_id = site.create(PLAN)
        deaths = 0
        # before: taking the run, telling that it runs, three groups of items
        while self.die(site, run_id, 'run', 'before', 6):
            self.assert_nothing_without_intent(site, run_id)
            deaths += 1
            self.assertLess(deaths, MANY)
        self.assertGreater(deaths, 1)
        self.assertEqual(0, site.run(run_id).exit_code)
        self.assert_all_done(site, run_id)

    def test_a_killed_process_holds_the_run_no_longer(self) -> None:
        site = self.site()
        run_id = site.create(PLAN)
        self.assertTrue(self.die(site, run_id, 'run', 'after', 4))
        journal = Journal.open(site.url)
        run = journal.run(run_id)
        self.assertEqual(states.RUNNING, run.state)
        self.assertEqual('', run.holder)


class TestKilledUndo(KilledTestCase):
    def test_a_second_undo_ends_it_wherever_it_was_killed(self) -> None:
        for when in ('before', 'after'):
            killed = 0
            for number in range(1, MANY):
                site = self.site()
                run_id = site.create(TAKEN_BACK)
                site.run(run_id)
                if not self.die(site, run_id, 'undo', when, number):
                    break
                killed += 1
                outcome = site.undo(run_id)
                self.assertEqual(0, outcome.exit_code, (when, number))
                self.assertEqual(
                    {states.REVERTED}, set(site.states(run_id).values())
                )
                for subject in ('host:h', *SERVERS):
                    self.assertEqual('old', site.world.value(subject))
            self.assertGreater(killed, 7)
            self.assertLess(killed, MANY - 1)
