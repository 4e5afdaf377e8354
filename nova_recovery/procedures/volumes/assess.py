# SPDX-License-Identifier: Apache-2.0

"""``volume check``: every difference between nova and cinder, twice seen."""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses
from operator import attrgetter
from typing import TYPE_CHECKING

from nova_recovery.engine import findings
from nova_recovery.engine.findings import Assessment, Columns
from nova_recovery.procedures.volumes import policy, read
from nova_recovery.procedures.volumes.read import Scope
from nova_recovery.procedures.volumes.situation import BothSides, Mismatch

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud


def columns(found: BothSides) -> Columns:
    """The table of ``volume check``."""

    def project(one: Mismatch) -> str:
        volume = found.volumes.get(one.volume)
        if volume is not None:
            return volume.project or ''
        server = found.servers.get(one.server)
        return (server.project or '') if server else ''

    return (
        ('Code', attrgetter('code')),
        ('Severity', attrgetter('severity')),
        ('Volume', attrgetter('volume')),
        ('Status', attrgetter('status')),
        ('Server ID', attrgetter('server')),
        ('Server', lambda one: found.name(one.server) if one.server else ''),
        ('Project', project),
        ('Cause', attrgetter('cause')),
        ('Fix', attrgetter('fix')),
    )


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
    confirmed = [
        one for one in _in_scope(found, first, scope) if _key(one) in again
    ]
    confirmed.sort(
        key=lambda one: (
            findings.SEVERITIES.index(one.severity),
            one.code,
            one.volume,
            one.server,
        )
    )
    return told(found, confirmed)


def told(found: BothSides, some: Iterable[Mismatch]) -> Assessment:
    """What the command tells of these."""
    result = Assessment(
        found,
        tuple(some),
        columns(found),
        silent=tuple(
            f'database of {name} unavailable: {why}; volumes of its servers '
            'were not judged'
            for name, why in found.silent.items()
        ),
    )
    summary = (
        f'{len(found.volumes)} volumes and {len(found.mappings)} mappings of '
        f'{len({m.server for m in found.mappings})} servers: '
        f"{findings.counted(result.counts) or 'all consistent'}. Nova's "
        "mappings were compared with cinder's attachments; what the hosts "
        'really have connected was not looked at.'
    )
    return dataclasses.replace(result, summary=(summary,))


def _key(one: Mismatch) -> tuple[str, str, str]:
    return one.code, one.volume, one.server


def _in_scope(
    found: BothSides, some: Iterable[Mismatch], scope: Scope
) -> list[Mismatch]:
    """Of a volume that several servers have, only what is asked for."""
    kept = []
    for one in some:
        if scope.server and one.server not in ('', scope.server):
            continue
        server = found.servers.get(one.server)
        if scope.host and server and server.host != scope.host:
            continue
        kept.append(one)
    return kept
