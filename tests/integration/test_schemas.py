# SPDX-License-Identifier: Apache-2.0

"""The same code reads the databases of every release, Essex to nova 34."""

from __future__ import annotations

import datetime
import json

from nova_recovery.changes import record
from nova_recovery.cloud.db import grants, schema, servers, services
from nova_recovery.cloud.db.cells import Cell
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import CellDatabase, Databases
from nova_recovery.exceptions import DatabaseUnavailable, NotFound
from tests.base import TestCase
from tests.integration import dbserver
from tests.integration.dbserver import Rows

WEB = '3f57699a-e773-4650-a443-b4b37eed5a06'
DATABASE = '6c1d5f57-f4a5-4b38-a6a9-8ed1d7d5bd36'
OTHER = '7e2be4f7-8a1f-4ac0-90b8-9fd0f3fd3d07'
GONE = '0d1fd0b8-3b5c-44a0-b1c6-57d2cb0a9f1e'
VOLUME = '39c9a6f3-9a0c-4e2c-9f06-7b0c6d3f9cc2'
WHEN = datetime.datetime(2026, 3, 1, 12, 0, 0)

NETWORKS = [{'id': 'a9a8c1f6-port', 'address': 'fa:16:3e:00:00:01'}]
SPEC = {'nova_object.data': {'project_id': 'demo', 'num_instances': 1}}
FLAVOR = {'cur': {'nova_object.data': {'vcpus': 2, 'extra_specs': {}}}}
CONNECTION = {
    'driver_volume_type': 'iscsi',
    'data': {'target_lun': 1, 'auth_password': 'chap-secret'},
}


class Release:
    """What is expected of each release; subclasses name it."""

    nova = ''
    api: str | None = None
    #: the features that its cell has beyond 'servers'
    features: set[str] = set()

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.schema = cls.nova.replace('-', '_')
        dbserver.load(cls.schema, cls.nova)
        rows = Rows(cls.schema)
        cls.ids = cls.fill(rows)
        rows.close()
        cls.api_schema = None
        if cls.api:
            cls.api_schema = cls.api.replace('-', '_')
            dbserver.load(cls.api_schema, cls.api)
            rows = Rows(cls.api_schema)
            rows.add('request_specs', instance_uuid=WEB, spec=json.dumps(SPEC))
            rows.close()

    @classmethod
    def fill(cls, rows: Rows) -> dict[str, int]:
        ids = {
            WEB: rows.add_server(WEB, 'np-rcc4', 'at3-ui02', id=5561),
            DATABASE: rows.add_server(DATABASE, 'np-rcc4', 'db01'),
            OTHER: rows.add_server(OTHER, 'np-rcc46', 'at3-ui04'),
        }
        # MySQL finds this one too when it is asked for np-rcc4
        rows.add_server(
            '11111111-e773-4650-a443-b4b37eed5a06', 'NP-RCC4 ', 'upper'
        )
        deleted = 1 if cls.nova in ('old-essex-nova', 'old-folsom-nova') else 9
        rows.add_server(GONE, 'np-rcc4', 'gone', id=9, deleted=deleted)
        for host in ('np-rcc4', 'np-rcc46'):
            service = rows.add(
                'services',
                host=host,
                binary='nova-compute',
                topic='compute',
                report_count=7,
                disabled=0,
                deleted=0,
                forced_down=0,
                uuid=f'{host}-service',
                version=66,
            )
            rows.add(
                'compute_nodes',
                service_id=service,
                host=host,
                hypervisor_hostname=f'{host}.example.org',
                hypervisor_type='QEMU',
                hypervisor_version=1,
                vcpus=8,
                memory_mb=16384,
                local_gb=100,
                vcpus_used=0,
                memory_mb_used=0,
                local_gb_used=0,
                cpu_info='{}',
                uuid=f'{host}-node',
                deleted=0,
                mapped=1,
            )
        rows.add(
            'services',
            host='control1',
            binary='nova-scheduler',
            topic='scheduler',
            report_count=1,
            deleted=0,
        )
        rows.add('instance_id_mappings', id=77, uuid=WEB, deleted=0)
        rows.add(
            'block_device_mapping',
            instance_uuid=WEB,
            instance_id=5561,
            volume_id=12 if cls.nova == 'old-essex-nova' else VOLUME,
            device_name='/dev/vdb',
            source_type='volume',
            destination_type='volume',
            boot_index=None,
            connection_info=json.dumps(CONNECTION),
            delete_on_termination=0,
            deleted=0,
            uuid='bdm-uuid',
            attachment_id='attachment-uuid',
            tag='data',
        )
        rows.add(
            'block_device_mapping',
            instance_uuid=WEB,
            instance_id=5561,
            device_name='/dev/vdc',
            deleted=1,
            uuid='bdm-uuid-2',
        )
        for number in range(25):
            rows.add(
                'instance_actions',
                instance_uuid=WEB,
                action='reboot',
                request_id=f'req-{number}',
                start_time=WHEN,
                deleted=0,
            )
        for deleted in (0, 2):
            rows.add(
                'migrations',
                instance_uuid=WEB,
                uuid=f'migration-{deleted}',
                source_compute='np-rcc46',
                dest_compute='np-rcc4',
                status='done',
                migration_type='evacuation',
                deleted=deleted,
                cross_cell_move=0,
            )
        rows.add(
            'instance_extra',
            instance_uuid=WEB,
            flavor=json.dumps(FLAVOR),
            deleted=0,
        )
        rows.add(
            'instance_system_metadata',
            instance_uuid=WEB,
            key='image_hw_disk_bus',
            value='virtio',
            deleted=0,
        )
        rows.add(
            'instance_info_caches',
            instance_uuid=WEB,
            instance_id=WEB,
            network_info=json.dumps(NETWORKS),
            deleted=0,
        )
        rows.add(
            'share_mapping',
            instance_uuid=WEB,
            uuid='share-uuid',
            share_id='share',
            status='active',
            tag='t',
            export_location='x',
            share_proto='NFS',
        )
        return ids

    def setUp(self) -> None:
        super().setUp()
        self.databases = self.open('reader')

    def open(self, user: str) -> Databases:
        server = dbserver.shared()

        def opened(name: str, db: str) -> Database:
            made = Database(name, server.url(db, user))
            self.addCleanup(made.dispose)
            return made

        return Databases(
            api=opened('API', self.api_schema) if self.api_schema else None,
            cells=[
                CellDatabase(
                    Cell('', 'cell1', ''), opened('cell1', self.schema)
                )
            ],
        )

    def test_servers_of_exactly_the_named_host(self) -> None:
        found, unknown = servers.list_servers(self.databases, 'np-rcc4')
        self.assertEqual({}, unknown)
        self.assertEqual({WEB, DATABASE}, {one.uuid for one in found})
        self.assertEqual({'np-rcc4'}, {one.host for one in found})
        found, unknown = servers.list_servers(self.databases, 'np-rcc46')
        self.assertEqual([OTHER], [one.uuid for one in found])

    def test_all_live_servers_with_their_whole_rows(self) -> None:
        found, unknown = servers.list_servers(self.databases)
        self.assertEqual(4, len(found))
        self.assertNotIn(GONE, [one.uuid for one in found])
        web = next(one for one in found if one.uuid == WEB)
        self.assertEqual('instance-000015b9', web.instance_name)
        self.assertEqual(('active', 1, None), self.states(web))
        self.assertEqual('demo', web.row['project_id'])
        self.assertEqual(
            'np-rcc4' if 'node' in self.features else None, web.node
        )
        self.assertEqual(
            False if 'hidden' in self.features else None, web.hidden
        )

    def states(self, server: servers.records.Server) -> tuple:
        return server.vm_state, server.power_state, server.task_state

    def test_a_server_answers_to_all_its_names(self) -> None:
        for name in (
            WEB,
            WEB.upper(),
            'at3-ui02',
            '5561',
            '0x15b9',
            'instance-000015b9',
        ):
            self.assertEqual(WEB, servers.find(self.databases, name).uuid)

    def test_the_ec2_name_goes_through_its_own_table(self) -> None:
        if 'ec2-ids' in self.features:
            self.assertEqual(
                WEB, servers.find(self.databases, 'i-0000004d').uuid
            )
            # 0x15b9 is the server's id, but no EC2 id
            self.assertRaises(
                NotFound, servers.find, self.databases, 'i-000015b9'
            )
        else:
            self.assertEqual(
                WEB, servers.find(self.databases, 'i-000015b9').uuid
            )

    def test_a_deleted_server_is_not_found(self) -> None:
        for name in (GONE, 'gone', '9'):
            self.assertRaises(NotFound, servers.find, self.databases, name)

    def test_facts_of_a_server(self) -> None:
        web = servers.find(self.databases, WEB)
        bare = servers.find(self.databases, DATABASE)
        found = servers.facts(self.databases, [web, bare])
        facts = found[WEB]
        (device,) = facts.devices
        self.assertEqual('/dev/vdb', device.device_name)
        self.assertEqual(
            '12' if self.nova == 'old-essex-nova' else VOLUME, device.volume_id
        )
        self.assertEqual(CONNECTION, device.connection_info)
        self.assertNotIn('chap-secret', repr(facts))
        self.assertEqual(
            'attachment-uuid' if 'attachment-id' in self.features else None,
            device.attachment_id,
        )
        self.assertEqual(NETWORKS, list(facts.network_info))
        if 'tombstones' in self.features:
            self.assertEqual(
                [('evacuation', False), ('evacuation', True)],
                [(m.migration_type, m.deleted) for m in facts.migrations],
            )
        else:
            self.assertEqual((), facts.migrations)
        if 'action-requests' in self.features:
            self.assertEqual(
                [f'req-{n}' for n in range(5, 25)],
                [action.request_id for action in facts.actions],
            )
        if 'instance-extra' in self.features:
            self.assertEqual(2, facts.flavor['vcpus'])
        self.assertEqual(1 if 'shares' in self.features else 0, facts.shares)
        if self.api:
            self.assertEqual('demo', facts.request_spec['project_id'])
        self.assertEqual((), found[DATABASE].devices)
        self.assertIsNone(found[DATABASE].request_spec)

    def test_services_and_nodes_of_compute_hosts(self) -> None:
        cell = self.databases.cell('cell1')
        self.assertEqual(
            ['np-rcc4', 'np-rcc46'],
            [s.host for s in services.compute_services(cell)],
        )
        (service,) = services.compute_services(cell, 'np-rcc4')
        self.assertEqual((7, False), (service.report_count, service.disabled))
        self.assertEqual(
            False if 'forced-down' in self.features else None,
            service.forced_down,
        )
        (node,) = services.compute_nodes(cell, 'np-rcc46')
        self.assertEqual('np-rcc46.example.org', node.hypervisor_hostname)

    def test_features_are_those_of_the_release(self) -> None:
        found = schema.features(self.databases.cell('cell1'))
        self.assertEqual(self.features | {'servers'}, found)

    def test_planning_and_moving_with_the_printed_grants_only(self) -> None:
        cell = self.databases.cell('cell1')
        server = dbserver.shared()
        server.sql(None, "CREATE OR REPLACE USER least@'%' IDENTIFIED BY 'x'")
        for statement in grants.statements(cell, grants.CELL, 'least', '%'):
            server.sql(None, statement)
        least = Database(
            'cell1',
            f'mysql+pymysql://least:x@127.0.0.1:{server.port}/{self.schema}',
        )
        self.addCleanup(least.dispose)
        self.assertEqual(2, len(services.compute_services(least)))
        table = least.tables['instances']
        least.write(
            lambda connection: connection.execute(
                table.update().where(table.c.uuid == WEB).values(progress=1)
            )
        )
        # as it ends a resize
        least.write(
            lambda connection: record._set_context(
                connection, least, WEB, None
            )
        )
        refused = self.assertRaises(
            DatabaseUnavailable,
            least.write,
            lambda connection: connection.execute(table.delete()),
        )
        self.assertIn('grants', str(refused))


MODERN = {
    'node',
    'ec2-ids',
    'instance-extra',
    'action-requests',
    'forced-down',
    'service-uuid',
    'tombstones',
    'attachment-id',
    'console-tokens',
    'tags',
}
QUEENS = MODERN | {'migration-uuid', 'bdm-uuid'}
TRAIN = QUEENS | {'hidden'}
BOBCAT = TRAIN | {'compute_id', 'dest-compute-id', 'shares'}


class TestEssex(Release, TestCase):
    nova = 'old-essex-nova'
    features = {'volumes-in-nova'}


class TestFolsom(Release, TestCase):
    nova = 'old-folsom-nova'
    features = {'ec2-ids', 'volume-instance'}


class TestJuno(Release, TestCase):
    nova = 'old-juno-nova'
    features = {'node', 'ec2-ids', 'action-requests', 'volume-instance'}


class TestKilo(Release, TestCase):
    nova = 'old-kilo-nova'
    features = {'node', 'ec2-ids', 'action-requests', 'volume-instance'}


class TestNova16(Release, TestCase):
    nova, api = 'nova16-nova', 'nova16-nova_api'
    features = MODERN


class TestNova17(Release, TestCase):
    nova, api = 'nova17-nova', 'nova17-nova_api'
    features = QUEENS


class TestNova19(Release, TestCase):
    nova, api = 'nova19-nova', 'nova19-nova_api'
    features = QUEENS


class TestNova22(Release, TestCase):
    nova, api = 'nova22-nova', 'nova22-nova_api'
    features = TRAIN


class TestNova25(Release, TestCase):
    nova, api = 'nova25-nova', 'nova25-nova_api'
    features = TRAIN


class TestNova27(Release, TestCase):
    nova, api = 'nova27-nova', 'nova27-nova_api'
    features = TRAIN


class TestNova30(Release, TestCase):
    nova, api = 'nova30-nova', 'nova30-nova_api'
    features = BOBCAT


class TestNova34(Release, TestCase):
    nova, api = 'nova34-nova', 'nova34-nova_api'
    features = BOBCAT


class TestCinderSchemas(TestCase):
    """Where cinder keeps an attachment is seen from its columns."""

    def features(self, release: str) -> frozenset[str]:
        name = f'{release}-cinder'
        dbserver.load(name.replace('-', '_'), name)
        cinder = Database(
            'cinder', dbserver.shared().url(name.replace('-', '_'), 'reader')
        )
        self.addCleanup(cinder.dispose)
        return schema.features(cinder)

    def test_on_the_volume_itself(self) -> None:
        self.assertEqual({'volume-instance'}, self.features('old-folsom'))
        self.assertEqual(
            {'volume-instance', 'volume-attached-host'},
            self.features('old-juno'),
        )

    def test_in_a_table(self) -> None:
        self.assertEqual(
            {'volume-attachment', 'multiattach'}, self.features('old-kilo')
        )

    def test_with_its_connector(self) -> None:
        for release in ('nova17', 'nova34'):
            self.assertEqual(
                {
                    'volume-attachment',
                    'multiattach',
                    'connector',
                    'service-uuid',
                },
                self.features(release),
            )
