# SPDX-License-Identifier: Apache-2.0

"""The two programs as they are installed."""

from __future__ import annotations

from importlib import metadata
import json
import logging
import pathlib
import re
import subprocess
import sys

from nova_recovery import plugin, shell
from nova_recovery.cli.base import RecoveryCommand, RecoveryMixin
from tests.base import TestCase
from tests.unit.cli.programs import Commands, Standalone

#: Each takes a fifth of a second to a whole one to import.
HEAVY = {
    'alembic',
    'cinderclient',
    'keystoneauth1',
    'novaclient',
    'openstack',
    'oslo_config',
    'oslo_db',
    'oslo_log',
    'rich',
    'sqlalchemy',
}

IMPORTED = """
import json, sys
from importlib import metadata
import osc_lib.command.command
before = set(sys.modules)
for group in ('openstack.cli.extension', 'openstack.recovery.v1'):
    for point in metadata.entry_points(group=group):
        if point.module.startswith('nova_recovery.'):
            point.load()
new = {name.partition('.')[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(new)))
"""


class TestEntryPoints(TestCase):
    def _commands(self) -> list[metadata.EntryPoint]:
        return [
            point
            for point in metadata.entry_points(group=shell.COMMAND_GROUP)
            if point.module.startswith('nova_recovery.')
        ]

    def test_every_command_is_one_of_ours_with_words_about_it(self):
        for point in self._commands():
            with self.subTest(command=point.name):
                command = point.load()
                self.assertTrue(issubclass(command, RecoveryMixin))
                self.assertTrue(command.__doc__, 'has no docstring')
                self.assertFalse(command.auth_required)

    def test_every_command_is_a_noun_and_a_verb_of_recovery(self):
        for point in self._commands():
            with self.subTest(command=point.name):
                self.assertRegex(point.name, r'^recovery(_[a-z][a-z-]*){1,3}$')

    def test_the_unified_client_imports_nothing_heavy_with_us(self):
        done = subprocess.run(
            [sys.executable, '-c', IMPORTED],
            check=True,
            capture_output=True,
            text=True,
        )
        self.assertEqual(set(), HEAVY & set(json.loads(done.stdout)))


class TestPlugin(TestCase):
    def test_there_is_no_client_to_make(self):
        self.assertIsNone(plugin.make_client(object()))

    def test_the_group_of_the_commands_follows_from_the_names(self):
        # openstackclient/shell.py: _load_plugins
        self.assertEqual(
            shell.COMMAND_GROUP,
            f'openstack.{plugin.API_NAME}.v{plugin.DEFAULT_API_VERSION}',
        )
        self.assertIn(plugin.DEFAULT_API_VERSION, plugin.API_VERSIONS)


class TestLogging(Standalone, TestCase):
    commands: Commands = {}

    def setUp(self) -> None:
        super().setUp()

        class Talk(RecoveryCommand):
            """Log a line of each level."""

            def take_action(self, parsed_args: object) -> None:
                for level in ('debug', 'info', 'warning', 'error'):
                    getattr(logging.getLogger('some.library'), level)(level)

        self.commands = {'talk': Talk}

    def _lines(self, options: str) -> list[str]:
        levels = {'debug', 'info', 'warning', 'error'}
        lines = self.run_program(f'{options} talk').stderr.splitlines()
        return [line for line in lines if line in levels]

    def test_warnings_and_errors_are_shown(self):
        self.assertEqual(['warning', 'error'], self._lines(''))

    def test_quiet_leaves_the_errors(self):
        self.assertEqual(['error'], self._lines('--quiet'))

    def test_verbose_adds_what_happens(self):
        self.assertEqual(['info', 'warning', 'error'], self._lines('-v'))

    def test_debug_shows_all(self):
        self.assertEqual(
            ['debug', 'info', 'warning', 'error'], self._lines('--debug')
        )

    def test_a_log_file_has_all(self):
        directory = self.create_tempfiles([('log', '')])[0]
        self._lines(f'--log-file {directory}')
        text = pathlib.Path(directory).read_text()
        self.assertIn('DEBUG    some.library debug', text)


class TestMain(TestCase):
    def test_help_names_the_commands_without_the_word_recovery(self):
        for words, named in (
            (['--help'], {'complete', 'help'}),
            (['help'], {'complete', 'help'}),
        ):
            with self.subTest(words=words):
                done = subprocess.run(
                    [sys.executable, '-m', 'nova_recovery.shell', *words],
                    check=True,
                    capture_output=True,
                    text=True,
                )
                listed = set(
                    re.findall(
                        r'^  (\S.*?)  ',
                        done.stdout.partition('Commands:')[2],
                        re.MULTILINE,
                    )
                )
                self.assertLessEqual(named, listed)
                self.assertFalse(
                    {name for name in listed if name.startswith('recovery')}
                )
