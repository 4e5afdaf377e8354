# SPDX-License-Identifier: Apache-2.0

"""Is the site ready for guests? Asked of the practice cloud."""

from __future__ import annotations

from concurrent import futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import time
from typing import Any

from nova_recovery import readiness
from tests.cloud import mariadb, process, services
from tests.functional.base import FunctionalTest

JSON = dict[str, Any]

#: What is killed, and the only rows that may be red then.
STOPPED = (
    (('placement',), {'placement/placement API'}),
    (('neutron-api',), {'network/neutron API'}),
    (('nova-api',), {'control/nova-api'}),
    (('nova-conductor',), {'control/nova-conductor'}),
    # of one layer, and none needs another
    (
        ('cinder-scheduler', 'glance-api', 'nova-scheduler'),
        {
            'control/cinder-scheduler',
            'control/glance-api',
            'control/nova-scheduler',
        },
    ),
    (('cinder-volume',), {'volume/volumes@iscsi', 'volume/volumes@rbd'}),
    (('nova-compute-host2',), {'compute/host2'}),
    (('keystone',), {'keystone/tokens'}),
    (('rabbitmq',), {'bus/broker cell1, nova, cinder'}),
    (('mariadb',), {'database/API, cinder'}),
)

#: Seconds in which there is a screen, whatever is dead; with the start of
#: the client.
PATIENCE = 15


class ReadinessTest(FunctionalTest):
    """What ``disaster assess --ready`` says."""

    def setUp(self) -> None:
        super().setUp()
        # whatever other tests did to servers just now
        self.configure(disaster__quiet=0)

    def ready(self, *words: Any) -> tuple[int, list[JSON]]:
        """The exit code and the rows."""
        began = time.monotonic()
        ended = self.recovery(
            'disaster', 'assess', '--ready', *words, '-f', 'json'
        )
        self.assertLess(time.monotonic() - began, PATIENCE, ended.stderr)
        self.assertNotIn('Traceback', ended.stderr)
        self.assertIn(ended.code, (0, 3), ended.stderr)
        for secret in (
            self.practice.config.admin_password,
            self.practice.config.transport_url.split('@')[0],
            self.practice.database_url('nova').split('@')[0],
        ):
            self.assertNotIn(secret, ended.stdout + ended.stderr)
        return ended.code, json.loads(ended.stdout)

    def red(self, *words: Any) -> dict[str, JSON]:
        """What is not ready, by ``layer/subject``."""
        code, rows = self.ready(*words)
        found = {
            f'{row["Layer"]}/{row["Subject"]}': row
            for row in rows
            if row['State'] in ('no-go', 'unknown')
        }
        self.assertEqual(3 if found else 0, code, rows)
        for row in found.values():
            self.assertTrue(row['Observed'], row)
            self.assertTrue(row['Expected'], row)
            self.assertTrue(row['Mend'], row)
        return found

    def snapshot(self, *words: Any) -> pathlib.Path:
        path = self.home / f'{len(list(self.home.iterdir()))}.snapshot'
        self.done('snapshot', 'create', '--file', path, *words)
        return path

    def start(self, *names: str) -> None:
        with futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(self.practice.start, names))

    def when_all_is_go(self, *words: Any) -> None:
        """Wait for heartbeats of what was just started."""
        self.wait_for(
            lambda: not self.red(*words), 'the practice cloud to be ready', 90
        )


class TestPracticeCloud(ReadinessTest):
    def test_monitoring_is_told_in_one_line(self) -> None:
        for words in (
            ('disaster', 'assess', '--ready'),
            ('config', 'check'),
            ('backup', 'check', '--older-than', '0'),
        ):
            ended = self.recovery(*words, '--monitoring')
            self.assertEqual(1, ended.stdout.count('\n'), ended.stdout)
            word = ended.stdout.split(' - ')[0]
            self.assertEqual(
                word, ('OK', 'WARNING', 'CRITICAL', 'UNKNOWN')[ended.code]
            )
            self.assertIn(' | danger=', ended.stdout)

    def test_each_layer_that_is_stopped_turns_exactly_its_row_red(
        self,
    ) -> None:
        snapshot = self.snapshot()
        self.when_all_is_go('--snapshot', snapshot)
        _, rows = self.ready('--snapshot', snapshot)
        self.assertEqual(
            set(readiness.LAYERS) - {'hosts', 'local'},
            {row['Layer'] for row in rows},
        )
        for names, expected in STOPPED:
            with self.subTest(names):
                for name in names:
                    self.practice.kill(name)
                try:
                    self.assertEqual(
                        expected, set(self.red('--snapshot', snapshot))
                    )
                finally:
                    self.start(*names)
                    self.when_all_is_go('--snapshot', snapshot)

    def test_a_database_that_is_read_only(self) -> None:
        self.addCleanup(
            self.practice.sql, 'mysql', 'SET GLOBAL read_only = OFF'
        )
        self.practice.sql('mysql', 'SET GLOBAL read_only = ON')
        red = self.red()
        self.assertIn('database/API, cell1, cinder', red)
        row = red['database/API, cell1, cinder']
        self.assertIn('read_only = ON', row['Observed'])
        self.assertIn('SET GLOBAL read_only = OFF', row['Mend'])

    def test_the_disks_of_the_host_itself(self) -> None:
        instances = self.practice.config.var / 'nova' / 'instances'
        instances.mkdir(exist_ok=True)
        self.addCleanup(shutil.rmtree, instances, ignore_errors=True)
        snapshot = self.snapshot('--local')
        words = ('--local', '--snapshot', snapshot)
        self.when_all_is_go(*words)
        _, rows = self.ready(*words)
        seen = {
            row['Subject']: row['Observed']
            for row in rows
            if row['Layer'] == 'local'
        }
        self.assertIn(str(instances), seen['instances_path'])
        instances.rmdir()
        self.assertEqual({'local/instances_path'}, set(self.red(*words)))


class TestAge(ReadinessTest):
    def test_a_database_restored_from_an_older_dump(self) -> None:
        server = self.create_server('aged', host='host2')
        old = self._copies('nova', 'cinder')
        # something happens after the dump, and the snapshot knows
        self.admin.compute.stop_server(server.id)
        self.admin.compute.wait_for_server(server, 'SHUTOFF', wait=60)
        volume = self.admin.block_storage.create_volume(size=1, name='aged')
        self.addCleanup(self.admin.block_storage.delete_volume, volume)
        self.admin.block_storage.wait_for_status(volume, 'available', wait=60)
        snapshot = self.snapshot()
        self.assertEqual({}, self.red('--snapshot', snapshot))

        self.configure(
            disaster__quiet=0,
            cells__connection=f'cell1={self.practice.database_url(old[0])}',
            DEFAULT__cinder_config_file=self._cinder_conf(old[1]),
        )
        red = self.red('--snapshot', snapshot)
        for name, tables in (
            ('age/cell1', ('instance_actions', 'services.report_count')),
            ('age/cinder', ('volumes',)),
        ):
            self.assertIn(name, red)
            self.assertEqual('no-go', red[name]['State'])
            self.assertIn('older than the snapshot', red[name]['Observed'])
            for table in tables:
                self.assertIn(table, red[name]['Observed'])
        # by their numbers, then and now
        seen = re.search(
            r'instance_actions id (\d+), (\d+) in the snapshot',
            red['age/cell1']['Observed'],
        )
        assert seen is not None
        self.assertLess(int(seen[1]), int(seen[2]))
        highest = self.practice.sql(
            'nova', 'SELECT max(id) AS id FROM instance_actions'
        )[0]['id']
        self.assertEqual(highest, int(seen[2]))

    def test_without_a_snapshot_it_does_not_block(self) -> None:
        _, rows = self.ready()
        (age,) = [row for row in rows if row['Layer'] == 'age']
        self.assertEqual('go', age['State'])
        self.assertIn('no snapshot', age['Observed'])

    def _copies(self, *names: str) -> list[str]:
        """Dump databases and restore them under other names."""
        database = self.practice.database
        made = []
        for name in names:
            copy, dump = f'{name}_old', self.home / f'{name}.sql'
            with open(dump, 'wb') as output:
                subprocess.run(
                    [
                        process.program('mariadb-dump', 'mariadb-client'),
                        '--no-defaults',
                        *database.client_options,
                        '--single-transaction',
                        name,
                    ],
                    stdout=output,
                    env={**os.environ, 'MYSQL_PWD': mariadb.ACCOUNTS['root']},
                    check=True,
                )
            self.addCleanup(
                database.sql, None, f'DROP DATABASE IF EXISTS {copy}'
            )
            database.load(copy, dump)
            made.append(copy)
        return made

    def _cinder_conf(self, database: str) -> pathlib.Path:
        """cinder.conf with another database."""
        path = self.home / 'cinder.conf'
        path.write_text(
            re.sub(
                r'/cinder\?',
                f'/{database}?',
                pathlib.Path(self.practice.cinder_config_file()).read_text(),
            )
        )
        return path


class TestQueues(ReadinessTest):
    def test_what_waits_for_a_dead_host_is_purged_by_name(self) -> None:
        two, three = self.create_servers(
            {'two': {'host': 'host2'}, 'three': {'host': 'host3'}}
        )
        self.addCleanup(self._settle, [two.id, three.id])
        for host in ('host2', 'host3'):
            self.kill_compute(host)
        for server in (two, three):
            # nova takes both for alive: the request is accepted, and waits
            self.admin.compute.reboot_server(server.id, 'HARD')
        self.wait_for(
            lambda: self._depth('host2') and self._depth('host3'),
            'the requests to wait in the queues',
        )
        red = self.red()
        for host in ('host2', 'host3'):
            row = red[f'bus/queue compute.{host}']
            self.assertIn('1 messages wait', row['Observed'])
            self.assertIn('--purge', row['Mend'])

        purge = ('disaster', 'assess', '--ready', '--purge', '--yes')
        refused = self.recovery(*purge, '--host', 'host2')
        self.assertEqual(3, refused.code, refused.stderr)
        self.assertIn('host-down', refused.stderr)
        self.assertEqual(1, self._depth('host2'))

        dry = (*purge[:-1], '--host', 'host2', '--dry-run')
        self.wait_for(
            lambda: self.recovery(*dry).code == 0, 'host2 to be down'
        )
        self.assertIn('There is no way back', self.recovery(*dry).stderr)
        self.assertEqual(1, self._depth('host2'))

        purged = self.recovery(*purge, '--host', 'host2', '-f', 'json')
        self.assertIn('1 messages thrown away', purged.stderr)
        self.assertFalse(
            [
                row
                for row in json.loads(purged.stdout)
                if row['Subject'] == 'queue compute.host2'
                and 'wait' in row['Observed']
            ]
        )
        self.assertEqual(0, self._depth('host2'))
        self.assertEqual(1, self._depth('host3'))
        run = self.newest_run()
        report = self.done('run', 'report', run).stdout
        self.assertIn('compute.host2', report)
        self.assertNotIn('compute.host3', report)
        undone = self.recovery('run', 'undo', run, '--yes')
        self.assertNotEqual(0, undone.code)
        self.assertIn('is gone', undone.stderr)

    def test_without_a_dead_host_there_is_nothing_to_purge(self) -> None:
        ended = self.done('disaster', 'assess', '--ready', '--purge', '--yes')
        self.assertIn('nothing', ended.stderr.lower())

    def _depth(self, host: str) -> int | None:
        return self.practice.queue_depth(f'compute.{host}')

    def _settle(self, servers: list[str]) -> None:
        """Wait for what the computes do with half-done reboots."""
        self.practice.purge_queue('compute.host3')
        self.start(*(services.compute(host) for host in ('host2', 'host3')))
        for server in servers:
            self.wait_for(
                lambda server=server: (
                    not self.admin.compute.get_server(server).task_state
                ),
                f'server {server} to settle',
                90,
            )
