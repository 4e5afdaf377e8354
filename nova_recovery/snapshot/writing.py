# SPDX-License-Identifier: Apache-2.0

"""A snapshot being written: whole and on disk, or not there at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
import contextlib
import hashlib
import itertools
import json
import os
import sqlite3
import tempfile
import types
from typing import Any

from nova_recovery import exceptions
from nova_recovery.exceptions import RecoveryError
from nova_recovery.snapshot import format as format_module

Row = Sequence[Any]
Progress = Callable[[str, int], None]

#: Rows that are held in memory at a time.
BATCH = 1000

#: How the temporary files begin that a killed writer leaves behind.
TEMPORARY = '.snapshot-'

_ENCODE = json.JSONEncoder(separators=(',', ':')).encode


class Writer:
    """Fills a file, mode 0600, that appears under its name when finished.

    Used as a context manager; without :meth:`finish` nothing is left.

    :param path: where the file will be; it must not exist
    :param progress: told the section and the number of rows of each batch
    :raises RecoveryError: the file can't be made, or exists
    """

    def __init__(
        self, path: str, progress: Progress = lambda section, rows: None
    ) -> None:
        self.path = os.path.abspath(path)
        self._progress = progress
        self._sources: set[str] = set()
        self._parts: set[tuple[str, str]] = set()
        if os.path.lexists(self.path):
            raise RecoveryError(f'{self.path}: exists already')
        try:
            handle, self._temporary = tempfile.mkstemp(
                prefix=TEMPORARY, dir=os.path.dirname(self.path)
            )
        except OSError as error:
            raise self._failed(exceptions.plainly(error)) from error
        os.close(handle)
        try:
            self._begin()
        except RecoveryError:
            os.unlink(self._temporary)
            raise

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self._file.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._temporary)

    def meta(self, **values: Any) -> None:
        """Say what the file is."""
        with self._writing():
            self._file.executemany(
                'INSERT INTO meta VALUES (?, ?)', values.items()
            )

    def source(
        self,
        name: str,
        kind: str,
        state: str = format_module.COMPLETE,
        taken_at: str | None = None,
        offset: float | None = None,
        markers: Any = None,
        detail: str = '',
    ) -> None:
        """Say where rows are from.

        :param taken_at: the moment of its snapshot, by its own clock, UTC
        :param offset: seconds from when the first source was opened
        """
        if name in self._sources:
            raise RecoveryError(f'{name} is in this snapshot already')
        self._sources.add(name)
        with self._writing():
            self._file.execute(
                'INSERT INTO sources VALUES (?, ?, ?, ?, ?, ?, ?)',
                (
                    name,
                    kind,
                    state,
                    taken_at,
                    offset,
                    _ENCODE(markers or {}),
                    detail,
                ),
            )

    def part(self, section: str, source: str, rows: Iterable[Row]) -> int:
        """Write all rows of a section that a source has; how many.

        When reading them fails nothing of the part is kept.

        :param rows: of the section's columns, of integers, floats, strings
            and None only
        """
        wanted = format_module.SECTIONS[section].columns
        insert = (
            f'INSERT INTO {section} VALUES'  # nosec B608
            f' ({", ".join("?" * (len(wanted) + 1))})'
        )
        digest, count = hashlib.sha256(), 0
        iterator = iter(rows)
        try:
            while batch := [
                (source, *row) for row in itertools.islice(iterator, BATCH)
            ]:
                digest.update(fingerprint(batch))
                with self._writing():
                    self._file.executemany(insert, batch)
                count += len(batch)
                self._progress(section, len(batch))
        except RecoveryError:
            with self._writing():
                self._file.execute(
                    f'DELETE FROM {section} WHERE source = ?',  # nosec B608
                    (source,),
                )
            raise
        self._part(
            section, source, format_module.COMPLETE, count, digest.hexdigest()
        )
        return count

    def missing(
        self, section: str, source: str, state: str, detail: str
    ) -> None:
        """Say why a source has no rows in a section."""
        self._part(
            section, source, state, 0, hashlib.sha256().hexdigest(), detail
        )

    def has(self, section: str, source: str) -> bool:
        """Whether something was written or said of a part."""
        return (section, source) in self._parts

    def index(self, section: str) -> None:
        """Make a section searchable before everything is written."""
        with self._writing():
            for statement in format_module.indexes(section):
                self._file.execute(statement)

    def select(self, query: str) -> Iterator[Any]:
        """Ask what was written so far, such as to compare two sections."""
        with self._writing():
            yield from self._file.execute(query)

    def finish(self) -> None:
        """Make the file whole, put it on disk, and under its name."""
        with self._writing():
            for name in format_module.SECTIONS:
                self.index(name)
            self._file.execute(
                'INSERT INTO meta VALUES (?, ?)',
                ('checksum', checksum(self._file)),
            )
            self._file.execute('COMMIT')
            self._file.close()
        try:
            with open(self._temporary, 'rb') as file:
                os.fsync(file.fileno())
            # unlike a rename, it never replaces what is there
            os.link(self._temporary, self.path)
            os.unlink(self._temporary)
            folder = os.open(
                os.path.dirname(self.path), os.O_RDONLY | os.O_DIRECTORY
            )
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise self._failed(exceptions.plainly(error)) from error

    def _begin(self) -> None:
        with self._writing():
            # one writer, and a file that is thrown away when it is not
            # finished: nothing to roll back to
            self._file = sqlite3.connect(
                self._temporary, isolation_level=None, timeout=0
            )
            self._file.execute('PRAGMA page_size = 8192')
            self._file.execute('PRAGMA journal_mode = OFF')
            self._file.execute('PRAGMA synchronous = OFF')
            self._file.execute('PRAGMA cache_size = -16384')
            self._file.execute('BEGIN')
            for statement in format_module.tables():
                self._file.execute(statement)

    def _part(
        self,
        section: str,
        source: str,
        state: str,
        rows: int,
        sha256: str,
        detail: str = '',
    ) -> None:
        self._parts.add((section, source))
        with self._writing():
            self._file.execute(
                'INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?)',
                (section, source, state, rows, sha256, detail),
            )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            # "database or disk is full", "disk I/O error"
            raise self._failed(str(error)) from error

    def _failed(self, why: str) -> RecoveryError:
        return RecoveryError(f"snapshot {self.path}: can't be written: {why}")


def fingerprint(batch: Sequence[Row]) -> bytes:
    """What the checksum of a part is made over."""
    return b''.join(_ENCODE(row).encode() + b'\n' for row in batch)


def checksum(file: sqlite3.Connection) -> str:
    """The checksum over what the file says of itself.

    It covers the rows too, for those of each part have one of their own.
    """
    digest = hashlib.sha256()
    for query in (
        "SELECT * FROM meta WHERE key != 'checksum' ORDER BY key",
        'SELECT * FROM sources ORDER BY source',
        'SELECT * FROM parts ORDER BY section, source',
    ):
        digest.update(fingerprint(list(file.execute(query))))
    return digest.hexdigest()
