# SPDX-License-Identifier: Apache-2.0

"""nova-recovery.conf."""

from __future__ import annotations

import fixtures

from nova_recovery import conf
from nova_recovery.exceptions import ConfigError
from tests.base import TestCase


class TestLoad(TestCase):
    def file(self, text: str) -> str:
        return self.create_tempfiles([('ours', text)])[0]

    def test_defaults_without_any_file(self) -> None:
        loaded = conf.load([])
        self.assertEqual(
            'sqlite:////var/lib/nova-recovery/journal.sqlite',
            loaded.journal.connection,
        )
        self.assertEqual([], loaded.nova_config_file)

    def test_repeated_options_are_all_kept(self) -> None:
        path = self.file(
            '[DEFAULT]\nnova_config_file = /a\nnova_config_file = /b\n'
            '[cells]\nconnection = a=mysql://x/y\nconnection = b=mysql://x/z\n'
        )
        loaded = conf.load([path])
        self.assertEqual(['/a', '/b'], loaded.nova_config_file)
        self.assertEqual(2, len(loaded.cells.connection))

    def test_the_environment_does_not_count(self) -> None:
        self.useFixture(
            fixtures.EnvironmentVariable('OS_JOURNAL__CONNECTION', 'other')
        )
        self.assertTrue(conf.load([]).journal.connection.startswith('sqlite'))

    def test_a_dollar_in_a_password(self) -> None:
        path = self.file(
            '[journal]\nconnection = mysql+pymysql://u:p$ecret@h/d\n'
        )
        error = self.assertRaises(ConfigError, conf.load, [path])
        self.assertIn(path, str(error))
        self.assertIn('[journal] connection', str(error))
        self.assertIn('$$', str(error))
        self.assertNotIn('ecret', str(error))

    def test_a_doubled_dollar(self) -> None:
        path = self.file(
            '[journal]\nconnection = mysql+pymysql://u:p$$e%40c@h/d\n'
        )
        self.assertEqual(
            'mysql+pymysql://u:p$e%40c@h/d',
            conf.load([path]).journal.connection,
        )

    def test_a_value_of_the_wrong_type(self) -> None:
        path = self.file('[runner]\nworkers = many\n')
        error = self.assertRaises(ConfigError, conf.load, [path])
        self.assertIn(path, str(error))
        self.assertNotIn('many', str(error))

    def test_a_file_that_is_not_there(self) -> None:
        error = self.assertRaises(ConfigError, conf.load, ['/nowhere/x.conf'])
        self.assertIn('/nowhere/x.conf', str(error))

    def test_a_broken_line_is_named_but_not_shown(self) -> None:
        path = self.file('[journal]\nmysql-pw-hunter2\n')
        error = self.assertRaises(ConfigError, conf.load, [path])
        self.assertIn(f'{path}:2', str(error))
        self.assertNotIn('hunter2', str(error))

    def test_a_file_that_is_not_text(self) -> None:
        path = self.file('')
        with open(path, 'wb') as stream:
            stream.write(b'[journal]\nconnection = \xff\n')
        error = self.assertRaises(ConfigError, conf.load, [path])
        self.assertIn('UTF-8', str(error))
        self.assertIn(path, str(error))

    def test_every_option_has_its_help(self) -> None:
        for group, options in conf.list_opts():
            for option in options:
                self.assertTrue(option.help, f'[{group}] {option.name}')
