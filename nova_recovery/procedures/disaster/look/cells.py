# SPDX-License-Identifier: Apache-2.0

"""What a cell has of servers that may have lost their power."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
import dataclasses
import datetime
from typing import Any

import sqlalchemy as sa

from nova_recovery.cloud.db import schema
from nova_recovery.cloud.db import servers as servers_module
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.rows import Reader, Row
from nova_recovery.procedures.disaster import situation
from nova_recovery.procedures.disaster.judge import wanted
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
    with CellReader.of(cell) as reader:
        now = reader.now()
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
            highest={table: reader.highest_id(table) for table in COUNTED},
            servers=found,
            elsewhere={
                row['uuid']: row
                for row in others
                if not row['deleted'] and not row['hidden']
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
    return servers_module.server(
        row,
        cell,
        Server,
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
    )


_COLUMNS = (*servers_module.COLUMNS, 'deleted')


_DEVICE = (
    'volume_id',
    'device_name',
    'boot_index',
    'tag',
    'delete_on_termination',
    'attachment_id',
)
_ACTION = (
    'id',
    'instance_uuid',
    'action',
    'user_id',
    'request_id',
    'start_time',
)


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is asked of each cell.

    :ivar hosts: only servers on these; None: on all
    :ivar projects: only those of these; None: of all
    :ivar since: when the outage was, where no mark tells
    :ivar marks: cell -> highest id of an action before the outage
    :ivar expected: servers that the snapshot has
    :ivar uuids: only these servers; None: all
    """

    hosts: frozenset[str] | None = None
    projects: Sequence[str] | None = None
    since: datetime.datetime | None = None
    marks: Mapping[str, int] = dataclasses.field(default_factory=dict)
    expected: frozenset[str] = frozenset()
    uuids: frozenset[str] | None = None


class CellReader(Reader):
    """One cell, in one snapshot."""

    def mark(self, asked: Asked) -> tuple[int, str]:
        """The highest id of an action before the outage; how it is known."""
        given = asked.marks.get(self.database.name)
        if given is not None:
            return given, situation.BY_SNAPSHOT
        by_time = self._by_time(asked)
        if by_time is not None:
            return by_time, situation.BY_TIME
        return self.highest_id('instance_actions'), situation.BY_NOW

    def before_outage(self, asked: Asked, mark: int) -> int:
        """The highest id of what was asked for when the power was there.

        A snapshot may be a day older, and what its mark leaves out still
        tells who shall run: so this is another one.
        """
        return max(mark, self._by_time(asked) or 0)

    def _by_time(self, asked: Asked) -> int | None:
        if asked.since is None or not self.database.tables.has(
            'instance_actions', 'start_time'
        ):
            return None
        table = self.database.tables['instance_actions']
        found = self.connection.execute(
            # backwards, no further than the outage
            sa.select(table.c.id)
            .where(table.c.start_time < asked.since)
            .order_by(table.c.id.desc())
            .limit(1)
        ).scalar()
        return int(found or 0)

    def highest_id(self, name: str) -> int:
        return int(self.highest(name) or 0)

    def servers(self, asked: Asked) -> list[Row]:
        where = None
        if asked.projects is not None:
            project = self.database.tables['instances'].c.project_id
            where = project.in_(list(asked.projects))
        by, values = 'host', asked.hosts
        if asked.uuids is not None:
            by, values = 'uuid', asked.uuids
        return [
            row
            for row in self.select('instances', _COLUMNS, by, values, where)
            # MySQL compares without regard to case or trailing blanks
            if (asked.hosts is None or row['host'] in asked.hosts)
            and not row['hidden']
        ]

    def by_uuid(self, uuids: Collection[str]) -> list[Row]:
        """Live or deleted."""
        return list(
            self.select('instances', _COLUMNS, 'uuid', uuids, deleted=True)
        )

    def metadata(self, servers: Collection[str]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        table, by = 'instance_metadata', 'instance_uuid'
        if not self.database.tables.has(table, by):
            return found
        for row in self.select(table, (by, 'key', 'value'), by, servers):
            own = found.setdefault(row[by], {})
            own[row['key']] = row['value'] or ''
        return found

    def devices(
        self, servers: Mapping[str, Row]
    ) -> dict[str, tuple[Device, ...]]:
        """The volumes of each server, in the order of devices."""
        table = self.database.tables['block_device_mapping']
        # Essex: by the id of the server, of which a volume's is no UUID
        by = 'instance_uuid' if 'instance_uuid' in table.c else 'instance_id'
        owners: dict[Any, str] = {
            uuid if by == 'instance_uuid' else row['id']: uuid
            for uuid, row in servers.items()
        }
        found: dict[str, list[Device]] = {}
        for row in self.select(
            table.name,
            (by, *_DEVICE),
            by,
            owners,
            table.c.volume_id.is_not(None),
        ):
            uuid = owners[row[by]]
            root = servers[uuid]['root_device_name']
            found.setdefault(uuid, []).append(
                Device(
                    server=uuid,
                    volume=str(row['volume_id']),
                    device=row['device_name'],
                    root=row['boot_index'] == 0
                    if row['boot_index'] is not None
                    # up to Havana only the server says it
                    else root is not None and row['device_name'] == root,
                    tag=row['tag'],
                    delete_on_termination=bool(row['delete_on_termination']),
                    attachment=row['attachment_id'],
                )
            )
        return {
            uuid: tuple(
                sorted(
                    some,
                    key=lambda one: (
                        len(one.device or ''),
                        one.device or '',
                        one.volume,
                    ),
                )
            )
            for uuid, some in found.items()
        }

    def actions(
        self, mark: int, servers: Collection[str]
    ) -> dict[str, tuple[Action, ...]]:
        """What was asked of servers above the mark, oldest first."""
        if not self.database.tables.has('instance_actions', 'request_id'):
            return {}
        number = self.database.tables['instance_actions'].c.id
        own = [
            row
            for row in self.select(
                'instance_actions', _ACTION, where=number > mark
            )
            if row['instance_uuid'] in servers
        ]
        results = self._results([row['id'] for row in own])
        found: dict[str, list[Action]] = {}
        for row in sorted(own, key=lambda row: int(row['id'])):
            found.setdefault(row['instance_uuid'], []).append(
                servers_module.action(row, results.get(row['id']))
            )
        return {uuid: tuple(some) for uuid, some in found.items()}

    def earlier(
        self, mark: int, servers: Collection[str]
    ) -> dict[str, Action]:
        """The newest up to the mark that has to do with running."""
        if not servers:
            return {}
        table = self.database.tables['instance_actions']
        where = sa.and_(
            table.c.id <= mark,
            table.c.action.in_(sorted(wanted.STARTS | wanted.ENDS)),
        )
        found: dict[str, Action] = {}
        for row in sorted(
            self.select(table.name, _ACTION, 'instance_uuid', servers, where),
            key=lambda row: int(row['id']),
        ):
            found[row['instance_uuid']] = servers_module.action(row)
        return found

    def _results(self, actions: Collection[int]) -> dict[int, str | None]:
        return {
            action: some[-1]['result']
            for action, some in self.grouped(
                'instance_actions_events', 'action_id', actions, ('result',)
            ).items()
        }
