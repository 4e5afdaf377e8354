# SPDX-License-Identifier: Apache-2.0

"""A report as text, as a page and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
import json
from typing import Any

from nova_recovery.engine import images
from nova_recovery.report import page, shown, summary, wording

#: Columns of the text, for mail and tickets.
WIDTH = 100


def as_json(report: dict[str, Any]) -> Iterator[str]:
    """The report itself."""
    yield json.dumps(report, indent=2) + '\n'


def as_text(report: dict[str, Any]) -> Iterator[str]:
    """For mail and tickets."""
    for line in _text(report):
        yield wording.clean(line.rstrip()) + '\n'


def as_html(report: dict[str, Any]) -> Iterator[str]:
    """One page that needs nothing else, for a browser, a printer or a wiki."""
    yield from page.written(report)


FORMATS: dict[str, Callable[[dict[str, Any]], Iterable[str]]] = {
    'text': as_text,
    'html': as_html,
    'json': as_json,
}


def _text(report: dict[str, Any]) -> Iterator[str]:
    yield report['title']
    yield '=' * len(report['title'])
    yield ''
    yield from wording.wrap(shown.verdict(report), '', WIDTH)
    for name, value in shown.figures(report):
        yield f'{name}: {value}'
    yield from _section('What went wrong', _failures(report))
    yield from _section('What is left to do', _left(report))
    yield from _section('Servers', _servers(report))
    yield from _section('Overrides and decisions', _decisions(report))
    for one in report['runs']:
        run = one['run']
        yield from _section(
            f'Run {run["id"]}: {run["title"]}',
            (
                line
                for name, value in shown.facts(one)
                for line in wording.wrap(value, f'{name + ":":<12}', WIDTH)
            ),
            '=',
        )
        yield from _section('Gates', _gates(one))
        yield from _section('What happened', _events(one))
        for step in one['steps']:
            heading = f'{step["heading"]}: {step["title"]}'
            if step['counts']:
                heading += f' ({summary.counted(step["counts"])})'
            yield from _section(heading, _items(step['items']))
        yield from _section(
            'Left out',
            [
                f'{left["label"]} {left["subject"]}'.strip()
                + f': {" ".join(left["why"].split())}'
                for left in one['plan']['left_out']
            ],
        )
        yield from _section('Notes', one['plan']['notes'])
    yield ''
    yield (
        f'Made {wording.stamp(report["made_at"])} with {report["made_with"]}'
    )


def _section(
    heading: str, lines: Iterable[str], mark: str = '-'
) -> Iterator[str]:
    lines = list(lines)
    if not lines:
        return
    yield ''
    yield heading
    yield mark * len(heading)
    yield from lines


def _failures(report: dict[str, Any]) -> Iterator[str]:
    for one in report['failures']:
        label = f'{one["label"]} {one["name"]}'.strip()
        yield from wording.wrap(
            one['detail'], f'{one["state"]:<9} {label}: ', WIDTH
        )
        told = f'{one["kind"]}: {one["step"]}'
        if one['mended_by']:
            told += f'; went well later, in run {one["mended_by"]}'
        yield f'          {told}'


def _left(report: dict[str, Any]) -> Iterator[str]:
    for one in report['left'][: shown.LEFT]:
        text = ' '.join(filter(None, (one['text'], one['command'])))
        yield f'{one["what"]}: {text}'
    if more := len(report['left']) - shown.LEFT:
        if more > 0:
            yield f'… and {more} more'


def _servers(report: dict[str, Any]) -> Iterator[str]:
    some, more = shown.listed(report['servers'])
    for row in some:
        where = row['target'] or row['host']
        if row['host'] and row['host'] != where:
            where = f'{row["host"]} -> {where}'
        yield '  '.join(
            filter(
                None,
                (
                    f'{row["state"]:<9}',
                    f'{row["label"]} {row["name"]}'.strip(),
                    row['method'],
                    where,
                    f'down {shown.downtime(row)}' if row['down'] else '',
                    '' if row['up'] is not False else 'not up',
                ),
            )
        )
    if more:
        yield f'… and {more} more that went well'


def _decisions(report: dict[str, Any]) -> Iterator[str]:
    for one in report['decisions']:
        about = f'{one["about"]}: ' if one['about'] else ''
        yield from wording.wrap(
            f'{about}{one["reason"]} ({one["who"]}@{one["machine"]})',
            f'{wording.stamp(one["at"])}  {one["what"]:<11} ',
            WIDTH,
        )


def _gates(one: dict[str, Any]) -> Iterator[str]:
    for gate in one['gates']:
        about = f'{gate["subject"]}: ' if gate['subject'] else ''
        yield from wording.wrap(
            f'{about}{gate["observed"]}',
            f'{gate["state"]:<10} {gate["name"]:<20} ',
            WIDTH,
        )


def _events(one: dict[str, Any]) -> Iterator[str]:
    for event in one['events']:
        who = f'{event["who"]}@{event["machine"]}'
        head = f'{wording.stamp(event["at"])}  {event["kind"]:<11}  {who}  '
        yield from wording.wrap(event['detail'], head, 140)


def _items(items: list[dict[str, Any]]) -> Iterator[str]:
    some, more = shown.listed(items)
    for item in some:
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
