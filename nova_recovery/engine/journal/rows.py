# SPDX-License-Identifier: Apache-2.0

"""Between records and plans on one side and rows on the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
from typing import Any

import sqlalchemy as sa

from nova_recovery.engine import planfile, records, states
from nova_recovery.engine.journal import lease, models
from nova_recovery.engine.journal.lease import Holder
from nova_recovery.engine.plan import Item, Plan
from nova_recovery.engine.records import EventRecord, ItemRecord, RunRecord

Reader = Callable[[], contextlib.AbstractContextManager[sa.engine.Connection]]

_CHUNK = 1000
#: MySQL's TEXT ends at 64 KiB; nobody reads further than this.
LONGEST = 4000

_items = models.items
_runs = models.runs
_events = models.events


def plan_head(plan: Plan) -> dict[str, Any]:
    """The plan without its items, which have rows of their own."""
    return {'format': plan.format, **planfile.head_of(plan)}


def plan_from(head: dict[str, Any], items: dict[int, list[Item]]) -> Plan:
    """The plan again, from its head and its items by number of the step."""
    body = dict(head)
    number = body.pop('format')
    of_steps = [items.get(place, []) for place in range(len(body['steps']))]
    return planfile.from_head(body, of_steps, number)


def item_rows(run_id: str, plan: Plan) -> Iterator[list[dict[str, Any]]]:
    """The rows of a new run, in chunks."""
    chunk: list[dict[str, Any]] = []
    number = 0
    for index, step in enumerate(plan.steps):
        for position, item in enumerate(step.items):
            chunk.append(_new_row(run_id, number, index, position, item))
            number += 1
            if len(chunk) == _CHUNK:
                yield chunk
                chunk = []
    if chunk:
        yield chunk


def _new_row(
    run_id: str, number: int, step: int, position: int, item: Item
) -> dict[str, Any]:
    return {
        'run_id': run_id,
        'number': number,
        'step': step,
        'position': position,
        'id': item.id,
        'kind': item.kind,
        'subject': item.subject,
        'label': item.label,
        'data': records.pack(item.data),
        'follows': records.pack(list(item.follows)),
        'state': states.PENDING,
        'begun': False,
        'detail': '',
        'image': None,
        'notes': None,
        'started_at': '',
        'finished_at': '',
    }


def item_from(row: Any) -> Item:
    return Item(
        id=row.id,
        kind=row.kind,
        subject=row.subject,
        label=row.label,
        data=records.unpack(row.data),
        follows=tuple(records.unpack(row.follows)),
    )


def item_record(row: Any, steps: list[str]) -> ItemRecord:
    return ItemRecord(
        id=row.id,
        number=row.number,
        step=steps[row.step],
        position=row.position,
        kind=row.kind,
        subject=row.subject,
        label=row.label,
        state=row.state,
        begun=bool(row.begun),
        detail=row.detail,
        image=records.unpack(row.image),
        notes=records.unpack(row.notes),
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def run_query(connection: sa.engine.Connection) -> sa.sql.Select:
    """Runs with the seconds since somebody was heard of."""
    silence = lease.clock(connection.dialect.name) - _runs.c.heard
    return sa.select(_runs, silence.label('silence'))


def run_record(row: Any, counts: dict[str, int]) -> RunRecord:
    holder = Holder.parse(row.holder)
    lives = holder and holder.lives(int(row.silence))
    return RunRecord(
        id=row.id,
        procedure=row.procedure,
        title=row.title,
        state=row.state,
        who=row.who,
        machine=row.machine,
        command=row.command,
        digest=row.digest,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        holder=str(holder) if lives else '',
        counts=counts,
    )


def clip(detail: str) -> str:
    return detail if len(detail) <= LONGEST else detail[:LONGEST] + '…'


def in_chunks(read: Reader, query: sa.sql.Select) -> Iterator[Any]:
    """The items of a query on ``items``, in order, a thousand at a time.

    A long read would keep SQLite from ever emptying its WAL, and a large
    result would be in memory as a whole.

    :param read: opens a connection for each chunk
    """
    last = -1
    while True:
        chunk = (
            query.where(_items.c.number > last)
            .order_by(_items.c.number)
            .limit(_CHUNK)
        )
        with read() as connection:
            rows = connection.execute(chunk).all()
        yield from rows
        if len(rows) < _CHUNK:
            return
        last = rows[-1].number


def counts_of(
    connection: sa.engine.Connection, run_ids: list[str]
) -> dict[str, dict[str, int]]:
    """Run -> item state -> number of items."""
    counts: dict[str, dict[str, int]] = {run_id: {} for run_id in run_ids}
    rows = connection.execute(
        sa.select(_items.c.run_id, _items.c.state, sa.func.count())
        .where(_items.c.run_id.in_(run_ids))
        .group_by(_items.c.run_id, _items.c.state)
    )
    for run_id, state, count in rows:
        counts[run_id][state] = count
    return counts


def add_event(
    connection: sa.engine.Connection, run_id: str, event: EventRecord
) -> None:
    connection.execute(
        sa.insert(_events).values(
            run_id=run_id,
            at=event.at,
            kind=event.kind,
            who=event.who,
            machine=event.machine,
            detail=clip(event.detail),
        )
    )
