# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.


"""Step 2 on old schemas, row by row beside the guide's own UPDATEs."""

from __future__ import annotations

from collections.abc import Iterator
import io
import pathlib
import types
from typing import Any, ClassVar

import fixtures

from nova_recovery import changes
from nova_recovery.cloud import cells
from nova_recovery.cloud import database
from nova_recovery.cloud import databases
from nova_recovery.cloud import old_volumes
from nova_recovery.engine import journal as journal_module
from nova_recovery.engine import plan as plan_module
from nova_recovery.engine import planfile
from nova_recovery.engine import progress
from nova_recovery.engine import runner
from nova_recovery.engine import undo
from nova_recovery import exceptions
from nova_recovery.procedures.disaster import legacy
from tests import base
from tests.functional import dbserver

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
#: The literal guide, as far as a column is there.
GUIDE = (
    'UPDATE volumes SET mountpoint=NULL',
    "UPDATE volumes SET status='available' WHERE status<>'error_deleting'",
    "UPDATE volumes SET attach_status='detached'",
    'UPDATE volumes SET {server}=NULL',
)


class Killed(BaseException):
    """What a SIGKILL is to the code that it hits."""


class LegacyCase:
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
        self.nova_rows = dbserver.Rows(self.nova)
        self.rows = dbserver.Rows(self.cinder)
        self.addCleanup(self.nova_rows.close)
        self.addCleanup(self.rows.close)
        self.empty()
        self.names: dict[str, Any] = {}
        self.fill()
        self.before = self.everything()
        self.cloud = types.SimpleNamespace(databases=self.open())
        home = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.journal = journal_module.Journal.open(
            f'sqlite:///{home}/journal.sqlite'
        )
        self.addCleanup(self.journal.close)
        self.home = home

    def open(self) -> databases.Databases:
        server = dbserver.shared()

        def opened(name: str, db: str) -> database.Database:
            made = database.Database(name, server.url(db, 'nova'))
            self.addCleanup(made.dispose)
            return made

        return databases.Databases(
            api=None,
            cells=[
                databases.CellDatabase(
                    cells.Cell('', 'cell1', ''), opened('cell1', self.nova)
                )
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

    def tables(self) -> Iterator[tuple[dbserver.Rows, str]]:
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

    def plan(self, *servers: str) -> plan_module.Plan:
        self.cleaning = legacy.clean(
            self.cloud.databases, servers if servers else None
        )
        made = plan_module.Plan(
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

    def start(self, made: plan_module.Plan) -> str:
        return self.journal.create_run(
            made, who='anna', machine='here', command='test'
        )

    def carry_out(self, run: str, **registry: Any) -> runner.Outcome:
        one = runner.Runner(
            self.journal,
            {**changes.registry(), **registry},
            self.cloud,
            reporter=progress.PlainReporter(io.StringIO()),
        )
        return one.carry_out(run)

    def undo(self, run: str) -> runner.Outcome:
        one = undo.Undo(
            self.journal,
            changes.registry(),
            self.cloud,
            reporter=progress.PlainReporter(io.StringIO()),
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

    # tests

    def test_layout(self) -> None:
        self.assertEqual(self.layout, legacy.layout(self.cloud.databases))

    def test_eligible_rows_as_the_guide_would_no_other_touched(self) -> None:
        run = self.start(self.plan())
        outcome = self.carry_out(run)
        self.assertEqual('done', outcome.state, list(self.journal.items(run)))
        after = self.everything()
        eligible = self.eligible()
        others = {
            row['id'] for row in after['volumes'].values()
        } - eligible
        self.assert_same(
            self.of_volumes(self.before, others),
            self.of_volumes(after, others),
        )
        self.assertEqual(self.before['instances'], after['instances'])
        self.check_volumes(after['volumes'], eligible)
        for row in after['block_device_mapping'].values():
            if row['volume_id'] in eligible:
                self.assertIn(row['deleted'], (row['id'], 1))
                self.assertIsNotNone(row['deleted_at'])
        self.check_metadata(after, eligible)

    def check_volumes(
        self, volumes: dict[Any, dict[str, Any]], eligible: set[Any]
    ) -> None:
        self.rows.sql('CREATE TABLE guide AS SELECT * FROM volumes WHERE 1 = 0',
        )
        for row in self.before['volumes'].values():
            # as it was before any of this
            names = ', '.join(f'`{name}`' for name in row)
            marks = ', '.join(['%s'] * len(row))
            self.rows.sql(f'INSERT INTO guide ({names}) VALUES ({marks})',
                list(row.values()),
            )
        for statement in self.guide():
            self.rows.sql(statement.replace('volumes', 'guide')
            )
        guide = {
            row['id']: row
            for row in self.rows.sql('SELECT * FROM guide'
            )
        }
        for one in eligible:
            # what the guide forgot, and nova and cinder didn't
            for name in ('attach_time', 'attached_host'):
                if name in guide[one]:
                    self.assertIsNone(volumes[one][name])
                    guide[one][name] = None
            self.assert_same(guide[one], volumes[one])
        # The blanket form does more than that: here is what it hits.
        blanket = {
            one
            for one, row in self.before['volumes'].items()
            if row != guide[one]
        }
        self.assertLess(eligible, blanket)

    def guide(self) -> list[str]:
        return [one.format(server=self.server_column) for one in GUIDE]

    def check_metadata(
        self,
        after: dict[str, dict[Any, dict[str, Any]]],
        eligible: set[Any],
    ) -> None:
        for row in after.get('volume_admin_metadata', {}).values():
            if row['volume_id'] in eligible:
                gone = row['key'] == 'attached_mode'
                self.assertEqual(int(gone), row['deleted'], row)
                self.assertEqual(gone, row['deleted_at'] is not None)

    def test_volumes_that_stay_are_named(self) -> None:
        self.plan()
        left = self.cleaning.left_out
        name = f'volume:{self.id_of("contradictory")}'
        self.assertIn('nova maps it to', left[name])
        name = f'volume:{self.id_of("error_deleting web")}'
        self.assertEqual('it is error_deleting', left[name])
        notes = ' '.join(self.cleaning.notes)
        self.assertIn('3 volumes that servers boot from', notes)
        self.assertIn('2 error_deleting', notes)

    def test_only_volumes_of_servers_in_the_scope(self) -> None:
        run = self.start(self.plan(WEB))
        self.assertEqual('done', self.carry_out(run).state)
        after = self.everything()
        touched = {
            self.id_of(f'{status} web') for status in old_volumes.STALE
        } | {self.id_of('unmapped')}
        others = set(self.names.values()) - touched
        self.assert_same(
            self.of_volumes(self.before, others),
            self.of_volumes(after, others),
        )
        for one in touched:
            self.assertEqual('available', after['volumes'][one]['status'])

    def test_undo_restores_bit_for_bit(self) -> None:
        run = self.start(self.plan())
        self.carry_out(run)
        self.assertNotEqual(self.before, self.everything())
        self.assertEqual('undone', self.undo(run).state)
        self.assert_same(self.before, self.everything())

    def test_killed_between_the_halves_and_resumed(self) -> None:
        class Dies(type(changes.registry()['clean-volumes'])):
            def apply(self, *args: Any) -> str:
                raise Killed

        run = self.start(self.plan(WEB))
        volumes = {'clean-volumes': Dies()}
        self.assertRaises(Killed, self.carry_out, run, **volumes)
        states = {i.kind: i.state for i in self.journal.items(run)}
        self.assertEqual('done', states['clean-mappings'])
        self.assertEqual(
            self.before['volumes'], self.everything()['volumes']
        )
        self.assertEqual('done', self.carry_out(run).state)
        self.assert_clean('in-use web')
        self.assertEqual('undone', self.undo(run).state)
        self.assert_same(self.before, self.everything())

    def test_killed_after_the_commit_and_resumed(self) -> None:
        class Dies(type(changes.registry()['clean-volumes'])):
            def apply(self, *args: Any) -> str:
                super().apply(*args)
                raise Killed

        run = self.start(self.plan(FROM_VOLUME))
        volumes = {'clean-volumes': Dies()}
        self.assertRaises(Killed, self.carry_out, run, **volumes)
        self.assert_clean('data of root')
        cleaned = self.everything()
        self.assertEqual('done', self.carry_out(run).state)
        self.assert_same(cleaned, self.everything())
        self.assertEqual('undone', self.undo(run).state)
        self.assert_same(self.before, self.everything())

    def test_mappings_that_failed_keep_their_volumes(self) -> None:
        class Fails(type(changes.registry()['clean-mappings'])):
            def apply(self, *args: Any) -> str:
                raise exceptions.ChangeFailed('no')

        made = self.plan(WEB)
        run = self.start(made)
        outcome = self.carry_out(run, **{'clean-mappings': Fails()})
        self.assertEqual('partly', outcome.state)
        states = {
            i.subject: i.state
            for i in self.journal.items(run)
            if i.kind == 'clean-volumes'
        }
        (mapped,) = {
            i.subject for i in made.items() if i.kind == 'clean-mappings'
        }
        self.assertEqual('blocked', states[mapped])
        self.assertEqual('done', self.carry_out(run).state)
        self.assert_clean('in-use web')

    def test_a_row_that_changed_is_left_alone_and_named(self) -> None:
        made = self.plan(WEB)
        flipped = self.id_of('in-use web')
        self.rows.sql("UPDATE volumes SET status = 'error_deleting' WHERE id = %s",
            [flipped],
        )
        before = self.everything()
        run = self.start(made)
        self.assertEqual('done', self.carry_out(run).state)
        self.assert_same(
            self.of_volumes(before, {flipped}),
            self.of_volumes(self.everything(), {flipped}),
        )
        self.assert_clean('attaching web')
        self.assert_named(run, 'clean-volumes', flipped)
        self.assertEqual('undone', self.undo(run).state)
        self.assert_same(before, self.everything())

    def test_flipped_between_the_halves(self) -> None:
        flipped = self.id_of('in-use web')
        mappings = changes.registry()['clean-mappings']

        class Flips(type(mappings)):
            def apply(self, *args: Any) -> str:
                done = super().apply(*args)
                rows.sql("UPDATE volumes SET status = 'error_deleting'"
                    ' WHERE id = %s',
                    [flipped],
                )
                return done

        rows = self.rows
        run = self.start(self.plan(WEB))
        self.carry_out(run, **{'clean-mappings': Flips()})
        row = self.everything()['volumes'][flipped]
        expected = {
            **self.before['volumes'][flipped],
            'status': 'error_deleting',
        }
        self.assertEqual(expected, row)
        self.assert_named(run, 'clean-volumes', flipped)
        # Its mapping doesn't come back: cinder has it otherwise by now.
        self.assertEqual('undone', self.undo(run).state)
        after = self.everything()
        others = set(self.names.values()) - {flipped}
        self.assert_same(
            self.of_volumes(self.before, others),
            self.of_volumes(after, others),
        )
        self.assert_named(run, 'clean-mappings', None)

    def test_what_others_attached_since_stays_theirs(self) -> None:
        run = self.start(self.plan(WEB))
        self.carry_out(run)
        taken = self.id_of('in-use web')
        named = NUMBERS[OUTSIDE] if self.layout == 'L0' else OUTSIDE
        if self.layout == 'M1':
            self.names['again'] = taken
            self.attachment('again', OUTSIDE, '/dev/vdz')
            change, values = "status = 'in-use'", [taken]
        else:
            change = f"status = 'in-use', {self.server_column} = %s"
            values = [named, taken]
        self.rows.sql(f'UPDATE volumes SET {change} WHERE id = %s',
            values,
        )
        theirs = self.of_volumes(self.everything(), {taken})
        self.undo(run)
        self.assertEqual(
            theirs, self.of_volumes(self.everything(), {taken})
        )
        others = set(self.names.values()) - {taken}
        self.assert_same(
            self.of_volumes(self.before, others),
            self.of_volumes(self.everything(), others),
        )

    def test_nothing_stale_no_step(self) -> None:
        self.carry_out(self.start(self.plan()))
        self.plan()
        self.assertEqual((), self.cleaning.steps)

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
        details = [
            i.detail for i in self.journal.items(run) if i.kind == kind
        ]
        told = ' '.join(details)
        self.assertIn('left as they are', told)
        if key is not None:
            self.assertIn(str(key), told)


class EssexTest(LegacyCase, base.TestCase):
    layout = 'L0'
    nova_schema = 'old-essex-nova'
    server_column = 'instance_id'


class FolsomTest(LegacyCase, base.TestCase):
    layout = 'L1'
    nova_schema = 'old-folsom-nova'
    cinder_schema = 'old-folsom-cinder'


class JunoTest(LegacyCase, base.TestCase):
    layout = 'L1'
    nova_schema = 'old-juno-nova'
    cinder_schema = 'old-juno-cinder'

    def test_being_migrated_or_of_a_host_stays(self) -> None:
        self.volume('moving', 'in-use', WEB, migration_status='migrating')
        self.volume('of a host', 'in-use', None, mapped=False)
        self.rows.sql("UPDATE volumes SET attached_host = 'backup1' WHERE id = %s",
            [self.id_of('of a host')],
        )
        before = self.everything()
        self.carry_out(self.start(self.plan()))
        names = ('moving', 'of a host')
        ids = {self.id_of(name) for name in names}
        self.assert_same(
            self.of_volumes(before, ids),
            self.of_volumes(self.everything(), ids),
        )
        for name in names:
            self.assertIn(
                f'volume:{self.id_of(name)}', self.cleaning.left_out
            )


class KiloTest(LegacyCase, base.TestCase):
    layout = 'M1'
    nova_schema = 'old-kilo-nova'
    cinder_schema = 'old-kilo-cinder'

    def guide(self) -> list[str]:
        # the first and the last would fail: the columns are gone
        return [GUIDE[1], GUIDE[2]]

    def test_attachments_end_as_cinder_ends_them(self) -> None:
        self.carry_out(self.start(self.plan(WEB)))
        web = {self.id_of(f'{status} web') for status in old_volumes.STALE}
        rows = self.everything()['volume_attachment']
        for key, row in rows.items():
            if row['volume_id'] in web:
                self.assertIsNotNone(row['detach_time'])
                self.assertEqual(
                    {
                        **self.before['volume_attachment'][key],
                        'deleted': 1,
                        'deleted_at': row['detach_time'],
                        'detach_time': row['detach_time'],
                        'attach_status': 'detached',
                    },
                    row,
                )

    def test_of_two_servers_one_of_them_outside(self) -> None:
        self.volume('shared', 'in-use', WEB)
        self.attachment('shared', OUTSIDE, '/dev/vdb')
        self.mapping('shared', OUTSIDE, '/dev/vdb')
        before = self.everything()
        shared = {self.id_of('shared')}
        self.carry_out(self.start(self.plan(WEB)))
        self.assert_same(
            self.of_volumes(before, shared),
            self.of_volumes(self.everything(), shared),
        )
        self.assertIn(
            f'volume:{self.id_of("shared")}', self.cleaning.left_out
        )
        self.carry_out(self.start(self.plan(WEB, OUTSIDE)))
        self.assert_clean('shared')


class ModernTest(base.TestCase):
    """Where nova knows attachments, legacy doesn't apply."""

    def check(self, release: str) -> None:
        found = []
        for part in ('nova', 'cinder'):
            dbserver.load(f'legacy_{release}', f'{release}-{part}')
            found.append(
                database.Database(
                    part, dbserver.shared().url(f'legacy_{release}')
                )
            )
            self.addCleanup(found[-1].dispose)
            # the columns are read at once: both come into one database
            found[-1].tables.has('volumes')
        both = databases.Databases(
            None,
            [databases.CellDatabase(cells.Cell('', 'cell1', ''), found[0])],
            found[1],
        )
        self.assertIsNone(legacy.layout(both))
        self.assertRaises(exceptions.SchemaUnknown, legacy.clean, both)

    def test_pike(self) -> None:
        self.check('nova16')

    def test_queens(self) -> None:
        self.check('nova17')
