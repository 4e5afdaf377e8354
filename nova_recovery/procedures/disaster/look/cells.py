# SPDX-License-Identifier: Apache-2.0

"""What a cell has of servers that may have lost their power."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
import dataclasses
import datetime
from typing import Any

import sqlalchemy as sa

from nova_recovery.cloud.db import facts, schema
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.volumes import selected
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


Row = Mapping[str, Any]

_COLUMNS = (
    'id',
    'uuid',
    'display_name',
    'host',
    'node',
    'vm_state',
    'power_state',
    'task_state',
    'project_id',
    'availability_zone',
    'root_device_name',
    'image_ref',
    'hidden',
    'deleted',
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


class Reader:
    """One cell, in one snapshot."""

    def __init__(
        self, cell: Database, connection: sa.engine.Connection
    ) -> None:
        self._cell, self._connection = cell, connection

    def mark(self, asked: Asked) -> tuple[int, str]:
        """The highest id of an action before the outage; how it is known."""
        given = asked.marks.get(self._cell.name)
        if given is not None:
            return given, situation.BY_SNAPSHOT
        by_time = self._by_time(asked)
        if by_time is not None:
            return by_time, situation.BY_TIME
        return self.highest('instance_actions'), situation.BY_NOW

    def before_outage(self, asked: Asked, mark: int) -> int:
        """The highest id of what was asked for when the power was there.

        A snapshot may be a day older, and what its mark leaves out still
        tells who shall run: so this is another one.
        """
        return max(mark, self._by_time(asked) or 0)

    def _by_time(self, asked: Asked) -> int | None:
        if asked.since is None or not self._cell.tables.has(
            'instance_actions', 'start_time'
        ):
            return None
        table = self._cell.tables['instance_actions']
        found = self._connection.execute(
            # backwards, no further than the outage
            sa.select(table.c.id)
            .where(table.c.start_time < asked.since)
            .order_by(table.c.id.desc())
            .limit(1)
        ).scalar()
        return int(found or 0)

    def highest(self, name: str) -> int:
        if not self._cell.tables.has(name, 'id'):
            return 0
        table = self._cell.tables[name]
        found = self._connection.execute(
            sa.select(sa.func.max(table.c.id))
        ).scalar()
        return int(found or 0)

    def servers(self, asked: Asked) -> list[Row]:
        table = self._cell.tables['instances']
        query = self._instances().where(schema.live(table))
        if asked.projects is not None:
            query = query.where(table.c.project_id.in_(list(asked.projects)))
        column, values = table.c.host, asked.hosts
        if asked.uuids is not None:
            column, values = table.c.uuid, asked.uuids
        rows = selected(self._connection, query, column, values)
        return [
            row
            for row in rows
            # MySQL compares without regard to case or trailing blanks
            if (asked.hosts is None or row['host'] in asked.hosts)
            and not row.get('hidden')
        ]

    def by_uuid(self, uuids: Collection[str]) -> list[Row]:
        """Live or deleted."""
        table = self._cell.tables['instances']
        return list(
            selected(self._connection, self._instances(), table.c.uuid, uuids)
        )

    def _instances(self) -> Any:
        table = self._cell.tables['instances']
        return sa.select(
            *(table.c[name] for name in _COLUMNS if name in table.c)
        )

    def metadata(self, servers: Collection[str]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        if not self._cell.tables.has('instance_metadata', 'instance_uuid'):
            return found
        table = self._cell.tables['instance_metadata']
        query = sa.select(
            table.c.instance_uuid, table.c.key, table.c.value
        ).where(schema.live(table))
        for row in selected(
            self._connection, query, table.c.instance_uuid, servers
        ):
            own = found.setdefault(row['instance_uuid'], {})
            own[row['key']] = row['value'] or ''
        return found

    def devices(
        self, servers: Mapping[str, Row]
    ) -> dict[str, tuple[Device, ...]]:
        """The volumes of each server, in the order of devices."""
        table = self._cell.tables['block_device_mapping']
        by_uuid = 'instance_uuid' in table.c
        # Essex: by the id of the server, of which a volume's is no UUID
        column = table.c.instance_uuid if by_uuid else table.c.instance_id
        owners: dict[Any, str] = {
            uuid if by_uuid else row['id']: uuid
            for uuid, row in servers.items()
        }
        query = sa.select(
            column.label('owner'),
            *(
                table.c[name]
                for name in (
                    'volume_id',
                    'device_name',
                    'boot_index',
                    'tag',
                    'delete_on_termination',
                    'attachment_id',
                )
                if name in table.c
            ),
        ).where(schema.live(table), table.c.volume_id.is_not(None))
        found: dict[str, list[Device]] = {}
        for row in selected(self._connection, query, column, owners):
            uuid = owners[row['owner']]
            root = servers[uuid].get('root_device_name')
            found.setdefault(uuid, []).append(
                Device(
                    server=uuid,
                    volume=str(row['volume_id']),
                    device=row['device_name'],
                    root=row['boot_index'] == 0
                    if row.get('boot_index') is not None
                    # up to Havana only the server says it
                    else root is not None and row['device_name'] == root,
                    tag=row.get('tag'),
                    delete_on_termination=bool(row['delete_on_termination']),
                    attachment=row.get('attachment_id'),
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
        if not self._cell.tables.has('instance_actions', 'request_id'):
            return {}
        table = self._cell.tables['instance_actions']
        rows = (
            self._connection.execute(
                self._select_actions().where(table.c.id > mark)
            )
            .mappings()
            .all()
        )
        own = [row for row in rows if row['instance_uuid'] in servers]
        results = self._results([row['id'] for row in own])
        found: dict[str, list[Action]] = {}
        for row in sorted(own, key=lambda row: int(row['id'])):
            found.setdefault(row['instance_uuid'], []).append(
                _action(row, results)
            )
        return {uuid: tuple(some) for uuid, some in found.items()}

    def earlier(
        self, mark: int, servers: Collection[str]
    ) -> dict[str, Action]:
        """The newest up to the mark that has to do with running."""
        if not servers:
            return {}
        table = self._cell.tables['instance_actions']
        found: dict[str, Action] = {}
        for row in sorted(
            selected(
                self._connection,
                self._select_actions().where(
                    table.c.id <= mark,
                    table.c.action.in_(sorted(wanted.STARTS | wanted.ENDS)),
                ),
                table.c.instance_uuid,
                servers,
            ),
            key=lambda row: int(row['id']),
        ):
            found[row['instance_uuid']] = _action(row, {})
        return found

    def _select_actions(self) -> Any:
        table = self._cell.tables['instance_actions']
        return sa.select(
            table.c.id,
            table.c.instance_uuid,
            table.c.action,
            table.c.user_id,
            table.c.request_id,
            table.c.start_time,
        ).where(schema.live(table))

    def _results(self, actions: Collection[int]) -> dict[int, str | None]:
        if not self._cell.tables.has('instance_actions_events', 'action_id'):
            return {}
        table = self._cell.tables['instance_actions_events']
        query = sa.select(table.c.id, table.c.action_id, table.c.result).where(
            schema.live(table)
        )
        found: dict[int, tuple[int, str | None]] = {}
        for batch in facts.batches(sorted(actions)):
            for number, action, result in self._connection.execute(
                query.where(table.c.action_id.in_(batch))
            ):
                if number > found.get(action, (0, None))[0]:
                    found[action] = (number, result)
        return {action: result for action, (_, result) in found.items()}


def _action(row: Any, results: Mapping[int, str | None]) -> Action:
    return Action(
        id=row['id'],
        action=row['action'] or '',
        user=row['user_id'],
        request_id=row['request_id'],
        result=results.get(row['id']),
        at=row['start_time'],
    )
