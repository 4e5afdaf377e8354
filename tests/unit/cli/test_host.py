# SPDX-License-Identifier: Apache-2.0

"""``host recover`` as it is typed, with a situation made up by the test."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

import fixtures

from nova_recovery import exit_codes
from nova_recovery.cli import recovering
from nova_recovery.cli.host import RecoverHost
from nova_recovery.cli.server import RecoverServer
from nova_recovery.conf import load
from nova_recovery.exceptions import NotFound, UsageError
from nova_recovery.procedures.recover.situation import (
    Request,
    Server,
    Situation,
)
from tests.base import TestCase
from tests.unit.cli.programs import Ended
from tests.unit.cli.runs import RunsTestCase
from tests.unit.procedures.recover import scenarios

HOSTS: dict[str, Any] = {
    'np-rcc54': {'fence': 'off', 'fence_detail': 'operator: unplugged'},
    'np-rcc46': {},
}
SERVERS: dict[str, Any] = {
    'at3-ui01': {},
    'a=b': {'vm_state': 'paused', 'power_state': 3},
}


class RecoverTestCase(RunsTestCase):
    """np-rcc54 is dead and has two servers.

    :ivar found: what is read of the cloud
    :ivar asked: what was asked for when it was read
    """

    commands = {'host recover': RecoverHost, 'server recover': RecoverServer}

    def setUp(self) -> None:
        super().setUp()
        self.found = scenarios.make(['np-rcc54'], HOSTS, SERVERS)
        self.asked: list[Request] = []
        for name, value in (
            ('procedures.recover.read.read', self.read),
            ('cli.base.RecoveryMixin.cloud', lambda *words: self.cloud()),
            ('cloud.db.servers.find', self.find),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(f'nova_recovery.{name}', value)
            )

    def read(
        self, cloud: Any, request: Request, *others: Any, **more: Any
    ) -> Situation:
        self.asked.append(request)
        return self.found

    def cloud(self) -> Any:
        return mock.Mock(conf=load([str(self.conf)]))

    def find(self, databases: Any, text: str) -> Server:
        for one in self.found.servers:
            if text in (one.uuid, one.name):
                return one
        raise NotFound(f'no server {text}')

    def dry(self, code: int, *words: str) -> Ended:
        """Plan it and stop; fails if it ends with another exit code."""
        return self.ended(code, *words, '--dry-run', '-f', 'json')

    def request(self, *words: str) -> Request:
        """What is read for ``host recover`` with these options."""
        self.dry(
            exit_codes.DONE,
            *('host', 'recover', 'np-rcc54', '--fenced', 'unplugged'),
            *words,
        )
        return self.asked[-1]

    def usage(self, *words: str) -> str:
        """How it refuses these options."""
        ended = self.dry(
            exit_codes.USAGE, 'host', 'recover', 'np-rcc54', *words
        )
        self.assertEqual([], self.asked)
        return ended.stderr


class RecoverHostTest(RecoverTestCase):
    def test_what_is_planned_for_each_server(self) -> None:
        ended = self.dry(
            0, 'host', 'recover', 'np-rcc54', '--target-host', 'np-rcc46'
        )
        self.assertEqual(
            [
                ('a=b', 'move', 'np-rcc46', 'planned'),
                ('at3-ui01', 'evacuate', 'np-rcc46', 'planned'),
            ],
            [
                (row['Server'], row['Method'], row['Target'], row['Outcome'])
                for row in json.loads(ended.stdout)
            ],
        )
        self.assertIn('recover 2 servers of np-rcc54', ended.stderr)

    def test_the_request_as_it_is_by_default(self) -> None:
        self.assertEqual(
            Request(hosts=('np-rcc54',), fenced='unplugged'), self.request()
        )

    def test_every_option(self) -> None:
        connector = self.folder / 'connector.json'
        connector.write_text('{"host": "np-rcc46"}')
        first, second = (one.uuid for one in self.found.servers)
        self.assertEqual(
            Request(
                hosts=('np-rcc54',),
                method='move',
                target_host='np-rcc46',
                target_for={first: 'np-rcc46'},
                exclude=(second,),
                fenced='unplugged',
                fence=True,
                shared_storage=True,
                connectors={'np-rcc46': {'host': 'np-rcc46'}},
            ),
            self.request(
                *('--method', 'move', '--target-host', 'np-rcc46'),
                *('--target-for', 'at3-ui01=np-rcc46', '--exclude', 'a=b'),
                *('--fence', '--shared-storage'),
                *('--connector', f'np-rcc46={connector}'),
            ),
        )

    def test_what_the_configuration_says(self) -> None:
        self.conf.write_text(
            self.conf.read_text()
            + '[storage]\nshared_instances = false\n'
            + '[runner]\nper_target = 9\n'
            + '[timeouts]\nserver = 77\nsettle = 7\n'
        )
        request = self.request()
        self.assertIs(False, request.shared_storage)
        self.assertEqual(9, request.per_target)
        self.assertEqual((77, 7), (request.patience, request.settle))
        self.assertIs(True, self.request('--shared-storage').shared_storage)

    def test_a_host_that_is_named_twice_counts_once(self) -> None:
        self.dry(
            0, 'host', 'recover', 'np-rcc54', 'np-rcc54', '--fenced', 'off'
        )
        self.assertEqual(('np-rcc54',), self.asked[-1].hosts)

    def test_a_server_with_an_equals_sign_in_its_name(self) -> None:
        uuid = self.found.servers[1].uuid
        request = self.request('--target-for', 'a=b=np-rcc46')
        self.assertEqual({uuid: 'np-rcc46'}, request.target_for)

    def test_one_server_by_two_names(self) -> None:
        uuid = self.found.servers[0].uuid
        self.assertIn(
            'twice',
            self.usage(
                *('--target-for', 'at3-ui01=np-rcc46'),
                *('--target-for', f'{uuid}=np-rcc47'),
            ),
        )

    def test_no_host_is_asked_about_before_the_words_are_right(self) -> None:
        self.assertIn('give KEY=VALUE', self.usage('--target-for', 'web'))
        self.assertIn('give KEY=VALUE', self.usage('--connector', 'np-rcc46'))

    def test_a_refused_plan_ends_so(self) -> None:
        self.found = scenarios.make(
            ['np-rcc54'], {**HOSTS, 'np-rcc54': {}}, SERVERS
        )
        ended = self.dry(exit_codes.REFUSED, 'host', 'recover', 'np-rcc54')
        self.assertIn('--override source-fenced:np-rcc54', ended.stderr)

    def test_only_the_sql(self) -> None:
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.changes.record.statements',
                lambda database, data: ['BEGIN;', data['uuid']],
            )
        )
        ended = self.ended(
            0, 'host', 'recover', 'np-rcc54', '--sql', '-f', 'json'
        )
        # Of at3-ui01 too, which nova would evacuate: that has no SQL.
        first, second = (one.uuid for one in self.found.servers)
        self.assertEqual(
            [
                ('a=b', 'BEGIN;'),
                ('a=b', second),
                ('at3-ui01', 'BEGIN;'),
                ('at3-ui01', first),
            ],
            [(row['Server'], row['SQL']) for row in json.loads(ended.stdout)],
        )
        self.assertIn('Nothing was changed', ended.stderr)


class PairsTest(TestCase):
    def test_at_the_first_or_the_last_equals_sign(self) -> None:
        words = ['a=b=c']
        self.assertEqual({'a': 'b=c'}, recovering.pairs(words, '--x'))
        self.assertEqual({'a=b': 'c'}, recovering.pairs(words, '--x', True))

    def test_none(self) -> None:
        self.assertEqual({}, recovering.pairs([], '--x'))

    def test_what_is_no_pair(self) -> None:
        for word in ('', 'a', 'a=', '=b', '='):
            error = self.assertRaises(
                UsageError, recovering.pairs, [word], '--x'
            )
            self.assertIn(f'--x {word}: give KEY=VALUE', str(error))

    def test_twice(self) -> None:
        error = self.assertRaises(
            UsageError, recovering.pairs, ['a=b', 'a=c'], '--x'
        )
        self.assertIn('--x names a twice', str(error))


class ConnectorsTest(TestCase):
    def file(self, content: bytes) -> str:
        folder = self.useFixture(fixtures.TempDir())
        path = folder.join('connector.json')
        with open(path, 'wb') as file:
            file.write(content)
        return path

    def refused(self, path: str) -> str:
        return str(
            self.assertRaises(
                UsageError, recovering.connectors, [f'np-rcc46={path}']
            )
        )

    def test_as_nova_manage_prints_it(self) -> None:
        path = self.file(b'{"host": "np-rcc46", "initiator": "iqn.1994"}')
        self.assertEqual(
            {'np-rcc46': {'host': 'np-rcc46', 'initiator': 'iqn.1994'}},
            recovering.connectors([f'np-rcc46={path}']),
        )

    def test_the_connector_of_another_host(self) -> None:
        for content in (
            b'{"host": "np-rcc4"}',
            b'{"host": "np-rcc46.example.org"}',
            b'{"initiator": "iqn.1994"}',
            b'["np-rcc46"]',
            b'null',
        ):
            self.assertIn(
                'is not the connector of np-rcc46',
                self.refused(self.file(content)),
            )

    def test_what_is_no_json(self) -> None:
        for content in (b'', b'host: np-rcc46', b'\xff\xfe'):
            path = self.file(content)
            self.assertIn(path, self.refused(path))

    def test_no_file(self) -> None:
        self.assertIn('/nowhere/c.json', self.refused('/nowhere/c.json'))
