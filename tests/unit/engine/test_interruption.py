# SPDX-License-Identifier: Apache-2.0

"""Ctrl-C, a lost terminal and a shutdown, sent to real processes."""

from __future__ import annotations

import os
import pathlib
import signal
import tempfile

from nova_recovery import exit_codes
from nova_recovery.engine import states
from nova_recovery.engine.change import At
from tests.base import TestCase
from tests.unit.engine import world
from tests.unit.engine.world import Site, World


class TestSignals(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.new_site()

    def new_site(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        self.site = Site(self.directory)
        self.gate = self.directory / 'gate'
        self.said = self.directory / 'stderr'
        items = [
            world.once_item(f's:{n}', gate=str(self.gate)) for n in range(4)
        ]
        self.run_id = self.site.create(
            world.plan_of(items, [world.set_item('s:0')])
        )

    def start(self, ignored: signal.Signals | None = None) -> int:
        """A run with two workers, both of which wait for the gate."""

        def act() -> int:
            if ignored:
                signal.signal(ignored, signal.SIG_IGN)
            with open(self.said, 'w') as output:
                site = Site(self.directory, output=output)
                return site.run(self.run_id, workers=2).exit_code

        pid = world.start(act)
        world.poll(lambda: len(self.site.world.happened()) == 2)
        return pid

    def stop(self, pid: int, number: signal.Signals, said: str) -> None:
        os.kill(pid, number)
        world.poll(lambda: said in self.said.read_text())

    def assert_resumed(self) -> None:
        self.gate.touch()
        self.assertEqual(0, self.site.run(self.run_id).exit_code)
        self.assertEqual(
            {states.DONE}, set(self.site.states(self.run_id).values())
        )
        for n in range(4):
            self.assertEqual(1, self.site.world.sent(f'once:s:{n}'))

    def test_what_is_in_flight_comes_to_its_end(self) -> None:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            with self.subTest(number.name):
                self.new_site()
                pid = self.start()
                self.stop(pid, number, f'run resume {self.run_id}')
                self.gate.touch()
                self.assertEqual(exit_codes.INTERRUPTED, world.ended(pid))
                run = self.site.open().run(self.run_id)
                self.assertEqual({'done': 2, 'pending': 3}, run.counts)
                self.assertEqual(states.INTERRUPTED, run.state)
                event = self.site.open().events(self.run_id)[-1]
                self.assertEqual(
                    ('interrupted', number.name), (event.kind, event.detail)
                )
                self.assert_resumed()

    def test_a_second_ctrl_c_ends_the_waiting(self) -> None:
        pid = self.start()
        self.stop(pid, signal.SIGINT, 'run resume')
        self.stop(pid, signal.SIGINT, 'not waiting any longer')
        self.assertEqual(exit_codes.INTERRUPTED, world.ended(pid))
        run = self.site.open().run(self.run_id)
        self.assertEqual({'sent': 2, 'pending': 3}, run.counts)
        self.assert_resumed()

    def test_a_wait_for_others_ends_at_once(self) -> None:
        """Nothing of ours is in flight: the first signal is enough."""

        def wait(at: At[World]) -> None:
            at.cloud.add(waits=at.item.id)
            while True:
                at.pause(60)

        def act() -> int:
            with open(self.said, 'w') as output:
                site = Site(self.directory, output=output)
                site.scripted.script['observe'] = wait
                return site.run(run_id).exit_code

        run_id = self.site.create(
            world.plan_of([world.set_item('s:1', kind='scripted')])
        )
        pid = world.start(act)
        world.poll(lambda: len(self.site.world.happened()) == 1)
        os.kill(pid, signal.SIGTERM)
        self.assertEqual(exit_codes.INTERRUPTED, world.ended(pid))
        self.assertEqual(
            {'scripted-new:s:1': 'pending'}, self.site.states(run_id)
        )

    def test_under_nohup_a_lost_terminal_is_nothing(self) -> None:
        pid = self.start(ignored=signal.SIGHUP)
        os.kill(pid, signal.SIGHUP)
        self.gate.touch()
        self.assertEqual(0, world.ended(pid))

    def test_a_terminal_that_is_gone_does_not_end_the_run(self) -> None:
        def act() -> int:
            reader, writer = os.pipe()
            os.close(reader)
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            output = os.fdopen(writer, 'w')
            self.gate.touch()
            site = Site(self.directory, output=output)
            return site.run(self.run_id).exit_code

        self.assertEqual(0, world.ended(world.start(act)))
