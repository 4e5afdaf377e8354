# SPDX-License-Identifier: Apache-2.0

"""A snapshot being read, and whether it still is what was written."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
import sqlite3
import types
from typing import Any
import urllib.parse

from nova_recovery import exceptions, program
from nova_recovery.cloud.db.identity import Identity
from nova_recovery.compat import pairs, utc
from nova_recovery.exceptions import RecoveryError
from nova_recovery.snapshot import format as format_module
from nova_recovery.snapshot import writing

_MAGIC = b'SQLite format 3\0'


@dataclasses.dataclass(frozen=True)
class Source:
    """Where rows are from: a cell, a database, an API, a host.

    :ivar kind: ``cell``, ``api``, ``cinder``, ``neutron``, ``placement``,
        ``host``, or ``rules`` (of a host that was asked; its detail is the
        machine-id)
    :ivar taken_at: the moment of its rows by its own clock, UTC
    :ivar offset: seconds after the first source was opened
    :ivar markers: the highest ids and newest times in it
    """

    name: str
    kind: str
    state: str
    taken_at: str | None
    offset: float | None
    markers: dict[str, Any]
    detail: str


@dataclasses.dataclass(frozen=True)
class Part:
    """What a section has from a source."""

    section: str
    source: str
    state: str
    rows: int
    sha256: str
    detail: str


class Snapshot:
    """A snapshot file, open for reading; a context manager.

    :ivar meta: what it says of itself: ``taken_at``, ``machine``,
        ``program`` (the version that made it), ``cloud``, ``checksum``
    :raises RecoveryError: it can't be read, is damaged, no snapshot, or
        of a newer version
    """

    def __init__(self, path: str) -> None:
        self.path = path
        _check_header(path)
        with self.reading():
            self.file = sqlite3.connect(uri(path), uri=True)
            self.meta: dict[str, Any] = dict(
                self.file.execute('SELECT key, value FROM meta')
            )
            self.sources = [
                Source(
                    name, kind, state, at, offset, json.loads(found), detail
                )
                for (
                    name,
                    kind,
                    state,
                    at,
                    offset,
                    found,
                    detail,
                ) in self.file.execute('SELECT * FROM sources')
            ]
            self.parts = [
                Part(*row) for row in self.file.execute('SELECT * FROM parts')
            ]
            self._check_types()

    def _check_types(self) -> None:
        """SQLite keeps anything in any column, and anybody may write one.

        :raises TypeError: it says of itself what no snapshot does
        """
        texts = [
            *(self.meta.get(key, '') for key in ('taken_at', 'machine')),
            *(x for s in self.sources for x in (s.name, s.kind, s.state)),
            *(x for p in self.parts for x in (p.section, p.source, p.state)),
            *(part.sha256 for part in self.parts),
            *(source.detail for source in self.sources),
            *(part.detail for part in self.parts),
        ]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError('what it says of itself is no text')
        if not all(isinstance(part.rows, int) for part in self.parts):
            raise TypeError('a number of rows is none')
        if not all(isinstance(one.markers, dict) for one in self.sources):
            raise TypeError('the markers of a source are none')

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.file.close()

    @property
    def cloud(self) -> Identity:
        """Of which cloud it is; nothing where it does not say so."""
        with self.reading():
            found = json.loads(self.meta.get('cloud') or '[]')
            if not all(isinstance(one, str) for one in found):
                raise TypeError('its cloud is no text')
            return frozenset(found)

    @property
    def tables(self) -> frozenset[str]:
        """The tables of the file."""
        return frozenset(
            name
            for (name,) in self.file.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
            )
        )

    @property
    def unknown(self) -> list[Part]:
        """The parts that could not be read when it was taken."""
        return [
            part for part in self.parts if part.state == format_module.UNKNOWN
        ]

    @property
    def complete(self) -> bool:
        """Whether everything was read, and something was."""
        return bool(self.parts) and all(
            part.section in format_module.BESIDE for part in self.unknown
        )

    def has(self, section: str) -> bool:
        """Whether anything is said of a section; older files lack some."""
        return any(part.section == section for part in self.parts)

    @property
    def hosts(self) -> list[str]:
        """The hosts that told of themselves."""
        return sorted(
            source.name.partition(':')[2]
            for source in self.sources
            if source.kind == 'host'
        )

    def count(self, section: str) -> int:
        return sum(p.rows for p in self.parts if p.section == section)

    def rows(self, section: str, **equal: Any) -> Iterator[dict[str, Any]]:
        """The rows of a section, as they were read, one after the other.

        :param equal: only those where these columns have these values
        """
        if not self.has(section):
            return
        known = format_module.SECTIONS[section]
        columns = ('source', *known.columns)
        where = ' AND '.join(f'{name} IS ?' for name in equal) or '1'
        with self.reading():
            for row in self.file.execute(
                f'SELECT {", ".join(columns)} FROM {section}'  # nosec B608
                f' WHERE {where} ORDER BY rowid',
                tuple(equal.values()),
            ):
                yield dict(pairs(columns, row))

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Say what is wrong with the file in one line."""
        with readable(self.path):
            yield


@contextlib.contextmanager
def readable(path: str) -> Iterator[None]:
    """Turn what SQLite says of a bad file into our error."""
    try:
        yield
    except (sqlite3.Error, ValueError, TypeError, RecursionError) as error:
        why = exceptions.plainly(error)
        raise RecoveryError(
            f'snapshot {path}: damaged: {why}; take another of '
            f'"{program.call("snapshot list")}"'
        ) from error


def uri(path: str) -> str:
    """What SQLite opens without writing anything beside the file."""
    quoted = urllib.parse.quote(os.path.abspath(path))
    return f'file:{quoted}?mode=ro&immutable=1'


def is_one(path: str) -> bool:
    """Whether a file begins as a snapshot does."""
    try:
        with open(path, 'rb') as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except (OSError, ValueError):
        return False


def _check_header(path: str) -> None:
    # https://www.sqlite.org/fileformat.html#the_database_header
    try:
        with open(path, 'rb') as file:
            head = file.read(100)
            size = os.fstat(file.fileno()).st_size
    except (OSError, ValueError) as error:
        # ValueError: a NUL in its name
        why = getattr(error, 'strerror', error)
        raise RecoveryError(
            f"snapshot {path}: can't be read: {why}"
        ) from error
    application = int.from_bytes(head[68:72], 'big')
    if head[:16] != _MAGIC or application != format_module.APPLICATION_ID:
        raise RecoveryError(f'{path}: not a snapshot of nova-recovery')
    version = int.from_bytes(head[60:64], 'big')
    if version != format_module.VERSION:
        raise RecoveryError(
            f'snapshot {path}: format {version}; this version reads format '
            f'{format_module.VERSION}. Use the version that made it'
        )
    pages = int.from_bytes(head[28:32], 'big')
    page = int.from_bytes(head[16:18], 'big')
    if size < pages * page:
        raise RecoveryError(
            f'snapshot {path}: cut off: {size} of {pages * page} bytes'
        )


def pulse(snapshot: Snapshot, down_time: int) -> tuple[int, int]:
    """How many computes it has, and how many of them were dead by then.

    Those that somebody took out of service don't count.

    :param down_time: seconds without a heartbeat that make a compute dead
    """
    moments = {
        source.name: found
        for source in snapshot.sources
        if source.kind == 'cell' and (found := moment(source.taken_at))
    }
    ages = []
    for row in snapshot.rows('services', binary='nova-compute'):
        now = moments.get(str(row['source']))
        seen = moment(row['last_seen_up'] or row['updated_at'])
        if now is not None and not row['disabled']:
            ages.append((now - seen).total_seconds() if seen else None)
    return len(ages), sum(age is None or age > down_time for age in ages)


def moment(text: Any) -> datetime.datetime | None:
    """A time of a snapshot, in UTC without a zone; None for no time."""
    try:
        return utc(str(text))
    except ValueError:
        return None


def problems(snapshot: Snapshot) -> list[str]:
    """What is damaged; empty when every row is as it was written.

    :raises RecoveryError: it is damaged so that it can't be read at all
    """
    found: list[str] = []
    with snapshot.reading():
        if snapshot.meta.get('checksum') != writing.checksum(snapshot.file):
            found.append('what it says of itself was changed')
        for (answer,) in snapshot.file.execute('PRAGMA quick_check(3)'):
            if answer != 'ok':
                # the rest of its first line is the name of the database
                found.append(' '.join(str(answer).split()))
    for name in format_module.SECTIONS:
        found += _of_section(snapshot, name)
    return found


def _of_section(snapshot: Snapshot, name: str) -> list[str]:
    parts = {p.source: p for p in snapshot.parts if p.section == name}
    if not parts and not snapshot.tables & {name}:
        return []
    hashes = {source: hashlib.sha256() for source in parts}
    counts = dict.fromkeys(parts, 0)
    with snapshot.reading():
        cursor = snapshot.file.execute(
            f'SELECT * FROM {name} ORDER BY rowid'  # nosec B608
        )
        while batch := cursor.fetchmany(writing.BATCH):
            for row in batch:
                if row[0] not in parts:
                    return [f'{name}: rows of {row[0]}, which is not listed']
                counts[row[0]] += 1
                hashes[row[0]].update(writing.fingerprint([row]))
    found = []
    for source, part in parts.items():
        if counts[source] != part.rows:
            found.append(
                f'{name} of {source}: {counts[source]} rows, not {part.rows}'
            )
        elif hashes[source].hexdigest() != part.sha256:
            found.append(f'{name} of {source}: rows were changed')
    return found
