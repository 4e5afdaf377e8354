# SPDX-License-Identifier: Apache-2.0

"""Which backups count, and on which one the next may build."""

from __future__ import annotations

import datetime
from typing import Any

from nova_recovery.cloud.db import backups
from nova_recovery.cloud.db.backups import Backup, Volume
from tests.base import TestCase

NOW = datetime.datetime(2026, 5, 4, 12)
WEEK = 7 * 86400


def backup(name: str, days: float, **given: Any) -> Backup:
    """One of project ours, so many days old."""
    return Backup(
        **{
            'id': name,
            'volume': 'v',
            'project': 'ours',
            'status': 'available',
            'parent': None,
            'taken': NOW - datetime.timedelta(days=days),
            'size': 10,
            **given,
        }
    )


def judge(*found: Backup) -> tuple[str | None, str]:
    """Id of the newest good one, and why that is not enough."""
    told = backups.judge(found, NOW, WEEK)
    return told.newest.id if told.newest else None, told.why


class TestJudge(TestCase):
    def test_none(self) -> None:
        self.assertEqual((None, 'no backup'), judge())

    def test_age_is_of_the_data(self) -> None:
        self.assertEqual(('a', ''), judge(backup('a', 7)))
        self.assertEqual(('a', 'older than 7d'), judge(backup('a', 7.1)))

    def test_what_can_not_be_restored_does_not_count(self) -> None:
        for status in ('creating', 'error', 'deleting', 'error_deleting'):
            self.assertEqual(
                ('old', f'older than 7d; backup new is {status}: full'),
                judge(
                    backup('old', 9), backup('new', 1, status=status,
                                             reason='full'),
                ),
            )  # fmt: skip
        self.assertEqual(('a', ''), judge(backup('a', 1, status='restoring')))

    def test_the_newest_of_several_tells(self) -> None:
        found = [backup('a', 3, status='error'), backup('b', 2)]
        self.assertEqual(('b', ''), judge(*found))
        found.append(backup('c', 1, status='error'))
        self.assertEqual(('b', ''), judge(*found))

    def test_a_chain_is_as_good_as_its_worst(self) -> None:
        first = backup('first', 6)
        second = backup('second', 4, parent='first')
        third = backup('third', 2, parent='second')
        self.assertEqual(('third', ''), judge(first, second, third))
        # in whatever order they come
        self.assertEqual(('third', ''), judge(third, first, second))
        self.assertEqual(
            (None, 'backup third is incremental, and first is gone'),
            judge(second, third),
        )
        broken = backup('second', 4, parent='first', status='error')
        self.assertEqual(('first', ''), judge(first, broken, third))

    def test_a_circle_is_no_chain(self) -> None:
        told = judge(backup('a', 1, parent='b'), backup('b', 2, parent='a'))
        self.assertIsNone(told[0])


class TestBase(TestCase):
    """cinder takes the newest available one of the caller's project."""

    def base_of(self, *found: Backup, size: int = 10) -> Any:
        volume = Volume('v', 'data', 'theirs', 'available', size, 'b')
        return backups.base(volume, found, 'ours')

    def test_the_newest_of_ours(self) -> None:
        found = [
            backup('old', 20),
            backup('newest', 10, parent='old'),
            backup('theirs', 1, project='theirs'),
            backup('failed', 2, status='error'),
        ]
        self.assertEqual(('newest', ''), self.base_of(*found))

    def test_none(self) -> None:
        for found in ([], [backup('theirs', 1, project='theirs')]):
            self.assertEqual(
                (None, 'your project has none to build on'),
                self.base_of(*found),
            )

    def test_never_on_what_is_broken_below(self) -> None:
        """It would become the parent all the same."""
        told = self.base_of(backup('old', 20), backup('new', 1, parent='gone'))
        self.assertIsNone(told[0])
        self.assertIn('gone is gone', told[1])

    def test_not_when_the_volume_grew(self) -> None:
        told = self.base_of(backup('a', 1), size=20)
        self.assertEqual((None, 'the volume was extended since a'), told)


class TestDuration(TestCase):
    def test_two_units(self) -> None:
        for seconds, text in (
            (0, '0m'),
            (59, '0m'),
            (3600, '1h'),
            (WEEK, '7d'),
            (WEEK + 3 * 3600 + 59, '7d 3h'),
            (WEEK + 59 * 60, '7d'),
            (19 * 3600 + 660, '19h 11m'),
        ):
            self.assertEqual(text, backups.duration(seconds))
