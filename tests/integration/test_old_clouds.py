# SPDX-License-Identifier: Apache-2.0

"""Clouds of the page's time: the plan, and the SQL to be run by hand."""

from __future__ import annotations

import json
import pathlib
from typing import ClassVar

import fixtures

from tests.base import TestCase
from tests.integration import dbserver
from tests.integration.dbserver import Rows
from tests.unit.cli import programs
from tests.unit.cli.programs import Ended

SERVER = '3f57699a-e773-4650-a443-b4b37eed5a06'
BESIDE = '3f57699a-e773-4650-a443-b4b37eed5a07'
ON = 'old_nova'


class OldCloudTest(TestCase):
    """No cells, no placement, no Keystone: a database and nova.conf."""

    commands: ClassVar[dict[str, type]] = {}
    schema: ClassVar[str]

    def setUp(self) -> None:
        super().setUp()
        home = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        for name in ('OS_CLOUD', 'OS_AUTH_URL', 'NOVA_RECOVERY_CONFIG_FILE'):
            self.useFixture(fixtures.EnvironmentVariable(name))
        (home / 'nova.conf').write_text(
            '[DEFAULT]\nreport_interval = 1\nservice_down_time = 2\n'
            f'[database]\nconnection = {dbserver.shared().url(ON, "reader")}\n'
        )
        self.conf = home / 'nova-recovery.conf'
        self.conf.write_text(
            f'[DEFAULT]\nnova_config_file = {home}/nova.conf\n'
            f'[journal]\nconnection = sqlite:///{home}/journal.sqlite\n'
        )

    def cloud(self, schema: str) -> None:
        """Two computes, one of which is dead, and a server on each."""
        dbserver.load(ON, schema)
        rows = Rows(ON)
        for number, host in enumerate(('np-rcc54', 'np-rcc46'), 1):
            rows.add(
                'services',
                id=number,
                host=host,
                binary='nova-compute',
                topic='compute',
                report_count=41,
                disabled=0,
                deleted=0,
            )
            rows.add(
                'compute_nodes',
                id=number,
                host=host,
                hypervisor_hostname=host,
                service_id=number,
                hypervisor_type='QEMU',
                host_ip=f'192.0.2.{number}',
                deleted=0,
                **dict.fromkeys(
                    (
                        *('vcpus', 'memory_mb', 'local_gb', 'vcpus_used'),
                        *('memory_mb_used', 'local_gb_used'),
                        *('hypervisor_version', 'cpu_info'),
                    ),
                    0,
                ),
            )
        rows.add_server(SERVER, 'np-rcc54', 'at3-ui02')
        rows.add_server(BESIDE, 'np-rcc5', 'at3-ui03')
        rows.close()

    def run_program(self, *words: str) -> Ended:
        from nova_recovery.shell import Shell

        return programs.run(
            self, Shell, '', [*words, '--recovery-config-file', str(self.conf)]
        )

    def check(self, schema: str) -> None:
        """The printed SQL moves the one server; we would not run it."""
        self.cloud(schema)
        ended = self.run_program('server', 'list')
        self.assertEqual(2, ended.code)
        self.assertIn('  np-rcc54  down', ended.stderr)
        words = (
            *('host', 'recover', 'np-rcc54', '--method', 'move'),
            *('--target-host', 'np-rcc46', '--fenced', 'switched off'),
            '--shared-storage',
        )
        ended = self.run_program(*words, '--sql', '-f', 'json')
        self.assertEqual(0, ended.code, ended.stderr)
        statements = [row['SQL'] for row in json.loads(ended.stdout)]
        self.assertEqual('BEGIN;', statements[0])
        self.assertEqual('COMMIT;', statements[-1])
        for statement in statements[1:-1]:
            # As PyMySQL would be given it: no percent sign is a parameter.
            dbserver.shared().sql(ON, statement.replace('%', '%%').rstrip(';'))
        hosts = {
            row['uuid']: row['host']
            for row in dbserver.shared().sql(
                ON, 'SELECT uuid, host FROM instances'
            )
        }
        self.assertEqual({SERVER: 'np-rcc46', BESIDE: 'np-rcc5'}, hosts)

        self.cloud(schema)
        ended = self.run_program(*words, '--yes')
        self.assertEqual(3, ended.code)
        self.assertIn('schema-modern', ended.stderr)
        self.assertIn('--sql', ended.stderr)

    def test_essex(self) -> None:
        self.check('old-essex-nova')

    def test_folsom(self) -> None:
        self.check('old-folsom-nova')

    def test_juno(self) -> None:
        self.check('old-juno-nova')

    def test_kilo(self) -> None:
        self.check('old-kilo-nova')
