# SPDX-License-Identifier: Apache-2.0

"""Keep the owner of a server from acting while it is moved."""

from __future__ import annotations

import sqlalchemy as sa

from nova_recovery.changes import cell
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.cloud import claims
from nova_recovery.engine.change import Observed
from nova_recovery.engine.plan import Item


class _Locking(BaseChange):
    """What lock and unlock have in common. Data: cell, uuid.

    An administrator's lock stops members, not other administrators: the
    claim on the host is for those.
    """

    word: str

    def describe(self, item: Item) -> list[str]:
        return [f'~ {self.word}']


class LockServer(_Locking):
    """Lock; planned only for servers that aren't locked already."""

    kind = 'lock-server'
    word = 'locked'

    def describe(self, item: Item) -> list[str]:
        return ['~ locked while it is moved']

    def observe(self, at: At) -> Observed:
        if _lock(at) is not None:
            # Before the first intent this is somebody else's lock, which
            # protects just as well.
            return Observed.after(self.word)
        return Observed.before({'locked': False})

    def apply(self, at: At) -> str:
        at.cloud.compute.lock(at.data['uuid'], _reason(at))
        return self.word

    def revert(self, at: At) -> str:
        lock = _lock(at)
        if lock is None:
            return 'already unlocked'
        if lock:
            return lock
        at.cloud.compute.unlock(at.data['uuid'])
        return 'unlocked'


class UnlockServer(_Locking):
    """Take our lock off again, and nobody else's."""

    kind = 'unlock-server'
    word = 'unlocked'

    def observe(self, at: At) -> Observed:
        lock = _lock(at)
        if lock == '':
            return Observed.before({'locked': True})
        return Observed.after(lock or self.word)

    def apply(self, at: At) -> str:
        at.cloud.compute.unlock(at.data['uuid'])
        return self.word

    def revert(self, at: At) -> str:
        return 'stays unlocked'


def _reason(at: At) -> str:
    """What our lock says. The members of the project read it."""
    return f'{claims.PREFIX}{at.run_id}'


def _lock(at: At) -> str | None:
    """None: not locked; '': by us; else that somebody else did, for people.

    nova keeps the reason of a lock from 2.73 on (Train) and drops it with
    the lock (``lock`` and ``unlock`` in nova/compute/api.py). Of earlier
    ones nobody can tell whose they are.
    """
    if not cell.server_row(at)['locked']:
        return None
    if not at.cloud.compute.speaks('2.73'):
        return ''
    database = cell.database(at)
    table = database.tables['instance_system_metadata']
    with database.reader() as connection:
        reason = connection.execute(
            sa.select(table.c.value).where(
                table.c.instance_uuid == at.data['uuid'],
                table.c.key == 'locked_reason',
                table.c.deleted == 0,
            )
        ).scalar()
    if claims.run_of(reason) == at.run_id:
        return ''
    return f'stays locked, by somebody else: {reason or "no reason given"}'
