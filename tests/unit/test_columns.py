# SPDX-License-Identifier: Apache-2.0

"""No table has a command in a column where a terminal would divide it."""

from __future__ import annotations

from collections.abc import Iterator
import importlib
import pkgutil
from typing import Any

from nova_recovery import procedures, readiness
from nova_recovery.cli import tables
from nova_recovery.engine.findings import DANGER, Finding
from nova_recovery.report import wording
from tests.base import TestCase
from tests.unit.cli.test_tables import Screen

COMMAND = 'openstack recovery server reboot at3-ui02'


def all_columns() -> Iterator[tuple[str, Any]]:
    """The columns of each table of findings, by where they are."""
    for package in (procedures, readiness):
        for found in pkgutil.walk_packages(
            package.__path__, f'{package.__name__}.'
        ):
            module = importlib.import_module(found.name)
            for name, value in vars(module).items():
                if (
                    isinstance(value, tuple)
                    and value
                    and all(_is_column(one) for one in value)
                ):
                    yield f'{found.name}.{name}', value


def _is_column(one: Any) -> bool:
    return (
        isinstance(one, tuple)
        and len(one) == 2
        and isinstance(one[0], str)
        and callable(one[1])
    )


class ColumnsTest(TestCase):
    def test_what_mends_a_finding_is_shown_below_the_table(self) -> None:
        more = {'user': '', 'rights': '', 'offset': None}
        one = Finding('X', DANGER, 'server:1', 'seen', fix=COMMAND, more=more)
        having = 0
        for place, columns in all_columns():
            for header, value in columns:
                try:
                    cell = str(value(one))
                except (KeyError, TypeError, AttributeError):
                    # of something else than findings
                    continue
                if COMMAND in cell:
                    having += 1
                    self.assertIn(header, tables.COMMANDS, place)
        self.assertLessEqual(7, having)


class CommandTest(TestCase):
    def test_a_command_in_a_sentence_is_not_divided(self) -> None:
        command = '"nova-manage volume_attachment get_connector --json"'
        for width in range(40, 90):
            lines = wording.wrap(
                f'leave it out, or run {command} on host2, and say so',
                '  ',
                width,
            )
            self.assertIn(command, '\n'.join(lines))
            for line in lines:
                if command not in line:
                    self.assertLessEqual(len(line), max(width, 32))

    def test_one_at_the_end_is_not_either(self) -> None:
        command = 'nova-recovery plan apply /root/plan-of-host1.json'
        for width in range(40, 90):
            told = wording.wrap(f'Carry it out with: {command}', '', width)
            self.assertIn(command, '\n'.join(told))

    def test_prose_is_no_command(self) -> None:
        self.assertFalse(wording.is_command('mend what does not answer'))
        self.assertTrue(wording.is_command(COMMAND))


class FittedTest(TestCase):
    """What a command says, on a terminal of 80 columns."""

    def told(self, text: str) -> list[str]:
        screen = Screen(80)
        self.addCleanup(screen.stream.close)
        return wording.fitted(text, screen.stream).split('\n')

    def test_words_stay_whole(self) -> None:
        text = 'no cell answers, and so nothing is known; ' * 5
        lines = self.told(text.strip())
        self.assertLess(1, len(lines))
        for line in lines:
            self.assertLessEqual(len(line), 80)
        self.assertEqual(text.split(), ' '.join(lines).split())

    def test_commands_and_lists_stay_on_their_line(self) -> None:
        for line in (f'{COMMAND} {"--x y " * 30}'.strip(), '  a  ' + 'b' * 99):
            self.assertEqual(['see', line], self.told(f'see\n{line}'))
