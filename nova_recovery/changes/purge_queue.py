# SPDX-License-Identifier: Apache-2.0

"""Throw away what waits in the queue of a nova-compute that is down."""

from __future__ import annotations

import sqlalchemy as sa

from nova_recovery.changes import base
from nova_recovery.changes import cell
from nova_recovery.cloud import bus as bus_module
from nova_recovery.engine import change
from nova_recovery.engine import plan
from nova_recovery import exceptions

JSON = change.JSON


class PurgeQueue(base.OneWay):
    """Data: cell, queue, host, service_id, report_count, messages.

    Refused once somebody listens to the queue or the host reports again:
    then its messages are carried out, and nothing is left to purge.
    """

    kind = 'purge-queue'

    def describe(self, item: plan.Item) -> list[str]:
        return [
            f'- {item.data["messages"]} messages of queue '
            f'{item.data["queue"]}, for good'
        ]

    def observe(
        self,
        item: plan.Item,
        context: change.Context,
        past: change.Past | None,
    ) -> change.Observed:
        name = item.data['queue']
        queue = _bus(item, context).queues([name])[name]
        if queue is None or (not queue.messages and not queue.consumers):
            return change.Observed(change.State.AFTER, 'nothing waits in it')
        if queue.consumers:
            return change.Observed(
                change.State.NEITHER,
                f'{queue.consumers} listen to it: they carry it out',
            )
        if _reports(item, context) != item.data['report_count']:
            return change.Observed(
                change.State.NEITHER,
                f'nova-compute of {item.data["host"]} reports again',
            )
        return change.Observed(
            change.State.BEFORE,
            f'{queue.messages} messages',
            {'messages': queue.messages},
        )

    def apply(
        self, item: plan.Item, context: change.Context, image: JSON
    ) -> str:
        purged = _bus(item, context).purge(item.data['queue'])
        return f'{purged} messages thrown away'

    def no_way_back(self, item: plan.Item) -> str:
        return (
            f'what waited in {item.data["queue"]} is gone; ask nova again '
            'for what is still wanted'
        )


def _bus(item: plan.Item, context: change.Context) -> bus_module.Bus:
    """The bus of the cell, as it is configured now.

    :raises NotFound: the cell is gone
    """
    buses = bus_module.of_cloud(context.cloud)
    found = bus_module.bus_of(buses, item.data['cell'])
    if found is None:
        raise exceptions.NotFound(f'no message bus of {item.data["cell"]}')
    return found[1]


def _reports(item: plan.Item, context: change.Context) -> int | None:
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
