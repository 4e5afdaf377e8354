# SPDX-License-Identifier: Apache-2.0

"""Set the states of a server in its row, where no API can."""

from __future__ import annotations

from nova_recovery.changes import cell
from nova_recovery.changes.base import BaseChange
from nova_recovery.cloud.db import cas
from nova_recovery.engine.change import Context, JSON, Observed, Past, State
from nova_recovery.engine.plan import Item


class SetStates(BaseChange):
    """Data: cell, uuid, seen and values (vm_state, power_state, task_state).

    Which combinations are legal is the procedure's to decide.
    """

    kind = 'set-states'

    def describe(self, item: Item) -> list[str]:
        seen, values = item.data['seen'], item.data['values']
        return [
            f'~ {name}  {cell.text(seen[name])} -> {cell.text(value)}'
            for name, value in values.items()
            if seen[name] != value
        ]

    def observe(
        self, item: Item, context: Context, past: Past | None
    ) -> Observed:
        row = cell.server_row(item, context)
        if not cell.differences(item.data['values'], row):
            return Observed(State.AFTER, 'already so')
        changed = cell.differences(item.data['seen'], row)
        if changed:
            return Observed(State.NEITHER, cell.tell(changed))
        image = {name: row[name] for name in item.data['values']}
        return Observed(State.BEFORE, image=image)

    def apply(self, item: Item, context: Context, image: JSON) -> str:
        self._write(item, context, item.data['seen'], item.data['values'])
        return 'set'

    def revert(self, item: Item, context: Context, past: Past) -> str:
        row = cell.server_row(item, context)
        if not cell.differences(past.image, row):
            return 'already as it was'
        self._write(item, context, item.data['values'], past.image)
        return 'set back'

    def _write(
        self, item: Item, context: Context, seen: JSON, values: JSON
    ) -> None:
        database = cell.database(item, context)
        database.write(
            lambda connection: cas.update_one(
                connection,
                database.tables['instances'],
                {'uuid': item.data['uuid'], 'deleted': 0},
                seen,
                values,
            )
        )
