# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""What carrying out a run and taking it back have in common."""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
import dataclasses
from typing import Any

from nova_recovery.engine import attempt
from nova_recovery.engine import change as change_module
from nova_recovery.engine import interruption
from nova_recovery.engine import journal as journal_module
from nova_recovery.engine.journal import states
from nova_recovery.engine import plan as plan_module
from nova_recovery.engine import progress
from nova_recovery.engine import schedule
from nova_recovery import exit_codes

WORKERS = 16

_EXIT_CODES = {
    states.DONE: exit_codes.DONE,
    states.UNDONE: exit_codes.DONE,
    states.PARTLY: exit_codes.PARTLY,
    states.INTERRUPTED: exit_codes.INTERRUPTED,
}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run stands after it was carried out or taken back.

    :ivar state: of the run: done, partly, interrupted or undone
    :ivar counts: item state -> number of items, of the whole run
    """

    run_id: str
    state: str
    counts: dict[str, int]
    exit_code: int


class Session:
    """One way through a run, held by this process alone.

    :param cloud: handed to the changes
    :param workers: how many items at a time
    :param guard: called right before anything is sent; ClaimLost ends the
        run
    :param patience: seconds to find out about an unknown outcome
    """

    #: How to go on after a stop.
    again: str

    def __init__(
        self,
        journal: journal_module.Journal,
        registry: change_module.Registry,
        cloud: Any,
        *,
        reporter: progress.Reporter,
        workers: int = WORKERS,
        guard: change_module.Guard | None = None,
        patience: float = attempt.PATIENCE,
    ) -> None:
        self._journal = journal
        self._registry = registry
        self._cloud = cloud
        self._reporter = reporter
        self._workers = workers
        self._guard = guard or (lambda item: None)
        self._patience = patience
        self._stop = interruption.Interruption()
        self._complete = True
        self._told = 0

    def _hold(self, run_id: str) -> Outcome:
        """Go through the run from where it is; return how it stands then.

        :raises RunLocked: somebody else does
        :raises ClaimLost: somebody else does, says the cloud
        :raises JournalError: nothing was sent that isn't in the journal
        """
        plan = self._journal.plan(run_id)
        change_module.check_kinds(plan, self._registry)
        with (
            self._journal.carrying_out(run_id) as writer,
            interruption.Interruption() as self._stop,
        ):
            run = self._journal.run(run_id)
            self._check_state(run)
            self._journal.set_run_state(
                run_id, states.RUNNING, self._beginning(run)
            )
            self._surroundings = attempt.Surroundings(
                run_id=run_id,
                marker=run.marker,
                cloud=self._cloud,
                writer=writer,
                reporter=self._reporter,
                guard=self._guard,
                stopping=self._stop.stopping,
                patience=self._patience,
            )
            try:
                self._go_through(run, plan)
                writer.flush()
            except BaseException as error:
                self._broken_off(run_id, error)
                if isinstance(error, attempt.ClaimGone):
                    raise error.error from error
                raise
            return self._ended(run_id)

    def _side_by_side(
        self,
        step: plan_module.Step,
        found: Sequence[journal_module.ItemRecord],
        reverse: bool = False,
    ) -> None:
        """Go through these items of a step, unless the run shall stop."""
        if not found:
            return
        if self._stop.draining:
            self._complete = False
            return
        items = [step.items[record.position] for record in found]
        order = schedule.in_reverse if reverse else schedule.in_order
        self._reporter.step_started(step, len(items))
        complete = schedule.Schedule(
            items, order(items), step.limits, lambda: self._stop.draining
        ).run(
            lambda place: self._do(items[place], found[place]),
            self._workers,
            self._meanwhile,
        )
        self._complete = self._complete and complete

    def _meanwhile(self) -> None:
        """Say it once when the operator wants to stop."""
        told = self._stop.draining + self._stop.stopping.is_set()
        if told > self._told:
            self._told = told
            run_id = self._surroundings.run_id
            self._reporter.notice(
                f'{self._stop.reason}: what is in flight comes to its end '
                f'first; once more stops waiting for it. Go on later with: '
                f'{self.again} {run_id}'
                if told == 1
                else 'not waiting any longer'
            )
        self._reporter.tick()

    def _broken_off(self, run_id: str, error: BaseException) -> None:
        # a lost run is somebody else's to write
        if not isinstance(error, journal_module.RunLocked):
            # of two errors of one journal the first one tells more
            with contextlib.suppress(journal_module.JournalError):
                self._journal.set_run_state(
                    run_id, states.INTERRUPTED, 'interrupted', str(error)
                )
        self._reporter.notice(
            f'run {run_id} stopped; when this is mended, go on with: '
            f'{self.again} {run_id}'
        )
        self._reporter.finished(None)

    def _ended(self, run_id: str) -> Outcome:
        counts = self._journal.run(run_id).counts
        state = self._state(counts)
        event = {
            states.INTERRUPTED: 'interrupted',
            states.UNDONE: 'undone',
        }.get(state, 'finished')
        self._journal.set_run_state(run_id, state, event, self._stop.reason)
        outcome = Outcome(run_id, state, counts, _EXIT_CODES[state])
        self._reporter.finished(outcome)
        return outcome

    # What tells the two ways apart

    def _check_state(self, run: journal_module.RunRecord) -> None:
        """Refuse a run that can't go this way."""
        raise NotImplementedError

    def _beginning(self, run: journal_module.RunRecord) -> str:
        """The event to begin with."""
        raise NotImplementedError

    def _go_through(
        self, run: journal_module.RunRecord, plan: plan_module.Plan
    ) -> None:
        """All steps."""
        raise NotImplementedError

    def _do(
        self, item: plan_module.Item, record: journal_module.ItemRecord
    ) -> None:
        """One item; called in several threads."""
        raise NotImplementedError

    def _state(self, counts: dict[str, int]) -> str:
        """The state of the run at the end."""
        raise NotImplementedError
