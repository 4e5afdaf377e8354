# SPDX-License-Identifier: Apache-2.0

"""What carrying out a run and taking it back have in common."""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
from typing import Any

from nova_recovery import exit_codes, program
from nova_recovery.engine import attempt, schedule, states
from nova_recovery.engine.attempt import ClaimGone, Surroundings
from nova_recovery.engine.change import check_kinds, Guard, Registry
from nova_recovery.engine.interruption import Interruption
from nova_recovery.engine.journal import ItemRecord, Journal, RunRecord
from nova_recovery.engine.plan import Item, Plan, Step
from nova_recovery.engine.progress import Reporter
from nova_recovery.engine.records import Outcome
from nova_recovery.engine.schedule import Schedule
from nova_recovery.exceptions import JournalError, Paused, RunLocked
from nova_recovery.version import version

WORKERS = 16

_EXIT_CODES = {
    states.DONE: exit_codes.DONE,
    states.UNDONE: exit_codes.DONE,
    states.PARTLY: exit_codes.PARTLY,
    states.PAUSED: exit_codes.PARTLY,
    states.INTERRUPTED: exit_codes.INTERRUPTED,
}


class Session:
    """One way through a run, held by this process alone.

    :param cloud: handed to the changes
    :param workers: how many items at a time
    :param guard: called right before anything is sent; ClaimLost ends the
        run, Paused lets what is in flight come to its end first
    :param patience: seconds to find out about an unknown outcome
    """

    #: How to go on after a stop.
    command: str

    def __init__(
        self,
        journal: Journal,
        registry: Registry,
        cloud: Any,
        *,
        reporter: Reporter,
        workers: int = WORKERS,
        guard: Guard | None = None,
        patience: float = attempt.PATIENCE,
    ) -> None:
        self._journal = journal
        self._registry = registry
        self._cloud = cloud
        self._reporter = reporter
        self._workers = workers
        self._guard = guard or (lambda item: None)
        self._patience = patience
        self._stop = Interruption()
        # why nothing more is started, and whether that was told
        self._paused = ''
        self._pause_told = False
        self._complete = True
        # what the operator can do when it is over
        self._then: dict[str, None] = {}
        self._told = 0

    def _hold(self, run_id: str) -> Outcome:
        """Go through the run from where it is; return how it stands then.

        :raises RunLocked: somebody else does
        :raises ClaimLost: somebody else does, says the cloud
        :raises JournalError: nothing was sent that isn't in the journal
        """
        plan = self._journal.plan(run_id)
        check_kinds(plan, self._registry)
        with (
            self._journal.carrying_out(run_id) as writer,
            Interruption() as self._stop,
        ):
            run = self._journal.run(run_id)
            self._check_state(run, plan)
            self._journal.set_run_state(
                run_id,
                states.RUNNING,
                self._beginning(run),
                f'nova-recovery {version()}',
            )
            self._surroundings = Surroundings(
                run_id=run_id,
                marker=run.marker,
                cloud=self._cloud,
                writer=writer,
                reporter=self._reporter,
                guard=self._ask_guard,
                stopping=self._stop.stopping,
                draining=self._stop.draining,
                images=self._journal.images,
                patience=self._patience,
            )
            try:
                self._go_through(run, plan)
                writer.flush()
            except BaseException as error:
                self._broken_off(run_id, error)
                if isinstance(error, ClaimGone):
                    raise error.error from error
                raise
            return self._ended(run_id)

    def _side_by_side(
        self, step: Step, found: Sequence[ItemRecord], reverse: bool = False
    ) -> None:
        """Go through these items of a step, unless the run shall stop."""
        if not found:
            return
        if self._stopped():
            self._complete = False
            return
        items = [step.items[record.position] for record in found]
        order = schedule.in_reverse if reverse else schedule.in_order
        self._reporter.step_started(step, len(items))
        complete = Schedule(
            items,
            order(items),
            self._stopped,
            step.limits,
            step.at_a_time,
            lambda item: self._registry[item.kind].looks,
            lambda item: self._registry[item.kind].watches,
        ).run(
            lambda place: self._do_or_pause(items[place], found[place]),
            self._workers,
            self._meanwhile,
        )
        self._complete = self._complete and complete

    def _stopped(self) -> bool:
        return self._stop.draining.is_set() or bool(self._paused)

    def _pause(self, reason: str) -> None:
        """Start nothing more; the first reason is the one that is told."""
        self._paused = self._paused or reason

    def _ask_guard(self, item: Item) -> None:
        if self._paused:
            # it was looked at and written down, but not sent: it can wait
            raise Paused(self._paused)
        if not self._registry[item.kind].looks:
            self._guard(item)

    def _do_or_pause(self, item: Item, record: ItemRecord) -> None:
        try:
            self._do(item, record)
        except Paused as error:
            self._complete = False
            self._pause(str(error))

    def _meanwhile(self) -> None:
        """Say it once when the run shall stop."""
        if self._paused and not self._pause_told:
            self._pause_told = True
            self._reporter.notice(
                f'{self._paused}: nothing more is started, what is in flight '
                f'comes to its end first'
            )
        told = self._stop.draining.is_set() + self._stop.stopping.is_set()
        if told > self._told:
            self._told = told
            run_id = self._surroundings.run_id
            self._reporter.notice(
                f'{self._stop.reason}: what is in flight comes to its end '
                f'first; once more stops waiting for it. Go on later with: '
                + program.call(f'{self.command} {run_id}')
                if told == 1
                else 'not waiting any longer'
            )
        self._reporter.tick()

    def _broken_off(self, run_id: str, error: BaseException) -> None:
        # a lost run is somebody else's to write
        if not isinstance(error, RunLocked):
            # of two errors of one journal the first one tells more
            with contextlib.suppress(JournalError):
                self._journal.set_run_state(
                    run_id, states.INTERRUPTED, 'interrupted', str(error)
                )
        self._reporter.notice(
            f'run {run_id} stopped; when this is mended, go on with: '
            + program.call(f'{self.command} {run_id}')
        )
        self._reporter.finished(None)

    def _ended(self, run_id: str) -> Outcome:
        counts = self._journal.run(run_id).counts
        state, reason = self._state(counts), self._stop.reason
        if state == states.INTERRUPTED and self._paused and not reason:
            state, reason = states.PAUSED, self._paused
        event = {
            states.INTERRUPTED: 'interrupted',
            states.PAUSED: 'paused',
            states.UNDONE: 'undone',
        }.get(state, 'finished')
        then = tuple(self._then)
        self._journal.set_run_state(
            run_id, state, event, reason or '\n'.join(then)
        )
        outcome = Outcome(
            run_id, state, counts, _EXIT_CODES[state], reason, then
        )
        self._reporter.finished(outcome)
        return outcome

    # What tells the two ways apart

    def _check_state(self, run: RunRecord, plan: Plan) -> None:
        """Refuse a run that can't go this way."""
        raise NotImplementedError

    def _beginning(self, run: RunRecord) -> str:
        """The event to begin with."""
        raise NotImplementedError

    def _go_through(self, run: RunRecord, plan: Plan) -> None:
        """All steps."""
        raise NotImplementedError

    def _do(self, item: Item, record: ItemRecord) -> None:
        """One item; called in several threads."""
        raise NotImplementedError

    def _state(self, counts: dict[str, int]) -> str:
        """The state of the run at the end."""
        raise NotImplementedError
