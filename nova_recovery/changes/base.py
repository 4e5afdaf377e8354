# SPDX-License-Identifier: Apache-2.0

"""What most changes have in common."""

from __future__ import annotations

from nova_recovery.engine.change import Context, Observed, Past, State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import NotRevertible


class BaseChange:
    """A change that is over when ``apply`` returns."""

    kind: str
    once: bool = False

    def describe(self, item: Item) -> list[str]:
        return []

    def follow(self, item: Item, context: Context, past: Past) -> str:
        return ''

    def no_way_back(self, item: Item) -> str:
        return ''


class OneWay(BaseChange):
    """A change that nothing takes back; ``no_way_back`` says why."""

    def revert(self, item: Item, context: Context, past: Past) -> str:
        raise NotRevertible(self.no_way_back(item))


class Look(BaseChange):
    """One that changes nothing: ``apply`` fails if it is not as it should."""

    def observe(
        self, item: Item, context: Context, past: Past | None
    ) -> Observed:
        return Observed(State.BEFORE)

    def revert(self, item: Item, context: Context, past: Past) -> str:
        return 'nothing was changed'
