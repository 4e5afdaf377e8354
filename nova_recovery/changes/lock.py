# SPDX-License-Identifier: Apache-2.0

"""Keep the owner of a server from acting while it is moved."""

from __future__ import annotations

from nova_recovery.changes import cell
from nova_recovery.changes.base import BaseChange
from nova_recovery.engine.change import Context, JSON, Observed, Past, State
from nova_recovery.engine.plan import Item


class _Locking(BaseChange):
    """What lock and unlock have in common. Data: cell, uuid.

    An administrator's lock stops members, not other administrators: the
    claim on the host is for those.
    """

    #: Whether the server is locked afterwards.
    locks: bool
    word: str

    def describe(self, item: Item) -> list[str]:
        return [f'~ {self.word}']

    def observe(
        self, item: Item, context: Context, past: Past | None
    ) -> Observed:
        if _locked(item, context) is self.locks:
            # Before the first intent this is somebody else's lock, which
            # protects just as well.
            return Observed(State.AFTER, self.word)
        return Observed(State.BEFORE, image={'locked': not self.locks})


class LockServer(_Locking):
    """Lock; planned only for servers that aren't locked already."""

    kind = 'lock-server'
    locks, word = True, 'locked'

    def describe(self, item: Item) -> list[str]:
        return ['~ locked while it is moved']

    def apply(self, item: Item, context: Context, image: JSON) -> str:
        context.cloud.compute.lock(item.data['uuid'], context.marker)
        return self.word

    def revert(self, item: Item, context: Context, past: Past) -> str:
        if not _locked(item, context):
            return 'already unlocked'
        context.cloud.compute.unlock(item.data['uuid'])
        return 'unlocked'


class UnlockServer(_Locking):
    """Take our lock off again."""

    kind = 'unlock-server'
    locks, word = False, 'unlocked'

    def apply(self, item: Item, context: Context, image: JSON) -> str:
        context.cloud.compute.unlock(item.data['uuid'])
        return self.word

    def revert(self, item: Item, context: Context, past: Past) -> str:
        return 'stays unlocked'


def _locked(item: Item, context: Context) -> bool:
    return bool(cell.server_row(item, context)['locked'])
