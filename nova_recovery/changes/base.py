# SPDX-License-Identifier: Apache-2.0

"""What most changes have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nova_recovery.engine import change
from nova_recovery.engine.change import Observed
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import NotRevertible

if TYPE_CHECKING:
    from typing_extensions import TypeAlias

    from nova_recovery.cloud.cloud import Cloud

#: What each call of a change is given, with the cloud that it writes to.
At: TypeAlias = 'change.At[Cloud]'


class BaseChange:
    """A change that is over when ``apply`` returns."""

    kind: str
    once: bool = False
    looks: bool = False
    watches: bool = False
    confirms: bool = False
    method: str = ''
    starts: bool = False
    stops: bool = False

    def describe(self, item: Item) -> list[str]:
        return []

    def follow(self, at: At) -> str:
        return ''

    def no_way_back(self, item: Item) -> str:
        return ''

    def past_undoing(self, at: At) -> str:
        return ''


class OneWay(BaseChange):
    """A change that nothing takes back; ``no_way_back`` says why."""

    def revert(self, at: At) -> str:
        raise NotRevertible(self.no_way_back(at.item))


class Look(BaseChange):
    """One that changes nothing: ``apply`` fails if it is not as it should."""

    looks = True

    def observe(self, at: At) -> Observed:
        return Observed.before()

    def revert(self, at: At) -> str:
        return 'nothing was changed'
