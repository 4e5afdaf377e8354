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

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
import dataclasses
import enum
import pathlib
import threading
from typing import Any, BinaryIO, Generic, Protocol, TypeVar

from nova_recovery.engine import claiming, images, printable
from nova_recovery.engine.images import Images
from nova_recovery.engine.plan import Item, Plan
from nova_recovery.exceptions import RecoveryError

JSON = dict[str, Any]
#: What changes write to. The engine hands it on and never looks inside.
Cloud = TypeVar('Cloud')


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
    """What ``observe`` saw, made by the word for it.

    :ivar detail: for people, one line
    :ivar image: the before-image to be journaled (with BEFORE), JSON types,
        secrets masked; enough to revert and to observe again after a crash
    :ivar aside: the part of the image that is too large for a row of the
        journal, or secret: kept in a file, for ``At.aside``
    """

    state: State
    detail: str = ''
    image: JSON = dataclasses.field(default_factory=dict)
    aside: Iterable[bytes] | None = None

    @classmethod
    def before(
        cls,
        image: JSON | None = None,
        detail: str = '',
        aside: Iterable[bytes] | None = None,
    ) -> Observed:
        """It may be applied. Of an item that was begun the image stays."""
        return cls(State.BEFORE, detail, image or {}, aside)

    @classmethod
    def underway(cls, detail: str) -> Observed:
        return cls(State.UNDERWAY, detail)

    @classmethod
    def after(cls, detail: str = '') -> Observed:
        return cls(State.AFTER, detail)

    @classmethod
    def neither(cls, detail: str) -> Observed:
        """:param detail: what it is now"""
        return cls(State.NEITHER, detail)

    @classmethod
    def unknown(cls, detail: str) -> Observed:
        """:param detail: why it can't be known"""
        return cls(State.UNKNOWN, detail)


class Interrupted(Exception):
    """A wait was given up because the operator stopped the run."""


@dataclasses.dataclass
class At(Generic[Cloud]):
    """Where a change is: the item, the cloud, and what the journal has.

    The one argument of all that a change does.

    :ivar marker: ``nova-recovery run=… by=…``: what a claim in the cloud says
    :ivar begun: an intent is in the journal: it may have been sent
    :ivar image: the before-image; empty until it is begun
    :ivar notes: what ``note`` kept (such as the request id)
    :ivar again: an operator said that it shall be sent although it may have
        been before: what was asked for so far counts for nothing
    :ivar stopping: set when the operator pressed Ctrl-C
    """

    item: Item
    cloud: Cloud
    run_id: str
    marker: str
    begun: bool = False
    image: JSON = dataclasses.field(default_factory=dict)
    notes: JSON = dataclasses.field(default_factory=dict)
    again: bool = False
    stopping: threading.Event = dataclasses.field(
        default_factory=threading.Event
    )
    #: asks whether it is still ours to send; see ``confirm``
    confirm: Callable[[], None] = lambda: None
    #: set by the first signal: nothing new is started
    draining: threading.Event = dataclasses.field(
        default_factory=threading.Event
    )
    #: where notes are kept, and progress is shown
    keep: Callable[[JSON], None] = lambda notes: None
    show: Callable[[str], None] = lambda text: None
    #: where images in files are
    images: Images = Images(pathlib.Path())

    @property
    def data(self) -> JSON:
        """The item's."""
        return self.item.data

    def note(self, **values: Any) -> None:
        """Keep something about this item in the journal, durably."""
        self.notes.update(values)
        self.keep(self.notes)

    def progress(self, text: str) -> None:
        """Show where a long item is."""
        self.show(text)

    def aside(self) -> AbstractContextManager[BinaryIO]:
        """The part of the before-image that is kept in a file.

        :raises ImageLost: it isn't there, or not as it was
        """
        return self.images.open(self.image[images.KEY])

    def wait(self, seconds: float) -> None:
        """Let some time pass between two looks.

        A send in flight is finished first: nothing waits in the middle of
        one.

        :raises Interrupted: the operator doesn't want to wait
        """
        if self.stopping.wait(seconds):
            raise Interrupted

    def pause(self, seconds: float) -> None:
        """Let time pass before anything is sent: the first signal ends that.

        What others do doesn't have to be waited for.

        :raises Interrupted: the run shall stop
        """
        if self.draining.wait(seconds):
            raise Interrupted


class Change(Protocol[Cloud]):
    """One kind of change. Has no state; all methods may run in any thread."""

    kind: str
    #: Sent at most once. Only such a change needs an operator's word to be
    #: tried again; the others look at how things stand and go on.
    once: bool
    #: It changes nothing: any number may look at a time.
    looks: bool
    #: It waits nearly all of its time, and holds up no worker.
    watches: bool
    #: ``apply`` looks at something first, and calls ``at.confirm()`` itself,
    #: directly before each request. For the others that was just asked.
    confirms: bool
    #: The way in which it brings a server back, in a word, for the report;
    #: '' if it is none. Of several to one server the first one counts.
    method: str
    #: Its server runs when it is done, and did not before.
    starts: bool
    #: It did before, until this was sent.
    stops: bool

    def describe(self, item: Item) -> list[str]:
        """The change for people, ``~ host  a -> b``, one line a thing."""

    def observe(self, at: At[Cloud]) -> Observed:
        """How things stand. Never writes."""

    def apply(self, at: At[Cloud]) -> str:
        """Do it; return one line on what came of it.

        :raises Conflict: it is no longer as observed; nothing was changed
        :raises ChangeFailed: refused; nothing was changed
        :raises OutcomeUnknown: sent, no answer: the runner observes again
        """

    def follow(self, at: At[Cloud]) -> str:
        """Wait for the end of what ``apply`` began; return one line.

        Called after ``apply`` and for UNDERWAY. A change that is over with
        ``apply`` returns ``''`` at once.
        """

    def revert(self, at: At[Cloud]) -> str:
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

    def past_undoing(self, at: At[Cloud]) -> str:
        """Why ``revert`` would refuse as things stand now, in one line.

        Asked before anything of a run is taken back: of a subject of which
        one thing can't go back nothing goes back, for it would be left half
        here and half there. Never writes; ``''`` where nothing is against it.
        """


#: kind -> Change; filled by nova_recovery.changes.
Registry = dict[str, Change[Any]]
Guard = Callable[[Item], None]


def kinds(registry: Registry) -> dict[str, str]:
    """For ``Plan.check``: each kind, and the one that it gives back."""
    return {kind: claiming.GIVES_BACK.get(kind, '') for kind in registry}


#: What code that trusts its data ends with, if the data isn't its own.
MISUNDERSTOOD = (
    KeyError, TypeError, ValueError, AttributeError, IndexError
)  # fmt: skip


def check_data(plan: Plan, registry: Registry) -> None:
    """Refuse a plan of a file whose items their changes can't read.

    :raises RecoveryError: naming the first one
    """
    for item in plan.items():
        known = registry.get(item.kind)
        try:
            if known is not None:
                known.describe(item)
        except MISUNDERSTOOD as error:
            raise RecoveryError(
                f'item {printable.clean(item.id)[:80]}: its data is not what '
                f'{item.kind} takes ({type(error).__name__}); make the plan '
                'anew. Nothing was changed.'
            ) from error


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
