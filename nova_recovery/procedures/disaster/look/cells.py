# SPDX-License-Identifier: Apache-2.0

"""What a cell has of servers that may have lost their power."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import datetime

import sqlalchemy as sa

from nova_recovery.cloud.db import schema
from nova_recovery.cloud.db.database import Database
from nova_recovery.procedures.disaster.judge import wanted
from nova_recovery.procedures.disaster.look.cell_rows import Asked, Reader, Row
from nova_recovery.procedures.disaster.situation import (
    Action,
    Before,
    Device,
    Server,
)

#: Tables that only grow: lower numbers than before mean an older database.
COUNTED = ('instances', 'instance_actions', 'migrations')


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a cell has.

    :ivar before_outage: see ``situation.Situation``
    :ivar servers: live ones of the scope, by UUID
    :ivar elsewhere: expected ones that are live, out of the scope
    :ivar deleted: expected ones that are deleted
    """

    now: datetime.datetime
    mark: int
    marked: str
    before_outage: int
    highest: Mapping[str, int]
    servers: Mapping[str, Row]
    elsewhere: Mapping[str, Row]
    deleted: frozenset[str]
    metadata: Mapping[str, Mapping[str, str]]
    devices: Mapping[str, tuple[Device, ...]]
    actions: Mapping[str, tuple[Action, ...]]
    earlier: Mapping[str, Action]


def read(cell: Database, asked: Asked) -> Answer:
    """The servers of a scope in a cell, and what was asked of them since.

    :raises DatabaseUnavailable: it doesn't answer
    :raises SchemaUnknown: it has no servers with UUIDs
    """
    schema.require(cell, 'servers')
    with cell.reader() as connection:
        reader = Reader(cell, connection)
        now: datetime.datetime = connection.execute(
            sa.select(sa.func.utc_timestamp())
        ).scalar_one()
        mark, marked = reader.mark(asked)
        found = {row['uuid']: row for row in reader.servers(asked)}
        missing = asked.expected - set(found)
        others = list(reader.by_uuid(missing))
        actions = reader.actions(mark, found)
        return Answer(
            now=now,
            mark=mark,
            marked=marked,
            before_outage=reader.before_outage(asked, mark),
            highest={table: reader.highest(table) for table in COUNTED},
            servers=found,
            elsewhere={
                row['uuid']: row
                for row in others
                if not row['deleted'] and not row.get('hidden')
            },
            deleted=frozenset(r['uuid'] for r in others if r['deleted']),
            metadata=reader.metadata(found),
            devices=reader.devices(found),
            actions=actions,
            earlier=reader.earlier(
                mark,
                [
                    uuid
                    for uuid, some in actions.items()
                    if uuid not in asked.expected
                    and found[uuid]['vm_state'] == 'stopped'
                    and wanted.last_power(some) is not None
                ],
            ),
        )


def server(
    row: Row,
    cell: str,
    zone: str,
    group: str | None,
    before: Before | None,
    answer: Answer,
) -> Server:
    """The record of a row."""
    uuid = row['uuid']
    return Server(
        uuid=uuid,
        name=row['display_name'] or '',
        cell=cell,
        host=row['host'],
        node=row.get('node'),
        vm_state=row['vm_state'] or '',
        power_state=row['power_state'],
        task_state=row['task_state'],
        project=row['project_id'] or '',
        zone=zone,
        metadata=answer.metadata.get(uuid, {}),
        group=group,
        boots_from_volume=any(
            device.root for device in answer.devices.get(uuid, ())
        ),
        before=before,
        newest=answer.actions.get(uuid, ()),
        earlier=answer.earlier.get(uuid),
        image=row.get('image_ref') or None,
        root_device=row.get('root_device_name') or None,
    )
