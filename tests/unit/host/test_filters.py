# SPDX-License-Identifier: Apache-2.0

"""What a host tells of its filters, by what virsh and ebtables print."""

from __future__ import annotations

import hashlib
from typing import Any
from unittest import mock

import fixtures

from nova_recovery.host.agent import filters
from nova_recovery.host.agent import virsh as virsh_module
from nova_recovery.host.agent.lines import AgentError, Refused
from tests.base import TestCase
from tests.unit.host.test_guest_xml import TEXT, TWO, UUID

BASE = """\
<filter name='nova-base' chain='root'>
  <uuid>3c6f0a6e-63a5-4f0c-9f5b-2d8a1f4b6c01</uuid>
  <filterref filter='no-mac-spoofing'/>
</filter>"""
BASE_UUID = '3c6f0a6e-63a5-4f0c-9f5b-2d8a1f4b6c01'
#: libvirt takes such a name, escapes none, and virsh would take it apart.
ODD, ODD_UUID = "it's; -x", '8d0e2f55-6a13-4b0e-9a50-1a2b3c4d5e6f'
ODD_XML = f"<filter name='{ODD}'><uuid>{ODD_UUID}</uuid></filter>"
RULES = """\
Bridge table: nat

Bridge chain: PREROUTING, entries: 1, policy: ACCEPT
-i vnet0 -j libvirt-I-vnet0

Bridge chain: libvirt-I-vnet0, entries: 1, policy: ACCEPT
-p IPv4 -j I-vnet0-ipv4-ip

Bridge chain: I-vnet0-ipv4-ip, entries: 2, policy: ACCEPT
-p IPv4 --ip-src 10.0.0.1 -j RETURN
-j DROP

Bridge chain: O-vnet12-ipv4, entries: 1, policy: ACCEPT
-j ACCEPT
"""


class Host(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.rows = [
            {'uuid': UUID, 'name': 'i-1', 'nova': True, 'active': True}
        ]
        self.config = TEXT
        self.orders: list[Any] = []
        virsh = self.useFixture(
            fixtures.MockPatchObject(filters, 'virsh')
        ).mock
        virsh.INPUT, virsh.parsed = '/dev/stdin', virsh_module.parsed
        virsh.domains.side_effect = lambda _found: self.rows
        virsh.run.side_effect = self._run
        virsh.order.side_effect = self._order
        self.ebtables = self.useFixture(
            fixtures.MockPatchObject(filters.programs, 'run')
        ).mock
        self.ebtables.return_value = (0, RULES, '')
        self.found = {'exec_prefix': []}

    def _run(self, _found: Any, words: str) -> str:
        if words == 'nwfilter-list':
            return f' {BASE_UUID}   nova-base\n {ODD_UUID}   {ODD}\n'
        if words.startswith('nwfilter-dumpxml'):
            return {BASE_UUID: f'{BASE}\n', ODD_UUID: ODD_XML}[words[17:]]
        return (self.config if '--inactive' in words else TEXT).decode()

    def _order(self, _found: Any, *words: str, text: str = '') -> str:
        self.orders.append((*words, text))
        if words[0] == 'nwfilter-undefine':
            raise AgentError('virsh: nwfilter is in use')
        return ''

    def test_filters_interfaces_and_rules(self) -> None:
        said = filters.look(self.found)
        one, odd = said['filters']
        self.assertEqual(
            ('nova-base', ['no-mac-spoofing'], None),
            (one['name'], one['refs'], one['xml']),
        )
        self.assertEqual((ODD, ODD_UUID), (odd['name'], odd['uuid']))
        self.assertEqual(
            [
                ('FA:16:3E:00:00:01', 'nova-instance-i-1', True),
                (TWO, '', True),
            ],
            [(u['mac'], u['filter'], u['active']) for u in said['uses']],
        )
        self.assertEqual(
            {'DHCPSERVER': '10.0.0.7', 'IP': '10.0.0.7'},
            said['uses'][0]['parameters'],
        )

    def test_rules_of_each_device_whatever_it_is_called(self) -> None:
        # neutron's is tap and the begin of its port's UUID
        tap = 'tap0a1b2c3d-4e'
        more = RULES.partition('nat\n')[2].replace('vnet0', tap)
        text = RULES + more.replace('vnet12', 'tap9')
        self.ebtables.return_value = (0, text, '')
        devices = {'vnet0', 'vnet1', 'vnet12', tap}
        self.assertEqual(
            {'vnet0': 3, 'vnet12': 1, tap: 3},
            filters._rules(self.found, devices),
        )

    def test_its_next_start_may_have_another_one(self) -> None:
        self.config = TEXT.replace(b'nova-instance-i-1', b'nova-other')
        self.assertIn(
            ('nova-other', False),
            [
                (use['filter'], use['active'])
                for use in filters.look(self.found)['uses']
            ],
        )

    def test_one_alone_with_all_of_it(self) -> None:
        said = filters.look(self.found, 'nova-base')
        self.assertEqual([BASE], [one['xml'] for one in said['filters']])
        self.assertEqual(([], None), (said['uses'], said['rules']))
        self.assertEqual([], filters.look(self.found, 'no')['filters'])

    def test_what_is_no_xml_is_told(self) -> None:
        with mock.patch(f'{__name__}.BASE', '<filter name=nova-base>'):
            said = filters.look(self.found)
        self.assertIsNone(said['filters'])
        self.assertIn('nwfilter-dumpxml nova-base: not well', said['why'])

    def test_what_is_not_known(self) -> None:
        self.ebtables.return_value = (1, '', 'no kernel')
        self.assertIsNone(filters.look(self.found)['rules'])
        self.ebtables.side_effect = AgentError('not installed')
        self.assertIsNone(filters.look(self.found)['rules'])

    def test_as_it_was_or_not_at_all(self) -> None:
        digest = hashlib.sha256(BASE.encode()).hexdigest()
        filters.change(self.found, 'nova-base', digest, '<filter/>')
        filters.change(self.found, 'new', '', '<filter/>')
        self.assertEqual(2, len(self.orders))
        for name, was in (('nova-base', ''), ('new', digest)):
            self.assertRaises(
                Refused, filters.change, self.found, name, was, '<filter/>'
            )
        self.assertEqual(2, len(self.orders))
        self.assertRaises(
            Refused, filters.change, self.found, 'nova-base', digest, None
        )
