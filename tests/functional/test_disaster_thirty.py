# SPDX-License-Identifier: Apache-2.0

"""Thirty servers come back; the program dies on the way, or the storage."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from concurrent import futures
import os
import pathlib
import random
import signal
import threading
from typing import Any, ClassVar

from nova_recovery.compat import pairs
from nova_recovery.engine import planfile
from tests.functional import disaster
from tests.functional.disaster import DisasterTest
from tests.integration import killing
from tests.integration.killing import Watch
from tests.unit.engine import world

HOST, SPARED = 'host3', 'host2'
COUNT = 30
#: How often the program dies at each kind of write.
KILLS = int(os.environ.get('NOVA_RECOVERY_KILLS', 2))


class JournalWatch(Watch):
    """Both sides of each write of the journal, whoever works just then.

    :param deadly: kind of write -> at the how manieth one to die, as all
        processes together count them, or at the next one after it
    """

    def __init__(
        self,
        path: pathlib.Path,
        deadly: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        super().__init__(path)
        self._numbers = deadly or {}
        # of the last process too, which died with the last line
        passed = killing.points(path)
        self._seen = collections.Counter(point.what for point in passed)
        self._died = collections.Counter(
            point.what for point in passed if point.died
        )
        self._lock = threading.Lock()

    def install(self) -> None:
        """Nothing else is watched: several workers are at it."""

    def committing(self, group: dict[int, dict[str, Any]]) -> None:
        self.committed(group, 'about to journal')

    def is_deadly(self, subject: str, what: str) -> bool:
        with self._lock:
            self._seen[what] += 1
            left = list(self._numbers.get(what, ()))[self._died[what] :]
            return bool(left) and self._seen[what] >= left[0]


class Many(DisasterTest):
    """A host with many servers, one canary and one wave."""

    count: ClassVar[int]
    servers: ClassVar[list[str]]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        # other classes want the cloud without them
        cls.addClassCleanup(cls.practice.leave_to_reset)
        cls.servers = cls.practice.create_servers('many', cls.count, HOST)

    def setUp(self) -> None:
        super().setUp()
        self.prepare()
        self.before = disaster.look(self.practice, self.servers)
        self.assertEqual({True}, {one.ran for one in self.before})
        self.take_snapshot()
        self.lose_power()
        self.power_on()
        self.wait_up()

    def prepare(self) -> None:
        """Before the snapshot."""

    def reboots(self) -> int:
        """How many were sent since."""
        now = disaster.look(self.practice, self.servers)
        return sum(
            len(self.asked(old, new)) for old, new in pairs(self.before, now)
        )


class TestThirty(Many):
    """The program dies."""

    count = COUNT

    # the program

    def create_run(self, host: str) -> str:
        plan = planfile.load(str(self.plan_file('--host', host)['file']))
        return killing.create_run(f'sqlite:///{self.journal}', plan)

    def process(self, run_id: str, watch: Watch) -> int:
        """Carry out in a process of its own; -9 if it was killed."""
        return world.ended(
            world.start(
                lambda: killing.carry_out(self.conf_file, run_id, 8, watch)
            ),
            120,
        )

    def deadly(self) -> dict[str, list[int]]:
        """The kinds of writes, of a run that nobody interrupts.

        Those for a server come thirty times: early and late, or as often as
        NOVA_RECOVERY_KILLS says.
        """
        noted = self.home / 'uninterrupted'
        run_id = self.create_run(SPARED)
        self.assertEqual(0, self.process(run_id, JournalWatch(noted)))
        spared = {row['uuid'] for row in self.state.rows(SPARED).values()}
        chance = random.Random(1)
        numbers = {}
        for point in killing.points(noted):
            if point.subject.partition(':')[2] in spared:
                numbers[point.what] = sorted(
                    chance.sample(range(1, 21), KILLS)
                    if KILLS > 2
                    else [chance.randint(1, 6), chance.randint(8, 20)]
                )
            elif not point.what.endswith('journal sent'):
                # The record is there by then, as the next process sees.
                numbers[point.what] = [1]
        return numbers

    def test_killed_at_each_write_of_the_journal(self) -> None:
        """Right before and right after it; the next process goes on."""
        deadly = self.deadly()
        noted, run_id = self.home / 'interrupted', self.create_run(HOST)
        while code := self.process(run_id, JournalWatch(noted, deadly)):
            last = killing.points(noted)[-1]
            self.assertEqual(
                (-signal.SIGKILL, True),
                (code, last.died),
                self.recovery('run', 'show', run_id).stdout,
            )
        died = collections.Counter(
            point.what for point in killing.points(noted) if point.died
        )
        # Some late ones never come: the next process sees that it is done.
        self.assertEqual(set(deadly), set(died))
        self.assertGreater(sum(died.values()), 1.5 * COUNT)
        shown = self.answer('run', 'show', run_id)
        self.assertEqual('done', shown['state'])
        self.assert_back(self.before)

    # the storage


class TestStorage(Many):
    """The storage dies."""

    count = 20

    def prepare(self) -> None:
        """Each has a volume: others would not wait for storage."""
        with futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda one: self.attach(one, 'iscsi'), self.servers))

    def test_storage_dies_in_the_middle_of_a_wave(self) -> None:
        """Not ten more servers are sent on; the others come later."""
        sent: list[int] = []
        stop = threading.Event()

        def kill() -> None:
            while self.reboots() < 6:
                if stop.wait(0.1):
                    return
            self.practice.kill('cinder-volume')
            sent.append(self.reboots())

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            ended = self.apply('--host', HOST, code=4)
        finally:
            stop.set()
            killer.join()
        self.assertIn('cinder-volume', ended.stderr)
        self.assertLess(self.reboots(), self.count)
        self.assertLessEqual(self.reboots() - sent[0], 10)
        self.practice.start('cinder-volume')
        self.done('run', 'resume', self.newest_run(), '--yes')
        self.assert_back(self.before)
