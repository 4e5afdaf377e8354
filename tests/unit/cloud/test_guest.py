# SPDX-License-Identifier: Apache-2.0

"""What a hypervisor says of a guest, by nova's API."""

from __future__ import annotations

from unittest import mock

from novaclient import exceptions as nova_exceptions

from nova_recovery.cloud.api.compute import Compute
from tests.base import TestCase

UUID = '3f57699a-e773-4650-a443-b4b37eed5a06'


class TestGuest(TestCase):
    """``raise_http_conflict_for_instance_invalid_state`` has these words.

    The state in them is that of the row, not of the hypervisor.
    """

    def compute(self, state: str | None) -> Compute:
        """:param state: of the row of one at rest; None: it runs"""
        compute = Compute(mock.Mock(), {}, 5)
        client = mock.Mock()
        if state is not None:
            client.servers.diagnostics.side_effect = nova_exceptions.Conflict(
                409,
                f"Cannot 'get_diagnostics' instance {UUID} while it is in "
                f'power state {state}',
            )
        mock.patch.object(compute, '_at_most', lambda version: client).start()
        self.addCleanup(mock.patch.stopall)
        return compute

    def test_a_guest_that_runs(self) -> None:
        compute = self.compute(None)
        self.assertTrue(compute.runs(UUID))
        self.assertFalse(compute.off(UUID))

    def test_a_guest_that_is_off(self) -> None:
        """Its row may not have noticed yet, such as after a power loss."""
        for state in ('shutdown', 'crashed', 'pending', 'running'):
            compute = self.compute(state)
            self.assertTrue(compute.off(UUID), state)
            self.assertFalse(compute.runs(UUID), state)

    def test_a_guest_that_does_not_run_and_holds_its_volumes(self) -> None:
        """Paused by its owner, or by QEMU on an I/O error."""
        for state in ('paused', 'suspended'):
            compute = self.compute(state)
            self.assertFalse(compute.off(UUID), state)
            self.assertFalse(compute.runs(UUID), state)
