# SPDX-License-Identifier: Apache-2.0

"""Which item may start when."""

from __future__ import annotations

import threading
import time
from unittest import mock

from nova_recovery import exceptions
from nova_recovery.engine import schedule
from nova_recovery.engine.plan import Item
from nova_recovery.engine.schedule import Schedule
from tests.base import TestCase


def item(name: str, subject: str, *follows: str, **data: str) -> Item:
    return Item(name, 'set', subject, subject, data, follows)


class TestWaits(TestCase):
    ITEMS = (
        item('0', 'host'),
        item('1', 's:1', 'host'),
        item('2', 's:2', 'host'),
        item('3', 's:1', 'host'),
        item('4', 'host'),
    )

    def test_in_order(self) -> None:
        self.assertEqual(
            [set(), {0}, {0}, {0, 1}, {0}], schedule.in_order(self.ITEMS)
        )

    def test_in_reverse(self) -> None:
        self.assertEqual(
            [{1, 2, 3, 4}, {3}, set(), set(), set()],
            schedule.in_reverse(self.ITEMS),
        )


class TestSchedule(TestCase):
    def test_two_limits_at_once_are_both_kept_and_all_is_done(self) -> None:
        items = [
            item(str(n), f's:{n}', source=f'a{n % 3}', target=f'b{n % 5}')
            for n in range(120)
        ]
        lock, busy, broken, over = threading.Lock(), {}, [], []
        limits = {'source': 3, 'target': 2}

        def work(place: int) -> None:
            with lock:
                for key, value in items[place].data.items():
                    busy[value] = busy.get(value, 0) + 1
                    if busy[value] > limits[key]:
                        broken.append(value)
            time.sleep(0.001)
            with lock:
                for value in items[place].data.values():
                    busy[value] -= 1
                over.append(place)

        complete = Schedule(
            items, schedule.in_order(items), lambda: False, limits
        ).run(work, 16, lambda: None)
        self.assertTrue(complete)
        self.assertEqual([], broken)
        self.assertEqual(list(range(120)), sorted(over))

    def test_so_many_at_a_time_and_those_that_only_look(self) -> None:
        items = [
            item(f'{n}', f's:{n}', looks='y' * (n % 2)) for n in range(40)
        ]
        lock, busy, most = threading.Lock(), [0, 0], [0, 0]

        def work(place: int) -> None:
            kind = place % 2
            with lock:
                busy[kind] += 1
                most[kind] = max(most[kind], busy[kind])
            time.sleep(0.005)
            with lock:
                busy[kind] -= 1

        one = Schedule(
            items,
            schedule.in_order(items),
            lambda: False,
            at_a_time=2,
            looks=lambda item: bool(item.data['looks']),
        )
        self.assertTrue(one.run(work, 16, lambda: None))
        self.assertEqual(2, most[0])
        self.assertGreater(most[1], 2)

    def test_those_that_watch_hold_up_no_worker(self) -> None:
        """All are watched at once, and the others go on meanwhile."""
        items = [
            item(f'{n}', f's:{n}', watches='y' * (n % 2)) for n in range(40)
        ]
        acted, watching = threading.Semaphore(0), threading.Barrier(20)

        def work(place: int) -> None:
            if not place % 2:
                acted.release()
                return
            watching.wait(30)
            # the other kind is over although none of these is
            for _ in range(20):
                self.assertTrue(acted.acquire(timeout=30))
                acted.release()

        one = Schedule(
            items,
            schedule.in_order(items),
            lambda: False,
            watches=lambda item: bool(item.data['watches']),
        )
        self.assertTrue(one.run(work, 1, lambda: None))

    def test_one_that_is_watched_waits_for_what_comes_before_it(self) -> None:
        items = [item(f'{n}', f's:{n // 2}') for n in range(60)]
        over: list[int] = []

        def work(place: int) -> None:
            over.append(place)

        one = Schedule(
            items,
            schedule.in_order(items),
            lambda: False,
            watches=lambda item: bool(int(item.id) % 2),
        )
        self.assertTrue(one.run(work, 4, lambda: None))
        self.assertEqual(list(range(60)), sorted(over))
        for place in range(0, 60, 2):
            self.assertLess(over.index(place), over.index(place + 1))

    def test_an_error_ends_it_once_the_others_are_over(self) -> None:
        items = [item(str(n), f's:{n}') for n in range(50)]
        begun, over = [], []

        def work(place: int) -> None:
            begun.append(place)
            if place == 3:
                raise exceptions.ClaimLost('gone')
            time.sleep(0.01)
            over.append(place)

        one = Schedule(items, schedule.in_order(items), lambda: False)
        self.assertRaises(exceptions.ClaimLost, one.run, work, 4, lambda: None)
        self.assertEqual(set(begun) - {3}, set(over))
        self.assertLess(len(begun), 12)

    def test_an_error_beside_them_leaves_nobody_at_work(self) -> None:
        items = [item(str(n), f's:{n}') for n in range(99)]
        begun, over = threading.Event(), []

        def work(place: int) -> None:
            begun.set()
            time.sleep(0.05)
            over.append(place)

        def meanwhile() -> None:
            begun.wait(10)
            raise OSError('the terminal is gone')

        one = Schedule(items, schedule.in_order(items), lambda: False)
        self.assertRaises(OSError, one.run, work, 2, meanwhile)
        done = list(over)
        self.assertLess(len(done), 99)
        self.assertEqual([], [
            thread.name for thread in threading.enumerate()
            if thread.name.startswith('worker-')
        ])  # fmt: skip

    def test_a_thread_that_cannot_be_started_leaves_nobody_at_work(
        self,
    ) -> None:
        """A unit or a container may have so many tasks, and no more."""
        items = [item(str(n), f's:{n}') for n in range(99)]
        really, begun = threading.Thread.start, []

        def start(thread: threading.Thread) -> None:
            if len(begun) == 3:
                raise RuntimeError("can't start new thread")
            begun.append(thread)
            really(thread)

        one = Schedule(items, schedule.in_order(items), lambda: False)
        with mock.patch.object(threading.Thread, 'start', start):
            self.assertRaises(
                RuntimeError,
                one.run, lambda place: time.sleep(0.01), 9, lambda: None,
            )  # fmt: skip
        self.assertEqual([False] * 3, [thread.is_alive() for thread in begun])

    def test_nothing_to_do_is_done_at_once(self) -> None:
        one = Schedule([], [], lambda: False)
        self.assertTrue(one.run(self.fail, 4, lambda: None))
