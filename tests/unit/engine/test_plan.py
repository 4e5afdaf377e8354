# SPDX-License-Identifier: Apache-2.0

"""What a plan has to be, so that it can be carried out."""

from __future__ import annotations

from nova_recovery.engine import change
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import RecoveryError
from tests.base import TestCase
from tests.unit import plans
from tests.unit.engine import world

KINDS = {'set': '', 'take': '', 'give': 'take'}


def item(kind: str, subject: str, *follows: str, number: int = 1) -> Item:
    return Item(f'{kind}:{subject}:{number}', kind, subject, 'a', {}, follows)


class CheckTest(TestCase):
    def wrong(self, *items: Item) -> str:
        plan = world.plan_of(list(items[:2]), list(items[2:]))
        return str(self.assertRaises(RecoveryError, plan.check, KINDS))

    def test_one_that_is_right(self) -> None:
        world.plan_of(
            [item('take', 'host:h')],
            [item('set', 's:1', 'host:h', 'of no item'), item('set', 's:2')],
            [item('give', 'host:h', 's:1', 's:2')],
        ).check(KINDS)
        plans.make().check(change.kinds(plans.REGISTRY))

    def test_two_items_with_one_id(self) -> None:
        self.assertIn(
            'two items have the id set:s:1:1',
            self.wrong(item('set', 's:1'), item('set', 's:1')),
        )

    def test_a_kind_that_nobody_knows(self) -> None:
        self.assertIn(
            'there is no change called bake', self.wrong(item('bake', 's:1'))
        )

    def test_what_waits_for_something_later(self) -> None:
        self.assertIn(
            'set:s:1:1 follows v:1, which comes later',
            self.wrong(item('set', 's:1', 'v:1'), item('set', 'v:1')),
        )

    def test_a_claim_that_stays(self) -> None:
        taken = item('take', 'host:h')
        for items in (
            [taken],
            [taken, item('give', 'host:other')],
            [item('give', 'host:h'), taken],
        ):
            self.assertIn(
                'take:host:h:1 has no give after it', self.wrong(*items)
            )
