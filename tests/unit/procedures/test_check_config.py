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
from keystoneauth1 import exceptions as ksa
import novaclient.exceptions

from nova_recovery import conf
from nova_recovery.cloud.bus import Bus
from nova_recovery.cloud.db import databases
from nova_recovery.cloud.db.cells import Cell
from nova_recovery.cloud.db.database import Database
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
        error = ApiUnavailable('placement: to mysql://u:hunter2@h')
        error.__cause__ = ksa.ConnectFailure('http://c1:8778: refused')
        one.cloud.placement.ping.side_effect = error
        found = self.found(one, 'placement')
        self.assertEqual(check.UNKNOWN, found.severity)
        self.assertNotIn('hunter2', found.cause)
        self.assertIn('systemctl restart placement-api', found.fix)

    def test_a_keystone_that_is_down_is_mended_at_keystone_only(self) -> None:
        error = ApiUnavailable('keystone: nothing listens at http://c1:5000')
        error.__cause__ = ksa.ConnectFailure('http://c1:5000: refused')
        one = site()
        one.apis.side_effect = error
        fixes = {kind: self.found(one, kind).fix for kind in check.APIS}
        self.assertIn('systemctl restart apache2', fixes.pop('identity'))
        self.assertEqual({''}, set(fixes.values()))

    def test_who_is_no_administrator_restarts_nothing(self) -> None:
        error = ApiUnavailable("nova: Policy doesn't allow it")
        error.__cause__ = novaclient.exceptions.Forbidden(403, 'Policy')
        one = site()
        one.cloud.compute.ping.side_effect = error
        found = self.found(one, 'compute')
        self.assertIn('not an administrator', found.cause)
        self.assertEqual('', found.fix)

    def test_only_what_is_down_or_broken_is_restarted(self) -> None:
        for cause, restarted in (
            (novaclient.exceptions.ClientException(503, 'x'), True),
            (novaclient.exceptions.BadRequest(400, 'x'), False),
            (ksa.ConnectTimeout('http://c1:8774 timed out'), True),
            (ksa.ConnectFailure('https://c1:8774: certificate'), False),
            (None, False),
        ):
            error = ApiUnavailable('nova: x')
            error.__cause__ = cause
            one = site()
            one.cloud.compute.ping.side_effect = error
            fix = self.found(one, 'compute').fix
            self.assertEqual(restarted, 'restart nova-api' in fix, cause)

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


class TestDatabases(TestCase):
    """nova.conf and cinder.conf with databases that nobody asks here."""

    def setUp(self) -> None:
        super().setUp()
        self.released = threading.Event()
        self.addCleanup(self.released.set)
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        for name, text in (
            (
                'nova',
                '[api_database]\nconnection = mysql://n:s@api/nova_api\n',
            ),
            ('cinder', '[database]\nconnection = mysql://c:s@cinder/c\n'),
            ('ours', ''),
        ):
            (folder / name).write_text(text)
        self.conf = conf.load(files=[str(folder / 'ours')])
        self.conf.set_override('nova_config_file', [str(folder / 'nova')])
        self.conf.set_override('cinder_config_file', [str(folder / 'cinder')])
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.cloud.db.databases.find_cells',
                lambda *unused: [
                    Cell('1', 'cell1', 'mysql://n:s@one/nova'),
                    Cell('2', 'cell2', 'mysql://n:s@two/nova'),
                ],
            )
        )
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.procedures.check_config.EACH', 0.5
            )
        )

    def found(self, hanging: str) -> dict[str, str]:
        """What -> its state, if a database hangs after the login."""

        def asked(what: str, database: Database, writes: Any) -> Finding:
            if what == hanging:
                self.released.wait(60)
            return check.seen(what, check.OK, '')

        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.procedures.check_config.asked', asked
            )
        )
        rows = check.asked_all(check.databases(self.conf), 1.0)
        return {row.subject: row.severity for row in rows}

    def test_one_that_hangs_takes_no_other_along(self) -> None:
        everything = (
            'API database',
            'cell cell1',
            'cell cell2',
            'cinder database',
        )
        for hanging in everything:
            states = self.found(hanging)
            self.assertEqual(
                {
                    what: check.UNKNOWN if what == hanging else check.OK
                    for what in everything
                },
                {what: states[what] for what in everything},
            )

    def test_one_answer_is_waited_for_less_than_all_of_it(self) -> None:
        made = databases.opened(
            self.conf, 'API', 'mysql://n:s@api/a', answer=check.ANSWER
        )
        self.assertEqual(check.ANSWER, made._read_timeout)
        self.assertLess(
            made._connect_timeout + check.ANSWER, check.PATIENCE / 2
        )


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


class TestHosts(TestCase):
    def test_an_inventory_that_waits_is_ended_in_time(self) -> None:
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        for name in ('ansible-playbook', 'ansible-inventory'):
            (folder / name).write_text('#!/bin/sh\nexec sleep 60\n')
            (folder / name).chmod(0o755)
        (folder / 'hosts').touch()
        ours = conf.load(files=[])
        for name, value in (
            ('driver', 'ansible'),
            ('inventory', [str(folder / 'hosts')]),
            ('ansible_playbook', str(folder / 'ansible-playbook')),
        ):
            ours.set_override(name, value, 'fleet')
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.procedures.check_config.EACH', 0.1
            )
        )
        (row,) = check.hosts(ours)
        self.assertEqual(check.WRONG, row.severity)
        self.assertIn('did not end within 0.2 s', row.cause)


class TestPasswords(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.conf = conf.load(files=[])

    def file(self, name: str, mode: int) -> str:
        path = self.folder / name
        path.touch()
        path.chmod(mode)
        return str(path)

    def found(self, what: str) -> Finding:
        (row,) = (
            one
            for one in check_places.passwords(self.conf)
            if one.subject == what
        )
        return row

    def test_a_program_that_prints_a_password_has_none(self) -> None:
        program = self.file('vault', 0o755)
        self.conf.set_override('vault_password_file', program, 'fleet')
        self.assertEqual(check.OK, self.found('[fleet]').severity)
        secret = self.file('become', 0o644)
        self.conf.set_override('become_password_file', secret, 'fleet')
        self.assertEqual(f'chmod o-rwx {secret}', self.found('[fleet]').fix)

    def test_a_clouds_yaml_that_the_environment_names(self) -> None:
        path = self.file('mine.yaml', 0o644)
        self.useFixture(
            fixtures.EnvironmentVariable('OS_CLIENT_CONFIG_FILE', path)
        )
        self.assertIn(path, self.found('clouds.yaml').fix)


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
