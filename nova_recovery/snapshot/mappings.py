# SPDX-License-Identifier: Apache-2.0

"""Where nova's mappings and cinder's attachments contradict each other.

The two databases are of two moments: a volume that was attached in between
looks like a contradiction. So each is read again, and written down only
when it is still there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import itertools
from typing import Any

import sqlalchemy as sa

from nova_recovery.cloud.db import schema
from nova_recovery.cloud.db.database import Database
from nova_recovery.snapshot.streams import Stream
from nova_recovery.snapshot.writing import Writer

#: Volumes that are read again in one query.
BATCH = 500

_SUSPECTS = """
SELECT server, volume, device_name FROM devices AS d
WHERE volume IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM attachments AS a
    WHERE a.volume = d.volume AND a.server = d.server
    AND (d.attachment IS NULL OR a.id = d.attachment))
UNION
SELECT server, volume, mountpoint FROM attachments AS a
WHERE server IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM devices AS d
    WHERE d.volume = a.volume AND d.server = a.server)
"""

Pair = tuple[str, str]


def differences(
    writer: Writer, cells: Sequence[Database], cinder: Database
) -> Iterator[Sequence[Any]]:
    """Rows of the section ``differences``.

    :param cells: all of them: what one that is left out has would be told
        as missing
    :raises DatabaseUnavailable: one doesn't answer any more
    """
    for section in ('devices', 'attachments'):
        writer.index(section)
    suspects = writer.select(_SUSPECTS)
    while batch := list(itertools.islice(suspects, BATCH)):
        wanted = sorted({row[1] for row in batch})
        mapped: dict[Pair, list[str | None]] = {}
        for cell in cells:
            mapped |= _mapped(cell, wanted)
        attached = _attached(cinder, wanted)
        for server, volume, device in batch:
            found = _judged(
                mapped.get((server, volume)), attached.get((server, volume))
            )
            if found is not None:
                yield found[0], server, volume, device, *found[1:]


def _judged(
    nova: Sequence[str | None] | None, cinder: Sequence[str] | None
) -> tuple[str, str | None, str | None] | None:
    """The code and what each of them says; None when they agree."""
    if nova is None and cinder is None:
        return None
    if nova is None:
        return 'attachment-without-mapping', None, _words(cinder or ())
    if cinder is None:
        return 'mapping-without-attachment', _words(nova), None
    strange = [one for one in nova if one is not None and one not in cinder]
    if strange:
        return 'mapping-of-other-attachment', _words(nova), _words(cinder)
    return None


def _words(ids: Sequence[str | None]) -> str:
    return ' '.join(one or '(no attachment id)' for one in ids)


def _mapped(
    cell: Database, volumes: Sequence[str]
) -> Mapping[Pair, list[str | None]]:
    table = cell.tables['block_device_mapping']
    attachment = (
        table.c.attachment_id if 'attachment_id' in table.c else sa.null()
    )
    return _grouped(
        cell,
        sa.select(table.c.instance_uuid, table.c.volume_id, attachment).where(
            schema.live(table), table.c.volume_id.in_(volumes)
        ),
    )


def _attached(
    cinder: Database, volumes: Sequence[str]
) -> Mapping[Pair, list[Any]]:
    if cinder.tables.has('volume_attachment'):
        table = cinder.tables['volume_attachment']
        volume = table.c.volume_id
    else:
        table = cinder.tables['volumes']
        volume = table.c.id
    return _grouped(
        cinder,
        sa.select(table.c.instance_uuid, volume, table.c.id).where(
            schema.live(table),
            volume.in_(volumes),
            table.c.instance_uuid.is_not(None),
        ),
    )


def _grouped(database: Database, query: Any) -> dict[Pair, list[Any]]:
    found: dict[Pair, list[Any]] = {}
    with database.reader() as connection:
        stream = Stream('', database, connection)
        # closed before its connection is, whatever happens
        with contextlib.closing(stream.rows(query)) as rows:
            for server, volume, other in rows:
                found.setdefault((server, volume), []).append(other)
    return found
