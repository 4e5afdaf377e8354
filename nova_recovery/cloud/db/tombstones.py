# SPDX-License-Identifier: Apache-2.0

"""The evacuations that make a host which returns clean up after itself."""

from __future__ import annotations

import sqlalchemy as sa

from nova_recovery.cloud.db.database import Database

#: Statuses of an evacuation that a starting nova-compute acts on
#: (``_destroy_evacuated_instances`` in nova/compute/manager.py). Then it is
#: ``completed``.
ARMED = frozenset({'accepted', 'pre-migrating', 'done'})
#: Of one that is there and not armed yet: nova never gives it to an
#: evacuation, and whoever reads it takes the migration for over.
UNARMED = 'cancelled'


def after(
    database: Database, uuid: str, source: str
) -> tuple[str | None, str | None]:
    """Where a server is, and how its newest evacuation off a host stands.

    :returns: the host of its row, None where it is deleted or on no host;
        and the status, None where it was never evacuated from there
    """
    instances = database.tables['instances']
    migrations = database.tables['migrations']
    with database.reader() as connection:
        host = connection.execute(
            sa.select(instances.c.host).where(
                instances.c.uuid == uuid, instances.c.deleted == 0
            )
        ).scalar()
        # Deleted rows too: nova reads them.
        status = connection.execute(
            sa.select(migrations.c.status)
            .where(
                migrations.c.instance_uuid == uuid,
                migrations.c.migration_type == 'evacuation',
                migrations.c.source_compute == source,
            )
            .order_by(migrations.c.id.desc())
            .limit(1)
        ).scalar()
    return host, status
