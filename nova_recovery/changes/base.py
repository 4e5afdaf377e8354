# SPDX-License-Identifier: Apache-2.0

"""What most changes have in common."""

from __future__ import annotations

from nova_recovery.engine import change
from nova_recovery.engine import plan
from nova_recovery import exceptions


class BaseChange:
    """A change that is over when ``apply`` returns."""

    kind: str
    once: bool = False

    def describe(self, item: plan.Item) -> list[str]:
        return []

    def follow(
        self, item: plan.Item, context: change.Context, past: change.Past
    ) -> str:
        return ''

    def no_way_back(self, item: plan.Item) -> str:
        return ''


class OneWay(BaseChange):
    """A change that nothing takes back; ``no_way_back`` says why."""

    def revert(
        self, item: plan.Item, context: change.Context, past: change.Past
    ) -> str:
        raise exceptions.NotRevertible(self.no_way_back(item))


class Look(BaseChange):
    """One that changes nothing: ``apply`` fails if it is not as it should."""

    def observe(
        self,
        item: plan.Item,
        context: change.Context,
        past: change.Past | None,
    ) -> change.Observed:
        return change.Observed(change.State.BEFORE)

    def revert(
        self, item: plan.Item, context: change.Context, past: change.Past
    ) -> str:
        return 'nothing was changed'
