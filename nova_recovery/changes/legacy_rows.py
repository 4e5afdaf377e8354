# SPDX-License-Identifier: Apache-2.0

"""What the two halves of the guide's reset have in common.

Each is one transaction, in which the rows are locked, compared with what
the plan saw, and only those that are so are written. The plan has them as
they were; what was left alone is noted in the journal before the transaction
ends. So the journal always tells which rows are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from oslo_utils import timeutils
import sqlalchemy as sa

from nova_recovery.changes.base import At, BaseChange
from nova_recovery.cloud.db import bulk, old_volumes
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.old_volumes import Layout
from nova_recovery.engine.change import Observed
from nova_recovery.exceptions import ChangeFailed, Conflict

#: How many rows a line for people names; all are in the notes.
_NAMED = 5


class Differs(Conflict):
    """Some row isn't as the plan saw it, and none was written."""


def write(
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
        layout(at)
        if not at.begun:
            # Each row is compared under its lock; what is seen before that
            # may have changed by then.
            now = timeutils.utcnow().isoformat(' ', 'seconds')
            return Observed.before({'at': now})
        rows = ours(at)
        before, after, changed = self.standing(at, rows)
        if before:
            # All or nothing: what is as we would leave it was made so by
            # others, and stays theirs.
            return Observed.before(at.image)
        if after or not rows:
            left = changed.union(at.notes.get('left', ()))
            return Observed.after(written(after, left))
        return Observed.neither(f'changed since the plan: {_named(changed)}')

    def standing(
        self, at: At, rows: Sequence[str]
    ) -> tuple[int, int, set[str]]:
        """How many rows are as before and as after; the others' keys."""
        raise NotImplementedError


def layout(at: At) -> Layout:
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


def cinder(at: At) -> Database:
    """The database with the volumes."""
    return old_volumes.database(
        at.cloud.databases, layout(at), at.data['cell']
    )


def ours(at: At) -> list[str]:
    """The rows that we wrote, or are about to."""
    left = set(at.notes.get('left', ()))
    rows = bulk.lines(at.data['rows'])
    return [r for r in rows if bulk.key(r) not in left] if left else rows


def changed(rows: Sequence[str], now: Sequence[str]) -> set[str]:
    """The keys of rows that are no longer as they were."""
    if rows == now:
        return set()
    return {bulk.key(r) for r in set(rows).difference(now)}


def to_write(at: At, rows: Sequence[str], left: Collection[str]) -> list[str]:
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


def update(
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


def when(at: At) -> str:
    """When we wrote, as it stands in what we soft-deleted."""
    return str(timeutils.parse_isotime(at.image['at']).replace(tzinfo=None))


def written(count: int, left: Collection[str]) -> str:
    """What was done, one line."""
    if not left:
        return f'{count} rows'
    return (
        f'{count} rows; {len(left)} changed since the plan and were left as '
        f'they are: {_named(left)}'
    )


def reverted(count: int, others: Collection[str]) -> str:
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
