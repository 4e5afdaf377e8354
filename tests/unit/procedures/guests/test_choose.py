# SPDX-License-Identifier: Apache-2.0

"""Which guests are rebooted from inside, and how they are reached."""

from __future__ import annotations

import dataclasses
import json
import types
from typing import Any

import sqlalchemy as sa

from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import Ambiguous
from nova_recovery.procedures.guests import reach as reach_module
from nova_recovery.procedures.guests import reboot
from nova_recovery.procedures.guests.reach import Address, Reach
from nova_recovery.procedures.guests.reboot import Chosen, Request
from tests.base import TestCase

KEYS = {
    'reboot': 'recovery_reboot',
    'address': 'recovery_address',
    'network': 'recovery_network',
    'user': 'recovery_user',
}
TIMES = {'connect': 1, 'answer': 2, 'reach': 3, 'settle': 4, 'patience': 5}
FIXED = Address('10.0.0.5', ('demo-net', 'n1'))
FLOATING = Address('203.0.113.5', ('demo-net', 'n1'), True)
OTHER = Address('192.168.0.5', ('storage', 'n2'))
REACH = Reach((OTHER, FIXED, FLOATING))


@dataclasses.dataclass(frozen=True)
class Server:
    uuid: str
    name: str
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)
    project: str = 'demo'
    cell: str = 'cell1'
    host: str = 'host1'


def attach(server: str, volume: str) -> Item:
    return Item(
        f'attach-volume:{volume}:{server}', 'attach-volume',
        f'volume:{volume}', volume, {'uuid': server},
    )  # fmt: skip


def chosen(
    found: list[Server],
    reach: dict[str, Reach] | None = None,
    attached: tuple[Item, ...] = (),
    **request: Any,
) -> Chosen:
    given = {'ssh': True, 'keys': KEYS, 'times': TIMES, **request}
    if reach is None:
        reach = {server.uuid: REACH for server in found}
    return reboot.choose(found, Request(**given), reach, attached)


def named(found: Chosen) -> list[str]:
    return [item.label for item in found.items]


class TestWhich(TestCase):
    def servers(self, **metadata: str) -> list[Server]:
        said = {KEYS[name]: value for name, value in metadata.items()}
        return [Server('u1', 'web', said), Server('u2', 'db')]

    def test_those_that_get_volumes_back(self) -> None:
        found = chosen(
            self.servers(), attached=(attach('u2', 'v1'), attach('u2', 'v2'))
        )
        (item,) = found.items
        self.assertEqual(
            ('reboot-guest:u2', 'reboot-guest', 'guest:u2', 'db'),
            (item.id, item.kind, item.subject, item.label),
        )
        # without its volumes a reboot would be for nothing
        self.assertEqual(('server:u2', 'volume:v1', 'volume:v2'), item.follows)
        self.assertEqual({}, found.left)

    def test_metadata_asks_for_it_or_forbids_it(self) -> None:
        both = (attach('u1', 'v1'), attach('u2', 'v2'))
        for word in ('true', 'Yes', '1'):
            self.assertEqual(['web'], named(chosen(self.servers(reboot=word))))
        self.assertEqual(
            ['db'], named(chosen(self.servers(reboot='no'), attached=both))
        )
        found = chosen(self.servers(reboot='\x1b[2Jmaybe'), attached=both)
        self.assertEqual(['db'], named(found))
        self.assertIn('neither true nor false', found.left['u1'])
        self.assertTrue(found.left['u1'].isprintable())

    def test_only_those_that_are_named(self) -> None:
        found = chosen(
            self.servers(reboot='true'),
            servers=('db', 'u2', 'gone'),
            attached=(attach('u1', 'v1'),),
        )
        self.assertEqual(['db'], named(found))
        self.assertEqual(['gone'], list(found.left))

    def test_a_name_of_two(self) -> None:
        twins = [Server('u1', 'web'), Server('u2', 'web')]
        error = self.assertRaises(Ambiguous, chosen, twins, servers=('web',))
        self.assertEqual(('u1', 'u2'), error.candidates)

    def test_listed_by_project_for_whoever_holds_the_keys(self) -> None:
        servers = [
            Server('u1', 'web', project='p2'),
            Server('u2', 'db', project='p1'),
            Server('u3', 'app', project='p2'),
            Server('u4', 'spare', project='p1'),
        ]
        found = chosen(
            servers,
            {},
            tuple(attach(f'u{n}', f'v{n}') for n in (1, 2, 3)),
            ssh=False,
        )
        self.assertEqual((), found.items)
        self.assertEqual(
            (
                'to be rebooted from inside by project p1: db (u2)',
                'to be rebooted from inside by project p2: app (u3), web (u1)',
            ),
            found.notes,
        )


class TestHow(TestCase):
    def way(
        self,
        metadata: dict[str, str] | None = None,
        reach: Reach = REACH,
        **request: Any,
    ) -> tuple[Any, Any, Any]:
        said = {KEYS[k]: v for k, v in (metadata or {}).items()}
        found = chosen(
            [Server('u1', 'web', said)], {'u1': reach},
            servers=('web',), **request,
        )  # fmt: skip
        if found.left:
            self.assertEqual((), found.items)
            return found.left['u1'], None, None
        (item,) = found.items
        data = item.data
        return data['user'], data['address'], data['why']

    def test_floating_addresses_first_unless_fixed_ones_are_preferred(
        self,
    ) -> None:
        self.assertEqual(
            (None, '203.0.113.5', 'floating, demo-net'), self.way()
        )
        self.assertEqual(
            (None, '192.168.0.5', 'fixed, storage'), self.way(prefer='fixed')
        )

    def test_only_addresses_on_the_network_asked_for(self) -> None:
        for network in ('storage', 'n2'):
            self.assertEqual('192.168.0.5', self.way(network=network)[1])
        self.assertEqual(
            '192.168.0.5',
            self.way({'network': 'storage'}, network='demo-net')[1],
        )
        self.assertEqual(
            'not rebooted from inside: it has no address on network other',
            self.way(network='other')[0],
        )

    def test_metadata_chooses_among_the_servers_own_addresses(self) -> None:
        self.assertEqual(
            ('debian', '10.0.0.5', 'metadata recovery_address'),
            self.way({'address': '10.0.0.5', 'user': 'debian'}, user='root'),
        )

    def test_a_tenant_can_not_have_another_machine_rebooted(self) -> None:
        self.assertEqual(
            'not rebooted from inside: its metadata recovery_address names '
            'an address that is not its own',
            self.way({'address': '10.1.1.1'})[0],
        )

    def test_a_tenant_can_not_give_options_to_ssh(self) -> None:
        left = self.way({'user': '-oProxyCommand=reboot\x1b'})[0]
        self.assertIn('is no name of a user', left)
        self.assertTrue(left.isprintable(), left)

    def test_the_operator_says_where_it_is(self) -> None:
        for server in ('web', 'u1'):
            self.assertEqual(
                ('root', 'web.example', 'as asked'),
                self.way(addresses={server: 'web.example'}, user='root'),
            )
        self.assertEqual(
            ('anna', '2001:db8::5', 'as asked'),
            self.way(addresses={'web': 'anna@2001:db8::5'}, user='root'),
        )

    def test_no_way_in(self) -> None:
        for reach, words in (
            (Reach(), 'it has no address'),
            (
                dataclasses.replace(REACH, os_type='windows'),
                'its image says os_type windows',
            ),
        ):
            self.assertEqual(
                f'not rebooted from inside: {words}', self.way(reach=reach)[0]
            )

    def test_all_that_the_change_needs_is_in_the_item(self) -> None:
        found = chosen(
            [Server('u1', 'web')], servers=('u1',), options=('Port=22',),
            identity=False,
        )  # fmt: skip
        (item,) = found.items
        self.assertEqual(
            {
                'uuid': 'u1', 'cell': 'cell1', 'host': 'host1',
                'address': '203.0.113.5',
                'why': 'floating, demo-net', 'user': None,
                'options': ['Port=22'], 'identity': False, **TIMES,
            },
            item.data,
        )  # fmt: skip


class TestNetworkInfo(TestCase):
    def test_fixed_and_floating_addresses_with_their_network(self) -> None:
        ports = [
            {
                'id': 'p1',
                'network': {
                    'id': 'n1',
                    'label': 'demo-net',
                    'subnets': [
                        {
                            'ips': [
                                {
                                    'address': '10.0.0.5',
                                    'floating_ips': [
                                        {'address': '203.0.113.5'}
                                    ],
                                }
                            ]
                        },
                        {'ips': [{'address': '2001:db8::5'}]},
                    ],
                },
            }
        ]
        self.assertEqual(
            [FIXED, FLOATING, Address('2001:db8::5', ('demo-net', 'n1'))],
            list(reach_module.addresses(ports)),
        )

    def test_nothing_in_the_cache(self) -> None:
        for ports in (None, [], {}, [{}], [{'network': {}}]):
            self.assertEqual([], list(reach_module.addresses(ports)))

    def test_read_from_the_database_of_the_cell(self) -> None:
        metadata = sa.MetaData()
        sa.Table(
            'instances', metadata, sa.Column('uuid', sa.Text),
            sa.Column('os_type', sa.Text),
        )  # fmt: skip
        sa.Table(
            'instance_info_caches', metadata, sa.Column('id', sa.Integer),
            sa.Column('instance_uuid', sa.Text),
            sa.Column('network_info', sa.Text),
            sa.Column('deleted', sa.Integer),
        )  # fmt: skip
        engine = sa.create_engine(
            'sqlite://',
            poolclass=sa.pool.StaticPool,
            connect_args={'check_same_thread': False},
        )
        self.addCleanup(engine.dispose)
        info = json.dumps(
            [
                {
                    'network': {
                        'id': 'n1',
                        'label': 'demo-net',
                        'subnets': [{'ips': [{'address': '10.0.0.5'}]}],
                    }
                }
            ]
        )
        with engine.begin() as connection:
            metadata.create_all(connection)
            connection.execute(
                metadata.tables['instances'].insert(),
                [
                    {'uuid': 'u1', 'os_type': 'linux'},
                    {'uuid': 'u2', 'os_type': None},
                    {'uuid': 'u3', 'os_type': 'windows'},
                    {'uuid': 'other', 'os_type': None},
                ],
            )
            connection.execute(
                metadata.tables['instance_info_caches'].insert(),
                [
                    {'id': n, 'instance_uuid': uuid, 'network_info': text,
                     'deleted': deleted}
                    for n, uuid, text, deleted in (
                        (1, 'u1', info, 0),
                        (2, 'u1', '[]', 2),
                        (3, 'u2', 'broken', 0),
                    )
                ],
            )  # fmt: skip
        cell = types.SimpleNamespace(
            name='cell1', tables=metadata.tables, reader=engine.connect
        )
        cloud: Any = types.SimpleNamespace(
            databases=types.SimpleNamespace(cell=lambda name: cell)
        )
        servers = [Server(f'u{n}', f'web{n}') for n in (1, 2, 3)]
        self.assertEqual(
            {
                'u1': Reach((FIXED,), 'linux'),
                'u2': Reach(),
                'u3': Reach((), 'windows'),
            },
            reach_module.read(cloud, servers),
        )
