# SPDX-License-Identifier: Apache-2.0

"""Cinder's half of the guide's reset: nobody has these volumes."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from nova_recovery.changes import legacy_mappings
from nova_recovery.changes import legacy_rows as legacy
from nova_recovery.changes.base import At
from nova_recovery.changes.legacy_rows import CleanRows, Differs
from nova_recovery.cloud.db import bulk, old_volumes
from nova_recovery.cloud.db.bulk import Selection
from nova_recovery.cloud.db.old_volumes import Layout
from nova_recovery.engine.plan import Item


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
        layout = legacy.layout(at)
        if not rows:
            return 0, 0, set()
        keys = [bulk.key(r) for r in rows]
        with legacy.cinder(at).connect() as connection:
            now = bulk.rows(
                connection,
                layout.volumes('deleted = 0'),
                bulk.among('id', keys),
            )
        before = {bulk.key(r) for r in set(now).intersection(rows)}
        after = _cleaned(layout, now)
        return len(before), len(after), set(keys) - before - after

    def apply(self, at: At) -> str:
        layout = legacy.layout(at)
        rows = bulk.lines(at.data['rows'])
        attachments = bulk.lines(at.data['attachments'])
        mapped = legacy_mappings.still_mapped(at)

        keys = [bulk.key(r) for r in rows]
        selection = layout.volumes(layout.stale)
        exactly = selection.exactly(at.data['rows'])
        when = legacy.when(at)

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
            return legacy.written(len(keys), ())

        def apart(connection: sa.engine.Connection) -> str:
            found = bulk.rows(
                connection, selection, bulk.among('id', keys), lock=True
            )
            left = legacy.changed(rows, found) | mapped
            if layout.name == 'M1':
                now = _attachments(connection, keys)
                left |= {bulk.field(r, 1) for r in set(now) ^ set(attachments)}
            ids = legacy.to_write(at, rows, left)
            _clean_volumes(connection, layout, ids)
            _clean_attachments(
                connection,
                [r for r in attachments if bulk.field(r, 1) not in left],
                when,
            )
            if at.data['modes']:
                _clean_modes(connection, bulk.among('volume_id', ids), when)
            return legacy.written(len(ids), left)

        return legacy.write(legacy.cinder(at), at_once, apart)

    def revert(self, at: At) -> str:
        layout = legacy.layout(at)
        rows = legacy.ours(at)
        if not rows:
            return legacy.reverted(0, ())
        attachments = bulk.lines(at.data['attachments'])
        when = legacy.when(at)

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
            return legacy.reverted(len(back), set(keys) - back - as_before)

        return str(legacy.cinder(at).write(write))


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
    legacy.update(
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
        legacy.update(
            connection,
            f"volume_attachment SET deleted = 1, deleted_at = '{when}',"
            f" detach_time = '{when}', attach_status = 'detached'",
            f'{bulk.among("id", ids)} AND deleted = 0',
            len(ids),
        )


def _clean_modes(
    connection: sa.engine.Connection, among: str, when: str
) -> None:
    legacy.update(
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
        [dict(zip(names, bulk.fields(row), strict=True)) for row in rows],
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
        legacy.update(
            connection,
            'volume_admin_metadata SET deleted = 0, deleted_at = NULL',
            f'{bulk.among("id", ids)} AND {bulk.among("volume_id", volumes)}'
            f" AND deleted = 1 AND deleted_at = '{legacy.when(at)}'",
        )
