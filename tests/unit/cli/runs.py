# SPDX-License-Identifier: Apache-2.0

"""nova-recovery inside the test, with a real journal and a made-up cloud."""

from __future__ import annotations

import argparse
from collections.abc import Callable
import io
import pathlib
from typing import Any
from unittest import mock

import fixtures

from nova_recovery import changes
from nova_recovery.cli import approval
from nova_recovery.cli.base import RecoveryLister
from nova_recovery.cli.plan import ApplyPlan, ShowPlan
from nova_recovery.cli.run import (
    ExportRun,
    ImportRun,
    ListRun,
    ReportRun,
    ShowRun,
    TakeOverRun,
    UndoRun,
)
from nova_recovery.cli.run_resume import ResumeRun
from nova_recovery.engine.change import Guard
from nova_recovery.engine.journal import Journal
from nova_recovery.engine.plan import Gate, Item, Plan
from nova_recovery.shell import Shell
from tests.base import TestCase
from tests.unit import plans
from tests.unit.cli import programs
from tests.unit.cli.programs import Ended


class RecoverHost(RecoveryLister):
    """A procedure: what it plans is what the test wants."""

    plan: Callable[[], Plan]

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        approval.add_plan_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        plan = type(self).plan()
        cloud = self.cloud(parsed_args)
        return self.stage(parsed_args).settle(plan, cloud).table


class RunsTestCase(TestCase):
    """Each test has its journal, and a cloud in which all goes well.

    :ivar plan: what ``host recover`` plans
    :ivar gates: what is found when gates are checked again
    """

    commands = {
        'host recover': RecoverHost,
        'plan apply': ApplyPlan,
        'plan show': ShowPlan,
        'run export': ExportRun,
        'run import': ImportRun,
        'run list': ListRun,
        'run report': ReportRun,
        'run resume': ResumeRun,
        'run show': ShowRun,
        'run undo': UndoRun,
        'run take over': TakeOverRun,
    }

    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.url = f'sqlite:///{self.folder}/journal.sqlite'
        self.conf = self.folder / 'nova-recovery.conf'
        self.conf.write_text(f'[journal]\nconnection = {self.url}\n')
        self.plan = plans.make()
        self.gates: tuple[Gate, ...] = (plans.SILENT,)
        self.registry = {**changes.registry(), **plans.REGISTRY}
        for name, value in (
            ('tests.unit.cli.runs.RecoverHost.plan', lambda: self.plan),
            ('nova_recovery.changes.registry', lambda: self.registry),
            ('nova_recovery.procedures.check_gates', self.check_gates),
            ('nova_recovery.procedures.guard', self.guard),
            # there is no cloud that could tell
            ('nova_recovery.changes.claims.ended', lambda *words: []),
            (
                'nova_recovery.cli.base.RecoveryMixin.cloud',
                lambda command, parsed: mock.Mock(),
            ),
            ('socket.gethostname', lambda: 'ctl1'),
        ):
            self.useFixture(fixtures.MonkeyPatch(name, value))
        self.useFixture(fixtures.EnvironmentVariable('SUDO_USER', 'anna'))
        self.useFixture(fixtures.EnvironmentVariable('COLUMNS', '100'))

    def check_gates(
        self, plan: Plan, cloud: Any, touched: frozenset[str] = frozenset()
    ) -> tuple[Gate, ...]:
        self.touched = touched
        return self.gates

    def guard(
        self, plan: Plan, cloud: Any, marker: str, undoing: bool = False
    ) -> Guard:
        self.marker = marker
        return self.claim

    def claim(self, item: Item) -> None:
        """Nobody else has a claim, unless a test says so."""

    def run_program(self, *words: str, stdin: Any = None) -> Ended:
        """Run nova-recovery with these arguments; without a terminal."""
        words = (*words, '--recovery-config-file', str(self.conf))
        with (
            fixtures.MonkeyPatch('sys.stdin', stdin or io.StringIO('')),
            fixtures.MonkeyPatch('sys.argv', ['/bin/nova-recovery', *words]),
        ):
            return programs.run(self, Shell, '', list(words))

    def ended(self, code: int, *words: str) -> Ended:
        """The same; fails if it doesn't end with that exit code."""
        ended = self.run_program(*words)
        self.assertEqual(code, ended.code, ended.stderr)
        return ended

    def journal(self) -> Journal:
        """The journal that the commands use."""
        journal = Journal.open(self.url)
        self.addCleanup(journal.close)
        return journal

    def only_run(self) -> str:
        """The id of the one run that there is."""
        (found,) = self.journal().runs()
        return found.id
