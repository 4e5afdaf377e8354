# SPDX-License-Identifier: Apache-2.0

"""How a run tells how far it is: rich on a terminal, plain lines elsewhere.

A terminal that is gone must not end a run: what can't be written any more
is left out, everything is in the journal.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Protocol, TextIO

from nova_recovery.engine import printable, states
from nova_recovery.engine.plan import Item, Plan, Step
from nova_recovery.engine.records import Outcome

#: Seconds between two lines about a long run.
INTERVAL = 10
#: So many of those that are waited for are named with it.
NAMED = 5
#: A run of so many items is told item by item.
FEW = 100


class Reporter(Protocol):
    """Called by the runner; ``item_changed`` and ``text`` in any thread."""

    def run_started(self, plan: Plan, total: int) -> None:
        """So many items are to be done."""

    def step_started(self, step: Step, total: int) -> None:
        """So many of them in this step, which begins."""

    def item_changed(self, item: Item, state: str, detail: str) -> None:
        """An item came to an end, good or bad; see ``journal.states``."""

    def text(self, item: Item, text: str) -> None:
        """Where a long item is."""

    def notice(self, text: str) -> None:
        """Something that the operator has to know now."""

    def tick(self) -> None:
        """Time went by."""

    def finished(self, outcome: Outcome | None) -> None:
        """The run is over; None if an error ended it."""


class Pace:
    """How many are over, how fast that goes, and how long it will take."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.over = 0
        self._began = time.monotonic()

    @property
    def rate(self) -> float:
        """Items a second since the beginning."""
        return self.over / max(time.monotonic() - self._began, 0.001)

    def __str__(self) -> str:
        text = f'{self.over:,} of {self.total:,}'
        if not self.over or self.over == self.total:
            return text
        left = (self.total - self.over) / self.rate
        return f'{text}, {self.rate:.3g} a second, {_duration(left)} left'


class _Output:
    """A stream that may vanish, as a terminal does with SIGHUP."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream
        self.encoding = stream.encoding

    def write(self, text: str) -> int:
        if self._stream is not None:
            try:
                self._stream.write(text)
            except (OSError, ValueError):
                self._stream = None
        return len(text)

    def flush(self) -> None:
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._stream = None

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        if self._stream is None:
            raise OSError('the terminal is gone')
        return self._stream.fileno()


class PlainReporter:
    """Lines for logs and pipes.

    Each item in a small run; in a large one those that didn't go well, and
    every ten seconds how far it is.
    """

    def __init__(self, stream: TextIO) -> None:
        self._output = _Output(stream)
        # entered again by what a signal handler or a change may call
        self._lock = threading.RLock()
        self._pace = Pace(0)
        self._said = time.monotonic()
        self._title = ''
        # item -> where it is, as a line
        self._waits: dict[str, str] = {}

    def run_started(self, plan: Plan, total: int) -> None:
        self._pace = Pace(total)
        self._said = time.monotonic()

    def step_started(self, step: Step, total: int) -> None:
        self._title = step.title
        self._line(f'{step.title}: {total:,} to do')

    def item_changed(self, item: Item, state: str, detail: str) -> None:
        with self._lock:
            self._waits.pop(item.id, None)
            self._pace.over += state not in states.OPEN
            if self._pace.total <= FEW or not _went_well(state):
                self._line(f'  {told(item, state, detail)}')
        self.tick()

    def text(self, item: Item, text: str) -> None:
        with self._lock:
            self._waits[item.id] = f'{item.label}: {text}'

    def notice(self, text: str) -> None:
        self._line(text)

    def tick(self) -> None:
        with self._lock:
            if time.monotonic() - self._said >= INTERVAL:
                self._line(f'{self._title}: {self._pace}')
                for line in list(self._waits.values())[:NAMED]:
                    self._line(f'  waits     {printable.clean(line)}')
                if len(self._waits) > NAMED:
                    self._line(f'  … and {len(self._waits) - NAMED} more')

    def finished(self, outcome: Outcome | None) -> None:
        self._line(f'{self._pace} over')

    def _line(self, text: str) -> None:
        with self._lock:
            self._said = time.monotonic()
            self._output.write(f'{printable.lines(text)}\n')
            self._output.flush()


class RichReporter:
    """A bar for the run, and lines for what didn't go well above it."""

    def __init__(self, stream: TextIO) -> None:
        # 0.1 s that only a terminal has to spend
        from rich import console, progress

        output: Any = _Output(stream)
        self._progress = progress.Progress(
            progress.TextColumn('{task.description}', markup=False),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(),
            progress.TextColumn('{task.fields[now]}', markup=False),
            console=console.Console(file=output, highlight=False),
            refresh_per_second=5,
            # what others print while the bar is up is theirs
            redirect_stdout=False,
            redirect_stderr=False,
            transient=True,
        )
        self._task = self._progress.add_task('', total=0, now='')
        self._few = True

    def run_started(self, plan: Plan, total: int) -> None:
        self._few = total <= FEW
        self._progress.reset(self._task, total=total)
        self._progress.start()

    def step_started(self, step: Step, total: int) -> None:
        self._progress.update(
            self._task, description=printable.clean(step.title)
        )

    def item_changed(self, item: Item, state: str, detail: str) -> None:
        if self._few or not _went_well(state):
            self._print(told(item, state, detail))
        if state not in states.OPEN:
            self._progress.advance(self._task)

    def text(self, item: Item, text: str) -> None:
        self._progress.update(
            self._task, now=printable.clean(f'{item.label}: {text}')
        )

    def notice(self, text: str) -> None:
        self._print(text)

    def tick(self) -> None:
        """Nothing: rich has a clock of its own."""

    def finished(self, outcome: Outcome | None) -> None:
        self._progress.stop()

    def _print(self, text: str) -> None:
        self._progress.console.print(printable.lines(text), markup=False)


def told(item: Item, state: str, detail: str) -> str:
    """An item in one line: ``failed  at3-ui02  evacuate-server: why``."""
    line = f'{state:9} {item.label}  {item.kind}'
    return printable.clean(f'{line}: {detail}' if detail else line)


def _went_well(state: str) -> bool:
    return state in states.GOOD or state == states.REVERTED


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 1:
        return f'{seconds:.0f} s'
    if minutes < 90:
        return f'{minutes:.0f} min'
    return f'{minutes / 60:.1f} h'
