# SPDX-License-Identifier: Apache-2.0

"""A drill: what the journal has of it, and how long each step took.

A drill is two runs: one takes the power, the other is the disaster's and
brings back what lost it: a server, or a whole site. What was seen in between,
and in the end, are events of the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
import dataclasses
from typing import TYPE_CHECKING

from nova_recovery.engine import states
from nova_recovery.exceptions import UsageError
from nova_recovery.report import summary, wording

if TYPE_CHECKING:
    from nova_recovery.engine.journal import Journal
    from nova_recovery.engine.plan import Plan
    from nova_recovery.engine.records import EventRecord, ItemRecord, RunRecord

SERVER, SITE, WAY_BACK = 'drill', 'drill-site', 'disaster'
#: What takes the power.
_CUTS = frozenset({'cut-guest', 'power-off-site'})
#: Kinds of events: whether the findings saw the loss, and the server whole.
SEEN, NOT_SEEN = 'loss-seen', 'loss-not-seen'
BACK, NOT_BACK = 'back', 'not-back'
#: What can have a target, in their order; of those of a disaster its number.
STEPS = {
    'snapshot': 'save how it is',
    'loss': 'its power is taken, its sessions are closed',
    'power': 'the power is back, and what had lost it answers',
    'seen': 'the findings see it',
    'record': 'step 1: record what belongs together',
    'clean': 'step 2: clean what is stale of volumes',
    'restart': 'step 3: reboot or start',
    'attach': 'step 4: attach volumes again',
    'guests': 'step 5: reboot from inside',
    'back': 'all of it, until it is whole again',
}
#: The same of a site, where it is something else.
_SITE_WORDS = {
    'loss': 'the power of the site is taken',
    'back': 'all of it, until all servers are up again',
}
_OF_DISASTER = {
    name: number
    for number, name in enumerate(
        ('record', 'clean', 'restart', 'attach', 'guests'), 1
    )
}
#: The steps of the first run -> the kinds of their items.
_LOSSES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    SERVER: {
        'snapshot': ('take-snapshot',),
        'loss': ('cut-guest', 'close-session'),
    },
    SITE: {
        'snapshot': ('take-snapshot',),
        'loss': ('power-off-site',),
        'power': ('power-on-site', 'see-site', 'see-service'),
    },
}
COLUMNS = ('Step', 'What', 'Run', 'Began', 'Seconds', 'Target', 'Result')
MET, MISSED, TIMED = 'met', 'missed', 'timed'
NOTHING, NOT_YET = 'nothing to do', 'not yet'
_RIGHT = frozenset({MET, TIMED, NOTHING})


@dataclasses.dataclass(frozen=True)
class Part:
    """One of its runs."""

    run: RunRecord
    plan: Plan
    items: tuple[ItemRecord, ...]

    @property
    def over(self) -> bool:
        """Whether nothing of it is left to be done."""
        return all(item.state in states.FINAL for item in self.items)

    @property
    def undone(self) -> bool:
        """Whether it was taken back, at least in part: it goes no further."""
        return self.run.state == states.UNDONE or any(
            item.state in states.UNDO for item in self.items
        )


@dataclasses.dataclass(frozen=True)
class Drill:
    """What the journal has of a drill.

    :ivar back: the newest run that brings the server back; None: none yet
    """

    loss: Part
    events: tuple[EventRecord, ...]
    back: Part | None = None

    @property
    def of_site(self) -> bool:
        """Whether it is of a whole site, not of one server."""
        return self.loss.run.procedure == SITE

    @property
    def name(self) -> str:
        """The UUID of the server, or what the site's cloud is called."""
        asked = self.loss.plan.arguments
        return str(asked['cloud' if self.of_site else 'server'])

    @property
    def label(self) -> str:
        """What people call it."""
        labels = (i.label for i in self.loss.items if i.kind == 'cut-guest')
        return next(labels, self.name)

    @property
    def words(self) -> tuple[str, ...]:
        """What is typed behind ``drill`` to go on with it."""
        if self.of_site:
            return 'site', '--cloud', self.name
        return 'power-loss', '--server', self.name

    @property
    def snapshot(self) -> str:
        """Its path, '' where it was not taken."""
        return _snapshot(self.loss.items)

    @property
    def lost_at(self) -> str:
        """When the power may have been taken first, '' if it never was."""
        return next(
            (
                item.started_at
                for item in self.loss.items
                if item.kind in _CUTS and item.begun
            ),
            '',
        )

    def last(self, *kinds: str) -> EventRecord | None:
        """The newest event of these kinds."""
        return next(
            (e for e in reversed(self.events) if e.kind in kinds), None
        )

    @property
    def over(self) -> bool:
        """Whether it came to an end: it is whole again, or never was down."""
        if self.lost_at:
            last = self.last(BACK, NOT_BACK)
            return last is not None and last.kind == BACK
        return self.loss.over or self.loss.run.state == states.UNDONE


@dataclasses.dataclass(frozen=True)
class Row:
    """One step.

    :ivar run: in which it is
    :ivar seconds: None: not known, or there was nothing to do
    :ivar target: seconds; None: it is only timed
    """

    step: str
    run: str
    began: str
    seconds: float | None
    target: int | None
    result: str

    @property
    def right(self) -> bool:
        return self.result in _RIGHT


def of_run(journal: Journal, run_id: str) -> Drill:
    """The drill of a run.

    :raises UsageError: the run is none
    """
    loss = _part(journal, run_id)
    if loss.run.procedure not in (SERVER, SITE):
        raise UsageError(f'run {run_id} is no drill but {loss.run.procedure}')
    return Drill(
        loss,
        tuple(journal.events(run_id)),
        _way_back(journal, _snapshot(loss.items)),
    )


def newest(
    journal: Journal, key: str = '', procedure: str = ''
) -> Drill | None:
    """The newest drill; None: there is none.

    :param key: only of this one: the server's UUID; what the site's cloud is
        called, or one of the UUIDs that tell it
    :param procedure: only of a server, or of a site
    """
    for run in journal.runs():
        if run.procedure not in (SERVER, SITE) or (
            procedure not in ('', run.procedure)
        ):
            continue
        asked = journal.plan(run.id).arguments
        keys = {asked.get('server'), asked.get('cloud')}
        if not key or key in keys | {*asked.get('identity', ())}:
            return of_run(journal, run.id)
    return None


def _part(journal: Journal, run_id: str) -> Part:
    return Part(
        journal.run(run_id), journal.plan(run_id), tuple(journal.items(run_id))
    )


def _way_back(journal: Journal, snapshot: str) -> Part | None:
    """The newest run with the drill's snapshot, which nothing else has."""
    for run in journal.runs() if snapshot else ():
        if run.procedure == WAY_BACK and (
            journal.plan(run.id).arguments.get('snapshot') == snapshot
        ):
            return _part(journal, run.id)
    return None


def _snapshot(items: Iterable[ItemRecord]) -> str:
    return next(
        (
            item.detail
            for item in items
            if item.kind == 'take-snapshot' and item.state in states.RIGHT
        ),
        '',
    )


def rows(drill: Drill) -> list[Row]:
    """Each step, with how long it took beside how long it may take."""
    return list(_rows(drill))


def _rows(drill: Drill) -> Iterator[Row]:
    targets: Mapping[str, int] = drill.loss.plan.arguments['targets']
    loss = drill.loss
    for step, kinds in _LOSSES[loss.run.procedure].items():
        some = [
            item
            for item in loss.items
            if item.kind in kinds and item.step != 'alive'
        ]
        yield _of_items(step, loss.run.id, some, targets)
    yield _of_event('seen', drill, SEEN, NOT_SEEN, targets)
    for step, number in _OF_DISASTER.items():
        if drill.back is None:
            yield Row(step, '', '', None, targets.get(step), NOT_YET)
            continue
        back = drill.back
        names = {s.name for s in back.plan.steps if s.number == number}
        some = [item for item in back.items if item.step in names]
        yield _of_items(step, back.run.id, some, targets)
    yield _of_event('back', drill, BACK, NOT_BACK, targets)


def _of_items(
    step: str,
    run: str,
    items: Sequence[ItemRecord],
    targets: Mapping[str, int],
) -> Row:
    target = targets.get(step)
    if not items:
        return Row(step, run, '', None, target, NOTHING)
    began = min((i.started_at for i in items if i.started_at), default='')
    left = [item for item in items if item.state not in states.RIGHT]
    if not began or left:
        counts: dict[str, int] = {}
        for item in left:
            counts[item.state] = counts.get(item.state, 0) + 1
        return Row(
            step, run, began, None, target, summary.counted(counts) or NOT_YET
        )
    return _timed(step, run, began, max(i.finished_at for i in items), target)


def _of_event(
    step: str, drill: Drill, good: str, bad: str, targets: Mapping[str, int]
) -> Row:
    run, target = drill.loss.run.id, targets.get(step)
    began = drill.lost_at
    if step == 'seen':
        began = _power_back(drill) or began
    event = drill.last(good, bad)
    if event is None:
        return Row(step, run, began, None, target, NOT_YET)
    if event.kind == bad:
        return Row(step, run, began, None, target, event.detail)
    return _timed(step, run, began, event.at, target)


def _power_back(drill: Drill) -> str:
    """When a site that lost its power answered again; nobody sees it before.

    '' where it does not, or where it is about one server.
    """
    kinds = _LOSSES[drill.loss.run.procedure].get('power', ())
    some = [
        item
        for item in drill.loss.items
        if item.kind in kinds and item.step != 'alive'
    ]
    if any(item.state not in states.GOOD for item in some):
        return ''
    return max((item.finished_at for item in some), default='')


def _timed(
    step: str, run: str, began: str, ended: str, target: int | None
) -> Row:
    first, last = wording.moment(began), wording.moment(ended)
    if first is None or last is None:
        return Row(step, run, began, None, target, NOT_YET)
    seconds = round((last - first).total_seconds(), 1)
    result = TIMED
    if target is not None:
        result = MET if seconds <= target else MISSED
    return Row(step, run, began, seconds, target, result)


def verdict(drill: Drill, label: str = '') -> tuple[bool, str]:
    """Whether it went as it should, and how it went, in one line.

    :param label: what the server is called
    """
    every = rows(drill)
    wrong = [row for row in every if not row.right]
    judged = [row for row in every if row.target is not None]
    met = sum(row.result == MET for row in judged)
    name = label or drill.name
    end = every[-1]
    if drill.over and not drill.lost_at:
        return False, f'{name} kept its power: nothing was drilled.'
    if end.seconds is None:
        return False, f'{name} is not known to be whole again.'
    told = (
        f'{name} was whole again after {end.seconds:g} s; {met} of '
        f'{wording.count(len(judged), "target")} met'
    )
    if wrong:
        told += '; not as it should be: ' + ', '.join(r.step for r in wrong)
    return not wrong, f'{"FAILED: " if wrong else ""}{told}.'


def table(drill: Drill) -> list[tuple[object, ...]]:
    """For :data:`COLUMNS`."""
    return [
        (
            row.step,
            _SITE_WORDS.get(row.step, STEPS[row.step])
            if drill.of_site
            else STEPS[row.step],
            row.run,
            wording.stamp(row.began),
            row.seconds,
            row.target,
            wording.clean(row.result),
        )
        for row in rows(drill)
    ]


def targets(words: Iterable[str], known: Mapping[str, str]) -> dict[str, int]:
    """Step -> seconds, of ``STEP=SECONDS`` words and of the configuration.

    :param words: they come before what is configured
    :param known: ``[drill] targets``
    :raises UsageError: no such step, or no seconds
    """
    found: dict[str, int] = {}
    given = [(name, value, '[drill] targets') for name, value in known.items()]
    for word in words:
        name, _, value = word.partition('=')
        given.append((name, value, f'--target {word}'))
    for name, value, where in given:
        if name.strip() not in STEPS:
            raise UsageError(
                f'{where}: no step is called {name.strip()!r}; there are '
                + ', '.join(STEPS)
            )
        if not value.strip().isdecimal() or not int(value):
            raise UsageError(
                f'{where}: {name.strip()}={value.strip()}: give seconds, 1 '
                'or more'
            )
        found[name.strip()] = int(value)
    return found
