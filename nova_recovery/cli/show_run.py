# SPDX-License-Identifier: Apache-2.0

"""A run as an operator looks at it: how far it is, and what went wrong."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TYPE_CHECKING

from rich import text as rich_text

from nova_recovery.compat import pairs
from nova_recovery.engine import claiming, images, states, undo
from nova_recovery.engine.plan import Item, Plan
from nova_recovery.report import standing, summary, wording

if TYPE_CHECKING:
    from nova_recovery.engine.change import Registry
    from nova_recovery.engine.records import ItemRecord, RunRecord
    from nova_recovery.engine.undo import Foreseen

#: So many items are named where a list could be long.
FIRST = 10
#: What is known to be done is taken back without a look.
_SURE = (states.DONE, states.REVERTING)
Line = rich_text.Text

STYLES = {
    states.DONE: 'green',
    states.ALREADY: 'green',
    states.SKIPPED: 'yellow',
    states.REVERTED: 'yellow',
    states.BLOCKED: 'yellow',
    states.DOUBT: 'bold red',
    states.CONFLICT: 'bold red',
    states.FAILED: 'bold red',
    states.PARTLY: 'bold red',
    states.KEPT: 'bold red',
    states.INTERRUPTED: 'yellow',
    states.PAUSED: 'yellow',
    'killed': 'bold red',
    states.RUNNING: 'cyan',
}


def lines(
    run: RunRecord,
    plan: Plan,
    items: Iterable[ItemRecord],
    registry: Registry,
    call: Callable[..., str],
    reason: str = '',
    every: bool = False,
    columns: int = 0,
) -> Iterator[Line]:
    """The run, line by line.

    :param call: gives another command as it is typed in this program
    :param reason: why it was paused or interrupted
    :param every: each item, also those that went well
    :param columns: of the terminal; 0: nobody reads it there
    """
    yield Line.assemble(
        ('Run ', 'bold'),
        (run.id, 'bold cyan'),
        (f'  {wording.clean(run.title)}', 'bold'),
    )
    for name, value in _facts(run, reason):
        if value:
            line = Line(f'  {name:<10} {wording.clean(value)}')
            line.stylize(
                STYLES.get(standing.state_of(run), '')
                if name == 'state'
                else ''
            )
            yield line
    for gate in plan.gates:
        if gate.state == 'overridden':
            yield Line(
                wording.clean(
                    f'  overridden {gate.name} {gate.subject}: {gate.reason}'
                ),
                style='yellow',
            )
    yield Line()
    by_step: dict[str, list[ItemRecord]] = {}
    every_item = list(items)
    for item in every_item:
        by_step.setdefault(item.step, []).append(item)
    for heading, step in pairs(plan.headings, plan.steps):
        if of_step := by_step.get(step.name):
            title = f'{heading}  {wording.clean(step.title)}'
            yield from _step(title, of_step, every, columns)
    first, _, then = reason.partition('\n')
    if then:
        yield Line()
        yield from (
            Line(wording.clean(one)) for one in (first, *then.split('\n'))
        )
    forward = undo.forward(plan, every_item, registry)
    back = undo.worth(plan, every_item, registry)
    yield from map(Line, standing.lines(run, call, forward, back))


def done_of(counts: dict[str, int]) -> str:
    """``3/4``: items that want nothing more, and all."""
    done = sum(
        number
        for state, number in counts.items()
        if state in states.GOOD | {states.REVERTED}
    )
    return f'{done}/{sum(counts.values())}'


def item_lines(
    item: ItemRecord, columns: int = 0, short: Mapping[str, str] | None = None
) -> Iterator[Line]:
    """One item with what came of it.

    :param columns: of the terminal; 0: on one line
    :param short: see ``wording.abbreviated``
    """
    name = wording.identifier(item.subject, item.label)
    name = wording.shortened(name, short or {})
    parts = [item.label, name, item.detail]
    took = wording.span(item.started_at, item.finished_at)
    parts.append(f'({took})' if took else '')
    if kept := item.image.get(images.KEY):
        parts.append(f'(before-image {wording.kept(kept)})')
    text = '  '.join(wording.clean(part) for part in parts if part)
    head = f'  {item.state:<9} '
    told = wording.wrap(text, head, columns) if columns else [head + text]
    line = Line(told[0])
    line.stylize(STYLES.get(item.state, ''), 2, 2 + len(item.state))
    yield line
    yield from map(Line, told[1:])


def undo_lines(
    plan: Plan,
    foreseen: Foreseen,
    held: list[Item],
    registry: Registry,
    columns: int,
    digest: str,
    every: int = FIRST,
) -> Iterator[Line]:
    """What an undo will revert and what stays, with why; a line a subject.

    What only looks isn't told: nothing of it goes back.

    :param held: what claims hosts and servers by now
    :param every: so many subjects
    """
    short = wording.abbreviated(
        record.subject
        for record in (*foreseen.back, *(one for one, _ in foreseen.stays))
    )
    future = {
        item.id: _future(item, registry[item.kind].describe(item), step.title)
        for step in plan.steps
        for item in step.items
    }
    if back := _by_subject(
        (record, '')
        for record in foreseen.back
        # a claim or a lock that is taken again is no news of the server
        if not registry[record.kind].looks
        and record.kind not in claiming.GIVES_BACK
    ):
        yield Line()
        yield Line('Will be taken back, the last first', style='bold')
        for several in back[:every]:
            told = ', '.join(dict.fromkeys(future[r.id] for r, _ in several))
            if any(one.state not in _SURE for one, _ in several):
                told += '  (looked at first)'
            head = f'  {_named(several[0][0], short)}  '
            yield from map(Line, wording.wrap(told, head, columns))
        yield from _more(len(back) - every)
    if foreseen.stays:
        yield Line()
        yield Line('Stays', style='bold')
        alike: dict[str, list[ItemRecord]] = {}
        # the last one of a subject is why all before it stay
        for several in _by_subject(foreseen.stays):
            record, why = several[0]
            alike.setdefault(why, []).append(record)
        for why, records in alike.items():
            names = ', '.join(_named(one, short) for one in records[:every])
            yield from map(
                Line, wording.wrap(f'{names}: {why}', '  ', columns)
            )
            yield from _more(len(records) - every)
    if not foreseen.back and not foreseen.stays:
        yield Line('Nothing of it is in the cloud.')
    elif held and not foreseen.back:
        names = ', '.join(wording.clean(item.label) for item in held[:FIRST])
        yield Line()
        yield Line(f'Nothing can be taken back but the claim on {names}.')
    if foreseen.back or held:
        count = wording.count(len(foreseen.back or held), 'item')
        yield Line()
        yield Line(f'{count}, digest {digest}', style='dim')


#: Of what one item changes, so much is told of its way back.
_FUTURE = 2


def _by_subject(
    records: Iterable[tuple[ItemRecord, str]],
) -> list[list[tuple[ItemRecord, str]]]:
    found: dict[str, list[tuple[ItemRecord, str]]] = {}
    for record, why in records:
        found.setdefault(record.subject, []).append((record, why))
    return list(found.values())


def _future(item: Item, described: list[str], title: str) -> str:
    """What taking one item back does: ``host back to np-rcc54``.

    :param described: as its kind tells it
    :param title: of its step, for what goes back to no value
    """
    if item.kind in claiming.GIVES_BACK.values():
        return 'its lock' if item.kind not in claiming.KINDS else 'its claim'
    told = []
    for line in described:
        before, arrow, _ = line.partition(' -> ')
        *what, was = before.removeprefix('~ ').split('  ')
        if arrow and what and line.startswith('~ '):
            told.append(f'{" ".join(what)} back to {was}')
    return wording.clean(', '.join(told[:_FUTURE]) or title)


def _named(record: ItemRecord, short: Mapping[str, str]) -> str:
    """``at3-ui02 9620e5d8``: of its subject what an operator can type."""
    name = wording.identifier(record.subject, record.label)
    ids = wording.UUID.findall(name)
    words = [record.label, *(short.get(one, one) for one in ids)]
    return wording.clean(' '.join(filter(None, words)))


def _more(number: int) -> Iterator[Line]:
    if number > 0:
        yield Line(f'  … and {number} more', style='dim')


def _facts(run: RunRecord, reason: str) -> list[tuple[str, Any]]:
    took = wording.span(run.started_at, run.finished_at)
    return [
        ('state', f'{standing.state_of(run)}: {summary.counted(run.counts)}'),
        ('because', reason.partition('\n')[0]),
        ('held by', run.holder),
        ('procedure', run.procedure),
        ('who', f'{run.who} on {run.machine}'),
        ('command', run.command),
        ('plan', run.digest),
        ('created', wording.ago(run.created_at)),
        ('started', wording.ago(run.started_at)),
        (
            'finished',
            wording.ago(run.finished_at) + (f', took {took}' if took else ''),
        ),
    ]


def _step(
    title: str, items: list[ItemRecord], every: bool, columns: int
) -> Iterator[Line]:
    counts = collections.Counter(item.state for item in items)
    yield Line.assemble(
        (title, 'bold'), (f'  ({summary.counted(counts)})', 'dim')
    )
    good = summary.gravity(states.SKIPPED)
    hidden = 0
    short: Mapping[str, str] = {}
    if columns:
        short = wording.abbreviated(item.subject for item in items)
    for item in items:
        waits = (
            item.state == states.PENDING or summary.gravity(item.state) >= good
        )
        if waits and not every:
            hidden += 1
        else:
            yield from item_lines(item, columns, short)
    if hidden and hidden < len(items):
        yield Line(f'  … and {hidden} more (--items shows them)', style='dim')
