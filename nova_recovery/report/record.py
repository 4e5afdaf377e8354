# SPDX-License-Identifier: Apache-2.0

"""All that is known of a run, as JSON types: what every report is made of."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery.engine.change import Registry
from nova_recovery.engine.plan import Item
from nova_recovery.report import wording

if TYPE_CHECKING:
    from nova_recovery.engine.journal import Journal
    from nova_recovery.engine.records import ItemRecord

#: Grows when a reader of the JSON would have to know.
FORMAT = 2


def of_run(
    journal: Journal, run_id: str, registry: Registry
) -> dict[str, Any]:
    """The record: run, plan, gates, overrides, events and steps with items.

    Times are UTC, ISO 8601 with Z. ``before`` of an item is what the journal
    kept, with its secrets masked; ``changes`` is what was to be done, in
    words.
    """
    run, plan = journal.run(run_id), journal.plan(run_id)
    done = {item.id: item for item in journal.items(run_id)}
    return {
        'format': FORMAT,
        'run': {
            **dataclasses.asdict(run),
            'took': wording.span(run.started_at, run.finished_at),
        },
        'plan': {
            'arguments': plan.arguments,
            'created_at': plan.created_at,
            'notes': list(plan.notes),
            'left_out': [dataclasses.asdict(one) for one in plan.left_out],
        },
        'gates': [dataclasses.asdict(gate) for gate in plan.gates],
        'overrides': [
            {'gate': g.name, 'subject': g.subject, 'reason': g.reason}
            for g in plan.gates
            if g.state == 'overridden'
        ],
        'events': [dataclasses.asdict(e) for e in journal.events(run_id)],
        'steps': [
            {
                'heading': heading,
                'name': step.name,
                'title': step.title,
                'counts': dict(
                    collections.Counter(done[i.id].state for i in step.items)
                ),
                'items': [
                    _item(planned, done[planned.id], registry)
                    for planned in step.items
                ],
            }
            for heading, step in zip(plan.headings, plan.steps, strict=True)
        ],
    }


def _item(
    planned: Item, done: ItemRecord, registry: Registry
) -> dict[str, Any]:
    known = registry.get(planned.kind)
    return {
        'id': done.id,
        'kind': done.kind,
        'subject': done.subject,
        'label': done.label,
        'name': wording.identifier(done.subject, done.label),
        'state': done.state,
        'detail': done.detail,
        'started_at': done.started_at,
        'finished_at': done.finished_at,
        'took': wording.span(done.started_at, done.finished_at),
        'changes': known.describe(planned) if known else [],
        'before': done.image,
        'notes': done.notes,
    }
