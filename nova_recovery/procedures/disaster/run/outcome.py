# SPDX-License-Identifier: Apache-2.0

"""What became of each server, as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TYPE_CHECKING

from nova_recovery.engine import claiming, states
from nova_recovery.engine.plan import Item, LeftOut, Plan
from nova_recovery.report import summary, wording

if TYPE_CHECKING:
    from nova_recovery.engine.records import ItemRecord

COLUMNS = (
    'Server',
    'ID',
    'Project',
    'Host',
    'Was',
    'Action',
    'State',
    'Console',
    'Volumes',
    'Detail',
)
#: What is done to volumes, in a word.
_VOLUMES = {
    'attach-volume': 'attached',
    'drop-attachment': 'detached',
    'drop-mapping': 'unmapped',
    'link-mapping': 'linked',
    'recreate-attachment': 'attached anew',
    'reset-volume': 'reset',
}


def table(
    plan: Plan, items: Iterable[ItemRecord] | None
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """A row for each server, in the order in which they come back.

    Then what is done to other servers' volumes, and what is left out.

    :param items: what the journal has of them; None: only planned
    """
    ends = None if items is None else {item.id: item for item in items}
    rows: dict[str, _Row] = {}
    names: dict[str, str] = {}
    for item in plan.items():
        if item.kind == 'restart-server':
            rows[item.subject] = _Row(item, item.label)
        elif item.kind == claiming.SERVER:
            names[item.subject] = item.label
    others: dict[str, _Row] = {}
    for item in plan.items():
        end = None if ends is None else ends.get(item.id)
        for subject in _servers(item):
            row = rows.get(subject)
            if row is None and item.kind in _VOLUMES:
                name = names.get(subject, '')
                row = others.setdefault(subject, _Row(item, name))
            if row is not None:
                row.add(item, end, ends is None)
    found = [row.cells() for row in (*rows.values(), *others.values())]
    found += [
        _left(one)
        for one in plan.left_out
        if one.subject.startswith('server:')
    ]
    return COLUMNS, found


class _Row:
    """One server, put together from its items."""

    def __init__(self, item: Item, name: str) -> None:
        data = item.data
        self._name = name
        self._uuid = str(data.get('uuid') or '')
        self._project = str(data.get('project') or '')
        self._host = str(data.get('host') or '')
        self._was = str(data.get('was') or '')
        self._action = ''
        self._console = ''
        self._volumes: dict[str, int] = {}
        self._states: list[tuple[str, str]] = []
        # how its restart ended, which tells it best where all went well
        self._own: tuple[str, str] | None = None

    def add(self, item: Item, end: ItemRecord | None, planned: bool) -> None:
        """Take what became of an item."""
        state = (
            'planned' if planned else (end.state if end else states.PENDING)
        )
        detail = (end.detail if end else '') or ''
        if item.kind == 'restart-server':
            image = (end.image if end else None) or {}
            self._action = str(image.get('action') or 'reboot or start')
            if state == states.ALREADY:
                self._action = 'none'
            self._own = (state, detail)
        elif item.kind == 'watch-boot':
            if end is not None:
                self._console = str(end.notes.get('console', ''))
            if state != states.FAILED:
                return
        elif item.kind in _VOLUMES:
            if state in (*states.RIGHT, 'planned'):
                word = _VOLUMES[item.kind]
                self._volumes[word] = self._volumes.get(word, 0) + 1
        if item.kind == claiming.SERVER and state in (
            *states.RIGHT,
            'planned',
        ):
            return
        self._states.append((state, detail))

    def cells(self) -> tuple[Any, ...]:
        """The row of the table."""
        # of equals the first: a claim that is given back tells nothing
        state, detail = min(
            self._states, key=lambda one: summary.gravity(one[0])
        )
        if self._own and state in (*states.RIGHT, 'planned'):
            state, detail = self._own
        volumes = ', '.join(
            f'{number} {word}' for word, number in self._volumes.items()
        )
        return tuple(
            wording.clean(text)
            for text in (
                self._name,
                self._uuid,
                self._project,
                self._host,
                self._was,
                self._action,
                state,
                self._console,
                volumes,
                detail,
            )
        )


def _servers(item: Item) -> list[str]:
    """The servers that an item is about."""
    kind, _, uuid = item.subject.partition(':')
    if kind == 'server':
        return [item.subject]
    if kind in ('boot', 'guest'):
        return [f'server:{uuid}']
    return [one for one in item.follows if one.startswith('server:')]


def _left(one: LeftOut) -> tuple[Any, ...]:
    return (
        wording.clean(one.label),
        one.subject.partition(':')[2],
        '',
        '',
        '',
        'none',
        'left out',
        '',
        '',
        wording.clean(one.line),
    )
