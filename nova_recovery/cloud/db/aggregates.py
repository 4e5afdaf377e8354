# SPDX-License-Identifier: Apache-2.0

"""Availability zones and server groups, from nova's API database."""

from __future__ import annotations

from collections.abc import Iterable
import json
from typing import Any

import sqlalchemy as sa

from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.rows import Reader


def zones(api: Database, default: str) -> dict[str, str]:
    """The availability zone of each host that is in an aggregate with one.

    :param default: ``[DEFAULT]default_availability_zone``, for the others
        (they are not in the answer)
    :returns: host -> zone
    """
    hosts = api.tables['aggregate_hosts']
    metadata = api.tables['aggregate_metadata']
    query = (
        sa.select(hosts.c.host, metadata.c.value)
        .join(metadata, metadata.c.aggregate_id == hosts.c.aggregate_id)
        .where(metadata.c.key == 'availability_zone')
    )
    with Reader.of(api) as reader:
        return {host: zone or default for host, zone in reader.fetch(query)}


def groups(api: Database, servers: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The server groups of servers.

    :returns: server uuid -> {'policy', 'most': how many of an anti-affinity
        group one host may have (``max_server_per_host``), 'members': uuids
        of the others}
    """
    member, own, group = 'instance_group_member', 'instance_uuid', 'group_id'
    with Reader.of(api) as reader:
        mine = {
            row[own]: row[group]
            for row in reader.select(member, (own, group), own, servers)
        }
        ids = set(mine.values())
        policies = {
            row[group]: (row['policy'], _most(row['rules']))
            for row in reader.select(
                'instance_group_policy', (group, 'policy', 'rules'), group, ids
            )
        }
        members = reader.grouped(member, group, ids, (own,))
    return {
        uuid: {
            'policy': policies.get(number, ('', 1))[0],
            'most': policies.get(number, ('', 1))[1],
            'members': [
                row[own] for row in members[number] if row[own] != uuid
            ],
        }
        for uuid, number in mine.items()
    }


def _most(rules: str | None) -> int:
    """The rule of an anti-affinity group, since Rocky; 1 where there is none.

    As text of JSON, whose number may be a string (InstanceGroup.rules in
    nova/objects/instance_group.py).
    """
    try:
        return max(1, int(json.loads(rules or '{}')['max_server_per_host']))
    except (KeyError, TypeError, ValueError):
        return 1
