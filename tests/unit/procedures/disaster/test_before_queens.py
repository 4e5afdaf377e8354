# SPDX-License-Identifier: Apache-2.0

"""Which volumes of an old cloud are stale, from plain rows."""

from __future__ import annotations

from typing import Any

from nova_recovery.cloud.db.old_volumes import Layout
from nova_recovery.engine.plan import Item
from nova_recovery.procedures.disaster.before_queens import (
    cleaning as cleaning_module,
)
from nova_recovery.procedures.disaster.before_queens.cleaning import Cleaning
from nova_recovery.procedures.disaster.before_queens.read import (
    Cell,
    Situation,
    Volumes,
)
from tests.base import TestCase

L1 = Layout(
    name='L1',
    server='instance_uuid',
    cleared=('instance_uuid', 'mountpoint', 'attach_time', 'attached_host'),
    migrating=True,
    modes=True,
    mapped_by='instance_uuid',
)
M1 = Layout(
    name='M1',
    server=None,
    cleared=(),
    migrating=True,
    modes=True,
    mapped_by='instance_uuid',
)
SERVERS = ['1|web|/dev/vda', '2|db|~', '3|other|/dev/vda']


def volume(
    name: str = 'v1',
    server: str = 'web',
    device: str = '/dev/vdb',
    status: str = 'in-use',
    host: str = 'host1',
    migration: str = '~',
) -> str:
    return (
        f'{name}|{status}|attached|{server}|{device}|2014|{host}|{migration}'
    )


class LegacyTest(TestCase):
    layout = L1

    def clean(
        self,
        volumes: list[str],
        mappings: list[str],
        servers: set[str] | None = None,
        *,
        alone: tuple[str, ...] = (),
        more: dict[str, Cell] | None = None,
        **of_cinder: Any,
    ) -> Cleaning:
        found = Situation(
            self.layout,
            {'cell1': Cell(SERVERS, mappings), **(more or {})},
            Volumes(volumes, **of_cinder),
        )
        return cleaning_module.decide(found, servers, alone)

    def items(self, cleaning: Cleaning) -> list[Item]:
        return [item for step in cleaning.steps for item in step.items]

    def cleaned(self, *args: Any, **options: Any) -> list[str]:
        """The ids of what is cleaned."""
        return [
            row.partition('|')[0]
            for item in self.items(self.clean(*args, **options))
            if item.kind == 'clean-volumes'
            for row in item.data['rows'].split('\n')
        ]

    def assert_left(self, why: str, cleaning: Cleaning) -> None:
        self.assertEqual((), cleaning.steps)
        self.assertIn(why, left_out(cleaning)['volume:v1'])


def left_out(cleaning: Cleaning) -> dict[str, str]:
    """Volume -> why it stays."""
    return {one.subject: one.why for one in cleaning.left_out}


class VolumesTest(LegacyTest):
    def test_mappings_come_before_their_volumes(self) -> None:
        cleaning = self.clean(
            [volume()], ['7|v1|web|/dev/vdb|~'], modes=['70|v1', '71|v2']
        )
        mappings, volumes = self.items(cleaning)
        self.assertEqual('clean-mappings', mappings.kind)
        self.assertEqual('7|v1', mappings.data['rows'])
        self.assertEqual(mappings.subject, volumes.subject)
        self.assertEqual(
            'v1|in-use|attached|web|/dev/vdb|2014|host1', volumes.data['rows']
        )
        self.assertEqual('7', volumes.data['mappings'])
        self.assertEqual('70', volumes.data['modes'])

    def test_root_by_boot_index(self) -> None:
        cleaning = self.clean([volume()], ['7|v1|web|/dev/vdb|0'])
        self.assertEqual((), cleaning.steps)
        self.assertIn('1 volumes that servers boot from', cleaning.notes[0])

    def test_root_by_the_name_of_the_device(self) -> None:
        for device in ('/dev/vda', 'vda', '/dev/vda1'):
            self.assertEqual(
                [], self.cleaned([volume()], [f'7|v1|web|{device}|~'])
            )
        # cinder has it as the root, and nova has no mapping any more
        self.assertEqual([], self.cleaned([volume(device='/dev/vda')], []))

    def test_root_where_nova_does_not_say_from_where_it_boots(self) -> None:
        lost = [volume(server='db')]
        self.assertEqual([], self.cleaned(lost, ['7|v1|db|/dev/sda|~']))
        self.assertEqual(['v1'], self.cleaned(lost, ['7|v1|db|/dev/sdb|~']))

    def test_before_havana_there_is_no_boot_index(self) -> None:
        self.assertEqual(
            ['v1'], self.cleaned([volume()], ['7|v1|web|/dev/vdb'])
        )
        self.assertEqual([], self.cleaned([volume()], ['7|v1|web|vda']))

    def test_second_disks_that_could_be_booted_are_data(self) -> None:
        self.assertEqual(
            ['v1'], self.cleaned([volume()], ['7|v1|web|/dev/vdb|1'])
        )

    def test_server_that_is_gone(self) -> None:
        gone = [volume(server='gone', device='/dev/vda')]
        self.assertEqual(['v1'], self.cleaned(gone, []))
        self.assertEqual([], self.cleaned(gone, [], {'web'}))

    def test_out_of_scope_is_not_even_named(self) -> None:
        cleaning = self.clean(
            [volume(), volume('v2', status='error_deleting')],
            ['7|v1|web|/dev/vdb|~'],
            {'other'},
        )
        self.assertEqual(((), ()), (cleaning.steps, cleaning.left_out))

    def test_sides_that_disagree(self) -> None:
        self.assert_left(
            'nova maps it to server db, cinder has it for server web',
            self.clean([volume()], ['7|v1|db|/dev/vdb|~']),
        )

    def test_mapped_to_a_server_outside_the_scope(self) -> None:
        self.assert_left(
            'server other has it too and is not in the scope',
            self.clean([volume()], ['7|v1|other|/dev/vdb|~'], {'web'}),
        )

    def test_servers_that_are_left_alone_keep_their_volumes(self) -> None:
        """Those of a host to skip, which never lost its power."""
        volumes = [volume(), volume('v2', 'db')]
        mappings = ['7|v1|web|/dev/vdb|~', '8|v2|db|/dev/vdb|~']
        for scope in (None, {'web', 'db'}):
            cleaning = self.clean(volumes, mappings, scope, alone=('web',))
            kinds = [
                (item.kind, item.data['rows'].split('|')[0])
                for item in self.items(cleaning)
            ]
            self.assertEqual(
                [('clean-mappings', '8'), ('clean-volumes', 'v2')], kinds
            )
            self.assertEqual(
                'server web is left alone', left_out(cleaning)['volume:v1']
            )
            self.assertEqual({'db'}, cleaning.servers)
        # of a server that is gone: nobody is to be left alone
        gone = self.clean([volume(server='gone')], [], alone=('web',))
        self.assertEqual(1, len(self.items(gone)))
        self.assertEqual(frozenset(), gone.servers)

    def test_one_of_two_servers_is_left_alone(self) -> None:
        self.assert_left(
            'server web is left alone',
            self.clean(
                [volume(server='db')], ['7|v1|web|/dev/vdb|~'], alone=('web',)
            ),
        )

    def test_mapped_by_two_cells(self) -> None:
        two = Cell([], ['9|v1|web|/dev/vdb|~'])
        self.assert_left(
            'more than one cell',
            self.clean(
                [volume()], ['7|v1|web|/dev/vdb|~'], more={'cell2': two}
            ),
        )

    def test_volumes_of_each_cell_apart(self) -> None:
        two = Cell(['8|far|~'], ['9|v2|far|/dev/vdb|~'])
        cleaning = self.clean(
            [volume(), volume('v2', 'far')],
            ['7|v1|web|/dev/vdb|~'],
            more={'cell2': two},
        )
        self.assertEqual(
            [('cell1', '7|v1'), ('cell2', '9|v2')],
            [
                (item.data['cell'], item.data['rows'])
                for item in self.items(cleaning)
                if item.kind == 'clean-mappings'
            ],
        )

    def test_what_is_under_way_or_of_a_host(self) -> None:
        self.assert_left(
            'migrated', self.clean([volume(migration='target:v9')], [])
        )
        self.assert_left(
            'host host1 has it', self.clean([volume(server='~')], [])
        )
        self.assertEqual(
            ['v1'], self.cleaned([volume(server='~', host='~')], [])
        )

    def test_rows_that_no_line_can_hold(self) -> None:
        self.assert_left(
            'characters', self.clean([volume()], [], odd=frozenset({'v1'}))
        )

    def test_mapped_and_available(self) -> None:
        self.assert_left(
            'as available or not at all',
            self.clean([], ['7|v1|web|/dev/vdb|~']),
        )

    def test_batches(self) -> None:
        self.patch(cleaning_module, 'BATCH', 2)
        volumes = [volume(f'v{n}') for n in range(5)]
        # nova got them the other way round
        mappings = [f'{n}|v{4 - n}|web|/dev/vdb|~' for n in range(4)]
        items = self.items(self.clean(volumes, mappings))
        self.assertEqual(
            [
                ('clean-mappings', 'volumes:v4'),
                ('clean-volumes', 'volumes:v4'),
                ('clean-mappings', 'volumes:v2'),
                ('clean-volumes', 'volumes:v2'),
                ('clean-volumes', 'volumes:v0'),
            ],
            [(item.kind, item.subject) for item in items],
        )


class AttachmentsTest(LegacyTest):
    """M1: a volume may have several servers."""

    layout = M1
    row = 'v1|in-use|attached|~'

    def attached(self, *servers: str) -> list[str]:
        return [
            f'a{n}|v1|attached|{server}|host1|/dev/vdb'
            for n, server in enumerate(servers)
        ]

    def test_attachments_go_with_their_volume(self) -> None:
        cleaning = self.clean(
            [self.row], [], attachments=self.attached('web', 'other')
        )
        (item,) = self.items(cleaning)
        self.assertEqual('v1|in-use|attached', item.data['rows'])
        self.assertEqual(
            'a0|v1|attached|web\na1|v1|attached|other',
            item.data['attachments'],
        )

    def test_one_of_its_servers_is_not_in_the_scope(self) -> None:
        self.assert_left(
            'server other has it too',
            self.clean(
                [self.row],
                [],
                {'web'},
                attachments=self.attached('web', 'other'),
            ),
        )

    def test_root_by_what_cinder_has(self) -> None:
        rows = ['a0|v1|attached|web|host1|/dev/vda']
        self.assertEqual([], self.cleaned([self.row], [], attachments=rows))

    def test_of_a_host(self) -> None:
        self.assert_left(
            'host host1 has it',
            self.clean([self.row], [], attachments=self.attached('~')),
        )
