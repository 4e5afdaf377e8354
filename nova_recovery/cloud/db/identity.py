# SPDX-License-Identifier: Apache-2.0

"""Which cloud it is: the UUIDs of its cells, as nova-manage made them.

Before there were cells nothing has a name that no other cloud has; then it is
the oldest services that the database remembers, with the second of the birth
of each. ``nova-manage db archive_deleted_rows`` moves those that were deleted
into a shadow table, which only releases with cells purge.
"""

from __future__ import annotations

from typing import Any, TYPE_CHECKING

import sqlalchemy as sa

from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import divide
from nova_recovery.exceptions import RecoveryError

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

#: What tells a cloud from others. One in common is enough: cells come and go.
#: Nothing: it is not known.
Identity = frozenset[str]


def of(cloud: Cloud) -> Identity:
    """What tells this cloud; nothing where its databases don't answer."""
    try:
        databases = cloud.databases
    except RecoveryError:
        return frozenset()
    cells = [*(one.cell for one in databases.cells), *databases.disabled]
    uuids = frozenset(cell.uuid for cell in cells if cell.uuid)
    if uuids:
        return uuids
    try:
        known, _silent = divide(databases.each_cell(_first_services))
    except RecoveryError:
        return frozenset()
    return frozenset(word for some in known.values() for word in some)


def another(one: Identity, other: Identity) -> bool:
    """Whether they are known to be two clouds."""
    return bool(one and other and not one & other)


#: So many: one that somebody deletes by hand does not change who it is.
_FIRST = 5


def _first_services(database: Database) -> list[str]:
    """Each as ``service 1 nova-cert@control of 2012-11-22T14:49:51``."""
    found: list[Any] = []
    with database.reader() as connection:
        for name in ('services', 'shadow_services'):
            if not database.tables.has(name, 'created_at'):
                continue
            table = database.tables[name]
            query = (
                sa.select(
                    table.c.id,
                    table.c.binary,
                    table.c.host,
                    table.c.created_at,
                )
                .where(table.c.created_at.is_not(None))
                .order_by(table.c.id)
                .limit(_FIRST)
            )
            found.extend(connection.execute(query))
    return [
        f'service {row.id} {row.binary}@{row.host} of '
        f'{row.created_at:%Y-%m-%dT%H:%M:%S}'
        for row in sorted(found, key=lambda row: int(row.id))[:_FIRST]
    ]
