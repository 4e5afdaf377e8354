# SPDX-License-Identifier: Apache-2.0

"""Let nova evacuate a server, and follow it to its end."""

from __future__ import annotations

import sqlalchemy as sa

from nova_recovery.changes import cell, history, once
from nova_recovery.changes.base import At
from nova_recovery.changes.once import SentOnce
from nova_recovery.engine.change import JSON, Observed
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

    def ready(self, at: At, row: JSON) -> Observed:
        if row['host'] != at.data['source']:
            return Observed.neither(f'the server is on {row["host"]}')
        if row['vm_state'] not in VM_STATES:
            return Observed.neither(f'the server is {row["vm_state"]}')
        if row['task_state'] != at.data['task_state']:
            return Observed.neither(f'the server is {row["task_state"]}')
        return Observed.before()

    def send(self, at: At) -> str:
        return str(
            at.cloud.compute.evacuate(at.data['uuid'], at.data['target'])
        )

    def standing(self, at: At, action: JSON) -> Observed:
        database = cell.database(at)
        migrations = database.tables['migrations']
        with database.reader() as connection:
            row = cell.instance(connection, database, at.data['uuid'])
            migration = (
                connection.execute(
                    sa.select(migrations)
                    .where(
                        migrations.c.instance_uuid == at.data['uuid'],
                        migrations.c.migration_type == 'evacuation',
                        migrations.c.id > at.image['newest_migration'],
                    )
                    .order_by(migrations.c.id.desc())
                )
                .mappings()
                .first()
            )
        status = migration['status'] if migration else 'accepted'
        if status in ('error', 'failed', 'cancelled'):
            reason = history.fault(at)
            return Observed.neither(
                f'evacuation {status}: {reason or "see the log of nova"}; '
                f'{once.again(at)}'
            )
        if row['host'] == at.data['source']:
            if row['vm_state'] == 'error' and row['task_state'] is None:
                # The scheduler or the API gave up before there was a
                # migration that could tell.
                reason = history.fault(at)
                return Observed.neither(f'evacuation failed: {reason}')
            return Observed.underway(status)
        if status in ('done', 'completed') and row['task_state'] is None:
            return Observed.after(f'{row["vm_state"]} on {row["host"]}')
        return Observed.underway(row['task_state'] or status)
