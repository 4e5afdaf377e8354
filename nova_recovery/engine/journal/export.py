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
import pathlib
import re
import socket
import types
from typing import Any

from oslo_db import exception as db_exc
import sqlalchemy as sa

from nova_recovery import exceptions
from nova_recovery.engine import files, records, states
from nova_recovery.engine import images as images_module
from nova_recovery.engine.images import Images, KEY
from nova_recovery.engine.journal import models, rows
from nova_recovery.engine.plan import Item
from nova_recovery.engine.records import EventRecord
from nova_recovery.exceptions import JournalError, RecoveryError

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

    def lines() -> Iterator[str]:
        digest = hashlib.sha256()
        for line in _lines(connection, run_id, images):
            digest.update(line.encode())
            yield line
        yield _line({'sha256': digest.hexdigest()})

    try:
        files.write(str(path), lines(), replace=False)
    except JournalError:
        raise
    except RecoveryError as error:
        raise JournalError(str(error)) from error


def import_(
    connection: sa.engine.Connection,
    path: pathlib.Path,
    journal: str,
    images: Images,
) -> str:
    """Take a run from a file into the journal; return its id.

    The file may be anybody's: nothing of it is of another run, and the run
    can be shown and resumed, or it isn't taken.
    """
    try:
        with open(path, encoding='utf-8') as file:
            run_id = _check(path, file)
            # the same open file: what was checked is what is read
            file.seek(0)
            _insert(connection, run_id, file, journal, images)
    except (OSError, UnicodeError) as error:
        raise JournalError(
            f"{path} can't be read: {exceptions.plainly(error)}"
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = exceptions.plainly(error)
        raise JournalError(
            f'{path} is not a whole run: {why}; nothing was taken '
            'from it: export it once more'
        ) from error
    return run_id


def _lines(
    connection: sa.engine.Connection, run_id: str, images: Images
) -> Iterator[str]:
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


def _pieces(kept: dict[str, Any], images: Images) -> Iterator[str]:
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
    run_id = head.get('run')
    if not isinstance(run_id, str) or not re.fullmatch('[0-9a-f]{8}', run_id):
        raise ValueError('its head names no run')
    return run_id


def _insert(
    connection: sa.engine.Connection,
    run_id: str,
    file: Any,
    journal: str,
    images: Images,
) -> None:
    run: dict[str, Any] = {}
    items: dict[int, list[Item]] = {}
    number = 0
    lines = (
        _row(_parse(line), run_id) for line in itertools.islice(file, 1, None)
    )
    for table, group in itertools.groupby(lines, lambda line: line[0]):
        several = (row for _, row in group)
        if bool(run) == (table == 'runs'):
            # before it anything could be of a run that is here already
            raise ValueError('it has not one run, or not at its beginning')
        if table == 'runs':
            run, *more = several
            if more:
                raise ValueError('it has two runs')
            _insert_run(connection, run, journal)
        elif table == 'events':
            connection.execute(sa.insert(models.events), list(several))
        elif table == 'items':
            while chunk := list(itertools.islice(several, _CHUNK)):
                for place, row in enumerate(chunk, number):
                    record = rows.item_from(types.SimpleNamespace(**row))
                    items.setdefault(row['step'], []).append(record)
                    if row['number'] != place:
                        raise ValueError(f'item {place} is not in its place')
                number += len(chunk)
                connection.execute(sa.insert(models.items), chunk)
        elif table == 'images':
            _put_images(run_id, several, images)
    _check_whole(run, items)
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
            run_id,
            path,
            (base64.b64decode(one['piece'], validate=True) for one in some),
        )


def _row(line: dict[str, Any], run_id: str) -> tuple[str, dict[str, Any]]:
    """The table of a line, and its row as the journal keeps it.

    :raises KeyError, TypeError, ValueError: it is none of this run
    """
    if 'sha256' in line:
        return '', {}
    (name,) = line
    if name == 'images':
        return name, _piece(line[name], run_id)
    table, values = _TABLES[name], line[name]
    columns = {c.name: c for c in table.columns if not _is_made(c)}
    if set(values) != set(columns):
        strange = sorted(set(values) ^ set(columns))
        raise ValueError(f'{name}: {strange[0]!r} is missing or unknown')
    row = {key: _value(columns[key], values[key]) for key in columns}
    if name == 'runs':
        row |= _LOCAL
    own = row['id'] if name == 'runs' else row['run_id']
    if own != run_id:
        raise ValueError(f'{name}: a line is of another run than {run_id}')
    known = {'runs': states.OF_RUNS, 'items': states.ALL}.get(name)
    if known and row['state'] not in known:
        raise ValueError(f'{name}: {row["state"]!r} is no state')
    kept = records.unpack(row.get('image')).get(KEY)
    if kept is not None:
        _piece({**kept, 'piece': kept['sha256']}, run_id)
    return name, row


def _piece(values: Any, run_id: str) -> dict[str, Any]:
    """A piece of an image, whose file is of this run."""
    if not all(isinstance(values[key], str) for key in ('path', 'piece')):
        raise TypeError('images: a line is none')
    if not images_module.is_of(values['path'], run_id):
        raise ValueError(f'images: a line is of another run than {run_id}')
    return dict(values)


def _is_made(column: sa.Column[Any]) -> bool:
    """Whether the database numbers it itself."""
    return column.name == 'id' and isinstance(column.type, sa.Integer)


def _value(column: sa.Column[Any], value: Any) -> Any:
    """The value of a column, of its type.

    :raises TypeError, ValueError: it is of another
    """
    if value is None and column.nullable:
        return None
    kind: Any = column.type
    if isinstance(kind, sa.LargeBinary):
        wanted = list if column.name == 'follows' else dict
        good = isinstance(value, wanted)
    elif isinstance(kind, sa.Boolean):
        good = isinstance(value, bool)
    elif isinstance(kind, sa.Integer):
        good = type(value) is int and 0 <= value < 2**31
        # a sign of life is of this journal
        good = good or column.name == 'heard'
    else:
        good = isinstance(value, str) and len(value) <= (kind.length or 2**24)
    if not good:
        raise TypeError(f'{column.name} {str(value)[:40]!r} is none')
    return records.pack(value) if isinstance(kind, sa.LargeBinary) else value


def _check_whole(run: dict[str, Any], items: dict[int, list[Item]]) -> None:
    """:raises KeyError, TypeError, ValueError: it is not the run's plan"""
    if not run:
        raise ValueError('it has no run')
    head = records.unpack(run['plan'])
    if not set(items) <= set(range(len(head['steps']))):
        raise ValueError('an item is of no step')
    for item in itertools.chain.from_iterable(items.values()):
        if not all(isinstance(one, str) for one in item.follows):
            raise TypeError(f'item {item.id!r} follows what is no subject')
    if rows.plan_from(head, items).digest != run['digest']:
        raise ValueError('its plan is not the one of its digest')


def _insert_run(
    connection: sa.engine.Connection, values: dict[str, Any], journal: str
) -> None:
    try:
        connection.execute(sa.insert(models.runs).values(values))
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


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(',', ':')) + '\n'


def _parse(line: str) -> dict[str, Any]:
    try:
        value = files.parsed(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
