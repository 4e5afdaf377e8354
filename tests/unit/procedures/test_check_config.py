# SPDX-License-Identifier: Apache-2.0

"""What ``config check`` tells."""

from __future__ import annotations

import datetime
from email import utils
import pathlib
import threading
from typing import Any
from unittest import mock

import fixtures

from nova_recovery.cloud.bus import Bus
from nova_recovery.cloud.settings import BusSettings
from nova_recovery.engine.findings import Assessment, Finding
from nova_recovery.exceptions import ApiUnavailable
from nova_recovery.procedures import check_config as check
from nova_recovery.procedures import check_places
from nova_recovery.readiness import bus as readiness_bus
from tests.base import TestCase


def site(**more: Any) -> Any:
    """A site that is logged in to, whose APIs all answer."""
    made = mock.Mock(**more)
    connection = made.apis.return_value.connection
    connection.session.get.return_value = mock.Mock(headers={})
    return made


class TestApis(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.readiness.clocks.endpoint',
                lambda connection, kind: f'http://api/{kind}',
            )
        )

    def found(self, one: Any, kind: str) -> Finding:
        (found,) = check.apis(one)[f'{kind} API']()
        return found

    def test_each_of_the_catalogue_is_asked(self) -> None:
        for kind in ('compute', 'block-storage', 'network', 'placement'):
            found = self.found(site(), kind)
            self.assertEqual(
                (check.OK, f'http://api/{kind}', None),
                (found.severity, found.cause, found.more['offset']),
            )

    def test_its_clock_is_in_its_answer(self) -> None:
        ahead = datetime.datetime.now(
            datetime.timezone.utc
        ) + datetime.timedelta(hours=1)
        one = site()
        one.apis.return_value.connection.session.get.return_value = mock.Mock(
            headers={'Date': utils.format_datetime(ahead, True)}
        )
        offset = self.found(one, 'compute').more['offset']
        self.assertLess(abs(offset - 3600), 2)

    def test_what_does_not_answer_tells_what_to_start(self) -> None:
        one = site()
        one.cloud.placement.ping.side_effect = ApiUnavailable(
            'placement: to mysql://u:hunter2@h'
        )
        found = self.found(one, 'placement')
        self.assertEqual(check.UNKNOWN, found.severity)
        self.assertNotIn('hunter2', found.cause)
        self.assertIn('systemctl restart placement-api', found.fix)

    def test_an_api_that_the_catalogue_lacks(self) -> None:
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.readiness.clocks.endpoint',
                lambda connection, kind: '',
            )
        )
        one = site()
        found = self.found(one, 'network')
        self.assertEqual(check.WRONG, found.severity)
        self.assertEqual('openstack catalog list', found.fix)
        one.cloud.databases.cinder = None
        self.assertEqual(
            check.UNUSED, self.found(one, 'block-storage').severity
        )

    def test_one_that_hangs_holds_up_nothing(self) -> None:
        released = threading.Event()
        self.addCleanup(released.set)

        def hangs() -> list[Finding]:
            released.wait(60)
            return []

        asks = {'slow': hangs, 'q': lambda: [check.seen('q', check.OK, '')]}
        found = list(check.asked_all(asks, 0.5))
        self.assertEqual(['slow', 'q'], [one.subject for one in found])
        self.assertEqual(check.UNKNOWN, found[0].severity)
        self.assertIn('0.5 s', found[0].cause)


class TestBus(TestCase):
    """By real connections: to nothing, and to what is no RabbitMQ."""

    def found(self, url: str) -> Finding:
        bus = Bus('nova', BusSettings(url=url))
        said = readiness_bus.members({'nova': bus})['nova']
        return check._bus('nova', bus, said)

    def test_one_that_is_down(self) -> None:
        found = self.found('rabbit://u:hunter2@127.0.0.1:1/')
        self.assertEqual(check.WRONG, found.severity)
        self.assertIn('it is down', found.cause)
        self.assertIn('systemctl start rabbitmq-server', found.fix)
        self.assertNotIn('hunter2', found.cause + found.fix)

    def test_a_url_that_can_not_be_used(self) -> None:
        for url in ('rabbit://', 'rabbit://u:a/b@h/', 'rabbit://h:99999/'):
            found = self.found(url)
            self.assertEqual(check.WRONG, found.severity, url)

    def test_what_is_none_of_rabbitmq_is_not_looked_at(self) -> None:
        for url in ('', 'none:///', 'kafka://h/'):
            self.assertEqual(check.UNUSED, self.found(url).severity, url)


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
        return check_places._journal(url)

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
        path.touch(0o600)
        self.assertEqual(check.OK, self.journal(url).severity)
        path.chmod(0o644)
        self.assertEqual(f'chmod 0600 {path}', self.journal(url).fix)
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
