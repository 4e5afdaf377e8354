# SPDX-License-Identifier: Apache-2.0

"""Whether nova hears of a nova-compute, by its count of reports."""

from __future__ import annotations

from typing import Any
from unittest import mock

import fixtures

from nova_recovery.changes import see_service
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed
from tests.base import TestCase
from tests.unit.at import at


class See(TestCase):
    def follow(self, *reports: int) -> str:
        rows = iter([*reports, *([reports[-1]] * 1000)])
        self.useFixture(
            fixtures.MockPatchObject(
                see_service.claims,
                'service_row',
                lambda database, number: {'report_count': next(rows)},
            )
        )
        item = Item('i', 'see-service', 'host:c1', 'c1', self.data())
        stopping = mock.Mock(wait=lambda seconds: False)
        return see_service.SeeService().follow(at(item, stopping=stopping))

    def data(self) -> dict[str, Any]:
        return {'host': 'c1', 'cell': 'cell1', 'service_id': 3}

    def test_it_is_waited_for_until_it_reports(self) -> None:
        self.assertEqual('it reports, after 6 s', self.follow(7, 7, 7, 8))

    def test_one_that_never_reports(self) -> None:
        error = self.assertRaises(ChangeFailed, self.follow, 7)
        self.assertIn('has reported nothing', str(error))
