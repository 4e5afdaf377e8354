# SPDX-License-Identifier: Apache-2.0

"""Directories that hosts have in common, and verbs in one call."""

from __future__ import annotations

import subprocess

from tests import base
from tests.integration.agent import place

TOKEN = ('--token', '0123456789abcdef')
SERVERS = '/var/lib/nova/instances'
LINK = '/var/lib/nova/link'


class Shared(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.place = self.useFixture(place.Place())
        self.servers = self.place.root / SERVERS[1:]
        self.servers.mkdir()

    def shared(self, *words: str) -> dict:
        code, line = self.place.agent('shared', *words)
        self.assertEqual((0, 'result'), (code, line['event']), line)
        found: dict = line['paths']
        return found

    def test_directories_of_servers_are_listed(self) -> None:
        rows = {row['path']: row for row in self.shared('list')}  # type: ignore[index]
        self.assertTrue(rows[SERVERS]['disks'])
        self.assertFalse(rows[SERVERS]['remote'])

    def test_what_can_not_be_walked_is_told(self) -> None:
        self.servers.with_name('link').symlink_to(SERVERS)
        paths = ('/var/none', LINK, SERVERS, '/proc/sys')
        words = [word for path in paths for word in ('--path', path)]
        _code, line = self.place.agent('shared', 'list', *words)
        self.assertEqual(
            {
                '/var/none': 'there is no such directory',
                LINK: f'it leads over a link to {SERVERS}',
                '/proc/sys': 'it is on a proc',
            },
            line['unfit'],
        )

    def test_a_mark_is_seen_until_it_is_cleared(self) -> None:
        path = ('--path', SERVERS, *TOKEN)
        self.assertEqual(
            {SERVERS: {'made': True, 'uid': 0, 'denied': ''}},
            self.shared('mark', *path, '--number', '3'),
        )
        self.assertEqual(
            {SERVERS: {'3': {'uid': 0}}},
            self.shared('look', *path, '--number', '5'),
        )
        self.shared('clear', *path, '--number', '3')
        self.assertEqual([], list(self.servers.iterdir()))
        self.assertEqual(
            {SERVERS: {}}, self.shared('look', *path, '--number', '5')
        )

    def test_a_directory_that_is_not_there_gets_no_mark(self) -> None:
        found = self.shared('mark', '--path', '/var/none', *TOKEN)
        self.assertFalse(found['/var/none']['made'])

    def test_a_directory_where_root_may_not_write(self) -> None:
        """As nova's own is over NFS with root_squash."""
        subprocess.run(['chattr', '+i', self.servers], check=True)
        self.addCleanup(
            subprocess.run, ['chattr', '-i', self.servers], check=True
        )
        found = self.shared('mark', '--path', SERVERS, *TOKEN)
        self.assertEqual(
            {'made': False, 'uid': None, 'denied': 'Operation not permitted'},
            found[SERVERS],
        )

    def test_a_name_that_others_could_have_is_refused(self) -> None:
        self.place.refused('shared', 'mark', '--path', SERVERS)
        self.place.refused(
            *('shared', 'mark', '--path', SERVERS, '--token', '../x')
        )


class Several(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.place = self.useFixture(place.Place())

    def test_each_has_its_answer(self) -> None:
        code, line = self.place.agent(
            *('several', '--call', 'accounts show --uid=99'),
            *('--call', 'identity'),
        )
        self.assertEqual(0, code, line)
        accounts, identity = line['answers']
        self.assertEqual(
            'sshd', accounts['uses']['uid']['99'][0]['who'], accounts
        )
        self.assertEqual('c1', identity['nova_host'])

    def test_the_first_that_is_refused_ends_it(self) -> None:
        said = self.place.refused(
            *(
                'several',
                '--call',
                'accounts set --uid=nova:99 --state=/var/s',
            ),
            *('--call', 'accounts set --uid=nova:130 --state=/var/s'),
        )
        self.assertIn('uid 99 is taken', said)
        self.assertEqual(108, self.place.account('nova')[0])


class LeaveOut(base.TestCase):
    def test_what_is_left_out_is_not_touched_and_told(self) -> None:
        here = self.useFixture(place.Place())
        here.shell('mkdir -p /var/d/in /var/d/out; chown -R 108 /var/d')
        code, line = here.agent(
            *('owners', 'change', '--root', '/var/d', '--uid', '108:130'),
            *('--state', '/var/state', '--leave-out', '/var/d/out'),
        )
        self.assertEqual((0, 2), (code, line['changed']), line)
        self.assertEqual('/var/d/out', line['left_out'][0]['path'])
        self.assertEqual(
            '130\n108\n', here.shell('stat -c %u /var/d/in /var/d/out')
        )
