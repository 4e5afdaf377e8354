# SPDX-License-Identifier: Apache-2.0

"""What ``disaster assess --ready`` takes, and its verdict."""

from __future__ import annotations

import argparse

from nova_recovery import readiness
from nova_recovery.cli import disaster
from nova_recovery.engine.findings import Finding
from nova_recovery.exceptions import UsageError
from tests.base import TestCase


class TestOptions(TestCase):
    def parsed(self, *words: str) -> argparse.Namespace:
        parser = argparse.ArgumentParser()
        parser.add_argument('--monitoring', action='store_true')
        parser.add_argument('--hosts', nargs='?', const='', action='append')
        disaster.add_ready(parser)
        return parser.parse_args(words)

    def test_what_means_nothing_is_refused(self) -> None:
        for words in (
            ('--local',),
            ('--purge',),
            ('--yes',),
            ('--dry-run',),
            ('--ready', '--yes'),
            ('--ready', '--purge', '--monitoring'),
            ('--ready', '--plan-file', 'x'),
            ('--ready', '--override', 'a=b'),
            ('--ready', '--hosts', 'np-rcc4.snapshot'),
        ):
            self.assertRaises(
                UsageError, disaster.check_ready, self.parsed(*words)
            )

    def test_what_means_something(self) -> None:
        for words in (
            (),
            ('--ready',),
            ('--ready', '--local'),
            ('--ready', '--purge', '--yes'),
            ('--ready', '--hosts'),
            ('--hosts',),
        ):
            disaster.check_ready(self.parsed(*words))


class TestSummary(TestCase):
    def said(self, *states: str) -> tuple[str, ...]:
        return readiness.told(
            Finding('a', state, 'b', '') for state in states
        ).summary

    def test_ready(self) -> None:
        self.assertEqual(('Ready.',), self.said(readiness.GO, readiness.GO))

    def test_not_ready(self) -> None:
        self.assertEqual(
            ('Not ready: 2 no-go, 1 unknown, 1 that wait for these.',),
            self.said(
                readiness.GO,
                readiness.NO_GO,
                readiness.UNKNOWN,
                readiness.NO_GO,
                readiness.WAITS,
            ),
        )
