# SPDX-License-Identifier: Apache-2.0

"""Volumes and live attachments, and where nova and cinder disagree.

Up to Juno the attachment is in the row of the volume, first in nova's
database, then in cinder's; since Kilo it has a table of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
import functools
import itertools
from typing import Any

import sqlalchemy as sa

from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.snapshot import format as format_module
from nova_recovery.snapshot import masking, streams
from nova_recovery.snapshot.streams import Stream
from nova_recovery.snapshot.writing import Writer

Rows = Iterator[Sequence[Any]]

_VOLUME = {
    'name': 'display_name',
    'volume_type': 'volume_type_id',
    'server': 'instance_uuid',
}


def markers(reader: Reader) -> dict[str, Any]:
    """The newest times in cinder, which has no numbers that only grow."""
    return {
        name: streams.plain(reader.highest(name, 'updated_at'))
        for name in ('volumes', 'volume_attachment')
    }


def write(stream: Stream, writer: Writer) -> None:
    """Write what cinder has.

    :raises DatabaseUnavailable: it doesn't answer any more
    :raises SchemaUnknown: it is no database of cinder
    """
    table = stream.database.tables['volumes']
    writer.part('volumes', stream.source, _volumes(stream, table))
    writer.part('attachments', stream.source, _attachments(stream, table))
    services = stream.table('services')
    if services is None:
        writer.missing(
            'services', stream.source, format_module.ABSENT, 'no such table'
        )
    else:
        writer.part(
            'services', stream.source, stream.section('services', services)
        )


def of_nova(stream: Stream) -> Rows | None:
    """The volumes that nova itself keeps (Essex); None: it keeps none."""
    table = _table_of_nova(stream)
    return None if table is None else _volumes(stream, table)


def attachments_of_nova(stream: Stream) -> Rows | None:
    """The attachments of :func:`of_nova`."""
    table = _table_of_nova(stream)
    return None if table is None else _of_volumes(stream, table)


def _table_of_nova(stream: Stream) -> sa.Table | None:
    # nova kept an empty table for years after cinder had taken them over
    table = stream.table('volumes')
    if table is None or 'instance_id' not in table.c:
        return None
    return table


def _volumes(stream: Stream, table: sa.Table) -> Rows:
    given: dict[str, Any] = {}
    if 'encryption_key_id' in table.c:
        # that there is one, not which one
        given['encrypted'] = table.c.encryption_key_id.is_not(None)
    server, source = _server(stream, table)
    if server is not None:
        given['server'] = server
    return stream.section(
        'volumes',
        table,
        renamed=_VOLUME,
        given=given,
        source=source,
        # a number in Essex
        convert={'id': str},
    )


def _attachments(stream: Stream, volumes: sa.Table) -> Rows:
    table = stream.table('volume_attachment')
    if table is None:
        return _of_volumes(stream, volumes)
    where = None
    if 'attach_status' in table.c:
        # with its detach_time it is history, although the row may be live
        where = sa.or_(
            table.c.attach_status.is_(None),
            table.c.attach_status != 'detached',
        )
    return stream.section(
        'attachments',
        table,
        renamed={
            'volume': 'volume_id',
            'server': 'instance_uuid',
            'host': 'attached_host',
            'mode': 'attach_mode',
            'status': 'attach_status',
        },
        convert={'connector': _connector},
        where=where,
    )


@functools.lru_cache(maxsize=4096)
def _connector(text: str | None) -> str | None:
    return masking.text(text)


def _of_volumes(stream: Stream, table: sa.Table) -> Rows:
    server, source = _server(stream, table)
    if server is None:
        server = table.c.instance_uuid
    return stream.section(
        'attachments',
        table,
        renamed={'host': 'attached_host', 'status': 'attach_status'},
        given={'volume': table.c.id, 'server': server, 'mode': sa.null()},
        convert={'id': str, 'volume': str},
        source=source,
        where=server.is_not(None),
    )


def _server(stream: Stream, table: sa.Table) -> tuple[Any, Any]:
    """The UUID of the server, and the join that it takes (Essex)."""
    if 'instance_id' not in table.c:
        return None, None
    servers = stream.database.tables['instances']
    return servers.c.uuid, table.outerjoin(
        servers, servers.c.id == table.c.instance_id
    )


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
    """Rows of the section ``differences``: nova and cinder disagree.

    Their databases are of two moments: a volume that was attached in
    between looks like a contradiction. So each is read again, and written
    down only when it is still there.

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
    cell: Database, volumes: Collection[str]
) -> Mapping[Pair, list[str | None]]:
    return _others(
        cell, 'block_device_mapping', 'volume_id', 'attachment_id', volumes
    )


def _attached(
    cinder: Database, volumes: Collection[str]
) -> Mapping[Pair, list[Any]]:
    if cinder.tables.has('volume_attachment'):
        return _others(cinder, 'volume_attachment', 'volume_id', 'id', volumes)
    return _others(cinder, 'volumes', 'id', 'id', volumes)


def _others(
    database: Database,
    table: str,
    volume: str,
    other: str,
    volumes: Collection[str],
) -> dict[Pair, list[Any]]:
    """Another column of the rows of each server and volume."""
    found: dict[Pair, list[Any]] = {}
    columns = ('instance_uuid', volume, other)
    with Reader.of(database) as reader:
        for row in reader.select(table, columns, volume, volumes):
            if row['instance_uuid'] is not None:
                pair = row['instance_uuid'], row[volume]
                found.setdefault(pair, []).append(row[other])
    return found
