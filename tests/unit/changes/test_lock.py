# SPDX-License-Identifier: Apache-2.0

"""The owner of a server is kept away while it is moved."""

from __future__ import annotations

from typing import Any

from nova_recovery.changes.lock import LockServer, UnlockServer
from nova_recovery.engine.change import State
from nova_recovery.exceptions import ChangeFailed, NotFound
from tests.unit.at import MARKER, RUN
from tests.unit.changes.case import ChangeTestCase, UUID

REASON = f'nova-recovery run={RUN}'


class LockTestCase(ChangeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.add_server()
        compute = self.cloud.compute
        compute.lock.side_effect = lambda uuid, reason: self.lock(1, reason)
        compute.unlock.side_effect = lambda uuid: self.lock(0)
        compute.speaks.return_value = True

    def lock(self, locked: int, reason: str | None = None) -> None:
        """As nova keeps it."""
        self.set_server(locked=locked)
        self.cell.clear('instance_system_metadata')
        if reason:
            self.cell.add(
                'instance_system_metadata', id=1, instance_uuid=UUID,
                key='locked_reason', value=reason, deleted=0,
            )  # fmt: skip

    def locked(self) -> Any:
        return self.cell.row('instances')['locked']


class TestLock(LockTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.change = LockServer()
        self.make_item(f'server:{UUID}', cell='cell1', uuid=UUID)

    def test_locked_and_unlocked_again(self) -> None:
        self.assertEqual('locked', self.apply())
        self.cloud.compute.lock.assert_called_once_with(UUID, REASON)
        self.assertNotIn('anna', REASON)
        self.assert_seen(State.AFTER, 'locked', again=True)
        self.assertEqual('unlocked', self.revert())
        self.assertEqual(0, self.locked())
        self.assertEqual('already unlocked', self.revert())

    def test_somebody_elses_lock_protects_as_well(self) -> None:
        self.lock(1)
        self.assert_seen(State.AFTER, 'locked')

    def test_somebody_elses_lock_is_not_taken_back(self) -> None:
        self.apply()
        self.lock(1, 'the owner is being billed')
        self.assertIn('the owner is being billed', self.revert())
        self.assertEqual(1, self.locked())

    def test_one_that_was_not_carried_out_may_be_sent_again(self) -> None:
        self.begin()
        self.assert_seen(State.BEFORE, again=True)

    def test_one_that_nova_refuses(self) -> None:
        self.cloud.compute.lock.side_effect = ChangeFailed('409')
        self.begin()
        self.assert_refused(
            ChangeFailed, lambda: self.change.apply(self.begun), '409'
        )

    def test_a_server_that_was_deleted(self) -> None:
        self.set_server(deleted=1)
        self.assert_refused(NotFound, self.look, UUID)


class TestUnlock(LockTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.lock(1, REASON)
        self.change = UnlockServer()
        self.make_item(f'server:{UUID}', cell='cell1', uuid=UUID)

    def test_unlocked_and_it_stays_so(self) -> None:
        self.assertEqual('unlocked', self.apply())
        self.assertEqual(0, self.locked())
        self.assert_seen(State.AFTER, 'unlocked', again=True)
        self.assertEqual('stays unlocked', self.revert())
        self.assertEqual(0, self.locked())

    def test_somebody_unlocked_it_already(self) -> None:
        self.lock(0)
        self.assert_seen(State.AFTER, 'unlocked')

    def test_somebody_elses_lock_stays(self) -> None:
        """They unlocked it, and locked it for a reason of their own."""
        for reason in ('audit', 'nova-recovery run=99999999', None):
            self.lock(1, reason)
            self.assert_seen(State.AFTER, f'else: {reason or "no reason"}')
            self.assertEqual(1, self.locked())

    def test_a_lock_of_a_run_of_an_earlier_version(self) -> None:
        self.lock(1, MARKER)
        self.assertEqual('unlocked', self.apply())

    def test_before_train_nova_keeps_no_reason(self) -> None:
        self.cloud.compute.speaks.return_value = False
        self.lock(1)
        self.assertEqual('unlocked', self.apply())
