# SPDX-License-Identifier: Apache-2.0

"""Snapshots and maps that anybody may have made are read, or told about."""

from __future__ import annotations

import contextlib
import pathlib
import sqlite3
from typing import Any

import fixtures
import hypothesis
from hypothesis import strategies

from nova_recovery.exceptions import RecoveryError
from nova_recovery.snapshot import comparing, mapfile, reading, store
from nova_recovery.snapshot import format as format_module
from nova_recovery.snapshot.reading import Snapshot
from tests.base import TestCase
from tests.unit.snapshot import files

#: What SQLite may hold in any column.
CELL = (
    strategies.none()
    | strategies.integers(-(2**63), 2**63 - 1)
    | strategies.floats(allow_nan=False)
    | strategies.text(max_size=8)
    | strategies.binary(max_size=8)
    | strategies.sampled_from(['[' * 100_000, '{"a": 1}', '[]', '1', 'null'])
)
QUICK = hypothesis.settings(
    max_examples=60, deadline=None, derandomize=True, database=None
)


class SnapshotTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.good = files.write(
            str(self.folder / '2026-11-22T14-49-50Z.snapshot'),
            {
                'servers': [{'uuid': files.WEB, 'name': 'web', 'host': 'h'}],
                'volumes': [{'id': files.VOLUME, 'status': 'in-use'}],
                'devices': [{'volume': files.VOLUME, 'server': files.WEB}],
            },
        )
        self.path = self.folder / '2026-11-22T14-49-51Z.snapshot'
        self.whole = pathlib.Path(self.good).read_bytes()

    def told(self) -> None:
        """All that is done with a snapshot: it works or is refused."""
        for look in (self.read, self.compare, self.map, self.check):
            with contextlib.suppress(RecoveryError):
                look()
        for entry in store.entries(str(self.folder)):
            repr(entry)
        with contextlib.suppress(RecoveryError):
            store.resolve(str(self.folder), 'latest')

    def read(self) -> None:
        with Snapshot(str(self.path)) as snapshot:
            repr((snapshot.complete, snapshot.hosts))
            for section in format_module.SECTIONS:
                snapshot.count(section)
                list(snapshot.rows(section))

    def compare(self) -> None:
        with Snapshot(self.good) as one, Snapshot(str(self.path)) as two:
            list(comparing.differences(one, two))
            list(comparing.differences(two, one))

    def map(self) -> None:
        with Snapshot(str(self.path)) as snapshot:
            list(mapfile.lines(snapshot))

    def check(self) -> None:
        with Snapshot(str(self.path)) as snapshot:
            reading.problems(snapshot)

    @QUICK
    @hypothesis.given(strategies.data())
    def test_any_bytes_in_any_place(self, data: Any) -> None:
        text = bytearray(self.whole)
        for _ in range(data.draw(strategies.integers(1, 4))):
            place = data.draw(strategies.integers(0, len(text) - 1))
            some = data.draw(strategies.binary(max_size=4))
            text[place : place + len(some)] = some
        self.path.write_bytes(text)
        self.told()

    @QUICK
    @hypothesis.given(strategies.data())
    def test_any_value_in_any_column(self, data: Any) -> None:
        self.path.write_bytes(self.whole)
        with sqlite3.connect(self.path) as file:
            names = [
                row[0]
                for row in file.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table'"
                )
            ]
            name = data.draw(strategies.sampled_from(sorted(names)))
            columns = [
                row[1] for row in file.execute(f'PRAGMA table_info({name})')
            ]
            column = data.draw(strategies.sampled_from(columns))
            with contextlib.suppress(sqlite3.Error):
                file.execute(
                    f'UPDATE {name} SET {column} = ?', (data.draw(CELL),)
                )
        file.close()
        self.told()

    def test_tables_that_are_missing(self) -> None:
        for name in ('meta', 'sources', 'parts', 'servers', 'devices'):
            self.path.write_bytes(self.whole)
            with sqlite3.connect(self.path) as file:
                file.execute(f'DROP TABLE {name}')
            file.close()
            self.told()

    def test_what_is_no_file(self) -> None:
        for path in ('a\0b', '/', '/nowhere', '/dev/null', 'x' * 300):
            self.assertRaises(RecoveryError, Snapshot, path)
            if path != '/dev/null':
                # an empty map is one
                self.assertRaises(RecoveryError, mapfile.load, path)


_WORDS = strategies.sampled_from(
    f'{files.VOLUME} {files.WEB} {files.WEB.upper()} /dev/vdb vdb auto # '
    'volume \0 \x1b[2J \u20ac'.split(' ')
)


class MapTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.path /= 'map'

    @QUICK
    @hypothesis.given(
        strategies.lists(strategies.lists(_WORDS, max_size=4), max_size=5),
        strategies.binary(max_size=8),
    )
    def test_any_map(self, lines: list[list[str]], tail: bytes) -> None:
        text = '\n'.join(' '.join(line) for line in lines)
        self.path.write_bytes(text.encode() + tail)
        with contextlib.suppress(RecoveryError):
            mapfile.load(str(self.path))
