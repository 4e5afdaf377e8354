# SPDX-License-Identifier: Apache-2.0

"""The two halves of the guide's reset, of clouds before Queens.

nova's: what it maps ends; and cinder's: nobody has these volumes. Each is
one transaction, in which the rows are locked, compared with what the plan
saw, and only those that are so are written. The plan has them as they were;
what was left alone is noted in the journal before the transaction ends. So
the journal always tells which rows are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from oslo_utils import timeutils
import sqlalchemy as sa

from nova_recovery.changes import cell
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.cloud.db import bulk, old_volumes
from nova_recovery.cloud.db.bulk import Selection
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.old_volumes import Layout
from nova_recovery.compat import pairs
from nova_recovery.engine.change import Observed
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed, Conflict

#: How many rows a line for people names; all are in the notes.
_NAMED = 5


class Differs(Conflict):
    """Some row isn't as the plan saw it, and none was written."""


def _write(
    database: Database,
    at_once: Callable[[sa.engine.Connection], str],
    apart: Callable[[sa.engine.Connection], str],
) -> str:
    """Write all rows of an item by one statement; if any differs, the others.

    :param at_once: raises Differs
    :param apart: locks and looks at each
    """
    try:
        return database.write(at_once)
    except Differs:
        return database.write(apart)


class CleanRows(BaseChange):
    """A batch of rows.

    Data: layout, cell, rows (:mod:`nova_recovery.cloud.db.bulk`) as they were.
    """

    def observe(self, at: At) -> Observed:
        _layout(at)
        if not at.begun:
            # Each row is compared under its lock; what is seen before that
            # may have changed by then.
            now = timeutils.utcnow().isoformat(' ', 'seconds')
            return Observed.before({'at': now})
        rows = _ours(at)
        before, after, changed = self.standing(at, rows)
        if before:
            # All or nothing: what is as we would leave it was made so by
            # others, and stays theirs.
            return Observed.before(at.image)
        if after or not rows:
            left = changed.union(at.notes.get('left', ()))
            return Observed.after(_written(after, left))
        return Observed.neither(f'changed since the plan: {_named(changed)}')

    def standing(
        self, at: At, rows: Sequence[str]
    ) -> tuple[int, int, set[str]]:
        """How many rows are as before and as after; the others' keys."""
        raise NotImplementedError


def _layout(at: At) -> Layout:
    """The layout of this cloud, which is the item's.

    :raises ChangeFailed: it isn't
    """
    found = old_volumes.of(at.cloud.databases)
    if found is None or found.name != at.data['layout']:
        raise ChangeFailed(
            f'this plan is for a schema of layout {at.data["layout"]}, and '
            f'here is {found.name if found else "a later one"}'
        )
    return found


def _cinder(at: At) -> Database:
    """The database with the volumes."""
    return old_volumes.database(
        at.cloud.databases, _layout(at), at.data['cell']
    )


def _ours(at: At) -> list[str]:
    """The rows that we wrote, or are about to."""
    left = set(at.notes.get('left', ()))
    rows = bulk.lines(at.data['rows'])
    return [r for r in rows if bulk.key(r) not in left] if left else rows


def _changed(rows: Sequence[str], now: Sequence[str]) -> set[str]:
    """The keys of rows that are no longer as they were."""
    if rows == now:
        return set()
    return {bulk.key(r) for r in set(rows).difference(now)}


def _to_write(at: At, rows: Sequence[str], left: Collection[str]) -> list[str]:
    """The keys that are written, after the others are noted.

    :raises Conflict: none is
    """
    ids = [bulk.key(r) for r in rows]
    if left:
        ids = [one for one in ids if one not in left]
        at.note(left=sorted(left))
    if not ids:
        raise Conflict(
            f'{at.item.label}: all changed since the plan; nothing was written'
        )
    return ids


def _update(
    connection: sa.engine.Connection,
    what: str,
    where: str,
    count: int | None = None,
) -> None:
    """Carry out an UPDATE.

    :raises Differs: another number of rows than so many was matched
    """
    done = connection.exec_driver_sql(
        f'UPDATE {what} WHERE {where}'  # nosec B608
    )
    if count is not None and done.rowcount != count:
        raise Differs(
            f'{done.rowcount} rows instead of {count} were matched; nothing '
            'was written'
        )


def _when(at: At) -> str:
    """When we wrote, as it stands in what we soft-deleted."""
    return str(timeutils.parse_isotime(at.image['at']).replace(tzinfo=None))


def _written(count: int, left: Collection[str]) -> str:
    """What was done, one line."""
    if not left:
        return f'{count} rows'
    return (
        f'{count} rows; {len(left)} changed since the plan and were left as '
        f'they are: {_named(left)}'
    )


def _reverted(count: int, others: Collection[str]) -> str:
    """What was taken back, one line."""
    if not others:
        return f'{count} rows as they were'
    return (
        f'{count} rows as they were; {len(others)} changed since and were '
        f'left as they are: {_named(others)}'
    )


def _named(keys: Collection[str]) -> str:
    some = ', '.join(sorted(keys)[:_NAMED])
    return some if len(keys) <= _NAMED else f'{some} …'


_TABLE = 'block_device_mapping'
LIVE = Selection(_TABLE, 'id', ('volume_id',), 'deleted = 0')


class CleanMappings(CleanRows):
    """nova's mappings of some volumes, soft-deleted as nova does it.

    Data: rows are mapping and volume.
    """

    kind = 'clean-mappings'

    def describe(self, item: Item) -> list[str]:
        return [f'- {item.label}, soft-deleted in nova']

    def standing(
        self, at: At, rows: Sequence[str]
    ) -> tuple[int, int, set[str]]:
        live = _live(at, rows)
        return len(live), len(rows) - len(live), set()

    def apply(self, at: At) -> str:
        layout = _layout(at)
        nova = cell.database(at)
        rows = bulk.lines(at.data['rows'])
        volumes = _volumes(rows)
        stale = old_volumes.stale(_cinder(at), layout, volumes)
        deleted = old_volumes.deleted(nova, _TABLE)
        what = f"{_TABLE} SET deleted = {deleted}, deleted_at = '{_when(at)}'"

        among = bulk.among('id', [bulk.key(r) for r in rows])

        def at_once(connection: sa.engine.Connection) -> str:
            if len(stale) != len(volumes):
                raise Differs('cinder has some otherwise by now')
            # That it is live is all there is to compare: nova never gives
            # a mapping another volume or server.
            _update(connection, what, f'{among} AND deleted = 0', len(rows))
            return _written(len(rows), ())

        def apart(connection: sa.engine.Connection) -> str:
            found = bulk.rows(connection, LIVE, among, lock=True)
            if not found:
                return 'nova maps none of them any more'
            left = _changed(rows, found)
            # what cinder has otherwise by now is as little ours here
            left |= {
                bulk.key(r) for r in rows if bulk.field(r, 1) not in stale
            }
            ids = _to_write(at, rows, left)
            _update(
                connection,
                what,
                f'{bulk.among("id", ids)} AND deleted = 0',
                len(ids),
            )
            return _written(len(ids), left)

        return _write(nova, at_once, apart)

    def revert(self, at: At) -> str:
        """A mapping comes back where cinder has its volume as before."""
        layout = _layout(at)
        rows = _ours(at)
        if not rows:
            return _reverted(0, ())
        volumes = _volumes(rows)
        held = old_volumes.holders(_cinder(at), layout, volumes)
        by_us = f"deleted <> 0 AND deleted_at = '{_when(at)}'"
        ended = Selection(_TABLE, 'id', ('volume_id', layout.mapped_by), by_us)

        def write(connection: sa.engine.Connection) -> str:
            keys = [bulk.key(r) for r in rows]
            now = bulk.rows(
                connection, ended, bulk.among('id', keys), lock=True
            )
            live = bulk.rows(
                connection, LIVE, bulk.among('volume_id', volumes), lock=True
            )
            as_before = set(live).intersection(rows)
            # attached again meanwhile: one mapping is enough
            again = {bulk.field(r, 1) for r in live}
            back = []
            for row in now:
                mapping, volume, server = row.split(bulk.SEPARATOR)
                holders = held.get(volume, set())
                if volume not in again and holders & {server, bulk.NULL}:
                    back.append(mapping)
            if back:
                _update(
                    connection,
                    f'{_TABLE} SET deleted = 0, deleted_at = NULL',
                    f'{bulk.among("id", back)} AND {by_us}',
                    len(back),
                )
            others = set(keys).difference(back)
            return _reverted(
                len(back), others - {bulk.key(r) for r in as_before}
            )

        return str(cell.database(at).write(write))


def still_mapped(at: At) -> set[str]:
    """The volumes of an item that nova maps as the plan saw it.

    Where the change before was not carried out for them, cinder's side must
    stay too: a mapping of an available volume is worse than a stale one.
    """
    ids = at.data['mappings'].split()
    if not ids:
        return set()
    among = bulk.among('id', ids)
    with cell.database(at).reader() as connection:
        if not bulk.count(connection, LIVE, among):
            return set()
        return {bulk.field(r, 1) for r in bulk.rows(connection, LIVE, among)}


def _live(at: At, rows: Sequence[str]) -> list[str]:
    if not rows:
        return []
    with cell.database(at).reader() as connection:
        return bulk.rows(
            connection, LIVE, bulk.among('id', [bulk.key(r) for r in rows])
        )


def _volumes(rows: Sequence[str]) -> list[str]:
    return list({r.partition(bulk.SEPARATOR)[2] for r in rows})


class CleanVolumes(CleanRows):
    """Cinder's rows of some volumes, and their attachments.

    Data: rows are volumes with their columns, in the order of ``columns``;
    mappings, ids that nova must no longer have; attachments, rows of these;
    modes, ids of admin metadata.
    """

    kind = 'clean-volumes'

    def describe(self, item: Item) -> list[str]:
        return [f'~ {item.label}  -> available, detached']

    def standing(
        self, at: At, rows: Sequence[str]
    ) -> tuple[int, int, set[str]]:
        layout = _layout(at)
        if not rows:
            return 0, 0, set()
        keys = [bulk.key(r) for r in rows]
        with _cinder(at).reader() as connection:
            now = bulk.rows(
                connection,
                layout.volumes('deleted = 0'),
                bulk.among('id', keys),
            )
        before = {bulk.key(r) for r in set(now).intersection(rows)}
        after = _cleaned(layout, now)
        return len(before), len(after), set(keys) - before - after

    def apply(self, at: At) -> str:
        layout = _layout(at)
        rows = bulk.lines(at.data['rows'])
        attachments = bulk.lines(at.data['attachments'])
        mapped = still_mapped(at)

        keys = [bulk.key(r) for r in rows]
        selection = layout.volumes(layout.stale)
        exactly = selection.exactly(at.data['rows'])
        when = _when(at)

        def at_once(connection: sa.engine.Connection) -> str:
            if mapped or not exactly:
                raise Differs('nova still maps some')
            _clean_volumes(connection, layout, keys, f' AND {exactly}')
            if layout.name == 'M1':
                if set(_attachments(connection, keys)) != set(attachments):
                    raise Differs('other attachments')
                _clean_attachments(connection, attachments, when)
            if at.data['modes']:
                ids = at.data['modes'].split()
                _clean_modes(connection, bulk.among('id', ids), when)
            return _written(len(keys), ())

        def apart(connection: sa.engine.Connection) -> str:
            found = bulk.rows(
                connection, selection, bulk.among('id', keys), lock=True
            )
            left = _changed(rows, found) | mapped
            if layout.name == 'M1':
                now = _attachments(connection, keys)
                left |= {bulk.field(r, 1) for r in set(now) ^ set(attachments)}
            ids = _to_write(at, rows, left)
            _clean_volumes(connection, layout, ids)
            _clean_attachments(
                connection,
                [r for r in attachments if bulk.field(r, 1) not in left],
                when,
            )
            if at.data['modes']:
                _clean_modes(connection, bulk.among('volume_id', ids), when)
            return _written(len(ids), left)

        return _write(_cinder(at), at_once, apart)

    def revert(self, at: At) -> str:
        layout = _layout(at)
        rows = _ours(at)
        if not rows:
            return _reverted(0, ())
        attachments = bulk.lines(at.data['attachments'])
        when = _when(at)

        def write(connection: sa.engine.Connection) -> str:
            keys = [bulk.key(r) for r in rows]
            now = bulk.rows(
                connection,
                layout.volumes('deleted = 0'),
                bulk.among('id', keys),
                lock=True,
            )
            back = _cleaned(layout, now)
            if layout.name == 'M1':
                back -= _attached_again(connection, keys, attachments, when)
            before = [r for r in rows if bulk.key(r) in back]
            if before:
                _restore_volumes(connection, layout, before)
                _restore_attachments(
                    connection,
                    [r for r in attachments if bulk.field(r, 1) in back],
                )
                _restore_modes(connection, at, sorted(back))
            as_before = {bulk.key(r) for r in set(now).intersection(rows)}
            return _reverted(len(back), set(keys) - back - as_before)

        return str(_cinder(at).write(write))


def _cleaned(layout: Layout, now: Sequence[str]) -> set[str]:
    """The keys of those rows that are as we leave them."""
    found = set()
    for row in now:
        key = bulk.key(row)
        if row == layout.cleaned(key):
            found.add(key)
    return found


def _clean_volumes(
    connection: sa.engine.Connection,
    layout: Layout,
    ids: list[str],
    exactly: str = '',
) -> None:
    """Write what the guide's UPDATE, as the schema allows it, writes."""
    _update(
        connection,
        f'volumes SET {layout.clean}',
        # on Galera a lock guards nothing against another node
        f'{bulk.among("id", ids)} AND {layout.stale}{exactly}',
        len(ids),
    )


def _clean_attachments(
    connection: sa.engine.Connection, attachments: list[str], when: str
) -> None:
    """As volume_detached of cinder/db/sqlalchemy/api.py."""
    if attachments:
        ids = [bulk.key(r) for r in attachments]
        _update(
            connection,
            f"volume_attachment SET deleted = 1, deleted_at = '{when}',"
            f" detach_time = '{when}', attach_status = 'detached'",
            f'{bulk.among("id", ids)} AND deleted = 0',
            len(ids),
        )


def _clean_modes(
    connection: sa.engine.Connection, among: str, when: str
) -> None:
    _update(
        connection,
        f"volume_admin_metadata SET deleted = 1, deleted_at = '{when}'",
        f'{among} AND {old_volumes.MODES.where}',
    )


def _attachments(
    connection: sa.engine.Connection, volumes: list[str]
) -> list[str]:
    return bulk.rows(
        connection,
        old_volumes.ATTACHMENTS,
        bulk.among('volume_id', volumes),
        lock=True,
    )


def _attached_again(
    connection: sa.engine.Connection,
    volumes: list[str],
    attachments: list[str],
    when: str,
) -> set[str]:
    """Volumes whose attachments are no longer as we left them."""
    found = {bulk.field(r, 1) for r in _attachments(connection, volumes)}
    if not attachments:
        return found
    ended = Selection(
        'volume_attachment',
        'id',
        ('volume_id',),
        f"deleted = 1 AND deleted_at = '{when}'",
    )
    ours = {
        bulk.key(r)
        for r in bulk.rows(
            connection,
            ended,
            bulk.among('id', [bulk.key(r) for r in attachments]),
            lock=True,
        )
    }
    return found | {
        bulk.field(r, 1) for r in attachments if bulk.key(r) not in ours
    }


def _restore_volumes(
    connection: sa.engine.Connection, layout: Layout, rows: list[str]
) -> None:
    # A row at a time, since each has values of its own; all are locked, and
    # were compared.
    names = [f'_{name}' for name in ('id', *layout.columns)]
    table = sa.table('volumes', *map(sa.column, ('id', *layout.columns)))
    connection.execute(
        sa.update(table)
        .where(table.c.id == sa.bindparam('_id'))
        .values({name: sa.bindparam(f'_{name}') for name in layout.columns}),
        [dict(pairs(names, bulk.fields(row))) for row in rows],
    )


def _restore_attachments(
    connection: sa.engine.Connection, rows: list[str]
) -> None:
    by_status: dict[str | None, list[str]] = {}
    for row in rows:
        key, _volume, status, *_more = bulk.fields(row)
        by_status.setdefault(status, []).append(str(key))
    names = ('id', 'deleted', 'deleted_at', 'detach_time', 'attach_status')
    table = sa.table('volume_attachment', *map(sa.column, names))
    for status, ids in by_status.items():
        connection.execute(
            sa.update(table)
            .where(table.c.id.in_(ids))
            .values(
                deleted=0,
                deleted_at=None,
                detach_time=None,
                attach_status=status,
            )
        )


def _restore_modes(
    connection: sa.engine.Connection, at: At, volumes: list[str]
) -> None:
    ids = at.data['modes'].split()
    if ids:
        _update(
            connection,
            'volume_admin_metadata SET deleted = 0, deleted_at = NULL',
            f'{bulk.among("id", ids)} AND {bulk.among("volume_id", volumes)}'
            f" AND deleted = 1 AND deleted_at = '{_when(at)}'",
        )
