# SPDX-License-Identifier: Apache-2.0

"""What the runner asks of a change, and what it gives to one.

A change is one smallest thing done to one subject. The runner calls, for
every item and in this order:

1. ``observe``: is the world still as the plan saw it?
2. the journal writes the intent and the before-image to disk;
3. ``apply``;
4. ``follow``, if the change takes its time (an evacuation).

After a crash or an unknown outcome it starts again at ``observe``, this
time with what the journal has; so a change never has to remember anything.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import enum
import threading
from typing import Any, Protocol

from nova_recovery.engine.plan import Item, Plan
from nova_recovery.exceptions import RecoveryError

JSON = dict[str, Any]


class State(enum.Enum):
    """How the subject stands to the change."""

    #: As the plan saw it; for a change that must not be sent twice: it is
    #: proven that it was not carried out. May be applied.
    BEFORE = 'before'
    #: Sent and under way: follow it, don't send it again.
    UNDERWAY = 'underway'
    #: Already as the plan wants it.
    AFTER = 'after'
    #: Neither: somebody else changed it. The item stops.
    NEITHER = 'neither'
    #: Can't be known (now). Once it was sent, this means doubt.
    UNKNOWN = 'unknown'


@dataclasses.dataclass(frozen=True)
class Observed:
    """What ``observe`` saw.

    :ivar detail: for people, one line
    :ivar image: the before-image to be journaled (with BEFORE), JSON types,
        secrets masked; enough to revert and to observe again after a crash
    """

    state: State
    detail: str = ''
    image: JSON = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Past:
    """What the journal knows of an item that was begun before.

    :ivar image: the before-image
    :ivar notes: what ``Context.note`` kept (such as the request id)
    """

    image: JSON
    notes: JSON


class Context(Protocol):
    """What the runner hands to every call of a change."""

    #: nova_recovery.cloud.cloud.Cloud; the engine never looks inside.
    cloud: Any
    run_id: str
    #: 'nova-recovery run=… by=…': what a claim in the cloud says.
    marker: str
    #: An operator said that it shall be sent although it may have been
    #: before: what was asked for so far counts for nothing.
    again: bool
    #: Set when the operator pressed Ctrl-C: a wait may end early with
    #: ``Interrupted``; a send in flight is finished.
    stopping: threading.Event

    def note(self, **values: Any) -> None:
        """Keep something about this item in the journal, durably."""

    def progress(self, text: str) -> None:
        """Show where a long item is."""


class Interrupted(Exception):
    """A wait was given up because the operator stopped the run."""


class Change(Protocol):
    """One kind of change. Has no state; all methods may run in any thread."""

    kind: str
    #: Sent at most once. Only such a change needs an operator's word to be
    #: tried again; the others look at how things stand and go on.
    once: bool

    def describe(self, item: Item) -> list[str]:
        """The change for people, ``~ host  a -> b``, one line a thing."""

    def observe(
        self, item: Item, context: Context, past: Past | None
    ) -> Observed:
        """How things stand. ``past`` is None before the first intent.

        Never writes.
        """

    def apply(self, item: Item, context: Context, image: JSON) -> str:
        """Do it; return one line on what came of it.

        :raises Conflict: it is no longer as observed; nothing was changed
        :raises ChangeFailed: refused; nothing was changed
        :raises OutcomeUnknown: sent, no answer: the runner observes again
        """

    def follow(self, item: Item, context: Context, past: Past) -> str:
        """Wait for the end of what ``apply`` began; return one line.

        Called after ``apply`` and for UNDERWAY. A change that is over with
        ``apply`` returns ``''`` at once.
        """

    def revert(self, item: Item, context: Context, past: Past) -> str:
        """Bring the before-image back by compare-and-set; one line.

        Must be repeatable: reverting what is reverted, what was stopped
        half-way, or what was never carried out is fine.

        :raises Conflict: somebody changed it since
        :raises NotRevertible: has no way back; says what to do instead
        """

    def no_way_back(self, item: Item) -> str:
        """Why ``revert`` will refuse and what to do instead, in one line.

        For the operator to know before anything is taken back; ``''`` where
        it depends on how things stand then.
        """


#: kind -> Change; filled by nova_recovery.changes.
Registry = dict[str, Change]
Guard = Callable[[Item], None]


def check_kinds(plan: Plan, registry: Registry) -> None:
    """Refuse a plan with changes that this version doesn't have.

    :raises RecoveryError: naming them
    """
    unknown = {item.kind for item in plan.items()} - set(registry)
    if unknown:
        raise RecoveryError(
            f'this version has no change called '
            f'{", ".join(sorted(unknown))}; use the one that made the plan. '
            f'Nothing was changed.'
        )
