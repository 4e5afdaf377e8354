# SPDX-License-Identifier: Apache-2.0

"""Nothing is carried out unless somebody agreed to exactly that."""

from __future__ import annotations

import argparse
import io
import sys

from nova_recovery.cli import approval
from nova_recovery.cli.approval import Asker
from nova_recovery.exceptions import Refused
from tests.base import TestCase
from tests.unit.cli.test_terminal import Terminal

DIGEST = '7f3c' + '0123456789ab' * 5


def parse(*words: str) -> argparse.Namespace:
    """What a command line with these words says."""
    parser = argparse.ArgumentParser()
    approval.add_plan_options(parser)
    return parser.parse_args(words)


class ConfirmTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.seen = ''

    def confirm(
        self, typed: str, total: int, *words: str, name: str = ''
    ) -> None:
        """Confirm at a pseudo-terminal at which this is typed."""
        question = 'on it: ' if name else 'carry it out: '
        with Terminal(question, typed, '\n') as terminal:
            asker = Asker(sys.stdin, sys.stderr)
            try:
                approval.confirm(asker, parse(*words), total, DIGEST, name)
            finally:
                self.seen = terminal.text()

    def test_yes_is_typed(self) -> None:
        self.confirm('yes\n', 100)
        self.assertIn('Type "yes" to carry it out: ', self.seen)

    def test_anything_else_is_a_no(self) -> None:
        for typed in ('no\n', '\n', 'YES!\n', '100\n', '\x04'):
            error = self.assertRaises(Refused, self.confirm, typed, 100)
            self.assertEqual('Not confirmed. Nothing was changed.', str(error))

    def test_a_bad_day_for_one_server_wants_its_name(self) -> None:
        self.confirm('canary\n', 6, name='canary')
        self.assertIn('Type canary to carry it out on it: ', self.seen)
        for typed in ('at3-ui02\n', 'no\n'):
            self.assertRaises(Refused, self.confirm, typed, 6, name='canary')

    def test_a_large_plan_wants_its_number_typed(self) -> None:
        self.confirm('101\n', 101)
        self.assertIn('Type the number of its items', self.seen)
        self.assertRaises(Refused, self.confirm, 'yes\n', 101)
        self.assertRaises(Refused, self.confirm, '100\n', 101)

    def test_yes_option_isnt_enough_for_a_large_plan(self) -> None:
        self.confirm('101\n', 101, '--yes')
        self.assertRaises(Refused, self.confirm, 'yes\n', 101, '--yes')


class NoTerminalTest(TestCase):
    def confirm(self, total: int, *words: str) -> None:
        asker = Asker(io.StringIO('yes\n'), io.StringIO())
        approval.confirm(asker, parse(*words), total, DIGEST)

    def refused(self, total: int, *words: str) -> str:
        error = self.assertRaises(Refused, self.confirm, total, *words)
        return str(error)

    def test_yes_option_is_for_a_hundred_items(self) -> None:
        self.confirm(100, '--yes')
        self.assertIn(
            '--yes is for at most 100 items, and these are 101; to carry out '
            f'what was shown, give --approve {DIGEST[:16]}. Nothing',
            self.refused(101, '--yes'),
        )

    def test_digest_of_the_plan_or_its_beginning(self) -> None:
        self.confirm(20000, '--approve', DIGEST)
        self.confirm(20000, '--approve', DIGEST[:16].upper())

    def test_digest_of_another_plan(self) -> None:
        self.assertIn(
            f'the plan as it is now has the digest {DIGEST}',
            self.refused(1, '--approve', DIGEST[:15] + '00'),
        )

    def test_a_yes_in_a_pipe_is_no_yes(self) -> None:
        self.assertIn('There is no terminal to ask', self.refused(1))
        self.assertIn(' or --yes.', self.refused(100))
        self.assertNotIn('--yes', self.refused(101))


class OptionsTest(TestCase):
    def wrong(self, *words: str) -> None:
        end = self.assertRaises(SystemExit, parse, *words)
        self.assertEqual(2, end.code)

    def test_a_digest_has_sixteen_digits_at_least(self) -> None:
        self.wrong('--approve', DIGEST[:8])
        self.wrong('--approve', DIGEST[:15])
        self.wrong('--approve', 'yes, please')
        self.wrong('--approve', DIGEST + '0')

    def test_either_a_digest_or_yes(self) -> None:
        self.wrong('--yes', '--approve', DIGEST)
