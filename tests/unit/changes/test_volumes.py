# SPDX-License-Identifier: Apache-2.0

"""Volumes and their attachments, on the tables of both sides."""

from __future__ import annotations

import dataclasses
import datetime
import json
from typing import Any

import sqlalchemy as sa

from nova_recovery.changes.volume_attach import AttachVolume, DropAttachment
from nova_recovery.changes.volume_exchange import (
    ReconnectVolume,
    RecreateAttachment,
)
from nova_recovery.changes.volume_mapping import DropMapping, LinkMapping
from nova_recovery.changes.volume_reset import ResetVolume
from nova_recovery.engine import clock
from nova_recovery.engine.change import Interrupted, State
from nova_recovery.exceptions import (
    ApiUnavailable,
    ChangeFailed,
    Conflict,
    DatabaseUnavailable,
    NotFound,
    NotRevertible,
    OutcomeUnknown,
)
from tests.unit.changes.case import ChangeTestCase, UUID, VOLUME

HERE = {'host': 'np-rcc46', 'initiator': 'iqn.46'}
THERE = {'host': 'np-rcc54', 'initiator': 'iqn.54'}
LONG_AGO = datetime.datetime(2026, 11, 22)
CONNECTED = json.dumps({'driver_volume_type': 'iscsi', 'target_lun': 1})


class VolumeTestCase(ChangeTestCase):
    """A volume of a server, and a cinder that does to its rows what it does.

    :ivar asked: what cinder was asked to do
    """

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[str] = []
        self.add_server(host='np-rcc46')
        self.cloud.compute.service.side_effect = lambda host: {'state': 'up'}
        self.cloud.compute.off.side_effect = lambda uuid: True
        volume = self.cloud.volume
        volume.create_attachment.side_effect = self.create
        volume.delete_attachment.side_effect = self.delete
        volume.connect_attachment.side_effect = self.connect
        volume.complete_attachment.side_effect = self.complete
        volume.attachment.side_effect = self.show
        volume.attachments.side_effect = self.show_all
        volume.volume.side_effect = lambda uuid: {'multiattach': False}

    # rows

    def add_volume(self, status: str, attached: str = 'detached') -> None:
        self.cinder.add(
            'volumes', id=VOLUME, status=status, attach_status=attached,
            deleted=0, volume_type_id='t', use_quota=1, multiattach=0,
        )  # fmt: skip

    def add_attachment(self, uuid: str, status: str, **values: Any) -> None:
        row = {
            'id': uuid, 'volume_id': VOLUME, 'instance_uuid': UUID,
            'attach_status': status, 'attached_host': 'np-rcc46',
            'deleted': 0,
        }  # fmt: skip
        self.cinder.add('volume_attachment', **{**row, **values})

    def add_mapping(self, attachment: str | None, **values: Any) -> None:
        row = {
            'id': 5, 'instance_uuid': UUID, 'volume_id': VOLUME, 'deleted': 0,
            'attachment_id': attachment, 'device_name': '/dev/vdb',
            'connection_info': CONNECTED, 'delete_on_termination': 0,
        }  # fmt: skip
        self.cell.add('block_device_mapping', **{**row, **values})

    def set_mapping(self, **values: Any) -> None:
        self.cell.set('block_device_mapping', **values)

    def set_attachment(self, uuid: str, **values: Any) -> None:
        table = self.cinder['volume_attachment']
        self.cinder.write(
            lambda c: c.execute(
                sa.update(table).where(table.c.id == uuid).values(values)
            )
        )

    def held(self) -> dict[str, str]:
        """The live attachments: id -> status."""
        return {
            row['id']: row['attach_status']
            for row in self.cinder.rows('volume_attachment')
            if not row['deleted']
        }

    def volume(self) -> tuple[str, str]:
        row = self.cinder.row('volumes')
        return row['status'], row['attach_status']

    def mapping(self) -> dict[str, Any]:
        return self.cell.row('block_device_mapping')

    # cinder

    def create(self, volume: str, server: str, mode: str) -> str:
        self.asked.append('create')
        new = f'new{len(self.cinder.rows("volume_attachment"))}'
        self.add_attachment(
            new, 'reserved', attached_host=None, instance_uuid=server
        )
        return new

    def delete(self, uuid: str) -> None:
        self.asked.append(f'delete {uuid}')
        self.set_attachment(uuid, deleted=1, attach_status='detached')

    def connect(self, uuid: str, connector: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(f'connect {uuid} to {connector["host"]}')
        if 'attached' in self.held().values():
            raise ChangeFailed('two connected ones')
        self.set_attachment(
            uuid, connector=json.dumps(connector), connection_info=CONNECTED,
            attached_host=connector['host'], attach_status='attaching',
        )  # fmt: skip
        return dict(json.loads(CONNECTED))

    def complete(self, uuid: str) -> None:
        self.asked.append(f'complete {uuid}')
        self.set_attachment(uuid, attach_status='attached')
        self.cinder.set('volumes', status='in-use', attach_status='attached')

    def show(self, uuid: str) -> dict[str, Any]:
        for row in self.cinder.rows('volume_attachment'):
            if row['id'] == uuid and not row['deleted']:
                return {
                    'status': row['attach_status'],
                    'connection_info': json.loads(
                        row['connection_info'] or '{}'
                    ),
                }
        raise NotFound(uuid)

    def show_all(self, volume: str) -> list[dict[str, Any]]:
        return [
            {'id': row['id'], 'instance': row['instance_uuid']}
            for row in self.cinder.rows('volume_attachment')
            if not row['deleted'] and row['volume_id'] == volume
        ]


class TestAttach(VolumeTestCase):
    """Through nova: its mapping comes first."""

    def setUp(self) -> None:
        super().setUp()
        self.change = AttachVolume()
        self.add_volume('available')
        self.make_item(
            f'volume:{VOLUME}', cell='cell1', uuid=UUID, volume=VOLUME,
            device='/dev/vdb', tag='data', settle=0, patience=5,
        )  # fmt: skip
        self.cloud.compute.attach_volume.side_effect = self.attach

    def attach(self, *args: Any) -> str:
        self.asked.append('attach')
        self.assertEqual((UUID, VOLUME, '/dev/vdb', 'data', False), args)
        self.add_mapping('a1', connection_info=None)
        return 'req'

    def attached(self) -> None:
        self.add_attachment('a1', 'attached')
        self.cinder.set('volumes', status='in-use', attach_status='attached')
        self.set_mapping(connection_info=CONNECTED)

    def gave_up(self) -> None:
        self.cell.clear('block_device_mapping')
        self.cell.add(
            'instance_faults', id=1, instance_uuid=UUID, deleted=0, code=500,
            message='no such target',
        )  # fmt: skip

    def test_sent_once_and_followed(self) -> None:
        self.assertEqual('accepted', self.apply())
        notes = dict(self.begun.notes)
        self.assertIsNotNone(clock.since(notes.pop('sending')))
        self.assertEqual({'accepted': True, 'request_id': 'req'}, notes)
        self.assert_seen(State.UNDERWAY, 'the volume is', again=True)
        self.while_it_waits(self.attached)
        self.assertEqual(
            'attached as /dev/vdb', self.change.follow(self.begun)
        )
        self.assert_seen(State.AFTER, 'attached as /dev/vdb', again=True)
        self.assertEqual(['attach'], self.asked)

    def test_a_volume_that_somebody_has_by_now(self) -> None:
        self.cinder.set('volumes', status='reserved')
        self.assert_seen(State.NEITHER, 'it is reserved now')
        self.cinder.set('volumes', status='in-use')
        self.assert_seen(State.NEITHER, 'it is in-use now')
        self.cinder.set('volumes', multiattach=1)
        self.assert_seen(State.BEFORE)
        self.add_mapping('a1')
        self.assert_seen(State.NEITHER, 'nova maps it by now')

    def test_a_volume_or_a_server_that_was_deleted(self) -> None:
        self.begin()
        self.set_server(deleted=1)
        self.assert_refused(NotFound, lambda: self.change.apply(self.begun))
        self.cinder.set('volumes', deleted=1)
        self.assert_refused(NotFound, self.look, VOLUME)

    def test_not_to_a_compute_that_is_down(self) -> None:
        self.begin()
        self.cloud.compute.service.side_effect = lambda host: {'state': 'down'}
        self.assert_refused(
            ChangeFailed, lambda: self.change.apply(self.begun), 'is down'
        )
        self.assertEqual([], self.asked)

    def test_one_that_nova_gives_up(self) -> None:
        self.apply()
        self.gave_up()
        self.assert_refused(
            ChangeFailed,
            lambda: self.change.follow(self.begun),
            'nova gave up: no such target',
        )
        self.assert_seen(State.NEITHER, 'no such target', again=True)

    def test_one_that_arrived_although_its_answer_was_lost(self) -> None:
        self.begin()
        self.attach(UUID, VOLUME, '/dev/vdb', 'data', False)
        self.assert_seen(State.UNDERWAY, again=True)

    def test_one_that_never_arrived(self) -> None:
        self.begin()
        self.assert_seen(State.BEFORE, again=True)

    def test_the_first_signal_ends_the_wait_for_what_may_arrive(self) -> None:
        self.item.data['settle'] = 1
        self.begin()
        self.begun.notes['sending'] = clock.stamp()
        self.begun.draining.set()
        self.assertRaises(Interrupted, self.look_again)

    def test_one_of_which_cinder_has_its_half_only(self) -> None:
        self.begin()
        self.add_attachment('a1', 'reserved')
        self.assert_seen(State.UNKNOWN, 'attachment a1', again=True)

    def test_attached_already_says_nova(self) -> None:
        """It is looked at, not sent again."""
        self.begin()

        def attach(*args: Any) -> str:
            self.attach(*args)
            raise ChangeFailed('409')

        self.cloud.compute.attach_volume.side_effect = attach
        self.assertRaises(OutcomeUnknown, self.change.apply, self.begun)

    def test_a_no_is_a_no(self) -> None:
        self.begin()
        self.cloud.compute.attach_volume.side_effect = ChangeFailed('403')
        self.assert_refused(
            ChangeFailed, lambda: self.change.apply(self.begun), '403'
        )

    def test_what_takes_too_long_is_in_doubt(self) -> None:
        self.item.data['patience'] = 0
        self.apply()
        self.assertRaises(OutcomeUnknown, self.change.follow, self.begun)

    def test_an_old_nova_can_not_be_asked_to_delete_it_with_its_server(
        self,
    ) -> None:
        self.item.data['delete_on_termination'] = True
        self.cloud.compute.attach_volume.side_effect = None
        self.cloud.compute.attach_volume.return_value = 'req'
        self.apply()
        self.add_mapping('a1')
        self.attached()
        told = self.change.follow(self.begun)
        self.assertIn('not deleted with the server, as it was', told)
        self.set_mapping(delete_on_termination=1)
        self.assertNotIn('nova is too old', self.change.follow(self.begun))

    def test_a_guest_may_use_it(self) -> None:
        self.apply()
        self.assert_refused(
            NotRevertible, self.revert, f'remove volume {UUID} {VOLUME}'
        )
        self.gave_up()
        self.assertEqual('already as it was', self.revert())

    def test_without_cinders_database(self) -> None:
        """Such as a resume that lacks --cinder-config-file."""
        self.begin()
        self.cloud.databases.cinder = None
        self.attach(UUID, VOLUME, '/dev/vdb', 'data', False)
        error = self.assertRaises(DatabaseUnavailable, self.look_again)
        self.assertIn('no cinder.conf was found', str(error))


class TestDropAttachment(VolumeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.change = DropAttachment()
        self.add_volume('in-use', 'attached')
        self.add_attachment('old', 'attached')
        self.add_attachment('other', 'attached', instance_uuid='another')
        self.make_item(
            f'volume:{VOLUME}', cell='cell1', uuid=UUID, volume=VOLUME,
            attachment='old', seen='attached',
        )  # fmt: skip

    def test_it_alone(self) -> None:
        self.assertEqual('deleted', self.apply())
        self.assertEqual({'other': 'attached'}, self.held())
        self.assert_seen(State.AFTER, 'gone', again=True)
        self.assert_refused(
            NotRevertible, self.revert, f'volume attach {UUID} {VOLUME}'
        )

    def test_one_that_was_not_carried_out(self) -> None:
        self.begin()
        self.assert_seen(State.BEFORE, again=True)
        self.assertEqual('it was not carried out', self.revert())

    def test_one_that_changed_since_the_plan(self) -> None:
        self.set_attachment('old', attach_status='detaching')
        self.assert_seen(State.NEITHER, 'it is detaching now')

    def test_a_guest_that_runs_by_now(self) -> None:
        self.begin()
        self.cloud.compute.off.side_effect = lambda uuid: False
        self.assert_seen(State.NEITHER, 'a guest is on np-rcc46 by now')
        self.assert_seen(State.NEITHER, 'stop it first', again=True)

    def test_a_compute_that_does_not_answer(self) -> None:
        self.cloud.compute.off.side_effect = ApiUnavailable('nova: 504')
        self.assert_seen(State.UNKNOWN, 'is not known: nova: 504')

    def test_a_host_that_is_down_is_not_asked(self) -> None:
        """It has no power yet, as the gate of the plan knew."""
        for service in ({'state': 'down'}, {'state': 'up', 'forced_down': 1}):
            self.cloud.compute.service.side_effect = [service]
            self.assert_seen(State.BEFORE)
        self.cloud.compute.off.assert_not_called()

    def test_what_no_guest_of_its_host_uses(self) -> None:
        self.cloud.compute.off.side_effect = lambda uuid: False
        # a migration that failed left it on another host
        self.set_attachment('old', attached_host='np-rcc54')
        self.assert_seen(State.BEFORE)
        self.item.data['seen'] = 'reserved'
        self.set_attachment(
            'old', attached_host='np-rcc46', attach_status='reserved'
        )
        self.assert_seen(State.BEFORE)

    def test_a_server_that_is_on_no_host_or_gone(self) -> None:
        self.cloud.compute.off.side_effect = lambda uuid: False
        self.set_server(host=None)
        self.assert_seen(State.BEFORE)
        self.set_server(host='np-rcc46', deleted=1)
        self.assert_seen(State.BEFORE)
        # or was when it was planned
        self.set_server(deleted=0)
        self.item.data['cell'] = None
        self.assert_seen(State.BEFORE)

    def test_a_volume_that_was_deleted(self) -> None:
        self.cinder.set('volumes', deleted=1)
        self.assert_refused(NotFound, self.look, VOLUME)


class TestDropMapping(VolumeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.change = DropMapping()
        self.add_volume('available')
        self.add_mapping('lost')
        self.make_item(
            f'server:{UUID}', cell='cell1', uuid=UUID, volume=VOLUME,
            mapping=5, attachment='lost', device='/dev/vdb',
        )  # fmt: skip

    def test_deleted_as_nova_does_it_and_brought_back(self) -> None:
        before = self.everything()
        self.assertEqual('deleted', self.apply())
        row = self.mapping()
        self.assertEqual(row['id'], row['deleted'])
        self.assertIsNotNone(row['deleted_at'])
        self.assert_seen(State.AFTER, 'gone', again=True)
        self.assertEqual('brought back', self.revert())
        self.assertEqual(before, self.everything())
        self.assertEqual('already as it was', self.revert())

    def test_one_that_somebody_else_deleted_stays_deleted(self) -> None:
        self.begin()
        self.set_mapping(deleted=5, deleted_at=LONG_AGO)
        self.assert_seen(State.AFTER, 'gone', again=True)
        self.assertEqual('it was not carried out', self.revert())
        self.assertEqual(5, self.mapping()['deleted'])

    def test_brought_back_and_deleted_again_by_others(self) -> None:
        self.apply()
        self.set_mapping(deleted_at=LONG_AGO)
        self.assert_refused(Conflict, self.revert, 'deleted_at')

    def test_of_a_journal_of_before(self) -> None:
        """It has no stamp: the values alone tell."""
        self.apply()
        self.begun.image.clear()
        self.begun.notes.clear()
        self.set_mapping(deleted_at=LONG_AGO)
        self.assertEqual('brought back', self.revert())

    def test_one_that_names_another_attachment_by_now(self) -> None:
        self.begin()
        self.set_mapping(attachment_id='another')
        self.assert_seen(State.NEITHER, 'it names attachment another now')
        self.assert_refused(
            Conflict, lambda: self.change.apply(self.begun), 'attachment_id'
        )

    def test_one_that_nova_deleted_meanwhile(self) -> None:
        self.begin()
        self.set_mapping(deleted=5)
        self.assert_seen(State.AFTER, 'gone')
        self.assert_refused(
            Conflict, lambda: self.change.apply(self.begun), 'deleted'
        )

    def test_not_brought_back_beside_another_one(self) -> None:
        self.apply()
        self.add_mapping('again', id=6)
        self.assert_refused(Conflict, self.revert, 'again')


class TestLinkMapping(VolumeTestCase):
    """Of before Queens: nova names no attachment."""

    def setUp(self) -> None:
        super().setUp()
        self.change = LinkMapping()
        self.add_volume('in-use', 'attached')
        self.add_attachment('a1', 'attached')
        self.add_mapping(None)
        self.make_item(
            f'server:{UUID}', cell='cell1', uuid=UUID, volume=VOLUME,
            mapping=5, attachment='a1',
        )  # fmt: skip

    def test_named_and_taken_back(self) -> None:
        before = self.everything()
        self.assertEqual('nova names the attachment', self.apply())
        self.assertEqual('a1', self.mapping()['attachment_id'])
        self.assert_seen(State.AFTER, 'named already', again=True)
        self.assertEqual('names none again', self.revert())
        self.assertEqual(before, self.everything())
        self.assertEqual('already as it was', self.revert())

    def test_named_by_somebody_else(self) -> None:
        self.begin()
        self.set_mapping(attachment_id='a1')
        self.assert_seen(State.AFTER, 'named already', again=True)
        self.assertEqual('it was not carried out', self.revert())
        self.assertEqual('a1', self.mapping()['attachment_id'])

    def test_named_again_by_somebody_else(self) -> None:
        self.apply()
        self.set_mapping(updated_at=LONG_AGO)
        self.assert_refused(Conflict, self.revert, 'updated_at')

    def test_one_that_cinder_no_longer_has(self) -> None:
        self.set_attachment('a1', deleted=1)
        self.assert_seen(State.NEITHER, 'nova names none, cinder has none')

    def test_one_that_names_another_by_now(self) -> None:
        self.begin()
        self.set_mapping(attachment_id='a2')
        self.assert_seen(State.NEITHER, 'nova names a2, cinder has a1')
        self.assert_refused(
            Conflict, lambda: self.change.apply(self.begun), 'attachment_id'
        )

    def test_one_that_is_gone(self) -> None:
        self.set_mapping(deleted=5)
        self.assert_seen(State.NEITHER, 'nova no longer maps it')

    def test_not_taken_back_after_somebody_named_another(self) -> None:
        self.apply()
        self.set_mapping(attachment_id='a2')
        self.assert_refused(Conflict, self.revert, 'attachment_id')


class TestReset(VolumeTestCase):
    """Of two attachments one goes, and one is completed."""

    def setUp(self) -> None:
        super().setUp()
        self.change = ResetVolume()
        self.add_volume('detaching', 'attached')
        self.add_attachment('gone', 'detaching')
        self.add_attachment('stays', 'attaching', instance_uuid='another')
        self.add_metadata(1, 'attached_mode')
        self.add_metadata(2, 'readonly')
        self.plan({'status': 'in-use', 'attach_status': 'attached'})

    def add_metadata(self, number: int, key: str) -> None:
        self.cinder.add(
            'volume_admin_metadata', id=number, volume_id=VOLUME, key=key,
            value='rw', deleted=0,
        )  # fmt: skip

    def plan(self, values: dict[str, str], **data: Any) -> None:
        self.make_item(
            f'volume:{VOLUME}',
            **{
                'volume': VOLUME,
                'seen': {'status': 'detaching', 'attach_status': 'attached'},
                'values': values,
                'attachments': {'gone': 'detaching', 'stays': 'attaching'},
                'remove': ['gone'],
                'complete': ['stays'],
                **data,
            },
        )

    def test_set_and_set_back(self) -> None:
        before = self.everything()
        self.assertEqual('in-use, attached', self.apply())
        self.assertEqual(('in-use', 'attached'), self.volume())
        self.assertEqual({'stays': 'attached'}, self.held())
        self.assert_seen(State.AFTER, 'already so', again=True)
        self.assertEqual('as it was', self.revert())
        self.assertEqual(before, self.everything())
        self.assertEqual('already as it was', self.revert())

    def test_the_last_one_takes_its_mode_along(self) -> None:
        self.plan(
            {'status': 'available', 'attach_status': 'detached'},
            remove=['gone', 'stays'], complete=[],
        )  # fmt: skip
        before = self.everything()
        self.assertEqual('available, detached', self.apply())
        self.assertEqual({}, self.held())
        self.assertEqual(
            {'attached_mode': 1, 'readonly': 0},
            {
                row['key']: row['deleted']
                for row in self.cinder.rows('volume_admin_metadata')
            },
        )
        self.revert()
        self.assertEqual(before, self.everything())

    def test_what_is_so_already(self) -> None:
        self.plan(
            {'status': 'detaching', 'attach_status': 'attached'},
            remove=[], complete=[],
        )  # fmt: skip
        self.assert_seen(State.AFTER, 'already so')

    def test_cinder_says_nothing_for_detached(self) -> None:
        self.cinder.clear('volume_attachment')
        self.cinder.set('volumes', status='error', attach_status=None)
        self.plan(
            {'status': 'available', 'attach_status': 'detached'},
            seen={'status': 'error', 'attach_status': 'detached'},
            attachments={}, remove=[], complete=[],
        )  # fmt: skip
        self.apply()
        self.assertEqual(('available', 'detached'), self.volume())
        self.revert()
        self.assertEqual('error', self.volume()[0])

    def test_what_changed_since_the_plan(self) -> None:
        self.begin()
        self.cinder.set('volumes', status='error_deleting')
        self.assert_seen(State.NEITHER, 'is error_deleting')
        self.assert_refused(
            Conflict, lambda: self.change.apply(self.begun), 'status'
        )

    def test_an_attachment_that_came_between(self) -> None:
        self.begin()
        self.add_attachment('new', 'reserved')
        self.assert_seen(State.NEITHER, 'attachments was')
        self.assert_refused(
            Conflict, lambda: self.change.apply(self.begun), 'no longer'
        )

    def test_a_status_of_cinders_own_is_never_overwritten(self) -> None:
        self.cinder.set('volumes', status='error_deleting')
        self.plan(
            {'status': 'in-use', 'attach_status': 'attached'},
            seen={'status': 'error_deleting', 'attach_status': 'attached'},
        )
        self.begin()
        self.assert_refused(
            ChangeFailed,
            lambda: self.change.apply(self.begun),
            'which is never overwritten',
        )

    def test_one_that_was_not_carried_out(self) -> None:
        self.begin()
        self.assert_seen(State.BEFORE, again=True)
        self.assertEqual('it was not carried out', self.revert())
        # killed between the note and the write
        self.begun.note(written='2026-11-22T00:00:00')
        self.assertEqual('already as it was', self.revert())

    def test_not_set_back_after_somebody_elses_change(self) -> None:
        self.apply()
        self.cinder.set('volumes', status='detaching')
        self.assert_refused(Conflict, self.revert, 'status')
        self.cinder.set('volumes', status='in-use')
        self.add_attachment('new', 'reserved')
        self.assert_refused(Conflict, self.revert, 'no longer')

    def test_values_that_came_back_by_others_work(self) -> None:
        """It went, and is in use again: by whoever has it now."""
        self.apply()
        self.cinder.set('volumes', updated_at=LONG_AGO)
        self.assert_refused(Conflict, self.revert, 'updated_at')

    def test_an_attachment_that_somebody_else_touched(self) -> None:
        for uuid, column in (('gone', 'deleted_at'), ('stays', 'updated_at')):
            self.apply()
            (row,) = [
                row
                for row in self.cinder.rows('volume_attachment')
                if row['id'] == uuid
            ]
            self.set_attachment(uuid, **{column: LONG_AGO})
            self.assert_refused(Conflict, self.revert, column)
            self.set_attachment(uuid, **{column: row[column]})
            self.assertEqual('as it was', self.revert())

    def test_somebody_else_was_there_before_it_was_written(self) -> None:
        self.begin()
        self.cinder.set('volumes', status='in-use')
        self.set_attachment('gone', deleted=1, attach_status='detached')
        self.set_attachment('stays', attach_status='attached')
        self.assert_seen(State.AFTER, 'already so', again=True)
        self.assertEqual('it was not carried out', self.revert())
        self.assertEqual(('in-use', 'attached'), self.volume())

    def test_undone_and_done_again(self) -> None:
        self.apply()
        self.revert()
        self.apply()
        self.assertEqual('as it was', self.revert())

    def test_what_cinder_touched_for_an_attachment_that_came_and_went(
        self,
    ) -> None:
        """The next change of the run makes one, and took it back."""
        self.plan({'status': 'in-use', 'attach_status': 'attached'},
                  attaches=True)  # fmt: skip
        self.apply()
        self.cinder.set('volumes', updated_at=LONG_AGO)
        self.assertEqual('as it was', self.revert())

    def test_of_a_journal_of_before(self) -> None:
        """It has no stamp: the values alone tell."""
        self.apply()
        del self.begun.image['stamps']
        self.begun.notes.clear()
        self.cinder.set('volumes', updated_at=LONG_AGO)
        self.assertEqual('as it was', self.revert())

    def test_a_volume_that_was_deleted(self) -> None:
        self.begin()
        self.cinder.set('volumes', deleted=1)
        self.assert_refused(NotFound, self.look, VOLUME)
        self.assert_refused(NotFound, lambda: self.change.apply(self.begun))


class TestRecreate(VolumeTestCase):
    """nova's mapping names an attachment that cinder has no more."""

    def setUp(self) -> None:
        super().setUp()
        self.change = RecreateAttachment()
        self.add_volume('in-use', 'attached')
        self.add_attachment('left', 'attached')
        self.add_mapping('lost')
        self.make_item(
            f'server:{UUID}', cell='cell1', uuid=UUID, volume=VOLUME,
            mapping=5, attachment='lost', remove=['left'], device='/dev/vdb',
            mode='rw', host='np-rcc46', connector=HERE,
        )  # fmt: skip

    def test_in_the_only_safe_order(self) -> None:
        self.assertEqual('attached on np-rcc46', self.apply())
        self.assertEqual(
            ['create', 'delete left', 'connect new1 to np-rcc46',
             'complete new1'],
            self.asked,
        )  # fmt: skip
        self.assertEqual({'new1': 'attached'}, self.held())
        connector = self.cinder.rows('volume_attachment')[-1]['connector']
        self.assertEqual(
            {**HERE, 'mountpoint': '/dev/vdb', 'mode': 'rw'},
            json.loads(connector),
        )
        row = self.mapping()
        self.assertEqual('new1', row['attachment_id'])
        self.assertEqual(
            {
                'driver_volume_type': 'iscsi',
                'data': {'target_lun': 1},
                'serial': VOLUME,
            },
            json.loads(row['connection_info']),
        )
        self.assert_seen(State.AFTER, 'attached', again=True)
        self.assert_refused(
            NotRevertible, self.revert, f'remove volume {UUID} {VOLUME}'
        )

    def test_stopped_at_each_request_it_goes_on_with_what_it_made(
        self,
    ) -> None:
        """A kill, or a no in the middle: the next attempt ends it."""
        self.begin()
        for step in (
            'delete_attachment', 'connect_attachment', 'complete_attachment',
        ):  # fmt: skip
            method = getattr(self.cloud.volume, step)
            real, method.side_effect = (method.side_effect, ChangeFailed('no'))
            self.assertRaises(OutcomeUnknown, self.change.apply, self.begun)
            self.assert_seen(State.BEFORE, again=True)
            method.side_effect = real
        self.change.apply(self.begun)
        self.assertEqual(1, self.asked.count('create'))
        self.assertEqual({'new1': 'attached'}, self.held())
        self.assert_seen(State.AFTER, again=True)

    def test_a_claim_that_is_lost_between_two_requests(self) -> None:
        """Something is done by then: it goes on from there, later."""
        self.begin()
        asked: list[str] = []

        def confirm() -> None:
            asked.append('')
            # may it be made, named, and what was there deleted?
            if len(asked) == 3:
                raise Conflict('claimed by another run')

        begun = dataclasses.replace(self.begun, confirm=confirm)
        self.assertRaises(OutcomeUnknown, self.change.apply, begun)
        self.assertEqual('new1', self.mapping()['attachment_id'])
        self.assert_seen(State.BEFORE, again=True)
        self.change.apply(self.begun)
        self.assertEqual({'new1': 'attached'}, self.held())

    def test_what_changed_since_the_plan(self) -> None:
        self.add_attachment('more', 'reserved')
        self.assert_seen(State.NEITHER, 'cinder has attachments left, more')
        self.set_mapping(attachment_id='another')
        self.assert_seen(State.NEITHER, 'nova names attachment another now')
        self.set_mapping(deleted=5)
        self.assert_seen(State.NEITHER, 'nova no longer maps it')

    def test_one_that_nova_maps_anew_meanwhile(self) -> None:
        """Nothing of ours is left behind, and nothing of what was there."""
        self.begin()
        self.set_mapping(attachment_id='another')
        self.assert_seen(State.NEITHER, 'another', again=True)
        self.assertRaises(Conflict, self.change.apply, self.begun)
        self.assertEqual({'left': 'attached'}, self.held())

    def test_one_that_did_not_get_so_far_is_taken_back(self) -> None:
        self.begin()
        self.create(VOLUME, UUID, 'rw')
        self.assertEqual('it was not carried out', self.revert())
        self.assertEqual({'left': 'attached'}, self.held())
        self.assertEqual('it was not carried out', self.revert())

    def test_a_guest_that_may_run_but_uses_none_of_it(self) -> None:
        self.cloud.compute.off.side_effect = lambda uuid: False
        self.set_attachment('left', attach_status='reserved')
        self.assert_seen(State.BEFORE)

    def test_a_compute_that_does_not_answer(self) -> None:
        self.begin()
        self.cloud.compute.off.side_effect = ApiUnavailable('nova: 504')
        self.assert_seen(State.UNKNOWN, 'nova: 504')
        self.assert_seen(State.UNKNOWN, 'nova: 504', again=True)

    def test_a_guest_that_runs_by_now_keeps_what_it_has(self) -> None:
        self.begin()
        self.cloud.compute.off.side_effect = lambda uuid: False
        self.assert_seen(State.NEITHER, 'a guest is on np-rcc46')
        self.assert_seen(State.NEITHER, 'a guest is on np-rcc46', again=True)


class TestReconnect(VolumeTestCase):
    """A server that was moved from np-rcc54 to np-rcc46."""

    def setUp(self) -> None:
        super().setUp()
        self.change = ReconnectVolume()
        self.set_server(vm_state='stopped')
        self.add_volume('in-use', 'attached')
        self.add_attachment(
            'old', 'attached', attached_host='np-rcc54',
            connector=json.dumps(THERE), connection_info=CONNECTED,
        )  # fmt: skip
        self.add_mapping('old')
        self.make_item(
            f'server:{UUID}', cell='cell1', uuid=UUID, volume=VOLUME,
            mapping=5, attachment='old', device='/dev/vdb', mode='rw',
            protocol='iscsi', source='np-rcc54', target='np-rcc46',
            connector=HERE, source_connector=THERE,
        )  # fmt: skip

    def connected_to(self) -> str:
        named = self.mapping()['attachment_id']
        (host,) = [
            row['attached_host']
            for row in self.cinder.rows('volume_attachment')
            if row['id'] == named
        ]
        return str(host)

    def test_there_and_back(self) -> None:
        self.assertEqual('connected to np-rcc46', self.apply())
        self.assertEqual({'new1': 'attached'}, self.held())
        self.assertEqual('np-rcc46', self.connected_to())
        self.assert_seen(State.AFTER, 'connected', again=True)
        self.assertEqual('connected to np-rcc54 again', self.revert())
        self.assertEqual({'new2': 'attached'}, self.held())
        self.assertEqual('np-rcc54', self.connected_to())
        self.assertEqual('already connected to the source', self.revert())

    def test_stopped_at_each_request(self) -> None:
        self.begin()
        for step in (
            'delete_attachment', 'connect_attachment', 'complete_attachment',
        ):  # fmt: skip
            method = getattr(self.cloud.volume, step)
            real, method.side_effect = (method.side_effect, ChangeFailed('no'))
            self.assertRaises(OutcomeUnknown, self.change.apply, self.begun)
            self.assert_seen(State.BEFORE, again=True)
            method.side_effect = real
        self.change.apply(self.begun)
        self.assertEqual(1, self.asked.count('create'))
        self.assert_seen(State.AFTER, 'connected', again=True)

    def test_a_conflict_in_the_middle_is_no_no(self) -> None:
        """Somebody replaces nova's mapping while the new one is connected."""
        self.begin()

        def connect(*args: Any) -> dict[str, Any]:
            self.set_mapping(attachment_id='another')
            return self.connect(*args)

        self.cloud.volume.connect_attachment.side_effect = connect
        self.assertRaises(OutcomeUnknown, self.change.apply, self.begun)
        # for the old one is gone
        self.assertNotIn('old', self.held())

    def test_stopped_before_nova_named_the_new_one(self) -> None:
        self.begin()
        self.create(VOLUME, UUID, 'rw')
        self.assertEqual('already as it was', self.revert())
        self.assertEqual({'old': 'attached'}, self.held())
        self.assertEqual('already as it was', self.revert())

    def test_what_changed_since_the_plan(self) -> None:
        self.begin()
        self.set_mapping(attachment_id='another')
        for again in (False, True):
            self.assert_seen(
                State.NEITHER, 'nova names attachment another now', again
            )
        self.set_mapping(deleted=5)
        self.assert_refused(Conflict, self.look, 'no longer has volume')

    def test_back_to_a_host_of_which_nothing_is_known(self) -> None:
        self.item.data['source_connector'] = None
        self.apply()
        self.assert_refused(
            NotRevertible, self.revert, 'openstack recovery run resume'
        )

    def test_a_guest_that_somebody_started_keeps_its_volume(self) -> None:
        self.apply()
        self.set_server(vm_state='active')
        self.assert_refused(Conflict, self.revert, 'its guest needs that')
