# SPDX-License-Identifier: Apache-2.0
"""Servers that ran before an outage: who restarts them, and how often."""

from __future__ import annotations

import contextlib
import io
import pathlib
import tempfile
import threading
from typing import Any
from unittest import mock

import fixtures
import sqlalchemy as sa

from nova_recovery.changes import history, once
from nova_recovery.changes.restart import RestartServer
from nova_recovery.engine.journal import ItemRecord, Journal
from nova_recovery.engine.plan import Item, Plan, Step
from nova_recovery.engine.progress import PlainReporter
from nova_recovery.engine.runner import Runner
from nova_recovery.exceptions import (
    ApiUnavailable,
    NotFound,
    NotRevertible,
    OutcomeUnknown,
)
from tests.base import TestCase
from tests.unit.at import at
from tests.unit.engine import world
from tests.unit.tables import Memory

MARK = 100


class Nova:
    """One server: its rows, its guest, and what its compute does."""

    def __init__(self, folder: str) -> None:
        self.cell = Memory(
            f'{folder}/cell.sqlite',
            instances='id uuid host vm_state power_state task_state deleted '
            'compute_id',
            instance_actions='id action request_id user_id instance_uuid',
            instance_actions_events='id action_id event result',
            instance_faults='id instance_uuid message',
            migrations='id instance_uuid',
            block_device_mapping='id deleted instance_uuid volume_id '
            'attachment_id',
        )
        self.cell.add(
            'instances', id=1, uuid='u1', host='np-rcc54', deleted=0,
            vm_state='active', power_state=1,
        )  # fmt: skip
        self.on = False
        self.state = 'up'
        self.sent: list[str] = []
        self.faults = 0
        #: what nova-compute does with a request
        self.fate = self.well
        self.cloud = mock.Mock()
        self.cloud.databases.cell.return_value = self.cell
        self.cloud.databases.cinder = None
        compute = self.cloud.compute
        compute.service.side_effect = lambda host: {'state': self.state}
        compute.runs.side_effect = self.runs
        compute.start.side_effect = lambda uuid: self.take('start')
        compute.reboot_hard.side_effect = lambda uuid: self.take('reboot')

    def runs(self, uuid: str) -> bool:
        if self.state != 'up':
            raise AssertionError('asked for a guest of a dead host')
        if not self.on:
            # nova takes its own answer for a fault
            self.fault('Cannot get_diagnostics while the instance is off')
        return self.on

    def fault(self, message: str) -> None:
        self.faults += 1
        self.cell.add(
            'instance_faults', id=self.faults, instance_uuid='u1',
            message=message,
        )  # fmt: skip

    def take(self, action: str) -> str:
        self.sent.append(action)
        return self.fate(self.asked(action, user='admin'))

    def asked(
        self, action: str, user: str | None = 'member', mark: int = MARK
    ) -> dict[str, Any]:
        """A request is in nova's records; above the mark."""
        with self.cell.reader() as connection:
            table = self.cell['instance_actions']
            newest = connection.execute(
                sa.select(sa.func.max(table.c.id))
            ).scalar()
        number = max(newest or 0, mark) + 1
        row = {
            'id': number, 'action': action, 'request_id': f'req-{number}',
            'user_id': user, 'instance_uuid': 'u1',
        }  # fmt: skip
        self.cell.add('instance_actions', **row)
        return row

    def ended(self, action: dict[str, Any], result: str = 'Success') -> str:
        self.cell.add(
            'instance_actions_events',
            action_id=action['id'],
            event=history.EVENTS.get(action['action']),
            result=result,
        )
        return str(action['request_id'])

    def well(self, action: dict[str, Any]) -> str:
        self.on = True
        self.set(vm_state='active', task_state=None)
        return self.ended(action)

    def badly(self, action: dict[str, Any]) -> str:
        self.set(vm_state='error', task_state=None)
        self.fault('no such volume')
        return self.ended(action, 'Error')

    def set(self, **values: Any) -> None:
        self.cell.write(
            lambda c: c.execute(
                sa.update(self.cell['instances']).values(values)
            )
        )

    def later(self, seconds: float, work: Any, *args: Any) -> None:
        threading.Timer(seconds, work, args).start()

    def requests(self) -> list[str]:
        """All that nova has been asked since the outage."""
        table = self.cell['instance_actions']
        with self.cell.reader() as connection:
            return list(
                connection.execute(
                    sa.select(table.c.action).where(table.c.id > MARK)
                ).scalars()
            )


class RestartTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.nova = Nova(folder.name)
        # of before the outage
        self.nova.ended(self.nova.asked('reboot', mark=10))
        path = pathlib.Path(folder.name) / 'journal.sqlite'
        path.write_bytes(world.empty_journal())
        self.journal = Journal.open(f'sqlite:///{path}')
        self.addCleanup(self.journal.close)
        patch = mock.patch.object(once, 'POLL', 0.01)
        patch.start()
        self.addCleanup(patch.stop)
        self.item = Item(
            'restart-server:u1', 'restart-server', 'server:u1', 'web',
            {
                'uuid': 'u1', 'cell': 'cell1', 'host': 'np-rcc54',
                'mark': MARK, 'seen': 0, 'settle': 0.4,
                'patience': 1.5,
            },
        )  # fmt: skip
        self.plan_anew()

    def plan_anew(self) -> None:
        step = Step('s', 'S', (self.item,))
        self.run_id = self.journal.create_run(
            Plan('test', '', {}, (step,)),
            who='anna', machine='ctl1', command='test',
        )  # fmt: skip

    def carry_out(self) -> ItemRecord:
        Runner(
            self.journal,
            {'restart-server': RestartServer()},
            self.nova.cloud,
            reporter=PlainReporter(io.StringIO()),
            patience=1,
        ).carry_out(self.run_id)
        (record,) = self.journal.items(self.run_id)
        return record

    def again(self) -> ItemRecord:
        self.journal.again(
            self.run_id, 'restart-server:u1', who='anna', machine='ctl1',
            reason='it has to run',
        )  # fmt: skip
        return self.carry_out()

    def check(self, state: str, detail: str, sent: list[str]) -> None:
        record = self.carry_out()
        self.assertEqual(state, record.state, record.detail)
        self.assertIn(detail, record.detail)
        self.assertEqual(sent, self.nova.sent)


class TestNeed(RestartTest):
    """What is sent, and that it is sent once."""

    def test_one_that_is_active_and_off_is_rebooted(self) -> None:
        self.check('done', 'runs on np-rcc54: reboot (req-101)', ['reboot'])
        (record,) = self.journal.items(self.run_id)
        self.assertEqual('reboot', record.image['action'])

    def test_one_that_the_power_sync_stopped_is_started(self) -> None:
        self.nova.set(vm_state='stopped', power_state=4)
        self.nova.asked('stop', user=None)
        self.check('done', 'runs on np-rcc54: start (req-102)', ['start'])

    def test_a_reboot_before_that_stop_is_no_reboot_since(self) -> None:
        self.nova.ended(self.nova.asked('reboot'))
        self.nova.set(vm_state='stopped', power_state=4)
        self.nova.asked('stop', user=None)
        self.check('done', 'start (req-103)', ['start'])

    def test_what_ended_well_before_the_plan_was_before_the_outage(
        self,
    ) -> None:
        with mock.patch.dict(self.item.data, seen=MARK + 1):
            self.plan_anew()
        self.nova.ended(self.nova.asked('reboot'))
        self.check('done', 'reboot (req-102)', ['reboot'])

    def test_what_came_after_the_plan_is_somebody_elses(self) -> None:
        with mock.patch.dict(self.item.data, seen=MARK + 1):
            self.plan_anew()
        self.nova.ended(self.nova.asked('reboot'))
        self.nova.ended(self.nova.asked('start'))
        self.check('conflict', 'after a start (req-102)', [])

    def test_a_guest_that_runs_is_left_alone(self) -> None:
        self.nova.on = True
        self.check('already', 'runs already', [])

    def test_what_cannot_be_rebooted_is_not(self) -> None:
        self.nova.set(vm_state='rescued')
        self.check('conflict', 'the server is rescued', [])

    def test_one_that_was_moved_is_left_to_whoever_did(self) -> None:
        self.nova.set(host='np-rcc46')
        self.check('conflict', 'the server is on np-rcc46', [])

    def test_nothing_is_asked_of_a_compute_that_is_down(self) -> None:
        self.nova.state = 'down'
        self.check('failed', 'nova-compute on np-rcc54 is down', [])
        self.nova.state = 'up'
        self.check('done', 'runs on np-rcc54', ['reboot'])

    def test_a_task_of_another_kind_is_not_waited_for(self) -> None:
        self.nova.set(task_state='image_uploading')
        self.check('conflict', 'task image_uploading', [])

    def test_a_guest_that_nova_will_stop_is_told(self) -> None:
        self.nova.on = True
        self.nova.set(vm_state='stopped')
        self.check('conflict', 'its power sync will stop it', [])

    def test_its_volumes_come_first(self) -> None:
        self.nova.cell.add(
            'block_device_mapping', id=1, deleted=0, instance_uuid='u1',
            volume_id='v1', attachment_id='a1',
        )  # fmt: skip
        known = self.nova.cloud.volume.attachment
        known.side_effect = NotFound('a1')
        self.check('conflict', 'cinder has no attachment of volume v1', [])
        known.side_effect = ApiUnavailable('refused')
        self.check('failed', 'cinder was not asked', [])
        known.side_effect = lambda uuid: {'id': uuid, 'instance': 'u2'}
        self.check('conflict', 'is an attachment of another server', [])
        known.side_effect = lambda uuid: {'id': uuid, 'instance': 'u1'}
        self.check('done', 'runs on np-rcc54', ['reboot'])

    def test_a_volume_without_a_name_keeps_it_off(self) -> None:
        self.nova.cell.add(
            'block_device_mapping', id=1, deleted=0, instance_uuid='u1',
            volume_id='v1',
        )  # fmt: skip
        self.check('conflict', 'nova names no attachment of volume v1', [])


class TestOthers(RestartTest):
    """What somebody asked for since the outage."""

    def test_a_reboot_by_a_colleague(self) -> None:
        self.nova.well(self.nova.asked('reboot'))
        self.check('already', 'runs already: reboot (req-101)', [])

    def test_one_that_is_under_way_is_waited_for(self) -> None:
        ours = self.nova.asked('start')
        self.nova.set(vm_state='stopped', task_state='powering-on')
        self.nova.later(0.2, self.nova.well, ours)
        self.check('already', 'runs already: start (req-101)', [])

    def test_a_reboot_that_the_outage_interrupted_is_carried_on(self) -> None:
        """Its request is from before the outage: below the mark."""
        self.nova.set(task_state='reboot_started_hard')

        def carried_on() -> None:
            self.nova.on = True
            self.nova.set(task_state=None)

        self.nova.later(0.2, carried_on)
        self.check('already', 'runs already', [])

    def test_one_that_never_ends_is_left_to_the_operator(self) -> None:
        self.nova.set(task_state='rebooting_hard')
        self.check('failed', 'it is rebooting_hard, which is not ours', [])
        self.assertEqual([], self.nova.requests())
        (record,) = self.journal.items(self.run_id)
        self.assertIn('--task-state none --override', record.detail)
        self.assertIn(f'run resume {self.run_id} --again', record.detail)

    def test_a_task_that_nobody_takes_up_is_not_waited_for_in_full(
        self,
    ) -> None:
        """A nova-compute that is up has taken up what it does by then."""
        self.useFixture(
            fixtures.MonkeyPatch('nova_recovery.cloud.tasks.TAKEN_UP', 0)
        )
        self.nova.set(task_state='rebooting_hard')
        self.check('failed', 'nova-compute does not take that up', [])

    def test_a_failed_one_is_not_repeated_but_by_the_operator(self) -> None:
        self.nova.badly(self.nova.asked('reboot'))
        self.check('conflict', 'failed since: no such volume', [])
        record = self.again()
        self.assertEqual(('done', ['reboot']), (record.state, self.nova.sent))

    def test_one_that_went_well_with_the_guest_off_by_now(self) -> None:
        self.nova.ended(self.nova.asked('reboot'))
        self.check('conflict', 'it does not run, after a reboot', [])
        record = self.again()
        self.assertEqual('done', record.state)

    def test_an_owner_who_stopped_it_meant_it(self) -> None:
        self.nova.asked('stop')
        self.nova.set(vm_state='stopped')
        self.check('conflict', 'somebody asked for its stop', [])
        record = self.again()
        self.assertEqual(('done', ['start']), (record.state, self.nova.sent))

    def test_a_request_that_nobody_ended_is_told_after_a_while(self) -> None:
        """nova-compute died in a rebuild, and has cleared its task since."""
        self.nova.asked('rebuild')
        self.nova.set(vm_state='error')
        self.check('failed', 'waiting for the end of a rebuild', [])
        record = self.again()
        self.assertEqual('done', record.state)


class TestOurs(RestartTest):
    """What became of what we sent."""

    def test_a_failure_is_never_sent_again_by_itself(self) -> None:
        self.nova.fate = self.nova.badly
        record = self.carry_out()
        self.assertEqual('failed', record.state)
        self.assertIn('no such volume', record.detail)
        self.assertIn('--again web=REASON', record.detail)
        self.check('conflict', 'no such volume', ['reboot'])
        self.nova.fate = self.nova.well
        record = self.again()
        self.assertEqual(('done', 2), (record.state, len(self.nova.sent)))

    def test_mended_by_somebody_since(self) -> None:
        self.nova.fate = self.nova.badly
        self.carry_out()
        self.nova.on = True
        self.nova.set(vm_state='active')
        self.check('done', 'runs on np-rcc54', ['reboot'])

    def test_nova_says_success_and_the_guest_is_off(self) -> None:
        self.nova.fate = self.nova.ended
        self.check('failed', 'but the guest does not run', ['reboot'])

    def test_an_answer_that_was_lost_is_found_by_its_row(self) -> None:
        def lost(action: dict[str, Any]) -> str:
            self.nova.well(action)
            raise OutcomeUnknown('504')

        self.nova.fate = lost
        self.check('done', 'reboot (req-101)', ['reboot'])

    def test_one_that_never_arrived_is_sent_again(self) -> None:
        take = self.nova.take
        lost = iter((True, False))

        def lossy(uuid: str) -> str:
            if next(lost):
                raise OutcomeUnknown('timed out')
            return take('reboot')

        self.nova.cloud.compute.reboot_hard.side_effect = lossy
        self.check('done', 'reboot (req-101)', ['reboot'])

    def test_one_that_never_arrived_and_a_power_sync_meanwhile(self) -> None:
        """What was to be sent no longer fits: the operator decides."""

        def lost(uuid: str) -> str:
            self.nova.asked('stop', user=None)
            self.nova.set(vm_state='stopped')
            raise OutcomeUnknown('timed out')

        self.nova.cloud.compute.reboot_hard.side_effect = lost
        self.check('conflict', 'it needs a start by now', [])
        record = self.again()
        self.assertEqual(('done', ['start']), (record.state, self.nova.sent))

    def test_killed_after_it_was_sent_it_is_followed(self) -> None:
        class Killed(BaseException):
            pass

        def killed(action: dict[str, Any]) -> str:
            self.nova.set(task_state='rebooting_hard')
            self.nova.later(0.3, self.nova.well, action)
            raise Killed

        self.nova.fate = killed
        with contextlib.suppress(Killed):
            self.carry_out()
        self.nova.fate = self.nova.well
        self.check('done', 'reboot (req-101)', ['reboot'])

    def test_the_hypervisor_is_asked_again_after_a_start(self) -> None:
        self.nova.set(vm_state='stopped')
        self.nova.fate = self.nova.ended
        # nova took the task back, and the guest crashed at once
        self.check('failed', 'start (req-101) went well, says', ['start'])

    def test_it_has_no_way_back(self) -> None:
        self.check('done', '', ['reboot'])
        change = RestartServer()
        error = self.assertRaises(NotRevertible, change.revert, at(self.item))
        self.assertIn('openstack server stop', str(error))
