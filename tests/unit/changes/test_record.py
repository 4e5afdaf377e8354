# SPDX-License-Identifier: Apache-2.0

"""A server's row: moved to another host, or given other states; and back."""

from __future__ import annotations

import datetime
from typing import Any
import uuid as uuid_module

import sqlalchemy as sa

from nova_recovery.changes.record import ArmTombstone, MoveRecord, SetStates
from nova_recovery.cloud.db import tombstones
from nova_recovery.engine.change import State
from nova_recovery.exceptions import Conflict, NotFound, NotRevertible
from tests.unit.changes.case import ChangeTestCase, UUID

SOURCE = {'host': 'np-rcc54', 'node': 'np-rcc54.example.org'}
TARGET = {
    'host': 'np-rcc46',
    'node': 'np-rcc46.example.org',
    'host_ip': '192.0.2.46',
    'compute_id': 20,
}
SEEN = {
    **SOURCE,
    'vm_state': 'paused',
    'power_state': 3,
    'task_state': None,
    'compute_id': 10,
}
VALUES = {
    'host': 'np-rcc46',
    'node': 'np-rcc46.example.org',
    'vm_state': 'stopped',
    'power_state': 4,
    'task_state': None,
    'compute_id': 20,
}


class TestMove(ChangeTestCase):
    """With an old tombstone that would make the target destroy the guest."""

    def setUp(self) -> None:
        super().setUp()
        self.change = MoveRecord()
        self.add_server(**SEEN)
        self.add_migration(7, 'np-rcc46', 'done')
        self.add_migration(8, 'np-rcc47', 'done')
        self.add_migration(9, 'np-rcc46', 'completed')
        self.make_item(
            f'server:{UUID}', cell='cell1', uuid=UUID, source=SOURCE,
            target=TARGET, seen=SEEN, values=VALUES,
            disarm=[{'id': 7, 'status': 'done'}],
        )  # fmt: skip
        self.cell.add(
            'console_auth_tokens', id=1, token_hash='h', console_type='novnc',
            host='np-rcc54', port=5900, expires=1, instance_uuid=UUID,
        )  # fmt: skip
        self.before = self.everything()

    def add_migration(self, number: int, source: str, status: str) -> None:
        self.cell.add(
            'migrations', id=number, uuid=str(uuid_module.uuid4()), deleted=0,
            instance_uuid=UUID, source_compute=source, status=status,
            migration_type='evacuation',
        )  # fmt: skip

    def migrations(self) -> dict[str, str]:
        """The server's evacuations: from where, and their statuses."""
        return {
            f'{row["source_compute"]}/{row["id"]}': row['status']
            for row in self.cell.rows('migrations')
        }

    def tombstone(self) -> dict[str, Any]:
        wanted = self.begun.image['tombstone']
        rows = self.cell.rows('migrations')
        (found,) = [row for row in rows if row['uuid'] == wanted]
        return found

    def set_tombstone(self, **values: Any) -> None:
        table = self.cell['migrations']
        self.cell.write(
            lambda c: c.execute(
                sa.update(table)
                .where(table.c.uuid == self.begun.image['tombstone'])
                .values(values)
            )
        )

    def server(self) -> dict[str, Any]:
        row = self.cell.row('instances')
        return {name: row[name] for name in SEEN}

    def test_past_undoing(self) -> None:
        """Known before anything that stands on it is taken back."""
        self.begin()
        self.assertEqual('', self.change.past_undoing(self.begun))
        self.apply()
        self.assertEqual('', self.change.past_undoing(self.begun))
        self.set_server(vm_state='active')
        self.assertIn(
            "vm_state was 'stopped' and is 'active'",
            self.change.past_undoing(self.begun),
        )
        self.set_server(deleted=11)
        self.assertEqual('', self.change.past_undoing(self.begun))
        self.set_tombstone(status='completed')
        self.assertEqual(
            'np-rcc54 came back and cleaned up its copy; openstack server '
            f'migrate {UUID} moves it on, once it runs',
            self.change.past_undoing(self.begun),
        )

    def test_there(self) -> None:
        self.assertEqual('now on np-rcc46', self.apply())
        self.assertEqual(VALUES, self.server())
        self.assertEqual(
            {
                'np-rcc46/7': 'completed',
                'np-rcc47/8': 'done',
                'np-rcc46/9': 'completed',
                'np-rcc54/10': 'done',
            },
            self.migrations(),
        )
        tombstone = self.tombstone()
        self.assertEqual(
            ('np-rcc46', 'np-rcc46.example.org', '192.0.2.46', 20),
            tuple(
                tombstone[f'dest_{name}']
                for name in ('compute', 'node', 'host', 'compute_id')
            ),
        )
        self.assertIsInstance(tombstone['created_at'], datetime.datetime)
        # they lead to a console on the dead host
        self.assertEqual([], self.cell.rows('console_auth_tokens'))

    def arm(self) -> Any:
        """The change from now on, once the move was made unarmed."""
        self.item.data['later'] = True
        self.apply()
        self.assertEqual('cancelled', self.tombstone()['status'])
        self.moved = self.begun
        self.change = ArmTombstone()
        self.make_item(
            f'server:{UUID}', cell='cell1', uuid=UUID, source='np-rcc54',
            target='np-rcc46',
        )  # fmt: skip
        return self

    def status(self) -> str:
        return self.migrations()['np-rcc54/10']

    def test_a_source_that_returns_before_the_guest_ran_deletes_nothing(
        self,
    ) -> None:
        """nova acts on accepted, pre-migrating and done."""
        self.arm()
        self.assertNotIn(self.status(), tombstones.ARMED)

    def test_armed_and_not_armed_any_more(self) -> None:
        self.arm()
        self.assertEqual('np-rcc54 cleans up when it returns', self.apply())
        self.assertEqual('done', self.status())
        self.assert_seen(State.AFTER, 'it is done', again=True)
        self.assertEqual('not armed any more', self.revert())
        self.assertEqual('cancelled', self.status())
        self.assertEqual('already as it was', self.revert())

    def test_one_that_the_source_has_cleaned_up_after(self) -> None:
        self.arm().apply()
        self.cell.write(
            lambda c: c.execute(
                sa.update(self.cell['migrations'])
                .where(self.cell['migrations'].c.id == 10)
                .values(status='completed')
            )
        )
        self.assert_refused(NotRevertible, self.revert, 'came back')

    def test_one_that_was_moved_back_meanwhile(self) -> None:
        self.arm()
        MoveRecord().revert(self.moved)
        self.assert_seen(State.NEITHER, 'gone')

    def test_and_back(self) -> None:
        self.apply()
        self.assert_seen(State.AFTER, 'moved', again=True)
        self.assertEqual('back on np-rcc54', self.revert())
        back = self.everything()
        # who has a console open logs in anew
        gone = f'{self.cell.name}.console_auth_tokens'
        self.assertEqual(self.before | {gone: []}, back)
        self.assertEqual('already as it was', self.revert())
        self.assertEqual(back, self.everything())

    def test_one_that_was_not_carried_out(self) -> None:
        self.begin()
        self.assert_seen(State.BEFORE, again=True)
        self.assertEqual(
            self.begun.image, self.change.observe(self.begun).image
        )
        self.assertEqual('already as it was', self.revert())
        self.assertEqual(self.before, self.everything())

    def test_a_commit_that_was_lost_and_came_through(self) -> None:
        """Told by the tombstone alone: the row may be anything by now."""
        self.apply()
        self.set_server(vm_state='active', power_state=1)
        self.assert_seen(State.AFTER, 'moved', again=True)

    def test_a_server_that_changed_since_the_plan(self) -> None:
        self.begin()
        for name, value in (
            ('host', 'np-rcc47'),
            ('vm_state', 'error'),
            ('task_state', 'migrating'),
        ):
            self.set_server(**{**SEEN, name: value})
            self.assert_seen(State.NEITHER, f'{name} was ')
            self.assert_seen(State.NEITHER, f"is '{value}'", again=True)
            self.assert_refused(
                Conflict, lambda: self.change.apply(self.begun), name
            )

    def test_a_server_that_was_deleted(self) -> None:
        self.begin()
        self.set_server(deleted=1)
        self.assert_refused(NotFound, self.look, UUID)
        self.assert_refused(
            Conflict, lambda: self.change.apply(self.begun), '0 rows'
        )

    def test_another_evacuation_since_the_plan(self) -> None:
        """One that nobody disarms would have the guest destroyed."""
        self.begin()
        self.add_migration(11, 'np-rcc46', 'accepted')
        self.assert_refused(
            Conflict, lambda: self.change.apply(self.begun), '[7, 11]'
        )

    def test_after_the_power_sync_of_the_target(self) -> None:
        self.apply()
        # there is no guest: its power state is unknown
        self.set_server(power_state=0)
        self.revert()
        self.assertEqual(SEEN, self.server())

    def test_not_back_after_somebody_started_it(self) -> None:
        self.apply()
        self.set_server(power_state=1, vm_state='active')
        self.assert_refused(Conflict, self.revert, 'vm_state')

    def test_not_back_after_the_source_cleaned_up(self) -> None:
        self.apply()
        self.set_tombstone(status='completed')
        self.assert_refused(
            NotRevertible, self.revert, 'openstack server migrate'
        )

    def test_not_back_once_it_moved_on(self) -> None:
        self.apply()
        self.set_server(host='np-rcc47')
        self.assert_refused(Conflict, self.revert, 'host')


class TestStates(ChangeTestCase):
    """What an outage left in the row of a server."""

    SEEN = {'vm_state': 'error', 'power_state': 1, 'task_state': 'rebooting'}
    VALUES = {'vm_state': 'stopped', 'power_state': 4, 'task_state': None}

    def setUp(self) -> None:
        super().setUp()
        self.change = SetStates()
        self.add_server(**self.SEEN)
        self.make_item(
            f'server:{UUID}', cell='cell1', uuid=UUID, seen=self.SEEN,
            values=self.VALUES,
        )  # fmt: skip

    def states(self) -> dict[str, Any]:
        return self.cell.row('instances', *self.SEEN)

    def test_only_what_differs_is_shown(self) -> None:
        self.item.data['values'] = {**self.VALUES, 'power_state': 1}
        self.assertEqual(
            [
                '~ vm_state  error -> stopped',
                '~ task_state  rebooting -> none',
            ],
            self.change.describe(self.item),
        )

    def test_set_and_set_back(self) -> None:
        before = self.everything()
        self.assertEqual('set', self.apply())
        self.assertEqual(self.VALUES, self.states())
        self.assert_seen(State.AFTER, 'already so', again=True)
        self.assertEqual('set back', self.revert())
        self.assertEqual(before, self.everything())
        self.assertEqual('already as it was', self.revert())

    def test_a_resize_that_nobody_confirms_ends_with_it(self) -> None:
        self.resized()
        self.assertIn('~ resize 7', self.change.describe(self.item)[-1])
        self.apply()
        self.assertEqual(
            {'status': 'error'}, self.cell.row('migrations', 'status')
        )
        self.revert()
        self.assertEqual(self.SEEN, self.states())
        self.assertEqual(
            {'status': 'finished'}, self.cell.row('migrations', 'status')
        )
        self.cell.set('migrations', status='confirming')
        self.assert_refused(Conflict, self.apply, 'status')

    def resized(self) -> None:
        self.cell.add(
            'migrations', id=7, uuid='m', instance_uuid=UUID, deleted=0,
            status='finished', migration_type='resize',
            source_compute='np-rcc46', dest_compute='np-rcc54',
        )  # fmt: skip
        row = {'id': 7, 'status': 'finished', 'type': 'resize'}
        self.item.data['close'] = [row]

    def test_not_set_back_where_it_left_its_host(self) -> None:
        host = self.cell.row('instances', 'host')
        self.item.data['seen'] = {**self.SEEN, **host}
        self.resized()
        self.begin()
        self.assertEqual('', self.change.past_undoing(self.begun))
        self.apply()
        self.assertEqual('', self.change.past_undoing(self.begun))
        self.set_server(host='np-rcc47')
        self.assertIn('host', self.change.past_undoing(self.begun))
        self.assert_refused(Conflict, self.revert, 'host')
        self.assertEqual(self.VALUES, self.states())
        self.assertEqual(
            {'status': 'error'}, self.cell.row('migrations', 'status')
        )

    def test_not_set_back_where_its_resize_is_not_the_last(self) -> None:
        """A revert of it would start the guest a second time."""
        self.resized()
        self.apply()
        self.cell.add(
            'migrations', id=8, uuid='n', instance_uuid=UUID, deleted=0,
            status='confirmed', migration_type='migration',
        )  # fmt: skip
        self.assertIn('migration, 8', self.change.past_undoing(self.begun))
        self.assert_refused(Conflict, self.revert, 'newer migration, 8')
        self.assertEqual(self.VALUES, self.states())

    def test_not_set_back_where_its_resize_went_on(self) -> None:
        self.resized()
        self.apply()
        self.cell.set('migrations', status='reverted')
        self.assert_refused(Conflict, self.revert, 'status')
        self.assertEqual(self.VALUES, self.states())

    def test_one_of_a_server_that_is_no_longer_resized(self) -> None:
        self.cell.add(
            'migrations', id=7, uuid='m', instance_uuid=UUID, deleted=0,
            status='finished', migration_type='resize',
        )  # fmt: skip
        row = {'id': 7, 'status': 'finished', 'type': 'resize'}
        self.item.data.update(close=[row], values=self.SEEN)
        self.assertEqual('set', self.apply())
        self.assert_seen(State.AFTER, again=True)
        self.assertEqual('set back', self.revert())
        self.assertEqual('already as it was', self.revert())
        self.assertEqual(
            {'status': 'finished'}, self.cell.row('migrations', 'status')
        )

    def test_what_is_so_already(self) -> None:
        self.set_server(**self.VALUES)
        self.assert_seen(State.AFTER, 'already so')

    def test_what_changed_since_the_plan(self) -> None:
        self.begin()
        self.set_server(task_state=None)
        self.assert_seen(State.NEITHER, "task_state was 'rebooting'")
        self.assert_refused(
            Conflict, lambda: self.change.apply(self.begun), 'task_state'
        )

    def test_one_that_was_not_carried_out(self) -> None:
        self.begin()
        self.assert_seen(State.BEFORE, again=True)
        self.assertEqual('already as it was', self.revert())

    def test_not_set_back_after_somebody_elses_change(self) -> None:
        self.apply()
        self.set_server(vm_state='active', power_state=1)
        self.assert_refused(Conflict, self.revert, 'vm_state')

    def test_a_server_that_was_deleted(self) -> None:
        self.begin()
        self.set_server(deleted=1)
        self.assert_refused(NotFound, self.look, UUID)
        self.assert_refused(
            Conflict, lambda: self.change.apply(self.begun), '0 rows'
        )
