# SPDX-License-Identifier: Apache-2.0

"""Start, hard reboot, evacuation: what nova records of each is judged."""

from __future__ import annotations

from typing import Any

from nova_recovery.changes import history
from nova_recovery.changes.once import (
    EvacuateServer,
    RebootServer,
    StartServer,
)
from nova_recovery.engine import clock
from nova_recovery.engine.change import Interrupted, State
from nova_recovery.exceptions import (
    ChangeFailed,
    NotFound,
    NotRevertible,
    OutcomeUnknown,
)
from tests.unit.changes.case import ChangeTestCase, UUID, VOLUME


class RequestTestCase(ChangeTestCase):
    """A server, and a nova that carries out what a test says.

    :ivar sent: what was sent
    """

    action: str
    ROW: dict[str, Any] = {}
    DATA: dict[str, Any] = {}

    def setUp(self) -> None:
        super().setUp()
        self.add_server(**self.ROW)
        self.make_item(
            f'server:{UUID}', cell='cell1', uuid=UUID, settle=0, patience=5,
            **self.DATA,
        )  # fmt: skip
        self.asked('reboot', 'of before')
        self.add_fault(1, 'of before')
        self.sent: list[Any] = []
        self.compute_state: dict[str, Any] = {'state': 'up'}
        compute = self.cloud.compute
        compute.service.side_effect = lambda host: self.compute_state
        for name in ('start', 'reboot_hard', 'evacuate'):
            getattr(compute, name).side_effect = self.send

    def send(self, *args: Any) -> str:
        self.sent.append(args)
        self.asked(self.action, 'ours')
        return 'ours'

    def asked(self, action: str, request: str) -> None:
        number = len(self.cell.rows('instance_actions')) + 1
        self.cell.add(
            'instance_actions', id=number, action=action, deleted=0,
            request_id=request, instance_uuid=UUID, user_id='admin',
        )  # fmt: skip

    def ended(self, result: str = 'Success') -> None:
        """nova-compute has done with the newest request."""
        newest = self.cell.rows('instance_actions')[-1]
        self.cell.add(
            'instance_actions_events', action_id=newest['id'], deleted=0,
            event=history.EVENTS[newest['action']], result=result,
        )  # fmt: skip

    def add_fault(self, number: int, message: str) -> None:
        self.cell.add(
            'instance_faults', id=number, instance_uuid=UUID, deleted=0,
            code=500, message=message,
        )  # fmt: skip

    def follow(self) -> str:
        return str(self.change.follow(self.begun))

    def failed(self) -> str:
        return str(self.assertRaises(ChangeFailed, self.follow))


class Requests:
    """What holds of each."""

    def test_sent_once_and_found_by_its_row(self: Any) -> None:
        self.assertEqual('sent (ours)', self.apply())
        self.assertEqual(1, len(self.sent))
        notes = dict(self.begun.notes)
        self.assertIsNotNone(clock.since(notes.pop('sending')))
        self.assertEqual({'request_id': 'ours'}, notes)
        self.assert_seen(State.UNDERWAY, again=True)

    def test_an_answer_that_was_lost_is_no_reason_to_send_again(
        self: Any,
    ) -> None:
        self.begin()
        self.send()
        self.assertEqual({}, self.begun.notes)
        self.assert_seen(State.UNDERWAY, again=True)

    def test_one_that_nova_has_no_record_of_was_not_carried_out(
        self: Any,
    ) -> None:
        self.begin()
        self.assert_seen(State.BEFORE, again=True)

    def test_not_to_a_server_that_changed_since(self: Any) -> None:
        """It was not carried out, and by now it makes no sense."""
        self.begin()
        self.set_server(host='np-rcc47', vm_state='shelved')
        self.assert_seen(State.NEITHER, 'np-rcc47', again=True)

    def test_one_that_nova_accepted_and_has_no_record_of(self: Any) -> None:
        self.begin(notes={'request_id': 'ours'})
        self.assert_seen(State.UNKNOWN, 'has no record of it', again=True)

    def test_a_task_of_whoever_else_proves_nothing(self: Any) -> None:
        self.begin()
        self.set_server(task_state='image_snapshot')
        self.assert_seen(State.UNKNOWN, 'image_snapshot', again=True)

    def test_what_nova_never_ends_is_in_doubt(self: Any) -> None:
        self.item.data['patience'] = 0
        self.apply()
        error = self.assertRaises(OutcomeUnknown, self.follow)
        self.assertIn('is under way for 0 s', str(error))

    def test_the_operator_need_not_wait(self: Any) -> None:
        self.apply()
        self.begun.stopping.set()
        self.assertRaises(Interrupted, self.follow)

    def test_a_server_that_was_deleted(self: Any) -> None:
        self.set_server(deleted=1)
        self.assertRaises(NotFound, self.look)

    def test_it_has_no_way_back(self: Any) -> None:
        self.apply()
        self.assert_refused(
            NotRevertible, self.revert, 'openstack server migrate'
        )


class OnAHost(Requests):
    """And of those that go to the server's own nova-compute."""

    def test_not_to_a_compute_that_is_not_up(self: Any) -> None:
        self.begin()
        for state, told in (
            ({'state': 'down'}, 'is down'),
            ({'state': 'up', 'forced_down': True}, 'is forced down'),
        ):
            self.compute_state = state
            error = self.assertRaises(
                ChangeFailed, self.change.apply, self.begun
            )
            self.assertIn(told, str(error))
        self.assertEqual([], self.sent)

    def test_it_is_followed_to_its_end(self: Any) -> None:
        self.apply()
        self.set_server(task_state='powering-on')
        self.assert_seen(State.UNDERWAY, 'powering-on', again=True)

        def end() -> None:
            self.ended()
            self.set_server(task_state=None, vm_state='active')

        self.while_it_waits(end)
        self.assertEqual('active on np-rcc54 (ours)', self.follow())
        self.assert_seen(State.AFTER, 'active on np-rcc54', again=True)

    def test_a_server_elsewhere(self: Any) -> None:
        self.set_server(host='np-rcc46')
        self.assert_seen(State.NEITHER, 'the server is on np-rcc46')


class TestStart(RequestTestCase, OnAHost):
    action = 'start'
    change = StartServer()
    ROW = {'vm_state': 'stopped', 'power_state': 4}
    DATA = {'target': 'np-rcc54'}

    def test_one_that_runs_already(self) -> None:
        self.set_server(vm_state='active')
        self.assert_seen(State.AFTER, 'runs already')

    def test_one_that_cannot_be_started(self) -> None:
        self.set_server(vm_state='shelved')
        self.assert_seen(State.NEITHER, 'the server is shelved')

    def test_one_that_failed(self) -> None:
        self.apply()
        self.add_fault(2, 'no such disk')
        self.ended('Error')
        told = self.failed()
        self.assertIn('start failed on np-rcc54: no such disk', told)
        self.assertIn('--again web=REASON', told)
        self.assert_seen(State.NEITHER, 'no such disk', again=True)

    def test_one_that_failed_and_that_somebody_mended(self) -> None:
        self.apply()
        self.ended('Error')
        self.set_server(vm_state='active')
        self.assert_seen(State.AFTER, 'runs by now', again=True)


class TestStartOnVolumes(ChangeTestCase):
    """A server that was moved starts on what cinder holds for it alone."""

    change = StartServer()

    def setUp(self) -> None:
        super().setUp()
        self.add_server(vm_state='stopped')
        self.make_item(
            f'server:{UUID}', cell='cell1', uuid=UUID, settle=0, patience=1,
        )  # fmt: skip
        self.cell.add(
            'block_device_mapping', id=1, instance_uuid=UUID, deleted=0,
            volume_id=VOLUME, attachment_id='a1',
        )  # fmt: skip

    def attach(self, server: str) -> None:
        self.cinder.add(
            'volume_attachment', id='a1', deleted=0, volume_id=VOLUME,
            instance_uuid=server, attach_status='attached',
        )  # fmt: skip

    def test_held_for_it(self) -> None:
        self.attach(UUID)
        self.assert_seen(State.BEFORE)

    def test_held_for_nobody(self) -> None:
        self.assert_seen(State.NEITHER, f'holds volume {VOLUME} for nobody')

    def test_held_for_another_server(self) -> None:
        self.attach('another')
        self.assert_seen(State.NEITHER, 'an attachment of another server')


class TestReboot(RequestTestCase, OnAHost):
    action = 'reboot'
    change = RebootServer()
    DATA = {'host': 'np-rcc54', 'mark': 1}

    def test_states_that_nova_takes_it_in(self) -> None:
        for state in ('active', 'paused', 'suspended', 'error'):
            self.set_server(vm_state=state)
            self.assert_seen(State.BEFORE)
        for state in ('stopped', 'rescued', 'building'):
            self.set_server(vm_state=state)
            self.assert_seen(State.NEITHER, state)

    def test_one_that_failed_without_a_fault(self) -> None:
        self.apply()
        self.ended('Error')
        self.assertIn('see the log of nova-compute', self.failed())

    def test_a_reboot_of_somebody_else_is_not_taken_for_ours(self) -> None:
        self.apply()
        self.asked('reboot', 'of the owner')
        self.ended('Error')
        self.assert_seen(State.UNDERWAY, again=True)

    def test_one_since_the_plan_keeps_it_from_being_sent(self) -> None:
        self.asked('start', 'of the owner')
        self.assert_seen(State.NEITHER, 'its start (of the owner)')


class TestEvacuate(RequestTestCase, Requests):
    """Its migration tells how it goes."""

    action = 'evacuate'
    change = EvacuateServer()
    DATA = {'source': 'np-rcc54', 'target': 'np-rcc46', 'task_state': None}

    def setUp(self) -> None:
        super().setUp()
        self.add_migration(1, 'error')

    def add_migration(self, number: int, status: str) -> None:
        self.cell.add(
            'migrations', id=number, instance_uuid=UUID, deleted=0,
            migration_type='evacuation', status=status,
            source_compute='np-rcc54',
        )  # fmt: skip

    def test_to_the_host_of_the_plan(self) -> None:
        self.apply()
        self.assertEqual([(UUID, 'np-rcc46')], self.sent)

    def test_what_nova_does_not_evacuate(self) -> None:
        for values, told in (
            ({'host': 'np-rcc46'}, 'the server is on np-rcc46'),
            ({'vm_state': 'paused'}, 'the server is paused'),
            ({'task_state': 'deleting'}, 'the server is deleting'),
        ):
            self.set_server(
                host='np-rcc54', vm_state='active', task_state=None
            )
            self.set_server(**values)
            self.assert_seen(State.NEITHER, told)

    def test_a_task_that_the_plan_knew_is_overwritten(self) -> None:
        self.item.data['task_state'] = 'powering-off'
        self.set_server(task_state='powering-off')
        self.assert_seen(State.BEFORE)

    def test_its_way(self) -> None:
        self.apply()
        self.set_server(task_state='rebuilding')
        self.assert_seen(State.UNDERWAY, 'accepted', again=True)
        self.add_migration(2, 'pre-migrating')
        self.assert_seen(State.UNDERWAY, 'pre-migrating', again=True)
        self.set_server(host='np-rcc46')
        self.assert_seen(State.UNDERWAY, 'rebuilding', again=True)
        self.cell.clear('migrations')
        self.add_migration(2, 'done')
        self.set_server(task_state=None)
        self.assert_seen(State.AFTER, 'active on np-rcc46', again=True)
        self.assertEqual('active on np-rcc46', self.follow())

    def test_one_that_failed(self) -> None:
        self.apply()
        self.add_migration(2, 'failed')
        self.add_fault(2, 'no room')
        self.assertIn('evacuation failed: no room', self.failed())

    def test_one_that_the_scheduler_gave_up(self) -> None:
        """Before there was a migration that could tell."""
        self.apply()
        self.set_server(vm_state='error', task_state=None)
        self.add_fault(2, 'No valid host was found')
        self.assertIn('evacuation failed: No valid host', self.failed())
