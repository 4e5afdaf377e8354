# SPDX-License-Identifier: Apache-2.0

"""Availability zones and server groups, from nova's API database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from nova_recovery.cloud.db.database import Database


def zones(api: Database, default: str) -> dict[str, str]:
    """The availability zone of each host that is in an aggregate with one.

    :param default: ``[DEFAULT]default_availability_zone``, for the others
        (they are not in the answer)
    :returns: host -> zone
    """
    hosts = api.tables['aggregate_hosts']
    metadata = api.tables['aggregate_metadata']
    with api.reader() as connection:
        found = connection.execute(
            sa.select(hosts.c.host, metadata.c.value)
            .join(metadata, metadata.c.aggregate_id == hosts.c.aggregate_id)
            .where(metadata.c.key == 'availability_zone')
        )
        return {row[0]: row[1] or default for row in found}


def groups(api: Database, servers: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The server groups of servers.

    :returns: server uuid -> {'policy', 'members': uuids of the others}
    """
    wanted = list(servers)
    member = api.tables['instance_group_member']
    policy = api.tables['instance_group_policy']
    with api.reader() as connection:
        mine = connection.execute(
            sa.select(member.c.instance_uuid, member.c.group_id).where(
                member.c.instance_uuid.in_(wanted)
            )
        ).all()
        ids = [row[1] for row in mine]
        policies = {
            row[0]: row[1]
            for row in connection.execute(
                sa.select(policy.c.group_id, policy.c.policy).where(
                    policy.c.group_id.in_(ids)
                )
            )
        }
        members: dict[int, list[str]] = {}
        for uuid, group in connection.execute(
            sa.select(member.c.instance_uuid, member.c.group_id).where(
                member.c.group_id.in_(ids)
            )
        ):
            members.setdefault(group, []).append(uuid)
    return {
        uuid: {
            'policy': policies.get(group, ''),
            'members': [m for m in members[group] if m != uuid],
        }
        for uuid, group in mine
    }
