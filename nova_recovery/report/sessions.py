# SPDX-License-Identifier: Apache-2.0

"""When somebody was at a run, and when nobody was.

A run that was stopped or killed and taken up again has several sessions.
One that was killed has no event that ends it: its last sign is the last
thing that it wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import dataclasses
from typing import TYPE_CHECKING

from nova_recovery.engine import states

if TYPE_CHECKING:
    from nova_recovery.engine.records import EventRecord, ItemRecord, RunRecord

#: Events with which a session begins, and those with which it ends.
BEGIN = frozenset(('started', 'resumed', 'undoing'))
END = frozenset(('finished', 'interrupted', 'paused', 'undone'))


@dataclasses.dataclass(frozen=True)
class Session:
    """One process at a run.

    :ivar began: ``started``, ``resumed`` or ``undoing``
    :ivar ended: ``finished``, ``interrupted``, ``paused``, ``undone``,
        ``killed`` (then ``until`` is its last sign) or ``running``
    :ivar since: and ``until``: UTC, ISO 8601 with Z
    """

    began: str
    ended: str
    since: str
    until: str
    who: str
    machine: str


def of_run(
    run: RunRecord,
    events: Iterable[EventRecord],
    items: Iterable[ItemRecord],
    now: str,
) -> list[Session]:
    """The sessions of a run, the oldest first.

    :param now: the end, so far, of one that is carried out just now
    """
    begins = [e for e in events if e.kind in BEGIN]
    ends = [e for e in events if e.kind in END]
    signs = sorted(_signs(items))
    found = []
    for begin, after in zip(begins, [*begins[1:], None]):
        # the clock that wrote it may be ahead of ours: only what another
        # session follows has a limit
        end = next((e for e in ends if _within(begin, e.at, after)), None)
        if end is not None:
            how, until = end.kind, end.at
        elif after is None and run.state == states.RUNNING and run.holder:
            how, until = 'running', now
        else:
            how = 'killed'
            last = [sign for sign in signs if _within(begin, sign, after)]
            until = last[-1] if last else begin.at
        found.append(
            Session(begin.kind, how, begin.at, until, begin.who, begin.machine)
        )
    return found


def _within(begin: EventRecord, time: str, after: EventRecord | None) -> bool:
    return begin.at <= time and (after is None or time <= after.at)


def _signs(items: Iterable[ItemRecord]) -> Iterator[str]:
    for item in items:
        if item.started_at:
            yield item.started_at
        if item.finished_at:
            yield item.finished_at


def at(sessions: Iterable[Session], time: str) -> Session | None:
    """The session that a time falls into."""
    return next((s for s in sessions if s.since <= time <= s.until), None)
