# SPDX-License-Identifier: Apache-2.0

"""Volumes that nova and cinder disagree on, on the practice cloud."""

from __future__ import annotations

import json
import time
import types
from typing import Any

import fixtures

from nova_recovery.cloud.api.compute import Compute
from tests.cloud import servers, services
from tests.functional.base import Ended, FunctionalTest, JSON

HOST = 'host1'
SITUATION = 'nova_recovery.procedures.volumes.situation'
#: What watches a volume takes the time from.
READ = 'nova_recovery.procedures.volumes.read.time'
HELD = 'volume_attachment'


class TestVolumes(FunctionalTest):
    """Each trap, made as it comes about, then mended."""

    fresh = True

    def setUp(self) -> None:
        super().setUp()
        # Nothing of these tests is under way when it is looked at.
        self.useFixture(fixtures.MonkeyPatch(f'{SITUATION}.SETTLE', -3600))

    # what is there

    def findings(self, uuid: str) -> dict[str, str]:
        """Code -> fix of what is wrong with the volumes of a server."""
        ended = self.recovery(
            'volume', 'check', '--server', uuid, '-f', 'json'
        )
        found = json.loads(ended.stdout)
        worse = [one for one in found if one['Severity'] != 'note']
        self.assertEqual(4 if worse else 0, ended.code, ended.stderr)
        return {one['Code']: one['Fix'] for one in found}

    def fix(self, words: str, *more: str, code: int = 0) -> Ended:
        """Type what volume check told."""
        words = words.removeprefix('openstack recovery ')
        return self.done(*words.split(), '--yes', *more, code=code)

    def volume(self, uuid: str) -> JSON:
        (row,) = self.practice.sql(
            'cinder', 'SELECT * FROM volumes WHERE id = %s', [uuid]
        )
        return row

    def said(self, uuid: str) -> tuple[str, str]:
        row = self.volume(uuid)
        return row['status'], row['attach_status']

    def new_volume(self) -> str:
        owner = self.practice.connection('admin', 'demo')
        return str(servers.create_volume(owner, 'own'))

    def cinder_reset(self, volume: str) -> None:
        """The second step of the guide, by cinder's own API."""
        answer = self.admin.block_storage.post(
            f'/volumes/{volume}/action',
            json={
                'os-reset_status': {
                    'status': 'available',
                    'attach_status': 'detached',
                }
            },
        )
        self.assertEqual(202, answer.status_code, answer.text)

    def reboot(self, uuid: str, user: str = 'admin') -> None:
        count = self.state.actions(uuid).count('reboot')
        answer = self.state.server_action(
            uuid, 'reboot', {'type': 'HARD'}, user=user
        )
        self.assertEqual(202, answer.status_code, answer.text)
        self.wait_for(
            lambda: (
                self.state.actions(uuid).count('reboot') > count
                and self.state.row(uuid)['task_state'] is None
            ),
            'the reboot',
        )

    def steady(self, uuid: str) -> list[tuple[Any, ...]]:
        """What must never change of a server's mappings."""
        return [
            tuple(
                row[name]
                for name in (
                    'id', 'volume_id', 'device_name', 'tag', 'boot_index',
                    'delete_on_termination',
                )
            )
            for row in self.state.devices(uuid)
        ]  # fmt: skip

    def no_way_back(self, instead: str) -> None:
        """The newest run is not undone; told is what to do instead."""
        ended = self.recovery('run', 'undo', self.newest_run(), '--yes')
        self.assertNotEqual(0, ended.code)
        self.assertIn(instead, ' '.join(ended.stderr.split()))

    # the traps

    def test_a_reset_boot_volume_survives_the_reboot(self) -> None:
        """Trap 3: the guide's step 2, which loses the root disk."""
        server = self.create_server(
            host=HOST, boot_from_volume='iscsi', volumes=('rbd',)
        )
        before = self.steady(server.id)
        self.assertEqual(2, len(before))
        self.assertEqual({}, self.findings(server.id))
        for row in self.state.devices(server.id):
            self.cinder_reset(row['volume_id'])
        (fix,) = set(
            word.rsplit(' ', 1)[0]
            for word in self.findings(server.id).values()
        )
        for row in self.state.devices(server.id):
            self.fix(f'{fix} {row["volume_id"]}')
        self.assertEqual({}, self.findings(server.id))
        # Again is nothing.
        ended = self.fix(f'{fix} {before[0][1]}')
        self.assertIn('has it already', ended.stdout)
        self.reboot(server.id)
        self.assertEqual(before, self.steady(server.id))
        self.assertEqual({}, self.findings(server.id))
        for row in self.state.devices(server.id):
            self.assertEqual(
                ('in-use', 'attached'), self.said(row['volume_id'])
            )
            (held,) = self.state.attachments(row['volume_id'])
            self.assertEqual(HOST, held['connector']['host'])
            self.assertEqual(row['attachment_id'], held['id'])

    def test_a_reboot_by_the_owner_deletes_no_attachment(self) -> None:
        """Trap 4: a mapping of before Queens names none."""
        server = self.create_server(host=HOST, volumes=('rbd',))
        (row,) = [r for r in self.state.devices(server.id) if r['volume_id']]
        self.practice.sql(
            'nova',
            'UPDATE block_device_mapping SET attachment_id = NULL'
            ' WHERE id = %s',
            [row['id']],
        )
        found = self.findings(server.id)
        self.assertEqual({'VOL-LEGACY'}, set(found))
        self.fix(found['VOL-LEGACY'])
        (held,) = self.state.attachments(row['volume_id'])
        self.assertEqual(row['attachment_id'], held['id'])
        self.reboot(server.id, 'demo')
        (held,) = self.state.attachments(row['volume_id'])
        self.assertEqual(row['attachment_id'], held['id'])
        self.assertEqual({}, self.findings(server.id))

    def test_what_nova_lost_is_attached_by_nova(self) -> None:
        """Traps 5 and 6: once, with its device and tag; then a no-op."""
        server = self.create_server(host=HOST)
        volume = self.new_volume()
        words = ('volume', 'attach', server.id, volume)
        self.done(*words, '--tag', 'db', '--device', '/dev/vdb', '--yes')
        (row,) = [
            r for r in self.state.devices(server.id)
            if r['volume_id'] == volume
        ]  # fmt: skip
        self.assertEqual('db', row['tag'])
        self.assertEqual(('in-use', 'attached'), self.said(volume))
        self.assertIn(volume, self.state.guest_volumes(server.id).values())
        before = self.state.actions(server.id)
        ended = self.done(*words, '--yes')
        self.assertIn('has it already', ended.stdout)
        self.assertEqual(before, self.state.actions(server.id))
        # The guest may use it: told is what to do instead.
        self.no_way_back('openstack server remove volume')
        self.assertEqual(('in-use', 'attached'), self.said(volume))

    def test_already_attached_is_looked_at_and_not_sent_again(self) -> None:
        """Somebody attaches it between our look and our request."""
        server = self.create_server(host=HOST)
        volume = self.new_volume()
        real = Compute.attach_volume
        sent: list[str] = []

        def attach(nova: Any, *words: Any) -> str:
            sent.append('once')
            real(nova, *words)
            return real(nova, *words)

        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.cloud.api.compute.Compute.attach_volume', attach
            )
        )
        self.done('volume', 'attach', server.id, volume, '--yes')
        self.assertEqual(['once'], sent)
        self.assertEqual(1, len(self.state.attachments(volume)))
        self.assertEqual({}, self.findings(server.id))

    def test_a_detach_that_may_be_under_way(self) -> None:
        """By a cinder whose clock is slow: what it stamps looks old."""
        server = self.create_server(host=HOST, volumes=('rbd',))
        (volume,) = [
            row['volume_id']
            for row in self.state.devices(server.id)
            if row['volume_id']
        ]
        self.detaching(volume)
        self.assertEqual({'VOL-DETACHING'}, set(self.findings(server.id)))
        self.useFixture(fixtures.MonkeyPatch(f'{SITUATION}.SETTLE', 3))
        words = ('volume', 'reset', volume, '--yes')
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            time.sleep(seconds)

        def work(seconds: float) -> None:
            sleep(seconds)
            self.detaching(volume, minutes=59)

        clock = types.SimpleNamespace(monotonic=time.monotonic, sleep=work)
        self.useFixture(fixtures.MonkeyPatch(READ, clock))
        self.assertIn('not-under-way', self.done(*words, code=3).stderr)
        self.assertEqual('detaching', self.said(volume)[0])

        clock.sleep = sleep
        self.assertIn('watching 1 volume', self.done(*words).stderr)
        self.assertEqual(('in-use', 'attached'), self.said(volume))
        # it was watched for the plan, and not again when it was applied
        self.assertEqual(2, len(slept))
        self.assertEqual({}, self.findings(server.id))

    def detaching(self, volume: str, minutes: int = 60) -> None:
        """Cinder says that it is, by a clock that is slow."""
        answer = self.admin.block_storage.post(
            f'/volumes/{volume}/action',
            json={'os-reset_status': {'status': 'detaching'}},
        )
        self.assertEqual(202, answer.status_code, answer.text)
        for table, name in (('volumes', 'id'), (HELD, 'volume_id')):
            self.practice.sql(
                'cinder',
                f'UPDATE {table} SET updated_at = UTC_TIMESTAMP() - INTERVAL'
                f' %s MINUTE WHERE {name} = %s',
                [minutes, volume],
            )

    def test_nothing_is_sent_to_a_dead_host(self) -> None:
        server = self.create_server(host='host2')
        volume = self.new_volume()
        self.kill_compute('host2')
        self.practice.wait_compute_down('host2')
        ended = self.done(
            'volume', 'attach', server.id, volume, '--yes', code=3
        )
        self.assertRegex(ended.stderr, 'refused +host-up')
        self.assertEqual(0, self.state.queued('host2'))
        self.assertEqual(('available', 'detached'), self.said(volume))

    def test_what_a_replayed_attach_left(self) -> None:
        """The mapping that no API repairs, as the replay makes it."""
        server = self.create_server(host='host2')
        volume = self.new_volume()
        self.kill_compute('host2')
        answer = self.admin.compute.post(
            f'/servers/{server.id}/os-volume_attachments',
            json={'volumeAttachment': {'volumeId': volume}},
        )
        self.assertEqual(500, answer.status_code, answer.text)
        self.practice.start(services.compute('host2'))
        self.practice.wait_compute_up('host2')
        self.wait_for(
            lambda: [
                r for r in self.state.devices(server.id)
                if r['volume_id'] == volume
            ],
            'the replay',
        )  # fmt: skip
        found = self.findings(server.id)
        self.assertEqual({'VOL-LEFTOVER'}, set(found))
        self.fix(found['VOL-LEFTOVER'])
        self.assertEqual({}, self.findings(server.id))
        run = self.newest_run()
        self.done('run', 'undo', run, '--yes')
        self.assertEqual({'VOL-LEFTOVER'}, set(self.findings(server.id)))
        self.fix(found['VOL-LEFTOVER'])
        self.done('volume', 'attach', server.id, volume, '--yes')
        self.assertEqual({}, self.findings(server.id))

    def test_mapped_twice(self) -> None:
        """As nova leaves it when an attach timed out and was repeated."""
        server = self.create_server(host=HOST, volumes=('iscsi',))
        before = self.steady(server.id)
        self.practice.sql(
            'nova',
            'INSERT INTO block_device_mapping (created_at, deleted, uuid,'
            ' instance_uuid, volume_id, source_type, destination_type,'
            ' boot_index, delete_on_termination) SELECT created_at, 0, UUID(),'
            ' instance_uuid, volume_id, source_type, destination_type,'
            ' boot_index, delete_on_termination FROM block_device_mapping'
            ' WHERE instance_uuid = %s AND deleted = 0'
            ' AND volume_id IS NOT NULL',
            [server.id],
        )
        found = self.findings(server.id)
        self.assertEqual({'VOL-TWICE'}, set(found))
        self.fix(found['VOL-TWICE'])
        self.assertEqual({}, self.findings(server.id))
        self.assertEqual(before, self.steady(server.id))
        self.done('run', 'undo', self.newest_run(), '--yes')
        self.assertEqual({'VOL-TWICE'}, set(self.findings(server.id)))
        self.fix(found['VOL-TWICE'])

    def test_an_attachment_whose_mapping_is_gone(self) -> None:
        """Not from under a guest; with the guest off, by cinder."""
        server = self.create_server(host=HOST, volumes=('iscsi',))
        (row,) = [r for r in self.state.devices(server.id) if r['volume_id']]
        self.practice.sql(
            'nova',
            'UPDATE block_device_mapping SET deleted = id WHERE id = %s',
            [row['id']],
        )
        fix = self.findings(server.id)['VOL-ORPHAN']
        ended = self.fix(fix, code=3)
        self.assertRegex(ended.stderr, 'refused +guest-off')
        self.assertEqual(('in-use', 'attached'), self.said(row['volume_id']))
        self.state.server_action(server.id, 'os-stop')
        self.wait_for(
            lambda: self.state.row(server.id)['vm_state'] == 'stopped',
            'the stop',
        )
        self.fix(fix)
        self.assertEqual([], self.state.attachments(row['volume_id']))
        self.assertEqual(
            ('available', 'detached'), self.said(row['volume_id'])
        )
        self.no_way_back('openstack recovery volume attach')
        self.assertEqual([], self.state.attachments(row['volume_id']))

    def test_killed_between_the_attachment_and_its_mapping(self) -> None:
        """It goes on with the attachment that it made."""
        server = self.create_server(host=HOST, boot_from_volume='iscsi')
        (row,) = self.state.devices(server.id)
        self.cinder_reset(row['volume_id'])

        def killed(*words: Any) -> None:
            raise KeyboardInterrupt

        patch = fixtures.MonkeyPatch(
            'nova_recovery.changes.volume_exchange.exchange', killed
        )
        with patch:
            self.recovery(
                'volume', 'attach', server.id, row['volume_id'], '--yes'
            )
        (made,) = self.state.attachments(row['volume_id'])
        self.done('run', 'resume', self.newest_run(), '--yes')
        (held,) = self.state.attachments(row['volume_id'])
        self.assertEqual(made['id'], held['id'])
        self.assertEqual({}, self.findings(server.id))
        self.reboot(server.id)
        (after,) = self.state.devices(server.id)
        self.assertEqual((row['id'], 0), (after['id'], after['boot_index']))

    def test_volumes_in_use_are_exported_again(self) -> None:
        """Trap 24: after a reset of what is stale, and only that."""
        server = self.create_server(host=HOST, volumes=('iscsi',))
        (row,) = [r for r in self.state.devices(server.id) if r['volume_id']]
        stale = self.new_volume()
        for volume, status in ((row['volume_id'], 'error'), (stale, 'in-use')):
            self.practice.sql(
                'cinder',
                'UPDATE volumes SET status = %s WHERE id = %s',
                [status, volume],
            )
        self.done('volume', 'reset', row['volume_id'], stale, '--yes')
        self.assertEqual(('in-use', 'attached'), self.said(row['volume_id']))
        self.assertEqual(('available', 'detached'), self.said(stale))
        self.done('run', 'undo', self.newest_run(), '--yes')
        self.assertEqual('in-use', self.said(stale)[0])
        self.done('volume', 'reset', row['volume_id'], stale, '--yes')
        self.reboot(server.id)
        self.assertEqual({}, self.findings(server.id))
