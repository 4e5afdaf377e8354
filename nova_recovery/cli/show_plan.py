# SPDX-License-Identifier: Apache-2.0

"""A plan as an operator reads it before it is carried out."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Sequence
import itertools
import shlex
import sys
from typing import Any, TextIO

from rich import console as rich_console
from rich import text as rich_text

from nova_recovery.compat import pairs
from nova_recovery.engine.change import Registry
from nova_recovery.engine.overrides import address
from nova_recovery.engine.plan import Gate, Item, LeftOut, Plan, SHORT, Step
from nova_recovery.report import wording

#: So many items of a step, and gates of a name, are shown one by one.
FIRST = 10
#: So many items of each step, when the plan is larger than ``LARGE``.
FIRST_OF_LARGE = 3
LARGE = 100
#: Names are aligned up to this length.
NAME = 24
#: So many gates of a name tell each what can be done.
FEW = 3
#: Of one step of the guide, in a large plan.
WAVES = 4

_STYLES = {
    'ok': 'green',
    'refused': 'bold red',
    'unknown': 'bold red',
    'overridden': 'yellow',
    'advice': 'yellow',
    '~': 'yellow',
    '+': 'green',
    '-': 'red',
    '=': 'dim',
}
Line = rich_text.Text
Row = Sequence[Any]


def console(stream: TextIO) -> rich_console.Console:
    """Colours on a terminal, plain text elsewhere; nothing is re-wrapped."""
    if getattr(stream, 'errors', None) == 'strict':
        # A name that the locale can't write must not end the program.
        stream.reconfigure(  # type: ignore[attr-defined]
            errors='backslashreplace'
        )
    return rich_console.Console(
        file=stream, soft_wrap=True, highlight=False, markup=False, emoji=False
    )


def width(screen: rich_console.Console) -> int:
    """Between 80 and 120 columns; 100 where there is no terminal."""
    return min(max(screen.width, 80), 120) if screen.is_terminal else 100


def show(
    plan: Plan,
    registry: Registry,
    screen: rich_console.Console,
    every: bool = False,
    comes_to: Sequence[str] = (),
) -> None:
    """Print the plan.

    :param every: each item, gate and subject, however many there are
    :param comes_to: what it comes to, lines for its end
    """
    for line in lines(plan, registry, width(screen), every, comes_to):
        screen.print(line)


def lines(
    plan: Plan,
    registry: Registry,
    columns: int,
    every: bool = False,
    comes_to: Sequence[str] = (),
) -> Iterator[Line]:
    """The plan, line by line; what refuses it and what it comes to last."""
    first = sys.maxsize if every else FIRST
    yield Line.assemble(
        ('Plan ', 'bold'),
        (plan.digest[:SHORT], 'bold cyan'),
        (f'  {wording.clean(plan.title)}', 'bold'),
    )
    passed = [gate for gate in plan.gates if not gate.blocks]
    blocking = [gate for gate in plan.gates if gate.blocks]
    yield from gate_lines(passed, columns, first)
    yield from step_lines(plan, registry, columns, every)
    if plan.left_out:
        yield from _heading(f'Left out ({len(plan.left_out)})')
        yield from _left_out(plan.left_out, columns, first)
    if plan.notes:
        yield from _heading('Notes')
        for note in plan.notes:
            yield from map(Line, wording.wrap(note, '  ', columns))
    yield from gate_lines(blocking, columns, first, 'What refuses it')
    yield Line()
    for text in comes_to:
        yield Line(wording.clean(text), style='bold')
    if comes_to and plan.left_out:
        yield Line(f'left out: {len(plan.left_out)}', style='bold')
    total = sum(1 for _ in plan.items())
    several = wording.count(total, 'item')
    yield Line(f'{several}, digest {plan.digest}', style='dim')


def comes_to(columns: Sequence[str], rows: Iterable[Row]) -> list[str]:
    """``evacuate: 4 to host2, 5 to host3``, by method; [] if it has none.

    :param rows: what becomes of each subject, under the columns
    """
    if not {'Method', 'Target'} <= set(columns):
        return []
    how, where = columns.index('Method'), columns.index('Target')
    found: dict[str, collections.Counter[str]] = {}
    for row in rows:
        found.setdefault(row[how], collections.Counter())[row[where]] += 1
    return [
        f'{method}: '
        + ', '.join(
            f'{number} to {target}' if target else str(number)
            for target, number in sorted(targets.items())
        )
        for method, targets in found.items()
        if method
    ]


def gate_lines(
    gates: Sequence[Gate],
    columns: int,
    first: int = FIRST,
    heading: str = 'Gates',
) -> Iterator[Line]:
    """The gates under their heading; of many alike the first ones only.

    Those that refuse come last, where they are seen.
    """
    if not gates:
        return
    yield from _heading(heading)
    column = min(max(len(gate.name) for gate in gates), 24)
    alike: dict[tuple[str, str], list[Gate]] = {}
    for gate in sorted(gates, key=lambda one: one.blocks):
        alike.setdefault((_word(gate), gate.name), []).append(gate)
    for (word, name), several in alike.items():
        head = f'  {word:<10} {wording.clean(name):<{column}}  '
        if len(several) > first and word == 'ok':
            yield from _styled(
                f'{len(several)} times, first '
                f'{several[0].subject}: {several[0].observed}',
                head,
                word,
                columns,
            )
            continue
        ways: set[str] = set()
        for gate in several[:first]:
            # Of many alike the way out is told once, each that there is.
            way = _without_names(gate)
            told = way not in ways or len(several) <= FEW
            ways.add(way)
            yield from _gate(gate, head, columns, told)
        yield from _more(len(several) - first, ' ' * len(head))


def step_lines(
    plan: Plan, registry: Registry, columns: int, every: bool = False
) -> Iterator[Line]:
    """The steps with their first items."""
    total = sum(len(step.items) for step in plan.steps)
    first = FIRST if total <= LARGE else FIRST_OF_LARGE
    if every:
        first = total
    yield Line()
    named = [
        (heading, step)
        for heading, step in pairs(plan.headings, plan.steps)
        if step.items
    ]
    for number, group in itertools.groupby(named, lambda one: one[1].number):
        alike = list(group)
        # Of hundreds of waves the first ones show what they are like.
        whole = every or not number or total <= LARGE
        some = alike if whole else alike[:WAVES]
        for heading, step in some:
            yield from _step(heading, step, first, registry, columns)
        if len(alike) > len(some):
            further = wording.count(len(alike) - len(some), 'step')
            yield Line(f'… and {further} like these', style='dim')
    if not total:
        # what refuses it may be that nobody knows what there is to do
        yield Line('Nothing is planned.' if plan.blocked else 'Nothing to do.')


def _step(
    heading: str, step: Step, first: int, registry: Registry, columns: int
) -> Iterator[Line]:
    subjects = [item.subject for item in step.items]
    several = wording.count(len(subjects), wording.noun_of(subjects))
    head = f'{heading}  {wording.clean(step.title)}'
    if len(subjects) == 1:
        # such as a claim: its title names what it is about
        only = step.items[0]
        told = _described(only, registry)
        if only.label in step.title and _fits(told, f'{head}  ', columns):
            yield Line.assemble(
                (f'{head}  ', 'bold'), *map(_styled_change, told)
            )
            return
    yield Line.assemble(
        (head, 'bold'), (f'  ({several})' if len(subjects) > 1 else '', 'dim')
    )
    yield from _items(step.items[:first], registry, columns)
    yield from _more(len(subjects) - first, '  ')


def _items(
    items: Sequence[Item], registry: Registry, columns: int
) -> Iterator[Line]:
    """Each item with what it changes; those that only have names, in a row.

    What changes in one way has one line, with as much of its id as tells it
    from the others.
    """
    plain: list[str] = []
    short = wording.abbreviated(item.subject for item in items)
    labels = [wording.clean(item.label) for item in items]
    column = min(max(map(len, labels), default=0), NAME)
    for item, label in pairs(items, labels):
        told = _described(item, registry)
        if not told:
            plain.append(label)
            continue
        name = wording.clean(wording.identifier(item.subject, item.label))
        head = f'  {label:<{column}}  '
        brief = f'{wording.shortened(name, short)}  ' if name else ''
        if _fits(told, head + brief, columns):
            yield Line.assemble(
                head, (brief, 'cyan'), *map(_styled_change, told)
            )
            continue
        yield Line.assemble(
            f'  {label}', (f'  {name}' if name else '', 'cyan')
        )
        for one in told:
            yield Line.assemble('    ', _styled_change(one))
    if plain:
        yield from map(Line, wording.wrap(', '.join(plain), '  ', columns))


def _described(item: Item, registry: Registry) -> list[str]:
    """What it changes, as its kind tells it."""
    known = registry.get(item.kind)
    if known is None:
        return [f'= {item.kind}: unknown to this version']
    return [wording.clean(one) for one in known.describe(item)]


def _fits(told: Sequence[str], head: str, columns: int) -> bool:
    return len(told) == 1 and len(head) + len(told[0]) <= columns


def _styled_change(text: str) -> tuple[str, str]:
    return text, _STYLES.get(text[:1], '')


def _without_names(gate: Gate) -> str:
    """A way out, the same for whomever it is."""
    way = wording.UUID.sub('', gate.remedy)
    return way.replace(gate.subject, '') if gate.subject else way


def _gate(gate: Gate, head: str, columns: int, told: bool) -> Iterator[Line]:
    about = f'{gate.subject}: ' if gate.subject else ''
    yield from _styled(f'{about}{gate.observed}', head, _word(gate), columns)
    further: list[str] = []
    if gate.state == 'overridden':
        further = [f'override: {gate.reason}']
    elif gate.state != 'ok' and told:
        further = [*gate.remedy.splitlines(), *_way_past(gate)]
    for line in further:
        yield from _wrapped(line, ' ' * len(head), columns)


def _wrapped(text: str, head: str, columns: int) -> Iterator[Line]:
    """The lines of a text behind a head.

    A line that is a command, or an option of one, is to be copied: it has a
    line of its own, and is never divided.
    """
    for line in text.splitlines():
        if line.startswith('--') or wording.is_command(line):
            yield Line(f'    {wording.clean(line)}')
        else:
            yield from map(Line, wording.wrap(line, head, columns))
        head = ' ' * len(head)


def _way_past(gate: Gate) -> list[str]:
    """How the gate is overridden, or that it can't be."""
    if not gate.blocks or '--override' in gate.remedy:
        return []
    if gate.klass == 'hard':
        return ["(this gate can't be overridden)"]
    where = address(gate.name, gate.subject)
    either = 'or ' if gate.remedy else ''
    return [f'{either}--override {shlex.quote(f"{where}=REASON")}']


def _word(gate: Gate) -> str:
    if gate.klass == 'advice' and gate.state != 'ok':
        return 'advice'
    return gate.state


def _styled(text: str, head: str, word: str, columns: int) -> Iterator[Line]:
    for number, line in enumerate(wording.wrap(text, head, columns)):
        styled = Line(line)
        if number == 0:
            styled.stylize(_STYLES.get(word, ''), 2, 2 + len(word))
        yield styled


def _heading(text: str) -> Iterator[Line]:
    yield Line()
    yield Line(text, style='bold')


def _left_out(
    left_out: Sequence[LeftOut], columns: int, first: int
) -> Iterator[Line]:
    shown = [(wording.clean(one.subject), one) for one in left_out[:first]]
    column = min(max(len(name) for name, _ in shown), 36)
    for name, one in shown:
        yield from _wrapped(one.told, f'  {name:<{column}}  ', columns)
    yield from _more(len(left_out) - first, '  ')


def _more(number: int, head: str) -> Iterator[Line]:
    if number > 0:
        yield Line(f'{head}… and {number} more', style='dim')
