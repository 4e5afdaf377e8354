# SPDX-License-Identifier: Apache-2.0

"""The clocks of ``config check``."""

from __future__ import annotations

import datetime
from email import utils
import pathlib
from typing import Any
from unittest import mock

import fixtures
from keystoneauth1 import exceptions as ksa_exceptions

from nova_recovery.engine.findings import Assessment, Finding
from nova_recovery.procedures import check_config as check
from tests.base import TestCase


def connection(headers: dict[str, str]) -> Any:
    """An openstacksdk connection whose compute API answers with headers."""
    made = mock.Mock()
    made.compute.get_endpoint.return_value = 'http://api:8774/v2.1'
    made.session.get.return_value = mock.Mock(headers=headers)
    return made


class TestComputeApi(TestCase):
    def test_its_clock_is_in_its_answer(self) -> None:
        ahead = datetime.datetime.now(
            datetime.timezone.utc
        ) + datetime.timedelta(hours=1)
        found = check.compute_api(
            lambda: connection({'Date': utils.format_datetime(ahead, True)}),
            10,
        )
        self.assertEqual(check.OK, found.severity)
        self.assertEqual('http://api:8774/v2.1', found.cause)
        self.assertLess(abs(found.more['offset'] - 3600), 2)

    def test_an_answer_without_a_time(self) -> None:
        found = check.compute_api(lambda: connection({}), 10)
        self.assertEqual(
            (check.OK, None), (found.severity, found.more['offset'])
        )

    def test_keystone_is_down(self) -> None:
        def connect() -> Any:
            raise ksa_exceptions.ConnectFailure('to mysql://u:hunter2@h')

        found = check.compute_api(connect, 10)
        self.assertEqual(check.UNKNOWN, found.severity)
        self.assertNotIn('hunter2', found.cause)


class TestSummary(TestCase):
    def finding(self, state: str, offset: float | None = None) -> Finding:
        return check.seen('x', state, '', offset=offset)

    def worst(self, some: list[Finding]) -> str:
        return Assessment(None, tuple(some), check.COLUMNS).worst

    def test_what_is_wrong_comes_before_what_is_unknown(self) -> None:
        ok, wrong = self.finding(check.OK), self.finding(check.WRONG)
        unknown, unused = (
            self.finding(check.UNKNOWN),
            self.finding(check.UNUSED),
        )
        self.assertEqual(check.WRONG, self.worst([ok, unknown, wrong]))
        self.assertEqual(check.UNKNOWN, self.worst([ok, unknown, unused]))
        self.assertEqual(check.UNUSED, self.worst([ok, unused]))

    def test_how_far_clocks_are_apart(self) -> None:
        self.assertEqual(
            65,
            check.clocks_apart(
                [
                    self.finding(check.OK, -5),
                    self.finding(check.UNKNOWN),
                    self.finding(check.OK, 60),
                ]
            ),
        )
        self.assertEqual(0, check.clocks_apart([self.finding(check.UNKNOWN)]))


class TestKept(TestCase):
    """Where the journal is, by its URL."""

    def journal(self, url: str) -> Finding:
        return check._journal(url)

    def test_what_can_not_hold_one_is_wrong(self) -> None:
        for url, words in (
            ('postgresql://u:p@db/j', 'SQLite or MySQL'),
            ('sqlite://', 'in memory'),
            ('sqlite:///:memory:', 'in memory'),
            ('nonsense', 'not a database URL'),
        ):
            found = self.journal(url)
            self.assertEqual(check.WRONG, found.severity, url)
            self.assertIn(words, found.cause)

    def test_one_of_another_account(self) -> None:
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        path = folder / 'journal.sqlite'
        url = f'sqlite:///{path}'
        self.assertEqual(check.OK, self.journal(url).severity)
        path.touch()
        self.assertEqual(check.OK, self.journal(url).severity)
        with mock.patch('os.geteuid', return_value=4711):
            found = self.journal(url)
        self.assertEqual(check.WRONG, found.severity)
        self.assertIn('belongs to', found.cause)

    def test_an_account_without_a_name_that_may_not_look(self) -> None:
        with (
            mock.patch('os.geteuid', return_value=4711),
            mock.patch('os.access', return_value=False),
            mock.patch('os.path.exists', lambda path: str(path) == '/'),
        ):
            found = self.journal('sqlite:////var/lib/r/journal.sqlite')
        self.assertEqual(check.WRONG, found.severity)
        self.assertIn('uid 4711 may not write in /', found.cause)
