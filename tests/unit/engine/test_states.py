# SPDX-License-Identifier: Apache-2.0

"""What an item's state means to those who ask."""

from __future__ import annotations

from nova_recovery.engine import states
from tests.base import TestCase


class StatesTest(TestCase):
    def test_what_ended_badly_and_what_has_no_end_are_two_things(self) -> None:
        self.assertEqual({'failed', 'conflict', 'doubt'}, states.BAD)
        self.assertEqual({'intent', 'sent', 'doubt'}, states.UNSETTLED)

    def test_each_state_is_one_of_these(self) -> None:
        kinds = (states.FINAL, states.OPEN, states.BAD, {states.BLOCKED})
        self.assertEqual(states.ALL, frozenset().union(*kinds))
        self.assertEqual(len(states.ALL), sum(map(len, kinds)))
