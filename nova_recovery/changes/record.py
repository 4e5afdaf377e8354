# SPDX-License-Identifier: Apache-2.0

"""The row of a server, written in the cell's database.

Moved to another host in one transaction: what nova's own evacuation leaves
in the rows (``ResourceTracker.finish_evacuation`` and the ``migrations`` row
that it began with), written by hand for a server that nova refuses to
evacuate; also as SQL text, for clouds where it is run by hand. And its
states, where no API can set them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
import uuid as uuid_module

from oslo_utils import timeutils
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from nova_recovery.changes import cell
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.cloud.db import cas, tombstones
from nova_recovery.cloud.db.database import Database
from nova_recovery.engine.change import JSON, Observed
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import Conflict, NotFound, NotRevertible


class MoveRecord(BaseChange):
    """The one transaction of a move.

    Data: cell, uuid; source {host, node}; target {host, node, host_ip,
    compute_id}; seen and values, columns of ``instances``.

    1. Old tombstones that name the target are disarmed: they would make
       its nova-compute destroy the guest at the next start, for nova looks
       neither at ``instances.host`` nor at ``deleted`` there.
    2. A tombstone for the source makes its nova-compute clean up after
       itself when it returns. Its uuid is chosen and journaled before, so
       that a lost COMMIT can be told from one that came through.
    3. The row itself, by compare-and-set.
       With ``later`` it is not armed: nobody but an operator says that the
       target sees the disk, or that the guest runs there, and the source's
       copy may be the only one. See ``ArmTombstone``.
    4. Of a guest that runs on the target already (``server adopt``): what
       nova would have written at the end of the migration that brought it
       there. ``close`` in the data: the rows of ``migrations`` that end, id
       and status as seen; the migration context goes, too.
    """

    kind = 'move-record'
    method = 'move'

    def describe(self, item: Item) -> list[str]:
        seen, values = item.data['seen'], item.data['values']
        source, target = item.data['source'], item.data['target']
        lines = [
            f'~ {name}  {cell.text(seen.get(name))} -> {cell.text(value)}'
            for name, value in values.items()
            if seen.get(name) != value
        ]
        # An adoption closes what brought the guest there.
        word = 'has it running' if 'close' in item.data else 'sees its disk'
        lines.append(
            f'+ tombstone  not armed yet: only your word says that '
            f'{target["host"]} {word}'
            if item.data.get('later')
            else f'+ tombstone  {source["host"]} cleans up after itself when '
            'it returns'
        )
        lines.extend(
            f'~ evacuation {row["id"]}  {row["status"]} -> completed   it '
            f'would destroy the guest on {target["host"]}'
            for row in item.data.get('disarm', ())
        )
        lines.extend(
            f'~ {row["type"]} {row["id"]}  {row["status"]} -> completed   it '
            f'brought the guest to {target["host"]}'
            for row in item.data.get('close', ())
        )
        return lines

    def observe(self, at: At) -> Observed:
        database = cell.database(at)
        with database.reader() as connection:
            row = cell.instance(connection, database, at.data['uuid'])
            buried = at.begun and _tombstone(
                connection, database, at.image['tombstone']
            )
            context = None
            if at.data.get('close'):
                context = _context(connection, database, at.data['uuid'])
        if buried:
            return Observed.after('moved')
        changed = cell.differences(at.data['seen'], row)
        if changed:
            return Observed.neither(cell.tell(changed))
        if at.begun:
            return Observed.before(at.image)
        return Observed.before(
            {
                'tombstone': _name(at)
                if at.data.get('later')
                else str(uuid_module.uuid4()),
                'instance': {name: row[name] for name in at.data['values']},
                'disarmed': at.data.get('disarm', []),
                'context': context,
            }
        )

    def apply(self, at: At) -> str:
        database = cell.database(at)
        database.write(
            lambda connection: _move(connection, database, at.data, at.image)
        )
        return f'now on {at.data["target"]["host"]}'

    def past_undoing(self, at: At) -> str:
        database = cell.database(at)
        source, target = at.data['source']['host'], at.data['target']['host']
        with database.reader() as connection:
            status = _tombstone(connection, database, at.image['tombstone'])
            if status is None:
                # never moved, or moved back
                return ''
            onward = (
                f'openstack server migrate {at.data["uuid"]} moves it on, '
                'once it runs'
            )
            if status == 'completed':
                return f'{source} came back and cleaned up its copy; {onward}'
            try:
                row = cell.instance(connection, database, at.data['uuid'])
            except NotFound:
                # deleted since: that keeps this one, and no other
                return ''
        changed = cell.differences(_moved(at.data), row)
        if changed:
            told = cell.tell(changed)
            return f'it went on, on {target}: {told}; {onward}'
        return ''

    def revert(self, at: At) -> str:
        database = cell.database(at)
        return database.write(
            lambda connection: _move_back(
                connection, database, at.data, at.image
            )
        )


class ArmTombstone(BaseChange):
    """The source cleans up after itself when it returns, from now on.

    After the guest was seen to run on the target, where only somebody's word
    said before that it does, or that the target sees the disk: armed with
    the move, the tombstone would have made the source delete the only copy.

    Data: cell, uuid, source, target (hosts).
    """

    kind = 'arm-tombstone'

    def describe(self, item: Item) -> list[str]:
        source = item.data['source']
        return [
            f'~ tombstone  armed: {source} cleans up after itself when it '
            'returns'
        ]

    def observe(self, at: At) -> Observed:
        database = cell.database(at)
        with database.reader() as connection:
            status = _tombstone(connection, database, _name(at))
        if status == tombstones.UNARMED:
            return Observed.before({'status': status})
        if status in ('done', 'completed'):
            return Observed.after(f'it is {status}')
        return Observed.neither(f'the tombstone is {status or "gone"}')

    def apply(self, at: At) -> str:
        self._set(at, tombstones.UNARMED, 'done')
        return f'{at.data["source"]} cleans up when it returns'

    def revert(self, at: At) -> str:
        database = cell.database(at)
        with database.reader() as connection:
            status = _tombstone(connection, database, _name(at))
        if status in (None, tombstones.UNARMED):
            return 'already as it was'
        if status == 'completed':
            raise NotRevertible(
                f'{at.data["source"]} came back and cleaned up its copy'
            )
        self._set(at, 'done', tombstones.UNARMED)
        return 'not armed any more'

    def _set(self, at: At, seen: str, status: str) -> None:
        database = cell.database(at)
        database.write(
            lambda connection: cas.update_one(
                connection,
                database.tables['migrations'],
                {'uuid': _name(at)},
                {'status': seen},
                {'status': status, 'updated_at': timeutils.utcnow()},
            )
        )


def _name(at: At) -> str:
    """The uuid of a tombstone that two items of a run have to find."""
    words = f'nova-recovery {at.run_id} {at.data["uuid"]}'
    return str(uuid_module.uuid5(uuid_module.NAMESPACE_OID, words))


def _move(
    connection: sa.engine.Connection,
    database: Database,
    data: JSON,
    image: JSON,
) -> None:
    uuid, target = data['uuid'], data['target']
    instances = database.tables['instances']
    now = timeutils.utcnow()
    # The row first: it is what two operators would both want, and on a
    # Galera cluster what the certification of the transaction turns on.
    cas.update_one(
        connection,
        instances,
        {'uuid': uuid, 'deleted': 0},
        data['seen'],
        {**data['values'], 'updated_at': now},
    )
    armed = _armed(connection, database, uuid, target['host'])
    if sorted(armed) != sorted(row['id'] for row in data.get('disarm', ())):
        raise Conflict(
            f'evacuations of server {uuid} away from {target["host"]} '
            f'changed since the plan was made: now {sorted(armed)}'
        )
    _set_status(connection, database, armed, 'completed')
    _close(connection, database, data)
    connection.execute(
        sa.insert(database.tables['migrations']).values(
            tombstone_row(database, data, image['tombstone'], now)
        )
    )
    if database.tables.has('console_auth_tokens'):
        # They lead to a console on the dead host.
        tokens = database.tables['console_auth_tokens']
        connection.execute(
            sa.delete(tokens).where(tokens.c.instance_uuid == uuid)
        )


def _move_back(
    connection: sa.engine.Connection,
    database: Database,
    data: JSON,
    image: JSON,
) -> str:
    migrations = database.tables['migrations']
    row = cell.instance(connection, database, data['uuid'])
    status = _tombstone(connection, database, image['tombstone'])
    if status is None and not cell.differences(image['instance'], row):
        return 'already as it was'
    if status == 'completed':
        raise NotRevertible(
            f'{data["source"]["host"]} came back and cleaned up its copy '
            f'of server {data["uuid"]}',
            'move it with openstack server migrate',
        )
    cas.update_one(
        connection,
        database.tables['instances'],
        {'uuid': data['uuid'], 'deleted': 0},
        _moved(data),
        {**image['instance'], 'updated_at': timeutils.utcnow()},
    )
    connection.execute(
        sa.delete(migrations).where(migrations.c.uuid == image['tombstone'])
    )
    for changed in (*image['disarmed'], *data.get('close', ())):
        _set_status(connection, database, [changed['id']], changed['status'])
    if image.get('context'):
        _set_context(connection, database, data['uuid'], image['context'])
    return f'back on {data["source"]["host"]}'


def _moved(data: JSON) -> JSON:
    """The row as a move leaves it, as long as nobody went on from there.

    nova-compute of the target writes what it finds into power_state every
    ten minutes: 0, for the guest isn't there. Nobody moved on by that.
    """
    return {k: v for k, v in data['values'].items() if k != 'power_state'}


def _close(
    connection: sa.engine.Connection,
    database: Database,
    data: JSON,
    status: str = 'completed',
) -> None:
    """End the migrations that brought the guest to where it is.

    :raises Conflict: one of them went on since the plan was made
    """
    table = database.tables['migrations']
    for row in data.get('close', ()):
        cas.update_one(
            connection,
            table,
            {'id': row['id']},
            {'status': row['status']},
            {'status': status, 'updated_at': timeutils.utcnow()},
        )
    if data.get('close'):
        _set_context(connection, database, data['uuid'], None)


def _reopen(
    connection: sa.engine.Connection, database: Database, data: JSON
) -> None:
    """Let the migrations wait again that ended with ``error``.

    Only the last one of a server: nova would revert one from before another,
    and start the guest where it was then.

    :raises Conflict: one of them went on, or it was moved since
    """
    closed = data.get('close')
    if not closed:
        return
    if why := _newer(connection, database, data):
        raise Conflict(f'server {data["uuid"]}: {why}')
    table = database.tables['migrations']
    for row in closed:
        cas.update_one(
            connection,
            table,
            {'id': row['id']},
            {'status': 'error'},
            {'status': row['status'], 'updated_at': timeutils.utcnow()},
        )


def _newer(
    connection: sa.engine.Connection, database: Database, data: JSON
) -> str:
    """Why the closed migrations are not the last ones of their server."""
    table = database.tables['migrations'].c
    newer = connection.execute(
        sa.select(table.id).where(
            table.instance_uuid == data['uuid'],
            table.id > max(row['id'] for row in data['close']),
        )
    ).scalar()
    if newer is None:
        return ''
    return (
        f'it has a newer migration, {newer}: its resize of before can wait '
        'no more'
    )


def _unclosed(
    connection: sa.engine.Connection, database: Database, data: JSON
) -> list[int]:
    """The migrations to be closed that are still as they were seen."""
    seen = {row['id']: row['status'] for row in data.get('close', ())}
    if not seen:
        return []
    table = database.tables['migrations'].c
    rows = connection.execute(
        sa.select(table.id, table.status).where(table.id.in_(seen))
    )
    return [row.id for row in rows if row.status == seen[row.id]]


def _context(
    connection: sa.engine.Connection, database: Database, uuid: str
) -> str | None:
    """What a claim of a migration keeps of both hosts, as it is stored."""
    if not database.tables.has('instance_extra', 'migration_context'):
        return None
    table = database.tables['instance_extra']
    found: str | None = connection.execute(
        sa.select(table.c.migration_context).where(
            table.c.instance_uuid == uuid, table.c.deleted == 0
        )
    ).scalar()
    return found


def _set_context(
    connection: sa.engine.Connection,
    database: Database,
    uuid: str,
    context: str | None,
) -> None:
    if database.tables.has('instance_extra', 'migration_context'):
        table = database.tables['instance_extra']
        connection.execute(
            sa.update(table)
            .where(table.c.instance_uuid == uuid, table.c.deleted == 0)
            .values(migration_context=context)
        )


def _armed(
    connection: sa.engine.Connection, database: Database, uuid: str, host: str
) -> list[int]:
    migrations = database.tables['migrations']
    # Deleted rows too: nova reads them.
    found = connection.execute(
        sa.select(migrations.c.id)
        .where(
            migrations.c.instance_uuid == uuid,
            migrations.c.migration_type == 'evacuation',
            migrations.c.source_compute == host,
            migrations.c.status.in_(tombstones.ARMED),
        )
        .with_for_update()
    )
    return [row[0] for row in found]


def _set_status(
    connection: sa.engine.Connection,
    database: Database,
    ids: Sequence[int],
    status: str,
) -> None:
    migrations = database.tables['migrations']
    if ids:
        connection.execute(
            sa.update(migrations)
            .where(migrations.c.id.in_(ids))
            .values(status=status, updated_at=timeutils.utcnow())
        )


def _tombstone(
    connection: sa.engine.Connection, database: Database, uuid: str
) -> str | None:
    """The status of our tombstone, None if it isn't there."""
    migrations = database.tables['migrations']
    found: str | None = connection.execute(
        sa.select(migrations.c.status).where(migrations.c.uuid == uuid)
    ).scalar()
    return found


def tombstone_row(database: Database, data: JSON, uuid: str, now: Any) -> JSON:
    """The row of ``migrations`` by which the source cleans up.

    :returns: only the columns that this schema has
    """
    source, target = data['source'], data['target']
    row = {
        'created_at': now,
        'updated_at': now,
        'deleted': 0,
        'uuid': uuid,
        'instance_uuid': data['uuid'],
        'source_compute': source['host'],
        'source_node': source['node'],
        'dest_compute': target['host'],
        'dest_node': target['node'],
        'dest_host': target['host_ip'],
        'dest_compute_id': target['compute_id'],
        'status': tombstones.UNARMED if data.get('later') else 'done',
        'migration_type': 'evacuation',
        'hidden': 0,
        'cross_cell_move': 0,
    }
    return {
        name: value
        for name, value in row.items()
        if database.tables.has('migrations', name)
    }


def statements(database: Database, data: dict[str, Any]) -> list[str]:
    """What MoveRecord does, as far as this schema has it.

    :param data: of a ``move-record`` item
    :returns: statements to be run in one transaction, in this order
    """
    tables = database.tables
    instances = tables['instances']
    values = {k: v for k, v in data['values'].items() if k in instances.c}
    update = sa.update(instances).values(values)
    where = {'uuid': data['uuid'], **data['seen']}
    for name, value in where.items():
        if name in instances.c:
            update = update.where(instances.c[name] == value)
    found = [_text(update.where(instances.c.deleted == 0))]
    if tables.has('migrations', 'migration_type'):
        migrations = tables['migrations']
        ids = [row['id'] for row in data.get('disarm', ())]
        if ids:
            found.append(
                _text(
                    sa.update(migrations)
                    .where(migrations.c.id.in_(ids))
                    .values(status='completed')
                )
            )
        row = tombstone_row(database, data, str(uuid_module.uuid4()), None)
        for name in ('created_at', 'updated_at'):
            row[name] = sa.func.utc_timestamp()
        found.append(_text(sa.insert(migrations).values(row)))
    return ['BEGIN;', *found, 'COMMIT;']


def _text(statement: sa.sql.ClauseElement) -> str:
    compiled = statement.compile(
        # The default is for a driver that wants each % doubled.
        dialect=mysql.dialect(paramstyle='named'),
        compile_kwargs={'literal_binds': True},
    )
    return str(compiled).replace('\n', ' ') + ';'


def _set(data: JSON) -> JSON:
    """The row of a server whose states were set.

    One that has left its host since is not what it was before.
    """
    values = dict(data['values'])
    if 'host' in data['seen']:
        values['host'] = data['seen']['host']
    return values


#: Where the before-image of a server's states has its migration context.
_CONTEXT = 'migration_context'


class SetStates(BaseChange):
    """Data: cell, uuid, seen and values (vm_state, power_state, task_state).

    Which combinations are legal is the procedure's to decide. ``close``: the
    rows of ``migrations`` of a resize that nobody can confirm any more, id
    and status as seen. They end as nova itself ends those of a server that
    is not resized (``_poll_unconfirmed_resizes`` in nova/compute/manager.py);
    one that is left would be taken for that of a later resize, and confirmed
    on the wrong host (``migration_get_by_instance_and_status``).
    """

    kind = 'set-states'

    def describe(self, item: Item) -> list[str]:
        seen, values = item.data['seen'], item.data['values']
        return [
            f'~ {name}  {cell.text(seen[name])} -> {cell.text(value)}'
            for name, value in values.items()
            if seen[name] != value
        ] + [
            f'~ {row["type"]} {row["id"]}  {row["status"]} -> error   nobody '
            'can confirm it any more'
            for row in item.data.get('close', ())
        ]

    def observe(self, at: At) -> Observed:
        database = cell.database(at)
        with database.reader() as connection:
            row = cell.instance(connection, database, at.data['uuid'])
            context = None
            left = _unclosed(connection, database, at.data)
            if at.data.get('close'):
                context = _context(connection, database, at.data['uuid'])
        if not cell.differences(at.data['values'], row) and not left:
            return Observed.after('already so')
        changed = cell.differences(at.data['seen'], row)
        if changed:
            return Observed.neither(cell.tell(changed))
        image = {name: row[name] for name in at.data['values']}
        if context:
            image[_CONTEXT] = context
        return Observed.before(image)

    def apply(self, at: At) -> str:
        database = cell.database(at)

        def write(connection: sa.engine.Connection) -> None:
            self._write(connection, at, at.data['seen'], at.data['values'])
            _close(connection, database, at.data, 'error')

        database.write(write)
        return 'set'

    def past_undoing(self, at: At) -> str:
        # what a resize held is given back first, and would be left there
        if not at.data.get('close'):
            return ''
        database = cell.database(at)
        with database.reader() as connection:
            try:
                row = cell.instance(connection, database, at.data['uuid'])
            except NotFound:
                return 'the server was deleted since'
            if _unclosed(connection, database, at.data):
                # never set, or set back
                return ''
            if changed := cell.differences(_set(at.data), row):
                return cell.tell(changed)
            return _newer(connection, database, at.data)

    def revert(self, at: At) -> str:
        database = cell.database(at)
        before = {name: at.image[name] for name in at.data['values']}
        closed = at.data.get('close', ())
        with database.reader() as connection:
            row = cell.instance(connection, database, at.data['uuid'])
            left = _unclosed(connection, database, at.data)
        if not cell.differences(before, row) and len(left) == len(closed):
            return 'already as it was'

        def write(connection: sa.engine.Connection) -> None:
            self._write(connection, at, _set(at.data), before)
            _reopen(connection, database, at.data)
            if at.image.get(_CONTEXT):
                _set_context(
                    connection, database, at.data['uuid'], at.image[_CONTEXT]
                )

        database.write(write)
        return 'set back'

    def _write(
        self,
        connection: sa.engine.Connection,
        at: At,
        seen: JSON,
        values: JSON,
    ) -> None:
        cas.update_one(
            connection,
            cell.database(at).tables['instances'],
            {'uuid': at.data['uuid'], 'deleted': 0},
            seen,
            values,
        )
