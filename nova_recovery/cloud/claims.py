# SPDX-License-Identifier: Apache-2.0

"""Who works on a host or a server, written into the cloud itself.

Two controllers have two journals, so a claim lives where both see it. On a
host it is ``services.disabled_reason`` of its nova-compute, set together
with ``disabled`` by compare-and-set: the operator of the other controller,
``openstack compute service list`` and nova's own tools all show it. On a
server it is a row in ``tags``, whose primary key (resource, tag) lets only
one of two writers in, on a Galera cluster too.
"""

from __future__ import annotations

from collections.abc import Iterable
import re
from typing import Any
import zlib

import sqlalchemy as sa

from nova_recovery.cloud.db import cas
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.exceptions import ClaimLost, Conflict, NotFound

PREFIX = 'nova-recovery run='
_RUN = re.compile('nova-recovery[ -]run=([^ -]+)')
#: A tag that can exist once for each server: the claim itself.
TAG = 'nova-recovery-claim'
#: Characters of ``tags.tag``.
LONGEST = 80


def holder(reason: str | None) -> str | None:
    """The marker in a ``disabled_reason``, or None if there is no claim."""
    return reason if reason and reason.startswith(PREFIX) else None


def service_row(database: Database, service_id: int) -> dict[str, Any]:
    """The row of a service as it is now.

    :raises NotFound: it is gone
    """
    services = database.tables['services']
    with database.reader() as connection:
        row = (
            connection.execute(
                sa.select(services).where(services.c.id == service_id)
            )
            .mappings()
            .first()
        )
    if row is None:
        raise NotFound(f'service {service_id} of {database.name}')
    return dict(row)


def set_service(
    database: Database,
    service_id: int,
    seen: dict[str, Any],
    values: dict[str, Any],
) -> None:
    """Change ``disabled`` and ``disabled_reason`` by compare-and-set.

    :raises Conflict: the row is no longer as seen
    """

    def change(connection: sa.engine.Connection) -> None:
        cas.update_one(
            connection,
            database.tables['services'],
            {'id': service_id},
            seen,
            values,
        )

    database.write(change)


def server_tags(
    connection: sa.engine.Connection, database: Database, uuid: str
) -> list[str]:
    """The tags of a server that are ours: the claim and who has it."""
    tags = database.tables['tags']
    found = connection.execute(
        sa.select(tags.c.tag).where(
            tags.c.resource_id == uuid, tags.c.tag.like('nova-recovery%')
        )
    )
    return sorted(row[0] for row in found)


def claim_server(database: Database, uuid: str, marker: str) -> None:
    """Claim a server; fine if this marker has it already.

    :raises ClaimLost: somebody else has it; named is who
    """
    tags = database.tables['tags']
    owner = owner_tag(marker)

    def change(connection: sa.engine.Connection) -> None:
        mine = server_tags(connection, database, uuid)
        if owner in mine:
            return
        if TAG in mine:
            raise ClaimLost(f'server {uuid} is claimed: {", ".join(mine)}')
        connection.execute(
            sa.insert(tags),
            [{'resource_id': uuid, 'tag': tag} for tag in (TAG, owner)],
        )

    try:
        database.write(change)
    except Conflict as error:
        # Two at once: the other one's rows came between our look and ours.
        held = server_holder(database, uuid)
        if held != owner:
            raise ClaimLost(
                f'server {uuid} is claimed: {held or "not any more"}'
            ) from error


def release_server(database: Database, uuid: str, marker: str) -> None:
    """Give a server's claim back; nothing happens if it isn't ours."""
    tags = database.tables['tags']
    owner = owner_tag(marker)

    def change(connection: sa.engine.Connection) -> None:
        if owner in server_tags(connection, database, uuid):
            connection.execute(
                sa.delete(tags).where(
                    tags.c.resource_id == uuid, tags.c.tag.in_([TAG, owner])
                )
            )

    database.write(change)


def hand_over_service(
    database: Database, service_id: int, before: str, after: str
) -> bool:
    """Put another marker in the claim on a host; False if there is none.

    :raises ClaimLost: a third party claimed it
    """
    reason = service_row(database, service_id)['disabled_reason']
    if reason == after:
        return True
    if reason != before:
        if holder(reason):
            raise ClaimLost(f'claimed by a third party: {reason}')
        return False
    set_service(
        database,
        service_id,
        {'disabled_reason': before},
        {'disabled_reason': after},
    )
    return True


def hand_over_server(
    database: Database, uuid: str, before: str, after: str
) -> bool:
    """Put another marker in the claim on a server; False if there is none.

    :raises ClaimLost: a third party claimed it
    """
    tags = database.tables['tags']

    def change(connection: sa.engine.Connection) -> bool:
        found = server_tags(connection, database, uuid)
        if TAG not in found or owner_tag(after) in found:
            return owner_tag(after) in found
        if owner_tag(before) not in found:
            raise ClaimLost(f'claimed by a third party: {", ".join(found)}')
        connection.execute(
            sa.delete(tags).where(
                tags.c.resource_id == uuid, tags.c.tag == owner_tag(before)
            )
        )
        connection.execute(
            sa.insert(tags).values(resource_id=uuid, tag=owner_tag(after))
        )
        return True

    return database.write(change)


def movers(database: Database, uuids: Iterable[str]) -> dict[str, str]:
    """Servers that a run moves or has evacuated, while it has its claim.

    The claim is on the host that they were on: the tombstone that each
    leaves there names it until that host has cleaned up.

    :returns: server uuid -> the marker of the run
    """
    if not database.tables.has('migrations', 'migration_type'):
        return {}
    migrations = database.tables['migrations']
    services = database.tables['services']
    query = sa.select(
        migrations.c.instance_uuid, services.c.disabled_reason
    ).where(
        migrations.c.deleted == 0,
        migrations.c.migration_type == 'evacuation',
        migrations.c.status.in_(('accepted', 'pre-migrating', 'done')),
        services.c.host == migrations.c.source_compute,
        services.c.binary == 'nova-compute',
        services.c.deleted == 0,
        services.c.disabled_reason.like(f'{PREFIX}%'),
    )
    column = migrations.c.instance_uuid
    with Reader.of(database) as reader:
        return {
            uuid: marker for uuid, marker in reader.fetch(query, column, uuids)
        }


def server_holder(database: Database, uuid: str) -> str | None:
    """The tag of whoever claimed a server, None if nobody did."""
    with database.reader() as connection:
        found = server_tags(connection, database, uuid)
    if TAG not in found:
        return None
    return next((tag for tag in found if tag != TAG), TAG)


def server_holders(database: Database, uuids: Iterable[str]) -> dict[str, str]:
    """The tag of whoever claimed each server, of those that are claimed."""
    found: dict[str, str] = {}
    claimed = set()
    ours = database.tables['tags'].c.tag.like('nova-recovery%')
    with Reader.of(database) as reader:
        for row in reader.select(
            'tags', ('resource_id', 'tag'), 'resource_id', uuids, ours
        ):
            uuid, tag = row['resource_id'], row['tag']
            if tag == TAG:
                claimed.add(uuid)
                found.setdefault(uuid, TAG)
            else:
                found[uuid] = tag
    return {uuid: found[uuid] for uuid in claimed}


def run_of(claim: str) -> str:
    """The run that a marker, or the tag made of one, names; '' for none."""
    found = _RUN.match(claim)
    return found[1] if found else ''


def owner_tag(marker: str) -> str:
    """The tag that says whose claim it is.

    ``tags.tag`` has 80 characters; the run's id comes first in a marker. Of
    a longer one the end is a checksum: the machine is named last, and two
    that hand a run over must not have the same tag.
    """
    tag = marker.replace(' ', '-')
    if len(tag) <= LONGEST:
        return tag
    return f'{tag[: LONGEST - 9]}-{zlib.crc32(tag.encode()):08x}'
