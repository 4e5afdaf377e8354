# SPDX-License-Identifier: Apache-2.0

"""volume check and volume reset on the rows of a real MariaDB."""

from __future__ import annotations

import json
import time
from typing import Any

from nova_recovery.changes import volume_reset
from nova_recovery.cli import volume
from nova_recovery.cli.run import UndoRun
from nova_recovery.cli.volume import CheckVolume
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import CellDatabase, Databases
from nova_recovery.engine.change import At, State
from nova_recovery.exceptions import Conflict
from nova_recovery.procedures.volumes import assess, attach, read, reset
from nova_recovery.procedures.volumes.read import Scope
from tests.integration.volume_rows import ago, uuid, VolumesTestCase
from tests.unit.at import at
from tests.unit.cli.programs import Ended, Standalone

#: Not of attachments: cinder's own work, and what failed of it.
NEVER = (
    'error_deleting', 'deleting', 'creating', 'downloading', 'managing',
    'error_managing', 'awaiting-transfer', 'maintenance', 'retyping',
    'extending', 'error_extending', 'uploading', 'backing-up',
    'restoring-backup', 'error_restoring', 'of-a-later-release',
)  # fmt: skip


class Check(VolumesTestCase):
    def codes(self, **scope: Any) -> dict[tuple[str, str], str]:
        """(volume's name, server's name) -> code of each finding."""
        names = {
            row['id']: row['display_name']
            for row in self.rows('cinder', 'volumes')
        }
        result = assess.assess(self.cloud, Scope(**scope))
        return {
            (names.get(one.volume, one.volume), result.found.name(one.server)):
            one.code
            for one in result.findings
        }  # fmt: skip


class TestCheck(Check):
    def test_a_consistent_cloud_has_no_findings(self) -> None:
        self.add_server('web')
        self.add_attached('web', 'data')
        self.add_volume('free', 'available', 'detached')
        self.add_volume('gone', 'in-use', 'attached', deleted=1)
        result = assess.assess(self.cloud, Scope())
        self.assertEqual((), result.findings)
        self.assertEqual(0, result.exit_code)
        self.assertIn('2 volumes and 1 mappings of 1', result.summary[0])
        self.assertIn('was not looked at', result.summary[0])

    def test_both_sides_are_joined(self) -> None:
        self.add_server('web')
        self.add_attached('web', 'good')
        self.add_volume('unlinked', 'available', 'detached')
        self.add_attachment('dead', 'unlinked', 'web', deleted=1)
        self.add_mapping('web', 'unlinked', 'dead', boot_index=0)
        self.add_volume('leftover', 'available', 'detached')
        self.add_mapping('web', 'leftover', None, connection_info=None)
        self.add_volume('stale')
        self.add_volume('orphan')
        self.add_attachment('orphaned', 'orphan', 'web')
        self.assertEqual(
            {
                ('unlinked', 'web'): 'VOL-UNLINKED',
                ('leftover', 'web'): 'VOL-LEFTOVER',
                ('stale', ''): 'VOL-STALE',
                ('orphan', 'web'): 'VOL-ORPHAN',
            },
            self.codes(),
        )

    def test_mapped_twice_and_for_another_host(self) -> None:
        self.add_server('web')
        self.add_attached('web', 'twice')
        self.add_mapping('web', 'twice', None, connection_info=None)
        for protocol in ('iscsi', 'rbd'):
            self.add_volume(protocol)
            self.add_attachment(
                f'a-{protocol}', protocol, 'web', attached_host='np-rcc99'
            )
            self.add_mapping(
                'web',
                protocol,
                f'a-{protocol}',
                connection_info=json.dumps({'driver_volume_type': protocol}),
            )
        self.assertEqual(
            {('twice', 'web'): 'VOL-TWICE', ('iscsi', 'web'): 'VOL-HOST'},
            self.codes(),
        )

    def test_servers_that_are_not_in_the_cell(self) -> None:
        """Deleted, in cell0, not scheduled yet, and never nova's."""
        self.add_server('deleted', deleted=77)
        self.add_server('buried', cell=2, in_cell=False)
        self.add_server('building', cell=None, in_cell=False)
        for name in ('deleted', 'buried', 'building', 'ironic'):
            self.add_volume(f'of-{name}')
            self.add_attachment(name, f'of-{name}', name)
        self.add_volume('of-glance')
        self.add_attachment('glance', 'of-glance', None)
        result = assess.assess(self.cloud, Scope())
        self.assertEqual(
            {
                uuid('of-deleted'): 'cinder has it attached, and the server '
                'was deleted',
                uuid('of-ironic'): 'cinder has it attached, and nova has no '
                'record of such a server: long deleted, or a machine of '
                'Ironic or a container of Zun',
            },
            {one.volume: one.cause for one in result.findings},
        )

    def test_the_hidden_copy_of_a_resize_to_another_cell(self) -> None:
        self.add_server('web', hidden=1)
        self.add_volume('data', 'available', 'detached')
        self.add_mapping('web', 'data', 'dead')
        self.assertEqual({}, self.codes())

    def test_scopes(self) -> None:
        self.add_server('web', host='np-rcc4')
        self.add_server('mail', host='np-rcc46', project_id='other')
        for server in ('web', 'mail'):
            self.add_volume(f'{server}-data', 'available', 'detached')
            self.add_mapping(server, f'{server}-data', f'dead-{server}')
        self.add_volume('stale', project_id='other')
        both = {('web-data', 'web'), ('mail-data', 'mail'), ('stale', '')}
        self.assertEqual(both, set(self.codes()))
        web = {('web-data', 'web')}
        self.assertEqual(web, set(self.codes(host='np-rcc4')))
        self.assertEqual(web, set(self.codes(server=uuid('web'))))
        self.assertEqual(both - web, set(self.codes(project='other')))
        self.assertEqual({}, self.codes(host='np-rcc'))

    def test_what_is_only_under_way_is_no_finding(self) -> None:
        """Between the looks nova has caught up with cinder."""
        self.add_server('web')
        self.add_volume('data')
        self.add_attachment('new', 'data', 'web')
        real = assess.policy.findings
        looks: list[int] = []

        def findings(found: Any) -> Any:
            if not looks:
                self.add_mapping('web', 'data', 'new')
            looks.append(1)
            return real(found)

        self.patch(assess.policy, 'findings', findings)
        self.assertEqual({}, self.codes())
        self.assertEqual(2, len(looks))

    def test_a_silent_cell_hides_nothing_and_accuses_nobody(self) -> None:
        self.add_server('web')
        self.add_volume('data')
        self.add_attachment('held', 'data', 'web')
        self.add_volume('alone')
        down = CellDatabase(
            self.databases.cells[0].cell,
            Database('cell1', 'mysql+pymysql://nova:x@127.0.0.1:1/nova'),
        )
        self.cloud.databases = Databases(
            self.databases.api, [down], self.databases.cinder
        )
        result = assess.assess(self.cloud, Scope())
        self.assertEqual((), result.findings)
        self.assertEqual({'cell1'}, set(result.found.silent))
        plan = self.decided('alone')
        self.assertEqual((), plan.steps)
        self.assertTrue(plan.blocked)

    def decided(self, *names: str) -> Any:
        request = reset.Request(tuple(uuid(name) for name in names))
        return reset.decide(request, reset.read(self.cloud, request.volumes))

    def test_secrets_stay_in_the_database(self) -> None:
        self.add_server('web')
        self.add_attached('web', 'data')
        found = read.both_sides(self.cloud)
        self.assertNotIn('chap-secret', repr(found))

    def test_how_the_host_connects_is_kept_in_a_deleted_row(self) -> None:
        self.add_server('web')
        self.add_volume('root', 'available', 'detached')
        self.add_attachment('dead', 'root', 'web', deleted=1, attach_mode='ro')
        self.add_mapping('web', 'root', 'dead', boot_index=0)
        found = attach.read(
            self.cloud, attach.Request(uuid('web'), uuid('root'))
        )
        self.assertEqual('np-rcc4', (found.connector or {})['host'])
        self.assertEqual('ro', found.access.mode)


class TestOfPike(Check):
    """cinder without connectors, nova without attachments' ids."""

    release, prefix = 'nova16', 'volpike'

    def test_mappings_and_attachments_are_joined_by_server(self) -> None:
        self.add_server('web')
        self.add_attached('web', 'data')
        self.add_volume('stale')
        self.add_volume('unlinked', 'available', 'detached')
        self.add_mapping('web', 'unlinked', None)
        self.assertEqual(
            {('stale', ''): 'VOL-STALE', ('unlinked', 'web'): 'VOL-UNLINKED'},
            self.codes(),
        )


class TestReset(Check):
    """The change itself, on rows as other writers left them."""

    def item(self, name: str) -> Any:
        request = reset.Request((uuid(name),))
        plan = reset.decide(request, reset.read(self.cloud, request.volumes))
        (item,) = plan.items()
        return item

    def look(self, item: Any) -> At[Any]:
        """Where the change is once its before-image is known."""
        seen = volume_reset.ResetVolume().observe(at(item, self.cloud))
        self.assertEqual(State.BEFORE, seen.state, seen.detail)
        return at(item, self.cloud, seen.image)

    def apply(self, item: Any) -> At[Any]:
        begun = self.look(item)
        volume_reset.ResetVolume().apply(begun)
        return begun

    def test_there_and_back(self) -> None:
        self.add_server('web', deleted=5)
        self.add_volume('data', 'error_detaching')
        self.add_attachment('old', 'data', 'web')
        self.cinder.add(
            'volume_admin_metadata',
            volume_id=uuid('data'), key='attached_mode', value='rw',
            deleted=0,
        )  # fmt: skip
        self.cinder.add(
            'volume_admin_metadata',
            volume_id=uuid('data'), key='readonly', value='False', deleted=0,
        )  # fmt: skip
        before = self.all_rows()
        item = self.item('data')
        begun = self.apply(item)
        row = self.row('cinder', 'volumes', id=uuid('data'))
        self.assertEqual(
            ('available', 'detached'), (row['status'], row['attach_status'])
        )
        old = self.row('cinder', 'volume_attachment', id=uuid('old'))
        self.assertEqual(1, old['deleted'])
        self.assertEqual('detached', old['attach_status'])
        self.assertIsNotNone(old['detach_time'])
        self.assertEqual(
            {'attached_mode': 1, 'readonly': 0},
            {
                row['key']: row['deleted']
                for row in self.rows('cinder', 'volume_admin_metadata')
            },
        )
        one = volume_reset.ResetVolume()
        self.assertEqual(State.AFTER, one.observe(begun).state)
        self.assertEqual('as it was', one.revert(begun))
        self.assertEqual('already as it was', one.revert(begun))

        def steady(rows: Any) -> Any:
            return [
                {k: v for k, v in row.items() if k != 'updated_at'}
                for rows in rows.values()
                for row in rows
            ]

        self.assertEqual(steady(before), steady(self.all_rows()))

    def test_one_server_of_a_multiattach_volume(self) -> None:
        """The other one's attachment stays as it is."""
        self.add_server('web')
        self.add_server('gone', deleted=9)
        self.add_attached('web', 'data', multiattach=1)
        self.add_attachment('orphan', 'data', 'gone')
        kept = self.row('cinder', 'volume_attachment', id=uuid('web-data'))
        mapped = self.rows('nova', 'block_device_mapping')
        self.apply(self.item('data'))
        self.assertEqual(
            kept, self.row('cinder', 'volume_attachment', id=uuid('web-data'))
        )
        self.assertEqual(mapped, self.rows('nova', 'block_device_mapping'))
        row = self.row('cinder', 'volumes', id=uuid('data'))
        self.assertEqual(
            ('in-use', 'attached'), (row['status'], row['attach_status'])
        )

    def test_error_deleting_comes_between_look_and_write(self) -> None:
        self.add_volume('data')
        item = self.item('data')
        one = volume_reset.ResetVolume()
        begun = self.look(item)
        self.server.sql(
            'vol_cinder',
            "UPDATE volumes SET status = 'error_deleting' WHERE id = %s",
            [uuid('data')],
        )
        before = self.all_rows()
        self.assertRaises(Conflict, one.apply, begun)
        self.assertEqual(before, self.all_rows())
        self.assertEqual(
            State.NEITHER, one.observe(at(item, self.cloud)).state
        )

    def test_an_attachment_comes_between_look_and_write(self) -> None:
        """The volume's own row looks as before."""
        self.add_volume('data', 'reserved', 'detached')
        item = self.item('data')
        one = volume_reset.ResetVolume()
        begun = self.look(item)
        self.add_attachment('new', 'data', 'web', attach_status='reserved')
        before = self.all_rows()
        self.assertRaises(Conflict, one.apply, begun)
        self.assertEqual(before, self.all_rows())

    def test_undo_after_somebody_else_attached_it(self) -> None:
        self.add_volume('data')
        item = self.item('data')
        begun = self.apply(item)
        self.server.sql(
            'vol_cinder',
            "UPDATE volumes SET status = 'reserved' WHERE id = %s",
            [uuid('data')],
        )
        before = self.all_rows()
        self.assertRaises(Conflict, volume_reset.ResetVolume().revert, begun)
        self.assertEqual(before, self.all_rows())


class TestCommands(Standalone, Check):
    """As they are typed; no API is there, and none is needed."""

    commands = {
        'volume check': CheckVolume,
        'volume reset': volume.ResetVolume,
        'run undo': UndoRun,
    }

    def run_command(self, *words: str) -> Ended:
        self.nova_conf, self.cinder_conf, ours = self.create_tempfiles(
            [
                (
                    f'{one}-{time.monotonic_ns()}',
                    f'[{group}]\nconnection = {url}\n',
                )
                for one, group, url in (
                    ('nova', 'api_database', self.server.url('vol_nova_api')),
                    ('cinder', 'database', self.server.url('vol_cinder')),
                    ('ours', 'journal', f'sqlite:///{self.journal}'),
                )
            ]
        )
        ended = self.run_program(
            ' '.join(words) + f' --nova-config-file {self.nova_conf}'
            f' --cinder-config-file {self.cinder_conf}'
            f' --recovery-config-file {ours}'
        )
        self.assertNotIn('Traceback', ended.stderr)
        return ended

    def setUp(self) -> None:
        super().setUp()
        (path,) = self.create_tempfiles([('journal', '')], ext='.sqlite')
        self.journal = f'{path}.own'

    def test_check_tells_by_its_exit_code(self) -> None:
        self.add_volume('free', 'available', 'detached')
        ended = self.run_command('volume check -f json')
        self.assertEqual(0, ended.code, ended.stderr)
        self.assertEqual([], json.loads(ended.stdout))
        self.add_volume('busy', 'error_deleting')
        ended = self.run_command('volume check -f json')
        self.assertEqual(0, ended.code, ended.stderr)
        self.add_volume('stale')
        ended = self.run_command('volume check -f json')
        self.assertEqual(4, ended.code, ended.stderr)
        stale, busy = json.loads(ended.stdout)
        self.assertEqual('VOL-BUSY', busy['Code'])
        self.assertEqual('', busy['Fix'])
        self.assertEqual('demo', stale['Project'])
        self.assertEqual(
            f'openstack recovery volume reset {uuid("stale")}', stale['Fix']
        )
        self.assertIn('1 stale, 1 note', ended.stderr)

    def test_the_fix_that_is_told_is_the_fix(self) -> None:
        self.add_volume('stale')
        ended = self.run_command('volume check -f json')
        (found,) = json.loads(ended.stdout)
        before = self.all_rows()
        words = found['Fix'].removeprefix('openstack recovery ')
        ended = self.run_command(words, '--dry-run')
        self.assertEqual(0, ended.code, ended.stderr)
        self.assertIn('~ status  in-use -> available', ended.stderr)
        self.assertEqual(before, self.all_rows())
        ended = self.run_command(words, '--yes', '-f json')
        self.assertEqual(0, ended.code, ended.stderr)
        (done,) = json.loads(ended.stdout)
        self.assertEqual('done', done['Outcome'])
        self.assertEqual(0, self.run_command('volume check').code)
        run = ended.stderr.split('\nRun ')[1].split()[0]
        ended = self.run_command('run undo', run, '--yes')
        self.assertEqual(0, ended.code, ended.stderr)
        row = self.row('cinder', 'volumes', id=uuid('stale'))
        self.assertEqual('in-use', row['status'])

    def test_what_is_of_cinder_stays_bit_for_bit(self) -> None:
        for status in NEVER:
            self.add_volume(status, status)
        self.add_volume('migrating', migration_status='target:x')
        self.add_volume('deleted', deleted=1)
        before = self.all_rows()
        for status in (*NEVER, 'migrating'):
            ended = self.run_command('volume reset', uuid(status), '--yes')
            self.assertEqual(3, ended.code, ended.stderr)
            self.assertRegex(ended.stderr, 'resettable')
        ended = self.run_command('volume reset', uuid('deleted'), '--yes')
        self.assertEqual(1, ended.code)
        self.assertEqual(before, self.all_rows())

    def test_what_may_be_under_way_is_not_reset(self) -> None:
        """By a cinder whose clock is slow: its stamps are always old."""
        self.add_volume('new', 'reserved', 'detached')
        self.meanwhile = lambda: self.server.sql(
            'vol_cinder',
            'UPDATE volumes SET updated_at = updated_at + INTERVAL 1 SECOND',
        )
        before = self.row('cinder', 'volumes')
        ended = self.run_command('volume reset', uuid('new'), '--yes')
        self.assertEqual(3, ended.code, ended.stderr)
        self.assertRegex(ended.stderr, 'refused +not-under-way')
        after = self.row('cinder', 'volumes')
        self.assertEqual({**before, 'updated_at': after['updated_at']}, after)

    def test_what_cinder_changed_just_now_is_a_note(self) -> None:
        self.add_volume('new', 'reserved', 'detached', updated_at=ago(5))
        ended = self.run_command('volume check -f json')
        self.assertEqual(0, ended.code)

    def test_a_consistent_volume_is_left_alone(self) -> None:
        self.add_server('web')
        self.add_attached('web', 'data')
        before = self.all_rows()
        ended = self.run_command('volume reset', uuid('data'), '--yes')
        self.assertEqual(0, ended.code, ended.stderr)
        self.assertIn('consistent', ended.stdout)
        self.assertEqual(before, self.all_rows())

    def test_a_name_that_no_volume_has(self) -> None:
        ended = self.run_command('volume reset nothing-like-it --yes')
        self.assertEqual((1, ''), (ended.code, ended.stdout))
        self.assertEqual('no volume nothing-like-it\n', ended.stderr)
