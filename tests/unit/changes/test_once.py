# SPDX-License-Identifier: Apache-2.0

"""Requests that are sent once: whose row is whose, and when to send."""

from __future__ import annotations

import threading
from typing import Any
from unittest import mock

from nova_recovery.changes import history, once
from nova_recovery.changes.once import RebootServer, SentOnce, StartServer
from nova_recovery.engine import clock
from nova_recovery.engine.change import Observed, State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import OutcomeUnknown
from tests.base import TestCase
from tests.unit.at import at

ACTIVE = {'host': 'np-rcc54', 'vm_state': 'active', 'task_state': None}
STOPPED = {**ACTIVE, 'vm_state': 'stopped'}


def item(**data: Any) -> Item:
    return Item(
        'one', 'reboot-server', 'server:u1', 'web',
        {'uuid': 'u1', 'settle': 5, 'patience': 5, **data},
    )  # fmt: skip


class TestReady(TestCase):
    def test_not_on_another_host_than_planned(self) -> None:
        for kind, row in ((RebootServer(), ACTIVE), (StartServer(), STOPPED)):
            for key in ('host', 'target'):
                there = kind.ready(at(item(**{key: 'np-rcc54'})), row)
                self.assertIs(State.BEFORE, there.state)
                moved = kind.ready(at(item(**{key: 'np-rcc46'})), row)
                self.assertIs(State.NEITHER, moved.state)
                self.assertIn('np-rcc54', moved.detail)


class TestRow(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.rows: list[dict[str, Any]] = []
        self.patch(once, 'POLL', 0.01)
        self.patch(history, 'actions', lambda *args: list(self.rows))
        self.patch(
            SentOnce,
            'standing',
            lambda change, at, action: Observed.after(action['request_id']),
        )

    def patch(self, where: Any, name: str, answer: Any) -> None:
        patch = mock.patch.object(where, name, answer)
        patch.start()
        self.addCleanup(patch.stop)

    def add(self, request_id: str, action: str = 'reboot') -> None:
        number = len(self.rows) + 1
        self.rows.append(
            {'id': number, 'action': action, 'request_id': request_id}
        )

    def follow(self, **notes: str) -> str:
        return RebootServer().follow(
            at(item(), image={'known': ['r0']}, notes=notes)
        )

    def test_the_one_that_nova_answered_with(self) -> None:
        self.add('r0')
        self.add('of a member')
        self.add('ours')
        self.assertEqual('ours', self.follow(request_id='ours'))

    def test_else_the_first_new_one(self) -> None:
        self.add('r0')
        self.add('other', 'stop')
        self.add('r1')
        self.add('r2')
        self.assertEqual('r1', self.follow())
        self.assertEqual('r1', self.follow(request_id='of no row'))

    def test_the_id_of_one_whose_answer_was_lost_is_noted(self) -> None:
        self.add('r0')
        self.add('r1')
        where = at(item(), image={'known': ['r0']})
        RebootServer().follow(where)
        self.assertEqual({'request_id': 'r1'}, where.notes)

    def test_what_nova_answered_stays_noted(self) -> None:
        self.add('r1')
        notes = {'request_id': 'of no row'}
        where = at(item(), image={'known': []}, notes=notes)
        RebootServer().follow(where)
        self.assertEqual('of no row', where.notes['request_id'])

    def first_look(self, again: bool = False, **data: Any) -> Any:
        row = {**ACTIVE, 'power_state': 1}
        self.patch(once.cell, 'server_row', lambda *args: row)
        self.patch(history, 'newest', lambda *args: 0)
        return RebootServer().observe(at(item(**data), again=again))

    def test_not_after_a_reboot_since_the_plan(self) -> None:
        """By an older copy of the run, carried out on another machine."""
        self.add('r1')
        self.assertIs(State.BEFORE, self.first_look(mark=1).state)
        self.add('r2', 'stop')
        self.assertIs(State.BEFORE, self.first_look(mark=1).state)
        self.add('r3')
        seen = self.first_look(mark=1)
        self.assertIs(State.NEITHER, seen.state)
        self.assertIn('its reboot (r3) since this was planned', seen.detail)

    def test_but_by_the_operators_word(self) -> None:
        self.add('r1')
        seen = self.first_look(again=True, mark=0)
        self.assertIs(State.BEFORE, seen.state)

    def test_plans_of_before_have_no_mark(self) -> None:
        self.add('r1')
        self.assertIs(State.BEFORE, self.first_look().state)

    def test_it_may_come_a_little_later(self) -> None:
        late = threading.Timer(0.1, self.add, ['ours'])
        late.start()
        self.addCleanup(late.join)
        self.assertEqual('ours', self.follow(request_id='ours'))

    def test_but_is_not_waited_for_without_end(self) -> None:
        self.assertRaises(
            OutcomeUnknown,
            RebootServer().follow,
            at(item(settle=0), image={'known': []}),
        )


class TestUnsettled(TestCase):
    """How long a request without an answer may still come through."""

    def left(self, image: Any = None, **notes: Any) -> float:
        found = {'known': [], **once.STAMPED} if image is None else image
        return once.unsettled(at(item(settle=1800), image=found, notes=notes))

    def test_one_that_was_never_sent(self) -> None:
        self.assertEqual(0, self.left())

    def test_counted_from_when_it_was_sent(self) -> None:
        sent = clock.stamp()
        sent['at'] -= 1000
        self.assertAlmostEqual(800, self.left(sending=sent), delta=5)
        sent['at'] -= 1000
        self.assertEqual(0, self.left(sending=sent))

    def test_the_clock_of_another_boot_says_nothing(self) -> None:
        sent = {'boot': 'another', 'at': 0.0}
        self.assertEqual(1800, self.left(sending=sent))

    def test_what_an_earlier_version_sent_has_no_time(self) -> None:
        self.assertEqual(1800, self.left(image={'known': []}))

    def test_the_time_is_kept_before_it_is_asked_whether_it_may(self) -> None:
        order: list[str] = []
        one = at(
            item(), image={}, keep=lambda notes: order.append('kept'),
            confirm=lambda: order.append('asked'),
        )  # fmt: skip
        once.about_to_send(one)
        self.assertEqual(['kept', 'asked'], order)
