# SPDX-License-Identifier: Apache-2.0

"""``backup check``: which volumes have no good backup that is young."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from nova_recovery.cloud.db import backups
from nova_recovery.cloud.db.backups import Inventory, Verdict, Volume
from nova_recovery.engine.findings import (
    Assessment,
    Columns,
    DANGER,
    Finding,
    STALE,
)
from nova_recovery.procedures.backups import read
from nova_recovery.procedures.backups.read import Scope

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

COLUMNS: Columns = (
    ('Project', attrgetter('project')),
    ('Volume', attrgetter('volume')),
    ('Name', attrgetter('label')),
    *(
        (header, lambda one, key=header: one.more[key])
        for header in ('Size', 'Status', 'Servers', 'Newest Good', 'Age')
    ),
    ('Why', attrgetter('cause')),
)


def lacking(found: Inventory, limit: float) -> list[tuple[Volume, Verdict]]:
    """The volumes without a good backup, the neediest first.

    Those that never had one, then by the age of the newest.
    """
    judged = (
        (
            volume,
            backups.judge(found.backups.get(volume.id, ()), found.now, limit),
        )
        for volume in found.volumes.values()
    )
    return sorted(
        ((volume, one) for volume, one in judged if not one.good),
        key=lambda pair: (
            pair[1].age is not None,
            -(pair[1].age or 0),
            *_place(pair[0]),
        ),
    )


def _place(volume: Volume) -> tuple[str, str, str]:
    return volume.project or '', volume.name, volume.id


def assess(cloud: Cloud, scope: Scope, limit: float) -> Assessment:
    """Look at the volumes of a scope.

    :raises DatabaseUnavailable: cinder's; for a host or server any cell's
    """
    found = read.inventory(cloud, scope, limit)
    without = lacking(found, limit)
    names = read.names(cloud, (s for v, _ in without for s in v.servers))
    return Assessment(
        found,
        tuple(
            _finding(volume, one, names)
            for volume, one in sorted(without, key=lambda two: _place(two[0]))
        ),
        COLUMNS,
        tuple(_summary(found.counts, without, limit)),
    )


def _finding(
    volume: Volume, one: Verdict, names: Mapping[str, str]
) -> Finding:
    """A volume without a good backup.

    :param names: of servers, by UUID
    """
    return Finding(
        'BACKUP-OLD' if one.newest else 'BACKUP-NONE',
        STALE if one.newest else DANGER,
        f'volume:{volume.id}',
        one.why,
        label=volume.name,
        project=volume.project or '',
        volume=volume.id,
        more={
            'Size': volume.size,
            'Status': volume.status,
            'Servers': ', '.join(names.get(s, s) for s in volume.servers),
            'Newest Good': one.newest.id if one.newest else '',
            'Age': '' if one.age is None else backups.duration(one.age),
        },
    )


def _summary(
    counts: Mapping[str, int],
    without: Sequence[tuple[Volume, Verdict]],
    limit: float,
) -> Iterator[str]:
    """A line a project that lacks one, and one for all.

    :param counts: project -> how many volumes it has
    """
    age = backups.duration(limit)
    told = f'no good backup younger than {age}'
    lack = collections.Counter(volume.project or '' for volume, _ in without)
    for project, count in sorted(lack.items()):
        yield (
            f'project {project}: {count} of {counts[project]} volumes have '
            f'{told}'
        )
    total = sum(counts.values())
    if lack:
        yield f'{sum(lack.values())} of {total} volumes have {told}'
    else:
        yield f'all {total} volumes have a good backup younger than {age}'
