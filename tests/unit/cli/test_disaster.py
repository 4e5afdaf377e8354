# SPDX-License-Identifier: Apache-2.0

"""disaster assess and status as they are typed."""

from __future__ import annotations

import csv
import datetime
import io
import json
from typing import Any
from unittest import mock

import fixtures

from nova_recovery import exit_codes
from nova_recovery.cli.disaster import AssessDisaster, StatusDisaster
from nova_recovery.engine import findings
from nova_recovery.engine.plan import Item, Plan, Step
from nova_recovery.procedures.disaster.request import Request
from nova_recovery.procedures.disaster.scope import Scope
from tests.unit.cli.runs import RunsTestCase
from tests.unit.procedures.disaster import situations
from tests.unit.snapshot import files

OURS = '5f2b3f6e-0d5c-4c6f-9d0e-3a1f6c1f0a01'


class DisasterTestCase(RunsTestCase):
    """What is found is ``found``; what was asked for is in ``asked``."""

    commands = {  # noqa: RUF012 - as in the class that it is of
        'disaster assess': AssessDisaster,
        'disaster status': StatusDisaster,
    }

    def setUp(self) -> None:
        super().setUp()
        self.found = situations.make({'web': {'vm_state': 'error'}})
        self.asked: list[Any] = []
        self.cloud = mock.Mock()
        self.cloud.conf.disaster.priority_key = 'recovery_priority'
        self.cloud.conf.snapshot.directory = str(self.folder)
        cell = mock.Mock(uuid=OURS)
        self.cloud.databases.cells = [mock.Mock(cell=cell)]
        self.cloud.databases.disabled = []
        for name, value in (
            (
                'nova_recovery.procedures.disaster.look.read.Reader.__init__',
                lambda *given, **more: self.init(*given, **more),
            ),
            (
                'nova_recovery.procedures.disaster.look.read.Reader.look',
                lambda reader, *given, **more: self.found,
            ),
            (
                'nova_recovery.cli.base.RecoveryMixin.cloud',
                lambda command, parsed: self.cloud,
            ),
        ):
            self.useFixture(fixtures.MonkeyPatch(name, value))

    def init(self, reader: Any, cloud: Any, *given: Any, **more: Any) -> None:
        self.asked.append((*given, *more.values()))

    def rows(self, code: int, *words: str) -> list[dict[str, Any]]:
        ended = self.ended(code, 'disaster', *words, '-f', 'json')
        self.stderr = ended.stderr
        found: list[dict[str, Any]] = json.loads(ended.stdout)
        return found


class AssessTest(DisasterTestCase):
    def test_the_summary_and_the_findings(self) -> None:
        (row,) = self.rows(exit_codes.PARTLY, 'assess')
        self.assertEqual(
            ('SRV-DOWN', findings.STALE, 'server:web', 'np-rcc4'),
            (row['Code'], row['Severity'], row['Subject'], row['Host']),
        )
        self.assertEqual('nova-recovery server reboot web', row['Fix'])
        self.assertIn('1 of 1 servers are to run (1 down)', self.stderr)

    def test_nothing_but_notes(self) -> None:
        self.found = situations.make({'web': None})
        (row,) = self.rows(exit_codes.DONE, 'assess')
        self.assertEqual('SRV-UNPROVEN', row['Code'])

    def test_a_silent_cell(self) -> None:
        self.found = situations.make({}, silent={'cell2': 'no answer'})
        (row,) = self.rows(exit_codes.ERROR, 'assess')
        self.assertEqual('CELL-SILENT', row['Code'])
        self.assertIn('database of cell2 unavailable', self.stderr)

    def monitored(self, code: int, *words: str) -> str:
        return self.ended(
            code, 'disaster', 'assess', '--monitoring', *words
        ).stdout

    def test_one_line_for_monitoring(self) -> None:
        line = self.monitored(1)
        self.assertEqual(1, line.count('\n'))
        self.assertIn('WARNING - 1 stale: SRV-DOWN web: it ran', line)
        self.found = situations.make({'web': None})
        self.assertIn('OK - 1 note |', self.monitored(0))
        self.found = situations.make({}, silent={'cell2': 'no answer'})
        self.assertIn('CRITICAL - 1 danger: CELL-SILENT', self.monitored(2))

    def test_what_fails_is_unknown_to_monitoring(self) -> None:
        line = self.monitored(3, '--snapshot', str(self.folder / 'none'))
        self.assertEqual(1, line.count('\n'))
        self.assertIn('UNKNOWN - ', line)
        self.assertIn('none', line)

    def test_only_some_codes(self) -> None:
        self.assertEqual(
            [], self.rows(exit_codes.PARTLY, 'assess', '--code', 'SVC-DOWN')
        )

    def test_the_scope(self) -> None:
        self.rows(
            exit_codes.PARTLY,
            *('assess', '--cell', 'c1', '--cell', 'c2', '--az', 'east'),
            *('--aggregate', 'fast', '--host', 'np-rcc4'),
            *('--project', 'p', '--skip-host', 'np-rcc6=its=board'),
            *('--since', '2026-11-22T15:49+01:00'),
        )
        ((snapshot, asked, hosts, since),) = self.asked
        self.assertEqual(
            Scope(
                cells=('c1', 'c2'),
                zones=('east',),
                aggregates=('fast',),
                hosts=('np-rcc4',),
                projects=('p',),
                skip_hosts={'np-rcc6': 'its=board'},
            ),
            asked,
        )
        self.assertEqual(datetime.datetime(2026, 11, 22, 14, 49), since)
        self.assertEqual((None, []), (snapshot, hosts))

    def test_words_that_mean_nothing(self) -> None:
        for words in (
            ('--skip-host', 'np-rcc6'),
            ('--since', 'yesterday'),
            ('--skip-host', 'a=b', '--skip-host', 'a=c'),
        ):
            ended = self.run_program('disaster', 'assess', *words)
            self.assertEqual(exit_codes.USAGE, ended.code, ended.stderr)
            self.assertEqual([], self.asked)

    def test_snapshots(self) -> None:
        path = files.write(
            str(self.folder / '2026-11-22T03-00-00Z.snapshot'),
            {'servers': [{'uuid': 'web'}]},
        )
        host = files.write(
            str(self.folder / 'np-rcc4.snapshot'), {}, 'host:np-rcc4'
        )
        self.rows(
            exit_codes.PARTLY,
            *('assess', '--snapshot', 'latest', '--hosts', host),
        )
        ((snapshot, _scope, hosts, _since),) = self.asked
        self.assertEqual(path, snapshot.path)
        self.assertEqual([host], [one.path for one in hosts])
        self.assertIn('does not say of which cloud', self.stderr)

    def test_readiness_is_not_told_by_another_clouds(self) -> None:
        path = files.write(
            str(self.folder / 'a.snapshot'), {'servers': []}, cloud=['other']
        )
        ended = self.ended(
            exit_codes.REFUSED,
            *('disaster', 'assess', '--ready', '--snapshot', path),
        )
        self.assertIn('taken of another cloud: other', ended.stderr)

    def test_a_damaged_snapshot(self) -> None:
        path = files.write(
            str(self.folder / 'a.snapshot'), {'servers': [{'uuid': 'web'}]}
        )
        with open(path, 'r+b') as file:
            text = file.read().replace(b'web', b'wob')
            file.seek(0)
            file.write(text)
        ended = self.ended(
            exit_codes.ERROR, 'disaster', 'assess', '--snapshot', path
        )
        self.assertIn('damaged', ended.stderr)
        self.assertEqual([], self.asked)


class StatusTest(DisasterTestCase):
    def test_who_is_down(self) -> None:
        (row,) = self.rows(exit_codes.PARTLY, 'status')
        self.assertEqual(
            {
                'Project': 'demo',
                'Priority': 100,
                'Minutes': 60,
                'State': 'down',
                'ID': 'web',
                'Name': 'web',
                'Host': 'np-rcc4',
                'Why': 'it is in error',
            },
            row,
        )

    def test_as_csv(self) -> None:
        ended = self.ended(
            exit_codes.PARTLY, 'disaster', 'status', '-f', 'csv'
        )
        (row,) = csv.DictReader(io.StringIO(ended.stdout))
        self.assertEqual(('web', '60'), (row['Name'], row['Minutes']))

    def test_all_are_up(self) -> None:
        self.found = situations.make({'web': {'newest': [['start', 'a']]}})
        self.assertEqual([], self.rows(exit_codes.DONE, 'status'))

    def test_a_silent_cell(self) -> None:
        self.found = situations.make({}, silent={'cell2': 'no answer'})
        self.assertEqual([], self.rows(exit_codes.ERROR, 'status'))

    def test_nobody_can_be_asked(self) -> None:
        self.found = situations.make({'web': None})
        (row,) = self.rows(exit_codes.PARTLY, 'status', '--no-api')
        self.assertEqual('unproven', row['State'])
        self.assertEqual([], self.cloud.compute.mock_calls)

    def run_of(self, procedure: str) -> str:
        request = Request(
            scope=Scope(hosts=('np-rcc4',)), since='2026-11-22T14:49:00'
        )
        data = {'uuid': 'web', 'cell': 'cell1', 'mark': 7}
        item = Item(
            'restart-server:web', 'restart-server', 'server:web', 'web', data
        )
        return self.journal().create_run(
            Plan(
                procedure,
                'bring it back',
                request.plain(),
                (Step('restart', 'restart', (item,)),),
            ),
            who='anna',
            machine='here',
            command='disaster apply',
        )

    def test_those_of_a_run(self) -> None:
        self.found = situations.make(
            {'web': {'vm_state': 'error'}, 'other': {'vm_state': 'error'}}
        )
        run = self.run_of('disaster')
        (row,) = self.rows(exit_codes.PARTLY, 'status', '--run', run[:8])
        self.assertEqual('web', row['ID'])
        ((_snapshot, asked, since, marks),) = self.asked
        self.assertEqual(('np-rcc4',), asked.hosts)
        self.assertEqual(datetime.datetime(2026, 11, 22, 14, 49), since)
        self.assertEqual({'cell1': 7}, marks)

    def test_a_run_of_something_else(self) -> None:
        run = self.run_of('host-recover')
        ended = self.ended(
            exit_codes.USAGE, 'disaster', 'status', '--run', run
        )
        self.assertIn('host-recover', ended.stderr)

    def test_a_run_has_a_scope_of_its_own(self) -> None:
        self.ended(
            exit_codes.USAGE,
            *('disaster', 'status', '--run', 'x', '--host', 'np-rcc4'),
        )
