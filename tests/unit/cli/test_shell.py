# SPDX-License-Identifier: Apache-2.0

"""The two programs as they are installed."""

from __future__ import annotations

from importlib import metadata
import json
import logging
import os
import pathlib
import re
import subprocess
import sys

import fixtures

from nova_recovery import plugin, shell
from nova_recovery.cli.base import RecoveryCommand, RecoveryMixin
from nova_recovery.cli.guide import Guide
from nova_recovery.compat import entry_points
from nova_recovery.exceptions import Refused
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
from nova_recovery.compat import entry_points
import osc_lib.command.command
before = set(sys.modules)
for group in ('openstack.cli.extension', 'openstack.recovery.v1'):
    for point in entry_points(group):
        if point.module.startswith('nova_recovery.'):
            point.load()
new = {name.partition('.')[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(new)))
"""


class TestEntryPoints(TestCase):
    def _commands(self) -> list[metadata.EntryPoint]:
        return [
            point
            for point in entry_points(shell.COMMAND_GROUP)
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
            if point.load() is Guide:
                # the word alone
                continue
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
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)

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

    def _logged(self, options: str = '') -> str:
        """What is in the file of the log."""
        self.log = self.folder / 'app.log'
        self._lines(f'--log-file {self.log} {options}')
        return self.log.read_text()

    def test_a_log_file_has_the_level_that_was_asked_for(self):
        self.assertNotIn('some.library info', self._logged())
        self.assertIn('WARNING  some.library warning', self._logged())
        self.assertIn('DEBUG    some.library debug', self._logged('--debug'))

    def test_nobody_else_reads_a_log_file(self):
        self.useFixture(Umask(0o022))
        self._logged()
        self.assertEqual(0o600, self.log.stat().st_mode & 0o777)
        self.log.chmod(0o644)
        self._logged()
        self.assertEqual(0o600, self.log.stat().st_mode & 0o777)

    def test_a_log_file_is_not_written_through_a_link(self):
        victim = self.folder / 'victim'
        victim.write_text('root:x:0:0\n')
        victim.chmod(0o644)
        (self.folder / 'log').symlink_to(victim)
        done = self.run_program(f'--log-file {self.folder}/log talk')
        self.assertEqual(1, done.code)
        self.assertIn('it is a link', done.stderr)
        self.assertEqual('root:x:0:0\n', victim.read_text())
        self.assertEqual(0o644, victim.stat().st_mode & 0o777)

    def test_neither_logs_nor_stderr_have_secrets_or_escapes(self):
        class Talk(RecoveryCommand):
            """Log what cinderclient does, and an error with a name."""

            def take_action(self, parsed_args: object) -> None:
                log = logging.getLogger('cinderclient')
                log.debug(
                    'RESP BODY: {"attachment": {"connection_info": '
                    '{"auth_password": "hunter2", "keyring": "hunter2"}}}'
                )
                log.warning('%s', {'password': 'hunter2'})
                try:
                    raise ValueError('mysql://nova:hunter2@db/nova')
                except ValueError:
                    log.exception('no')
                raise Refused('server \x1b]0;owned\x07\x1b[2Jdb1: no')

        self.commands = {'talk': Talk}
        log = self.folder / 'app.log'
        done = self.run_program(f'--debug --log-file {log} talk')
        for text in (done.stderr, log.read_text()):
            self.assertNotIn('hunter2', text)
            self.assertIn('ValueError: mysql://nova:***@db/nova', text)
            self.assertNotIn('\x1b', text)
            self.assertIn(r'\x1b[2Jdb1', text)


class Umask(fixtures.Fixture):
    """What a shell gives to new files."""

    def __init__(self, mask: int) -> None:
        super().__init__()
        self._mask = mask

    def _setUp(self) -> None:
        self.addCleanup(os.umask, os.umask(self._mask))


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
