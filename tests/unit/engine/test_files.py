# SPDX-License-Identifier: Apache-2.0

"""Files are whole, 0600, and where their name says."""

from __future__ import annotations

from collections.abc import Iterator
import os
import pathlib
from unittest import mock

import fixtures

from nova_recovery.engine import files
from nova_recovery.exceptions import RecoveryError
from tests.base import TestCase


class FilesTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.path = self.folder / 'plan.json'
        self.victim = self.folder / 'victim'
        self.victim.write_text('root:x:0:0')
        self.victim.chmod(0o644)

    def refused(self, why: str, replace: bool = True) -> None:
        """Neither is anything written, nor is anything left."""
        before = sorted(self.folder.iterdir())
        error = self.assertRaises(
            RecoveryError, files.write, str(self.path), ['x'], replace
        )
        self.assertIn(why, str(error))
        self.assertEqual(before, sorted(self.folder.iterdir()))
        self.assertEqual('root:x:0:0', self.victim.read_text())
        self.assertEqual(0o644, self.victim.stat().st_mode & 0o777)

    def test_a_file_is_replaced_whole(self) -> None:
        for text in ('one', 'two'):
            files.write(str(self.path), [text[0], text[1:]])
            self.assertEqual(text, self.path.read_text())
            self.assertEqual(0o600, self.path.stat().st_mode & 0o777)
        self.assertEqual(2, len(list(self.folder.iterdir())))

    def test_what_fails_half_way_leaves_what_was_there(self) -> None:
        def chunks() -> Iterator[str]:
            yield 'half'
            raise RecoveryError('the database is gone')

        files.write(str(self.path), ['whole'])
        self.assertRaises(RecoveryError, files.write, str(self.path), chunks())
        self.assertEqual('whole', self.path.read_text())
        self.assertEqual(2, len(list(self.folder.iterdir())))

    def test_nothing_is_written_through_a_link(self) -> None:
        self.path.symlink_to(self.victim)
        self.refused('it is a link')

    def test_not_even_through_one_that_leads_nowhere(self) -> None:
        self.path.symlink_to(self.folder / 'nowhere')
        self.refused('it is a link')

    def test_another_name_of_a_file_stays_as_it_was(self) -> None:
        os.link(self.victim, self.path)
        files.write(str(self.path), ['x'])
        self.assertEqual('root:x:0:0', self.victim.read_text())

    def test_what_is_no_file_is_left_alone(self) -> None:
        os.mkfifo(self.path)
        self.refused('not a regular file')

    def test_a_new_file_replaces_nothing(self) -> None:
        self.path.write_text('mine')
        self.refused('exists; it was left as it is', replace=False)
        self.assertEqual('mine', self.path.read_text())

    def test_a_folder_into_which_everybody_writes(self) -> None:
        self.folder.chmod(0o777)
        self.refused('everybody may write')
        # as /tmp
        self.folder.chmod(0o1777)
        files.write(str(self.path), ['x'])

    def test_a_folder_of_somebody_else(self) -> None:
        owner = self.folder.stat().st_uid
        with mock.patch('os.geteuid', return_value=owner + 1000):
            if owner:
                self.refused('belongs to another account')
        if not owner:
            os.chown(self.folder, 12345, -1)
            self.refused('belongs to another account (uid 12345)')
            # root writes into the home of whoever typed sudo
            variable = fixtures.EnvironmentVariable('SUDO_UID', '12345')
            self.useFixture(variable)
            files.write(str(self.path), ['x'])

    def test_names_that_are_none(self) -> None:
        for path in ('', '/', f'{self.folder}/', 'a\0b', '/nowhere/x/y',
                     f'{self.folder}/{"x" * 300}'):  # fmt: skip
            self.assertRaises(RecoveryError, files.write, path, ['x'])

    def test_a_log_is_appended_to(self) -> None:
        for line in ('one', 'two'):
            with files.append(str(self.path)) as file:
                file.write(f'{line}\n')
        self.assertEqual('one\ntwo\n', self.path.read_text())

    def test_a_log_is_no_other_name_of_a_file(self) -> None:
        for make in (os.symlink, os.link):
            make(self.victim, self.path)
            self.assertRaises(RecoveryError, files.append, str(self.path))
            self.path.unlink()
        self.assertEqual(0o644, self.victim.stat().st_mode & 0o777)


class ParsedTest(TestCase):
    def test_what_nothing_here_can_hold(self) -> None:
        for text in ('[' * 100_000, '{"a": NaN}', '[Infinity]', '"\\ud800"',
                     '1' * 5000, '', 'x'):  # fmt: skip
            self.assertRaises(ValueError, files.parsed, text)

    def test_what_we_write_ourselves(self) -> None:
        for text, value in (
            ('{"a": [1, null, true]}', {'a': [1, None, True]}),
            ('"\\ud83d\\ude00"', '\N{GRINNING FACE}'),
        ):
            self.assertEqual(value, files.parsed(text))
