# SPDX-License-Identifier: Apache-2.0

"""Advice names the program that is in use."""

from __future__ import annotations

import argparse
import ast

from nova_recovery import program
from nova_recovery.cli.base import RecoveryCommand
from nova_recovery.cli.iscsi import DeleteIscsiSession
from nova_recovery.exceptions import NotFound
from tests.base import TestCase
from tests.unit.cli.programs import Commands, Standalone, UnifiedClient
from tests.unit.test_layers import ROOT


class Look(RecoveryCommand):
    """Look for something.

    Such as::

        openstack recovery look --everywhere
    """

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        raise NotFound(f'nothing; see {program.call("run list")}')


class Both:
    """What both programs are asked.

    :ivar name: how it is called
    """

    commands: Commands = {'look': Look, 'iscsi drop': DeleteIscsiSession}

    def test_what_an_error_advises(self):
        ended = self.run_program('look')
        self.assertIn(f'see {self.name} run list', ended.stderr)

    def test_what_is_advised_of_a_word_that_is_wrong(self):
        program.use('neither')
        self.addCleanup(program.use, program.UNIFIED)
        ended = self.run_program('iscsi drop np-rcc4 --session x')
        self.assertIn(f'"{self.name} iscsi session list"', ended.stderr)

    def test_the_example_of_a_help(self):
        ended = self.run_program('look --help')
        self.assertIn(f'    {self.name} look --everywhere', ended.stdout)


class StandaloneTest(Both, Standalone, TestCase):
    name = 'nova-recovery'


class UnifiedClientTest(Both, UnifiedClient, TestCase):
    name = 'openstack recovery'


class SourceTest(TestCase):
    def test_nobody_names_a_program_by_himself(self) -> None:
        """But for docstrings, of which helps are made."""
        wrong = []
        for path in ROOT.rglob('*.py'):
            tree = ast.parse(path.read_text())
            told = {
                id(node.value)
                for node in ast.walk(tree)
                if isinstance(node, ast.Expr)
            }
            wrong += [
                f'{path}:{node.lineno}'
                for node in ast.walk(tree)
                if isinstance(node, ast.Constant)
                and id(node) not in told
                and 'openstack recovery ' in str(node.value)
            ]
        self.assertEqual([], wrong)
