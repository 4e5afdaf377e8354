# SPDX-License-Identifier: Apache-2.0

"""What is wrong with what tells: the snapshot, cells, services."""

from __future__ import annotations

from collections.abc import Iterator

from nova_recovery.procedures.disaster import situation
from nova_recovery.procedures.disaster.judge.finding import (
    DANGER,
    Finding,
    NOTE,
    STALE,
)
from nova_recovery.procedures.disaster.situation import Situation


def findings(found: Situation) -> Iterator[Finding]:
    """What stands between the operator and the truth, or the servers."""
    yield from _snapshot(found)
    yield from _cells(found)
    yield from _services(found)


def _snapshot(found: Situation) -> Iterator[Finding]:
    recorded = found.recorded
    if recorded is None:
        more = (
            f'what nova stopped since {found.outage.at:%Y-%m-%dT%H:%M:%S}Z '
            'counts as having run'
            if found.outage.how == 'given'
            else 'what nova has stopped by itself can not be told from what '
            'its owner stopped (--since tells)'
        )
        yield Finding(
            'SNAP-NONE',
            NOTE,
            'snapshot',
            f'there is none: what ran is what the databases say; {more}',
        )
        return
    at, taken = found.outage.at, recorded.taken_at
    late = recorded.why_dark
    given = found.outage.how == 'given'
    if not late and given and at and taken and taken > at:
        late = f'it was taken {taken:%Y-%m-%dT%H:%M:%S}Z'
    if late:
        yield Finding(
            'SNAP-LATE',
            DANGER,
            'snapshot',
            f'{late}: after the power went. What nova has stopped before '
            'passes for stopped on purpose',
            name=recorded.path,
            fix='openstack recovery snapshot list',
        )
    for cell in sorted(set(found.marks) - recorded.cells):
        yield Finding(
            'SNAP-PART',
            STALE,
            f'cell:{cell}',
            'the snapshot does not have its servers: of them, what ran is '
            'what the database says',
            name=cell,
        )


def _cells(found: Situation) -> Iterator[Finding]:
    for cell, why in found.silent.items():
        yield Finding(
            'CELL-SILENT',
            DANGER,
            f'cell:{cell}',
            f'its database does not answer ({why}): what ran there is not '
            'known, and not judged',
            name=cell,
            fix='openstack recovery config check',
        )
    for cell in found.disabled:
        yield Finding(
            'CELL-DISABLED',
            NOTE,
            f'cell:{cell}',
            'it is disabled, and was not read',
            name=cell,
        )
    markers = found.recorded.markers if found.recorded else {}
    for cell, highest in found.highest.items():
        behind = [
            f'{table} {highest[table]} < {number}'
            for table, number in sorted(markers.get(cell, {}).items())
            if highest.get(table, number) < number
        ]
        if behind:
            yield Finding(
                'CELL-OLDER',
                DANGER,
                f'cell:{cell}',
                'its database is older than the snapshot: the highest ids '
                f'are lower than they were ({", ".join(behind)})',
                name=cell,
                fix='openstack recovery disaster assess --ready',
            )


def _services(found: Situation) -> Iterator[Finding]:
    for one in (*found.computes.values(), *found.services):
        compute = one.host if one.host in found.computes else ''
        code = 'HOST' if one is found.computes.get(one.host) else 'SVC'
        subject = (
            f'host:{one.host}'
            if code == 'HOST'
            else f'service:{one.binary}@{one.host}'
        )
        seen = f'{one.last_seen:%Y-%m-%dT%H:%M:%S}Z' if one.last_seen else ''
        disabled = '; it is disabled' if one.disabled else ''
        skipped = found.scope.skip_hosts.get(compute, '')
        if one.state == situation.FORCED_DOWN:
            yield Finding(
                'HOST-FORCED',
                NOTE,
                subject,
                'nova-compute was forced down by somebody: its servers may '
                'have been evacuated, and nothing is sent there',
                name=one.host,
                fix=f'openstack recovery server list --host {one.host}',
            )
        elif one.state == situation.DOWN:
            yield Finding(
                f'{code}-DOWN',
                NOTE if one.disabled or skipped else STALE,
                subject,
                f'{one.binary} sent no heartbeat since {seen or "ever"}'
                f'{disabled}{f"; skipped: {skipped}" if skipped else ""}',
                name=one.host,
                fix=f'systemctl start {one.binary}',
                host=compute,
            )
        elif one.state == situation.UNKNOWN:
            yield Finding(
                f'{code}-CLOCK',
                STALE,
                subject,
                f'the last heartbeat of {one.binary} is of the future '
                f'({seen}): a clock is wrong, and whether it is up is not '
                'known',
                name=one.host,
                fix='chronyc tracking',
                host=compute,
            )
