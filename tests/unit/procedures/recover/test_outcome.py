# SPDX-License-Identifier: Apache-2.0

"""What became of each server, as a table."""

from __future__ import annotations

from nova_recovery.procedures import table
from tests.base import TestCase
from tests.unit.procedures.recover import scenarios, test_decide


class OutcomeTest(TestCase):
    def test_a_name_with_a_colon_is_told_whole(self) -> None:
        uuid = scenarios.UUID.format(1)
        plan, _ = test_decide.planned(
            {'db: main': {}, 'web': {}}, exclude=['db: main']
        )
        _, rows = table(plan, None)
        self.assertEqual(
            ('db: main', uuid, '', '', 'left out', 'excluded'), rows[0]
        )
        self.assertEqual('web', rows[1][0])
