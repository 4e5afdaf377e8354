# SPDX-License-Identifier: Apache-2.0

"""``volume check``: every difference between nova and cinder, twice seen."""

from __future__ import annotations

import collections
from collections.abc import Iterable
import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery.procedures.volumes import policy, read, situation
from nova_recovery.procedures.volumes.read import Scope
from nova_recovery.procedures.volumes.situation import Finding, Situation

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

COLUMNS = (
    'Code',
    'Severity',
    'Volume',
    'Status',
    'Server ID',
    'Server',
    'Project',
    'Cause',
    'Fix',
)


@dataclasses.dataclass(frozen=True)
class Assessment:
    """What was found.

    :ivar found: the situation of the first look
    :ivar findings: those that a second look confirmed, the gravest first
    """

    found: Situation
    findings: tuple[Finding, ...]

    @property
    def consistent(self) -> bool:
        """Nothing but notes."""
        return all(f.severity == situation.NOTE for f in self.findings)

    def rows(self) -> list[tuple[Any, ...]]:
        return [
            (
                one.code,
                one.severity,
                one.volume,
                one.status,
                one.server,
                self.found.name(one.server) if one.server else '',
                self._project(one),
                one.cause,
                one.fix,
            )
            for one in self.findings
        ]

    def summary(self) -> str:
        """One line on what was looked at and what was not."""
        counts = collections.Counter(one.severity for one in self.findings)
        told = ', '.join(
            f'{counts[name]} {name}'
            for name in situation.SEVERITIES
            if counts[name]
        )
        return (
            f'{len(self.found.volumes)} volumes and '
            f'{len(self.found.mappings)} mappings of '
            f'{len({m.server for m in self.found.mappings})} servers: '
            f"{told or 'all consistent'}. Nova's mappings were compared with "
            "cinder's attachments; what the hosts really have connected was "
            'not looked at.'
        )

    def _project(self, one: Finding) -> str:
        volume = self.found.volumes.get(one.volume)
        if volume is not None:
            return volume.project or ''
        server = self.found.servers.get(one.server)
        return (server.project or '') if server else ''


def assess(cloud: Cloud, scope: Scope) -> Assessment:
    """Look at volumes on both sides, and again where they differ.

    :raises DatabaseUnavailable: cinder, or for a scope any cell
    """
    ids = read.of_scope(cloud, scope)
    found = read.both_sides(cloud, ids)
    first = policy.findings(found)
    doubtful = {one.volume for one in first}
    again: set[tuple[str, str, str]] = set()
    if doubtful:
        # What is in work when it is read differs between two snapshots.
        second = policy.findings(read.both_sides(cloud, doubtful))
        again = {_key(one) for one in second}
    return Assessment(
        found,
        tuple(
            sorted(
                (
                    one
                    for one in _in_scope(found, first, scope)
                    if _key(one) in again
                ),
                key=lambda one: (
                    situation.SEVERITIES.index(one.severity),
                    one.code,
                    one.volume,
                    one.server,
                ),
            )
        ),
    )


def _key(one: Finding) -> tuple[str, str, str]:
    return one.code, one.volume, one.server


def _in_scope(
    found: Situation, findings: Iterable[Finding], scope: Scope
) -> list[Finding]:
    """Of a volume that several servers have, only what is asked for."""
    kept = []
    for one in findings:
        if scope.server and one.server not in ('', scope.server):
            continue
        server = found.servers.get(one.server)
        if scope.host and server and server.host != scope.host:
            continue
        kept.append(one)
    return kept
