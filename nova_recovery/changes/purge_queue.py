# SPDX-License-Identifier: Apache-2.0

"""Throw away what waits in the queue of a nova-compute that is down."""

from __future__ import annotations

import sqlalchemy as sa

from nova_recovery.changes import cell
from nova_recovery.changes.base import OneWay
from nova_recovery.cloud.bus import Bus, bus_of, of_cloud
from nova_recovery.engine.change import Context, JSON, Observed, Past, State
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

    def observe(
        self, item: Item, context: Context, past: Past | None
    ) -> Observed:
        name = item.data['queue']
        queue = _bus(item, context).queues([name])[name]
        if queue is None or (not queue.messages and not queue.consumers):
            return Observed(State.AFTER, 'nothing waits in it')
        if queue.consumers:
            return Observed(
                State.NEITHER,
                f'{queue.consumers} listen to it: they carry it out',
            )
        if _reports(item, context) != item.data['report_count']:
            return Observed(
                State.NEITHER,
                f'nova-compute of {item.data["host"]} reports again',
            )
        return Observed(
            State.BEFORE,
            f'{queue.messages} messages',
            {'messages': queue.messages},
        )

    def apply(self, item: Item, context: Context, image: JSON) -> str:
        purged = _bus(item, context).purge(item.data['queue'])
        return f'{purged} messages thrown away'

    def no_way_back(self, item: Item) -> str:
        return (
            f'what waited in {item.data["queue"]} is gone; ask nova again '
            'for what is still wanted'
        )


def _bus(item: Item, context: Context) -> Bus:
    """The bus of the cell, as it is configured now.

    :raises NotFound: the cell is gone
    """
    buses = of_cloud(context.cloud)
    found = bus_of(buses, item.data['cell'])
    if found is None:
        raise NotFound(f'no message bus of {item.data["cell"]}')
    return found[1]


def _reports(item: Item, context: Context) -> int | None:
    """How often the host's nova-compute has reported."""
    database = cell.database(item, context)
    table = database.tables['services']
    with database.reader() as connection:
        count: int | None = connection.execute(
            sa.select(table.c.report_count).where(
                table.c.id == item.data['service_id']
            )
        ).scalar()
    return count
