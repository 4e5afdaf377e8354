# SPDX-License-Identifier: Apache-2.0

"""Filters of guests: which are missing, and how they are defined again."""

from __future__ import annotations

from typing import Any
from unittest import mock
from xml.etree import ElementTree

from nova_recovery import changes
from nova_recovery.engine import change
from nova_recovery.engine.findings import Assessment
from nova_recovery.engine.plan import Plan
from nova_recovery.procedures import filters, rebuild_filters
from nova_recovery.procedures.reached import Reached
from nova_recovery.procedures.rebuild_filters import Request
from tests.base import TestCase

WEB = '3f57699a-e773-4650-a443-b4b37eed5a06'
MAC = 'fa:16:3e:00:00:01'
OWN = 'nova-instance-instance-00000001-fa163e000001'
LIBVIRT = ('no-mac-spoofing', 'no-ip-spoofing', 'no-arp-spoofing')
ALL: dict[str, tuple[str, ...]] = {
    OWN: ('nova-base',),
    'nova-base': (*LIBVIRT, 'allow-dhcp-server'),
    **dict.fromkeys((*LIBVIRT, 'allow-dhcp-server'), ()),
}


def use(active: bool = True, **more: Any) -> dict[str, Any]:
    return {
        'server': WEB,
        'domain': 'instance-00000001',
        'nova': True,
        'active': active,
        'mac': MAC,
        'target': 'vnet0' if active else '',
        'filter': OWN,
        'parameters': {'DHCPSERVER': '10.0.0.1'},
        **more,
    }


def host(
    defined: Any = ALL, *uses: dict[str, Any], rules: int | None = 20
) -> Reached:
    """:param defined: name -> what it is made of"""
    said: dict[str, Any] = {
        'filters': [
            {'name': name, 'uuid': f'uuid-of-{name}', 'refs': refs}
            for name, refs in defined.items()
        ],
        'uses': list(uses),
        'rules': None if rules is None else {'vnet0': rules},
        'why': '',
    }
    return Reached('c1', 'id-of-c1', said=(said,))


def without(*names: str) -> dict[str, tuple[str, ...]]:
    return {name: refs for name, refs in ALL.items() if name not in names}


class Listed(TestCase):
    def codes(self, *hosts: Reached) -> list[tuple[str, str]]:
        return [(f.label, f.code) for f in self.judged(*hosts).findings]

    def judged(self, *hosts: Reached) -> Assessment:
        return filters.judge(hosts)

    def test_as_it_should_be(self) -> None:
        found = self.judged(host(ALL, use()))
        self.assertEqual(
            [('nova-base', 'FILTER-GOOD'), (OWN, 'FILTER-GOOD')],
            [(f.label, f.code) for f in found.findings],
        )
        base, own = found.findings
        self.assertEqual(('', 20), (base.more['rules'], own.more['rules']))
        self.assertEqual('instance-00000001', base.more['guests'])
        self.assertEqual(0, found.exit_code)

    def test_missing_under_one_that_is_off(self) -> None:
        for name in (OWN, 'nova-base', 'no-ip-spoofing'):
            found = self.judged(host(without(name), use(False)))
            (one,) = (f for f in found.findings if f.label == name)
            self.assertEqual('FILTER-MISSING', one.code)
            self.assertIn('instance-00000001 can not be started', one.cause)
            self.assertEqual(4, found.exit_code)
            # what nova did not make the package has
            if name == 'no-ip-spoofing':
                self.assertIn('nwfilter-define /usr/share', one.expected)
            else:
                self.assertIn('guest filter rebuild --host c1', one.fix)

    def test_what_a_missing_one_is_made_of_may_be_missing_too(self) -> None:
        gone = without(OWN, 'nova-base')
        self.assertEqual(
            [
                ('nova-base', 'FILTER-MISSING'),
                (OWN, 'FILTER-MISSING'),
                ('nova-no-nd-reflection', 'FILTER-MISSING'),
            ],
            self.codes(host(gone, use(False))),
        )

    def test_one_that_nobody_carries_out(self) -> None:
        self.assertIn(
            (OWN, 'FILTER-RULES'), self.codes(host(ALL, use(), rules=0))
        )
        for quiet in (
            host(ALL, use(False), rules=0),
            host(ALL, use(), rules=None),
        ):
            self.assertIn((OWN, 'FILTER-GOOD'), self.codes(quiet))

    def test_left_by_a_guest_that_is_gone(self) -> None:
        self.assertIn((OWN, 'FILTER-LEFT'), self.codes(host(ALL)))

    def test_where_neutron_filters(self) -> None:
        there = host(dict.fromkeys(LIBVIRT, ()), use(filter=''))
        self.assertEqual([('', 'FILTER-NONE')], self.codes(there))
        (one,) = self.judged(there).findings
        self.assertIn('neutron-openvswitch-agent', one.expected)

    def test_what_is_not_known(self) -> None:
        silent = host()
        silent.said[0].update(filters=None, why='no socket')  # type: ignore
        self.assertEqual(
            [('', 'LIBVIRT-SILENT'), ('', 'HOST-UNKNOWN')],
            self.codes(silent, Reached('c2', problem='unreachable')),
        )

    def test_filters_that_refer_to_each_other_end(self) -> None:
        found = filters.Filters.of(
            host({'a': ('b',), 'b': ('a',)}, use(filter='a')).said[0]
        )
        assert found is not None
        self.assertEqual({'a', 'b'}, set(found.needed()))


class Planned(TestCase):
    def decide(self, there: Reached, *names: str) -> Plan:
        plan = rebuild_filters.decide(Request('c1', names), there, '/home')
        plan.check(change.kinds(changes.registry()))
        return plan

    def named(self, plan: Plan) -> list[str]:
        return [item.data['name'] for item in plan.items()]

    def refused(self, plan: Plan) -> list[tuple[str, str, str]]:
        return [(g.name, g.klass, g.state) for g in plan.gates if g.blocks]

    def test_what_is_missing_with_what_it_is_made_of(self) -> None:
        plan = self.decide(host(without(OWN, 'nova-base'), use(False)))
        self.assertEqual([], self.refused(plan))
        self.assertEqual(
            ['nova-no-nd-reflection', 'nova-base', OWN], self.named(plan)
        )
        *_, own = plan.items()
        top = ElementTree.fromstring(own.data['xml'])
        self.assertEqual(
            (OWN, 'root', 'nova-base', own.data['uuid']),
            (
                top.get('name'),
                top.get('chain'),
                top.find('filterref').get('filter'),  # type: ignore
                top.findtext('uuid'),
            ),
        )
        again = self.decide(host(without(OWN, 'nova-base'), use(False)))
        self.assertEqual(plan.digest, again.digest)

    def test_the_uuid_that_it_has_stays(self) -> None:
        plan = self.decide(host(ALL, use()), 'nova-base')
        self.assertEqual(
            ['nova-no-nd-reflection', 'nova-base'], self.named(plan)
        )
        _, base = plan.items()
        # taken back, it goes before what it refers to
        self.assertEqual(('filter:c1:nova-no-nd-reflection',), base.follows)
        self.assertIs(True, base.data['there'])
        self.assertIn('<uuid>uuid-of-nova-base</uuid>', base.data['xml'])

    def test_a_domain_that_names_no_dhcp_server(self) -> None:
        plan = self.decide(host(without(OWN), use(False, parameters={})))
        *_, own = plan.items()
        self.assertIn('"nova-nodhcp"', own.data['xml'])
        self.assertIn('nova-nodhcp', self.named(plan))
        self.assertIn('without a DHCP server', plan.notes[0])

    def test_what_nova_did_not_make(self) -> None:
        plan = self.decide(host(without('no-ip-spoofing'), use(False)))
        self.assertEqual([], self.named(plan))
        self.assertEqual([], self.refused(plan))
        self.assertIn(
            'filter-known', [g.name for g in plan.gates if g.state != 'ok']
        )
        for name in ('clean-traffic', OWN.replace('1', '2')):
            plan = self.decide(host(ALL, use()), name)
            self.assertEqual(
                [('filter-named', 'hard', 'refused')], self.refused(plan)
            )

    def test_where_neutron_filters(self) -> None:
        plan = self.decide(host(ALL, use(filter='')))
        (gate,) = (g for g in plan.gates if g.blocks)
        self.assertEqual('filters-of-libvirt', gate.name)
        self.assertIn('openstack port set --host c1 PORT', gate.remedy)

    def test_nothing_is_missing(self) -> None:
        plan = self.decide(host(ALL, use(), rules=0))
        self.assertEqual([], self.named(plan))
        self.assertIn('None is missing', plan.notes[0])
        self.assertIn('systemctl reload libvirtd', plan.notes[1])

    def test_what_is_not_known(self) -> None:
        silent = host()
        silent.said[0].update(filters=None, why='no socket')  # type: ignore
        self.assertEqual(
            [('filters-known', 'hard', 'unknown')],
            self.refused(self.decide(silent)),
        )
        plan = self.decide(Reached('c1', problem='unreachable'))
        self.assertEqual(
            [('host-answers', 'hard', 'unknown')], self.refused(plan)
        )

    def test_begun_only_the_host_is_asked(self) -> None:
        plan = self.decide(host(ALL, use()), 'nova-base')
        with mock.patch.object(
            rebuild_filters.reached, 'read', return_value=[host(ALL)]
        ):
            found = rebuild_filters.check(plan, mock.Mock(), frozenset({'x'}))
            self.assertEqual(['host-answers'], [gate.name for gate in found])
            cloud = mock.Mock()
            cloud.conf.fleet.home = '/home'
            found = rebuild_filters.check(plan, cloud, frozenset())
            self.assertFalse([gate for gate in found if gate.blocks])
