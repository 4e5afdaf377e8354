# SPDX-License-Identifier: Apache-2.0

"""The record of a run as text, HTML and JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
import json
from typing import Any

from nova_recovery.engine import images, states
from nova_recovery.report import summary, wording

#: Columns of the text, for mail and tickets.
WIDTH = 100
#: So many items of a step that went well are listed for people; the JSON
#: has all of them.
GOOD = 1000


def as_json(record: dict[str, Any]) -> Iterator[str]:
    """The record itself."""
    yield json.dumps(record, indent=2) + '\n'


def as_text(record: dict[str, Any]) -> Iterator[str]:
    """For mail and tickets."""
    for line in _text(record):
        yield wording.clean(line.rstrip()) + '\n'


def as_html(record: dict[str, Any]) -> Iterator[str]:
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
    yield from environment.get_template('run.html').generate(record)
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


def _text(record: dict[str, Any]) -> Iterator[str]:
    run = record['run']
    title = f'Run {run["id"]}: {run["title"]}'
    yield title
    yield '=' * len(title)
    yield ''
    for name, value in facts(record):
        yield from wording.wrap(value, f'{name + ":":<12}', WIDTH)
    yield from _section('Overridden gates', _overrides(record))
    yield from _section('Gates', _gates(record))
    yield from _section('What happened', _events(record))
    for step in record['steps']:
        heading = f'{step["heading"]}: {step["title"]}'
        if step['counts']:
            heading += f' ({summary.counted(step["counts"])})'
        yield from _section(heading, _items(step['items']))
    yield from _section(
        'Left out',
        [
            f'{one["label"]} {one["subject"]}'.strip() + f': {one["why"]}'
            for one in record['plan']['left_out']
        ],
    )
    yield from _section('Notes', record['plan']['notes'])


def facts(record: dict[str, Any]) -> list[tuple[str, str]]:
    """The head of a report: names and values, without the empty ones."""
    run = record['run']
    took = f' ({run["took"]})' if run['took'] else ''
    pairs = [
        ('Outcome', f'{run["state"]}: {summary.counted(run["counts"])}'),
        ('Procedure', run['procedure']),
        ('Who', f'{run["who"]} on {run["machine"]}'),
        ('Command', run['command']),
        ('Planned', wording.stamp(record['plan']['created_at'])),
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


def _overrides(record: dict[str, Any]) -> Iterator[str]:
    for one in record['overrides']:
        subject = f' {one["subject"]}' if one['subject'] else ''
        yield from wording.wrap(
            one['reason'], f'{one["gate"]}{subject}: ', WIDTH
        )


def _gates(record: dict[str, Any]) -> Iterator[str]:
    for gate in record['gates']:
        about = f'{gate["subject"]}: ' if gate['subject'] else ''
        yield from wording.wrap(
            f'{about}{gate["observed"]}',
            f'{gate["state"]:<10} {gate["name"]:<20} ',
            WIDTH,
        )


def _events(record: dict[str, Any]) -> Iterator[str]:
    for event in record['events']:
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
