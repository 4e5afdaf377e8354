# SPDX-License-Identifier: Apache-2.0

"""nova's half of the guide's reset: what it maps ends."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from nova_recovery.changes import cell
from nova_recovery.changes import legacy_rows as legacy
from nova_recovery.changes.base import At
from nova_recovery.changes.legacy_rows import CleanRows, Differs
from nova_recovery.cloud.db import bulk, old_volumes
from nova_recovery.cloud.db.bulk import Selection
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.old_volumes import Layout
from nova_recovery.engine.plan import Item

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
        layout = legacy.layout(at)
        nova = cell.database(at)
        rows = bulk.lines(at.data['rows'])
        volumes = _volumes(rows)
        stale = _stale(legacy.cinder(at), layout, volumes)
        deleted = old_volumes.deleted(nova, _TABLE)
        what = (
            f'{_TABLE} SET deleted = {deleted},'
            f" deleted_at = '{legacy.when(at)}'"
        )

        among = bulk.among('id', [bulk.key(r) for r in rows])

        def at_once(connection: sa.engine.Connection) -> str:
            if len(stale) != len(volumes):
                raise Differs('cinder has some otherwise by now')
            # That it is live is all there is to compare: nova never gives
            # a mapping another volume or server.
            legacy.update(
                connection, what, f'{among} AND deleted = 0', len(rows)
            )
            return legacy.written(len(rows), ())

        def apart(connection: sa.engine.Connection) -> str:
            found = bulk.rows(connection, LIVE, among, lock=True)
            if not found:
                return 'nova maps none of them any more'
            left = legacy.changed(rows, found)
            # what cinder has otherwise by now is as little ours here
            left |= {
                bulk.key(r) for r in rows if bulk.field(r, 1) not in stale
            }
            ids = legacy.to_write(at, rows, left)
            legacy.update(
                connection,
                what,
                f'{bulk.among("id", ids)} AND deleted = 0',
                len(ids),
            )
            return legacy.written(len(ids), left)

        return legacy.write(nova, at_once, apart)

    def revert(self, at: At) -> str:
        """A mapping comes back where cinder has its volume as before."""
        layout = legacy.layout(at)
        rows = legacy.ours(at)
        if not rows:
            return legacy.reverted(0, ())
        volumes = _volumes(rows)
        held = _held(legacy.cinder(at), layout, volumes)
        by_us = f"deleted <> 0 AND deleted_at = '{legacy.when(at)}'"
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
                legacy.update(
                    connection,
                    f'{_TABLE} SET deleted = 0, deleted_at = NULL',
                    f'{bulk.among("id", back)} AND {by_us}',
                    len(back),
                )
            others = set(keys).difference(back)
            return legacy.reverted(
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
    with cell.database(at).connect() as connection:
        if not bulk.count(connection, LIVE, among):
            return set()
        return {bulk.field(r, 1) for r in bulk.rows(connection, LIVE, among)}


def _live(at: At, rows: Sequence[str]) -> list[str]:
    if not rows:
        return []
    with cell.database(at).connect() as connection:
        return bulk.rows(
            connection, LIVE, bulk.among('id', [bulk.key(r) for r in rows])
        )


def _volumes(rows: Sequence[str]) -> list[str]:
    return list({r.partition(bulk.SEPARATOR)[2] for r in rows})


def _stale(
    cinder: Database, layout: Layout, volumes: Sequence[str]
) -> set[str]:
    """Those of the volumes that cinder still has as stale."""
    selection = Selection('volumes', 'id', (), layout.stale)
    among = bulk.among('id', volumes)
    with cinder.connect() as connection:
        if bulk.count(connection, selection, among) == len(volumes):
            return set(volumes)
        return set(bulk.rows(connection, selection, among))


def _held(
    cinder: Database, layout: Layout, volumes: Sequence[str]
) -> dict[str, set[str]]:
    """The servers that cinder has each volume for, of those it has stale.

    ``~`` stands for one that it has for nobody in particular.
    """
    if layout.server is not None:
        selection = Selection('volumes', 'id', (layout.server,), layout.stale)
        with cinder.connect() as connection:
            return {
                bulk.key(r): {bulk.field(r, 1)}
                for r in bulk.rows(
                    connection, selection, bulk.among('id', volumes)
                )
            }
    found = {one: {bulk.NULL} for one in _stale(cinder, layout, volumes)}
    with cinder.connect() as connection:
        for row in bulk.rows(
            connection,
            old_volumes.ATTACHMENTS,
            bulk.among('volume_id', volumes),
        ):
            volume = bulk.field(row, 1)
            if volume in found:
                found[volume] -= {bulk.NULL}
                found[volume].add(bulk.field(row, 3))
    return found
