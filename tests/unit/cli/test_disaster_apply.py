# SPDX-License-Identifier: Apache-2.0

"""``disaster plan`` and ``apply`` as they are typed."""

from __future__ import annotations

import dataclasses
import json
from typing import Any
from unittest import mock

import fixtures

from nova_recovery import changes, exit_codes
from nova_recovery import conf as conf_module
from nova_recovery.cli.disaster import ApplyDisaster, PlanDisaster
from nova_recovery.cli.plan import ApplyPlan
from nova_recovery.engine import planfile
from nova_recovery.procedures.disaster.request import Request
from nova_recovery.procedures.disaster.scope import Scope
from nova_recovery.procedures.disaster.situation import Found
from tests.unit.cli.programs import Ended
from tests.unit.cli.runs import RunsTestCase
from tests.unit.procedures.disaster import test_scenarios

#: Before a test has one of its own.
REGISTRY = dict(changes.registry())
DUMPED = ('--override', 'dump-named=the dump is on tape')


class DisasterTest(RunsTestCase):
    """A cloud of a scenario.

    :ivar found: what is read of it
    :ivar asked: what was asked for when it was read
    """

    commands = {
        'disaster plan': PlanDisaster,
        'disaster apply': ApplyDisaster,
        'plan apply': ApplyPlan,
    }

    def setUp(self) -> None:
        super().setUp()
        self.found = self.scenario('no_snapshot_and_no_dump')
        self.asked: list[Request] = []
        for name, value in (
            ('procedures.disaster.look.gather.read_all', self.read),
            ('cli.base.RecoveryMixin.cloud', lambda *words: self.cloud()),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(f'nova_recovery.{name}', value)
            )
        self.registry = REGISTRY
        self.plan_file = str(self.folder / 'monday.plan')

    def scenario(self, name: str) -> Found:
        _, found, _ = test_scenarios.load(test_scenarios.FOLDERS / name)
        return found

    def read(
        self, cloud: Any, request: Any, *others: Any, **more: Any
    ) -> Found:
        self.asked.append(request)
        return self.found

    def cloud(self) -> Any:
        return mock.Mock(conf=conf_module.load([str(self.conf)]))

    def saved(self) -> Any:
        """A plan of which nothing refuses, in a file."""
        self.ended(
            exit_codes.DONE,
            'disaster', 'plan', '--plan-file', self.plan_file, *DUMPED,
        )  # fmt: skip
        return planfile.load(self.plan_file)

    def usage(self, *words: str) -> str:
        ended: Ended = self.ended(exit_codes.USAGE, *words)
        return ended.stderr

    def test_a_plan_is_shown_and_no_more(self) -> None:
        ended = self.ended(
            exit_codes.DONE, 'disaster', 'plan', '-f', 'json', *DUMPED
        )
        self.assertIn('Nothing was changed', ended.stderr)
        self.assertEqual(
            ['planned'], [row['State'] for row in json.loads(ended.stdout)]
        )

    def test_a_gate_that_refuses_is_the_exit_code(self) -> None:
        ended = self.ended(exit_codes.REFUSED, 'disaster', 'plan')
        self.assertIn('no dump of the databases is named', ended.stderr)

    def test_a_script_has_to_agree(self) -> None:
        ended = self.ended(exit_codes.REFUSED, 'disaster', 'apply', *DUMPED)
        self.assertIn('--approve', ended.stderr)

    def test_what_is_asked_for_by_default(self) -> None:
        self.ended(exit_codes.DONE, 'disaster', 'plan', *DUMPED)
        (asked,) = self.asked
        self.assertEqual(Request(guests=asked.guests), asked)
        self.assertFalse(asked.guests.ssh)

    def test_every_option(self) -> None:
        self.ended(
            exit_codes.DONE, 'disaster', 'plan', *DUMPED,
            '--cell', 'cell1', '--skip-host', 'np-rcc54=burnt',
            '--since', '2026-11-22T14:49', '--map', '/root/map',
            '--dump', '/backup/nova.sql', '--wave-size', '10',
            '--max-failures', '3', '--per-host', '2', '--everywhere', '8',
            '--console-wait', '30', '--guests', 'ssh',
        )  # fmt: skip
        (asked,) = self.asked
        self.assertTrue(asked.guests.ssh)
        self.assertEqual(
            Request(
                scope=Scope(
                    cells=('cell1',), skip_hosts={'np-rcc54': 'burnt'}
                ),
                since='2026-11-22T14:49:00',
                map_file='/root/map',
                dump='/backup/nova.sql',
                wave_size=10,
                max_failures='3',
                per_host=2,
                everywhere=8,
                console_wait=30,
                guests=asked.guests,
            ),
            asked,
        )

    def test_options_that_mean_nothing(self) -> None:
        self.assertIn(
            '5.5', self.usage('disaster', 'plan', '--max-failures', '5.5')
        )
        for option in ('--wave-size', '--per-host', '--everywhere'):
            self.assertIn(
                'is no whole number from 1 up',
                self.usage('disaster', 'plan', option, '0'),
            )
        self.assertIn(
            'has the steps 1, 2, 3, 4, 5',
            self.usage('disaster', 'apply', '--through', '6', *DUMPED),
        )

    def test_a_saved_plan_is_the_plan_of_both_commands(self) -> None:
        plan = self.saved()
        for words in (['disaster', 'apply'], ['plan', 'apply']):
            ended = self.ended(
                exit_codes.DONE, *words, self.plan_file, '--dry-run'
            )
            self.assertIn(plan.digest, ended.stderr)

    def test_what_belongs_to_a_plan_is_in_the_file(self) -> None:
        self.saved()
        for option, value in (
            ('--dump', '/backup/other'),
            ('--map', '/root/map'),
            ('--override', 'dump-named=so'),
            ('--plan-file', 'other.plan'),
            ('--snapshot', 'latest'),
            ('--since', '2026-11-22T14:49'),
            ('--cell', 'cell1'),
            ('--az', 'nova'),
            ('--aggregate', 'ssd'),
            ('--host', 'np-rcc54'),
            ('--project', 'p1'),
            ('--skip-host', 'np-rcc54=burnt'),
            ('--first', 'at3-ui01'),
            ('--group-first', 'db'),
            # as they would be without it: the plan may have others
            ('--wave-size', '50'),
            ('--max-failures', '5%'),
            ('--per-host', '4'),
            ('--everywhere', '16'),
            ('--console-wait', '120'),
            ('--guests', 'none'),
            ('--guest', 'at3-ui01'),
            ('--guest-user', 'root'),
            ('--guest-network', 'net1'),
            ('--guest-address', 'at3-ui01=10.0.0.1'),
            ('--ssh-option', 'Port=2222'),
        ):
            self.assertIn(
                f'{option} belongs to making a plan',
                self.usage('disaster', 'apply', self.plan_file, option, value),
            )

    def test_a_plan_of_something_else(self) -> None:
        plan = self.saved()
        planfile.save(
            dataclasses.replace(plan, procedure='host-recover'), self.plan_file
        )
        self.assertIn(
            'a plan of host-recover',
            self.usage('disaster', 'apply', self.plan_file),
        )

    def test_nothing_to_do_is_no_reason_to_refuse_a_step(self) -> None:
        self.found = self.scenario('nothing_ran')
        ended = self.ended(
            exit_codes.DONE, 'disaster', 'apply', '--through', '2', '--yes'
        )
        self.assertIn('Nothing to do', ended.stderr)
