# SPDX-License-Identifier: Apache-2.0

"""A compute host is one host of the inventory, or nothing."""

from __future__ import annotations

import pathlib

import fixtures

from nova_recovery.exceptions import ConfigError, Refused
from nova_recovery.fleet import hosts
from nova_recovery.fleet.ansible import inventory
from nova_recovery.fleet.hosts import Inventory, Known
from tests import base

LISTED = {
    '_meta': {
        'hostvars': {
            'web1': {'ansible_become_password': 'hunter2'},
            'rack1-a': {'nova_recovery_host': 'c1.example.org'},
            'rack1-b': {'nova_recovery_set': ['layout=kolla']},
            'c9': {},
            'trap': {},
        }
    },
    'all': {'children': ['ungrouped', 'compute', 'trap']},
    'compute': {'hosts': ['rack1-a', 'rack1-b', 'c9', 'bare']},
    'trap': {'hosts': ['web1']},
}


class Names(base.TestCase):
    known = inventory.parse(LISTED)

    def refused(self, host: str, **mapped: str) -> str:
        error = self.assertRaises(
            Refused, hosts.name_of, host, mapped, self.known
        )
        return str(error)

    def test_host_is_called_as_in_nova_or_as_the_inventory_says(self) -> None:
        for host, name in (('c9', 'c9'), ('c1.example.org', 'rack1-a')):
            self.assertEqual(name, hosts.name_of(host, {}, self.known))
        self.assertEqual(
            'rack1-b', hosts.name_of('c2', {'c2': 'rack1-b'}, self.known)
        )
        self.assertEqual('bare', hosts.name_of('bare', {}, self.known))

    def test_name_that_the_inventory_lacks_is_refused(self) -> None:
        said = self.refused('c3')
        self.assertIn('has no host "c3"', said)
        self.assertIn('[fleet] host = c3=INVENTORY_NAME', said)
        # a short name is another one
        self.refused('c1')

    def test_what_ansible_takes_for_several_hosts_is_refused(self) -> None:
        for name in (
            *('c*', 'c9:rack1-a', 'c9,rack1-a', '!c9', '~c.*', 'c[1:9]', ''),
            *('&c9', '@c9', '{{ c9 }}'),
        ):
            self.assertIn('pattern', self.refused(name), name)
            self.assertIn('pattern', self.refused('c5', c5=name or '*'), name)
        for name in ('all', 'ungrouped', 'compute', 'trap'):
            self.assertIn('is a group', self.refused(name), name)

    def test_inventory_and_map_that_contradict_refuse(self) -> None:
        self.assertIn(
            'the inventory says that rack1-a is c1.example.org',
            self.refused('c7', c7='rack1-a'),
        )

    def test_two_that_claim_to_be_one_host_refuse(self) -> None:
        known = Inventory({'a': Known('c1'), 'b': Known('c1')})
        error = self.assertRaises(Refused, hosts.name_of, 'c1', {}, known)
        self.assertIn('nova_recovery_host of a, b', str(error))

    def test_nothing_but_our_variables_is_kept(self) -> None:
        self.assertNotIn('hunter2', repr(self.known))
        self.assertEqual(
            ('layout=kolla',), self.known.hosts['rack1-b'].overrides
        )


class Map(base.TestCase):
    def file(self, text: str) -> str:
        folder = self.useFixture(fixtures.TempDir()).path
        path = pathlib.Path(folder) / 'map'
        path.write_text(text)
        return str(path)

    def test_file_has_a_pair_a_line(self) -> None:
        path = self.file('# ours\nc1  rack1-a # left\n\nc2 rack1-b\n')
        self.assertEqual(
            {'c1': 'rack1-a', 'c2': 'rack9'}, hosts.pairs(['c2=rack9'], path)
        )

    def test_line_that_makes_no_sense_is_named(self) -> None:
        error = self.assertRaises(
            ConfigError, hosts.pairs, [], self.file('c1 a\nc2 a b\n')
        )
        self.assertIn('map:2: ', str(error))
        error = self.assertRaises(
            ConfigError, hosts.pairs, [], self.file('c1 a\nc1 b\n')
        )
        self.assertIn('c1 is a and b', str(error))
        for text in ('c1', 'c1=', '=a'):
            self.assertRaises(ConfigError, hosts.pairs, [text], None)
        self.assertRaises(ConfigError, hosts.pairs, [], '/nowhere')
