# SPDX-License-Identifier: Apache-2.0

"""One row a server: how it was brought back, and for how long it was down.

Of one run, or of several that are one story: what one left down, another
may have brought up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
import dataclasses
import statistics
from typing import Any, TYPE_CHECKING

from nova_recovery.engine import states
from nova_recovery.engine.way_back import UNPROVEN
from nova_recovery.report import sessions as sessions_module
from nova_recovery.report import summary, wording

if TYPE_CHECKING:
    from nova_recovery.engine.change import Registry
    from nova_recovery.engine.plan import Item, Plan
    from nova_recovery.engine.records import EventRecord, ItemRecord, RunRecord
    from nova_recovery.report.sessions import Session

#: Subjects that are a server as well, its console and what is inside.
_OF_SERVERS = ('server', 'boot', 'guest')
#: The items that tell best how a server ended, where all went well.
_TELLING = ('verify-server', 'restart-server')


@dataclasses.dataclass(frozen=True)
class Told:
    """A run with all that the journal has of it, read once."""

    run: RunRecord
    plan: Plan
    items: Sequence[ItemRecord]
    events: Sequence[EventRecord]
    sessions: Sequence[Session]

    @property
    def began(self) -> str:
        return self.run.started_at or self.run.created_at

    @property
    def ended(self) -> str:
        """When it was looked at last."""
        last = self.sessions[-1].until if self.sessions else ''
        return last or self.run.finished_at or self.began


@dataclasses.dataclass
class Down:
    """A time in which a server did not run, as far as is known.

    :ivar since: UTC, ISO 8601 with Z
    :ivar how: ``known`` (the last heartbeat of its host, or as given),
        ``sent`` (when its reboot was sent) or ``run`` (when the run began:
        it may have been down before)
    :ivar until: when it was seen to run again; '' if it never was
    :ivar seen: it may have run before ``until``, when it was looked at
    :ivar last: when it was still down, if it never was up again
    """

    since: str
    how: str
    until: str = ''
    seen: bool = False
    last: str = ''

    @property
    def seconds(self) -> float:
        """So far, of one that is still down."""
        first = wording.moment(self.since)
        last = wording.moment(self.until or self.last)
        if first is None or last is None:
            return 0.0
        return max((last - first).total_seconds(), 0.0)


@dataclasses.dataclass
class Row:
    """One server in a story.

    :ivar subject: ``server:UUID``
    :ivar host: where it was, ``target``: where it went
    :ivar method: in a word, '' if nothing was to bring it back
    :ivar state: of the item that tells how it ended, in its last run
    :ivar runs: the ids of those that had to do with it
    :ivar group: the title of the step that brought it back, last
    """

    subject: str
    label: str
    host: str = ''
    target: str = ''
    method: str = ''
    state: str = ''
    detail: str = ''
    group: str = ''
    runs: list[str] = dataclasses.field(default_factory=list)
    down: list[Down] = dataclasses.field(default_factory=list)

    @property
    def uuid(self) -> str:
        return self.subject.partition(':')[2]

    @property
    def up(self) -> bool | None:
        """Whether it runs again; None: it was never to be brought up."""
        return bool(self.down[-1].until) if self.down else None

    def plain(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            **dataclasses.asdict(self),
            'name': wording.identifier(self.subject, self.label),
            'up': self.up,
            'seconds': sum(one.seconds for one in self.down),
            'at_least': any(d.how == 'run' or not d.until for d in self.down),
            'at_most': any(d.seen for d in self.down),
        }


def of_runs(told: Iterable[Told], registry: Registry, since: str) -> list[Row]:
    """A row for each server of the runs, those that went wrong first.

    :param told: the runs, the oldest first
    :param since: when the servers went down, where no run knows it; or ''
    """
    rows: dict[str, Row] = {}
    for one in told:
        for subject, pairs in _by_server(one).items():
            row = rows.setdefault(subject, Row(subject, ''))
            _add(row, one, pairs, registry, since)
        for left in one.plan.left_out:
            if left.subject.startswith('server:') and left.subject not in rows:
                rows[left.subject] = Row(
                    left.subject,
                    left.label,
                    state='left out',
                    detail=left.line,
                    runs=[one.run.id],
                )
    return sorted(rows.values(), key=_first)


def _first(row: Row) -> tuple[int, int]:
    """Those to be looked at first: down, then by how they ended."""
    if row.state == 'left out':
        return 1, summary.gravity(states.SKIPPED)
    return int(row.up is not False), summary.gravity(row.state)


Pairs = list[tuple['Item', 'ItemRecord']]


def _by_server(one: Told) -> dict[str, Pairs]:
    """The items of each server, in the order of the plan."""
    planned = {item.id: item for item in one.plan.items()}
    found: dict[str, Pairs] = {}
    for record in one.items:
        kind, _, name = record.subject.partition(':')
        if kind in _OF_SERVERS:
            pair = planned[record.id], record
            found.setdefault(f'server:{name}', []).append(pair)
    return found


def _add(
    row: Row, one: Told, pairs: Pairs, registry: Registry, since: str
) -> None:
    """What a run had to do with a server."""
    own = [record for _, record in pairs]
    telling = {record.kind for record in own} & set(_TELLING)
    ends = summary.decisive(own, ''.join(telling))
    end = min(ends.values(), key=_telling)
    row.label = end.label or row.label
    row.state, row.detail = end.state, end.detail
    row.runs.append(one.run.id)
    ways = [
        str(record.image.get('action') or registry[record.kind].method)
        for _, record in pairs
        if record.kind in registry and registry[record.kind].method
    ]
    row.method = ways[0] if ways else row.method
    for item, _ in pairs:
        row.host = row.host or str(
            _host(item.data.get('source')) or item.data.get('host') or ''
        )
        row.target = _host(item.data.get('target')) or row.target
    titles = {step.name: step.title for step in one.plan.steps}
    starts = [
        pair
        for pair in pairs
        if pair[0].kind in registry and registry[pair[0].kind].starts
    ]
    if starts:
        row.group = titles[starts[-1][1].step]
    # what is verified to rest was at rest before
    rests = any(item.data.get('running') is False for item, _ in pairs)
    if starts and not rests:
        _down(row, one, pairs, starts, registry, since)


def _telling(item: ItemRecord) -> tuple[int, bool]:
    """The worst first; where all went well, the server before its console."""
    bad = min(summary.gravity(item.state), summary.gravity(states.SKIPPED))
    return bad, not item.subject.startswith('server:')


def _host(value: Any) -> str:
    """Items have a host by its name, or with its node."""
    return str(
        value.get('host') if isinstance(value, Mapping) else value or ''
    )


def _down(
    row: Row,
    one: Told,
    pairs: Pairs,
    starts: Pairs,
    registry: Registry,
    since: str,
) -> None:
    """When it was down, by what a run saw of it."""
    open_ = row.down[-1] if row.down and not row.down[-1].until else None
    if open_ is None:
        open_ = _begin(one, starts, registry, since)
        already = all(record.state == states.ALREADY for _, record in starts)
        if already and open_.how == 'run':
            # it ran when it was looked at, and nobody knows since when
            return
        row.down.append(open_)
    open_.until = _up(one, pairs, starts, registry)
    open_.seen = bool(open_.until) and any(
        record.state in (states.ALREADY, states.KEPT) for _, record in starts
    )
    if not open_.until:
        open_.last = max(one.ended, open_.since)


def _begin(one: Told, starts: Pairs, registry: Registry, since: str) -> Down:
    item, first = starts[0]
    if registry[item.kind].stops and first.started_at:
        return Down(first.started_at, 'sent')
    known = one.plan.down_since
    for subject in (item.subject, *item.follows, ''):
        if subject in known:
            return Down(known[subject], 'known')
    if since:
        return Down(since, 'known')
    return Down(one.began, 'run')


def _up(one: Told, pairs: Pairs, starts: Pairs, registry: Registry) -> str:
    """When it was seen to run; '' if it is not known to.

    A look that failed afterwards means that it is not.
    """
    ends = [_done(one, record) for _, record in starts]
    if not all(ends):
        return ''
    for _, record in pairs:
        if record.kind in registry and registry[record.kind].looks:
            if record.state in states.BAD:
                return ''
    return max(ends)


def _done(one: Told, record: ItemRecord) -> str:
    """When an item was done, '' if it wasn't."""
    if record.state in states.RIGHT:
        return record.finished_at
    if record.state == states.KEPT and not record.notes.get(UNPROVEN):
        # the undo wrote its own time: it was at the end of the session
        session = sessions_module.at(one.sessions, record.started_at)
        return session.until if session else record.finished_at
    return ''


def sums(rows: Iterable[Row]) -> dict[str, Any]:
    """Servers that were down, are up again, and for how long, in seconds.

    Medians and the like are of those that are up again.
    """
    down = [row for row in rows if row.up is not None]
    up = sorted(sum(d.seconds for d in row.down) for row in down if row.up)
    return {
        'servers': len(down),
        'up': len(up),
        'down': len(down) - len(up),
        'median': statistics.median(up) if up else None,
        'longest': up[-1] if up else None,
        'total': sum(d.seconds for row in down for d in row.down),
    }


def not_up(rows: Iterable[Row]) -> Iterator[Row]:
    """Those that are still down, as far as is known."""
    return (row for row in rows if row.up is False)
