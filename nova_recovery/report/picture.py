# SPDX-License-Identifier: Apache-2.0

"""The time line of a report, as shapes that a template draws.

Steps over time, then each server: when it was down, when something was done
to it, when it was up again. Up to ``NAMED`` servers have a line each with
its name; more of them are thin bars, by wave or by host, in the order in
which they came up, so that a group looks like a staircase.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
import dataclasses
from typing import Any

from nova_recovery.engine import claiming, states
from nova_recovery.report import wording
from nova_recovery.report.axis import Axis, merged, Piece, Span

#: Servers that have a line with a name.
NAMED = 60
#: Bars of one group that can be pointed at, of servers that are not up.
POINTED = 25
WIDTH, LEFT, RIGHT = 1000, 210, 893
#: Heights: of a line with text, of a bar in it, of what has no text.
LINE, BAR = 18, 9
#: All thin bars together are about so high.
THIN = 760
#: Characters that fit to the left.
NAME = 30
#: Items that went wrong, or stay though they were to be taken back.
WRONG = states.BAD | {states.KEPT}


@dataclasses.dataclass(frozen=True)
class Bar:
    """What was done in a time; ``look`` is how it is drawn."""

    left: float
    right: float
    look: str

    @property
    def width(self) -> float:
        """Of what can be seen."""
        least = 4 if 'bad' in self.look else 1.5
        return round(max(self.right - self.left, least), 1)

    @property
    def narrow(self) -> bool:
        """Whether what is behind it shall be seen."""
        return self.look in ('good', 'wait', 'bad')


@dataclasses.dataclass(frozen=True)
class Lane:
    """One line of the picture.

    :ivar y: its top, ``height`` of the bars in it
    :ivar name: to the left, shortened; ``title``: the same in full
    :ivar note: to the right
    :ivar anchor: what it leads to in the page, '' for nothing
    :ivar up: where it was up again, None if it wasn't
    :ivar open: whether it goes on to the right
    """

    y: float
    height: float
    name: str
    title: str
    note: str
    anchor: str
    bars: tuple[Bar, ...]
    up: float | None = None
    open: bool = False
    strong: bool = False


@dataclasses.dataclass(frozen=True)
class Group:
    """Servers that are drawn as thin bars, or the head of lines with names.

    :ivar note: below the name
    :ivar longest: to the right
    :ivar paths: look -> the d of an SVG path, of bars that are ``thick``
    """

    y: float
    name: str
    title: str
    note: str
    longest: str
    thick: float = 0
    paths: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Picture:
    height: float
    top: float
    ticks: list[tuple[float, str]]
    breaks: list[tuple[Piece, str]]
    day: str
    lanes: list[Lane]
    groups: list[Group]
    width: int = WIDTH
    left: int = LEFT
    right: int = RIGHT


def of_report(report: dict[str, Any]) -> Picture | None:
    """The picture; None if nothing was carried out yet."""
    busy = [
        _span(one['since'], one['until'])
        for run in report['runs']
        for one in run['sessions']
    ]
    if not busy:
        return None
    axis = Axis(busy, _seconds(report['began_at']), LEFT, RIGHT)
    return _Drawing(report, axis, merged(busy)).picture()


class _Drawing:
    """Puts one thing below the other."""

    def __init__(
        self, report: dict[str, Any], axis: Axis, busy: Sequence[Span]
    ) -> None:
        self._report, self._axis, self._busy = report, axis, busy
        self._y = 26.0
        self._lanes: list[Lane] = []
        self._groups: list[Group] = []

    def picture(self) -> Picture:
        for one in self._report['runs']:
            self._run(one)
        rows = [row for row in self._report['servers'] if row['down']]
        work = _work(self._report, {row['subject'] for row in rows})
        if rows:
            self._y += 10
        named = len(rows) <= NAMED
        thin = min(max(THIN / max(len(rows), 1), 0.5), 5.0)
        groups = _grouped(rows, self._report)
        for name, some in groups.items():
            if named:
                if len(groups) > 1:
                    self._head(name, some)
                for row in some:
                    self._server(row, work)
            else:
                self._thin(name, some, work, thin)
        first = wording.moment(self._report['began_at'])
        return Picture(
            height=round(self._y + 6, 1),
            top=20,
            ticks=list(self._axis.ticks()),
            breaks=[
                (piece, wording.duration(piece.until - piece.since))
                for piece in self._axis.breaks
            ],
            day=first.strftime('%Y-%m-%d') if first else '',
            lanes=self._lanes,
            groups=self._groups,
        )

    def _run(self, one: dict[str, Any]) -> None:
        """Its sessions, and its steps."""
        run = one['run']
        bars = []
        for each in one['sessions']:
            since, until = _span(each['since'], each['until'])
            bars.append(self._bar((since, until), 'session'))
            if each['ended'] == 'killed':
                bars.append(self._bar((until, until), 'session bad'))
        self._lane(
            f'Run {run["id"]}',
            run['title'],
            ', '.join(each['ended'] for each in one['sessions']),
            f'run-{run["id"]}',
            bars,
            strong=True,
        )
        for step in one['steps']:
            spans: dict[str, list[Span]] = {}
            for item in step['items']:
                if span := _worked(item):
                    look = _look(item['state'])
                    spans.setdefault(look, []).append(span)
            every = [
                self._bar(span, f'step {look}')
                for look in ('good', 'wait', 'bad')
                for span in self._within(spans.get(look, ()))
            ]
            if not every:
                continue
            wrong = sum(_look(i['state']) == 'bad' for i in step['items'])
            number = len(step['items'])
            note = f'{number:,} item' if number == 1 else f'{number:,} items'
            self._lane(
                step['title'],
                f'{step["heading"]}: {step["title"]}',
                f'{note}, {wrong:,} wrong' if wrong else note,
                step_anchor(run['id'], step['name']),
                every,
            )

    def _lane(
        self, name: str, title: str, note: str, anchor: str,
        bars: Iterable[Bar], **more: Any,
    ) -> None:  # fmt: skip
        self._lanes.append(
            Lane(
                self._y,
                BAR,
                _short(name),
                title,
                note,
                anchor,
                tuple(bars),
                **more,
            )  # fmt: skip
        )
        self._y += LINE

    def _head(self, name: str, some: Sequence[dict[str, Any]]) -> None:
        """The head of lines with names."""
        self._y += 6
        shown = _short(f'{name}: {_told(some)}', 100)
        group = Group(self._y, shown, name, '', _longest(some))
        self._groups.append(group)
        self._y += LINE

    def _server(
        self, row: dict[str, Any], work: dict[str, list[tuple[Span, str]]]
    ) -> None:
        bars = [self._bar(_down(one), 'down') for one in row['down']]
        for span, look in work.get(row['subject'], ()):
            bars += [self._bar(s, look) for s in self._within([span])]
        last = row['down'][-1]
        self._lane(
            row['label'] or row['name'],
            f'{row["label"]} {row["name"]}'.strip(),
            wording.duration(row['seconds']) if row['up'] else 'not up',
            server_anchor(row['subject']),
            bars,
            up=self._axis.x(_seconds(last['until'])) if row['up'] else None,
            open=not row['up'],
        )

    def _thin(
        self,
        name: str,
        some: Sequence[dict[str, Any]],
        work: dict[str, list[tuple[Span, str]]],
        thick: float,
    ) -> None:
        """A group as thin bars; those that are not up can be pointed at."""
        down = [row for row in some if not row['up']]
        rest = [row for row in some if row['up']] + down[POINTED:]
        top = self._y
        paths = dict.fromkeys(('down', 'good', 'wait', 'bad', 'up'), '')
        for row in rest:
            y = round(self._y + thick / 2, 2)
            for one in row['down']:
                paths['down'] += self._stroke(_down(one), y)
            for span, look in work.get(row['subject'], ()):
                for part in self._within([span]):
                    paths[look] += self._stroke(part, y)
            if row['up']:
                at = self._axis.x(_seconds(row['down'][-1]['until']))
                paths['up'] += f'M{at:g} {y:g}h2'
            self._y += thick
        group = Group(
            top,
            _short(name),
            name,
            _told(some),
            _longest(some),
            # or the paper shows between them
            round(thick * 1.12, 2),
            tuple((look, d) for look, d in paths.items() if d),
        )
        self._groups.append(group)
        self._y = max(self._y, top + 1.6 * LINE) + 2
        for row in down[:POINTED]:
            self._server(row, work)
        self._y += 8

    def _stroke(self, span: Span, y: float) -> str:
        left, right = map(self._axis.x, span)
        return f'M{left:g} {y:g}H{max(right, left + 1):g}'

    def _bar(self, span: Span, look: str) -> Bar:
        since, until = span
        return Bar(self._axis.x(since), self._axis.x(until), look)

    def _within(self, spans: Iterable[Span]) -> Iterator[Span]:
        """What of them was within a session: an item may have been killed."""
        for since, until in merged(spans):
            for first, last in self._busy:
                begin, end = max(since, first), min(until, last)
                if begin <= end:
                    yield begin, end


def step_anchor(run_id: str, name: str) -> str:
    """What leads to a step in the page."""
    return _anchor(f'step-{run_id}-{name}')


def server_anchor(subject: str) -> str:
    """What leads to a server in the page."""
    return _anchor(subject)


def _anchor(text: str) -> str:
    return ''.join(one if one.isalnum() else '-' for one in text)


def _grouped(
    rows: Sequence[dict[str, Any]], report: dict[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """By the step that brought them back, else by the host they were on."""
    order = list(
        dict.fromkeys(
            step['title'] for run in report['runs'] for step in run['steps']
        )
    )
    key = 'group'
    if len({row[key] for row in rows}) < 2:
        key, order = 'host', sorted({row['host'] for row in rows})
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in order}
    # as they came up, though those that went wrong are first in tables
    for row in sorted(rows, key=lambda row: row['down'][-1]['until'] or '9'):
        found[row[key]].append(row)
    return {name: some for name, some in found.items() if some}


def _told(some: Sequence[dict[str, Any]]) -> str:
    """How many there are."""
    open_ = sum(not row['up'] for row in some)
    words = wording.count(len(some), 'server')
    return f'{words}, {open_:,} not up' if open_ else words


def _longest(some: Sequence[dict[str, Any]]) -> str:
    up = [row['seconds'] for row in some if row['up']]
    return f'longest {wording.duration(max(up))}' if up else ''


def _work(
    report: dict[str, Any], subjects: set[str]
) -> dict[str, list[tuple[Span, str]]]:
    """Server -> when something was done to it, and how that ended."""
    found: dict[str, list[tuple[Span, str]]] = {}
    for run in report['runs']:
        for step in run['steps']:
            for item in step['items']:
                if (
                    item['subject'] in subjects
                    # a claim is no work on it
                    and item['kind'] not in claiming.KINDS
                    and (span := _worked(item))
                ):
                    found.setdefault(item['subject'], []).append(
                        (span, _look(item['state']))
                    )
    return found


def _worked(item: dict[str, Any]) -> Span | None:
    """When an item was carried out; None if it wasn't.

    Of what went wrong the journal has when it was tried first, and when it
    went wrong last, and of what was taken back when that was: only the end is
    drawn.
    """
    first = item['started_at'] or item['finished_at']
    if item['state'] in WRONG | {states.REVERTED}:
        first = item['finished_at'] or first
    if not first or item['state'] in (states.PENDING, states.BLOCKED):
        return None
    return _span(first, item['finished_at'] or first)


def _look(state: str) -> str:
    if state in states.RIGHT:
        return 'good'
    return 'bad' if state in WRONG else 'wait'


def _down(one: dict[str, Any]) -> Span:
    return _span(one['since'], one['until'] or one['last'])


def _span(since: str, until: str) -> Span:
    first = _seconds(since)
    return first, max(_seconds(until), first)


def _seconds(time: str) -> float:
    at = wording.moment(time)
    return at.timestamp() if at else 0.0


def _short(text: str, room: int = NAME) -> str:
    shown = wording.clean(text)
    return shown if len(shown) <= room else f'{shown[: room - 1]}…'
