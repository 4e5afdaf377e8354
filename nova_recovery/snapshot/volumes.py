# SPDX-License-Identifier: Apache-2.0

"""Volumes and their live attachments, wherever a release keeps them.

Up to Juno the attachment is in the row of the volume, first in nova's
database, then in cinder's; since Kilo it has a table of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import functools
from typing import Any

import sqlalchemy as sa

from nova_recovery.snapshot import format as format_module
from nova_recovery.snapshot import masking
from nova_recovery.snapshot.streams import Stream
from nova_recovery.snapshot.writing import Writer

Rows = Iterator[Sequence[Any]]

_VOLUME = {
    'name': 'display_name',
    'volume_type': 'volume_type_id',
    'server': 'instance_uuid',
}


def markers(stream: Stream) -> dict[str, Any]:
    """The newest times in cinder, which has no numbers that only grow."""
    return {
        name: stream.newest(name, 'updated_at')
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
