# SPDX-License-Identifier: Apache-2.0

"""Snapshots of real databases, of every release and in both programs."""

from __future__ import annotations

import json
import os
import pathlib
import sqlite3
import stat
import sys
from typing import Any

import fixtures

from nova_recovery import conf as conf_module
from nova_recovery.cli import snapshot as commands
from nova_recovery.cloud.cloud import Cloud
from nova_recovery.exceptions import ApiUnavailable
from nova_recovery.snapshot import taking
from nova_recovery.snapshot.reading import Snapshot
from nova_recovery.snapshot.taking import Request
from tests.base import TestCase
from tests.integration import dbserver
from tests.integration.dbserver import Rows
from tests.unit.cli import programs

CELL1 = '11111111-1111-4111-8111-111111111111'
WEB = '3f57699a-e773-4650-a443-b4b37eed5a06'
DATABASE = '5f57699a-e773-4650-a443-b4b37eed5a06'
ROOT = '09c9a6f3-9a0c-4e2c-9f06-7b0c6d3f9cc2'
DATA = '39c9a6f3-9a0c-4e2c-9f06-7b0c6d3f9cc2'
PORT = 'a9a8c1f6-1111-4222-8333-444455556666'

SECRET = 'hunter2-secret'
CONNECTION = {
    'driver_volume_type': 'iscsi',
    'data': {
        'target_iqn': f'iqn.2010-10.org.openstack:volume-{DATA}',
        'target_lun': 1,
        'auth_username': 'chap-user',
        'auth_password': SECRET,
    },
}
FLAVOR = {
    'cur': {
        'nova_object.data': {
            'name': 'm1.small',
            'flavorid': '2',
            'vcpus': 2,
            'memory_mb': 2048,
            'extra_specs': {'hw:cpu_policy': 'shared'},
        }
    }
}
NETWORKS = [
    {
        'id': PORT,
        'address': 'fa:16:3e:00:00:01',
        'type': 'ovs',
        'network': {
            'id': 'net-1',
            'subnets': [
                {
                    'ips': [
                        {
                            'address': '10.0.0.7',
                            'floating_ips': [{'address': '192.0.2.9'}],
                        }
                    ]
                }
            ],
        },
    }
]


def fill_nova(name: str, essex: bool = False) -> None:
    rows = Rows(name)
    rows.add_server(
        WEB, 'np-rcc4', 'at3-ui02', id=5561, user_data=SECRET, memory_mb=2048
    )
    rows.add_server(
        DATABASE, 'np-rcc46', 'db01', vm_state='stopped', power_state=4
    )
    gone = 1 if name in ('old_essex_nova', 'old_folsom_nova') else 9
    rows.add_server(
        '7f57699a-e773-4650-a443-b4b37eed5a06', 'np-rcc4', 'x', deleted=gone
    )
    rows.add(
        'instance_extra',
        instance_uuid=WEB,
        flavor=json.dumps(FLAVOR),
        deleted=0,
    )
    for key, value in (('priority', '1'), ('admin_pass', SECRET)):
        rows.add(
            'instance_metadata',
            instance_uuid=WEB,
            key=key,
            value=value,
            deleted=0,
        )
    rows.add('tags', resource_id=WEB, tag='important')
    for volume, device, index, number in (
        (ROOT, '/dev/vda', 0, 11),
        (DATA, '/dev/vdb', None, 12),
    ):
        rows.add(
            'block_device_mapping',
            instance_uuid=WEB,
            instance_id=5561,
            volume_id=number if essex else volume,
            device_name=device,
            boot_index=index,
            source_type='volume',
            destination_type='volume',
            connection_info=json.dumps(CONNECTION),
            delete_on_termination=0,
            deleted=0,
            uuid=volume,
            attachment_id=f'att-{volume[:8]}',
            tag='data' if index is None else None,
        )
    rows.add(
        'instance_info_caches',
        instance_uuid=WEB,
        instance_id=WEB,
        network_info=json.dumps(NETWORKS),
        deleted=0,
    )
    service = rows.add(
        'services',
        host='np-rcc4',
        binary='nova-compute',
        topic='compute',
        report_count=7,
        disabled=0,
        deleted=0,
        created_at='2012-11-22 14:49:51',
    )
    rows.add(
        'compute_nodes',
        service_id=service,
        host='np-rcc4',
        hypervisor_hostname='np-rcc4.example.org',
        hypervisor_type='QEMU',
        hypervisor_version=1,
        vcpus=8,
        memory_mb=16384,
        local_gb=100,
        vcpus_used=0,
        memory_mb_used=0,
        local_gb_used=0,
        cpu_info='{}',
        deleted=0,
    )
    if essex:
        for number, device in ((11, '/dev/vda'), (12, '/dev/vdb')):
            rows.add(
                'volumes',
                id=number,
                instance_id=5561,
                mountpoint=device,
                status='in-use',
                attach_status='attached',
                provider_auth=f'CHAP u {SECRET}',
                deleted=0,
            )
    rows.close()


def fill_cinder(name: str) -> None:
    rows = Rows(name)
    for volume, device in ((ROOT, '/dev/vda'), (DATA, '/dev/vdb')):
        rows.add(
            'volumes',
            id=volume,
            display_name=f'volume {device}',
            status='in-use',
            attach_status='attached',
            size=1,
            host='lvm@one#pool',
            provider_auth=f'CHAP u {SECRET}',
            instance_uuid=WEB,
            mountpoint=device,
            volume_type_id=1,
            deleted=0,
            use_quota=1,
        )
        rows.add(
            'volume_attachment',
            id=f'att-{volume[:8]}',
            volume_id=volume,
            instance_uuid=WEB,
            mountpoint=device,
            attach_status='attached',
            attached_host='np-rcc4',
            connector=json.dumps({'host': 'np-rcc4', 'token': SECRET}),
            deleted=0,
        )
    rows.add(
        'services',
        host='control1@lvm',
        binary='cinder-volume',
        topic='cinder-volume',
        report_count=3,
        disabled=0,
        deleted=0,
    )
    rows.close()


class SnapshotTestCase(TestCase):
    """A cloud with two servers and two volumes in real databases."""

    nova, api, cinder = 'nova34-nova', 'nova34-nova_api', 'nova34-cinder'

    def setUp(self) -> None:
        super().setUp()
        self.server = dbserver.shared()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        nova = self.database(self.nova)
        essex = self.nova == 'old-essex-nova'
        fill_nova(nova, essex)
        self.nova_conf = self.folder / 'nova.conf'
        if self.api:
            self.connect_cell(self.server.url(nova, 'reader'))
        else:
            self.nova_conf.write_text(
                '[DEFAULT]\nhost = control1\n'
                f'[database]\nconnection = {self.server.url(nova, "reader")}\n'
            )
        self.cinder_conf = self.folder / 'cinder.conf'
        self.cinder_conf.write_text('')
        if self.cinder:
            cinder = self.database(self.cinder)
            fill_cinder(cinder)
            self.cinder_conf.write_text(
                '[database]\n'
                f'connection = {self.server.url(cinder, "reader")}\n'
            )
        self.directory = self.folder / 'snapshots'
        self.ours = self.folder / 'nova-recovery.conf'
        self.ours.write_text(
            f'[DEFAULT]\nnova_config_file = {self.nova_conf}\n'
            f'cinder_config_file = {self.cinder_conf}\n'
            f'[snapshot]\ndirectory = {self.directory}\n'
        )

    def database(self, schema: str) -> str:
        name = schema.replace('-', '_')
        dbserver.load(name, schema)
        return name

    def connect_cell(self, url: str) -> None:
        api = self.database(self.api)
        rows = Rows(api)
        rows.add(
            'cell_mappings',
            uuid=CELL1,
            name='cell1',
            database_connection=url,
            transport_url='none:///',
            disabled=0,
        )
        number = rows.add('aggregates', name='fast', uuid=CELL1)
        rows.add('aggregate_hosts', aggregate_id=number, host='np-rcc4')
        rows.add(
            'aggregate_metadata', aggregate_id=number, key='ssd', value='1'
        )
        rows.close()
        self.nova_conf.write_text(
            '[DEFAULT]\nhost = control1\n'
            f'[api_database]\nconnection = {self.server.url(api, "reader")}\n'
        )

    def cloud(self) -> Cloud:
        def connect() -> Any:
            raise ApiUnavailable('no credentials')

        cloud = Cloud(conf_module.load([str(self.ours)]), connect)
        self.addCleanup(lambda: cloud.databases.dispose())
        return cloud

    def take(self, **wanted: Any) -> Snapshot:
        wanted = {'apis': False, **wanted}
        progress = wanted.pop('progress', lambda section, rows: None)
        path = taking.take(self.cloud(), Request(**wanted), progress)
        snapshot = Snapshot(path)
        self.addCleanup(snapshot.file.close)
        return snapshot

    def sql(self, schema: str, statement: str) -> None:
        self.server.sql(schema.replace('-', '_'), statement)


class TestContents(SnapshotTestCase):
    """What stands in the file, and what must not."""

    def test_everything_that_a_recovery_wants_to_know(self) -> None:
        snapshot = self.take()
        self.assertTrue(snapshot.complete)
        web, database = snapshot.rows('servers')
        self.assertEqual(
            ('cell:cell1', WEB, 'at3-ui02', 'instance-000015b9', 'np-rcc4'),
            tuple(
                web[k]
                for k in ('source', 'uuid', 'name', 'instance_name', 'host')
            ),
        )
        self.assertEqual(
            ('stopped', 4), (database['vm_state'], database['power_state'])
        )
        (flavor,) = snapshot.rows('flavors')
        self.assertEqual('m1.small', flavor['name'])
        (tag,) = snapshot.rows('tags', server=WEB)
        self.assertEqual('important', tag['tag'])
        root, data = snapshot.rows('devices', server=WEB)
        self.assertEqual(
            (0, '/dev/vda'), (root['boot_index'], root['device_name'])
        )
        self.assertEqual(('data', 'iscsi'), (data['tag'], data['driver']))
        (interface,) = snapshot.rows('interfaces')
        self.assertEqual('["10.0.0.7","192.0.2.9"]', interface['addresses'])
        self.assertEqual(
            [ROOT, DATA], [v['id'] for v in snapshot.rows('volumes')]
        )
        first, _second = snapshot.rows('attachments')
        self.assertEqual(('np-rcc4', WEB), (first['host'], first['server']))
        self.assertEqual(
            {'nova-compute', 'cinder-volume'},
            {row['binary'] for row in snapshot.rows('services')},
        )
        (node,) = snapshot.rows('nodes')
        self.assertEqual('np-rcc4', node['host'])
        aggregates = [row for row in snapshot.rows('aggregates', source='api')]
        self.assertEqual(
            [('fast', '["np-rcc4"]', '{"ssd":"1"}')],
            [(r['name'], r['hosts'], r['metadata']) for r in aggregates],
        )
        sources = {source.name: source for source in snapshot.sources}
        self.assertEqual(5561 + 2, sources['cell:cell1'].markers['instances'])
        self.assertTrue(sources['cinder'].taken_at)
        self.assertLess(sources['cinder'].offset, 30)

    def test_no_secret_and_nobody_else_may_read_it(self) -> None:
        snapshot = self.take()
        contents = pathlib.Path(snapshot.path).read_bytes()
        self.assertIn(b'chap-user', contents)
        for secret in (SECRET, 'reading@', 'reader:'):
            self.assertNotIn(secret.encode(), contents)
        mode = stat.S_IMODE(os.stat(snapshot.path).st_mode)
        self.assertEqual(0o600, mode)
        self.assertEqual(
            [os.path.basename(snapshot.path)], os.listdir(self.directory)
        )

    def test_all_of_a_database_is_of_one_moment(self) -> None:
        def attack(section: str, rows: int) -> None:
            # the first rows are there: now everything changes
            if section == 'servers':
                self.sql(self.nova, 'UPDATE block_device_mapping SET tag="x"')
                self.sql(self.cinder, 'UPDATE volumes SET status="error"')

        snapshot = self.take(progress=attack)
        self.assertEqual(
            {None, 'data'}, {row['tag'] for row in snapshot.rows('devices')}
        )
        self.assertEqual(
            {'in-use'}, {row['status'] for row in snapshot.rows('volumes')}
        )

    def test_a_contradiction_is_read_again(self) -> None:
        self.sql(
            self.cinder,
            f'UPDATE volume_attachment SET deleted = 1'
            f' WHERE volume_id = "{DATA}"',
        )
        (row,) = self.take().rows('differences')
        self.assertEqual(
            ('mapping-without-attachment', WEB, DATA, '/dev/vdb'),
            (row['code'], row['server'], row['volume'], row['device']),
        )

    def test_a_contradiction_that_is_gone_is_none(self) -> None:
        def mend(section: str, rows: int) -> None:
            if section == 'attachments':
                self.sql(
                    self.cinder, 'UPDATE volume_attachment SET deleted = 0'
                )

        self.sql(self.cinder, 'UPDATE volume_attachment SET deleted = 1')
        rows = list(self.take(path=self.new('a')).rows('differences'))
        self.assertEqual(2, len(rows))
        self.sql(
            self.cinder,
            f'UPDATE volume_attachment SET deleted = 0'
            f' WHERE volume_id = "{ROOT}"',
        )
        snapshot = self.take(path=self.new('b'), progress=mend)
        self.assertEqual(1, snapshot.count('attachments'))
        self.assertEqual(0, snapshot.count('differences'))

    def new(self, name: str) -> str:
        return str(self.folder / name)

    def test_a_database_that_is_lost_in_the_middle(self) -> None:
        def lose(section: str, rows: int) -> None:
            if section == 'servers':
                self.sql(self.nova, 'RENAME TABLE tags TO other_tags')

        snapshot = self.take(progress=lose)
        self.assertFalse(snapshot.complete)
        states = {
            part.section: part.state
            for part in snapshot.parts
            if part.source == 'cell:cell1'
        }
        self.assertEqual('complete', states['servers'])
        self.assertIn('unknown', {states['tags'], states['devices']})


class Behaviour:
    """What both programs do."""

    commands = {
        'snapshot create': commands.CreateSnapshot,
        'snapshot delete': commands.DeleteSnapshot,
        'snapshot diff': commands.DiffSnapshot,
        'snapshot list': commands.ListSnapshot,
        'snapshot show': commands.ShowSnapshot,
        'snapshot verify': commands.VerifySnapshot,
    }

    def command(self, words: str) -> programs.Ended:
        ended = self.run_program(
            f'snapshot {words} --recovery-config-file {self.ours}'
        )
        self.assertNotIn('Traceback', ended.stderr)
        self.assertNotIn(SECRET, ended.stdout + ended.stderr)
        return ended

    def json(self, words: str, code: int = 0) -> Any:
        ended = self.command(f'{words} -f json')
        self.assertEqual(code, ended.code, ended.stderr)
        return json.loads(ended.stdout)

    def test_from_create_to_delete(self) -> None:
        made = self.json('create --no-api')
        self.assertEqual(
            (2, 2, True), (made['Servers'], made['Volumes'], made['Complete'])
        )
        (listed,) = self.json('list')
        self.assertEqual(
            ('complete', CELL1), (listed['State'], listed['Cloud'])
        )
        name = listed['Name']
        self.assertEqual(
            made['Checksum'], self.json(f'verify {name}')['Checksum']
        )
        sections = {
            (row['Section'], row['Source']): row['Rows']
            for row in self.json('show latest')
        }
        self.assertEqual(2, sections['servers', 'cell:cell1'])
        (server,) = self.json('show latest --section servers --host np-rcc4')
        self.assertEqual(WEB, server['uuid'])
        self.assertEqual(0, self.command(f'delete {name}').code)
        self.assertEqual([], self.json('list'))
        self.assertEqual(1, self.command(f'verify {name}').code)

    def test_the_map_file_of_the_guide(self) -> None:
        self.json('create --no-api')
        path = self.folder / 'map'
        self.json(f'show latest --map {path}')
        self.assertEqual(f'{DATA} {WEB} /dev/vdb\n', path.read_text())

    def test_what_is_different_now(self) -> None:
        self.json('create --no-api')
        self.sql(
            self.nova,
            f'UPDATE instances SET host = "np-rcc46", power_state = 4'
            f' WHERE uuid = "{WEB}"',
        )
        self.sql(
            self.cinder,
            f'UPDATE volumes SET status = "available" WHERE id = "{DATA}"',
        )
        self.sql(self.cinder, 'DELETE FROM volume_attachment')
        found = self.json('diff latest now --no-api')
        seen = {(row['Code'], row['Subject']): row for row in found}
        self.assertEqual(
            ('host np-rcc4', 'host np-rcc46'),
            (
                seen['server-moved', WEB]['Before'],
                seen['server-moved', WEB]['After'],
            ),
        )
        self.assertIn(('server-state', WEB), seen)
        self.assertIn(('volume-status', DATA), seen)
        self.assertIn(('attachment-gone', f'att-{DATA[:8]}'), seen)
        self.assertEqual(
            2, len([1 for code, _ in seen if code == 'difference-new'])
        )
        only = self.json('diff latest now --no-api --code server-moved')
        self.assertEqual(['server-moved'], [row['Code'] for row in only])

    def test_a_cell_that_is_down_is_unknown_and_not_gone(self) -> None:
        self.json('create --no-api')
        self.connect_cell('mysql+pymysql://nova:x@127.0.0.1:1/nova')
        codes = {
            row['Code'] for row in self.json('diff latest now --no-api', 4)
        }
        self.assertIn('unknown', codes)
        self.assertEqual(set(), codes & {'server-gone', 'device-gone'})

    def test_apis_that_do_not_answer_are_unknown(self) -> None:
        made = self.json('create', 4)
        self.assertEqual((2, False), (made['Servers'], made['Complete']))
        self.assertEqual(4, self.command('verify latest').code)

    def test_bad_words_end_in_one_line(self) -> None:
        notes = self.folder / 'notes.snapshot'
        notes.write_text('no snapshot')
        for words, code, said in (
            ('show nothing', 1, 'no snapshot nothing in'),
            ('show latest', 1, 'has no snapshot of a cloud'),
            (f'show {notes}', 1, 'not a snapshot of nova-recovery'),
            (f'delete {notes}', 1, 'nothing was deleted'),
            ('show x --host h', 2, 'of which section'),
            ('create --file /nowhere/at/all', 1, 'No such file'),
            (f'create --no-api --file {notes}', 1, 'exists already'),
        ):
            ended = self.command(words)
            self.assertEqual(code, ended.code, (words, ended.stderr))
            self.assertIn(said, ended.stderr)
            # words that can't be meant have an example besides
            lines = 2 if code == 2 else 1
            self.assertEqual(lines, ended.stderr.count('\n'), ended.stderr)
        self.assertTrue(notes.exists())


class HostBehaviour(Behaviour):
    """Hosts, in the program that compute hosts have."""

    def programs(self) -> None:
        """No program of this machine but a packet filter of the test's."""
        programs_ = self.folder / 'bin'
        programs_.mkdir()
        (programs_ / 'iptables-save').write_text(
            '#!/bin/sh\necho "-A INPUT -j nova-compute-inst-1"\n'
        )
        (programs_ / 'iptables-save').chmod(0o700)
        (programs_ / 'sh').symlink_to('/bin/sh')
        self.useFixture(fixtures.EnvironmentVariable('PATH', str(programs_)))
        self.useFixture(
            fixtures.MonkeyPatch(
                'sys.modules', {**sys.modules, 'libvirt': None}
            )
        )

    def compute_host(self, name: str) -> str:
        path = self.folder / f'{name}.conf'
        path.write_text(f'[DEFAULT]\nhost = {name}\n')
        return f'--nova-config-file {path}'

    def test_a_compute_host_without_databases_saves_itself(self) -> None:
        self.programs()
        here = self.compute_host('np-rcc4')
        made = self.json(f'create --local {here}')
        self.assertEqual(
            (1, 0, True), (made['Hosts'], made['Servers'], made['Complete'])
        )
        self.assertRegex(made['File'], r'Z-np-rcc4\.snapshot$')
        (rules,) = self.json(
            f'show {made["File"]} --section rules --host np-rcc4'
        )
        self.assertEqual('-A INPUT -j nova-compute-inst-1', rules['text'])
        # without --local there is nothing to save
        self.assertEqual(1, self.command(f'create {here}').code)

    def test_hosts_are_merged_into_the_snapshot_of_the_cloud(self) -> None:
        self.programs()
        merge = ''
        for name in ('np-rcc4', 'np-rcc46'):
            path = self.folder / f'{name}.snapshot'
            here = self.compute_host(name)
            self.json(f'create --local --file {path} {here}')
            merge += f' --merge {path}'
        made = self.json(f'create --no-api --local {merge}')
        self.assertEqual((3, 2), (made['Hosts'], made['Servers']))
        self.assertEqual(0, self.command('verify latest').code)
        self.assertEqual(
            {'host:np-rcc4', 'host:np-rcc46', 'host:control1'},
            {
                row['source']
                for row in self.json('show latest --section rules')
            },
        )
        # of this host's rules now one is gone; other hosts can't be seen
        (self.folder / 'bin' / 'iptables-save').write_text('#!/bin/sh\necho\n')
        found = self.json('diff latest now --no-api', 4)
        self.assertEqual(
            [('rules-changed', 'host:control1')],
            [
                (row['Code'], row['Source'])
                for row in found
                if row['Code'] != 'unknown'
            ],
        )

    def test_a_damaged_file_is_not_merged(self) -> None:
        self.programs()
        path = self.folder / 'np-rcc4.snapshot'
        self.json(
            f'create --local --file {path} {self.compute_host("np-rcc4")}'
        )
        with sqlite3.connect(path) as file:
            file.execute("UPDATE rules SET text = 'x'")
        file.close()
        ended = self.command(f'create --no-api --merge {path}')
        self.assertEqual(1, ended.code)
        self.assertIn('rules of host:np-rcc4: rows were changed', ended.stderr)
        self.assertFalse(self.directory.exists())


class TestStandalone(programs.Standalone, HostBehaviour, SnapshotTestCase):
    """As nova-recovery."""


class TestUnifiedClient(programs.UnifiedClient, Behaviour, SnapshotTestCase):
    """As openstack recovery."""


class Release:
    """The same rows, whatever release has made the tables."""

    def test_servers_devices_volumes_and_attachments(self) -> None:
        snapshot = self.take()
        self.assertEqual([], [p.detail for p in snapshot.unknown])
        self.assertEqual(
            [WEB, DATABASE], [r['uuid'] for r in snapshot.rows('servers')]
        )
        devices = list(snapshot.rows('devices'))
        self.assertEqual(
            [(WEB, '/dev/vda'), (WEB, '/dev/vdb')],
            [(r['server'], r['device_name']) for r in devices],
        )
        self.assertEqual(
            [(d['volume'], WEB, d['device_name']) for d in devices],
            [
                (r['volume'], r['server'], r['mountpoint'])
                for r in snapshot.rows('attachments')
            ],
        )
        self.assertEqual(2, snapshot.count('volumes'))
        (node,) = snapshot.rows('nodes')
        self.assertEqual('np-rcc4', node['host'])
        self.assertEqual(0, snapshot.count('differences'))
        (cloud,) = snapshot.cloud
        self.assertEqual(
            CELL1
            if self.api
            else 'service 1 nova-compute@np-rcc4 of 2012-11-22T14:49:51',
            cloud,
        )


class TestEssex(Release, SnapshotTestCase):
    nova, api, cinder = 'old-essex-nova', '', ''


class TestFolsom(Release, SnapshotTestCase):
    nova, api, cinder = 'old-folsom-nova', '', 'old-folsom-cinder'


class TestJuno(Release, SnapshotTestCase):
    nova, api, cinder = 'old-juno-nova', '', 'old-juno-cinder'


class TestKilo(Release, SnapshotTestCase):
    nova, api, cinder = 'old-kilo-nova', '', 'old-kilo-cinder'


class TestNova16(Release, SnapshotTestCase):
    nova, api, cinder = 'nova16-nova', 'nova16-nova_api', 'nova16-cinder'


class TestNova17(Release, SnapshotTestCase):
    nova, api, cinder = 'nova17-nova', 'nova17-nova_api', 'nova17-cinder'


class TestNova22(Release, SnapshotTestCase):
    nova, api, cinder = 'nova22-nova', 'nova22-nova_api', 'nova22-cinder'


class TestNova27(Release, SnapshotTestCase):
    nova, api, cinder = 'nova27-nova', 'nova27-nova_api', 'nova27-cinder'


class TestNova30(Release, SnapshotTestCase):
    nova, api, cinder = 'nova30-nova', 'nova30-nova_api', 'nova30-cinder'
