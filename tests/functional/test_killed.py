# SPDX-License-Identifier: Apache-2.0

"""The program is killed, and what it began is brought to its end."""

from __future__ import annotations

import collections
import dataclasses
import os
import pathlib
import random
import signal
import time
from typing import Any

from nova_recovery import fencing
from nova_recovery.engine import planfile
from nova_recovery.procedures.recover import procedure, read
from nova_recovery.procedures.recover.situation import Request
from tests.functional import fates
from tests.functional.base import FunctionalTest
from tests.functional.recovered import Before, RecoveredTest
from tests.integration import killing
from tests.integration.killing import Point, Watch
from tests.unit.engine import world

#: After these, half a move is there: the gates must let the rest pass.
HALF_WAY = frozenset({
    'move-allocation: sent allocation of server ',
    'move-record: journal intent',
    'reconnect-volume: sent delete of attachment ',
    'start-server: sent start of server ',
})  # fmt: skip


class TestKilledMove(FunctionalTest):
    """Servers that nova refuses to evacuate, moved by one worker."""

    #: So many servers share the points; the next one dies at the next
    #: point, so that after each death a whole part is done at a stretch.
    VICTIMS = 3

    def setUp(self) -> None:
        super().setUp()
        whole = {'volumes': ('iscsi', 'rbd'), 'state': 'paused'}
        names = ['spared', *(f'victim{n}' for n in range(self.VICTIMS))]
        servers = self.create_servers({name: whole for name in names})
        self.spared, *self.victims = [server.id for server in servers]
        self.lose_power('host1')
        self.practice.wait_compute_down('host1')

    def plans(self) -> list[Any]:
        """Of the spared one and of the victims, from one look."""
        cloud = killing.open_cloud(self.conf_file)
        request = Request(
            hosts=('host1',),
            servers=(self.spared, *self.victims),
            target_host='host2',
            connectors={'host2': self.state.connector('host2')},
            fenced='the test pulled the plug',
            settle=3,
            patience=60,
        )
        driver = fencing.load(cloud.conf, request.fenced)
        found = read.read(cloud, request, driver)
        return [
            procedure.decide(dataclasses.replace(request, servers=some), found)
            for some in ((self.spared,), tuple(self.victims))
        ]

    def create_run(self, plan: Any) -> str:
        return killing.create_run(f'sqlite:///{self.journal}', plan)

    def process(self, run_id: str, watch: Watch) -> int:
        """Carry out in a process of its own; -9 if it was killed."""
        return world.ended(
            world.start(
                lambda: killing.carry_out(self.conf_file, run_id, 1, watch)
            ),
            120,
        )

    def put_host_back(self) -> None:
        """Make the next run do all to the host that the first one did."""
        self.practice.sql(
            'nova',
            'UPDATE services SET disabled = 0, disabled_reason = NULL,'
            " forced_down = 0 WHERE host = 'host1'",
        )

    def deadly(self, noted: pathlib.Path) -> dict[str, set[str]]:
        """Share the points of an uninterrupted run out among the victims."""
        passed = killing.points(noted)
        own = [p.what for p in passed if p.subject.startswith('server:')]
        alike = [w for w, n in collections.Counter(own).items() if n > 1]
        self.assertEqual([], alike, 'points that look alike')
        shared: dict[str, set[str]] = {
            f'server:{victim}': set(own[number :: self.VICTIMS])
            for number, victim in enumerate(self.victims)
        }
        for point in passed:
            # There is one host. Where it died after it had claimed it, the
            # next process sees so, and never says that it sent anything.
            if not (
                point.subject.startswith('server:')
                or point.what.endswith('journal sent')
            ):
                shared.setdefault(point.subject, set()).add(point.what)
        return shared

    def test_killed_after_each_thing_that_lasts(self) -> None:
        """Every commit of the journal and each change of the cloud.

        What is left of the run goes on in the next process, until that one
        is killed at a point where none was killed before.
        """
        spared_plan, plan = self.plans()
        noted = self.home / 'uninterrupted'
        run_id = self.create_run(spared_plan)
        self.assertEqual(0, self.process(run_id, Watch(noted)))
        self.put_host_back()
        deadly = self.deadly(noted)
        self.assertGreater(sum(map(len, deadly.values())), 45)

        noted, run_id = self.home / 'interrupted', self.create_run(plan)
        while code := self.process(run_id, Watch(noted, deadly)):
            last = killing.points(noted)[-1]
            self.assertEqual((-signal.SIGKILL, True), (code, last.died))
            if last.what in HALF_WAY:
                self.assert_may_go_on(run_id, last)

        died: dict[str, set[str]] = {}
        for point in killing.points(noted):
            if point.died:
                died.setdefault(point.subject, set()).add(point.what)
        for subject, whats in deadly.items():
            left = whats - died.get(subject, set())
            self.assertEqual(set(), left, f'{subject} was not killed there')
        fate = fates.of(self.practice, self.spared)
        self.assertEqual({'start': 1}, fate['once'])
        self.assertEqual(1, len(fate['migrations']))
        for victim in self.victims:
            self.assertEqual(fate, fates.of(self.practice, victim))
        service = self.state.service('host1')
        self.assertEqual((1, 1), (service['disabled'], service['forced_down']))
        self.assertIn(f'recovered by nova-recovery (run {run_id})',
                      service['disabled_reason'])  # fmt: skip

    def assert_may_go_on(self, run_id: str, point: Point) -> None:
        """No gate of the command stands in the way of what is half done."""
        ended = self.recovery('run', 'resume', run_id)
        self.assertIn('There is no terminal to ask', ended.stderr, point)
        self.assertEqual(3, ended.code)


class TestKilledRecovery(RecoveredTest):
    """A whole host, 16 workers, killed wherever they are."""

    PAUSED = frozenset({'at3-ui02', 'at3-ui03', 'at3-ui06', 'at3-ui08'})
    #: Seconds until the next process is killed.
    SOONEST, LATEST = 0.4, 1.6
    KILLS = 10

    def setUp(self) -> None:
        super().setUp()
        self.practice.reset()
        names = {
            name: row['uuid'] for name, row in self.state.rows('host1').items()
        }
        for name in self.PAUSED - {'at3-ui06'}:
            self.state.server_action(names[name], 'pause')
        self.wait_for(
            lambda: all(
                self.state.row(names[name])['vm_state'] == 'paused'
                for name in self.PAUSED
            ),
            'paused servers',
        )
        self.servers = self.before(names.values())
        self.lose_power('host1')

    def test_seed_1(self) -> None:
        self.killed_at_random(1)

    def test_seed_2(self) -> None:
        self.killed_at_random(2)

    def killed_at_random(self, seed: int) -> None:
        chance = random.Random(seed)
        plan = self.plan(
            'host', 'recover', 'host1', '--fenced', 'PDU port 14 is off',
            '--shared-storage', '--connector', self.connector('host2'),
            '--connector', self.connector('host3'),
        )  # fmt: skip
        run_id = killing.create_run(
            f'sqlite:///{self.journal}', planfile.load(str(plan['file']))
        )
        killed = 0
        for _ in range(self.KILLS):
            pid = world.start(
                lambda: killing.carry_out(self.conf_file, run_id, 16)
            )
            # any moment will do
            time.sleep(chance.uniform(self.SOONEST, self.LATEST))
            os.kill(pid, signal.SIGKILL)
            killed += world.ended(pid) == -signal.SIGKILL
        self.assertGreater(killed, self.KILLS * 2 / 3, 'it ended too soon')
        self.done('run', 'resume', run_id, '--yes')
        self.assertEqual('done', self.answer('run', 'show', run_id)['state'])
        for one in self.servers:
            self.assert_recovered(
                one, one.name in self.PAUSED, ('host2', 'host3')
            )
        self.assert_out_of_service('host1', run_id)

    def _assert_asked(self, before: Before, moved: bool) -> None:
        asked = self.state.actions(before.uuid)[len(before.actions) :]
        self.assertEqual(
            [('start' if before.ran else '') if moved else 'evacuate'],
            [action for action in asked if action in fates.ONCE] or [''],
            before.name,
        )
        # A process that is killed while nova locks may have it locked twice.
        self.assertEqual(
            {'lock', 'unlock'} if moved else set(),
            set(asked) - set(fates.ONCE),
            before.name,
        )
        # ours, or nova's
        self.assertEqual(1, len(self.state.migrations(before.uuid)))
