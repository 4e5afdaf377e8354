# SPDX-License-Identifier: Apache-2.0

"""``disaster apply`` as it is typed on clouds from before Queens."""

from __future__ import annotations

import pathlib
from typing import ClassVar

import fixtures

from tests.integration import dbserver
from tests.integration.old_volumes import OldVolumes
from tests.unit.cli import programs
from tests.unit.cli.programs import Ended


class Cases:
    """The record and the guide's UPDATE, and nothing that asks an API."""

    commands: ClassVar[dict[str, type]] = {}

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        for name in ('OS_CLOUD', 'OS_AUTH_URL', 'NOVA_RECOVERY_CONFIG_FILE'):
            self.useFixture(fixtures.EnvironmentVariable(name))
        server = dbserver.shared()
        (self.home / 'nova.conf').write_text(
            f'[database]\nconnection = {server.url(self.nova, "nova")}\n'
        )
        conf = (
            f'[DEFAULT]\nnova_config_file = {self.home}/nova.conf\n'
            f'[journal]\nconnection = sqlite:///{self.home}/typed.sqlite\n'
            f'[snapshot]\ndirectory = {self.home}/snapshots\n'
        )
        if self.cinder_schema:
            (self.home / 'cinder.conf').write_text(
                f'[database]\nconnection = {server.url(self.cinder, "nova")}\n'
            )
            conf = conf.replace(
                '[journal]',
                f'cinder_config_file = {self.home}/cinder.conf\n[journal]',
            )
        self.conf = self.home / 'nova-recovery.conf'
        self.conf.write_text(conf)
        # silent since the power went
        self.nova_rows.sql('DELETE FROM services')
        self.service = self.nova_rows.add(
            'services',
            host='host1',
            binary='nova-compute',
            topic='compute',
            report_count=7,
            disabled=0,
            deleted=0,
            created_at='2014-10-01 12:00:00',
            updated_at='2014-11-22 14:48:00',
        )

    def typed(self, *words: str) -> Ended:
        from nova_recovery.shell import Shell

        return programs.run(
            self,
            Shell,
            '',
            [
                'disaster', 'apply', '--since', '2014-11-22T14:49',
                '--override', 'dump-named=it is on tape', '--yes', *words,
                '--recovery-config-file', str(self.conf),
            ],
        )  # fmt: skip

    def done(self, *words: str) -> Ended:
        ended = self.typed(*words)
        self.assertEqual(0, ended.code, ended.stderr)
        return ended

    def test_record_and_clean(self) -> None:
        ended = self.done()
        self.assertIn('from before Queens', ended.stderr)
        self.assertIn('to be rebooted by hand', ended.stdout)
        after = self.everything()['volumes']
        for one in self.eligible():
            self.assertEqual('available', after[one]['status'])
        (map_file,) = pathlib.Path(self.home / 'snapshots').glob('*.map')
        mapped = {line.split()[0] for line in map_file.open()}
        # what was mapped, and nobody can attach again without the file
        self.assertIn(str(self.id_of('in-use web')), mapped)
        self.assertNotIn(str(self.id_of('root')), mapped)

    def test_a_host_that_kept_its_power(self) -> None:
        """Its guests run on, so their volumes stay theirs."""
        self.nova_rows.sql(
            'UPDATE services SET updated_at = UTC_TIMESTAMP() WHERE id = %s',
            [self.service],
        )
        before = self.everything()
        ended = self.typed()
        self.assertEqual(3, ended.code, ended.stderr)
        self.assertIn('hosts-off', ended.stderr)
        self.assertEqual(before, self.everything())
        self.done('--skip-host', 'host1=it runs')
        after = self.everything()
        self.assertEqual(
            before['block_device_mapping'], after['block_device_mapping']
        )
        for one in (self.id_of('in-use web'), self.id_of('unmapped')):
            self.assertEqual(before['volumes'][one], after['volumes'][one])

    def test_a_second_time_there_is_nothing_to_do(self) -> None:
        self.done()
        before = self.everything()
        self.assertIn('Nothing to do', self.done().stderr)
        self.assertEqual(before, self.everything())


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


class KiloTest(Cases, OldVolumes):
    layout = 'M1'
    nova_schema = 'old-kilo-nova'
    cinder_schema = 'old-kilo-cinder'
