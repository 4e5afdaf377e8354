# SPDX-License-Identifier: Apache-2.0

"""Volumes in the databases of nova and cinder, row by row."""

from __future__ import annotations

from collections.abc import Callable
import datetime
import json
import types
from typing import Any
import uuid as uuid_module

from nova_recovery.cloud.db.cells import Cell
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import CellDatabase, Databases
from nova_recovery.exceptions import ApiUnavailable
from nova_recovery.procedures.volumes import read
from tests.base import TestCase
from tests.integration import dbserver
from tests.integration.dbserver import Rows

JSON = dict[str, Any]
CELL1 = '11111111-1111-4111-8111-111111111111'
CONNECTION = json.dumps(
    {
        'driver_volume_type': 'iscsi',
        'data': {'target_lun': 1, 'auth_password': 'chap-secret'},
    }
)


def uuid(name: str) -> str:
    """The same UUID for the same name."""
    return str(uuid_module.uuid5(uuid_module.NAMESPACE_DNS, name))


def ago(seconds: float) -> datetime.datetime:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (now - datetime.timedelta(seconds=seconds)).replace(
        tzinfo=None, microsecond=0
    )


class _Silent:
    """Nova and placement, whose APIs do not answer."""

    def service(self, host: str) -> JSON:
        raise ApiUnavailable('nova: no answer')

    def providers(self) -> JSON:
        raise ApiUnavailable('placement: no answer')


class VolumesTestCase(TestCase):
    """An API database, one cell and cinder, all empty.

    Subclasses name the schemas; every row of a test is older than an hour.

    :ivar meanwhile: what happens while volumes are watched
    :ivar now: seconds of our own clock, which pass by waiting alone
    """

    release = 'nova34'
    prefix = 'vol'

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        for side in ('nova', 'nova_api', 'cinder'):
            dbserver.load(f'{cls.prefix}_{side}', f'{cls.release}-{side}')

    def setUp(self) -> None:
        super().setUp()
        self.now = 0.0
        self.meanwhile: Callable[[], object] = lambda: None
        self.patch(
            read,
            'time',
            types.SimpleNamespace(
                monotonic=lambda: self.now, sleep=self._sleep
            ),
        )
        self.server = dbserver.shared()
        self.empty()
        self.nova, self.api, self.cinder = (
            Rows(f'{self.prefix}_{side}')
            for side in ('nova', 'nova_api', 'cinder')
        )
        for rows in (self.nova, self.api, self.cinder):
            self.addCleanup(rows.close)
        self.api.add(
            'cell_mappings',
            id=1,
            uuid=CELL1,
            name='cell1',
            database_connection=self.server.url(f'{self.prefix}_nova'),
            transport_url='none:///',
            disabled=0,
        )
        opened = {
            side: Database(
                'cell1' if side == 'nova' else side,
                self.server.url(f'{self.prefix}_{side}'),
            )
            for side in ('nova', 'nova_api', 'cinder')
        }
        for one in opened.values():
            self.addCleanup(one.dispose)
        self.databases = Databases(
            api=opened['nova_api'],
            cells=[CellDatabase(Cell(CELL1, 'cell1', ''), opened['nova'])],
            cinder=opened['cinder'],
        )
        #: As a procedure sees it, without any API.
        self.cloud: Any = types.SimpleNamespace(
            databases=self.databases, compute=_Silent(), placement=_Silent()
        )

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        self.meanwhile()

    def empty(self) -> None:
        for side, tables in {
            'nova': ('block_device_mapping', 'instances', 'task_log'),
            'nova_api': ('instance_mappings', 'cell_mappings'),
            'cinder': (
                'volume_attachment',
                'volume_admin_metadata',
                'volumes',
            ),
        }.items():
            for table in tables:
                name = f'{self.prefix}_{side}'
                if self.server.sql(name, f"SHOW TABLES LIKE '{table}'"):
                    self.server.sql(name, f'DELETE FROM `{table}`')

    # rows

    def add_server(self, name: str, **values: Any) -> str:
        cell = values.pop('cell', 1)
        if values.get('deleted'):
            # nova-compute ended the guest
            values.setdefault('power_state', 0)
        if values.pop('in_cell', True):
            self.nova.add_server(
                uuid(name), values.pop('host', 'np-rcc4'), name, **values
            )
        self.api.add(
            'instance_mappings',
            instance_uuid=uuid(name),
            cell_id=cell,
            project_id='demo',
            queued_for_delete=0,
        )
        return uuid(name)

    def add_volume(
        self,
        name: str,
        status: str = 'in-use',
        attach_status: str = 'attached',
        **values: Any,
    ) -> str:
        self.cinder.add(
            'volumes',
            **{
                'id': uuid(name),
                'display_name': name,
                'project_id': 'demo',
                'status': status,
                'attach_status': attach_status,
                'deleted': 0,
                'multiattach': 0,
                'volume_type_id': uuid('type'),
                'use_quota': 1,
                'created_at': ago(7200),
                'updated_at': ago(3600),
                **values,
            },
        )
        return uuid(name)

    def add_attachment(
        self, name: str, volume: str, server: str | None, **values: Any
    ) -> str:
        connector = {'host': 'np-rcc4', 'initiator': 'iqn.1994-05:4'}
        self.cinder.add(
            'volume_attachment',
            **{
                'id': uuid(name),
                'volume_id': uuid(volume),
                'instance_uuid': server and uuid(server),
                'attach_status': 'attached',
                'attached_host': 'np-rcc4',
                'attach_mode': 'rw',
                'deleted': 0,
                'connection_info': CONNECTION,
                'connector': json.dumps(connector),
                'created_at': ago(3600),
                **values,
            },
        )
        return uuid(name)

    def add_mapping(
        self, server: str, volume: str, attachment: str | None, **values: Any
    ) -> int:
        number = self.nova.add(
            'block_device_mapping',
            **{
                'instance_uuid': uuid(server),
                'volume_id': uuid(volume),
                'attachment_id': attachment and uuid(attachment),
                'device_name': '/dev/vdb',
                'boot_index': None,
                'source_type': 'volume',
                'destination_type': 'volume',
                'connection_info': CONNECTION,
                'deleted': 0,
                'delete_on_termination': 0,
                'uuid': str(uuid_module.uuid4()),
                **values,
            },
        )
        assert number is not None
        return number

    def add_attached(self, server: str, volume: str, **values: Any) -> None:
        """Consistent on both sides."""
        attachment = f'{server}-{volume}'
        self.add_volume(volume, **values)
        self.add_attachment(attachment, volume, server)
        self.add_mapping(server, volume, attachment)

    # what is there

    def row(self, side: str, table: str, **where: Any) -> JSON:
        """One row, with its columns."""
        (found,) = self.rows(side, table, **where)
        return found

    def rows(self, side: str, table: str, **where: Any) -> list[JSON]:
        names = ' AND '.join(f'`{name}` = %s' for name in where) or '1 = 1'
        return self.server.sql(
            f'{self.prefix}_{side}',
            f'SELECT * FROM `{table}` WHERE {names}',
            list(where.values()),
        )

    def all_rows(self) -> dict[str, list[JSON]]:
        """Everything that a command could have changed."""
        return {
            table: self.rows(side, table)
            for side, table in (
                ('nova', 'block_device_mapping'),
                ('cinder', 'volumes'),
                ('cinder', 'volume_attachment'),
                ('cinder', 'volume_admin_metadata'),
            )
        }
