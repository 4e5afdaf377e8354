# SPDX-License-Identifier: Apache-2.0

"""Step 2 on old schemas, row by row beside the guide's own UPDATEs."""

from __future__ import annotations

from typing import Any

from nova_recovery import changes
from nova_recovery.cloud.db import bulk
from nova_recovery.cloud.db import old_volumes as layouts
from nova_recovery.cloud.db.cells import Cell
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import CellDatabase, Databases
from nova_recovery.exceptions import ChangeFailed, SchemaUnknown
from nova_recovery.procedures.disaster.before_queens import cleaning
from tests.base import TestCase
from tests.integration import dbserver, old_volumes
from tests.integration.old_volumes import OldVolumes

OUTSIDE = old_volumes.OUTSIDE
WEB = old_volumes.WEB
FROM_VOLUME = old_volumes.FROM_VOLUME
#: The literal guide, as far as a column is there.
GUIDE = (
    'UPDATE volumes SET mountpoint=NULL',
    "UPDATE volumes SET status='available' WHERE status<>'error_deleting'",
    "UPDATE volumes SET attach_status='detached'",
    'UPDATE volumes SET {server}=NULL',
)


class Killed(BaseException):
    """What a SIGKILL is to the code that it hits."""


class Cases:
    """What holds for each layout."""

    def test_layout(self) -> None:
        self.assertEqual(self.layout, cleaning.layout(self.cloud.databases))

    def test_eligible_rows_as_the_guide_would_no_other_touched(self) -> None:
        run = self.start(self.plan())
        outcome = self.carry_out(run)
        self.assertEqual('done', outcome.state, list(self.journal.items(run)))
        after = self.everything()
        eligible = self.eligible()
        others = {row['id'] for row in after['volumes'].values()} - eligible
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
        self.rows.sql(
            'CREATE TABLE guide AS SELECT * FROM volumes WHERE 1 = 0'
        )
        for row in self.before['volumes'].values():
            # as it was before any of this
            names = ', '.join(f'`{name}`' for name in row)
            marks = ', '.join(['%s'] * len(row))
            self.rows.sql(
                f'INSERT INTO guide ({names}) VALUES ({marks})',
                list(row.values()),
            )
        for statement in self.guide():
            self.rows.sql(statement.replace('volumes', 'guide'))
        guide = {
            row['id']: row for row in self.rows.sql('SELECT * FROM guide')
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
        self, after: dict[str, dict[Any, dict[str, Any]]], eligible: set[Any]
    ) -> None:
        for row in after.get('volume_admin_metadata', {}).values():
            if row['volume_id'] in eligible:
                gone = row['key'] == 'attached_mode'
                self.assertEqual(int(gone), row['deleted'], row)
                self.assertEqual(gone, row['deleted_at'] is not None)

    def test_volumes_that_stay_are_named(self) -> None:
        self.plan()
        left = self.left_out()
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
        touched = {self.id_of(f'{status} web') for status in layouts.STALE} | {
            self.id_of('unmapped')
        }
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
        self.assertEqual(self.before['volumes'], self.everything()['volumes'])
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
                raise ChangeFailed('no')

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
        self.rows.sql(
            "UPDATE volumes SET status = 'error_deleting' WHERE id = %s",
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
                rows.sql(
                    "UPDATE volumes SET status = 'error_deleting'"
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
        number = old_volumes.NUMBERS[OUTSIDE]
        named = number if self.layout == 'L0' else OUTSIDE
        if self.layout == 'M1':
            self.names['again'] = taken
            self.attachment('again', OUTSIDE, '/dev/vdz')
            change, values = "status = 'in-use'", [taken]
        else:
            change = f"status = 'in-use', {self.server_column} = %s"
            values = [named, taken]
        self.rows.sql(f'UPDATE volumes SET {change} WHERE id = %s', values)
        theirs = self.of_volumes(self.everything(), {taken})
        self.undo(run)
        self.assertEqual(theirs, self.of_volumes(self.everything(), {taken}))
        others = set(self.names.values()) - {taken}
        self.assert_same(
            self.of_volumes(self.before, others),
            self.of_volumes(self.everything(), others),
        )

    def test_pages_and_batches_make_no_difference(self) -> None:
        self.patch(cleaning, 'BATCH', 2)
        self.patch(bulk, 'PAGE', 7)
        run = self.start(self.plan())
        self.assertEqual('done', self.carry_out(run).state)
        for one in self.eligible():
            row = self.everything()['volumes'][one]
            self.assertEqual('available', row['status'], row)
        self.assertEqual('undone', self.undo(run).state)
        self.assert_same(self.before, self.everything())

    def test_a_device_that_no_line_can_hold(self) -> None:
        self.volume('odd', 'in-use', WEB, '/dev/a|b')
        # in no line of a statement, but in a line
        self.volume('quoted', 'in-use', WEB, "/dev/o'k")
        before = self.everything()
        run = self.start(self.plan(WEB))
        self.assertEqual('done', self.carry_out(run).state)
        if self.layout == 'M1':
            # there devices are neither compared nor written
            self.assert_clean('odd')
        else:
            odd = {self.id_of('odd')}
            self.assert_same(
                self.of_volumes(before, odd),
                self.of_volumes(self.everything(), odd),
            )
            name = f'volume:{self.id_of("odd")}'
            self.assertIn('characters', self.left_out()[name])
        self.assert_clean('quoted')
        self.undo(run)
        self.assert_same(before, self.everything())

    def test_nothing_stale_no_step(self) -> None:
        self.carry_out(self.start(self.plan()))
        self.plan()
        self.assertEqual((), self.cleaning.steps)


class EssexTest(Cases, OldVolumes):
    layout = 'L0'
    nova_schema = 'old-essex-nova'
    server_column = 'instance_id'


class FolsomTest(Cases, OldVolumes):
    layout = 'L1'
    nova_schema = 'old-folsom-nova'
    cinder_schema = 'old-folsom-cinder'


class JunoTest(Cases, OldVolumes):
    layout = 'L1'
    nova_schema = 'old-juno-nova'
    cinder_schema = 'old-juno-cinder'

    def test_being_migrated_or_of_a_host_stays(self) -> None:
        self.volume('moving', 'in-use', WEB, migration_status='migrating')
        self.volume('of a host', 'in-use', None, mapped=False)
        self.rows.sql(
            "UPDATE volumes SET attached_host = 'backup1' WHERE id = %s",
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
            self.assertIn(f'volume:{self.id_of(name)}', self.left_out())


class KiloTest(Cases, OldVolumes):
    layout = 'M1'
    nova_schema = 'old-kilo-nova'
    cinder_schema = 'old-kilo-cinder'

    def guide(self) -> list[str]:
        # the first and the last would fail: the columns are gone
        return [GUIDE[1], GUIDE[2]]

    def test_attachments_end_as_cinder_ends_them(self) -> None:
        self.carry_out(self.start(self.plan(WEB)))
        web = {self.id_of(f'{status} web') for status in layouts.STALE}
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
        self.assertIn(f'volume:{self.id_of("shared")}', self.left_out())
        self.carry_out(self.start(self.plan(WEB, OUTSIDE)))
        self.assert_clean('shared')


class ModernTest(TestCase):
    """Where nova knows attachments, legacy doesn't apply."""

    def check(self, release: str) -> None:
        found = []
        for part in ('nova', 'cinder'):
            dbserver.load(f'legacy_{release}', f'{release}-{part}')
            found.append(
                Database(part, dbserver.shared().url(f'legacy_{release}'))
            )
            self.addCleanup(found[-1].dispose)
            # the columns are read at once: both come into one database
            found[-1].tables.has('volumes')
        both = Databases(
            None, [CellDatabase(Cell('', 'cell1', ''), found[0])], found[1]
        )
        self.assertIsNone(cleaning.layout(both))
        self.assertRaises(SchemaUnknown, cleaning.clean, both)

    def test_pike(self) -> None:
        self.check('nova16')

    def test_queens(self) -> None:
        self.check('nova17')
