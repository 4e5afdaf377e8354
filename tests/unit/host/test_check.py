# SPDX-License-Identifier: Apache-2.0

"""What a host reads of itself."""

from __future__ import annotations

import pathlib
import time
from typing import Any
from unittest import mock
import uuid

import fixtures

from nova_recovery.host.agent import check, programs
from tests.base import TestCase
from tests.cloud import process as process_module

FSTAB = """\
# <file system> <mount point>
UUID=0a1b / ext4 errors=remount-ro 0 1
/dev/disk/by-path/ip-10.0.0.1:3260-iscsi-iqn.x-lun-1 /srv/a\\040b xfs _netdev
filer:/export /mnt/ nfs4
/dev/vda2 none swap sw 0 0

broken
"""


class Fstab(TestCase):
    def rows(self) -> list[dict]:
        path = pathlib.Path(self.useFixture(fixtures.TempDir()).path) / 'f'
        path.write_text(FSTAB)
        return list(check.fstab(str(path)))

    def test_what_is_mounted_with_its_line(self) -> None:
        self.assertEqual(
            [(2, '/'), (3, '/srv/a b'), (4, '/mnt')],
            [(row['line'], row['target']) for row in self.rows()],
        )

    def test_a_target_behind_a_link_is_that_which_it_leads_to(self) -> None:
        top = pathlib.Path(self.useFixture(fixtures.TempDir()).path).resolve()
        (top / 'real').mkdir()
        (top / 'link').symlink_to('real')
        for line, mounted, seen in (
            ('link', 'real', 'real'),
            ('link', 'other', 'link'),
            ('link', 'link', 'link'),
            ('link/b', 'real/b', 'real/b'),
        ):
            row = check.led({'target': str(top / line)}, {str(top / mounted)})
            self.assertEqual(str(top / seen), row['target'])
        self.assertEqual(
            {'target': 'none'}, check.led({'target': 'none'}, set())
        )

    def test_how_it_hangs_on_the_host(self) -> None:
        self.assertEqual(
            [('', False), ('iscsi', False), ('', True)],
            [(row['way'], row['remote']) for row in self.rows()],
        )

    def test_what_a_line_names(self) -> None:
        for source, device in (
            ('UUID="0a1b"', '/dev/disk/by-uuid/0a1b'),
            ('LABEL=x', '/dev/disk/by-label/x'),
            ('/dev/sdb', '/dev/sdb'),
            ('filer:/export', ''),
            ('tmpfs', ''),
        ):
            self.assertEqual(device, check.device(source))


class Maps(TestCase):
    def test_paths_of_a_map(self) -> None:
        # dmsetup status of two path groups, one path failed
        line = (
            'mpatha: 0 2097152 multipath 2 0 0 0 2 1 A 0 1 2 251:1 A 0 0 1 '
            'E 0 1 2 251:2 F 1 0 1'
        )
        found = check._map(line)
        self.assertEqual('mpatha', found['name'])
        self.assertEqual((1, 1), (len(found['good']), len(found['failed'])))


class Dead(TestCase):
    def asked(self, **seen: Any) -> tuple[Any, list[str]]:
        """What is said of lvm, and which programs were asked."""
        asked: list[str] = []

        def run(words: Any, *_more: Any, **_given: Any) -> Any:
            asked.append(words[0])
            raise programs.Missing('not here')

        seen = {'mounted': [], 'maps': [], 'fstab': [], **seen}
        self.useFixture(fixtures.MockPatchObject(programs, 'run', run))
        for name, value in seen.items():
            self.useFixture(
                fixtures.MockPatchObject(
                    check, name, mock.Mock(return_value=value)
                )
            )
        said: dict[str, Any] = {}
        check.run(mock.Mock(set=[]), lambda _event, **more: said.update(more))
        return said['lvm'], asked

    def test_lvm_is_not_asked_where_it_would_wait_for_a_dead_disk(
        self,
    ) -> None:
        mount = {'target': '/srv', 'remote': False, 'answers': False}
        dead = {'name': 'mpatha', 'good': [], 'failed': ['sdb']}
        for name, seen in (
            ('mpatha', {'maps': [dead]}),
            ('/srv', {'mounted': [mount]}),
        ):
            found, asked = self.asked(**seen)
            self.assertNotIn('vgs', asked)
            self.assertIsNone(found['groups'])
            self.assertIn(f'{name} does not answer', found['why'])

    def test_it_is_asked_where_others_are_silent(self) -> None:
        filer = {'target': '/mnt', 'remote': True, 'answers': False}
        for seen in ({'mounted': [filer]}, {'maps': None}):
            found, asked = self.asked(**seen)
            self.assertIn('vgs', asked)
            self.assertEqual([], found['groups'])


class Silent(TestCase):
    def test_who_does_not_answer_is_not_asked_a_second_time(self) -> None:
        slow = f'import time; time.sleep(60)  # {uuid.uuid4()}'
        self.useFixture(fixtures.MockPatchObject(check, '_ASK', slow))
        process = check._asked('/')
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.useFixture(fixtures.MockPatchObject(check, '_PATIENCE', 0))
        # the words of a process are there a moment after it is
        process_module.wait_for(
            lambda: '/' in check._hung(), 10, 'its words', 0.01
        )
        # as long as it is young, somebody else just looks as well
        with mock.patch.object(check, '_PATIENCE', 3600):
            self.assertNotIn('/', check._hung())
        asked = self.useFixture(fixtures.MockPatchObject(check, '_asked'))
        (root,) = [r for r in check.mounted() if r['target'] == '/']
        self.assertFalse(root['answers'])
        self.assertNotIn(mock.call('/'), asked.mock.mock_calls)

    def test_it_is_ended_where_that_can_be(self) -> None:
        slow = 'import time; time.sleep(60)'
        self.useFixture(fixtures.MockPatchObject(check, '_ASK', slow))
        process = check._asked('/')
        self.assertEqual(
            {'answers': False}, check._answer(process, time.monotonic())
        )
        self.assertEqual(-9, process.wait(10))

    def test_who_still_works_has_not_begun_to_wait(self) -> None:
        busy = (
            'import time\nend = time.monotonic() + 0.5\n'
            'while time.monotonic() < end: pass\nprint(8, 4, 2, 5, 1)'
        )
        self.useFixture(fixtures.MockPatchObject(check, '_ASK', busy))
        found = check._answer(check._asked('/'), time.monotonic())
        self.assertTrue(found['answers'])
        self.assertEqual((6, 2), (found['bytes'], found['free']))
