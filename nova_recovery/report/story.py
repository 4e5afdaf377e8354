# SPDX-License-Identifier: Apache-2.0

"""All that is known of a run, for the review of an incident.

Or of several that are one story: a disaster, its repairs, what was taken
back. As JSON types, of which all writers make theirs.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Sequence
import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery import program
from nova_recovery.compat import pairs
from nova_recovery.engine import claiming, printable, states, undo
from nova_recovery.engine.change import MISUNDERSTOOD
from nova_recovery.report import picture, servers, sessions, standing, wording
from nova_recovery.report.servers import Told
from nova_recovery.version import version

if TYPE_CHECKING:
    from nova_recovery.engine.change import Registry
    from nova_recovery.engine.journal import Journal
    from nova_recovery.engine.plan import Item
    from nova_recovery.engine.records import ItemRecord

#: Grows when a reader of the JSON would have to know. 3: several runs, each
#: in ``runs`` as it stood alone before; servers with their downtimes.
FORMAT = 3
#: Events by which somebody decided something, with a reason.
DECISIONS = frozenset(
    ('overridden', 'skipped', 'again', 'taken-over', 'abandoned')
)


def of_runs(
    journal: Journal,
    run_ids: Sequence[str],
    registry: Registry,
    *,
    now: str,
    since: str = '',
) -> dict[str, Any]:
    """The report of the runs as one story, in the order of time.

    Times are UTC, ISO 8601 with Z; lengths are seconds. ``before`` of an
    item is what the journal kept, with its secrets masked; ``changes`` is
    what was to be done, in words.

    :param now: when it is made
    :param since: when servers went down, where no run knows it; or ''
    """
    told = sorted(
        (_told(journal, run_id, now) for run_id in dict.fromkeys(run_ids)),
        key=lambda one: (one.run.created_at, one.run.id),
    )
    rows = servers.of_runs(told, registry, since)
    runs = [_run(one, registry) for one in told]
    return {
        'format': FORMAT,
        'made_at': now,
        'made_with': f'nova-recovery {version()}',
        'title': _title(told),
        **_times(told, rows),
        'sums': {
            **servers.sums(rows),
            'items': dict(
                sum((collections.Counter(r.run.counts) for r in told),
                    collections.Counter())
            ),
        },
        'failures': list(_failures(runs)),
        'left': [
            *(line for one in told for line in _left(one, registry)),
            *map(_not_up, servers.not_up(rows)),
        ],
        'decisions': [line for one in told for line in _decisions(one)],
        'servers': [row.plain() for row in rows],
        'runs': runs,
    }  # fmt: skip


def _told(journal: Journal, run_id: str, now: str) -> Told:
    run = journal.run(run_id)
    items = list(journal.items(run_id))
    events = journal.events(run_id)
    return Told(
        run,
        journal.plan(run_id),
        items,
        events,
        sessions.of_run(run, events, items, now),
    )


def _title(told: Sequence[Told]) -> str:
    first = f'Run {told[0].run.id}: {told[0].run.title}'
    if len(told) == 1:
        return first
    return f'{first}, and {wording.count(len(told) - 1, "run")} after it'


def _times(
    told: Sequence[Told], rows: Iterable[servers.Row]
) -> dict[str, Any]:
    """From when servers were down, or the first run began, to the end."""
    downs = [down.since for row in rows for down in row.down]
    began = min([*downs, *(one.began for one in told)])
    ended = max(one.ended for one in told)
    return {
        'began_at': began,
        'ended_at': ended,
        'took': wording.span(began, ended),
    }


def _run(one: Told, registry: Registry) -> dict[str, Any]:
    """One run: its head, plan, gates, overrides, events, steps with items."""
    run, plan = one.run, one.plan
    done = {item.id: item for item in one.items}
    events = one.events
    return {
        'run': {
            **dataclasses.asdict(run),
            'state': standing.state_of(run),
            'reason': standing.reason_of(run, events).partition('\n')[0],
            'took': wording.span(run.started_at, run.finished_at),
            'cloud': plan.cloud or _cells(plan.items()),
            'versions': list(
                dict.fromkeys(
                    e.detail
                    for e in events
                    if e.kind in sessions.BEGIN and e.detail
                )
            ),
        },
        'plan': {
            'arguments': plan.arguments,
            'created_at': plan.created_at,
            'down_since': plan.down_since,
            'notes': list(plan.notes),
            'left_out': [dataclasses.asdict(left) for left in plan.left_out],
        },
        'gates': [dataclasses.asdict(gate) for gate in plan.gates],
        'overrides': [
            {'gate': g.name, 'subject': g.subject, 'reason': g.reason}
            for g in plan.gates
            if g.state == 'overridden'
        ],
        'events': [dataclasses.asdict(e) for e in events],
        'sessions': [dataclasses.asdict(s) for s in one.sessions],
        'steps': [
            {
                'heading': heading,
                'name': step.name,
                'title': step.title,
                'counts': dict(
                    collections.Counter(done[i.id].state for i in step.items)
                ),
                'items': [
                    _item(planned, done[planned.id], registry)
                    for planned in step.items
                ],
            }
            for heading, step in pairs(plan.headings, plan.steps)
        ],
    }


def _cells(items: Iterable[Item]) -> str:
    """What is known of the cloud without its name: the cells in use."""
    names = dict.fromkeys(
        str(i.data['cell']) for i in items if 'cell' in i.data
    )
    return ', '.join(names)


def _item(
    planned: Item, done: ItemRecord, registry: Registry
) -> dict[str, Any]:
    return {
        'id': done.id,
        'number': done.number,
        'kind': done.kind,
        'subject': done.subject,
        'label': done.label,
        'name': wording.identifier(done.subject, done.label),
        'state': done.state,
        'detail': done.detail,
        'started_at': done.started_at,
        'finished_at': done.finished_at,
        'took': wording.span(done.started_at, done.finished_at),
        'changes': _described(planned, registry),
        'before': done.image,
        'notes': done.notes,
    }


def _described(planned: Item, registry: Registry) -> list[str]:
    """What was to be done; nothing of an item of another version."""
    known = registry.get(planned.kind)
    try:
        return known.describe(planned) if known else []
    except MISUNDERSTOOD:
        return []


def _failures(runs: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What went wrong, each with the run that made it good later, if any."""
    for number, one in enumerate(runs):
        good = _made_good(runs[number + 1 :])
        for step in one['steps']:
            for item in step['items']:
                if item['state'] in picture.WRONG:
                    yield {
                        'run': one['run']['id'],
                        'step': step['title'],
                        'mended_by': good.get(item['subject'], ''),
                        **{
                            name: item[name]
                            for name in (
                                'number', 'kind', 'subject', 'label', 'name',
                                'state', 'detail', 'finished_at',
                            )
                        },
                    }  # fmt: skip


def _made_good(runs: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Subject -> the last of these runs, if all went well with it there."""
    found: dict[str, str] = {}
    for one in runs:
        ends: dict[str, set[str]] = {}
        for step in one['steps']:
            for item in step['items']:
                ends.setdefault(item['subject'], set()).add(item['state'])
        for subject, every in ends.items():
            found[subject] = one['run']['id'] if every <= states.GOOD else ''
    return found


def _left(one: Told, registry: Registry) -> Iterator[dict[str, str]]:
    """What is left to be done of a run, with the commands that do it."""
    run, plan = one.run, one.plan
    forward = undo.forward(plan, one.items, registry)
    if run.state != states.DONE:
        back = undo.worth(plan, one.items, registry)
        ways = standing.ways(run, forward, back)
        for what, words in ways:
            text = ''
            if what == 'Take back' and len(ways) > 1:
                text = 'what it changed, instead of going on:'
            yield _line(run.id, what, text, program.call(' '.join(words)))
    reason = standing.reason_of(run, one.events)
    for text in filter(None, reason.split('\n')[1:]):
        yield _line(run.id, 'Then', text)
    held = claiming.held({item.id: item.state for item in one.items}, plan)
    if held and run.state in states.AT_REST:
        names = printable.some([item.label for item in held], 10)
        yield _line(run.id, 'Still claimed', names)
    for left in plan.left_out:
        why, _, command = left.why.partition('\n')
        if command:
            text = f'{left.label or left.subject}: {why}'
            yield _line(run.id, 'Left out', text, command)


def _not_up(row: servers.Row) -> dict[str, str]:
    length = wording.duration(sum(one.seconds for one in row.down))
    text = f'{row.label or row.uuid}: down for {length} at least'
    return _line(row.runs[-1], 'Not up', text, subject=row.subject)


def _line(
    run_id: str, what: str, text: str, command: str = '', subject: str = ''
) -> dict[str, str]:
    return {
        'run': run_id,
        'what': what,
        'text': text,
        'command': command,
        'subject': subject,
    }


def _decisions(one: Told) -> Iterator[dict[str, str]]:
    """What somebody answers for: overrides, and what was left out by hand."""
    created = next((e for e in one.events if e.kind == 'created'), None)
    for gate in one.plan.gates:
        if gate.state == 'overridden':
            yield {
                'run': one.run.id,
                'at': created.at if created else one.run.created_at,
                'who': created.who if created else one.run.who,
                'machine': created.machine if created else one.run.machine,
                'what': 'overridden',
                'about': f'{gate.name} {gate.subject}'.strip(),
                'reason': gate.reason,
                'observed': gate.observed,
            }
    for event in one.events:
        if event.kind in DECISIONS:
            yield {
                'run': one.run.id,
                'at': event.at,
                'who': event.who,
                'machine': event.machine,
                'what': event.kind,
                'about': '',
                'reason': event.detail,
                'observed': '',
            }
