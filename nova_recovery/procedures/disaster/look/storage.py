# SPDX-License-Identifier: Apache-2.0

"""Both sides of the volumes of servers, or why they are not known."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa

from nova_recovery.cloud.db import schema
from nova_recovery.exceptions import (
    ConfigError,
    DatabaseUnavailable,
    SchemaUnknown,
)
from nova_recovery.procedures.disaster.situation import Device
from nova_recovery.procedures.volumes import read as volumes_read

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.cloud.db.database import Database
    from nova_recovery.procedures.volumes import situation as volumes_module

#: Both sides of volumes; None: not known, and why.
Both = tuple['volumes_module.Situation | None', str]

#: Why volumes may not be known, when everything else is.
_NO_VOLUMES = (ConfigError, DatabaseUnavailable, SchemaUnknown)


def of_servers(
    cloud: Cloud,
    servers: Collection[str],
    gone: Collection[str],
    devices: Mapping[str, Sequence[Device]],
    only: Collection[str] | None = None,
) -> Both:
    """Both sides of the volumes that servers have, or had.

    :param gone: servers that are no more
    :param devices: server -> what it has, or had
    :param only: nothing but these volumes
    """
    if only is not None:
        return both_sides(cloud, only, servers)
    ids = {device.volume for some in devices.values() for device in some}
    try:
        ids |= _attached(volumes_read.cinder(cloud), {*servers, *gone})
    except _NO_VOLUMES as error:
        return None, str(error)
    return both_sides(cloud, ids, servers)


def both_sides(
    cloud: Cloud, ids: Collection[str] | None, servers: Collection[str]
) -> Both:
    """Both sides of volumes; None for all of them."""
    try:
        return volumes_read.both_sides(cloud, ids, servers), ''
    except _NO_VOLUMES as error:
        return None, str(error)


def _attached(cinder: Database, servers: set[str]) -> set[str]:
    """The volumes that cinder has attached to servers.

    Read whole: no index leads from a server to its attachments.
    """
    schema.require(cinder, 'volume-attachment')
    table = cinder.tables['volume_attachment']
    with cinder.reader() as connection:
        return {
            volume
            for volume, server in connection.execute(
                sa.select(table.c.volume_id, table.c.instance_uuid).where(
                    schema.live(table), table.c.instance_uuid.is_not(None)
                )
            )
            if server in servers
        }
