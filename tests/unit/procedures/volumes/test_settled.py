# SPDX-License-Identifier: Apache-2.0

"""Whether cinder may still be at a volume."""

from __future__ import annotations

from typing import Any
from unittest import mock

from nova_recovery.engine import overrides
from nova_recovery.procedures.volumes import gates
from tests.base import TestCase


class TestSettled(TestCase):
    def settled(self, age: float) -> Any:
        return gates.settled(mock.Mock(id='v1', age=age))

    def test_an_override_holds_while_the_volume_gets_older(self) -> None:
        (given,) = overrides.apply(
            [self.settled(5)],
            overrides.parse_overrides(['not-under-way:v1=cinder is off']),
        )
        (now,) = overrides.as_approved([self.settled(100)], [given])
        self.assertEqual('overridden', now.state)
