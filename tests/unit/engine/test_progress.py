# SPDX-License-Identifier: Apache-2.0

"""What an operator sees of a run while it goes on."""

from __future__ import annotations

import io
import re
from unittest import mock

from nova_recovery.engine import progress
from nova_recovery.engine.progress import PlainReporter, RichReporter
from nova_recovery.engine.records import Outcome
from tests.base import TestCase
from tests.unit.engine import world

OUTCOME = Outcome('7f3c0000', 'done', {'done': 3}, 0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(5, 'Input/output error')


class TestPlain(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.output = io.StringIO()
        self.reporter = PlainReporter(self.output)

    def go(self, count: int) -> None:
        items = [world.set_item(f's:{n}') for n in range(count)]
        plan = world.plan_of(items)
        self.reporter.run_started(plan, count)
        self.reporter.step_started(plan.steps[0], count)
        self.reporter.item_changed(items[0], 'failed', 'no [such] host')
        for item in items[1:]:
            self.reporter.item_changed(item, 'done', 'set')
        self.reporter.finished(OUTCOME)

    def test_a_small_run_is_told_item_by_item(self) -> None:
        self.go(3)
        self.assertEqual(
            [
                'Step 0: 3 to do',
                '  failed    s:0  set: no [such] host',
                '  done      s:1  set: set',
                '  done      s:2  set: set',
                '3 of 3 over',
            ],
            self.output.getvalue().splitlines(),
        )

    def test_what_is_waited_for_is_named(self) -> None:
        items = [world.set_item(f's:{n}') for n in range(8)]
        plan = world.plan_of(items)
        self.reporter.run_started(plan, 8)
        self.reporter.step_started(plan.steps[0], 8)
        for item in items:
            self.reporter.text(item, 'it is rebooting_hard')
        self.reporter.item_changed(items[0], 'done', '')
        with mock.patch.object(progress, 'INTERVAL', 0):
            self.reporter.tick()
        said = self.output.getvalue()
        self.assertNotIn('waits     s:0', said)
        self.assertIn('  waits     s:1: it is rebooting_hard\n', said)
        self.assertIn('… and 2 more', said)

    def test_a_large_run_is_told_by_its_failures(self) -> None:
        self.go(1000)
        self.assertEqual(3, len(self.output.getvalue().splitlines()))

    def test_a_long_run_tells_its_pace_and_what_is_left(self) -> None:
        clock = mock.patch.object(
            progress.time, 'monotonic', side_effect=range(0, 100_000, 2)
        )
        with clock:
            self.go(1000)
        lines = [
            line
            for line in self.output.getvalue().splitlines()
            if ' left' in line
        ]
        self.assertTrue(lines)
        self.assertTrue(
            re.fullmatch(
                r'Step 0: \d+ of 1,000, [\d.]+ a second, \d+ min left',
                lines[0],
            ),
            lines[0],
        )


class TestRich(TestCase):
    def test_failures_stand_above_the_bar_as_they_are_written(self) -> None:
        output = Terminal()
        reporter = RichReporter(output)
        items = [world.set_item(f's:{n}') for n in range(200)]
        plan = world.plan_of(items)
        reporter.run_started(plan, 200)
        reporter.step_started(plan.steps[0], 200)
        reporter.text(items[0], 'spawning [1/2]')
        reporter.item_changed(items[0], 'failed', 'no [such] host')
        reporter.item_changed(items[1], 'done', '')
        reporter.notice('SIGINT [now]')
        reporter.finished(OUTCOME)
        text = output.getvalue()
        self.assertIn('failed    s:0  set: no [such] host', text)
        self.assertIn('SIGINT [now]', text)
        self.assertIn('2/200', text)
        self.assertNotIn('s:1  set', text)


class TestNames(TestCase):
    def test_a_name_moves_no_cursor(self) -> None:
        for kind in (PlainReporter, RichReporter):
            output = io.StringIO()
            kind(output).notice('paused: \x1b]0;owned\x07web; \x9bmore\nso')
            self.assertEqual(
                'paused: \\x1b]0;owned\\x07web; \\x9bmore\nso\n',
                output.getvalue(),
            )


class TestGone(TestCase):
    def test_a_terminal_that_is_gone_is_left_alone(self) -> None:
        for kind in (PlainReporter, RichReporter):
            reporter = kind(Gone())
            plan = world.plan_of([world.set_item('s:1')])
            reporter.run_started(plan, 1)
            reporter.step_started(plan.steps[0], 1)
            reporter.item_changed(plan.steps[0].items[0], 'done', '')
            reporter.tick()
            reporter.finished(OUTCOME)
