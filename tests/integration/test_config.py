# SPDX-License-Identifier: Apache-2.0

"""``recovery config …`` against real databases, in both programs."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import fixtures

from nova_recovery.cli.config import CheckConfig, GrantConfig, ShowConfig
from nova_recovery.cloud.db import cells
from tests.base import TestCase
from tests.integration import dbserver
from tests.integration.dbserver import Rows
from tests.unit.cli.programs import Ended, Standalone, UnifiedClient

CELL1 = '11111111-1111-4111-8111-111111111111'
CELL2 = '22222222-2222-4222-8222-222222222222'


class ConfigTestCase(TestCase):
    commands = {
        'config show': ShowConfig,
        'config check': CheckConfig,
        'config grants': GrantConfig,
    }

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        for name, schema in (
            ('conf_api', 'nova34-nova_api'),
            ('conf_nova', 'nova34-nova'),
            ('conf_cinder', 'nova34-cinder'),
        ):
            dbserver.load(name, schema)

    def setUp(self) -> None:
        super().setUp()
        self.server = dbserver.shared()
        self.server.sql('conf_api', 'DELETE FROM cell_mappings')
        rows = Rows('conf_api')
        for uuid, name, url in (
            (cells.CELL0, 'cell0', 'none:///'),
            (CELL1, 'cell1', self.server.url('conf_nova', 'reader')),
        ):
            rows.add(
                'cell_mappings',
                uuid=uuid,
                name=name,
                database_connection=url,
                transport_url='none:///',
                disabled=0,
            )
        rows.close()
        self.nova, self.cinder, self.ours = self.create_tempfiles(
            [
                (
                    'nova',
                    '[api_database]\n'
                    f'connection = {self.server.url("conf_api")}\n',
                ),
                (
                    'cinder',
                    '[database]\n'
                    f'connection = {self.server.url("conf_cinder")}\n',
                ),
                ('ours', '[journal]\nconnection = mysql://j:practice@db9/j\n'),
            ]
        )

    def run_command(self, words: str) -> Ended:
        ended = self.run_program(
            f'{words} --nova-config-file {self.nova}'
            f' --cinder-config-file {self.cinder}'
            f' --recovery-config-file {self.ours}'
        )
        self.assertNotIn('practice', ended.stdout + ended.stderr)
        self.assertNotIn('Traceback', ended.stderr)
        return ended

    def run_program(self, argv: str) -> Ended:
        raise NotImplementedError

    def check(self, **kept: str) -> tuple[int, dict[str, dict[str, Any]]]:
        """The exit code, and the rows by what they are of.

        :param kept: where the journal and snapshots are
        """
        home = self.useFixture(fixtures.TempDir()).path
        kept = {
            'journal': f'sqlite:///{home}/journal.sqlite',
            'snapshots': f'{home}/snapshots',
            **kept,
        }
        pathlib.Path(self.ours).write_text(
            f'[journal]\nconnection = {kept["journal"]}\n'
            f'[snapshot]\ndirectory = {kept["snapshots"]}\n'
        )
        ended = self.run_command('config check --no-api -f json')
        return ended.code, {
            row['What']: row for row in json.loads(ended.stdout)
        }


class Behaviour:
    """What both programs do."""

    def test_show_tells_files_and_masks_secrets(self) -> None:
        ended = self.run_command('config show -f json')
        self.assertEqual(0, ended.code, ended.stderr)
        rows = {
            (row['File'], row['Option']): row
            for row in json.loads(ended.stdout)
        }
        self.assertEqual(self.nova, rows['nova.conf', 'files']['Value'])
        api = rows['nova.conf', '[api_database] connection']
        self.assertIn('nova:***@127.0.0.1', api['Value'])
        self.assertEqual(self.nova, api['From'])
        journal = rows['nova-recovery.conf', '[journal] connection']
        self.assertEqual('mysql://j:***@db9/j', journal['Value'])
        self.assertEqual(
            '', rows['nova-recovery.conf', '[runner] workers']['From']
        )

    def test_all_is_well(self) -> None:
        code, found = self.check()
        self.assertEqual(0, code)
        self.assertEqual(
            ['nova.conf', 'API database', 'cell cell1', 'cinder.conf',
             'cinder database', 'bus cell1', 'bus nova', 'bus cinder',
             'journal', 'snapshots', 'nova-recovery.conf', 'hosts'],
            list(found),
        )  # fmt: skip
        self.assertEqual(
            {'ok', 'unused'}, {row['State'] for row in found.values()}
        )
        self.assertEqual('reader', found['cell cell1']['User'])
        self.assertIn('planning only', found['cell cell1']['Rights'])
        self.assertIn('UPDATE instances', found['cell cell1']['Rights'])
        self.assertRegex(found['cell cell1']['Clock'], r'^[+-][01] s$')

    def test_where_things_are_kept(self) -> None:
        home = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        (home / 'file').touch()
        (home / 'open').mkdir()
        (home / 'open').chmod(0o755)
        code, found = self.check(
            journal='mysql://j:practice@127.0.0.1:1/j',
            snapshots=f'{home}/file/snapshots',
        )
        self.assertEqual(1, code)
        self.assertEqual('unknown', found['journal']['State'])
        self.assertEqual('wrong', found['snapshots']['State'])
        code, found = self.check(
            journal=f'{self.server.url("conf_nova")}', snapshots=f'{home}/open'
        )
        self.assertEqual(1, code)
        self.assertIn(
            'innodb_flush_log_at_trx_commit=0', found['journal']['Detail']
        )
        self.assertEqual('warning', found['snapshots']['State'])
        self.assertEqual(f'chmod o-rwx {home}/open', found['snapshots']['Fix'])

    def test_passwords_that_all_may_read(self) -> None:
        os.chmod(self.nova, 0o644)
        code, found = self.check()
        self.assertEqual(0, code)
        self.assertEqual('warning', found['nova.conf']['State'])
        self.assertEqual(f'chmod o-rwx {self.nova}', found['nova.conf']['Fix'])
        self.assertEqual('ok', found['cinder.conf']['State'])

    def test_a_cell_that_is_down(self) -> None:
        self.add_cell2('mysql+pymysql://nova:practice@127.0.0.1:1/nova')
        code, found = self.check()
        self.assertEqual(1, code)
        self.assertEqual('unknown', found['cell cell2']['State'])
        self.assertEqual('ok', found['cell cell1']['State'])

    def test_a_disabled_cell(self) -> None:
        self.add_cell2(self.server.url('conf_nova'), disabled=1)
        code, found = self.check()
        self.assertEqual(0, code)
        self.assertEqual('unused', found['cell cell2']['State'])

    def test_a_cell_that_is_no_cell(self) -> None:
        self.server.create_database('conf_empty')
        self.add_cell2(self.server.url('conf_empty'))
        code, found = self.check()
        self.assertEqual(1, code)
        self.assertEqual('wrong', found['cell cell2']['State'])

    def test_the_api_database_is_down(self) -> None:
        with open(self.nova, 'w') as stream:
            stream.write(
                '[api_database]\n'
                'connection = mysql://nova:practice@127.0.0.1:1/nova_api\n'
            )
        code, found = self.check()
        self.assertEqual(1, code)
        self.assertEqual('unknown', found['cells']['State'])
        self.assertEqual('ok', found['cinder database']['State'])

    def test_a_configuration_that_leads_to_no_cells(self) -> None:
        with open(self.nova, 'w') as stream:
            stream.write('[DEFAULT]\nhost = np-rcc4\n')
        code, found = self.check()
        self.assertEqual(1, code)
        self.assertIn('--nova-config-file', found['cells']['Detail'])

    def test_an_api_without_credentials_is_unknown(self) -> None:
        ended = self.run_command('config check -f json')
        self.assertEqual(1, ended.code)
        apis = [
            row
            for row in json.loads(ended.stdout)
            if row['What'].endswith(' API')
        ]
        self.assertEqual(6, len(apis))
        for api in apis:
            self.assertEqual('unknown', api['State'])
            self.assertIn('credentials are missing', api['Detail'])

    def test_the_printed_grants_are_enough(self) -> None:
        ended = self.run_command('config grants --user least')
        self.assertEqual(0, ended.code, ended.stderr)
        self.server.sql(None, "CREATE OR REPLACE USER least@'%'")
        for line in ended.stdout.splitlines():
            if not line.startswith('--'):
                self.server.sql(None, line)
        self.server.sql(
            'conf_api',
            'UPDATE cell_mappings SET database_connection = %s'
            ' WHERE uuid = %s',
            [
                f'mysql+pymysql://least:@127.0.0.1:{self.server.port}'
                '/conf_nova',
                CELL1,
            ],
        )
        _code, found = self.check()
        self.assertEqual('least', found['cell cell1']['User'])
        self.assertEqual('all that is needed', found['cell cell1']['Rights'])

    def test_grants_for_planning_read_only(self) -> None:
        ended = self.run_command('config grants --planning')
        statements = [
            line
            for line in ended.stdout.splitlines()
            if not line.startswith('--')
        ]
        self.assertEqual(3, len(statements))
        for statement in statements:
            self.assertRegex(statement, r'^GRANT SELECT ON `conf\\_')

    def test_a_user_with_a_quote(self) -> None:
        ended = self.run_command("config grants --user x'y")
        self.assertEqual(2, ended.code)

    def add_cell2(self, url: str, disabled: int = 0) -> None:
        rows = Rows('conf_api')
        rows.add(
            'cell_mappings',
            uuid=CELL2,
            name='cell2',
            database_connection=url,
            transport_url='none:///',
            disabled=disabled,
        )
        rows.close()


class TestStandalone(Standalone, Behaviour, ConfigTestCase):
    """As nova-recovery."""


class TestUnifiedClient(UnifiedClient, Behaviour, ConfigTestCase):
    """As openstack recovery."""
