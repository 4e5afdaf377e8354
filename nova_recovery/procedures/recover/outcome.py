# SPDX-License-Identifier: Apache-2.0

"""What became of each server, as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TYPE_CHECKING

from nova_recovery.engine.plan import Plan
from nova_recovery.report import summary

if TYPE_CHECKING:
    from nova_recovery.engine.records import ItemRecord

COLUMNS = ('Server', 'ID', 'Method', 'Target', 'Outcome', 'Detail')
#: The item whose words tell best how a server ended well.
_TELLING = 'verify-server'


def table(
    plan: Plan, items: Iterable[ItemRecord] | None
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """A row for each server, in the order of names.

    :param items: what the journal has of them; None: only planned
    """
    ways: dict[str, tuple[str, str]] = {}
    labels: dict[str, str] = {}
    for item in plan.items():
        if item.kind == 'evacuate-server':
            ways[item.subject] = ('evacuate', item.data['target'])
        elif item.kind == 'move-record':
            ways[item.subject] = ('move', item.data['target']['host'])
        if item.subject in ways:
            labels[item.subject] = item.label
    ends = {} if items is None else _ends(items)
    rows = [
        (
            labels[subject],
            subject.partition(':')[2],
            method,
            target,
            *ends.get(subject, ('planned', '')),
        )
        for subject, (method, target) in ways.items()
    ]
    rows += [
        (one.label, one.subject.partition(':')[2], '', '', 'left out', one.why)
        for one in plan.left_out
    ]
    return COLUMNS, sorted(rows)


def _ends(items: Iterable[ItemRecord]) -> dict[str, tuple[str, str]]:
    decisive = summary.decisive(items, prefer=_TELLING)
    return {
        subject: (item.state, item.detail or '')
        for subject, item in decisive.items()
    }
