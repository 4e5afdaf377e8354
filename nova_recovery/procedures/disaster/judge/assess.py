# SPDX-License-Identifier: Apache-2.0

"""``disaster assess``: what the power loss did, twice seen."""

from __future__ import annotations

import collections
from collections.abc import Sequence
import dataclasses
import datetime
from typing import Any, TYPE_CHECKING

from nova_recovery.procedures.disaster import situation
from nova_recovery.procedures.disaster.judge import alive
from nova_recovery.procedures.disaster.judge import finding as finding_module
from nova_recovery.procedures.disaster.judge import findings as findings_module
from nova_recovery.procedures.disaster.judge.finding import Finding
from nova_recovery.procedures.disaster.judge.wanted import Answer, wanted
from nova_recovery.procedures.disaster.look.read import Reader
from nova_recovery.procedures.disaster.scope import Scope
from nova_recovery.procedures.disaster.situation import Outage, Situation

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.snapshot.reading import Snapshot

COLUMNS = (
    'Code',
    'Severity',
    'Subject',
    'Name',
    'Host',
    'Project',
    'Cause',
    'Fix',
)


@dataclasses.dataclass(frozen=True)
class Assessment:
    """What was found.

    :ivar found: the situation of the first look
    :ivar answer: the servers that are to run, and the others
    :ivar findings: those that a second look confirmed, the gravest first
    """

    found: Situation
    answer: Answer
    findings: tuple[Finding, ...]

    @property
    def consistent(self) -> bool:
        """Nothing but notes."""
        return all(
            one.severity == finding_module.NOTE for one in self.findings
        )

    def rows(self) -> list[tuple[Any, ...]]:
        return [
            (
                one.code,
                one.severity,
                one.subject,
                one.name,
                one.host,
                one.project,
                one.cause,
                one.fix,
            )
            for one in self.findings
        ]

    def summary(self) -> str:
        """One line: when, how much of it is down, and what was found."""
        states = collections.Counter(
            alive.judge(self.found, one.server).state
            for one in self.answer.servers
        )
        told = ', '.join(
            f'{states[state]} {state}'
            for state in (alive.DOWN, alive.STARTING, alive.UNPROVEN, alive.UP)
            if states[state]
        )
        down = sum(
            one.state != situation.UP for one in self.found.computes.values()
        )
        counts = collections.Counter(one.severity for one in self.findings)
        found = ', '.join(
            f'{counts[name]} {name}'
            for name in finding_module.SEVERITIES
            if counts[name]
        )
        silent = ', '.join(self.found.silent)
        return (
            f'{_outage(self.found.outage)}'
            f'{f"silent: {silent}; " if silent else ""}'
            f'{down} of {len(self.found.computes)} computes down; '
            f'{len(self.answer.servers)} of {len(self.found.servers)} '
            f'servers are to run{f" ({told})" if told else ""}; findings: '
            f'{found or "none"}'
        )


def assess(
    cloud: Cloud,
    snapshot: Snapshot | None = None,
    scope: Scope | None = None,
    now_hosts: Sequence[Snapshot] = (),
    since: datetime.datetime | None = None,
) -> Assessment:
    """Compare what was with what is, and again where they differ.

    :raises NotFound: the scope names what isn't there
    :raises DatabaseUnavailable: the API's database
    :raises RecoveryError: the snapshot is damaged, or has no servers
    """
    reader = Reader(cloud, snapshot, scope, now_hosts, since)
    found = reader.look()
    answer = wanted(found)
    first = findings_module.findings(found, answer)
    confirmed = _confirmed(reader, found, first)
    return Assessment(
        found,
        answer,
        tuple(findings_module.sort([*_notes(first), *confirmed])),
    )


def _notes(first: Sequence[Finding]) -> list[Finding]:
    return [one for one in first if one.severity == finding_module.NOTE]


def _confirmed(
    reader: Reader, found: Situation, first: Sequence[Finding]
) -> list[Finding]:
    """Those of the findings that are there at a second look too.

    What is in work when it is read differs between two snapshots.
    """
    doubtful = [one for one in first if one.severity != finding_module.NOTE]
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
