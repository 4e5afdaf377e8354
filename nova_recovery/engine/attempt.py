# SPDX-License-Identifier: Apache-2.0

"""One item, from the first look to its end.

The order of things is what a resume relies on: look, write down the intent
and the before-image, ask whether the claim is still ours, send, follow,
write down how it ended. Where it stopped is in the journal; how things
stand is seen by looking again.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import logging
import threading
import time
import traceback
from typing import Any

from oslo_utils import strutils

from nova_recovery.engine import images, progress, records, states
from nova_recovery.engine.change import (
    At,
    Change,
    Guard,
    Interrupted,
    JSON,
    Observed,
    State,
)
from nova_recovery.engine.clock import boot_clock
from nova_recovery.engine.images import Images
from nova_recovery.engine.journal import ItemRecord, rows, Writer
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import (
    ApiUnavailable,
    ChangeFailed,
    ClaimLost,
    Closed,
    Conflict,
    DatabaseUnavailable,
    JournalError,
    OutcomeUnknown,
    Paused,
    RecoveryError,
)

LOG = logging.getLogger(__name__)

#: Seconds to find out what became of a request without an answer, and
#: between two looks.
PATIENCE = 60
LOOK_AGAIN = 2
#: Seconds for which an intent is good. A process that was frozen, or whose
#: machine was, may wake in the middle of a run that others ended meanwhile.
FRESH = 30.0
#: How often something is sent that each time proved not to have arrived.
SENDS = 3

#: The answer was no and nothing was changed, so the next attempt begins
#: anew, with a new before-image.
_NO = (ChangeFailed, Conflict, ClaimLost)
#: Once something was sent, these leave open what became of it.
_OPEN = (OutcomeUnknown, DatabaseUnavailable, ApiUnavailable)


class ClaimGone(Exception):
    """The guard says that somebody else works here: the run ends."""

    def __init__(self, error: ClaimLost) -> None:
        super().__init__(str(error))
        self.error = error


@dataclasses.dataclass(frozen=True)
class Result:
    """How it ended: the state of the item and one line for people.

    :ivar begun: it may have been sent
    :ivar closed: why nothing more is to be done to its subject
    """

    state: str
    detail: str = ''
    begun: bool = True
    closed: Closed | None = None


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What all items of a run share.

    :ivar guard: asked before each send
    :ivar draining: nothing new is started
    :ivar stopping: waits are given up
    :ivar images: where parts of before-images are kept in files
    :ivar patience: seconds to settle an unknown outcome
    """

    run_id: str
    marker: str
    cloud: Any
    writer: Writer
    reporter: progress.Reporter
    guard: Guard
    stopping: threading.Event
    draining: threading.Event
    images: Images
    patience: float = PATIENCE


class Attempt:
    """Carries out one item.

    :param record: what the journal has of the item
    """

    def __init__(
        self,
        surroundings: Surroundings,
        item: Item,
        change: Change[Any],
        record: ItemRecord,
    ) -> None:
        self._all = surroundings
        self._item = item
        self._change = change
        self._record = record
        self._state = record.state
        # when the intent was written, by the boot clock, and as which state
        self._intended, self._intent = boot_clock(), states.INTENT
        # whether the change has asked whether it may, in this attempt
        self._sending = False
        self._at = At(
            item,
            surroundings.cloud,
            surroundings.run_id,
            surroundings.marker,
            # may have been sent; the intent on disk says so before it is
            begun=record.begun,
            image=record.image if record.begun else {},
            notes=dict(record.notes) if record.begun else {},
            again=not record.begun and bool(record.notes.get('again')),
            stopping=surroundings.stopping,
            draining=surroundings.draining,
            keep=self._keep,
            show=lambda text: surroundings.reporter.text(item, text),
            confirm=self._confirm_in_time,
            images=surroundings.images,
        )

    def _keep(self, notes: JSON) -> None:
        self._all.writer.write(self._record.number, notes=records.pack(notes))

    # The life of an item

    def carry_out(self) -> Result:
        """Bring the item to its end and journal how it ended.

        :raises ClaimGone: nothing was sent
        :raises Paused: nothing was sent, the item is as it was
        :raises JournalError: nothing was sent without its intent
        """
        return self._ended(self._go_on if self._at.begun else self._begin)

    def refuse(self, state: str, reason: str) -> Result:
        """Journal that nothing is done, and why."""
        return self._ended(lambda: Result(state, reason, self._at.begun))

    def _begin(self) -> Result:
        observed = self._change.observe(self._at)
        if observed.state is State.BEFORE:
            self._intend(observed)
            return self._send()
        state = {
            State.AFTER: states.ALREADY,
            State.NEITHER: states.CONFLICT,
            # under way, and it isn't ours
            State.UNDERWAY: states.CONFLICT,
            State.UNKNOWN: states.FAILED,
        }[observed.state]
        detail = observed.detail
        if observed.state is State.UNKNOWN:
            detail = f'unknown, so nothing was sent: {detail}'
        return Result(state, detail, begun=False)

    def _go_on(self) -> Result:
        observed = self._look()
        if observed.state is not State.BEFORE:
            return self._settle(observed)
        self._intend(None)
        return self._send()

    def _intend(self, before: Observed | None) -> None:
        """Return when the intent is on disk.

        :param before: with the before-image; None keeps the one that the
            journal has from the first time
        """
        values: dict[str, Any] = {'state': states.INTENT, 'begun': True}
        if before is not None:
            image = dict(before.image)
            if before.aside is not None:
                image[images.KEY] = self._all.images.write(
                    self._all.run_id, self._record.number, before.aside
                )
            self._at.image, self._at.notes = image, {}
            values.update(image=records.pack(image), notes=None)
        if not self._record.started_at:
            values['started_at'] = records.now()
        self._intended = boot_clock()
        self._all.writer.write(self._record.number, **values)
        self._state = states.INTENT

    def _send(self) -> Result:
        # Whether something that was sent before may still come through.
        pending, reason = self._at.begun, ''
        for _ in range(SENDS):
            if not self._change.confirms:
                self._confirm()
            self._at.begun, self._sending = True, False
            try:
                detail = self._change.apply(self._at)
            except OutcomeUnknown as error:
                pending, reason = True, str(error)
                observed = self._look_until_known(reason)
                if observed.state is not State.BEFORE:
                    return self._settle(observed)
                continue
            except _NO as error:
                return self._answered_no(error, pending)
            except BaseException:
                if self._change.confirms and not self._sending:
                    # it didn't come as far as asking whether it may
                    self._at.begun = pending
                raise
            return self._follow(detail)
        return Result(
            states.FAILED, f'sent {SENDS} times without success: {reason}'
        )

    def _answered_no(self, error: RecoveryError, pending: bool) -> Result:
        """What a no means: nothing was changed, by what was sent now.

        :param pending: the one before had no answer. It may have come
            through meanwhile, and be what this one ran into.
        """
        if not pending:
            return Result(_refused(error), str(error), begun=False)
        observed = self._look()
        if observed.state in (State.BEFORE, State.NEITHER):
            return Result(_refused(error), str(error))
        return self._settle(observed)

    def _confirm(self) -> None:
        """The last thing before a request: is it ours, and just intended?

        The boot clock goes on while the process, or the machine, stands
        still. The journal refuses the intent of a process that lost the run.

        :raises ClaimGone: and the other errors of the guard: nothing was sent
        :raises ChangeFailed: it takes longer each time; nothing was sent
        """
        for _ in range(SENDS):
            self._ask_guard()
            if boot_clock() - self._intended <= FRESH:
                return
            self._intended = boot_clock()
            self._all.writer.write(self._record.number, state=self._intent)
        raise ChangeFailed(
            f'whether it may be sent was answered after more than {FRESH:g} '
            f's, {SENDS} times in a row: nothing was sent'
        )

    def _confirm_in_time(self) -> None:
        """The same for a change that looks at something before it sends."""
        self._confirm()
        self._sending = True

    def _ask_guard(self) -> None:
        try:
            self._all.guard(self._item)
        except ClaimLost as error:
            raise ClaimGone(error) from error

    def _settle(self, observed: Observed) -> Result:
        """What a look at something begun means, unless it is BEFORE."""
        if observed.state is State.UNDERWAY:
            return self._follow(observed.detail)
        state = {
            State.AFTER: states.DONE,
            State.NEITHER: states.CONFLICT,
            State.UNKNOWN: states.DOUBT,
        }[observed.state]
        return Result(state, observed.detail)

    def _follow(self, detail: str) -> Result:
        self._state = states.SENT
        self._all.writer.submit(
            self._record.number, state=states.SENT, detail=rows.clip(detail)
        )
        end = self._change.follow(self._at)
        return Result(states.DONE, end or detail)

    # Looking

    def _look(self) -> Observed:
        """How something begun stands; what is down makes it unknown."""
        try:
            return self._change.observe(self._at)
        except _OPEN as error:
            return Observed.unknown(str(error))

    def _look_until_known(self, reason: str) -> Observed:
        deadline = time.monotonic() + self._all.patience
        while True:
            observed = self._look()
            if observed.state is not State.UNKNOWN:
                return observed
            if time.monotonic() > deadline:
                detail = '; '.join(filter(None, (reason, observed.detail)))
                return Observed.unknown(detail)
            self._at.progress(f'finding out what became of it: {reason}')
            self._at.wait(LOOK_AGAIN)

    # Ending

    def _ended(self, act: Callable[[], Result]) -> Result:
        """Act, and journal the end, whatever it is."""
        try:
            result = act()
        except JournalError:
            raise
        except (ClaimGone, Paused):
            before = self._record
            self._journal(Result(before.state, before.detail, self._at.begun))
            raise
        except Interrupted:
            state = self._state if self._at.begun else states.PENDING
            result = Result(state, 'not waited for', self._at.begun)
        except RecoveryError as error:
            result = Result(self._after(error), str(error), self._at.begun)
        except Exception as error:
            trace = strutils.mask_password(traceback.format_exc())
            LOG.error(
                '%s of run %s: %s', self._item.id, self._at.run_id, trace
            )
            text = f'{type(error).__name__}: {error}'
            result = Result(
                self._after(error),
                strutils.mask_password(text),
                self._at.begun,
            )
        if result.state in (states.FAILED, states.CONFLICT):
            result = self._closed(result)
        if result.closed:
            # for a resume, which has to leave its subject alone as well
            self._at.note(closed=True)
        self._journal(result)
        self._all.reporter.item_changed(
            self._item, result.state, result.detail
        )
        return result

    def _closed(self, result: Result) -> Result:
        """What went wrong no longer matters where nothing is left to do."""
        try:
            self._all.guard(self._item)
        except Closed as error:
            return Result(
                states.SKIPPED, str(error), self._at.begun, closed=error
            )
        except RecoveryError:
            pass
        return result

    def _after(self, error: Exception) -> str:
        """The state of an item that ended with this error."""
        if not self._at.begun:
            return _refused(error)
        if not isinstance(error, RecoveryError):
            return states.DOUBT
        if self._state == states.SENT and isinstance(error, _OPEN):
            return states.DOUBT
        return _refused(error)

    def _journal(self, result: Result) -> None:
        over = result.state not in states.OPEN
        self._all.writer.submit(
            self._record.number,
            state=result.state,
            begun=result.begun,
            detail=rows.clip(result.detail),
            finished_at=records.now() if over else '',
        )


def _refused(error: Exception) -> str:
    if isinstance(error, (Conflict, ClaimLost)):
        return states.CONFLICT
    return states.FAILED
