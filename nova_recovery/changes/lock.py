# SPDX-License-Identifier: Apache-2.0

"""Keep the owner of a server from acting while it is moved."""

from __future__ import annotations

from nova_recovery.changes import base
from nova_recovery.changes import cell
from nova_recovery.engine import change
from nova_recovery.engine import plan

JSON = change.JSON


class _Locking(base.BaseChange):
    """What lock and unlock have in common. Data: cell, uuid.

    An administrator's lock stops members, not other administrators: the
    claim on the host is for those.
    """

    #: Whether the server is locked afterwards.
    locks: bool
    word: str

    def describe(self, item: plan.Item) -> list[str]:
        return [f'~ {self.word}']

    def observe(
        self,
        item: plan.Item,
        context: change.Context,
        past: change.Past | None,
    ) -> change.Observed:
        if _locked(item, context) is self.locks:
            # Before the first intent this is somebody else's lock, which
            # protects just as well.
            return change.Observed(change.State.AFTER, self.word)
        return change.Observed(
            change.State.BEFORE, image={'locked': not self.locks}
        )


class LockServer(_Locking):
    """Lock; planned only for servers that aren't locked already."""

    kind = 'lock-server'
    locks, word = True, 'locked'

    def describe(self, item: plan.Item) -> list[str]:
        return ['~ locked while it is moved']

    def apply(
        self, item: plan.Item, context: change.Context, image: JSON
    ) -> str:
        context.cloud.compute.lock(item.data['uuid'], context.marker)
        return self.word

    def revert(
        self, item: plan.Item, context: change.Context, past: change.Past
    ) -> str:
        if not _locked(item, context):
            return 'already unlocked'
        context.cloud.compute.unlock(item.data['uuid'])
        return 'unlocked'


class UnlockServer(_Locking):
    """Take our lock off again."""

    kind = 'unlock-server'
    locks, word = False, 'unlocked'

    def apply(
        self, item: plan.Item, context: change.Context, image: JSON
    ) -> str:
        context.cloud.compute.unlock(item.data['uuid'])
        return self.word

    def revert(
        self, item: plan.Item, context: change.Context, past: change.Past
    ) -> str:
        return 'stays unlocked'


def _locked(item: plan.Item, context: change.Context) -> bool:
    return bool(cell.server_row(item, context)['locked'])
