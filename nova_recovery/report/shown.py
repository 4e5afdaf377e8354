# SPDX-License-Identifier: Apache-2.0

"""What the text and the page show alike."""

from __future__ import annotations

from typing import Any

from nova_recovery.engine import states
from nova_recovery.report import summary, wording

#: So many items of a step that went well are listed for people, and so many
#: servers; the JSON has all of them.
GOOD = 1000
#: So many lines of what is left to do.
LEFT = 50


def listed(items: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """Those to be shown, and how many more went well."""
    good = 0
    shown = []
    for item in items:
        good += item['state'] in states.RIGHT
        if item['state'] not in states.RIGHT or good <= GOOD:
            shown.append(item)
    return shown, len(items) - len(shown)


def facts(one: dict[str, Any]) -> list[tuple[str, str]]:
    """The head of a run: names and values, without the empty ones."""
    run = one['run']
    took = f' ({run["took"]})' if run['took'] else ''
    found = [
        ('Outcome', f'{run["state"]}: {summary.counted(run["counts"])}'),
        ('Because', run['reason']),
        ('Procedure', run['procedure']),
        ('Who', f'{run["who"]} on {run["machine"]}'),
        ('Cloud', run['cloud']),
        ('Command', run['command']),
        ('Program', ', then '.join(run['versions'])),
        ('Planned', wording.stamp(one['plan']['created_at'])),
        ('Started', wording.stamp(run['started_at'])),
        ('Finished', wording.stamp(run['finished_at']) + took),
        ('Digest', run['digest']),
    ]
    return [(name, value) for name, value in found if value]


def verdict(report: dict[str, Any]) -> str:
    """How it ended, in a sentence."""
    sums = report['sums']
    if not sums['servers']:
        return f'{_ends(report)}: {summary.counted(sums["items"])}'
    up, every = sums['up'], sums['servers']
    if up == every:
        which = (
            'the server runs' if every == 1 else f'all {every:,} servers run'
        )
        return f'{_ends(report)}: {which} again'
    return (
        f'{_ends(report)}: {up:,} of {every:,} servers run again, '
        f'{every - up:,} not as far as is known'
    )


def _ends(report: dict[str, Any]) -> str:
    """The states of the runs: ``partly, then done``."""
    return ', then '.join(one['run']['state'] for one in report['runs'])


def downtime(row: dict[str, Any]) -> str:
    """For how long a server was down: ``9 min 12 s``, ``at least 4 s``."""
    if row['up'] is None:
        return ''
    length = wording.duration(row['seconds'])
    if row['at_least'] and row['at_most']:
        return f'about {length}'
    if row['at_least'] or row['at_most']:
        return f'at {"least" if row["at_least"] else "most"} {length}'
    return length


def figures(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The few numbers of a story: what, and how much."""
    sums = report['sums']
    found = [('From first to last', _span(report))]
    if sums['servers']:
        found.insert(
            0, ('Servers up again', f'{sums["up"]:,} of {sums["servers"]:,}')
        )
    if sums['median'] is not None:
        found += [
            ('Median downtime', wording.duration(sums['median'])),
            ('Longest downtime', wording.duration(sums['longest'])),
        ]
    return found


def _span(report: dict[str, Any]) -> str:
    began = wording.moment(report['began_at'])
    ended = wording.moment(report['ended_at'])
    if began is None or ended is None:
        return ''
    return wording.duration((ended - began).total_seconds())
