# SPDX-License-Identifier: Apache-2.0

"""Whether cinder holds the volumes that nova has of a server.

From 28.0 on, each reboot makes nova ask cinder for the attachment of every
volume, and forget those that cinder doesn't know, the boot volume too
(``_delete_dangling_bdms`` in nova/compute/manager.py). It never asks at a
start.
"""

from __future__ import annotations

from collections.abc import Collection
import dataclasses
from typing import TYPE_CHECKING

import sqlalchemy as sa

from nova_recovery.cloud.db import facts, schema
from nova_recovery.cloud.db.database import Database
from nova_recovery.exceptions import NotFound, RecoveryError

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud


@dataclasses.dataclass(frozen=True)
class Volumes:
    """The volumes of a server that aren't held as they should be.

    :ivar lost: those whose attachment cinder doesn't have
    :ivar unnamed: those of which nova names no attachment
    :ivar unknown: why cinder can't tell, '' if it did
    """

    lost: tuple[str, ...] = ()
    unnamed: tuple[str, ...] = ()
    unknown: str = ''


def volumes(
    cloud: Cloud, cell: Database, servers: Collection[str]
) -> dict[str, Volumes]:
    """What a reboot would do to the volumes of these servers of a cell.

    :returns: server uuid -> what is wrong; nothing where all is well, or
        where nova is too old to forget a volume
    """
    if not cell.tables.has('instances', 'compute_id'):
        return {}
    mappings = _mappings(cell, servers)
    named = {attachment for *_, attachment in mappings if attachment}
    held: set[str] = set()
    unknown = ''
    try:
        held = _held(cloud, named)
    except RecoveryError as error:
        unknown = str(error)
    of_server: dict[str, list[tuple[str, str | None]]] = {}
    for server, volume, attachment in mappings:
        of_server.setdefault(server, []).append((volume, attachment))
    found: dict[str, Volumes] = {}
    for server, own in of_server.items():
        wrong = Volumes(
            lost=tuple(
                v for v, a in own if a and a not in held and not unknown
            ),
            unnamed=tuple(v for v, a in own if not a),
            unknown=unknown if any(a for _, a in own) else '',
        )
        if wrong != Volumes():
            found[server] = wrong
    return found


def _mappings(
    cell: Database, servers: Collection[str]
) -> list[tuple[str, str, str | None]]:
    """(server, volume, attachment) of each live mapping, by id."""
    table = cell.tables['block_device_mapping']
    query = (
        sa.select(
            table.c.instance_uuid, table.c.volume_id, table.c.attachment_id
        )
        .where(schema.live(table), table.c.volume_id.is_not(None))
        .order_by(table.c.id)
    )
    with cell.reader() as connection:
        return [
            (row[0], row[1], row[2])
            for batch in facts.batches(sorted(servers))
            for row in connection.execute(
                query.where(table.c.instance_uuid.in_(batch))
            )
        ]


def _held(cloud: Cloud, named: Collection[str]) -> set[str]:
    """Those of the attachments that cinder has.

    :raises RecoveryError: neither its database nor its API can tell
    """
    if not named:
        return set()
    cinder = cloud.databases.cinder
    if cinder is None:
        # As nova itself asks, one by one.
        return {one for one in named if _known(cloud, one)}
    table = cinder.tables['volume_attachment']
    with cinder.reader() as connection:
        return {
            row[0]
            for batch in facts.batches(sorted(named))
            for row in connection.execute(
                sa.select(table.c.id).where(
                    schema.live(table), table.c.id.in_(batch)
                )
            )
        }


def _known(cloud: Cloud, attachment: str) -> bool:
    try:
        cloud.volume.attachment(attachment)
    except NotFound:
        return False
    return True
