# SPDX-License-Identifier: Apache-2.0

"""Take a run back: its items in reverse, by compare-and-set."""

from __future__ import annotations

import threading
from typing import Any

from nova_recovery.engine import states
from nova_recovery.engine.attempt import Attempt, Result, State
from nova_recovery.engine.journal import ItemRecord, RunRecord
from nova_recovery.engine.plan import Item, Plan, Step
from nova_recovery.engine.session import Outcome, Session
from nova_recovery.exceptions import OutcomeUnknown, RecoveryError, Refused

_TO_DO = states.ALL - {states.REVERTED}


class Undo(Session):
    """Steps and items in reverse order.

    What is kept keeps what it stands on: the earlier items of its subject,
    and of the subjects that it follows.
    """

    again = 'run undo'

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # subject -> why what was done to it before has to stay
        self._stays: dict[str, str] = {}
        self._lock = threading.Lock()

    def undo(self, run_id: str) -> Outcome:
        """Take back all that was carried out; return how the run stands.

        What was kept before is tried again.

        :raises Refused: nothing of it was ever carried out
        :raises RunLocked: another process carries it out
        :raises ClaimLost: the guard says that somebody else works on it
        :raises JournalError: the journal can't be written; nothing was
            reverted that isn't in it
        """
        return self._hold(run_id)

    def _check_state(self, run: RunRecord) -> None:
        if run.state == states.READY:
            raise Refused(
                f'run {run.id} was never started: there is nothing to undo'
            )

    def _beginning(self, run: RunRecord) -> str:
        return 'undoing'

    def _go_through(self, run: RunRecord, plan: Plan) -> None:
        total = sum(
            record.begun for record in self._journal.items(run.id, _TO_DO)
        )
        self._reporter.run_started(plan, total)
        for place, step in reversed(list(enumerate(plan.steps))):
            self._keep_what_happened(run, step, place)
            found = [
                record
                for record in self._journal.items(run.id, _TO_DO, place)
                # the others were never sent: there is nothing to take back
                if record.begun
            ]
            self._side_by_side(step, found, reverse=True)

    def _keep_what_happened(
        self, run: RunRecord, step: Step, place: int
    ) -> None:
        """What somebody else did stands on our changes like our own.

        A server that nova itself started after its volumes were mended runs
        on them.
        """
        for record in self._journal.items(run.id, {states.ALREADY}, place):
            item = step.items[record.position]
            if self._registry[item.kind].once:
                reason = f'{item.id} stands on it: {record.detail}'
                for subject in (item.subject, *item.follows):
                    self._stays.setdefault(subject, reason)

    def _do(self, item: Item, record: ItemRecord) -> None:
        one = _WayBack(
            self._surroundings, item, self._registry[item.kind], record
        )
        with self._lock:
            reason = self._stays.get(item.subject)
        if reason:
            result = one.refuse(states.KEPT, reason)
        else:
            result = one.take_back()
        if result.state != states.REVERTED:
            with self._lock:
                for subject in (item.subject, *item.follows):
                    self._stays.setdefault(
                        subject, reason or f'{item.id} stands on it and stays'
                    )

    def _state(self, counts: dict[str, int]) -> str:
        if not self._complete or states.REVERTING in counts:
            return states.INTERRUPTED
        return states.PARTLY if states.KEPT in counts else states.UNDONE


class _WayBack(Attempt):
    """Takes back one item that was begun."""

    def take_back(self) -> Result:
        """Bring the before-image back and journal how that went.

        :raises ClaimGone: nothing was sent
        :raises JournalError: nothing was sent
        """
        return self._ended(self._revert)

    def _revert(self) -> Result:
        # a way back that was begun is simply repeated
        if self._state not in (states.DONE, states.REVERTING):
            observed = self._look()
            if observed.state is State.BEFORE and self._change.once:
                return Result(states.REVERTED, 'it was not carried out')
            # For the others BEFORE only says that it may be applied (again):
            # it may have been stopped half-way. Their way back looks itself.
            if observed.state not in (State.BEFORE, State.AFTER):
                return Result(
                    states.KEPT,
                    f'not known to be done ({observed.state.value}): '
                    f'{observed.detail}',
                )
        self._all.writer.write(self._record.number, state=states.REVERTING)
        self._ask_guard()
        self._state = states.REVERTING
        detail = self._change.revert(self._at)
        return Result(states.REVERTED, detail)

    def _after(self, error: Exception) -> str:
        """Kept if the answer was no; else it has to be repeated."""
        known = isinstance(error, RecoveryError)
        if known and not isinstance(error, OutcomeUnknown):
            return states.KEPT
        # before the revert was sent, an error changed nothing
        if self._state == states.REVERTING:
            return states.REVERTING
        return states.KEPT
