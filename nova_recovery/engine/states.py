# SPDX-License-Identifier: Apache-2.0

"""The states of items and runs, as the journal keeps them."""

from __future__ import annotations

PENDING = 'pending'
#: The intent and the before-image are on disk; it may have been sent.
INTENT = 'intent'
#: The cloud answered; what was begun may still be under way.
SENT = 'sent'
DONE = 'done'
#: It was as the plan wants it before anything was sent.
ALREADY = 'already'
FAILED = 'failed'
#: Somebody else changed the subject: it is as neither side of the plan.
CONFLICT = 'conflict'
#: Sent, and nobody could tell whether it was carried out.
DOUBT = 'doubt'
#: An earlier item that it stands on is not done.
BLOCKED = 'blocked'
#: Left out by an operator, with a reason.
SKIPPED = 'skipped'
#: The way back was begun.
REVERTING = 'reverting'
REVERTED = 'reverted'
#: The way back was refused; the detail says why.
KEPT = 'kept'

#: It is as the plan wants it.
RIGHT = frozenset((DONE, ALREADY))
#: What later items of the same subject may stand on.
GOOD = RIGHT | {SKIPPED}
#: A resume leaves these alone.
FINAL = GOOD | {REVERTED, KEPT}
#: Not over: the run was stopped before or while it was at them.
OPEN = frozenset((PENDING, INTENT, SENT, REVERTING))
#: All states of items.
ALL = FINAL | OPEN | {FAILED, CONFLICT, DOUBT, BLOCKED}
#: It ended badly. An operator may say that it shall be sent again.
BAD = frozenset((FAILED, CONFLICT, DOUBT))
#: It was sent, perhaps, and nobody knows yet what became of it.
UNSETTLED = frozenset((INTENT, SENT, DOUBT))
#: An operator may leave it out.
SKIPPABLE = BAD | {PENDING, BLOCKED}
#: An undo was here: such a run can't be resumed.
UNDO = frozenset((REVERTING, REVERTED, KEPT))

READY = 'ready'
RUNNING = 'running'
INTERRUPTED = 'interrupted'
#: Stopped by itself, to be looked at: as asked, or too much went wrong.
PAUSED = 'paused'
PARTLY = 'partly'
UNDONE = 'undone'
#: A run is done, too: ``DONE`` above. These are of one that was stopped:
HALTED = frozenset((INTERRUPTED, PAUSED))
#: A run at rest.
AT_REST = HALTED | {DONE, PARTLY, UNDONE}
#: All states of runs.
OF_RUNS = AT_REST | {READY, RUNNING}
