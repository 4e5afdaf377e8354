# SPDX-License-Identifier: Apache-2.0

"""Keep the owner of a server from acting while it is moved."""

from __future__ import annotations

from nova_recovery.changes import cell
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.engine.change import Observed
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

    def observe(self, at: At) -> Observed:
        if _locked(at) is self.locks:
            # Before the first intent this is somebody else's lock, which
            # protects just as well.
            return Observed.after(self.word)
        return Observed.before({'locked': not self.locks})


class LockServer(_Locking):
    """Lock; planned only for servers that aren't locked already."""

    kind = 'lock-server'
    locks, word = True, 'locked'

    def describe(self, item: Item) -> list[str]:
        return ['~ locked while it is moved']

    def apply(self, at: At) -> str:
        at.cloud.compute.lock(at.data['uuid'], at.marker)
        return self.word

    def revert(self, at: At) -> str:
        if not _locked(at):
            return 'already unlocked'
        at.cloud.compute.unlock(at.data['uuid'])
        return 'unlocked'


class UnlockServer(_Locking):
    """Take our lock off again."""

    kind = 'unlock-server'
    locks, word = False, 'unlocked'

    def apply(self, at: At) -> str:
        at.cloud.compute.unlock(at.data['uuid'])
        return self.word

    def revert(self, at: At) -> str:
        return 'stays unlocked'


def _locked(at: At) -> bool:
    return bool(cell.server_row(at)['locked'])
