# SPDX-License-Identifier: Apache-2.0

"""What of servers a host sees, in its directory and in Ceph."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import fixtures

from nova_recovery.host.agent import ceph, disks, mounts, programs
from nova_recovery.host.agent.lines import AgentError
from tests.base import TestCase


class Directory(TestCase):
    def setUp(self) -> None:
        super().setUp()
        top = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.top = top.resolve() / 'instances'
        self.top.mkdir()
        self.type = 'nfs4'
        self.useFixture(fixtures.MockPatchObject(mounts, 'read', self.mounted))

    def mounted(self) -> list[mounts.Mount]:
        path = os.fsencode(self.top)
        lines = [
            b'1 1 8:1 / / rw - ext4 /dev/sda1 rw',
            b'2 1 0:9 / %s rw - %s filer:/x rw' % (path, self.type.encode()),
        ]
        return [mounts.Mount(line) for line in lines]

    def look(self, *servers: str) -> dict[str, Any]:
        return disks.directory(str(self.top), servers)

    def server(self, name: str, *files: str) -> None:
        (self.top / name).mkdir()
        for one in files:
            (self.top / name / one).write_text('x')

    def test_who_uses_it_and_what_lies_in_it(self) -> None:
        users = {'host1': 1.5, 'host2': 2}
        (self.top / 'compute_nodes').write_text(json.dumps(users))
        self.server('a', 'disk', 'disk.info')
        self.server('b', 'disk')
        (self.top / 'a' / 'deep').mkdir()
        (self.top / 'a' / 'deep' / 'disk').write_text('x')
        found = self.look('a', 'none')
        found['files']['a'].sort()
        self.assertEqual(
            {
                'path': str(self.top),
                'type': 'nfs4',
                'source': 'filer:/x',
                'remote': True,
                'users': users,
                'files': {'a': ['disk', 'disk.info']},
                'why': '',
            },
            found,
        )

    def test_a_disk_of_the_host_itself(self) -> None:
        self.type = 'xfs'
        self.assertFalse(self.look('a')['remote'])

    def test_nobody_wrote_there(self) -> None:
        found = self.look('a')
        self.assertEqual(({}, {}, ''), tuple(map(found.get, _TOLD)))

    def test_what_is_no_json_is_not_taken_for_nobody(self) -> None:
        for text in ('{', '[1]', '{"host1": "x"}'):
            (self.top / 'compute_nodes').write_text(text)
            self.assertIn('compute_nodes: ', self.look('a')['why'])

    def test_a_link_leads_elsewhere_than_the_mount_that_is_told(self) -> None:
        link = self.top.parent / 'link'
        link.symlink_to(self.top)
        found = disks.directory(str(link), ['a'])
        self.assertEqual(f'{link} is a link, or is not there', found['why'])
        found = disks.directory(str(link) + '-not', ['a'])
        self.assertIn('is not there', found['why'])

    def test_a_file_system_that_hangs_is_given_up(self) -> None:
        def hangs(words: Any, seconds: float = 0) -> Any:
            raise programs.TookTooLong(f'{words[0]} did not end within 10 s')

        self.useFixture(fixtures.MockPatchObject(programs, 'run', hangs))
        self.assertIn('did not end', self.look('a')['why'])

    def test_a_directory_that_can_not_be_read_is_told(self) -> None:
        said = (1, '', "find: '/x/a': Permission denied")
        self.useFixture(
            fixtures.MockPatchObject(
                programs,
                'run',
                lambda words, _seconds=0: (
                    (0, f'{self.top}\n', '')
                    if words[0] == 'realpath'
                    else (0, '{}', '')
                    if words[0] == 'cat'
                    else said
                ),
            )
        )
        self.assertIn('Permission denied', self.look('a')['why'])


_TOLD = ('users', 'files', 'why')


class Ceph(TestCase):
    def setUp(self) -> None:
        super().setUp()
        top = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.conf = top / 'nova.conf'
        self.found = {'nova_conf': [str(self.conf)], 'exec_prefix': []}
        self.asked: list[Any] = []
        self.answer: Any = (0, '["a_disk", "a_disk.swap", "b_disk"]', '')
        self.useFixture(fixtures.MockPatchObject(programs, 'run', self.run_it))
        self.there = '/usr/bin/rbd'
        self.useFixture(
            fixtures.MockPatchObject(programs, 'find', lambda _n: self.there)
        )

    def run_it(self, words: Any, seconds: float = 0) -> Any:
        self.asked.append(list(words))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def look(self, text: str) -> Any:
        self.conf.write_text('[libvirt]\n' + text)
        return ceph.disks(self.found, ['a', 'none'])

    def test_what_of_servers_is_in_novas_pool(self) -> None:
        found = self.look(
            'images_type = rbd\nimages_rbd_pool = vms\nrbd_user = cinder\n'
        )
        self.assertEqual({'a': ['disk', 'disk.swap']}, found['images'])
        self.assertEqual(('rbd', 'vms', ''), (*map(found.get, _CEPH),))
        self.assertEqual(
            [
                *('rbd', '--id', 'cinder', '--conf', '/etc/ceph/ceph.conf'),
                *('ls', 'vms', '--format', 'json'),
            ],
            self.asked[0],
        )

    def test_where_nova_keeps_files_the_cluster_is_not_asked(self) -> None:
        self.assertIsNone(self.look('rbd_user = cinder\n')['type'])
        self.assertEqual('qcow2', self.look('images_type=qcow2\n')['type'])
        self.assertEqual([], self.asked)

    def test_in_a_container_it_is_asked_there(self) -> None:
        self.there = ''
        self.found['exec_prefix'] = ['podman', 'exec', 'nova_libvirt']
        self.look('images_type = rbd\n')
        self.assertEqual(
            ['podman', 'exec', 'nova_libvirt', 'rbd'], self.asked[0][:4]
        )

    def test_a_cluster_that_does_not_answer_has_not_nothing(self) -> None:
        for answer in (AgentError('hangs'), (1, '', 'hangs'), (0, 'x', '')):
            self.answer = answer
            found = self.look('images_type = rbd\n')
            self.assertNotEqual('', found['why'])


_CEPH = ('type', 'pool', 'why')
