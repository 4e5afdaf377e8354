# SPDX-License-Identifier: Apache-2.0

"""Set the states of a server in its row, where no API can."""

from __future__ import annotations

from nova_recovery.changes import cell
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.cloud.db import cas
from nova_recovery.engine.change import JSON, Observed
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

    def observe(self, at: At) -> Observed:
        row = cell.server_row(at)
        if not cell.differences(at.data['values'], row):
            return Observed.after('already so')
        changed = cell.differences(at.data['seen'], row)
        if changed:
            return Observed.neither(cell.tell(changed))
        image = {name: row[name] for name in at.data['values']}
        return Observed.before(image)

    def apply(self, at: At) -> str:
        self._write(at, at.data['seen'], at.data['values'])
        return 'set'

    def revert(self, at: At) -> str:
        row = cell.server_row(at)
        if not cell.differences(at.image, row):
            return 'already as it was'
        self._write(at, at.data['values'], at.image)
        return 'set back'

    def _write(self, at: At, seen: JSON, values: JSON) -> None:
        database = cell.database(at)
        database.write(
            lambda connection: cas.update_one(
                connection,
                database.tables['instances'],
                {'uuid': at.data['uuid'], 'deleted': 0},
                seen,
                values,
            )
        )
