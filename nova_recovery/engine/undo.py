# SPDX-License-Identifier: Apache-2.0

"""Take a run back: its items in reverse, by compare-and-set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import threading
from types import MappingProxyType
from typing import Any

from nova_recovery import program
from nova_recovery.engine import claiming, records, states
from nova_recovery.engine.change import At, Registry
from nova_recovery.engine.journal import ItemRecord, RunRecord
from nova_recovery.engine.plan import Item, Plan
from nova_recovery.engine.records import Outcome
from nova_recovery.engine.session import Session
from nova_recovery.engine.way_back import UNPROVEN, WayBack
from nova_recovery.exceptions import Refused

#: The note of an item that an undo left to be brought to its end.
FORWARD = 'forward'


@dataclasses.dataclass(frozen=True)
class Foreseen:
    """What an undo does, as far as that is known without a look at the cloud.

    :ivar back: items to be reverted, in the order of the undo; those that
        aren't known to be done are looked at first
    :ivar stays: items that can't be, each with why
    """

    back: tuple[ItemRecord, ...]
    stays: tuple[tuple[ItemRecord, str], ...]


def foresee(
    plan: Plan,
    items: Iterable[ItemRecord],
    registry: Registry,
    past: Mapping[str, str] = MappingProxyType({}),
) -> Foreseen:
    """What an undo of these items does; ``Undo`` keeps to it.

    What stays keeps what it stands on: the earlier items of its subject, and
    of the subjects that it follows. So does what somebody else did that is
    sent once: a server that nova itself started after its volumes were mended
    runs on them.

    :param items: all items of the run, in the order of the plan
    :param past: of ``past_undoing``; what is in it stays as it is, whole
    """
    planned = {item.id: item for item in plan.items()}
    kept = _Kept()
    back: list[ItemRecord] = []
    stays: list[tuple[ItemRecord, str]] = []
    for record in reversed(list(items)):
        item = planned[record.id]
        change = registry[item.kind]
        if record.state == states.ALREADY and change.once:
            kept.add(item, record, _stands(item, f': {record.detail}'))
        # what was never sent needs no way back
        if not record.begun or record.state == states.REVERTED:
            continue
        why = past.get(item.subject) or kept.why(item, record)
        if not why and _known_to_be_done(record):
            why = change.no_way_back(item)
        if why:
            stays.append((record, why))
            kept.add(item, record, _stands(item, ' and stays'))
        else:
            back.append(record)
    return Foreseen(tuple(back), tuple(stays))


def worth(plan: Plan, items: Iterable[ItemRecord], registry: Registry) -> bool:
    """Whether an undo would take anything back, or give a claim back.

    True where a kind is unknown here, for who knows it may say.
    """
    items = list(items)
    if any(item.kind not in registry for item in items):
        return True
    back = foresee(plan, items, registry).back
    return any(
        not registry[one.kind].looks and one.kind not in claiming.RELEASES
        for one in back
    ) or bool(claiming.held({one.id: one.state for one in items}, plan))


def past_undoing(
    plan: Plan,
    foreseen: Foreseen,
    registry: Registry,
    cloud: Any,
    run: RunRecord,
) -> dict[str, str]:
    """What must not be taken back by half: subject -> why one thing can't.

    Such a subject goes forward instead, by a resume.

    :raises RecoveryError: it could not be looked at
    """
    planned = {item.id: item for item in plan.items()}
    found: dict[str, str] = {}
    for record in foreseen.back:
        at = At(
            planned[record.id],
            cloud,
            run.id,
            run.marker,
            begun=True,
            image=record.image,
            notes=dict(record.notes),
        )
        why = registry[record.kind].past_undoing(at)
        if why:
            found[record.subject] = why
    return found


def forward(
    plan: Plan, items: Iterable[ItemRecord], registry: Registry
) -> frozenset[str]:
    """The items that a resume goes on with, of a run that was taken back.

    Those of the subjects that an undo left alone, and what gives back the
    claims that stay; the rest is over. Empty if nothing of them is left, and
    as long as the undo itself is: it would leave the others half taken back.
    """
    items = list(items)
    marked = _marked(items)
    if not marked or any(i.kind not in registry for i in items):
        return frozenset()
    kept = {i.subject for i in items if i.state == states.KEPT}
    stays = dict.fromkeys(marked | kept, 'it stays')
    # what a resume gave back is nothing that an undo left
    if any(
        i.kind not in claiming.RELEASES
        for i in foresee(plan, items, registry, stays).back
    ):
        return frozenset()
    given = {
        i.subject
        for i in items
        if i.kind in claiming.RELEASES.values() and i.state == states.REVERTED
    }
    found = [
        i
        for i in items
        if i.subject in marked
        or (i.kind in claiming.RELEASES and i.subject not in given)
    ]
    if all(i.state in states.FINAL for i in found):
        return frozenset()
    return frozenset(i.id for i in found)


def _marked(items: Sequence[ItemRecord]) -> set[str]:
    """The subjects that an undo left alone, and none since took back."""
    return {i.subject for i in items if i.notes.get(FORWARD)} - _half(items)


def _half(items: Iterable[ItemRecord]) -> set[str]:
    """The subjects of which something was taken back, or may have been."""
    taken = (states.REVERTING, states.REVERTED)
    return {i.subject for i in items if i.state in taken}


def _known_to_be_done(record: ItemRecord) -> bool:
    """The others are looked at: they may not have been carried out."""
    if record.state == states.KEPT:
        return not record.notes.get(UNPROVEN)
    return record.state == states.DONE


def only_forward(
    run_id: str,
    items: Iterable[ItemRecord],
    foreseen: Foreseen,
    past: Mapping[str, str],
) -> str:
    """Why an undo is refused, and what to type instead; '' if it isn't.

    One that was begun before has to say first what becomes of all of it.

    :param past: of ``past_undoing``; ``foreseen`` keeps to it
    """
    items = list(items)
    begun = any(i.state in states.UNDO for i in items)
    if not past or foreseen.back or (begun and past.keys() - _marked(items)):
        return ''
    why = '; '.join(dict.fromkeys(past.values()))
    text = (
        f'nothing of run {run_id} can be taken back any more: {why}. Nothing '
        'was changed. '
    )
    if any(i.subject in past and i.state not in states.FINAL for i in items):
        again = program.call(f'run resume {run_id}')
        return f'{text}Bring it to its end instead: {again}'
    return text.rstrip()


def _stands(item: Item, how: str) -> str:
    return f'what was done to {item.label} stands on it{how}'


class _Kept:
    """Why what was done to a subject has to stay."""

    def __init__(self) -> None:
        # subject -> the place of the last item that stays, and why those
        # before it have to
        self._reasons: dict[str, tuple[int, str]] = {}
        self._lock = threading.Lock()

    def add(self, item: Item, record: ItemRecord, reason: str) -> None:
        """All earlier items of its subjects stay, for this reason."""
        with self._lock:
            for subject in (item.subject, *item.follows):
                there = self._reasons.get(subject)
                if there is None or there[0] < record.number:
                    self._reasons[subject] = record.number, reason

    def why(self, item: Item, record: ItemRecord) -> str:
        """Why the item has to stay, '' if nothing stands on it."""
        with self._lock:
            number, reason = self._reasons.get(item.subject, (-1, ''))
        return reason if record.number < number else ''


class Undo(Session):
    """Steps and items in reverse order, as ``foresee`` says.

    What turns out to be kept keeps what it stands on as well.
    """

    command = 'run undo'

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._foreseen = Foreseen((), ())
        # what can't go back, and why; that of it which goes forward instead
        self._past: dict[str, str] = {}
        self._onward: set[str] = set()
        # item -> why it stays; and what turned out to, on the way
        self._stays: dict[str, str] = {}
        self._kept = _Kept()

    def undo(self, run_id: str) -> Outcome:
        """Take back all that was carried out; return how the run stands.

        What was kept before is tried again.

        :raises Refused: nothing of it was ever carried out, or nothing can
            go back any more and it has to go forward
        :raises RunLocked: another process carries it out
        :raises ClaimLost: the guard says that somebody else works on it
        :raises JournalError: the journal can't be written; nothing was
            reverted that isn't in it
        """
        return self._hold(run_id)

    def _check_state(self, run: RunRecord, plan: Plan) -> None:
        if run.state == states.READY:
            raise Refused(
                f'run {run.id} was never started: there is nothing to undo'
            )
        items = list(self._journal.items(run.id))
        self._foreseen = foresee(plan, items, self._registry)
        self._past = past_undoing(
            plan, self._foreseen, self._registry, self._cloud, run
        )
        if not self._past:
            self._stays = {r.id: why for r, why in self._foreseen.stays}
            return
        self._foreseen = foresee(plan, items, self._registry, self._past)
        refused = only_forward(run.id, items, self._foreseen, self._past)
        if refused:
            raise Refused(refused)
        # what is half taken back has lost its way forward as well
        self._onward = self._past.keys() - _half(items)
        self._stays = {
            r.id: why
            for r, why in self._foreseen.stays
            if r.subject in self._past.keys() - self._onward
        }

    def _beginning(self, run: RunRecord) -> str:
        return 'undoing'

    def _go_through(self, run: RunRecord, plan: Plan) -> None:
        foreseen = self._foreseen
        self._mark_forward(foreseen)
        wanted = {r.id for r in foreseen.back} | set(self._stays)
        self._reporter.run_started(plan, len(wanted))
        for place, step in reversed(list(enumerate(plan.steps))):
            found = [
                record
                for record in self._journal.items(run.id, step=place)
                if record.id in wanted
            ]
            self._side_by_side(step, found, reverse=True)

    def _mark_forward(self, foreseen: Foreseen) -> None:
        """What stays is not kept for good: a resume goes on with it."""
        for record, _ in foreseen.stays:
            if record.subject in self._onward:
                self._surroundings.writer.write(
                    record.number,
                    notes=records.pack({**record.notes, FORWARD: True}),
                )

    def _do(self, item: Item, record: ItemRecord) -> None:
        one = WayBack(
            self._surroundings, item, self._registry[item.kind], record
        )
        why = self._stays.get(item.id) or self._kept.why(item, record)
        result = one.keep(why) if why else one.take_back()
        if result.state != states.REVERTED:
            self._kept.add(item, record, _stands(item, ' and stays'))

    def _state(self, counts: dict[str, int]) -> str:
        if not self._complete or states.REVERTING in counts:
            return states.INTERRUPTED
        partly = states.KEPT in counts or self._past
        return states.PARTLY if partly else states.UNDONE
