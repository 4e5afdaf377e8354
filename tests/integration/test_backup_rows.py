# SPDX-License-Identifier: Apache-2.0

"""Backups row by row, as each release of cinder has them."""

from __future__ import annotations

from typing import Any

from nova_recovery.cloud.db import backups
from nova_recovery.cloud.db.backups import Inventory
from nova_recovery.cloud.db.database import Database
from nova_recovery.procedures.backups import assess
from tests.base import TestCase
from tests.integration import dbserver
from tests.integration.dbserver import Rows
from tests.integration.volume_rows import ago, uuid

DAY = 86400
RELEASES = ('nova16', 'nova22', 'nova27', 'nova34')


class TestBackupRows(TestCase):
    def fill(self, release: str) -> Database:
        dbserver.load('backups', f'{release}-cinder')
        self.rows = Rows('backups')
        self.addCleanup(self.rows.close)
        opened = Database('cinder', dbserver.shared().url('backups'))
        self.addCleanup(opened.dispose)
        return opened

    def volume(self, name: str, **given: Any) -> None:
        self.rows.add(
            'volumes',
            **{
                'id': uuid(name),
                'display_name': name,
                'project_id': 'demo',
                'host': 'control@lvm#pool',
                'size': 10,
                'status': 'available',
                'attach_status': 'detached',
                'availability_zone': 'nova',
                'volume_type_id': uuid('type'),
                'deleted': 0,
                'multiattach': 0,
                'use_quota': 1,
                'created_at': ago(90 * DAY),
                **given,
            },
        )

    def backup(
        self, name: str, volume: str, days: float, **given: Any
    ) -> None:
        parent = given.pop('parent', None)
        self.rows.add(
            'backups',
            **{
                'id': uuid(name),
                'display_name': name,
                'volume_id': uuid(volume),
                'project_id': 'demo',
                'status': 'available',
                'parent_id': uuid(parent) if parent else None,
                'size': 10,
                'deleted': 0,
                'created_at': ago(0),
                'data_timestamp': ago(days * DAY),
                **given,
            },
        )

    def some(self) -> None:
        """Volumes by what becomes of them."""
        self.volume('never')
        self.volume('good', status='in-use')
        self.backup('good-1', 'good', 9)
        self.backup('good-2', 'good', 1, parent='good-1')
        self.volume('old')
        self.backup('old-1', 'old', 20)
        self.backup('old-2', 'old', 8)
        self.volume('failed')
        self.backup('failed-1', 'failed', 9)
        self.backup(
            'failed-2', 'failed', 1, status='error', fail_reason='full'
        )
        self.volume('recovered')
        self.backup('recovered-1', 'recovered', 3, status='error')
        self.backup('recovered-2', 'recovered', 2)
        self.volume('broken')
        self.backup('broken-1', 'broken', 9, deleted=1)
        self.backup('broken-2', 'broken', 1, parent='broken-1')
        self.volume('restoring')
        self.backup('restoring-1', 'restoring', 1, status='restoring')
        self.volume('deleted-backup')
        self.backup('deleted-1', 'deleted-backup', 1, deleted=1)
        # nobody's
        self.volume('gone', deleted=1)
        self.volume('growing', status='creating')
        self.volume('target', migration_status='target:x')
        self.volume('copy')
        self.backup(
            'good-3', 'good', 0, status='creating', temp_volume_id=uuid('copy')
        )
        self.rows.add(
            'volume_attachment',
            id=uuid('attachment'),
            volume_id=uuid('good'),
            instance_uuid=uuid('web'),
            attach_status='attached',
            deleted=0,
        )

    def told(self, found: Inventory) -> dict[str, tuple[str, str]]:
        """Name -> newest good one and why, of volumes without a good one."""
        names = {uuid(name): name for name in (
            'old-2', 'failed-1', 'failed-2', 'broken-1', 'broken-2',
        )}  # fmt: skip
        told = {}
        for volume, one in assess.lacking(found, 7 * DAY):
            newest = names[one.newest.id] if one.newest else ''
            why = one.why
            for key, name in names.items():
                why = why.replace(key, name)
            told[volume.name] = (newest, why)
        return told

    def test_all_releases(self) -> None:
        for release in RELEASES:
            opened = self.fill(release)
            self.some()
            expected = {
                'never': ('', 'no backup'),
                'old': ('old-2', 'older than 7d'),
                'failed': (
                    'failed-1',
                    'older than 7d; backup failed-2 is error: full',
                ),
                'broken': (
                    '',
                    'backup broken-2 is incremental, and broken-1 is gone',
                ),
                'deleted-backup': ('', 'no backup'),
            }
            found = backups.lacking(opened, 7 * DAY)
            self.assertEqual(expected, self.told(found), release)
            self.assertEqual({'demo': 8}, found.counts, release)
            # whatever the database sorted out before, it is the same
            ids = [uuid(name) for name in (
                'never', 'good', 'old', 'failed', 'recovered', 'broken',
                'restoring', 'deleted-backup', 'gone', 'growing', 'target',
                'copy',
            )]  # fmt: skip
            for other in (
                backups.lacking(opened, 7 * DAY, whole=True),
                backups.lacking(opened, 7 * DAY, project='demo'),
                backups.of_cinder(opened, ids),
            ):
                self.assertEqual(expected, self.told(other), release)
            self.assertEqual(
                {}, backups.lacking(opened, 7 * DAY, project='other').counts
            )
            whole = backups.of_cinder(opened, ids)
            self.assertEqual(8, len(whole.volumes), release)
            self.assertEqual(
                (uuid('web'),), whole.volumes[uuid('good')].servers
            )
            self.assertEqual(
                'control@lvm', whole.volumes[uuid('good')].backend
            )

    def test_no_clock_but_the_database(self) -> None:
        opened = self.fill('nova34')
        self.volume('a')
        self.backup('a-1', 'a', 1)
        now = backups.of_cinder(opened, [uuid('a')]).now
        self.assertAlmostEqual(0, (now - ago(0)).total_seconds(), delta=30)
        self.assertEqual({}, dict(backups.lacking(opened, 2 * DAY).volumes))
        self.assertEqual(1, len(backups.lacking(opened, DAY / 2).volumes))

    def test_what_was_made_by_a_run_is_found_by_its_name(self) -> None:
        opened = self.fill('nova34')
        for name, volume, given in (
            ('one', 'a', {}),
            ('of-another', 'b', {}),
            ('gone', 'a', {'deleted': 1}),
            ('other-run', 'a', {'display_name': 'nova-recovery-2'}),
        ):
            self.backup(
                name, volume, 0,
                **{'display_name': 'nova-recovery-1', **given},
            )  # fmt: skip
        (row,) = backups.of_run(opened, uuid('a'), 'nova-recovery-1')
        self.assertEqual(uuid('one'), row['id'])
        self.assertEqual(
            'available', (backups.state(opened, uuid('one')) or {})['status']
        )
        self.assertIsNone(backups.state(opened, uuid('gone')))
