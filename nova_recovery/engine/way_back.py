# SPDX-License-Identifier: Apache-2.0

"""One item on its way back, from the look to its end."""

from __future__ import annotations

import contextlib

from nova_recovery.engine import states
from nova_recovery.engine.attempt import Attempt, Result, State
from nova_recovery.engine.clock import boot_clock
from nova_recovery.exceptions import (
    Closed,
    JournalError,
    OutcomeUnknown,
    Paused,
    RecoveryError,
)

#: Of these it is known that they were carried out; a way back that was begun
#: is simply repeated.
_CARRIED_OUT = (states.DONE, states.REVERTING)
#: The note of an item that stays without anybody knowing that it was done.
UNPROVEN = 'unproven'


class WayBack(Attempt):
    """Takes back one item that was begun.

    :cvar reverting: the state while it is under way
    :cvar reverted: the state of what was taken back
    """

    reverting = states.REVERTING
    reverted = states.REVERTED

    def take_back(self) -> Result:
        """Bring the before-image back and journal how that went.

        :raises ClaimGone: nothing was sent
        :raises JournalError: nothing was sent
        """
        return self._ended(self._revert)

    def keep(self, why: str) -> Result:
        """Journal that it stays, and why."""
        return self._ended(lambda: self._stay(why))

    def _stay(self, why: str) -> Result:
        if self._record.state not in (*_CARRIED_OUT, states.KEPT):
            self._at.note(**{UNPROVEN: True})
        return Result(states.KEPT, why)

    def _revert(self) -> Result:
        if self._state not in _CARRIED_OUT:
            observed = self._look()
            if observed.state is State.BEFORE and self._change.once:
                return Result(self.reverted, 'it was not carried out')
            # For the others BEFORE only says that it may be applied (again):
            # it may have been stopped half-way. Their way back looks itself.
            if observed.state not in (State.BEFORE, State.AFTER):
                return self._stay(
                    f'not known to be done ({observed.state.value}): '
                    f'{observed.detail}'
                )
        self._intended, self._intent = boot_clock(), self.reverting
        self._all.writer.write(self._record.number, state=self.reverting)
        self._confirm()
        self._state = self.reverting
        detail = self._change.revert(self._at)
        return Result(self.reverted, detail)

    def _after(self, error: Exception) -> str:
        """Kept if the answer was no; else it has to be repeated."""
        known = isinstance(error, RecoveryError)
        if known and not isinstance(error, OutcomeUnknown):
            return states.KEPT
        # before the revert was sent, an error changed nothing
        if self._state == states.REVERTING:
            return states.REVERTING
        return states.KEPT


class Closing(WayBack):
    """Takes back what was half done to a subject that has no further need.

    Left out of the run from then on, not undone: the run goes on, and can
    be resumed. What isn't taken back stays done, so that a resume tries it
    again.
    """

    reverting = states.DONE
    reverted = states.SKIPPED

    def _ask_guard(self) -> None:
        # that nothing is left to be done is why it is taken back
        with contextlib.suppress(Closed):
            super()._ask_guard()

    def _revert(self) -> Result:
        try:
            return super()._revert()
        except (JournalError, Paused):
            raise
        except RecoveryError as error:
            return Result(self.reverting, f'was not taken back: {error}')

    def _after(self, error: Exception) -> str:
        return self.reverting
