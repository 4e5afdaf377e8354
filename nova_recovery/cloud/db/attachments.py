# SPDX-License-Identifier: Apache-2.0

"""Cinder's attachments, from its database: how hosts are connected."""

from __future__ import annotations

from collections.abc import Iterable
import json
from typing import Any

import sqlalchemy as sa

from nova_recovery.cloud import secrets
from nova_recovery.cloud.db.database import Database

#: What belongs to one attachment rather than to the host.
_OF_THE_ATTACHMENT = ('mountpoint', 'mode', 'instance_uuid')


def connectors(
    cinder: Database, attachments: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """How each attachment is connected (Queens and later store it).

    :returns: attachment id -> {'mode', 'connector': the host's, or None};
        nothing where cinder is too old to store it
    """
    if not cinder.tables.has('volume_attachment', 'connector'):
        return {}
    table = cinder.tables['volume_attachment']
    with cinder.reader() as connection:
        found = connection.execute(
            sa.select(
                table.c.id, table.c.attach_mode, table.c.connector
            ).where(table.c.id.in_(list(attachments)))
        ).all()
    return {
        row[0]: {'mode': row[1] or '', 'connector': _connector(row[2])}
        for row in found
    }


def of_hosts(
    cinder: Database, hosts: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """The connector of each host, from any live attachment to it.

    It is the same for all volumes of a host: its initiator, its addresses.
    Nothing where cinder is too old to store it.
    """
    if not cinder.tables.has('volume_attachment', 'connector'):
        return {}
    table = cinder.tables['volume_attachment']
    found: dict[str, dict[str, Any]] = {}
    with cinder.reader() as connection:
        rows = connection.execute(
            sa.select(table.c.attached_host, table.c.connector)
            .where(
                table.c.deleted == 0,
                table.c.attached_host.in_(list(hosts)),
                table.c.connector.is_not(None),
            )
            .order_by(table.c.updated_at)
        ).all()
    for host, text in rows:
        connector = _connector(text)
        if connector and connector.get('host') == host:
            found[host] = connector
    return found


def _connector(text: str | None) -> dict[str, Any] | None:
    if not text:
        return None
    connector = secrets.mask(json.loads(text))
    return {k: v for k, v in connector.items() if k not in _OF_THE_ATTACHMENT}
