# SPDX-License-Identifier: Apache-2.0

"""The commands on single servers as they are typed."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

import fixtures

from nova_recovery import exit_codes
from nova_recovery.cli.server import (
    ListServer,
    RebootServer,
    SetServer,
    ShowServer,
)
from nova_recovery.cloud.records import Server
from nova_recovery.conf import load
from nova_recovery.exceptions import DatabaseUnavailable
from nova_recovery.procedures import reboot, set_states
from nova_recovery.procedures.set_states import Request
from nova_recovery.procedures.whereabouts import Whereabouts
from tests.unit.cli.runs import RunsTestCase
from tests.unit.cli.test_host import RecoverTestCase
from tests.unit.procedures import rows


class RecoverServerTest(RecoverTestCase):
    def test_only_the_servers_that_are_named(self) -> None:
        ended = self.dry(0, 'server', 'recover', 'at3-ui01', 'at3-ui01')
        (request,) = self.asked
        self.assertEqual(('np-rcc54',), request.hosts)
        self.assertEqual((self.found.servers[0].uuid,), request.servers)
        (row,) = json.loads(ended.stdout)
        self.assertEqual('at3-ui01', row['Server'])

    def test_a_server_on_no_host(self) -> None:
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.cloud.db.servers.find',
                lambda databases, text: rows.server(host=None),
            )
        )
        ended = self.dry(exit_codes.USAGE, 'server', 'recover', 'at3-ui02')
        self.assertIn('on no host, so not to be recovered', ended.stderr)
        self.assertEqual([], self.asked)

    def test_a_server_that_is_not_there(self) -> None:
        ended = self.dry(exit_codes.ERROR, 'server', 'recover', 'nobody')
        self.assertIn('no server nobody', ended.stderr)


class ServerTestCase(RunsTestCase):
    """One server, which every name means.

    :ivar row: its row
    """

    commands = {
        'server list': ListServer,
        'server reboot': RebootServer,
        'server set': SetServer,
        'server show': ShowServer,
    }

    def setUp(self) -> None:
        super().setUp()
        self.row: Server = rows.server()
        for name, value in (
            ('cli.base.RecoveryMixin.cloud', lambda *words: self.cloud()),
            ('cloud.db.servers.find', lambda databases, text: self.row),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(f'nova_recovery.{name}', value)
            )

    def cloud(self) -> Any:
        return mock.Mock(conf=load([str(self.conf)]))


class SetServerTest(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.asked: list[Request] = []
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.procedures.set_states.read', self.read
            )
        )

    def read(self, cloud: Any, request: Request) -> set_states.Situation:
        self.asked.append(request)
        place = Whereabouts('np-rcc54')
        return set_states.Situation(self.row, None, None, place)

    def test_what_is_set(self) -> None:
        for words, wanted in (
            (('--vm-state', 'error'), {'vm_state': 'error'}),
            (('--power-state', 'shutdown'), {'power_state': 4}),
            (('--power-state', '4'), {'power_state': 4}),
            (('--task-state', 'none'), {'clear_task': True}),
        ):
            self.ended(0, 'server', 'set', 'web', *words, '--dry-run')
            self.assertEqual(
                Request(rows.UUID, 'cell1', **wanted), self.asked[-1]
            )

    def test_words_of_2012_are_refused_before_anything_is_read(self) -> None:
        for words in (
            ('--vm-state', 'shutoff'),
            ('--power-state', '5'),
            ('--power-state', 'shutoff'),
        ):
            ended = self.ended(
                exit_codes.USAGE, 'server', 'set', 'web', *words
            )
            self.assertIn('2012', ended.stderr)
        self.assertEqual([], self.asked)

    def test_nothing_to_set(self) -> None:
        ended = self.ended(exit_codes.USAGE, 'server', 'set', 'web')
        self.assertIn('--vm-state, --power-state or', ended.stderr)

    def test_a_task_cant_be_made_up(self) -> None:
        self.ended(
            exit_codes.USAGE, 'server', 'set', 'web', '--task-state', 'x'
        )

    def test_a_pair_that_nova_would_repair(self) -> None:
        ended = self.ended(
            *(exit_codes.USAGE, 'server', 'set', 'web'),
            *('--vm-state', 'active', '--power-state', '4'),
        )
        self.assertIn('with active go 1', ended.stderr)


class RebootServerTest(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.asked: list[tuple[str, ...]] = []
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.procedures.reboot.read', self.read
            )
        )

    def read(
        self, cloud: Any, uuids: tuple[str, ...], not_running: Any
    ) -> reboot.Situation:
        self.asked.append(uuids)
        return reboot.Situation(
            (self.row,),
            {'np-rcc54': 'up'},
            {},
            {'nova': '2.103'},
            {},
            places={self.row.uuid: Whereabouts('np-rcc54')},
        )

    def test_a_server_that_is_named_twice_is_rebooted_once(self) -> None:
        ended = self.ended(
            0, 'server', 'reboot', 'web', 'i-000015b9', '--dry-run'
        )
        self.assertEqual([(rows.UUID,)], self.asked)
        self.assertIn('reboot 1 server, each exactly once', ended.stderr)

    def test_the_host_must_be_up(self) -> None:
        self.row = rows.server(host='np-rcc4')
        ended = self.ended(
            exit_codes.REFUSED, 'server', 'reboot', 'web', '--yes'
        )
        self.assertIn('nova has no such host', ended.stderr)


class ListServerTest(ServerTestCase):
    def listed(self, unknown: dict[str, Any]) -> Any:
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.procedures.show_servers.of_host',
                lambda cloud, host: (('Name',), [(host,)], unknown),
            )
        )
        return self.run_program(
            'server', 'list', '--host', 'np-rcc54', '-f', 'json'
        )

    def test_the_servers_of_a_host(self) -> None:
        ended = self.listed({})
        self.assertEqual(0, ended.code)
        self.assertEqual([{'Name': 'np-rcc54'}], json.loads(ended.stdout))

    def test_a_cell_that_does_not_answer_is_told(self) -> None:
        error = DatabaseUnavailable('cell2', 'no route to host')
        ended = self.listed({'cell2': error})
        self.assertNotEqual(0, ended.code)
        self.assertIn('no route to host', ended.stderr)
        self.assertEqual([{'Name': 'np-rcc54'}], json.loads(ended.stdout))

    def test_without_a_host_those_are_told_that_are_silent(self) -> None:
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.procedures.show_servers.silent_hosts',
                lambda cloud: ['  np-rcc54  down  (cell1)'],
            )
        )
        ended = self.ended(exit_codes.USAGE, 'server', 'list')
        self.assertIn('--host\n  np-rcc54  down  (cell1)\n', ended.stderr)


class ShowServerTest(ServerTestCase):
    def test_every_column_without_its_secrets(self) -> None:
        self.row = rows.server(
            row={'uuid': rows.UUID, 'launch_index': 0, 'key': 'hunter2'}
        )
        ended = self.ended(0, 'server', 'show', 'web', '--long', '-f', 'json')
        self.assertEqual(
            {'uuid': rows.UUID, 'launch_index': 0, 'key': '***'},
            json.loads(ended.stdout),
        )
