# SPDX-License-Identifier: Apache-2.0

"""Throw away what waits in the queue of a nova-compute that is down."""

from __future__ import annotations

import sqlalchemy as sa

from nova_recovery.changes import cell
from nova_recovery.changes.base import At, OneWay
from nova_recovery.cloud.bus import Bus, bus_of, of_cloud
from nova_recovery.engine.change import Observed
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import NotFound


class PurgeQueue(OneWay):
    """Data: cell, queue, host, service_id, report_count, messages.

    Refused once somebody listens to the queue or the host reports again:
    then its messages are carried out, and nothing is left to purge.
    """

    kind = 'purge-queue'

    def describe(self, item: Item) -> list[str]:
        return [
            f'- {item.data["messages"]} messages of queue '
            f'{item.data["queue"]}, for good'
        ]

    def observe(self, at: At) -> Observed:
        name = at.data['queue']
        queue = _bus(at).queues([name])[name]
        if queue is None or (not queue.messages and not queue.consumers):
            return Observed.after('nothing waits in it')
        if queue.consumers:
            return Observed.neither(
                f'{queue.consumers} listen to it: they carry it out'
            )
        if _reports(at) != at.data['report_count']:
            return Observed.neither(
                f'nova-compute of {at.data["host"]} reports again'
            )
        return Observed.before(
            {'messages': queue.messages}, detail=f'{queue.messages} messages'
        )

    def apply(self, at: At) -> str:
        purged = _bus(at).purge(at.data['queue'])
        return f'{purged} messages thrown away'

    def no_way_back(self, item: Item) -> str:
        return (
            f'what waited in {item.data["queue"]} is gone; ask nova again '
            'for what is still wanted'
        )


def _bus(at: At) -> Bus:
    """The bus of the cell, as it is configured now.

    :raises NotFound: the cell is gone
    """
    buses = of_cloud(at.cloud)
    found = bus_of(buses, at.data['cell'])
    if found is None:
        raise NotFound(f'no message bus of {at.data["cell"]}')
    return found[1]


def _reports(at: At) -> int | None:
    """How often the host's nova-compute has reported."""
    database = cell.database(at)
    table = database.tables['services']
    with database.reader() as connection:
        count: int | None = connection.execute(
            sa.select(table.c.report_count).where(
                table.c.id == at.data['service_id']
            )
        ).scalar()
    return count
