# SPDX-License-Identifier: Apache-2.0

"""Calls of many threads become few."""

from __future__ import annotations

from concurrent import futures
import threading

from nova_recovery.fleet.answer import Answer
from nova_recovery.fleet.gather import Call, Gatherer
from tests import base


def call(name: str) -> Call:
    return Call(name, name, ['identity'], 5)


class Gather(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.groups: list[list[str]] = []

    def carry(self, calls: list[Call]) -> dict[str, Answer]:
        self.groups.append([call.name for call in calls])
        return {
            call.name: Answer(call.host, 'done')
            for call in calls
            if call.name != 'silent'
        }

    def test_calls_of_a_hundred_threads_are_one(self) -> None:
        together = threading.Barrier(100)

        def work(number: int) -> str:
            together.wait()
            return gatherer.ask([call(f'c{number}')])[0].state

        with Gatherer(self.carry) as gatherer:
            with futures.ThreadPoolExecutor(100) as pool:
                self.assertEqual({'done'}, set(pool.map(work, range(100))))
        self.assertEqual([100], [len(group) for group in self.groups])

    def test_one_host_is_never_called_twice_at_a_time(self) -> None:
        with Gatherer(self.carry) as gatherer:
            gatherer.ask([call('c1'), call('c1'), call('c2')])
        self.assertEqual([['c1', 'c2'], ['c1']], self.groups)

    def test_host_of_which_nothing_came_is_in_doubt(self) -> None:
        with Gatherer(self.carry) as gatherer:
            (found,) = gatherer.ask([call('silent')])
        self.assertEqual(('doubt', 'failed'), (found.state, found.reason))

    def test_error_leaves_all_in_doubt_and_the_next_are_carried(self) -> None:
        broken = [True]

        def carry(calls: list[Call]) -> dict[str, Answer]:
            if broken.pop() if broken else False:
                raise RuntimeError('disk full')
            return self.carry(calls)

        with Gatherer(carry) as gatherer:
            (found,) = gatherer.ask([call('c1')])
            self.assertEqual('doubt', found.state)
            self.assertIn('disk full', found.detail)
            (found,) = gatherer.ask([call('c1')])
            self.assertEqual('done', found.state)

    def test_who_waits_at_the_end_is_told_that_it_was_cancelled(self) -> None:
        busy, go_on = threading.Event(), threading.Event()

        def carry(calls: list[Call]) -> dict[str, Answer]:
            busy.set()
            go_on.wait(10)
            return self.carry(calls)

        with futures.ThreadPoolExecutor(2) as pool:
            with Gatherer(carry) as gatherer:
                first = pool.submit(gatherer.ask, [call('c1')])
                busy.wait(10)
                later = pool.submit(gatherer.ask, [call('c2')])
                while not gatherer._waiting:
                    pass
                threading.Timer(0.1, go_on.set).start()
        self.assertEqual('done', first.result()[0].state)
        (found,) = later.result()
        self.assertEqual(('doubt', 'cancelled'), (found.state, found.reason))
        self.assertEqual('cancelled', gatherer.ask([call('c3')])[0].reason)
