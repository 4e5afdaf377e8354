# SPDX-License-Identifier: Apache-2.0

"""``disaster assess``: what the power loss did, twice seen."""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
import dataclasses
import datetime
from operator import attrgetter
from typing import TYPE_CHECKING

from nova_recovery.cloud import records
from nova_recovery.engine.findings import (
    Assessment,
    Columns,
    counted,
    Finding,
    NOTE,
)
from nova_recovery.procedures.disaster import situation
from nova_recovery.procedures.disaster.judge import alive
from nova_recovery.procedures.disaster.judge import findings as findings_module
from nova_recovery.procedures.disaster.judge.wanted import Answer, wanted
from nova_recovery.procedures.disaster.look import fleet
from nova_recovery.procedures.disaster.look.read import Reader
from nova_recovery.procedures.disaster.scope import Scope
from nova_recovery.procedures.disaster.situation import Outage, Situation
from nova_recovery.procedures.rules import saved
from nova_recovery.snapshot.format import CHAINS

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.snapshot.reading import Snapshot

COLUMNS: Columns = (
    ('Code', attrgetter('code')),
    ('Severity', attrgetter('severity')),
    ('Subject', attrgetter('subject')),
    ('Name', attrgetter('label')),
    ('Host', attrgetter('host')),
    ('Project', attrgetter('project')),
    ('Cause', attrgetter('cause')),
    ('Fix', attrgetter('fix')),
)


def assess(
    cloud: Cloud,
    snapshot: Snapshot | None = None,
    scope: Scope | None = None,
    now_hosts: Sequence[Snapshot] = (),
    since: datetime.datetime | None = None,
    ask: bool = False,
    progress: Callable[[str], None] = lambda text: None,
) -> Assessment:
    """Compare what was with what is, and again where they differ.

    :param ask: ask the hosts themselves, too
    :raises ConfigError: they can't be reached at all
    :raises NotFound: the scope names what isn't there
    :raises DatabaseUnavailable: the API's database
    :raises RecoveryError: the snapshot is damaged, or has no servers
    """
    reader = Reader(cloud, snapshot, scope, now_hosts, since)
    found = reader.look()
    asked = None
    if ask:
        asked = fleet.read(
            cloud,
            sorted(set(found.computes) - set(found.scope.skip_hosts)),
            fleet.storage_hosts(found.services, found.scope.skip_backends),
            progress,
            saved.of_snapshot(snapshot)
            if snapshot and snapshot.has(CHAINS.name)
            else None,
        )
        found = reader.tell(found, asked)
    answer = wanted(found)
    first = findings_module.findings(found, answer)
    confirmed = _confirmed(reader, found, first)
    result = told(
        found, answer, findings_module.sort([*_notes(first), *confirmed])
    )
    more = asked.summary if asked else ()
    return dataclasses.replace(result, summary=(*result.summary, *more))


def told(
    found: Situation, answer: Answer, some: Sequence[Finding]
) -> Assessment:
    """What the command tells of these.

    :param answer: the servers that are to run, and the others
    """
    result = Assessment(
        found,
        tuple(some),
        COLUMNS,
        silent=tuple(
            f'database of {name} unavailable: {why}; what is there was not '
            'judged'
            for name, why in found.silent.items()
        ),
    )
    return dataclasses.replace(
        result, summary=(_summary(found, answer, result),)
    )


def _summary(found: Situation, answer: Answer, result: Assessment) -> str:
    """When, how much of it is down, and what was found."""
    states = collections.Counter(
        alive.judge(found, one.server).state for one in answer.servers
    )
    told = ', '.join(
        f'{states[state]} {state}'
        for state in (alive.DOWN, alive.STARTING, alive.UNPROVEN, alive.UP)
        if states[state]
    )
    down = sum(one.state != records.UP for one in found.computes.values())
    silent = ', '.join(found.silent)
    return (
        f'{_outage(found.outage)}'
        f'{f"silent: {silent}; " if silent else ""}'
        f'{down} of {len(found.computes)} computes down; '
        f'{len(answer.servers)} of {len(found.servers)} '
        f'servers are to run{f" ({told})" if told else ""}; findings: '
        f'{counted(result.counts) or "none"}'
    )


def _notes(first: Sequence[Finding]) -> list[Finding]:
    return [one for one in first if one.severity == NOTE]


def _confirmed(
    reader: Reader, found: Situation, first: Sequence[Finding]
) -> list[Finding]:
    """Those of the findings that are there at a second look too.

    What is in work when it is read differs between two snapshots.
    """
    doubtful = [one for one in first if one.severity != NOTE]
    if not doubtful:
        return []
    # that its host is down says all of a server
    by_host = {
        one
        for one in doubtful
        if one.code == findings_module.DOWN
        and found.compute(one.host) in situation.NOT_UP
    }
    others = [one for one in doubtful if one not in by_host]
    later = reader.look(
        {one.server for one in others if one.server},
        {one.volume for one in others if one.volume},
    )
    again = {
        findings_module.same(one)
        for one in findings_module.findings(later, wanted(later))
    }
    return [
        one
        for one in doubtful
        if findings_module.same(one) in again
        or (one in by_host and later.compute(one.host) in situation.NOT_UP)
    ]


def _outage(outage: Outage) -> str:
    if outage.at is None:
        return ''
    words = {
        'given': 'the power went {0}',
        'heartbeat': 'the power went about {0} (last heartbeat)',
        'snapshot': 'the snapshot was taken {0}',
    }
    at = f'{outage.at:%Y-%m-%dT%H:%M:%S}Z'
    text = words[outage.how].format(at)
    return f'{text[0].upper()}{text[1:]}; '
