# SPDX-License-Identifier: Apache-2.0

"""A report as one page, which needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator
import json
from typing import Any

from nova_recovery.report import picture, shown, summary, wording

#: State of an item, gate or run -> how it is marked.
_MARKS = {
    'good': 'done already ok ready running',
    'bad': 'failed conflict doubt kept refused unknown partly killed',
    'wait': 'overridden blocked skipped reverted reverting interrupted '
    'paused pending intent sent undone',
}
MARKS = {
    state: mark for mark, some in _MARKS.items() for state in some.split()
}


def written(report: dict[str, Any]) -> Iterator[str]:
    """The page, piece by piece."""
    # only this needs it
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader('nova_recovery.report'),
        autoescape=True,
        finalize=_clean,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        stamp=wording.stamp,
        clock=lambda time: wording.clock(time, report['began_at']),
        wrong=lambda items: any(i['state'] in picture.WRONG for i in items),
        counted=summary.counted,
        json=_pretty,
        duration=wording.duration,
        mark=lambda state: MARKS.get(state, ''),
        downtime=shown.downtime,
    )
    environment.globals.update(
        listed=shown.listed,
        facts=shown.facts,
        figures=shown.figures(report),
        verdict=shown.verdict(report),
        most=shown.LEFT,
        step_anchor=picture.step_anchor,
        server_anchor=picture.server_anchor,
        picture=picture.of_report(report),
    )
    template = environment.get_template('report.html')
    yield from template.generate(report)
    yield '\n'


def _clean(value: Any) -> Any:
    """Harmless for whoever copies it, too; what is escaped stays so."""
    import markupsafe

    kept = isinstance(value, markupsafe.Markup)
    return wording.clean(value) if not kept else value


def _pretty(value: Any) -> Any:
    import markupsafe

    return markupsafe.escape(json.dumps(value, indent=2, sort_keys=True))
