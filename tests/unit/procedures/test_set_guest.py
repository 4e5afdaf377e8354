# SPDX-License-Identifier: Apache-2.0

"""What a guest's XML says, and what is planned to be changed of it."""

from __future__ import annotations

from typing import Any
from unittest import mock

from nova_recovery import changes
from nova_recovery.cli import guests as guests_cli
from nova_recovery.engine import change
from nova_recovery.engine.plan import Plan
from nova_recovery.exceptions import ChangeFailed, NotFound, UsageError
from nova_recovery.procedures import set_guest, show_guest
from nova_recovery.procedures.reached import Reached
from nova_recovery.procedures.set_guest import Facts, Request
from tests.base import TestCase
from tests.unit.procedures.test_check_guests import server, WEB

ONE, TWO = 'fa:16:3e:00:00:01', 'fa:16:3e:00:00:02'


def guest(**more: Any) -> dict[str, Any]:
    values = {'vnc': '0.0.0.0', ONE: '10.0.0.7', TWO: ''}
    return {
        'uuid': WEB,
        'name': 'instance-00000001',
        'state': 'running',
        'active': True,
        'nova': True,
        'persistent': True,
        'config': values,
        'live': values,
        'file': None,
        'path': None,
        **more,
    }


def host(one: dict[str, Any] | None, **more: Any) -> Reached:
    said = {
        'guest': one,
        'listen': '10.0.0.4',
        'listen_from': '[vnc] server_listen of nova.conf',
        'bindable': True,
        **more,
    }
    return Reached('c1', 'id-of-c1', said=(said,))


class Shown(TestCase):
    def show(self, found: Reached) -> tuple[list[Any], str]:
        with mock.patch.object(show_guest, 'ask', return_value=found):
            (_columns, rows), lines = show_guest.show(mock.Mock(), 'c1', WEB)
        return rows, '\n'.join(lines)

    def test_now_later_and_by_nova(self) -> None:
        config = {'vnc': '127.0.0.1', ONE: '10.0.0.1', TWO: ''}
        rows, text = self.show(host(guest(config=config, file=config)))
        self.assertEqual(
            [
                ('VNC listens on', '0.0.0.0', '127.0.0.1', '127.0.0.1',
                 '10.0.0.4'),
                (f'DHCPSERVER of {ONE}', '10.0.0.7', '10.0.0.1', '10.0.0.1',
                 'as nova-network has it'),
            ],
            rows,
        )  # fmt: skip
        self.assertIn('changes VNC: 0.0.0.0 -> 127.0.0.1.', text)
        self.assertIn(
            '[vnc] server_listen of nova.conf, which is 10.0.0.4', text
        )
        self.assertIn('every interface of c1', text)
        self.assertIn(f'guest set {WEB} --host c1 --vnc-listen', text)

    def test_one_that_is_off_and_has_no_filter(self) -> None:
        config = {'vnc': '10.0.0.4', ONE: ''}
        rows, text = self.show(
            host(guest(live=None, config=config, state='shut off'))
        )
        self.assertEqual(
            [('VNC listens on', '', '10.0.0.4', '', '10.0.0.4')], rows
        )
        self.assertIn('It has no DHCPSERVER', text)
        self.assertNotIn('guest set', text)
        self.assertNotIn('every interface', text)

    def test_whoever_is_not_there(self) -> None:
        self.assertRaises(NotFound, self.show, host(None))
        self.assertRaises(
            ChangeFailed, self.show, Reached('c1', problem='unreachable')
        )

    def test_an_address_that_nobody_knows(self) -> None:
        rows, text = self.show(host(guest(), listen=None))
        self.assertEqual('not known', rows[0][-1])
        self.assertNotIn('guest set', text)


class Planned(TestCase):
    def decide(
        self,
        one: dict[str, Any] | None = None,
        vnc: str | None = 'host',
        dhcp: dict[str, str] | None = None,
        task: str | None = None,
        **more: Any,
    ) -> Plan:
        known = server(task_state=task)[WEB] if task else None
        plan = set_guest.decide(
            Request(WEB, 'c1', vnc, dhcp or {}),
            Facts(host(one or guest(), **more), known),
            '/home',
        )
        plan.check(change.kinds(changes.registry()))
        return plan

    def edits(self, plan: Plan) -> list[tuple[str, ...]]:
        return [
            tuple(edit) for item in plan.items() for edit in item.data['edits']
        ]

    def refused(self, plan: Plan) -> list[tuple[str, str, str]]:
        return [(g.name, g.klass, g.state) for g in plan.gates if g.blocks]

    def test_where_nova_of_the_host_has_it(self) -> None:
        plan = self.decide(guest(file={'vnc': '0.0.0.0', ONE: '10.0.0.7'}))
        self.assertEqual([], self.refused(plan))
        self.assertEqual(
            [
                ('config', 'vnc', '0.0.0.0', '10.0.0.4'),
                ('file', 'vnc', '0.0.0.0', '10.0.0.4'),
            ],
            self.edits(plan),
        )
        # whatever nova.conf says when it is carried out
        self.assertEqual('10.0.0.4', plan.arguments['vnc'])
        (note,) = plan.notes
        self.assertIn('until a power cycle it goes on listening', note)

    def test_what_nova_would_take_back_is_told(self) -> None:
        plan = self.decide(guest(live=None), vnc='127.0.0.1')
        (note,) = plan.notes
        self.assertIn('set [vnc] server_listen = 127.0.0.1', note)

    def test_a_console_for_everybody(self) -> None:
        one = guest(config={'vnc': '127.0.0.1'})
        for address in ('0.0.0.0', '::'):
            plan = self.decide(one, vnc=address)
            self.assertEqual(
                [('console-closed', 'soft', 'refused')], self.refused(plan)
            )
        # one that is open already is left so
        self.assertEqual([], self.refused(self.decide(vnc='0.0.0.0')))
        # though nova.conf of the host says so
        plan = self.decide(one, listen='0.0.0.0')
        self.assertEqual(
            [('console-closed', 'soft', 'refused')], self.refused(plan)
        )

    def test_an_address_that_the_host_does_not_have(self) -> None:
        plan = self.decide(vnc='10.9.9.9', bindable=False)
        self.assertEqual(
            [('console-address', 'soft', 'refused')], self.refused(plan)
        )

    def test_an_address_that_is_not_known(self) -> None:
        for listen in (None, 'vnc.example'):
            plan = self.decide(listen=listen)
            self.assertEqual(
                [('console-known', 'hard', 'unknown')], self.refused(plan)
            )

    def test_one_without_a_console(self) -> None:
        for vnc in ('', '0.0.0.0, 10.0.0.4'):
            plan = self.decide(guest(config={'vnc': vnc}))
            self.assertEqual(
                [('console-known', 'hard', 'refused')], self.refused(plan)
            )
            self.assertEqual([], self.edits(plan))

    def test_dhcpserver_of_all_that_have_one(self) -> None:
        plan = self.decide(vnc=None, dhcp={'': '10.0.0.1'})
        self.assertEqual([], self.refused(plan))
        self.assertEqual(
            [
                ('config', ONE, '10.0.0.7', '10.0.0.1'),
                ('live', ONE, '10.0.0.7', '10.0.0.1'),
            ],
            self.edits(plan),
        )

    def test_several_that_differ(self) -> None:
        values = {'vnc': '::1', ONE: '10.0.0.7', TWO: '10.0.1.7'}
        one = guest(config=values, live=values)
        plan = self.decide(one, None, {'': '10.0.0.1'})
        self.assertEqual(
            [('dhcp-parameter', 'hard', 'refused')], self.refused(plan)
        )
        plan = self.decide(one, None, {TWO: '10.0.1.1'})
        self.assertEqual([], self.refused(plan))
        self.assertEqual({TWO}, {edit[1] for edit in self.edits(plan)})

    def test_one_that_is_a_list_by_itself_is_left_to_virsh(self) -> None:
        values = {'vnc': '::1', ONE: '10.0.0.1, 10.0.0.2'}
        one = guest(config=values, live=values)
        for mac in ('', ONE):
            plan = self.decide(one, None, {mac: '10.0.0.1'})
            self.assertEqual(
                [('dhcp-parameter', 'hard', 'refused')], self.refused(plan)
            )
            (gate,) = [g for g in plan.gates if g.state == 'refused']
            # to name it once more would end here again
            self.assertNotIn('--dhcpserver', gate.remedy)
            self.assertIn('virsh edit ', gate.remedy)

    def test_none_where_neutron_filters(self) -> None:
        one = guest(config={'vnc': '::1', ONE: ''}, live=None)
        for mac in ('', ONE):
            plan = self.decide(one, None, {mac: '10.0.0.1'})
            self.assertEqual(
                [('dhcp-parameter', 'hard', 'refused')], self.refused(plan)
            )

    def test_so_already(self) -> None:
        values = {'vnc': '10.0.0.4', ONE: '10.0.0.7'}
        plan = self.decide(guest(config=values, live=values))
        self.assertEqual([], list(plan.items()))
        self.assertIn('It is so already', plan.notes[0])

    def test_what_is_not_nova_s_or_not_kept(self) -> None:
        for fields, refused in (
            ({'nova': False}, ('guest-of-nova', 'hard', 'refused')),
            ({'persistent': False}, ('guest-there', 'hard', 'refused')),
        ):
            plan = self.decide(guest(**fields))
            self.assertEqual([refused], self.refused(plan))

    def test_while_nova_is_at_it(self) -> None:
        plan = self.decide(task='rebooting')
        self.assertEqual([('no-task', 'soft', 'refused')], self.refused(plan))

    def test_no_such_guest_and_no_such_host(self) -> None:
        for there, name in (
            (host(None), 'guest-there'),
            (Reached('c1', problem='unreachable'), 'host-answers'),
        ):
            plan = set_guest.decide(
                Request(WEB, 'c1', 'host'), Facts(there), '/home'
            )
            self.assertEqual([name], [g.name for g in plan.gates if g.blocks])

    def test_begun_only_the_host_is_asked(self) -> None:
        plan = self.decide()
        with mock.patch.object(
            set_guest.reached, 'read', return_value=[host(guest())]
        ):
            found = set_guest.check(plan, mock.Mock(), frozenset({'x'}))
        self.assertEqual(['host-answers'], [gate.name for gate in found])


class Typed(TestCase):
    def test_dhcp_servers(self) -> None:
        self.assertEqual(
            {'': '10.0.0.1'}, guests_cli.dhcp_servers(['10.0.0.1'])
        )
        self.assertEqual(
            {ONE: '10.0.0.1', TWO: 'fd00::1'},
            guests_cli.dhcp_servers(
                [f'{ONE.upper()}=10.0.0.1', f'{TWO}=FD00::1']
            ),
        )
        for words in (
            ['10.0.0'],
            ['web=10.0.0.1'],
            [f'{ONE}=10.0.0.1', '10.0.0.2'],
        ):
            self.assertRaises(UsageError, guests_cli.dhcp_servers, words)
