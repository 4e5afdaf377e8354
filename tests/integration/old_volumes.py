# SPDX-License-Identifier: Apache-2.0

"""Old clouds with volumes in every state, for tests of legacy step 2."""

from __future__ import annotations

from collections.abc import Iterator
import io
import pathlib
import types
from typing import Any, ClassVar

import fixtures

from nova_recovery import changes
from nova_recovery.cloud.db import old_volumes
from nova_recovery.cloud.db.cells import Cell
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import CellDatabase, Databases
from nova_recovery.engine import planfile, undo
from nova_recovery.engine.journal import Journal
from nova_recovery.engine.plan import Plan
from nova_recovery.engine.progress import PlainReporter
from nova_recovery.engine.records import Outcome
from nova_recovery.engine.runner import Runner
from nova_recovery.procedures.disaster.before_queens import cleaning
from tests.base import TestCase
from tests.integration import dbserver
from tests.integration.dbserver import Rows

#: All that cinder and nova-volume ever called a volume.
STATUSES = (
    *old_volumes.STALE,
    'available',
    'awaiting-transfer',
    'backing-up',
    'creating',
    'deleting',
    'downloading',
    'error',
    'error_deleting',
    'error_extending',
    'error_managing',
    'error_restoring',
    'extending',
    'maintenance',
    'managing',
    'reserved',
    'restoring-backup',
    'retyping',
    'uploading',
)
WEB = '3f57699a-e773-4650-a443-000000000001'
FROM_VOLUME = '3f57699a-e773-4650-a443-000000000002'
OUTSIDE = '3f57699a-e773-4650-a443-000000000003'
GONE = '3f57699a-e773-4650-a443-000000000009'
NUMBERS = {WEB: 1, FROM_VOLUME: 2, OUTSIDE: 3, GONE: 9}


class OldVolumes(TestCase):
    """A cloud with volumes of every kind; subclasses name its schemas."""

    layout: ClassVar[str]
    nova_schema: ClassVar[str]
    cinder_schema: ClassVar[str | None] = None
    server_column: ClassVar[str] = 'instance_uuid'

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.nova = cls.cinder = cls.nova_schema.replace('-', '_') + '_legacy'
        dbserver.load(cls.nova, cls.nova_schema)
        if cls.cinder_schema:
            cls.cinder = cls.cinder_schema.replace('-', '_') + '_legacy'
            dbserver.load(cls.cinder, cls.cinder_schema)

    def setUp(self) -> None:
        super().setUp()
        self.nova_rows = Rows(self.nova)
        self.rows = Rows(self.cinder)
        self.addCleanup(self.nova_rows.close)
        self.addCleanup(self.rows.close)
        self.empty()
        self.names: dict[str, Any] = {}
        self.fill()
        self.before = self.everything()
        self.cloud = types.SimpleNamespace(databases=self.open())
        home = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.journal = Journal.open(f'sqlite:///{home}/journal.sqlite')
        self.addCleanup(self.journal.close)
        self.home = home

    def open(self) -> Databases:
        server = dbserver.shared()

        def opened(name: str, db: str) -> Database:
            made = Database(name, server.url(db, 'nova'))
            self.addCleanup(made.dispose)
            return made

        return Databases(
            api=None,
            cells=[
                CellDatabase(Cell('', 'cell1', ''), opened('cell1', self.nova))
            ],
            cinder=opened('cinder', self.cinder)
            if self.cinder_schema
            else None,
        )

    # rows

    def empty(self) -> None:
        for rows, table in self.tables():
            rows.sql(f'DELETE FROM {table}')
        self.rows.sql('DROP TABLE IF EXISTS guide')

    def tables(self) -> Iterator[tuple[Rows, str]]:
        """All that step 2 might touch."""
        for table in ('block_device_mapping', 'instances'):
            yield self.nova_rows, table
        for table in ('volumes', 'volume_attachment', 'volume_admin_metadata'):
            if self.rows.has(table, 'id'):
                yield self.rows, table

    def fill(self) -> None:
        for uuid, number in NUMBERS.items():
            self.nova_rows.add_server(
                uuid,
                'host1',
                f'server-{number}',
                id=number,
                root_device_name='/dev/vda',
                deleted=number if uuid == GONE else 0,
            )
        for status in STATUSES:
            self.volume(f'{status} web', status, WEB)
            self.volume(f'{status} outside', status, OUTSIDE)
            self.volume(f'{status} deleted', status, WEB, deleted=1)
        self.volume('root', 'in-use', FROM_VOLUME, '/dev/vda', boot_index=0)
        # what Essex wrote
        self.volume('root by name', 'in-use', FROM_VOLUME, 'vda')
        self.volume('data of root', 'in-use', FROM_VOLUME, '/dev/vdc')
        self.volume('of a deleted server', 'in-use', GONE, mapped=False)
        self.volume('unmapped', 'in-use', WEB, '/dev/vdd', mapped=False)
        self.volume('unmapped root', 'in-use', WEB, '/dev/vda', mapped=False)
        self.volume('of nobody', 'attaching', None, mapped=False)
        self.volume('contradictory', 'in-use', WEB, mapped_to=FROM_VOLUME)

    def id_of(self, name: str) -> Any:
        return self.names[name]

    def volume(
        self,
        name: str,
        status: str,
        server: str | None,
        device: str = '/dev/vdb',
        *,
        deleted: int = 0,
        mapped: bool = True,
        mapped_to: str | None = None,
        boot_index: int | None = None,
        host: str | None = 'host1',
        **more: Any,
    ) -> None:
        number = len(self.names) + 1
        attached = status in (*old_volumes.STALE, 'error_deleting')
        essex = self.layout == 'L0'
        volume = number if essex else f'{number:08d}-aaaa-4aaa-8aaa-{0:012d}'
        self.names[name] = volume
        named = NUMBERS.get(server or '') if essex else server
        self.rows.add(
            'volumes',
            id=volume,
            display_name=name,
            status=status,
            attach_status='attached' if attached else 'detached',
            mountpoint=device if attached else None,
            instance_id=named if attached else None,
            instance_uuid=named if attached else None,
            attached_host=host if attached and server else None,
            attach_time='2014-10-01 12:00:00' if attached else None,
            deleted=deleted,
            size=1,
            updated_at='2014-10-02 12:00:00',
            **more,
        )
        if attached and server and self.layout == 'M1':
            self.attachment(name, server, device)
        if attached and self.layout != 'L0':
            for key in ('attached_mode', 'readonly'):
                self.rows.add(
                    'volume_admin_metadata',
                    volume_id=volume,
                    key=key,
                    value='rw',
                    deleted=deleted,
                )
        if mapped and attached:
            self.mapping(name, mapped_to or server, device, boot_index)

    def attachment(self, name: str, server: str, device: str) -> None:
        self.rows.add(
            'volume_attachment',
            id=f'{len(self.names):08d}-bbbb-4bbb-8bbb-{NUMBERS[server]:012d}',
            volume_id=self.names[name],
            instance_uuid=server,
            attached_host='host1',
            mountpoint=device,
            attach_time='2015-10-01 12:00:00',
            attach_status='attached',
            attach_mode='rw',
            deleted=0,
        )

    def mapping(
        self,
        name: str,
        server: str | None,
        device: str,
        boot_index: int | None = None,
    ) -> None:
        self.nova_rows.add(
            'block_device_mapping',
            instance_uuid=server,
            instance_id=NUMBERS[server or WEB],
            volume_id=self.names[name],
            device_name=device,
            boot_index=boot_index,
            source_type='volume',
            destination_type='volume',
            connection_info='{"driver_volume_type": "iscsi"}',
            delete_on_termination=0,
            deleted=0,
        )

    def everything(self) -> dict[str, dict[Any, dict[str, Any]]]:
        """table -> id -> row."""
        return {
            table: {
                row['id']: row for row in rows.sql(f'SELECT * FROM {table}')
            }
            for rows, table in self.tables()
        }

    def of_volumes(
        self, rows: dict[str, dict[Any, dict[str, Any]]], ids: set[Any]
    ) -> dict[str, dict[Any, dict[str, Any]]]:
        """The rows that are of some volumes."""
        return {
            table: {
                key: row
                for key, row in some.items()
                if row.get('volume_id', key) in ids
            }
            for table, some in rows.items()
            if table != 'instances'
        }

    def assert_same(self, before: Any, after: Any, *path: Any) -> None:
        """Equal; of what isn't, only that is shown."""
        if isinstance(before, dict) and isinstance(after, dict):
            self.assertEqual(set(before), set(after), path)
            for key in before:
                self.assert_same(before[key], after[key], *path, key)
        else:
            self.assertEqual(before, after, path)

    # runs

    def plan(self, *servers: str) -> Plan:
        self.cleaning = cleaning.clean(
            self.cloud.databases, servers if servers else None
        )
        made = Plan(
            'disaster',
            'clean',
            {},
            self.cleaning.steps,
            notes=self.cleaning.notes,
            left_out=self.cleaning.left_out,
        )
        path = str(self.home / 'plan')
        planfile.save(made, path)
        return planfile.load(path)

    def left_out(self) -> dict[str, str]:
        """What was left out of the last plan, each volume with why."""
        return {one.subject: one.why for one in self.cleaning.left_out}

    def start(self, made: Plan) -> str:
        return self.journal.create_run(
            made, who='anna', machine='here', command='test'
        )

    def carry_out(self, run: str, **registry: Any) -> Outcome:
        one = Runner(
            self.journal,
            {**changes.registry(), **registry},
            self.cloud,
            reporter=PlainReporter(io.StringIO()),
        )
        return one.carry_out(run)

    def undo(self, run: str) -> Outcome:
        one = undo.Undo(
            self.journal,
            changes.registry(),
            self.cloud,
            reporter=PlainReporter(io.StringIO()),
        )
        return one.undo(run)

    def eligible(self) -> set[Any]:
        names = {
            *(f'{status} {whose}' for status in old_volumes.STALE
              for whose in ('web', 'outside')),
            'data of root',
            'of a deleted server',
            'unmapped',
            'of nobody',
        }  # fmt: skip
        return {self.id_of(name) for name in names}

    def assert_clean(self, name: str) -> None:
        now = self.everything()
        volume = self.id_of(name)
        self.assertEqual('available', now['volumes'][volume]['status'])
        live = [
            row
            for row in now['block_device_mapping'].values()
            if row['volume_id'] == volume and not row['deleted']
        ]
        self.assertEqual([], live)

    def assert_named(self, run: str, kind: str, key: Any) -> None:
        details = [i.detail for i in self.journal.items(run) if i.kind == kind]
        told = ' '.join(details)
        self.assertIn('left as they are', told)
        if key is not None:
            self.assertIn(str(key), told)
