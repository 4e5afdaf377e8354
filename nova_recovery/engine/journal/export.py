# SPDX-License-Identifier: Apache-2.0

"""A run in one file: for the day when the controller is lost too.

JSON Lines: a head, the run with its plan, its events, its items, the files
of before-images in pieces, and at last the SHA-256 of all lines before.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
import contextlib
import hashlib
import itertools
import json
import os
import pathlib
import secrets
import socket
from typing import Any

from oslo_db import exception as db_exc
import sqlalchemy as sa

from nova_recovery.engine import records
from nova_recovery.engine.images import Images, KEY
from nova_recovery.engine.journal import models, rows
from nova_recovery.engine.journal.errors import JournalError
from nova_recovery.engine.records import EventRecord

#: Of the file; a change that older versions would misread increases it.
FORMAT = 2

_CHUNK = 1000
#: Bytes of an image in a line.
_PIECE = 2**18
_TABLES = {
    table.name: table for table in (models.runs, models.events, models.items)
}
#: Not of the run but of this journal.
_LOCAL = {'holder': '', 'heard': 0}


def export(
    connection: sa.engine.Connection,
    run_id: str,
    path: pathlib.Path,
    images: Images,
) -> None:
    """Write a run to a new file, whole or not at all."""
    if path.exists():
        raise JournalError(f'{path} exists; it was left as it is')
    temporary = path.with_name(f'.{path.name}.{secrets.token_hex(4)}')
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with open(os.open(temporary, flags, 0o600), 'wb') as file:
            digest = hashlib.sha256()
            for line in _lines(connection, run_id, images):
                digest.update(line)
                file.write(line)
            file.write(_line({'sha256': digest.hexdigest()}))
            file.flush()
            os.fsync(file.fileno())
        # unlike a rename, a link never replaces what came in between
        os.link(temporary, path)
        _sync_directory(path.parent)
    except OSError as error:
        raise JournalError(
            f"{path} can't be written: {error.strerror or error}"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def import_(
    connection: sa.engine.Connection,
    path: pathlib.Path,
    journal: str,
    images: Images,
) -> str:
    """Take a run from a file into the journal; return its id."""
    try:
        with open(path, encoding='utf-8') as file:
            run_id = _check(path, file)
            # the same open file: what was checked is what is read
            file.seek(0)
            _insert(connection, run_id, file, journal, images)
    except (OSError, UnicodeDecodeError) as error:
        raise JournalError(f"{path} can't be read: {error}") from error
    return run_id


def _lines(
    connection: sa.engine.Connection, run_id: str, images: Images
) -> Iterator[bytes]:
    yield _line({'nova-recovery': 'run', 'format': FORMAT, 'run': run_id})
    runs, events, items = _TABLES.values()
    run = connection.execute(sa.select(runs).where(runs.c.id == run_id)).one()
    yield _line({'runs': _encode({**run._mapping, **_LOCAL})})
    query = sa.select(events).where(events.c.run_id == run_id)
    for event in connection.execute(query.order_by(events.c.id)).all():
        values = {k: v for k, v in event._mapping.items() if k != 'id'}
        yield _line({'events': values})
    query = sa.select(items).where(items.c.run_id == run_id)
    for item in rows.in_chunks(
        lambda: contextlib.nullcontext(connection), query
    ):
        values = _encode(item._mapping)
        yield _line({'items': values})
        if kept := (values['image'] or {}).get(KEY):
            yield from _pieces(kept, images)


def _pieces(kept: dict[str, Any], images: Images) -> Iterator[bytes]:
    with images.open(kept) as file:
        while piece := file.read(_PIECE):
            text = base64.b64encode(piece).decode()
            yield _line({'images': {'path': kept['path'], 'piece': text}})


def _check(path: pathlib.Path, file: Any) -> str:
    """Verify the whole file before anything is taken; return the run."""
    digest = hashlib.sha256()
    head = _parse(file.readline())
    if head.get('nova-recovery') != 'run':
        raise JournalError(f'{path} is not an exported run')
    if head.get('format') not in range(1, FORMAT + 1):
        raise JournalError(
            f'{path} has format {head.get("format")}, and this '
            f'nova-recovery reads formats up to {FORMAT}: use the version '
            f'that wrote it, or a newer one'
        )
    file.seek(0)
    line = next(file)
    for following in file:
        digest.update(line.encode())
        line = following
    if _parse(line) != {'sha256': digest.hexdigest()}:
        raise JournalError(
            f'{path} is damaged or cut off: its checksum is wrong; copy it '
            f'again from where it was exported'
        )
    return str(head['run'])


def _insert(
    connection: sa.engine.Connection,
    run_id: str,
    file: Any,
    journal: str,
    images: Images,
) -> None:
    lines = (next(iter(_parse(line).items())) for line in file)
    for table, group in itertools.groupby(lines, lambda line: line[0]):
        several = (values for _, values in group)
        if table == 'runs':
            _insert_run(connection, next(several), journal)
        elif table == 'events':
            connection.execute(sa.insert(models.events), list(several))
        elif table == 'items':
            while chunk := list(itertools.islice(several, _CHUNK)):
                rows_of = [_decode(values) for values in chunk]
                connection.execute(sa.insert(models.items), rows_of)
        elif table == 'images':
            _put_images(run_id, several, images)
    rows.add_event(
        connection,
        run_id,
        EventRecord(
            records.now(), 'imported', '', socket.gethostname(), file.name
        ),
    )


def _put_images(
    run_id: str, pieces: Iterator[dict[str, Any]], images: Images
) -> None:
    for path, some in itertools.groupby(pieces, lambda one: one['path']):
        images.put(
            run_id, path, (base64.b64decode(one['piece']) for one in some)
        )


def _insert_run(
    connection: sa.engine.Connection, values: dict[str, Any], journal: str
) -> None:
    try:
        connection.execute(sa.insert(models.runs).values(_decode(values)))
    except db_exc.DBDuplicateEntry:
        raise JournalError(
            f'run {values["id"]} is in the journal {journal} already'
        ) from None


def _encode(row: Any) -> dict[str, Any]:
    """A row as JSON; packed columns as what is in them."""
    return {
        key: records.unpack(value) if isinstance(value, bytes) else value
        for key, value in row.items()
    }


def _decode(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: records.pack(value)
        if key in _PACKED and value is not None
        else value
        for key, value in values.items()
    }


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(',', ':')).encode() + b'\n'


def _parse(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _sync_directory(directory: pathlib.Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_PACKED = frozenset(
    column.name
    for table in _TABLES.values()
    for column in table.columns
    if isinstance(column.type, sa.LargeBinary)
)
