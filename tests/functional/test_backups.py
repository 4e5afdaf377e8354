# SPDX-License-Identifier: Apache-2.0

"""Volumes without a good backup, and making them, on the practice cloud."""

from __future__ import annotations

import pathlib
from typing import Any
import uuid

import fixtures

from nova_recovery.compat import pairs
from nova_recovery.engine import planfile
from tests.cloud import servers
from tests.cloud.proxy import GatewayTimeoutProxy
from tests.functional.base import FunctionalTest, JSON
from tests.integration import killing
from tests.integration.killing import Watch
from tests.unit.engine import world

SERVER = 'at3-ui02'


class TestBackups(FunctionalTest):
    fresh = True

    def setUp(self) -> None:
        super().setUp()
        # older practice clouds have cinder's own limit of ten
        self.practice.sql(
            'cinder',
            'UPDATE quota_classes SET hard_limit = -1 WHERE resource IN'
            " ('backups', 'backup_gigabytes')",
        )

    def new_volumes(self, *names: str) -> list[str]:
        """Volumes of project demo; their ids."""
        owner = self.practice.connection('admin', 'demo')
        return [str(servers.create_volume(owner, name)) for name in names]

    def make_fail(self, *volumes: str) -> None:
        """Let the backups of these volumes fail until the test ends."""
        path = self.practice.config.var / 'cinder' / 'failing-backups'
        path.write_text('\n'.join(volumes))
        self.addCleanup(path.unlink)

    @property
    def held(self) -> pathlib.Path:
        """No backup comes to its end while this file is there."""
        return self.practice.config.var / 'cinder' / 'held-backups'

    def hold(self) -> None:
        self.held.touch()
        self.addCleanup(self.held.unlink, missing_ok=True)

    def words(self, *volumes: str) -> list[str]:
        found = ['backup', 'create']
        for volume in volumes:
            found += ['--volume', volume]
        return found

    def check(self, code: int, *words: Any) -> list[JSON]:
        return list(self.answer('backup', 'check', *words, code=code))

    def backups(self, volume: str) -> list[JSON]:
        """All that were ever asked for, the oldest first."""
        return self.practice.sql(
            'cinder',
            'SELECT * FROM backups WHERE volume_id = %s'
            ' ORDER BY data_timestamp, id',
            [volume],
        )

    def creating(self) -> list[JSON]:
        return self.practice.sql(
            'cinder', "SELECT id FROM backups WHERE status = 'creating'"
        )

    def change(self, backup: str, what: str, *values: Any) -> None:
        self.practice.sql(
            'cinder',
            f'UPDATE backups SET {what} WHERE id = %s',
            [*values, backup],
        )

    def test_from_none_to_a_chain(self) -> None:
        """A volume in use: no backup, a full one, an incremental one."""
        (row,) = self.check(4, '--server', SERVER)
        self.assertEqual(
            ('in-use', SERVER, '', '', 'no backup'),
            tuple(
                row[name]
                for name in ('Status', 'Servers', 'Newest Good', 'Age', 'Why')
            ),
        )
        volume, create = row['Volume'], ['backup', 'create']
        ended = self.done(*create, '--server', SERVER, '--yes', code=3)
        self.assertIn('not-in-use', ended.stderr)
        self.assertEqual([], self.backups(volume))

        ended = self.done(*create, '--server', SERVER, '--force', '--yes')
        self.assertIn('crash-consistent only', ended.stderr)
        (full,) = self.backups(volume)
        self.assertEqual('available', full['status'])
        self.assertIn(self.newest_run(), full['display_name'])
        self.assertEqual([], self.check(0, '--server', SERVER))
        ended = self.done('run', 'undo', self.newest_run(), '--yes', code=4)
        self.assertIn('openstack volume backup delete', ended.stdout)

        self.change(
            full['id'], 'data_timestamp = data_timestamp - INTERVAL 8 DAY'
        )
        (row,) = self.check(4, '--server', SERVER)
        self.assertEqual(
            (full['id'], 'older than 7d'), (row['Newest Good'], row['Why'])
        )
        self.assertTrue(row['Age'].startswith('8d'), row['Age'])
        self.check(0, '--server', SERVER, '--older-than', '9')

        words = [*create, '--server', SERVER, '--force', '--incremental']
        self.done(*words, '--yes')
        _, second = self.backups(volume)
        self.assertEqual(
            ('available', full['id']), (second['status'], second['parent_id'])
        )
        self.assertEqual([], self.check(0, '--server', SERVER))

        # the chain breaks below: both are lost, and the next one is full
        self.change(full['id'], "status = 'error_deleting'")
        (row,) = self.check(4, '--server', SERVER)
        self.assertIn(f'{full["id"]} is error_deleting', row['Why'])
        self.assertEqual('', row['Newest Good'])
        self.done(*words, '--yes')
        self.assertIsNone(self.backups(volume)[-1]['parent_id'])
        self.assertEqual([], self.check(0, '--server', SERVER))

    def test_one_that_fails(self) -> None:
        """It is named with cinder's reason, and not asked for again."""
        good, bad = self.new_volumes('good', 'bad')
        self.make_fail(bad)
        create = self.words(good, bad)
        rows = self.answer(*create, '--yes', code=4)
        said = {row['ID']: (row['Outcome'], row['Detail']) for row in rows}
        self.assertEqual('done', said[good][0])
        self.assertEqual('failed', said[bad][0])
        self.assertIn('no room left', said[bad][1])
        project = self.practice.connection('demo').current_project_id
        why = {
            row['Volume']: row['Why']
            for row in self.check(4, '--project', project)
        }
        self.assertNotIn(good, why)
        self.assertIn('is error: ', why[bad])
        self.done('run', 'resume', self.newest_run(), '--yes', code=4)
        self.assertEqual(1, len(self.backups(bad)))

    def test_a_service_that_is_down(self) -> None:
        (volume,) = self.new_volumes('alone')
        for name, where in (
            ('cinder-backup', 'volumes'),
            ('cinder-volume', 'volumes@iscsi'),
        ):
            self.stop_service(name)
            # it was last seen longer ago than it takes
            self.practice.sql(
                'cinder',
                'UPDATE services SET updated_at = updated_at - INTERVAL 1 DAY'
                ' WHERE `binary` = %s',
                [name],
            )
            ended = self.done(*self.words(volume), '--yes', code=3)
            self.assertIn(where, ended.stderr)
            self.assertIn('Refused by', ended.stderr)
            self.practice.start(name)
        self.assertEqual([], self.backups(volume))

    def test_killed_and_an_answer_lost(self) -> None:
        """After it was sent, while it waits; a proxy that says 504."""
        lost, *volumes = self.new_volumes(
            'lost', '1-sent', '2-kept', '3-waiting'
        )
        path = self.plan(*self.words(*volumes))['file']
        run_id = killing.create_run(
            f'sqlite:///{self.journal}', planfile.load(str(path))
        )
        noted, held = self.home / 'points', self.held
        deadly = {
            f'volume:{volume}': {f'create-backup: {point}'}
            for volume, point in pairs(
                volumes,
                ('sent backup of volume ', 'journal sent', 'journal sent'),
            )
        }
        for volume in volumes:
            if volume == volumes[-1]:
                # only this one, for the others are waited for
                self.wait_for(lambda: not self.creating(), 'the others')
                self.hold()
            pid = world.start(
                lambda: killing.carry_out(
                    self.conf_file, run_id, 1, Watch(noted, deadly)
                )
            )
            self.assertEqual(-9, world.ended(pid, 60))
            (row,) = self.backups(volume)
        self.assertEqual('creating', row['status'])
        held.unlink()
        self.done('run', 'resume', run_id, '--yes')
        for volume in volumes:
            (row,) = self.backups(volume)
            self.assertEqual('available', row['status'])

        between = GatewayTimeoutProxy(self.practice.config.port('cinder-api'))
        self.addCleanup(between.close)
        project = self.admin.current_project_id
        self.useFixture(
            fixtures.EnvironmentVariable(
                'OS_BLOCK_STORAGE_ENDPOINT_OVERRIDE',
                f'http://127.0.0.1:{between.port}/v3/{project}',
            )
        )
        between.lose_next('POST', '/backups')
        self.done(*self.words(lost), '--yes')
        posts = [path for method, path in between.requests if method == 'POST']
        self.assertEqual(1, len(posts))
        self.assertEqual(1, len(self.backups(lost)))

    def test_wrong_words_and_rights(self) -> None:
        (volume,) = self.new_volumes('somebodys')
        for code, words in (
            (2, ['check', '--older-than', 'soon']),
            (2, ['check', '--project', 'a', '--host', 'b']),
            (1, ['check', '--project', 'no-such-project']),
            (1, ['check', '--host', 'host']),
            (1, ['check', '--server', 'no-such-server']),
            (1, ['create', '--volume', 'no-such-volume']),
            (2, ['create', '--volume', volume, '--host', 'host1']),
            (1, ['create', '--volume', str(uuid.uuid4())]),
            (2, ['create', '--limit', '0']),
        ):  # fmt: skip
            ended = self.recovery('backup', *words)
            self.assertEqual(code, ended.code, f'{words} {ended.stderr}')
        self.log_in('demo')
        ended = self.done(*self.words(volume), '--yes', code=3)
        self.assertIn('cinder-answers', ended.stderr)
        self.assertEqual([], self.backups(volume))
        self.stop_service('mariadb')
        ended = self.done('backup', 'check', code=1)
        self.assertIn('unavailable', ended.stderr)
