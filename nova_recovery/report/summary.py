# SPDX-License-Identifier: Apache-2.0

"""What became of each subject, one row for each.

A subject has several items, one after the other; the row tells the one that
decides: the worst, and of equals the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TYPE_CHECKING

from nova_recovery.engine import claiming, states
from nova_recovery.engine.plan import Plan
from nova_recovery.report import wording

if TYPE_CHECKING:
    from nova_recovery.engine.records import ItemRecord

COLUMNS = ('Subject', 'ID', 'Outcome', 'Detail')

#: Item states, those that an operator has to look at first.
GRAVITY = (
    states.DOUBT,
    states.CONFLICT,
    states.FAILED,
    states.KEPT,
    states.BLOCKED,
    states.REVERTING,
    states.SENT,
    states.INTENT,
    states.PENDING,
    # not of the journal, but what an undo foresees
    'to revert',
    states.SKIPPED,
    states.DONE,
    states.ALREADY,
    states.REVERTED,
)


def gravity(state: str) -> int:
    """0 is the gravest; a state of a newer journal counts as such."""
    return GRAVITY.index(state) if state in GRAVITY else 0


def counted(counts: Mapping[str, int]) -> str:
    """``1 failed, 3 done``, the gravest first."""
    order = sorted(counts, key=gravity)
    return ', '.join(f'{counts[s]} {s}' for s in order if counts[s])


def of_items(
    items: Iterable[ItemRecord],
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Columns and rows for what a run did, in the order of the plan."""
    return COLUMNS, [
        (
            wording.clean(item.label),
            wording.clean(wording.identifier(subject, item.label)),
            item.state,
            wording.clean(item.detail or ''),
        )
        for subject, item in decisive(items).items()
    ]


def decisive(
    items: Iterable[ItemRecord], prefer: str = ''
) -> dict[str, ItemRecord]:
    """Of each subject the item that tells how it ended.

    :param prefer: the kind that tells it best where all went well
    """
    found: dict[str, ItemRecord] = {}
    for item in items:
        before = found.get(item.subject)
        if before is None or _decides(item, before, prefer):
            found[item.subject] = item
    return found


def of_plan(plan: Plan) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """The same for what isn't carried out yet, and what it leaves out."""
    titles: dict[str, list[str]] = {}
    labels: dict[str, str] = {}
    for step in plan.steps:
        for item in step.items:
            labels[item.subject] = item.label
            done = titles.setdefault(item.subject, [])
            if step.title not in done:
                done.append(step.title)
    rows: list[tuple[Any, ...]] = [
        (
            wording.clean(labels[subject]),
            wording.clean(wording.identifier(subject, labels[subject])),
            'planned',
            wording.clean('; '.join(steps)),
        )
        for subject, steps in titles.items()
    ]
    rows += [
        (
            wording.clean(one.label),
            wording.clean(wording.identifier(one.subject, one.label)),
            'left out',
            wording.clean(one.line),
        )
        for one in plan.left_out
    ]
    return COLUMNS, rows


def _decides(item: ItemRecord, before: ItemRecord, prefer: str) -> bool:
    good = gravity(states.SKIPPED)
    new, old = gravity(item.state), gravity(before.state)
    if new >= good and old >= good:
        if states.SKIPPED in (item.state, before.state):
            return before.state != states.SKIPPED
        # giving a claim back tells nothing of what was done under it
        if item.kind in claiming.RELEASES:
            return False
        return before.kind != prefer
    return new < old or (new == old and item.state != states.BLOCKED)
