# SPDX-License-Identifier: Apache-2.0

"""The clocks of ``config check``."""

from __future__ import annotations

import datetime
from email import utils
from typing import Any
from unittest import mock

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
