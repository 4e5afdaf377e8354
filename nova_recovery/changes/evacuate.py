# SPDX-License-Identifier: Apache-2.0

"""Let nova evacuate a server, and follow it to its end."""

from __future__ import annotations

import sqlalchemy as sa

from nova_recovery.changes import cell, history, once
from nova_recovery.changes.once import SentOnce
from nova_recovery.engine.change import Context, JSON, Observed, Past, State
from nova_recovery.engine.plan import Item

#: What nova evacuates (``evacuate`` in nova/compute/api.py).
VM_STATES = frozenset({'active', 'stopped', 'error'})


class EvacuateServer(SentOnce):
    """One evacuation.

    Data: as SentOnce, and source, target. Its migration tells how it goes;
    the server's own state tells when the guest is back.
    """

    kind = 'evacuate-server'
    action = 'evacuate'

    def describe(self, item: Item) -> list[str]:
        return [f'> evacuated by nova to {item.data["target"]}, once']

    def ready(self, row: JSON, item: Item) -> Observed:
        if row['host'] != item.data['source']:
            return Observed(State.NEITHER, f'the server is on {row["host"]}')
        if row['vm_state'] not in VM_STATES:
            return Observed(State.NEITHER, f'the server is {row["vm_state"]}')
        if row['task_state'] != item.data['task_state']:
            return Observed(
                State.NEITHER, f'the server is {row["task_state"]}'
            )
        return Observed(State.BEFORE)

    def send(self, item: Item, context: Context, image: JSON) -> str:
        return str(
            context.cloud.compute.evacuate(
                item.data['uuid'], item.data['target']
            )
        )

    def standing(
        self, item: Item, context: Context, past: Past, action: JSON
    ) -> Observed:
        database = cell.database(item, context)
        migrations = database.tables['migrations']
        with database.reader() as connection:
            row = cell.instance(connection, database, item.data['uuid'])
            migration = (
                connection.execute(
                    sa.select(migrations)
                    .where(
                        migrations.c.instance_uuid == item.data['uuid'],
                        migrations.c.migration_type == 'evacuation',
                        migrations.c.id > past.image['newest_migration'],
                    )
                    .order_by(migrations.c.id.desc())
                )
                .mappings()
                .first()
            )
        status = migration['status'] if migration else 'accepted'
        if status in ('error', 'failed', 'cancelled'):
            reason = history.fault(item, context, past)
            return Observed(
                State.NEITHER,
                f'evacuation {status}: {reason or "see the log of nova"}; '
                f'{once.again(item)}',
            )
        if row['host'] == item.data['source']:
            if row['vm_state'] == 'error' and row['task_state'] is None:
                # The scheduler or the API gave up before there was a
                # migration that could tell.
                reason = history.fault(item, context, past)
                return Observed(State.NEITHER, f'evacuation failed: {reason}')
            return Observed(State.UNDERWAY, status)
        if status in ('done', 'completed') and row['task_state'] is None:
            return Observed(State.AFTER, f'{row["vm_state"]} on {row["host"]}')
        return Observed(State.UNDERWAY, row['task_state'] or status)
