# SPDX-License-Identifier: Apache-2.0

"""What nova has recorded of the requests for a server."""

from __future__ import annotations

import sqlalchemy as sa

from nova_recovery.changes import cell
from nova_recovery.changes.base import At
from nova_recovery.engine.change import JSON

#: What was asked for -> the event of nova-compute that ends it.
EVENTS = {
    'start': 'compute_start_instance',
    'reboot': 'compute_reboot_instance',
    'evacuate': 'compute_rebuild_instance',
    'rebuild': 'compute_rebuild_instance',
}


def actions(at: At) -> list[JSON]:
    """Everything that was asked of the item's server, oldest first."""
    database = cell.database(at)
    table = database.tables['instance_actions']
    with database.reader() as connection:
        found = connection.execute(
            sa.select(
                table.c.id, table.c.action, table.c.request_id, table.c.user_id
            )
            .where(table.c.instance_uuid == at.data['uuid'])
            .order_by(table.c.id)
        ).mappings()
        return [dict(row) for row in found]


def result_of(at: At, action: JSON) -> str:
    """How the event that ends an action ended: success, error, '' so far.

    An interrupted reboot that nova-compute carries on has a second event.
    """
    database = cell.database(at)
    table = database.tables['instance_actions_events']
    with database.reader() as connection:
        result = connection.execute(
            sa.select(table.c.result)
            .where(
                table.c.action_id == action['id'],
                table.c.event == EVENTS.get(action['action']),
            )
            .order_by(table.c.id.desc())
            .limit(1)
        ).scalar()
    return str(result or '').lower()


def newest(at: At, table: str) -> int:
    """The highest id that a table has for the item's server, 0 if none."""
    database = cell.database(at)
    rows = database.tables[table]
    with database.reader() as connection:
        found = connection.execute(
            sa.select(sa.func.max(rows.c.id)).where(
                rows.c.instance_uuid == at.data['uuid']
            )
        ).scalar()
    return int(found or 0)


def fault(at: At, since: int | None = None) -> str:
    """The fault that nova recorded since our request, '' if none.

    But for those that come of asking whether a guest runs: nova takes its
    own "no" to diagnostics for a fault of the server.

    :param since: the id of one; only what came after it counts
    """
    if since is None:
        since = at.image['newest_fault']
    database = cell.database(at)
    table = database.tables['instance_faults']
    with database.reader() as connection:
        message = connection.execute(
            sa.select(table.c.message)
            .where(
                table.c.instance_uuid == at.data['uuid'],
                table.c.id > since,
                table.c.message.not_like('%Cannot get_diagnostics%'),
            )
            .order_by(table.c.id.desc())
            .limit(1)
        ).scalar()
    return ' '.join(str(message or '').split())
