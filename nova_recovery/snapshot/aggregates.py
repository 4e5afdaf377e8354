# SPDX-License-Identifier: Apache-2.0

"""Host aggregates: in the API database, before Ocata in the only cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from nova_recovery.cloud.db import schema
from nova_recovery.snapshot import masking
from nova_recovery.snapshot.streams import Stream


def rows(stream: Stream) -> Iterator[Sequence[Any]] | None:
    """The aggregates, each with its hosts and metadata; None: no table.

    A cell of a newer release has no more tables for them, or empty ones.
    """
    table = stream.table('aggregates')
    members = stream.table('aggregate_hosts')
    details = stream.table('aggregate_metadata')
    if table is None or members is None or details is None:
        return None
    hosts: dict[int, list[str]] = {}
    for aggregate, host in stream.rows(
        sa.select(members.c.aggregate_id, members.c.host).where(
            schema.live(members)
        )
    ):
        hosts.setdefault(aggregate, []).append(host)
    metadata: dict[int, dict[str, Any]] = {}
    for aggregate, key, value in stream.rows(
        sa.select(
            details.c.aggregate_id, details.c.key, details.c.value
        ).where(schema.live(details))
    ):
        metadata.setdefault(aggregate, {})[key] = masking.pair(key, value)
    uuid = table.c.uuid if 'uuid' in table.c else sa.null()
    return stream.rows(
        sa.select(table.c.id, uuid, table.c.name).where(schema.live(table)),
        lambda row: (
            *row,
            masking.compact(sorted(hosts.get(row[0], ()))),
            masking.compact(dict(sorted(metadata.get(row[0], {}).items()))),
        ),
    )
