# SPDX-License-Identifier: Apache-2.0

"""What a power loss did, read from the rows of a real MariaDB."""

from __future__ import annotations

import dataclasses
import pathlib
import types
from typing import Any
from unittest import mock

import fixtures

from nova_recovery import readiness
from nova_recovery.cloud import records
from nova_recovery.cloud.db.cells import Cell
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import CellDatabase, Databases
from nova_recovery.engine.findings import Assessment
from nova_recovery.exceptions import NotFound
from nova_recovery.procedures.disaster import situation
from nova_recovery.procedures.disaster.judge import assess, findings, wanted
from nova_recovery.procedures.disaster.look import read
from nova_recovery.procedures.disaster.scope import Scope
from nova_recovery.procedures.disaster.situation import Before, Situation
from nova_recovery.readiness import age
from nova_recovery.snapshot import taking
from nova_recovery.snapshot.reading import Snapshot
from nova_recovery.snapshot.taking import Request
from tests.base import TestCase
from tests.integration import dbserver
from tests.integration.dbserver import Rows
from tests.integration.volume_rows import ago, uuid, VolumesTestCase

NOVA = types.SimpleNamespace(
    api_database='mysql://…',
    database=None,
    default_availability_zone='nova',
    host='control',
    instance_name_template='instance-%08x',
    service_down_time=60,
    report_interval=10,
)


class LookTestCase(VolumesTestCase):
    prefix = 'dis'

    def setUp(self) -> None:
        super().setUp()
        self.cloud = types.SimpleNamespace(
            databases=self.databases,
            nova=NOVA,
            cinder=types.SimpleNamespace(service_down_time=60),
        )
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        for number, host in enumerate(('np-rcc4', 'np-rcc46'), 1):
            self.nova.add(
                'services',
                id=number,
                host=host,
                binary='nova-compute',
                topic='compute',
                report_count=5,
                disabled=0,
                deleted=0,
                forced_down=0,
                last_seen_up=ago(3600),
                uuid=uuid(host),
            )

    def empty(self) -> None:
        # before the servers that they point at
        for side, tables in {
            'nova': (
                'instance_actions_events',
                'instance_actions',
                'instance_metadata',
                'services',
            ),
            'nova_api': (
                'aggregate_metadata',
                'aggregate_hosts',
                'aggregates',
                'instance_group_member',
                'instance_groups',
            ),
            'cinder': ('services',),
        }.items():
            for table in tables:
                self.server.sql(
                    f'{self.prefix}_{side}', f'DELETE FROM `{table}`'
                )
        super().empty()

    def action(
        self,
        server: str,
        action: str,
        user: str | None,
        result: str | None = 'Success',
        **values: Any,
    ) -> int:
        number = self.nova.add(
            'instance_actions',
            **{
                'instance_uuid': uuid(server),
                'action': action,
                'user_id': user,
                'request_id': f'req-{action}-{server}',
                'start_time': ago(60),
                'deleted': 0,
                **values,
            },
        )
        assert number is not None
        self.nova.add(
            'instance_actions_events',
            action_id=number,
            event=f'compute_{action}',
            result=result,
            deleted=0,
        )
        return number

    def stop(self, name: str) -> None:
        self.server.sql(
            f'{self.prefix}_nova',
            "UPDATE instances SET vm_state = 'stopped', power_state = 4"
            ' WHERE display_name = %s',
            [name],
        )

    def snapshot(self) -> Snapshot:
        path = taking.take(
            self.cloud,
            Request(path=str(self.folder / 'before.snapshot'), apis=False),
            mock.Mock(),
        )
        opened = Snapshot(path)
        self.addCleanup(opened.file.close)
        return opened

    def wanted(self, found: Situation) -> dict[str, str]:
        return {
            one.server.name: one.why for one in wanted.wanted(found).servers
        }


class LookTest(LookTestCase):
    def test_what_was_and_what_is(self) -> None:
        for name in ('web', 'db', 'off', 'synced', 'gone', 'purged'):
            self.add_server(name)
        self.add_server('hidden', hidden=1)
        self.stop('off')
        self.nova.add(
            'instance_metadata',
            instance_uuid=uuid('db'),
            key='recovery_priority',
            value='1',
            deleted=0,
        )
        self.add_attached('web', 'root')
        self.server.sql(
            'dis_nova', 'UPDATE block_device_mapping SET boot_index = 0'
        )
        self.add_attached('web', 'data')
        self.action('web', 'reboot', 'alice')
        before = self.snapshot()
        mark = self.action('synced', 'stop', None)
        self.stop('synced')
        self.action('db', 'reboot', 'admin', 'Error')
        for name, change in {
            'gone': 'deleted = id',
            'web': "host = 'np-rcc46', node = 'np-rcc46'",
        }.items():
            self.server.sql(
                'dis_nova',
                f'UPDATE instances SET {change} WHERE display_name = %s',
                [name],
            )
        self.server.sql(
            'dis_nova', "DELETE FROM instances WHERE display_name = 'purged'"
        )
        self.add_server('new')

        found = read.look(self.cloud, before)

        self.assertEqual(
            {'web', 'db', 'off', 'synced', 'new'},
            {one.name for one in found.servers.values()},
        )
        self.assertEqual({'cell1': mark - 1}, found.marks)
        self.assertEqual(
            {'cell1': mark + 1},
            {
                cell: some['instance_actions']
                for cell, some in found.highest.items()
            },
        )
        self.assertEqual({uuid('new')}, found.new)
        self.assertEqual(
            {('gone', True), ('purged', False)},
            {(one.name, one.deleted) for one in found.gone},
        )
        web = found.servers[uuid('web')]
        self.assertTrue(web.boots_from_volume)
        self.assertEqual('np-rcc46', web.host)
        self.assertEqual(Before('np-rcc4', 'active', 1), web.before)
        self.assertEqual((), web.newest)
        self.assertEqual(
            {(uuid('data'), False), (uuid('root'), True)},
            {(one.volume, one.root) for one in found.devices[uuid('web')]},
        )
        rebooted = found.servers[uuid('db')]
        self.assertEqual(1, wanted.priority(rebooted))
        (action,) = rebooted.newest
        self.assertEqual(
            ('reboot', 'admin', 'Error'),
            (action.action, action.user, action.result),
        )
        self.assertEqual(
            {
                'db': 'it ran',
                'new': 'new since the snapshot; it is active',
                'synced': "it ran; nova's power sync stopped it",
                'web': 'it ran; on np-rcc46 instead of np-rcc4',
            },
            self.wanted(found),
        )
        self.assertEqual({'np-rcc4', 'np-rcc46'}, set(found.computes))
        self.assertEqual(records.DOWN, found.compute('np-rcc4'))
        self.assertEqual(found.computes['np-rcc4'].last_seen, found.outage.at)

    def test_marks_of_a_cell_that_had_no_actions(self) -> None:
        self.add_server('web')
        before = self.snapshot()
        self.stop('web')
        self.action('web', 'stop', None)
        found = read.look(self.cloud, before)
        self.assertEqual({'cell1': 0}, found.marks)
        self.assertIn('web', self.wanted(found))

    def test_what_was_purged_had_its_number_all_the_same(self) -> None:
        """``archive_deleted_rows --purge`` makes no database older."""
        self.add_server('web')
        self.action('web', 'stop', None)
        (cell,) = self.databases.cells
        before = age._now(cell.database)
        for table in ('instance_actions_events', 'instance_actions'):
            self.server.sql('dis_nova', f'DELETE FROM {table}')
        after = age._now(cell.database)
        row = age.judge('cell:cell1', before, after, 'then', 'nova')
        self.assertEqual(readiness.GO, row.severity, row.cause)

    def test_the_moment_instead_of_a_snapshot(self) -> None:
        for name in ('web', 'off', 'long-off', 'owner'):
            self.add_server(name)
            if name != 'web':
                self.stop(name)
        self.action('off', 'stop', 'alice', start_time=ago(7200))
        self.action('long-off', 'stop', 'alice', start_time=ago(90000))
        self.action('owner', 'stop', 'alice', start_time=ago(60))
        since = ago(600)
        # libvirt had started it; nova stopped it again
        self.action('off', 'stop', None, start_time=ago(60))
        found = read.look(self.cloud, since=since)
        self.assertEqual(situation.BY_TIME, found.marked['cell1'])
        self.assertEqual('given', found.outage.how)
        self.assertEqual({'web': 'it is active'}, self.wanted(found))
        earlier = found.servers[uuid('off')].earlier
        assert earlier is not None
        self.assertEqual('alice', earlier.user)
        found = read.look(self.cloud)
        self.assertEqual(situation.BY_NOW, found.marked['cell1'])
        self.assertEqual((), found.servers[uuid('off')].newest)

    def test_a_scope(self) -> None:
        self.add_server('web')
        self.add_server('db', host='np-rcc46', project_id='other')
        self.add_attached('web', 'data')
        self.add_attached('db', 'store')
        before = self.snapshot()
        self.server.sql(
            'dis_nova',
            "UPDATE instances SET host = 'np-rcc46'"
            " WHERE display_name = 'web'",
        )
        scopes: Any = (
            ({'hosts': ('np-rcc46',)}, {'web', 'db'}),
            ({'hosts': ('np-rcc4',)}, set()),
            ({'projects': ('demo',)}, {'web'}),
            ({'cells': ('cell1',)}, {'web', 'db'}),
        )
        for given, names in scopes:
            found = read.look(self.cloud, before, Scope(**given))
            self.assertEqual(
                names, {one.name for one in found.servers.values()}
            )
            assert found.volumes is not None
            volumes = {'demo': {'data'}, 'np-rcc4': {'data'}}.get(
                next(iter(given.values()))[0], {'data', 'store'}
            )
            self.assertEqual(
                volumes, {one.name for one in found.volumes.volumes.values()}
            )
        found = read.look(self.cloud, before, Scope(hosts=('np-rcc4',)))
        (left,) = found.gone
        self.assertEqual(('web', 'np-rcc46'), (left.name, left.host))
        self.assertRaises(
            NotFound, read.look, self.cloud, None, Scope(hosts=('np-rcc',))
        )

    def test_zones_and_aggregates_and_groups(self) -> None:
        self.add_server('web')
        self.add_server('db', host='np-rcc46')
        self.api.add('aggregates', id=7, name='fast', uuid=uuid('fast'))
        self.api.add('aggregate_hosts', aggregate_id=7, host='np-rcc46')
        self.api.add(
            'aggregate_metadata',
            aggregate_id=7,
            key='availability_zone',
            value='east',
        )
        self.api.add(
            'instance_groups', id=3, uuid=uuid('group'), name='quorum'
        )
        self.api.add(
            'instance_group_member', group_id=3, instance_uuid=uuid('web')
        )
        found = read.look(self.cloud)
        self.assertEqual(
            {'web': ('nova', uuid('group')), 'db': ('east', None)},
            {s.name: (s.zone, s.group) for s in found.servers.values()},
        )
        self.assertEqual({uuid('group'): 'quorum'}, found.groups)
        for asked in (Scope(zones=('east',)), Scope(aggregates=('fast',))):
            found = read.look(self.cloud, None, asked)
            self.assertEqual(['db'], [s.name for s in found.servers.values()])

    def test_a_silent_cell_is_unknown(self) -> None:
        self.add_server('web')
        dead = Database('cell2', 'mysql+pymysql://u:p@127.0.0.1:1/nova', 1)
        self.addCleanup(dead.dispose)
        self.cloud.databases = Databases(
            self.databases.api,
            [
                *self.databases.cells,
                CellDatabase(Cell(uuid('cell2'), 'cell2', ''), dead),
            ],
            self.databases.cinder,
        )
        found = read.look(self.cloud)
        self.assertEqual({'cell2'}, set(found.silent))
        self.assertEqual({'web'}, set(self.wanted(found)))
        self.assertEqual({'cell2'}, set(wanted.wanted(found).silent))
        found = read.look(self.cloud, None, Scope(cells=('cell1',)))
        self.assertEqual({}, found.silent)

    def test_cinder_is_not_known(self) -> None:
        self.add_server('web')
        self.cloud.databases = Databases(
            self.databases.api, self.databases.cells
        )
        found = read.look(self.cloud)
        self.assertIsNone(found.volumes)
        self.assertIn('cinder.conf', found.no_volumes)


class AssessTest(LookTestCase):
    def codes(self, result: Assessment) -> list[tuple[str, str]]:
        return sorted((one.code, one.label) for one in result.findings)

    def test_a_dark_cloud(self) -> None:
        self.add_server('web')
        self.add_attached('web', 'data')
        self.beat(3630)
        before = self.snapshot()
        # as if it had been taken an hour ago
        before.sources = [
            dataclasses.replace(one, taken_at=f'{ago(3600).isoformat()}Z')
            for one in before.sources
        ]
        self.beat(3590)
        result = assess.assess(self.cloud, before)
        self.assertEqual(
            [
                ('HOST-DOWN', 'np-rcc4'),
                ('HOST-DOWN', 'np-rcc46'),
                ('SRV-DOWN', 'web'),
            ],
            self.codes(result),
        )
        self.assertEqual(4, result.exit_code)
        self.assertEqual('heartbeat', result.found.outage.how)

    def test_a_snapshot_that_was_taken_in_the_dark(self) -> None:
        result = assess.assess(self.cloud, self.snapshot())
        self.assertEqual(
            ['HOST-DOWN', 'HOST-DOWN', 'SNAP-LATE'],
            [code for code, _ in self.codes(result)],
        )
        self.assertEqual('heartbeat', result.found.outage.how)

    def test_a_compute_that_was_dead_before(self) -> None:
        self.beat(5, 'np-rcc4')
        result = assess.assess(self.cloud, self.snapshot())
        self.assertEqual([('HOST-DOWN', 'np-rcc46')], self.codes(result))
        self.assertEqual('snapshot', result.found.outage.how)

    def beat(self, seconds: int, host: str = 'np-rcc%') -> None:
        """Heartbeats of so long ago."""
        self.server.sql(
            'dis_nova',
            'UPDATE services SET last_seen_up = UTC_TIMESTAMP() -'
            ' INTERVAL %s SECOND WHERE host LIKE %s',
            [seconds, host],
        )

    def test_what_is_gone_at_a_second_look_is_none(self) -> None:
        self.beat(0)
        self.add_server('web')
        self.add_server('failed')
        self.add_volume('stale')
        self.add_volume('mended')
        before = self.snapshot()
        self.server.sql('dis_nova', "UPDATE instances SET vm_state = 'error'")
        once = findings.findings
        looks = []

        def mend(*given: Any) -> Any:
            looks.append(given)
            if len(looks) == 1:
                self.server.sql(
                    'dis_nova',
                    "UPDATE instances SET vm_state = 'active'"
                    " WHERE display_name = 'web'",
                )
                self.server.sql(
                    'dis_cinder',
                    "UPDATE volumes SET status = 'available',"
                    " attach_status = 'detached'"
                    " WHERE display_name = 'mended'",
                )
            return once(*given)

        with mock.patch.object(findings, 'findings', mend):
            result = assess.assess(self.cloud, before)
        self.assertEqual(
            [('SRV-DOWN', 'failed'), ('VOL-STALE', 'stale')],
            self.codes(result),
        )
        # only what differed was read again
        self.assertEqual(2, len(looks[1][0].servers))
        self.assertEqual(2, len(looks[1][0].volumes.volumes))

    def test_a_database_of_an_older_dump(self) -> None:
        self.add_server('web')
        number = self.action('web', 'reboot', 'alice')
        before = self.snapshot()
        for table in ('instance_actions_events', 'instance_actions'):
            self.server.sql('dis_nova', f'DELETE FROM {table}')
        self.assertIn(
            ('CELL-OLDER', 'cell1'),
            self.codes(assess.assess(self.cloud, before)),
        )
        self.assertGreater(number, 0)


class OldReleasesTest(TestCase):
    """The databases of the guide's time, and those since."""

    def look(self, release: str) -> Situation:
        dbserver.load('dis_old', release)
        rows = Rows('dis_old')
        self.addCleanup(rows.close)
        number = rows.add_server(uuid('web'), 'np-rcc4', 'web')
        rows.add(
            'services',
            id=1,
            host='np-rcc4',
            binary='nova-compute',
            topic='compute',
            report_count=5,
            disabled=0,
            deleted=0,
            updated_at=ago(3600),
        )
        device = {
            'device_name': '/dev/vdb',
            'delete_on_termination': 0,
            'deleted': 0,
        }
        if rows.has('block_device_mapping', 'instance_uuid'):
            rows.add(
                'block_device_mapping',
                instance_uuid=uuid('web'),
                volume_id=uuid('data'),
                **device,
            )
        else:
            rows.add('volumes', id=3, instance_id=number, deleted=0)
            rows.add(
                'block_device_mapping',
                instance_id=number,
                volume_id=3,
                **device,
            )
        opened = Database('nova', dbserver.shared().url('dis_old', 'reader'))
        self.addCleanup(opened.dispose)
        cloud: Any = types.SimpleNamespace(
            nova=NOVA,
            databases=Databases(
                None, [CellDatabase(Cell('', 'nova', ''), opened)]
            ),
        )
        return read.look(cloud)

    def check(self, release: str, volume: str) -> None:
        found = self.look(release)
        server = found.servers[uuid('web')]
        self.assertEqual('np-rcc4', server.host)
        self.assertEqual(records.DOWN, found.compute('np-rcc4'))
        (device,) = found.devices[uuid('web')]
        self.assertEqual(
            (volume, '/dev/vdb', False),
            (device.volume, device.device, device.root),
        )
        self.assertEqual(1, len(wanted.wanted(found).servers))
        self.assertIsNone(found.volumes)

    def test_essex(self) -> None:
        self.check('old-essex-nova', '3')

    def test_folsom(self) -> None:
        self.check('old-folsom-nova', uuid('data'))

    def test_juno(self) -> None:
        self.check('old-juno-nova', uuid('data'))

    def test_kilo(self) -> None:
        self.check('old-kilo-nova', uuid('data'))

    def test_ocata_and_later(self) -> None:
        for release in (16, 17, 19, 22, 25, 27, 30, 34):
            self.check(f'nova{release}-nova', uuid('data'))
