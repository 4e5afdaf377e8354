# SPDX-License-Identifier: Apache-2.0

"""What can be read of the journal."""

from __future__ import annotations

from collections.abc import Collection, Iterator
import contextlib
from typing import Any

import sqlalchemy as sa

from nova_recovery.engine import records
from nova_recovery.engine.images import Images
from nova_recovery.engine.journal import location, models, rows
from nova_recovery.engine.plan import Item, Plan
from nova_recovery.engine.records import EventRecord, ItemRecord, RunRecord
from nova_recovery.exceptions import Ambiguous, NotFound

_items = models.items
_runs = models.runs
_events = models.events


class Reading:
    """Runs, items and events. All methods raise JournalError.

    :ivar images: the files of before-images
    """

    def __init__(self, engine: sa.engine.Engine, images: str = '') -> None:
        self._engine = engine
        self.images = Images(location.images(engine.url, images))
        self.name = location.name(engine.url)

    def runs(self, limit: int | None = None) -> list[RunRecord]:
        """The runs, newest first."""
        with self._read() as connection:
            query = (
                rows.run_query(connection)
                .order_by(_runs.c.created_at.desc(), _runs.c.id)
                .limit(limit)
            )
            found = connection.execute(query).all()
            counts = rows.counts_of(connection, [row.id for row in found])
        return [rows.run_record(row, counts[row.id]) for row in found]

    def run(self, prefix: str) -> RunRecord:
        """One run, by its id or the beginning of it.

        :raises NotFound:
        :raises Ambiguous: with the ids
        """
        with self._read() as connection:
            query = (
                rows.run_query(connection)
                .where(_runs.c.id.startswith(prefix.lower(), autoescape=True))
                .order_by(_runs.c.created_at)
            )
            found = connection.execute(query).all()
            if len(found) > 1:
                raise Ambiguous(
                    f'{prefix!r} is the beginning of several runs:',
                    [f'{row.id}  {row.title}' for row in found],
                )
            if not found:
                raise NotFound(
                    f'no run {prefix!r} in the journal {self.name}; see '
                    f'"recovery run list"'
                )
            run_id = found[0].id
            counts = rows.counts_of(connection, [run_id])
        return rows.run_record(found[0], counts[run_id])

    def plan(self, run_id: str) -> Plan:
        """The plan of a run, as it was approved."""
        items: dict[int, list[Item]] = {}
        query = sa.select(
            _items.c.number, _items.c.step, _items.c.id, _items.c.kind,
            _items.c.subject, _items.c.label, _items.c.data,
            _items.c.follows,
        ).where(_items.c.run_id == run_id)  # fmt: skip
        head = self._head(run_id)
        for row in rows.in_chunks(self._read, query):
            items.setdefault(row.step, []).append(rows.item_from(row))
        return rows.plan_from(head, items)

    def items(
        self,
        run_id: str,
        states: Collection[str] | None = None,
        step: int | None = None,
    ) -> Iterator[ItemRecord]:
        """The items of a run, in the order of the plan.

        :param states: only those in one of these states
        :param step: only those of the step with this place in the plan
        """
        query = sa.select(_items).where(_items.c.run_id == run_id)
        if states is not None:
            query = query.where(_items.c.state.in_(states))
        if step is not None:
            query = query.where(_items.c.step == step)
        steps = [one['name'] for one in self._head(run_id)['steps']]
        for row in rows.in_chunks(self._read, query):
            yield rows.item_record(row, steps)

    def events(self, run_id: str) -> list[EventRecord]:
        """What happened to the run as a whole, oldest first."""
        query = sa.select(_events).where(_events.c.run_id == run_id)
        with self._read() as connection:
            found = connection.execute(query.order_by(_events.c.id)).all()
        return [
            EventRecord(r.at, r.kind, r.who, r.machine, r.detail)
            for r in found
        ]

    def _row(self, connection: sa.engine.Connection, run_id: str) -> Any:
        row = connection.execute(
            sa.select(_runs).where(_runs.c.id == run_id)
        ).first()
        if row is None:
            raise NotFound(f'no run {run_id!r} in the journal {self.name}')
        return row

    def _head(self, run_id: str) -> dict[str, Any]:
        with self._read() as connection:
            row = self._row(connection, run_id)
        head: dict[str, Any] = records.unpack(row.plan)
        return head

    @contextlib.contextmanager
    def _read(self) -> Iterator[sa.engine.Connection]:
        with location.reported(self.name):
            with self._engine.connect() as connection:
                yield connection
