# SPDX-License-Identifier: Apache-2.0

"""Who works on a host or a server, written into the cloud itself.

Two controllers have two journals, so a claim lives where both see it, and
where nobody but an administrator can write. On a host it is
``services.disabled_reason`` of its nova-compute, set together with
``disabled`` by compare-and-set: the operator of the other controller,
``openstack compute service list`` and nova's own tools all show it. All that
is on the host is under it, and so is a server that left the host by a run
that still has it.

A server alone has a row in ``task_log``, nova's record of who audits which
host: its unique key (task, host, period) lets only one of two writers in, on
a Galera cluster too, and nothing of nova reads a task that is not its own
(nova/db/main/api.py, ``task_log_get``). A tag, which any member of the
project can set and take off, says nothing here.

A run that another controller took over has a row there, too. A claim that was
given back says no more whose it was, and the journal that the run came from
has to tell its end from a claim that somebody took off in the middle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import dataclasses
import datetime
import re
from typing import Any

import sqlalchemy as sa

from nova_recovery.cloud.db import cas, tombstones
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.exceptions import ClaimLost, Conflict, NotFound

PREFIX = 'nova-recovery run='
#: Characters of ``services.disabled_reason``.
LONGEST = 255
_RUN = re.compile(f'{PREFIX}([^ ]+)')
#: Our rows of ``task_log``. All have the same period: the key must be one.
TASK = 'nova-recovery'
_PERIOD = datetime.datetime(2000, 1, 1)
#: Of runs that changed hands; ``host`` is the run.
_TAKEN = 'nova-recovery taken'
#: A run, and how many claims more it has given back at its end: 1, or -1
#: where one is claimed again. Counted in the transaction of the claim.
Counted = tuple[str, int]


def holder(reason: str | None) -> str | None:
    """The marker in a ``disabled_reason``, or None if there is no claim."""
    return reason if reason and reason.startswith(PREFIX) else None


def run_of(claim: str | None) -> str:
    """The run that a marker names; '' for none."""
    found = _RUN.match(claim or '')
    return found[1] if found else ''


def service_row(database: Database, service_id: int) -> dict[str, Any]:
    """The row of a service as it is now.

    :raises NotFound: it is gone
    """
    services = database.tables['services']
    with database.reader() as connection:
        row = (
            connection.execute(
                sa.select(services).where(services.c.id == service_id)
            )
            .mappings()
            .first()
        )
    if row is None:
        raise NotFound(f'service {service_id} of {database.name}')
    return dict(row)


def set_service(
    database: Database,
    service_id: int,
    seen: dict[str, Any],
    values: dict[str, Any],
    counted: Counted | None = None,
) -> None:
    """Change ``disabled`` and ``disabled_reason`` by compare-and-set.

    :raises Conflict: the row is no longer as seen
    """

    def change(connection: sa.engine.Connection) -> None:
        cas.update_one(
            connection,
            database.tables['services'],
            {'id': service_id},
            seen,
            values,
        )
        _count(connection, database, counted)

    database.write(change)


def possible(database: Database) -> bool:
    """Whether servers of a cell can be claimed: nova has it since Folsom."""
    return database.tables.has('task_log', 'message')


def _ours(database: Database, key: str, task: str = TASK) -> list[Any]:
    tasks = database.tables['task_log']
    return [
        tasks.c.task_name == task,
        tasks.c.host == key,
        tasks.c.period_beginning == _PERIOD,
        tasks.c.period_ending == _PERIOD,
    ]


def _held(
    connection: sa.engine.Connection, database: Database, uuid: str
) -> str | None:
    marker: str | None = connection.execute(
        sa.select(database.tables['task_log'].c.message).where(
            *_ours(database, uuid)
        )
    ).scalar()
    return marker


def claim_server(
    database: Database, uuid: str, marker: str, counted: Counted | None = None
) -> None:
    """Claim a server; fine if this marker has it already.

    :raises ClaimLost: somebody else has it; named is who
    """

    def change(connection: sa.engine.Connection) -> None:
        held = _held(connection, database, uuid)
        if held == marker:
            return
        if held is not None:
            raise ClaimLost(f'server {uuid} is claimed: {held}')
        connection.execute(_row(database, TASK, uuid, 'CLAIMED', marker))
        _count(connection, database, counted)

    try:
        database.write(change)
    except Conflict as error:
        # Two at once: the other one's row came between our look and ours.
        held = server_holder(database, uuid)
        if held != marker:
            raise ClaimLost(
                f'server {uuid} is claimed: {held or "not any more"}'
            ) from error


def release_server(
    database: Database, uuid: str, marker: str, counted: Counted | None = None
) -> bool:
    """Give a server's claim back; False, and nothing happens, if not ours."""
    tasks = database.tables['task_log']

    def change(connection: sa.engine.Connection) -> bool:
        done = connection.execute(
            sa.delete(tasks).where(
                *_ours(database, uuid), tasks.c.message == marker
            )
        )
        if done.rowcount:
            _count(connection, database, counted)
        return bool(done.rowcount)

    return database.write(change)


def _row(
    database: Database, task: str, key: str, state: str, message: str
) -> sa.sql.Insert:
    now = sa.func.utc_timestamp()
    return sa.insert(database.tables['task_log']).values(
        task_name=task,
        host=key,
        period_beginning=_PERIOD,
        period_ending=_PERIOD,
        state=state,
        message=message,
        task_items=0,
        errors=0,
        deleted=0,
        created_at=now,
        updated_at=now,
    )


def note_taken(database: Database, run_id: str, taker: str | None) -> None:
    """Say in a cell who took a run over.

    :param taker: its marker; None: nobody goes on with it
    """
    if not possible(database):
        return
    tasks = database.tables['task_log']

    def change(connection: sa.engine.Connection) -> None:
        connection.execute(
            sa.delete(tasks).where(*_ours(database, run_id, _TAKEN))
        )
        if taker:
            connection.execute(_row(database, _TAKEN, run_id, 'TAKEN', taker))

    database.write(change)


def _count(
    connection: sa.engine.Connection,
    database: Database,
    counted: Counted | None,
) -> None:
    """Count a claim in the note of a run, if somebody took that over."""
    if counted is None or not possible(database):
        return
    run_id, more = counted
    tasks = database.tables['task_log']
    connection.execute(
        sa.update(tasks)
        .where(*_ours(database, run_id, _TAKEN))
        .values(task_items=tasks.c.task_items + more)
    )


def taken_by(database: Database, run_id: str) -> tuple[str, int] | None:
    """Who took a run over, None if nobody did.

    :returns: its marker, and how many claims it has given back at its end
    """
    if not possible(database):
        return None
    tasks = database.tables['task_log'].c
    with Reader.of(database) as reader:
        found = reader.connection.execute(
            sa.select(tasks.message, tasks.task_items).where(
                *_ours(database, run_id, _TAKEN)
            )
        ).first()
    return None if found is None else (found.message, found.task_items or 0)


def hand_over_service(
    database: Database, service_id: int, before: str, after: str
) -> bool:
    """Put another marker in the claim on a host; False if there is none.

    :raises ClaimLost: a third party claimed it
    """
    reason = service_row(database, service_id)['disabled_reason']
    if reason == after:
        return True
    if reason != before:
        if holder(reason):
            raise ClaimLost(f'claimed by a third party: {reason}')
        return False
    set_service(
        database,
        service_id,
        {'disabled_reason': before},
        {'disabled_reason': after},
    )
    return True


def hand_over_server(
    database: Database, uuid: str, before: str, after: str
) -> bool:
    """Put another marker in the claim on a server; False if there is none.

    :raises ClaimLost: a third party claimed it
    """
    tasks = database.tables['task_log']

    def change(connection: sa.engine.Connection) -> bool:
        held = _held(connection, database, uuid)
        if held in (None, after):
            return held == after
        if held != before:
            raise ClaimLost(f'claimed by a third party: {held}')
        connection.execute(
            sa.update(tasks)
            .where(*_ours(database, uuid), tasks.c.message == before)
            .values(message=after)
        )
        return True

    return database.write(change)


def under_hosts(database: Database, uuids: Iterable[str]) -> dict[str, str]:
    """Servers that are under the claim on a host.

    On the one that they are on, or that a run has moved or evacuated them
    from: the tombstone that each leaves there names it until that host has
    cleaned up.

    :returns: server uuid -> the marker of the run
    """
    instances = database.tables['instances']
    services = database.tables['services']
    if 'disabled_reason' not in services.c:
        return {}
    claimed = (
        services.c.binary == 'nova-compute',
        services.c.deleted == 0,
        services.c.disabled_reason.like(f'{PREFIX}%'),
    )
    queries = [
        (
            instances.c.uuid,
            sa.select(instances.c.uuid, services.c.disabled_reason).where(
                instances.c.deleted == 0,
                services.c.host == instances.c.host,
                *claimed,
            ),
        )
    ]
    if database.tables.has('migrations', 'migration_type'):
        migrations = database.tables['migrations']
        queries.append((
            migrations.c.instance_uuid,
            sa.select(
                migrations.c.instance_uuid, services.c.disabled_reason
            ).where(
                migrations.c.deleted == 0,
                migrations.c.migration_type == 'evacuation',
                migrations.c.status.in_(
                    (*tombstones.ARMED, tombstones.UNARMED)
                ),
                services.c.host == migrations.c.source_compute,
                *claimed,
            ),
        ))  # fmt: skip
    some = list(uuids)
    with Reader.of(database) as reader:
        return {
            uuid: marker
            for column, query in queries
            for uuid, marker in reader.fetch(query, column, some)
        }


def server_holder(database: Database, uuid: str) -> str | None:
    """The marker of whoever claimed a server alone, None if nobody did."""
    return server_holders(database, [uuid]).get(uuid)


def archived(database: Database, uuid: str, marker: str) -> bool:
    """Whether nova's archive took the claim on a server away.

    ``nova-manage db archive_deleted_rows --task-log`` moves rows of
    ``task_log`` whatever they are. The table has no index: only for one that
    is missing.
    """
    if not database.tables.has('shadow_task_log', 'message'):
        return False
    tasks = database.tables['shadow_task_log'].c
    with Reader.of(database) as reader:
        query = sa.select(tasks.id).where(
            tasks.task_name == TASK,
            tasks.host == uuid,
            tasks.message == marker,
        )
        return reader.connection.execute(query.limit(1)).first() is not None


def server_holders(database: Database, uuids: Iterable[str]) -> dict[str, str]:
    """The marker of whoever claimed each server, of those that are claimed."""
    if not possible(database):
        return {}
    ours = database.tables['task_log'].c.task_name == TASK
    with Reader.of(database) as reader:
        return {
            row['host']: row['message']
            for row in reader.select(
                'task_log', ('host', 'message'), 'host', uuids, ours
            )
        }


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim as it is in the cloud, whoever's.

    :ivar name: the host, or the UUID of the server
    :ivar service_id: of a host's nova-compute; None: a server's
    """

    cell: str
    name: str
    marker: str
    service_id: int | None = None


def every(database: Database) -> Iterator[Claim]:
    """All claims in a cell.

    :raises DatabaseUnavailable: it doesn't answer
    """
    services = database.tables['services']
    with Reader.of(database) as reader:
        if 'disabled_reason' in services.c:
            for row in reader.select(
                'services',
                ('id', 'host', 'disabled_reason'),
                where=services.c.disabled_reason.like(f'{PREFIX}%'),
            ):
                yield Claim(
                    database.name,
                    row['host'],
                    row['disabled_reason'],
                    row['id'],
                )
        if possible(database):
            tasks = database.tables['task_log']
            for row in reader.select(
                'task_log',
                ('host', 'message'),
                where=tasks.c.task_name == TASK,
            ):
                yield Claim(database.name, row['host'], row['message'])
