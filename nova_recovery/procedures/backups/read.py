# SPDX-License-Identifier: Apache-2.0

"""Volumes and backups of a scope, and what the APIs say of services."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
import dataclasses
from typing import TYPE_CHECKING

from nova_recovery.cloud.db import backups, compute_hosts
from nova_recovery.cloud.db.backups import Inventory
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import divide
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.cloud.records import Service
from nova_recovery.exceptions import ApiUnavailable, NotFound
from nova_recovery.procedures.volumes import read as volumes_read

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud


@dataclasses.dataclass(frozen=True)
class Scope:
    """Whose volumes; all None is the whole cloud.

    :ivar project: ID
    :ivar host: compute host, to the letter
    :ivar server: UUID
    :ivar volumes: UUIDs; () is no limit
    """

    project: str | None = None
    host: str | None = None
    server: str | None = None
    volumes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Outside:
    """What cinder's API says.

    :ivar project: ID of the caller's: the backups will be its own
    :ivar room: how many backups and how many GiB the quota of that project
        leaves; None: no limit
    """

    backup: tuple[Service, ...]
    volume: tuple[Service, ...]
    project: str
    room: Mapping[str, int | None]


def inventory(
    cloud: Cloud, scope: Scope, limit: float, whole: bool = False
) -> Inventory:
    """The volumes of a scope that may lack a good backup, and backups.

    :param limit: what is older doesn't count, seconds
    :param whole: all backups of these volumes
    :raises DatabaseUnavailable: cinder's; for a host or server any cell's
    :raises NotFound: a volume, a host or a project that isn't there
    """
    cinder = volumes_read.cinder(cloud)
    ids: Collection[str] | None = scope.volumes or None
    if scope.host or scope.server:
        if scope.host:
            compute_hosts.cell_of(cloud.databases, scope.host)
        ids = volumes_read.of_scope(
            cloud, volumes_read.Scope(scope.host, scope.server)
        )
    if ids is None:
        found = backups.lacking(cinder, limit, scope.project, whole)
    else:
        found = backups.of_cinder(cinder, ids)
    missing = sorted(set(scope.volumes) - set(found.volumes))
    if missing:
        raise NotFound(
            f'cinder has no volume {", ".join(missing)}, or nothing is in it '
            'yet'
        )
    if scope.project and not found.counts:
        raise NotFound(f'project {scope.project} has no volumes; give its ID')
    return found


def names(cloud: Cloud, servers: Iterable[str]) -> dict[str, str]:
    """The names of servers, by UUID; of cells that answer."""
    wanted = sorted(set(servers))
    if not wanted:
        return {}

    def ask(cell: Database) -> dict[str, str]:
        with Reader.of(cell) as reader:
            return {
                row['uuid']: row['display_name'] or row['uuid']
                for row in reader.select(
                    'instances', ('uuid', 'display_name'), 'uuid', wanted
                )
            }

    answers, _ = divide(cloud.databases.each_cell(ask))
    merged: dict[str, str] = {}
    for answer in answers.values():
        merged |= answer
    return merged


def outside(cloud: Cloud) -> Outside | str:
    """What cinder's API says, or why it says nothing."""
    try:
        volume = cloud.volume
        project = str(cloud.connection.session.get_project_id())
        return Outside(
            backup=tuple(map(_service, volume.services('cinder-backup'))),
            volume=tuple(map(_service, volume.services('cinder-volume'))),
            project=project,
            room=volume.backup_room(project),
        )
    except (ApiUnavailable, NotFound) as error:
        return str(error)


def _service(row: Mapping[str, str]) -> Service:
    return Service(
        binary=row['binary'],
        host=row['host'],
        cell='cinder',
        zone=row['zone'],
        disabled=row['status'] != 'enabled',
        state=row['state'],
    )
