# SPDX-License-Identifier: Apache-2.0

"""Which images are opened, as what, and what comes of it."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import fixtures

from nova_recovery.host.agent import check, images, lvm, programs
from tests.base import TestCase


class Images(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.top = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.folder = self.top / 'uuid-1'
        self.folder.mkdir()
        for name in ('disk', 'disk.raw', 'disk.other'):
            (self.folder / name).write_text('x')
        self.known = {
            # as nova has it in its container
            '/var/lib/nova/instances/uuid-1/disk': 'qcow2',
            '/var/lib/nova/instances/uuid-1/disk.raw': 'raw',
        }
        (self.folder / 'disk.info').write_text(json.dumps(self.known))
        self.asked: list[Any] = []
        self.answer: Any = (0, '{}', '')
        self.useFixture(fixtures.MockPatchObject(programs, 'run', self.run_it))
        self.held: set[Any] = set()
        self.useFixture(
            fixtures.MockPatchObject(check, 'opened', lambda _i: self.held)
        )

    def run_it(self, words: Any, seconds: float = 0) -> Any:
        self.asked.append(words)
        return self.answer

    def look(self, *paths: str, running: bool = False) -> dict[str, Any]:
        given = [str(self.top / path) for path in paths]
        found = {'instances': str(self.top)}
        rows = images.look(found, given, running)
        return {os.path.basename(r['path']): r for r in rows}

    def test_a_directory_stands_for_its_disks_by_disk_info(self) -> None:
        found = self.look('uuid-1')
        self.assertEqual(
            {'disk': 'good', 'disk.raw': 'unchecked', 'disk.other': 'unknown'},
            {name: row['state'] for name, row in found.items()},
        )
        (words,) = self.asked
        self.assertEqual(
            ['qemu-img', 'check', '-U', '-f', 'qcow2'], list(words[:5])
        )
        self.assertNotIn('-r', words)

    def test_how_it_ends(self) -> None:
        for code, text, state, why in (
            (2, '{"corruptions": 3}', 'corrupt', '3 corruptions'),
            (3, '{"leaks": 2, "corruptions": 0}', 'leaks', '2 leaks'),
            (1, '', 'unknown', 'it failed'),
        ):
            self.answer = code, text, 'it failed'
            row = self.look('uuid-1/disk')['disk']
            self.assertEqual((state, why), (row['state'], row['why']))

    def test_what_a_process_has_open_only_by_word(self) -> None:
        status = os.stat(self.folder / 'disk')
        self.held = {(status.st_dev, status.st_ino)}
        row = self.look('uuid-1/disk')['disk']
        self.assertEqual(('unknown', True), (row['state'], row['open']))
        self.assertEqual([], self.asked)
        row = self.look('uuid-1/disk', running=True)['disk']
        self.assertEqual('good', row['state'])

    def test_nothing_elsewhere_and_nothing_without_disk_info(self) -> None:
        os.symlink('/etc/passwd', self.folder / 'disk.link')
        for path in ('uuid-1/disk.link', '../passwd', 'uuid-1/none'):
            (row,) = self.look(path).values()
            self.assertEqual('unknown', row['state'])
        for text in ('', 'no json', '{"/i/uuid-1/disk": "vmdk"}'):
            (self.folder / 'disk.info').write_text(text)
            row = self.look('uuid-1/disk')['disk']
            self.assertIn('disk.info', row['why'])
        self.assertEqual([], self.asked)


class Groups(TestCase):
    def test_those_of_the_back_ends_of_lvm(self) -> None:
        path = pathlib.Path(self.useFixture(fixtures.TempDir()).path, 'c')
        path.write_text(
            '[DEFAULT]\nenabled_backends = a, b,c\n[a]\n'
            'volume_driver = cinder.volume.drivers.lvm.LVMVolumeDriver\n'
            '[b]\nvolume_group = fast\n'
            '[c]\nvolume_driver = cinder.volume.drivers.rbd.RBDDriver\n'
        )
        self.assertEqual({'cinder-volumes', 'fast'}, lvm.wanted([str(path)]))
        self.assertEqual(set(), lvm.wanted(['/nowhere']))

    def look(self, answers: Any) -> dict[str, Any]:
        def run(words: Any) -> Any:
            if isinstance(answers, Exception):
                raise answers
            return answers[words[0]]

        self.useFixture(fixtures.MockPatchObject(programs, 'run', run))
        return lvm.look()

    def test_as_lvm_reports(self) -> None:
        group = {
            'vg_name': 'v',
            'vg_size': '100',
            'vg_free': '4',
            'vg_missing_pv_count': '1',
        }
        pool = {
            'lv_name': 'p',
            'vg_name': 'v',
            'lv_attr': 'twi-aotz--',
            'pool_lv': '',
            'lv_health_status': '',
            'data_percent': '12.50',
            'metadata_percent': '',
        }
        found = self.look(
            {
                'vgs': (0, json.dumps({'report': [{'vg': [group]}]}), ''),
                'lvs': (0, json.dumps({'report': [{'lv': [pool]}]}), ''),
            }
        )
        self.assertEqual(
            [{'name': 'v', 'bytes': 100, 'free': 4, 'missing': 1}],
            found['groups'],
        )
        (one,) = found['volumes']
        self.assertEqual(
            (True, True, 12.5, None),
            tuple(one[n] for n in ('active', 'pool', 'data', 'metadata')),
        )

    def test_none_is_there_and_it_hangs(self) -> None:
        found = self.look(programs.Missing('no vgs'))
        self.assertEqual(([], ''), (found['groups'], found['why']))
        found = self.look(programs.TookTooLong('vgs did not end'))
        self.assertEqual(
            (None, 'vgs did not end'), (found['groups'], found['why'])
        )
