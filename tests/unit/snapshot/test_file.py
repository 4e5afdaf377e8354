# SPDX-License-Identifier: Apache-2.0

"""A snapshot file: whole, checked, and refused when it is not."""

from __future__ import annotations

import contextlib
import os
import pathlib
import resource
import signal
import sqlite3
import stat
import tempfile

import fixtures

from nova_recovery.exceptions import DatabaseUnavailable, RecoveryError
from nova_recovery.snapshot import reading, writing
from nova_recovery.snapshot.reading import Snapshot
from nova_recovery.snapshot.writing import Writer
from tests.base import TestCase
from tests.unit.snapshot import files


class FileTestCase(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.path = str(self.folder / 'one.snapshot')

    def written(self, count: int = 3, **more: object) -> str:
        servers = [
            {'uuid': f'server-{n}', 'id': n, 'name': 'é', 'host': 'np-rcc4'}
            for n in range(count)
        ]
        return files.write(self.path, {'servers': servers}, **more)


class TestWriting(FileTestCase):
    def test_read_back_as_it_was_written(self) -> None:
        with Snapshot(self.written()) as snapshot:
            self.assertTrue(snapshot.complete)
            self.assertEqual([], reading.problems(snapshot))
            rows = list(snapshot.rows('servers', host='np-rcc4'))
            self.assertEqual(
                [('cell:cell1', 0, 'é', None), ('cell:cell1', 1, 'é', None)],
                [
                    (r['source'], r['id'], r['name'], r['node'])
                    for r in rows[:2]
                ],
            )
        mode = stat.S_IMODE(os.stat(self.path).st_mode)
        self.assertEqual(0o600, mode)

    def test_an_unfinished_one_leaves_nothing(self) -> None:
        def fail() -> None:
            with Writer(self.path) as writer:
                writer.part('tags', 'cell:a', [('s', 't')])
                raise RecoveryError('the world ends')

        self.assertRaises(RecoveryError, fail)
        self.assertEqual([], os.listdir(self.folder))

    def test_a_file_that_is_there_is_not_replaced(self) -> None:
        self.written()
        error = self.assertRaises(RecoveryError, self.written)
        self.assertIn('exists already', str(error))

    def test_a_part_that_breaks_off_is_not_kept(self) -> None:
        def rows():
            for number in range(writing.BATCH + 1):
                yield 'server', f'tag-{number}'
            raise DatabaseUnavailable('cell1', 'gone')

        with Writer(self.path) as writer:
            writer.source('cell:a', 'cell')
            self.assertRaises(
                DatabaseUnavailable, writer.part, 'tags', 'cell:a', rows()
            )
            writer.missing('tags', 'cell:a', 'unknown', 'gone')
            writer.finish()
        with Snapshot(self.path) as snapshot:
            self.assertEqual([], list(snapshot.rows('tags')))
            self.assertFalse(snapshot.complete)
            self.assertEqual([], reading.problems(snapshot))

    def test_a_full_disk_is_one_line(self) -> None:
        # a file that may not grow fails as a disk that is full
        old = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGXFSZ, handler)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, old)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, old[1]))
        error = self.assertRaises(RecoveryError, self.written, 200_000)
        self.assertIn(f"{self.path}: can't be written: ", str(error))
        self.assertEqual([], os.listdir(self.folder))

    def test_a_folder_that_is_not_there(self) -> None:
        self.path = '/nowhere/one.snapshot'
        error = self.assertRaises(RecoveryError, self.written)
        self.assertIn('No such file or directory', str(error))


class TestDamage(FileTestCase):
    def refused(self) -> str:
        error = self.assertRaises(RecoveryError, Snapshot, self.path)
        self.assertNotIn('\n', str(error))
        return str(error)

    def change(self, statement: str) -> None:
        with sqlite3.connect(self.path) as file:
            file.execute(statement)
        file.close()

    def problems(self) -> list[str]:
        with Snapshot(self.path) as snapshot:
            return reading.problems(snapshot)

    def test_a_row_that_was_changed(self) -> None:
        self.written()
        self.change("UPDATE servers SET host = 'x' WHERE id = 1")
        self.assertEqual(
            ['servers of cell:cell1: rows were changed'], self.problems()
        )

    def test_a_row_that_was_removed_or_added(self) -> None:
        self.written()
        self.change('DELETE FROM servers WHERE id = 1')
        self.assertEqual(
            ['servers of cell:cell1: 2 rows, not 3'], self.problems()
        )
        self.change("INSERT INTO servers (source) VALUES ('cell:b')")
        self.assertEqual(
            ['servers: rows of cell:b, which is not listed'], self.problems()
        )

    def test_what_it_says_of_itself_was_changed(self) -> None:
        self.written(unknown=['tags'])
        self.change("UPDATE parts SET state = 'complete'")
        self.assertEqual(
            ['what it says of itself was changed'], self.problems()
        )

    def test_flipped_bytes_anywhere_are_found(self) -> None:
        whole = pathlib.Path(self.written(2000)).read_bytes()
        missed = []
        for place in range(200, len(whole), len(whole) // 40):
            torn = bytearray(whole)
            for offset in range(64):
                if place + offset < len(torn):
                    torn[place + offset] ^= 0xFF
            pathlib.Path(self.path).write_bytes(torn)
            try:
                found = self.problems()
            except RecoveryError as error:
                self.assertIn('damaged', str(error))
                found = ['unreadable']
            if not found and not _same_contents(bytes(torn), whole):
                missed.append(place)
        self.assertEqual([], missed)

    def test_cut_off(self) -> None:
        whole = pathlib.Path(self.written(2000)).read_bytes()
        pathlib.Path(self.path).write_bytes(whole[: len(whole) // 2])
        self.assertIn('cut off', self.refused())

    def test_empty_or_something_else(self) -> None:
        for contents in (b'', b'SELECT 1;' * 50, b'SQLite format 3\0' * 20):
            pathlib.Path(self.path).write_bytes(contents)
            self.assertIn('not a snapshot of nova-recovery', self.refused())

    def test_a_newer_version(self) -> None:
        self.written()
        self.change('PRAGMA user_version = 7')
        self.assertIn('format 7; this version reads format 1', self.refused())

    def test_not_there(self) -> None:
        self.assertIn('No such file', self.refused())


def _same_contents(torn: bytes, whole: bytes) -> bool:
    """Whether only bytes that hold nothing were changed."""
    rows = []
    for contents in (torn, whole):
        with tempfile.NamedTemporaryFile() as file:
            file.write(contents)
            file.flush()
            with contextlib.closing(sqlite3.connect(file.name)) as opened:
                rows.append(list(opened.iterdump()))
    return rows[0] == rows[1]
