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

"""``disaster apply`` as it is typed on clouds from before Queens."""

from __future__ import annotations

import pathlib
from typing import ClassVar

import fixtures

from tests.functional import dbserver
from tests.functional import old_volumes
from tests.unit.cli import programs


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

    def done(self, *words: str) -> programs.Ended:
        from nova_recovery import shell

        ended = programs.run(
            self,
            shell.Shell,
            '',
            [*words, '--recovery-config-file', str(self.conf)],
        )
        self.assertEqual(0, ended.code, ended.stderr)
        return ended

    def test_record_and_clean(self) -> None:
        ended = self.done(
            'disaster', 'apply', '--since', '2014-11-22T14:49',
            '--override', 'dump-named=it is on tape', '--yes',
        )  # fmt: skip
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

    def test_a_second_time_there_is_nothing_to_do(self) -> None:
        words = (
            'disaster', 'apply', '--since', '2014-11-22T14:49',
            '--override', 'dump-named=it is on tape', '--yes',
        )  # fmt: skip
        self.done(*words)
        before = self.everything()
        self.assertIn('Nothing to do', self.done(*words).stderr)
        self.assertEqual(before, self.everything())


class EssexTest(Cases, old_volumes.OldVolumes):
    layout = 'L0'
    nova_schema = 'old-essex-nova'
    server_column = 'instance_id'


class FolsomTest(Cases, old_volumes.OldVolumes):
    layout = 'L1'
    nova_schema = 'old-folsom-nova'
    cinder_schema = 'old-folsom-cinder'


class JunoTest(Cases, old_volumes.OldVolumes):
    layout = 'L1'
    nova_schema = 'old-juno-nova'
    cinder_schema = 'old-juno-cinder'


class KiloTest(Cases, old_volumes.OldVolumes):
    layout = 'M1'
    nova_schema = 'old-kilo-nova'
    cinder_schema = 'old-kilo-cinder'
