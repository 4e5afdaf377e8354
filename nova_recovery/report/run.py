# SPDX-License-Identifier: Apache-2.0

"""All that is known of a run, for the review of an incident.

As JSON types, of which the text and the page are made.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator
import dataclasses
import json
from typing import Any, TYPE_CHECKING

from nova_recovery.compat import pairs
from nova_recovery.engine import images, states
from nova_recovery.engine.change import Registry
from nova_recovery.engine.plan import Item
from nova_recovery.report import summary, wording

if TYPE_CHECKING:
    from nova_recovery.engine.journal import Journal
    from nova_recovery.engine.records import ItemRecord

#: Grows when a reader of the JSON would have to know.
FORMAT = 2
#: Columns of the text, for mail and tickets.
WIDTH = 100
#: So many items of a step that went well are listed for people; the JSON
#: has all of them.
GOOD = 1000


def of_run(
    journal: Journal, run_id: str, registry: Registry
) -> dict[str, Any]:
    """The report: run, plan, gates, overrides, events and steps with items.

    Times are UTC, ISO 8601 with Z. ``before`` of an item is what the journal
    kept, with its secrets masked; ``changes`` is what was to be done, in
    words.
    """
    run, plan = journal.run(run_id), journal.plan(run_id)
    done = {item.id: item for item in journal.items(run_id)}
    return {
        'format': FORMAT,
        'run': {
            **dataclasses.asdict(run),
            'took': wording.span(run.started_at, run.finished_at),
        },
        'plan': {
            'arguments': plan.arguments,
            'created_at': plan.created_at,
            'notes': list(plan.notes),
            'left_out': [dataclasses.asdict(one) for one in plan.left_out],
        },
        'gates': [dataclasses.asdict(gate) for gate in plan.gates],
        'overrides': [
            {'gate': g.name, 'subject': g.subject, 'reason': g.reason}
            for g in plan.gates
            if g.state == 'overridden'
        ],
        'events': [dataclasses.asdict(e) for e in journal.events(run_id)],
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


def _item(
    planned: Item, done: ItemRecord, registry: Registry
) -> dict[str, Any]:
    known = registry.get(planned.kind)
    return {
        'id': done.id,
        'kind': done.kind,
        'subject': done.subject,
        'label': done.label,
        'name': wording.identifier(done.subject, done.label),
        'state': done.state,
        'detail': done.detail,
        'started_at': done.started_at,
        'finished_at': done.finished_at,
        'took': wording.span(done.started_at, done.finished_at),
        'changes': known.describe(planned) if known else [],
        'before': done.image,
        'notes': done.notes,
    }


def as_json(report: dict[str, Any]) -> Iterator[str]:
    """The report itself."""
    yield json.dumps(report, indent=2) + '\n'


def as_text(report: dict[str, Any]) -> Iterator[str]:
    """For mail and tickets."""
    for line in _text(report):
        yield wording.clean(line.rstrip()) + '\n'


def as_html(report: dict[str, Any]) -> Iterator[str]:
    """One page that needs nothing else, for a browser or a wiki."""
    # Only this needs them.
    import jinja2
    import markupsafe

    def shown(value: Any) -> Any:
        kept = isinstance(value, markupsafe.Markup)
        return wording.clean(value) if not kept else value

    def pretty(value: Any) -> markupsafe.Markup:
        return markupsafe.escape(json.dumps(value, indent=2, sort_keys=True))

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader('nova_recovery.report'),
        autoescape=True,
        finalize=shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        stamp=wording.stamp, counted=summary.counted, json=pretty
    )
    environment.globals['listed'] = listed
    yield from environment.get_template('run.html').generate(report)
    yield '\n'


FORMATS: dict[str, Callable[[dict[str, Any]], Iterable[str]]] = {
    'text': as_text,
    'html': as_html,
    'json': as_json,
}


def listed(items: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """Those to be shown, and how many more went well."""
    good = 0
    shown = []
    for item in items:
        good += item['state'] in states.RIGHT
        if item['state'] not in states.RIGHT or good <= GOOD:
            shown.append(item)
    return shown, len(items) - len(shown)


def _text(report: dict[str, Any]) -> Iterator[str]:
    run = report['run']
    title = f'Run {run["id"]}: {run["title"]}'
    yield title
    yield '=' * len(title)
    yield ''
    for name, value in facts(report):
        yield from wording.wrap(value, f'{name + ":":<12}', WIDTH)
    yield from _section('Overridden gates', _overrides(report))
    yield from _section('Gates', _gates(report))
    yield from _section('What happened', _events(report))
    for step in report['steps']:
        heading = f'{step["heading"]}: {step["title"]}'
        if step['counts']:
            heading += f' ({summary.counted(step["counts"])})'
        yield from _section(heading, _items(step['items']))
    yield from _section(
        'Left out',
        [
            f'{one["label"]} {one["subject"]}'.strip() + f': {one["why"]}'
            for one in report['plan']['left_out']
        ],
    )
    yield from _section('Notes', report['plan']['notes'])


def facts(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The head of a report: names and values, without the empty ones."""
    run = report['run']
    took = f' ({run["took"]})' if run['took'] else ''
    pairs = [
        ('Outcome', f'{run["state"]}: {summary.counted(run["counts"])}'),
        ('Procedure', run['procedure']),
        ('Who', f'{run["who"]} on {run["machine"]}'),
        ('Command', run['command']),
        ('Planned', wording.stamp(report['plan']['created_at'])),
        ('Started', wording.stamp(run['started_at'])),
        ('Finished', wording.stamp(run['finished_at']) + took),
        ('Digest', run['digest']),
    ]
    return [(name, value) for name, value in pairs if value]


def _section(heading: str, lines: Iterable[str]) -> Iterator[str]:
    lines = list(lines)
    if not lines:
        return
    yield ''
    yield heading
    yield '-' * len(heading)
    yield from lines


def _overrides(report: dict[str, Any]) -> Iterator[str]:
    for one in report['overrides']:
        subject = f' {one["subject"]}' if one['subject'] else ''
        yield from wording.wrap(
            one['reason'], f'{one["gate"]}{subject}: ', WIDTH
        )


def _gates(report: dict[str, Any]) -> Iterator[str]:
    for gate in report['gates']:
        about = f'{gate["subject"]}: ' if gate['subject'] else ''
        yield from wording.wrap(
            f'{about}{gate["observed"]}',
            f'{gate["state"]:<10} {gate["name"]:<20} ',
            WIDTH,
        )


def _events(report: dict[str, Any]) -> Iterator[str]:
    for event in report['events']:
        who = f'{event["who"]}@{event["machine"]}'
        head = f'{wording.stamp(event["at"])}  {event["kind"]:<11}  {who}  '
        yield from wording.wrap(event['detail'], head, 140)


def _items(items: list[dict[str, Any]]) -> Iterator[str]:
    shown, more = listed(items)
    for item in shown:
        when = wording.stamp(item['started_at'])[11:]
        label = f'{item["label"]} {item["name"]}'.strip()
        head = f'{when:<9}  {item["state"]:<9}  {label}  '
        yield f'{head}{item["detail"]}'
        for line in item['changes']:
            yield f'           {line}'
        if kept := item['before'].get(images.KEY):
            yield f'           before-image: {wording.kept(kept)}'
    if more:
        yield f'… and {more} more that went well'
