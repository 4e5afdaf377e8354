# SPDX-License-Identifier: Apache-2.0

"""``backup check``: which volumes have no good backup that is young."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery.cloud.db import backup_chains
from nova_recovery.cloud.db.backup_chains import Verdict
from nova_recovery.cloud.db.backups import Inventory, Volume
from nova_recovery.procedures.backups import read
from nova_recovery.procedures.backups.read import Scope

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

COLUMNS = (
    'Project',
    'Volume',
    'Name',
    'Size',
    'Status',
    'Servers',
    'Newest Good',
    'Age',
    'Why',
)


@dataclasses.dataclass(frozen=True)
class Assessment:
    """What was found.

    :ivar verdicts: of the volumes without a good backup, by project and
        name
    :ivar counts: project -> how many volumes it has
    :ivar names: of servers, by UUID
    :ivar limit: what is older doesn't count, seconds
    """

    verdicts: tuple[tuple[Volume, Verdict], ...]
    counts: dict[str, int]
    names: dict[str, str]
    limit: float

    def rows(self) -> list[tuple[Any, ...]]:
        return [
            (
                volume.project or '',
                volume.id,
                volume.name,
                volume.size,
                volume.status,
                ', '.join(self.names.get(s, s) for s in volume.servers),
                one.newest.id if one.newest else '',
                '' if one.age is None else backup_chains.duration(one.age),
                one.why,
            )
            for volume, one in self.verdicts
        ]

    def summary(self) -> list[str]:
        """A line a project that lacks one, and one for all."""
        lacking = collections.Counter(
            volume.project or '' for volume, _ in self.verdicts
        )
        limit = backup_chains.duration(self.limit)
        told = f'no good backup younger than {limit}'
        lines = [
            f'project {project}: {count} of {self.counts[project]} volumes '
            f'have {told}'
            for project, count in sorted(lacking.items())
        ]
        total = sum(self.counts.values())
        if lacking:
            lines.append(
                f'{sum(lacking.values())} of {total} volumes have {told}'
            )
        else:
            lines.append(
                f'all {total} volumes have a good backup younger than {limit}'
            )
        return lines


def lacking(found: Inventory, limit: float) -> list[tuple[Volume, Verdict]]:
    """The volumes without a good backup, the neediest first.

    Those that never had one, then by the age of the newest.
    """
    judged = (
        (
            volume,
            backup_chains.judge(
                found.backups.get(volume.id, ()), found.now, limit
            ),
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
    return Assessment(
        tuple(sorted(without, key=lambda pair: _place(pair[0]))),
        dict(found.counts),
        read.names(cloud, (s for v, _ in without for s in v.servers)),
        limit,
    )
