# SPDX-License-Identifier: Apache-2.0

"""What nova, users and cinder do around a power loss, host by host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent import futures
import dataclasses
import pathlib
import shutil
import tempfile
from typing import Any, ClassVar
import uuid as uuid_module

import fixtures

from nova_recovery.changes.volume_reset import ResetVolume
from nova_recovery.cloud.api.compute import Compute
from tests.cloud import servers, services
from tests.cloud.proxy import GatewayTimeoutProxy
from tests.functional import disaster
from tests.functional.base import JSON
from tests.functional.disaster import DisasterTest, Whole

#: What the volumes are called that nobody may touch.
NEVER = 'never touched'
#: States that are cinder's own business, or of volumes that are gone.
NEVER_TOUCHED = (
    ('error_deleting', 0),
    ('deleting', 0),
    ('creating', 0),
    ('awaiting-transfer', 0),
    ('reserved', 0),
    ('maintenance', 0),
    ('in-use', 1),
)


class TestTraps(DisasterTest):
    """One power loss, and on each host something else happens before us.

    Each test is for one host, whose nova-compute it starts.
    """

    _ready: ClassVar[bool] = False
    _files: ClassVar[pathlib.Path]
    before: ClassVar[dict[str, Whole]]
    stale: ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls._files = pathlib.Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls._files)
        cls.addClassCleanup(cls.practice.leave_to_reset)

    def setUp(self) -> None:
        super().setUp()
        self.snapshot = self._files / 'cloud.snapshot'
        if not self._ready:
            self._prepare()
            type(self)._ready = True

    def _prepare(self) -> None:
        kinds: dict[str, dict[str, Any]] = {
            'resumed': {'host': 'host2', 'volumes': ('iscsi',)},
            'idle': {'host': 'host2', 'state': 'stopped'},
            'plain': {'host': 'host3'},
            'interrupted': {'host': 'host3'},
            'asked': {'host': 'host3', 'volumes': ('rbd',)},
        }
        with futures.ThreadPoolExecutor(4) as pool:
            list(
                pool.map(
                    lambda one: self.practice.create_server(one[0], **one[1]),
                    kinds.items(),
                )
            )
        names = {one.name: one.uuid for one in self.everything().values()}
        self.attach(
            names['at3-ui08'], 'rbd', tag='db', delete_on_termination=True
        )
        self._share(names['at3-ui01'], names['at3-ui07'])
        before = self.everything()
        # in the middle of a reboot when the power goes
        self.practice.next_boot(names['interrupted'], seconds=300)
        self.hard_reboot(names['interrupted'])
        self.wait_for(
            lambda: (
                self.state.row(names['interrupted'])['task_state']
                == 'reboot_started_hard'
            ),
            'a reboot under way',
        )
        before['interrupted'] = dataclasses.replace(
            before['interrupted'],
            actions=self.everything()['interrupted'].actions,
        )
        type(self).before = before
        self.take_snapshot()
        self.practice.site_power_loss()
        self.power_on(compute=False)
        self._break(before)

    def _share(self, *uuids: str) -> None:
        """Attach one volume to several servers."""
        storage = self.admin.block_storage
        specs = {'volume_backend_name': 'iscsi', 'multiattach': '<is> True'}
        body = {'volume_type': {'name': 'shared', 'extra_specs': specs}}
        servers.call(storage, 'POST', '/types', body=body)
        owner = self.practice.connection('admin', 'demo')
        volume = servers.create_volume(owner, 'shared', 'shared')
        for uuid in uuids:
            self.attach(uuid, 'shared', volume=volume)

    def _break(self, before: Mapping[str, Whole]) -> None:
        """What is wrong with volumes after an outage, and what isn't."""
        # the guide's step 2, which makes nova forget them at a reboot
        for name in ('at3-ui04', 'at3-ui09'):
            self.cinder_reset(before[name].devices[0]['volume_id'])
        # attached before Queens; never connected; forgotten
        for name, change in (
            ('at3-ui02', 'attachment_id = NULL'),
            ('at3-ui03', 'connection_info = NULL'),
            ('at3-ui08', 'deleted = id'),
        ):
            self.practice.sql(
                'nova',
                f'UPDATE block_device_mapping SET {change} WHERE id = %s',
                [before[name].devices[-1]['id']],
            )
        # the shared volume, of one of its servers
        self.practice.sql(
            'cinder',
            'UPDATE volume_attachment SET deleted = 1, '
            "attach_status = 'detached' WHERE id = %s",
            [before['at3-ui07'].devices[-1]['attachment_id']],
        )
        # could not be exported again
        self.practice.sql(
            'cinder',
            "UPDATE volumes SET status = 'error' WHERE id = %s",
            [before['at3-ui10'].devices[-1]['volume_id']],
        )
        model = self.cinder(before['at3-ui02'].devices[-1]['volume_id'])
        for status, deleted in NEVER_TOUCHED:
            row = {
                **model,
                'id': str(uuid_module.uuid4()),
                'display_name': NEVER,
                'status': status,
                'attach_status': 'detached',
                'deleted': deleted,
            }
            names = ', '.join(f'`{name}`' for name in row)
            marks = ', '.join(['%s'] * len(row))
            self.practice.sql(
                'cinder',
                f'INSERT INTO volumes ({names}) VALUES ({marks})',
                list(row.values()),
            )

    def never_touched(self) -> list[JSON]:
        return self.practice.sql(
            'cinder',
            'SELECT * FROM volumes WHERE display_name = %s ORDER BY id',
            [NEVER],
        )

    def hard_reboot(self, uuid: str) -> None:
        """As its owner does."""
        answer = self.state.server_action(
            uuid, 'reboot', {'type': 'HARD'}, user='demo'
        )
        self.assertEqual(202, answer.status_code, answer.text)

    def of(self, host: str) -> list[Whole]:
        return [one for one in self.before.values() if one.row['host'] == host]

    def power_on_host(self, host: str, **options: object) -> None:
        self.practice.start(services.compute(host), options=options)
        self.practice.wait_compute_up(host)

    def lose_answers(self) -> list[str]:
        """Lose nova's answer to the first start or reboot; who got none."""
        between = GatewayTimeoutProxy(self.practice.config.port('nova-api'))
        self.addCleanup(between.close)
        self.useFixture(
            fixtures.EnvironmentVariable(
                'OS_COMPUTE_ENDPOINT_OVERRIDE',
                f'http://127.0.0.1:{between.port}/v2.1',
            )
        )
        lost: list[str] = []
        for name in ('start', 'reboot_hard'):
            really = getattr(Compute, name)

            def send(
                nova: Any, uuid: str, *args: Any, really: Any = really
            ) -> Any:
                if not lost:
                    between.lose_next('POST', f'/servers/{uuid}/action')
                    lost.append(uuid)
                return really(nova, uuid, *args)

            self.useFixture(
                fixtures.MonkeyPatch(
                    f'nova_recovery.cloud.api.compute.Compute.{name}', send
                )
            )
        return lost

    def test_power_sync_and_stale_volumes(self) -> None:
        """Nova has stopped what ran; what a user stopped stays so.

        Nothing that cinder is at is touched, even where it begins between
        our look and our write.
        """
        mine = {one.name: one for one in self.of('host1')}
        ran = [one.uuid for one in mine.values() if one.ran]
        self.power_on_host('host1')
        self.wait_for(
            lambda: (
                {self.state.row(uuid)['vm_state'] for uuid in ran}
                == {'stopped'}
            ),
            'the power sync',
        )
        seen = self.never_touched()
        deleting = mine['at3-ui10'].devices[-1]['volume_id']
        self.deleted_meanwhile(deleting)
        lost = self.lose_answers()

        # one conflict more would stop it in step 2
        ended = self.apply('--host', 'host1', '--max-failures', '1', code=4)
        self.assertIn(deleting, ended.stdout + ended.stderr)
        self.assertEqual(1, len(lost))
        self.assertEqual('error_deleting', self.cinder(deleting)['status'])
        self.assertEqual(seen, self.never_touched())
        # its server stays claimed until somebody decides
        self.done(
            'run', 'resume', self.newest_run(), '--yes',
            '--skip', 'at3-ui10=its volume is being deleted',
        )  # fmt: skip

        forgotten = mine.pop('at3-ui08')
        del mine['at3-ui10']
        started = {one.name: 'start' for one in self.of('host1') if one.ran}
        self.assert_back(mine.values(), started, repaired=True)
        self.assert_attached_again(forgotten)
        self.assert_shared('at3-ui01', 'at3-ui07')
        self.assert_exported([*mine.values(), forgotten])

    def assert_shared(self, untouched: str, mended: str) -> None:
        """One volume of two servers: what one has was left alone."""
        one = self.before[untouched]
        device = one.devices[-1]
        held = {
            each['instance_uuid']: each['id']
            for each in self.state.attachments(device['volume_id'])
        }
        self.assertEqual({one.uuid, self.before[mended].uuid}, set(held))
        self.assertEqual(device['attachment_id'], held[one.uuid])

    def deleted_meanwhile(self, volume: str) -> None:
        """Somebody deletes it right before we write its row."""
        really = ResetVolume.apply

        def apply(change: Any, at: Any) -> Any:
            if at.data['volume'] == volume:
                self.practice.sql(
                    'cinder',
                    "UPDATE volumes SET status = 'error_deleting'"
                    ' WHERE id = %s',
                    [volume],
                )
            return really(change, at)

        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.changes.volume_reset.ResetVolume.apply', apply
            )
        )

    def assert_attached_again(self, old: Whole) -> None:
        """What nova had forgotten is there with device, tag and flag."""
        (new,) = disaster.look(self.practice, [old.uuid])
        self.assertEqual(['start', 'attach_volume'], self.asked(old, new))
        self.assertEqual(
            [{**one, 'id': 0, 'attachment_id': ''} for one in old.devices],
            [{**one, 'id': 0, 'attachment_id': ''} for one in new.devices],
        )
        self.assertEqual(old.disks, new.disks)
        self.assertEqual(old.boots + 1, new.boots)

    def assert_exported(self, servers_: Iterable[Whole]) -> None:
        """cinder-volume restarts: what is in use can be connected to."""
        wanted = {
            volume
            for one in servers_
            for volume in one.volumes
            if 'iscsi' in (self.cinder(volume)['host'] or '')
        }
        count = len(self.practice.cinder_calls())
        self.practice.kill('cinder-volume')
        self.practice.start('cinder-volume')
        exported = {
            call['volume']
            for call in self.practice.cinder_calls()[count:]
            if call['call'] == 'ensure_export'
        }
        self.assertEqual(set(), wanted - exported)

    def test_a_cell_that_does_not_answer_is_not_nothing_to_do(self) -> None:
        """Trap 37: neither the only one nor one more, planned or not.

        On a copy of the API's database, so that nova itself is left alone.
        """
        known = ('--snapshot', self.snapshot)
        made = self.plan_file('--host', 'host2')
        planned = (made['file'], '--approve', made['digest'])
        before = self.everything()
        cut = self.copied_api()
        for cell, code in (('cell1', 1), ('cell2', 3)):
            cut(cell)
            for command, words, wanted in (
                ('assess', known, 1),
                ('plan', (*known, '--dump', self.home / 'dump.sql'), 3),
                # of a plan from before its cell was silent, or another one
                ('apply', planned, code),
            ):
                ended = self.done('disaster', command, *words, code=wanted)
                said = ended.stdout + ended.stderr
                self.assertIn(cell, said)
                self.assertNotIn('Nothing to do', said)
        self.assertEqual([], self.answer('run', 'list'))
        self.assertEqual(before, self.everything())
        cut('none')
        again = self.plan_file('--host', 'host2')
        self.assertEqual(made['steps'], again['steps'])

    def copied_api(self) -> Any:
        """A copy of the API's database, and what cuts off a cell there."""
        api = 'copy_disaster_api'
        self.addCleanup(self.practice.sql, None, f'DROP DATABASE {api}')
        self.practice.database.create_database(api)
        tables = self.practice.sql(
            'nova_api',
            'SELECT table_name AS name FROM information_schema.tables'
            ' WHERE table_schema = DATABASE()',
        )
        for row in tables:
            whole = f'{api}.`{row["name"]}`'
            old = f'nova_api.`{row["name"]}`'
            self.practice.sql(None, f'CREATE TABLE {whole} LIKE {old}')
            self.practice.sql(None, f'INSERT INTO {whole} SELECT * FROM {old}')
        folder = self.home / 'nova-of-a-copy'
        folder.mkdir()
        for path in (self.practice.config.etc / 'nova').glob('*.conf'):
            text = path.read_text().replace('/nova_api', f'/{api}')
            (folder / path.name).write_text(text)
        self.configure(
            snapshot__directory=self.home,
            disaster__quiet=1,
            DEFAULT__nova_config_dir=folder,
        )
        known = self.practice.sql(api, 'SELECT * FROM cell_mappings')

        def cut(name: str) -> None:
            """This cell is down, and all the others are as they were."""
            self.practice.sql(api, 'DELETE FROM cell_mappings')
            nowhere = 'mysql+pymysql://nova:x@127.0.0.1:1/nowhere'
            more = {
                **known[-1],
                'id': 99,
                'uuid': str(uuid_module.uuid4()),
                'name': 'cell2',
            }
            for row in (*known, more):
                if row['name'] == name:
                    row = {**row, 'database_connection': nowhere}
                elif row is more:
                    continue
                self.practice.sql(
                    api,
                    f'INSERT INTO cell_mappings ({", ".join(row)})'
                    f' VALUES ({", ".join(["%s"] * len(row))})',
                    list(row.values()),
                )

        return cut

    def test_nova_resumes_them_itself(self) -> None:
        """Without any request; ours would start them a second time."""
        self.power_on_host(
            'host2', resume_guests_state_on_host_boot=True, **disaster.NO_SYNC
        )
        self.apply('--host', 'host2')
        self.assert_back(self.of('host2'), {'at3-ui11': '', 'resumed': ''})

    def test_reboots_of_others(self) -> None:
        """One that the outage interrupted, one that its owner asks for.

        Nothing is sent while the host is off, where it would wait and be
        carried out too. Our own reboot is found although its answer was
        lost and nova's clock is an hour ahead; the wave after it waits until
        the clock is right.
        """
        ended = self.apply('--host', 'host3', code=4)
        self.assertIn('host3', ended.stderr)
        self.assertEqual(0, self.state.queued('host3'))
        self.power_on_host('host3', **disaster.NO_SYNC)
        asked = self.before['asked']
        self.hard_reboot(asked.uuid)
        self.wait_for(lambda: self.lies_back(asked.uuid), 'a quiet cloud')
        self.addCleanup(self.practice.start, 'nova-api')
        lost = self.lose_answers()
        self.skew_when_sent()
        run = self.newest_run()
        ended = self.done('run', 'resume', run, '--yes', code=4)
        self.assertIn('not ready', ended.stderr)
        self.assertEqual([self.before['plain'].uuid], lost)
        self.practice.start('nova-api')
        self.done('run', 'resume', run, '--yes')
        self.assert_back(self.of('host3'), {'interrupted': ''})
        (now,) = disaster.look(self.practice, [asked.uuid])
        demo = self.practice.connection('demo').current_user_id
        self.assertEqual(demo, now.actions[-1][2])

    def lies_back(self, uuid: str) -> bool:
        """Whether all that was asked of it is over for some seconds."""
        found = self.practice.sql(
            'nova',
            'SELECT e.id FROM instance_actions a JOIN instance_actions_events'
            ' e ON e.action_id = a.id WHERE a.instance_uuid = %s'
            ' AND (e.finish_time IS NULL OR e.finish_time >'
            ' UTC_TIMESTAMP() - INTERVAL 2 SECOND)',
            [uuid],
        )
        return not found

    def skew_when_sent(self) -> None:
        """NTP moves nova's clock by an hour right before our reboot."""
        really = Compute.reboot_hard

        def send(nova: Any, *args: Any) -> Any:
            self.practice.start('nova-api', clock=3600)
            return really(nova, *args)

        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.cloud.api.compute.Compute.reboot_hard', send
            )
        )
