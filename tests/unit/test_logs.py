# SPDX-License-Identifier: Apache-2.0

"""What libraries say is not for the screen; what is logged has its place."""

from __future__ import annotations

import io
import logging
import pathlib
import stat
import sys

import fixtures

from nova_recovery import conf, logs
from nova_recovery.exceptions import ConfigError
from tests.base import TestCase
from tests.unit.cli.test_tables import Screen

LOG = logging.getLogger('nova_recovery.tests')


class TestQuiet(TestCase):
    def seen(self, level: int) -> str:
        """What is on the screen of a program with this level."""
        screen = io.StringIO()
        self.useFixture(fixtures.MonkeyPatch('sys.stderr', screen))
        root = logging.getLogger()
        before = root.level
        self.addCleanup(root.setLevel, before)
        root.setLevel(level)
        handler = logging.StreamHandler(sys.stderr)
        root.addHandler(handler)
        self.addCleanup(root.removeHandler, handler)
        logs.mask_handlers()
        logs.mask_handlers()
        for name in ('urllib3.connectionpool', 'nova_recovery', 'openstackx'):
            logging.getLogger(name).warning('of %s', name)
        return screen.getvalue()

    def test_libraries_are_heard_where_more_was_asked_for(self) -> None:
        self.assertEqual(
            ['of nova_recovery', 'of openstackx'],
            self.seen(logging.WARNING).splitlines(),
        )
        self.assertIn('of urllib3', self.seen(logging.INFO))


class PlacesTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        root = logging.getLogger()
        self.useFixture(fixtures.MonkeyPatch('nova_recovery.logs._placed', []))
        self.addCleanup(root.setLevel, root.level)
        self.addCleanup(setattr, root, 'handlers', root.handlers)
        self.terminal = io.StringIO()
        root.handlers = [logging.StreamHandler(self.terminal)]
        root.setLevel(logging.WARNING)
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)

    def begin(self, *lines: str) -> None:
        file = self.folder / 'nova-recovery.conf'
        file.write_text('\n'.join(('[DEFAULT]', *lines)))
        logs.to_places(conf.load(files=[str(file)]))

    def test_a_file_has_more_than_the_terminal(self) -> None:
        self.begin(f'log_dir = {self.folder}')
        LOG.info('host recover')
        LOG.warning('it is late')
        file = self.folder / 'nova-recovery.log'
        self.assertRegex(
            file.read_text(), 'INFO .*host recover\n.*WARNING .*it is late\n'
        )
        self.assertEqual(0o600, stat.S_IMODE(file.stat().st_mode))
        self.assertEqual('it is late\n', self.terminal.getvalue())

    def test_a_message_fits_the_terminal_and_is_whole_in_the_file(
        self,
    ) -> None:
        screen = Screen(80)
        logging.getLogger().handlers = [logging.StreamHandler(screen.stream)]
        logs.mask_handlers()
        self.begin(f'log_file = {self.folder}/log')
        text = (
            '/srv/site-2026-03-01.snapshot does not say of which cloud it is, '
            'as older versions made it; what it has is compared with this one'
        )
        LOG.warning('%s', text)
        lines = screen.text().splitlines()
        self.assertEqual(text, ' '.join(lines))
        self.assertLessEqual(max(map(len, lines)), 80)
        self.assertIn(text, (self.folder / 'log').read_text())

    def test_nothing_secret_is_in_it(self) -> None:
        self.begin(f'log_file = {self.folder}/log')
        LOG.warning('mysql+pymysql://nova:sesame@db/nova')
        self.assertNotIn('sesame', (self.folder / 'log').read_text())

    def test_a_line_is_there_once_however_often_it_begins(self) -> None:
        for _ in range(2):
            self.begin(f'log_file = {self.folder}/log')
        LOG.warning('once')
        lines = (self.folder / 'log').read_text().splitlines()
        self.assertEqual(1, len(lines))
        self.assertEqual('once\n', self.terminal.getvalue())

    def test_libraries_are_in_the_file_and_not_on_the_screen(self) -> None:
        self.useFixture(fixtures.MonkeyPatch('sys.stderr', self.terminal))
        logs.mask_handlers()
        self.begin(f'log_file = {self.folder}/log')
        logging.getLogger('urllib3.pool').warning('pool is full')
        self.assertIn('pool is full', (self.folder / 'log').read_text())
        self.assertEqual('', self.terminal.getvalue())

    def test_without_a_place_nothing_changes(self) -> None:
        before = logging.getLogger().handlers[:]
        self.begin()
        self.assertEqual(before, logging.getLogger().handlers)

    def test_without_bindings_of_systemd_the_terminal_says_so(self) -> None:
        self.useFixture(
            fixtures.MonkeyPatch('oslo_log.handlers.journal', None)
        )
        error = self.assertRaises(
            ConfigError,
            self.begin,
            f'log_dir = {self.folder}',
            'use_journal = true',
        )
        self.assertIn('python3-systemd', str(error))
        LOG.error('%s', error)
        self.assertIn('python3-systemd', self.terminal.getvalue())

    def test_a_file_of_logging_that_can_not_be_read(self) -> None:
        file = self.folder / 'logging.conf'
        file.write_text('nonsense')
        error = self.assertRaises(
            ConfigError, self.begin, f'log_config_append = {file}'
        )
        self.assertIn('[DEFAULT] logging: ', str(error))
        self.assertIn(str(file), str(error))
        LOG.error('it ended')
        self.assertEqual('it ended\n', self.terminal.getvalue())

    def test_handlers_of_loggers_with_names_are_masked_too(self) -> None:
        logger = logging.getLogger('nova_recovery.tests.named')
        self.addCleanup(setattr, logger, 'handlers', [])
        self.addCleanup(setattr, logger, 'propagate', True)
        file = self.folder / 'logging.conf'
        file.write_text(
            '[loggers]\nkeys=root,ours\n'
            '[handlers]\nkeys=file\n'
            '[formatters]\nkeys=\n'
            '[logger_root]\nhandlers=\n'
            '[logger_ours]\nhandlers=file\npropagate=0\n'
            'qualname=nova_recovery.tests.named\n'
            '[handler_file]\nclass=FileHandler\n'
            f'args=({str(self.folder / "log")!r},)\n'
        )
        self.begin(f'log_config_append = {file}')
        logger.warning('mysql+pymysql://nova:sesame@db/nova')
        self.assertIn('***', (self.folder / 'log').read_text())
