# SPDX-License-Identifier: Apache-2.0

"""Which cloud it is: the UUIDs of its cells, as nova-manage made them.

Before there were cells nothing has a name that no other cloud has; then it is
the oldest service that the database remembers, with the second of its birth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
        known, _silent = divide(databases.each_cell(_first_service))
    except RecoveryError:
        return frozenset()
    return frozenset(word for word in known.values() if word)


def another(one: Identity, other: Identity) -> bool:
    """Whether they are known to be two clouds."""
    return bool(one and other and not one & other)


def _first_service(database: Database) -> str:
    """``service 1 nova-cert@control of 2012-11-22T14:49:51``."""
    table = database.tables['services']
    query = (
        sa.select(table.c.id, table.c.binary, table.c.host, table.c.created_at)
        .order_by(table.c.id)
        .limit(1)
    )
    with database.reader() as connection:
        row = connection.execute(query).first()
    if row is None or row.created_at is None:
        return ''
    return (
        f'service {row.id} {row.binary}@{row.host} of '
        f'{row.created_at:%Y-%m-%dT%H:%M:%S}'
    )
