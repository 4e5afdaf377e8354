# SPDX-License-Identifier: Apache-2.0

"""Carry out a run, from its beginning or from where it was stopped."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import threading
from typing import Any

from nova_recovery import program
from nova_recovery.engine import claiming, states, undo
from nova_recovery.engine.attempt import Attempt
from nova_recovery.engine.journal import ItemRecord, RunRecord
from nova_recovery.engine.plan import Item, Plan, Step
from nova_recovery.engine.records import Outcome
from nova_recovery.engine.session import Session
from nova_recovery.engine.way_back import Closing
from nova_recovery.exceptions import Closed, Paused, Refused

_TO_DO = states.ALL - states.FINAL


class Runner(Session):
    """Steps in strict order, the items of a step side by side.

    An item that fails keeps back the later items of its own subject, and of
    those that follow it, and nothing else. One whose subject has no further
    need of the run (``Closed``) is left out, with the later ones of it, and
    what was done to it so far is taken back.

    :param before: called before each step of which something is left; Paused
        lets the run end there, to be resumed
    :param through: pause before the first step with a higher number
    """

    command = 'run resume'

    def __init__(
        self,
        *args: Any,
        before: Callable[[Step], None] | None = None,
        through: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._before = before or (lambda step: None)
        self._through = through
        # subject -> why nothing more is done to it
        self._stuck: dict[str, str] = {}
        # those of them of which only a look ended badly
        self._looked: set[str] = set()
        # the items of a run that was taken back which go on all the same
        self._forward: frozenset[str] = frozenset()
        # subject -> why nothing is left to be done to it
        self._closed: dict[str, str] = {}
        # the step it is at, and how many of it ended badly
        self._step: Step | None = None
        self._bad = 0
        self._lock = threading.Lock()

    def carry_out(self, run_id: str) -> Outcome:
        """Carry out what is left of a run; return how it stands then.

        What failed, was in conflict or blocked is tried again, what is in
        doubt is looked at again; what is done stays done.

        :raises Refused: its undo was begun
        :raises RunLocked: another process carries it out
        :raises ClaimLost: the guard says that somebody else works on it
        :raises JournalError: the journal can't be written; nothing was sent
            without its intent
        """
        return self._hold(run_id)

    def _check_state(self, run: RunRecord, plan: Plan) -> None:
        self._forward = undo.forward(
            plan, self._journal.items(run.id), self._registry
        )
        taken_back = bool(states.UNDO & set(run.counts))
        if run.state == states.UNDONE or taken_back and not self._forward:
            raise Refused(
                f'run {run.id} was taken back, at least in part: make a new '
                f'plan, or take back the rest with: '
                + program.call(f'run undo {run.id}')
            )

    def _beginning(self, run: RunRecord) -> str:
        return 'resumed' if run.started_at else 'started'

    def _go_through(self, run: RunRecord, plan: Plan) -> None:
        left = sum(run.counts.get(state, 0) for state in _TO_DO)
        self._reporter.run_started(plan, left)
        self._planned = {item.id: item for item in plan.items()}
        for record in self._journal.items(run.id, {states.SKIPPED}):
            if record.notes.get('closed'):
                self._closed[record.subject] = record.detail
        for subject in self._closed:
            self._take_back_or_pause(subject)
        for place, step in enumerate(plan.steps):
            found = list(self._journal.items(run.id, _TO_DO, place))
            if self._forward:
                found = self._left_forward(step, found)
            if found and not self._stopped():
                self._enter(step)
            self._side_by_side(step, found)

    def _left_forward(
        self, step: Step, found: list[ItemRecord]
    ) -> list[ItemRecord]:
        """Of a run that was taken back: what goes forward all the same."""
        left = []
        for record in found:
            if record.id in self._forward:
                left.append(record)
            else:
                Attempt(
                    self._surroundings,
                    step.items[record.position],
                    self._registry[record.kind],
                    record,
                ).refuse(states.SKIPPED, 'the run was taken back')
        return left

    def _enter(self, step: Step) -> None:
        """Pause, unless the step may begin."""
        self._step, self._bad = step, 0
        if self._through is not None and step.number > self._through:
            self._pause(f'as asked: through step {self._through}')
            return
        # what ended is in the journal by now, for whoever looks there
        self._surroundings.writer.flush()
        try:
            self._before(step)
        except Paused as error:
            self._pause(str(error))

    def _do(self, item: Item, record: ItemRecord) -> None:
        one = Attempt(
            self._surroundings, item, self._registry[item.kind], record
        )
        closed = self._closed.get(item.subject)
        reason = self._reason_not_to(item)
        if closed and item.kind not in claiming.RELEASES:
            result = one.refuse(states.SKIPPED, closed)
        elif reason:
            result = one.refuse(states.BLOCKED, reason)
        else:
            result = one.carry_out()
        if result.closed:
            self._close(item, result.closed)
        elif result.state not in states.GOOD:
            with self._lock:
                if self._registry[item.kind].looks and not reason:
                    self._looked.add(item.subject)
                else:
                    self._looked.discard(item.subject)
                self._stuck.setdefault(
                    item.subject,
                    reason or f'{item.kind} of {item.label} is {result.state}',
                )
        # one that was bad before this session is nothing new
        if result.state in states.BAD and record.state not in states.BAD:
            self._count_bad()

    def _close(self, item: Item, why: Closed) -> None:
        """Nothing is left to do to its subject: leave it as it was before.

        Claims are given back by their own items, in the end.
        """
        with self._lock:
            self._closed[item.subject] = str(why)
            self._then.update(dict.fromkeys(why.then))
        # what was done so far is in the journal by now
        self._surroundings.writer.flush()
        self._take_back(item.subject)

    def _take_back_or_pause(self, subject: str) -> None:
        """It was closed before, and the run may have ended on the way."""
        try:
            self._take_back(subject)
        except Paused as error:
            self._complete = False
            self._pause(str(error))

    def _take_back(self, subject: str) -> None:
        """Take back what is done to a subject that was closed.

        Also while the run pauses: it begins nothing new.
        """
        surroundings = dataclasses.replace(
            self._surroundings, guard=self._guard
        )
        done = self._journal.items(
            surroundings.run_id, {states.DONE}, subject=subject
        )
        for record in reversed(list(done)):
            change = self._registry[record.kind]
            if change.looks or record.kind in claiming.KINDS:
                continue
            item = self._planned[record.id]
            result = Closing(surroundings, item, change, record).take_back()
            if result.state != Closing.reverted:
                with self._lock:
                    left = f'{item.label}: {item.kind} {result.detail}'
                    self._then[left] = None

    def _count_bad(self) -> None:
        with self._lock:
            self._bad += 1
            bad = self._bad
        step = self._step
        if step and step.failures is not None and bad > step.failures:
            self._pause(
                f'{step.title}: {bad} ended badly, and at most '
                f'{step.failures} may'
            )

    def _reason_not_to(self, item: Item) -> str:
        with self._lock:
            for subject in (item.subject, *item.follows):
                # What was done is done: a claim is not kept for what a look
                # at it found, which can be looked at again without it.
                if item.kind in claiming.RELEASES and subject in self._looked:
                    continue
                if subject in self._stuck:
                    return self._stuck[subject]
        return ''

    def _state(self, counts: dict[str, int]) -> str:
        if not self._complete or states.OPEN & set(counts):
            return states.INTERRUPTED
        good = set(counts) <= states.GOOD and not self._closed
        return states.DONE if good else states.PARTLY
