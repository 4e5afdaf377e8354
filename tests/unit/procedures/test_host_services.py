# SPDX-License-Identifier: Apache-2.0

"""Services of hosts: what is told of them, and when they are restarted."""

from __future__ import annotations

import datetime
from typing import Any

from nova_recovery import changes, program
from nova_recovery.cloud.records import Service as Row
from nova_recovery.engine import change, findings
from nova_recovery.engine.plan import Plan
from nova_recovery.procedures import list_services, restart_services
from nova_recovery.procedures.reached import Reached
from nova_recovery.procedures.restart_services import Request
from nova_recovery.procedures.starts import Rows
from nova_recovery.procedures.uid.procedure import Service
from tests.base import TestCase
from tests.unit.procedures.test_check_guests import server, WEB
from tests.unit.procedures.test_starts import away
from tests.unit.procedures.uid import hosts as uid_hosts


def service(
    name: str, group: str = 'nova', state: str = 'active', held: str = ''
) -> Any:
    return {
        'name': name,
        'group': group,
        'state': f'{state} (x)',
        'runs': state == 'active',
        'held': held,
    }


def host(name: str, *services: dict[str, Any], guests: int = 0) -> Reached:
    processes = [{'uuid': WEB, 'pid': n} for n in range(guests)]
    rows = list(services) or [service('nova-compute.service')]
    return Reached(
        name,
        f'id-of-{name}',
        said=({'services': rows}, {'processes': processes}),
    )


class Restarted(TestCase):
    def decide(
        self,
        *found: Reached,
        rows: Rows | None = None,
        served: dict[str, Service] | None = None,
        contained: bool = False,
        libvirt: bool = False,
    ) -> Plan:
        names = tuple(one.name for one in found)
        prefix = ['docker', 'exec', 'nova_libvirt'] if contained else []
        layout = {'exec_prefix': prefix, 'layout': 'kolla'}
        plan = restart_services.decide(
            Request(names, libvirt),
            found,
            dict.fromkeys(names, layout),
            uid_hosts.claimable(*names) if served is None else served,
            rows or Rows(),
            '/home',
        )
        plan.check(change.kinds(changes.registry()))
        return plan

    def refused(self, plan: Plan) -> list[tuple[str, str, str]]:
        return [(g.name, g.subject, g.klass) for g in plan.gates if g.blocks]

    def test_stopped_started_and_heard_of_under_a_claim(self) -> None:
        plan = self.decide(host('c1'))
        self.assertEqual([], self.refused(plan))
        self.assertEqual(
            [
                'claim-host:c1',
                'stop-services:c1',
                'start-services:c1',
                'see-service:c1',
                'release-host:c1',
            ],
            [item.id for item in plan.items()],
        )
        stop = next(i for i in plan.items() if i.kind == 'stop-services')
        self.assertEqual(['nova'], stop.data['groups'])

    def test_what_does_not_run_is_left_so(self) -> None:
        off = service('nova-compute.service', state='inactive')
        plan = self.decide(host('c1', off), host('c2'))
        self.assertEqual({'c2'}, {item.data['host'] for item in plan.items()})
        self.assertIn('c1', plan.notes[0])

    def test_a_guest_that_a_start_would_destroy(self) -> None:
        rows = Rows(server(), away())
        plan = self.decide(host('c1'), rows=rows)
        self.assertEqual([('no-tombstone', 'web', 'hard')], self.refused(plan))

    def test_the_only_guest_that_a_start_would_destroy(self) -> None:
        rows = Rows(server('c2'), away())
        plan = self.decide(host('c1', guests=1), rows=rows)
        self.assertEqual([('no-tombstone', 'web', 'soft')], self.refused(plan))
        self.assertEqual([], self.refused(self.decide(host('c1'), rows=rows)))

    def test_what_is_not_started_destroys_nothing(self) -> None:
        off = service('nova-compute.service', state='inactive')
        rows = Rows(server(), away())
        libvirt = service('libvirtd.service', 'libvirt')
        for more in ((), (libvirt,)):
            plan = self.decide(host('c1', off, *more), rows=rows)
            self.assertEqual([], self.refused(plan))

    def test_evacuations_that_are_not_known(self) -> None:
        plan = self.decide(host('c1'), rows=Rows(unknown=('cell1 is down',)))
        self.assertEqual([('no-tombstone', '', 'soft')], self.refused(plan))

    def test_what_nova_is_at(self) -> None:
        busy = server(task_state='spawning')
        plan = self.decide(host('c1'), rows=Rows(busy))
        self.assertEqual([('no-task', 'web', 'soft')], self.refused(plan))

    def test_guests_that_end_with_a_container(self) -> None:
        there = host('c1', guests=2)
        self.assertEqual(
            [('no-guest-runs', 'c1', 'hard')],
            self.refused(self.decide(there, contained=True, libvirt=True)),
        )
        for more in ({'contained': True}, {'libvirt': True}):
            self.assertEqual([], self.refused(self.decide(there, **more)))

    def test_a_host_that_is_claimed_and_one_that_can_not_be(self) -> None:
        served = uid_hosts.claimable('c1')
        held = {'c1': Service('c1', 'cell1', 1, {}, holder='run=1')}
        plan = self.decide(host('c1'), served=held)
        self.assertEqual(
            [('host-unclaimed', 'c1', 'hard')], self.refused(plan)
        )
        none = {'c1': Service('c1', why_not='no database')}
        plan = self.decide(host('c1'), served=none)
        self.assertEqual([('host-claimable', '', 'soft')], self.refused(plan))
        self.assertEqual(
            ['stop-services', 'start-services'],
            [item.kind for item in plan.items()],
        )
        self.assertEqual({'c1'}, set(served))

    def test_a_host_that_does_not_answer(self) -> None:
        plan = self.decide(Reached('c1', problem='unreachable'), served={})
        self.assertEqual([('host-answers', 'c1', 'hard')], self.refused(plan))


class Listed(TestCase):
    def codes(self, *found: Reached, **heard: Row) -> list[tuple[str, str]]:
        result = list_services.judge(found, heard)
        return [(one.code, one.severity) for one in result.findings]

    def row(self, **more: Any) -> Row:
        return Row(
            binary='nova-compute',
            host='c1',
            cell='cell1',
            last_seen=datetime.datetime(2026, 1, 1),
            **more,
        )

    def test_states(self) -> None:
        found = self.codes(
            host(
                'c1',
                service('nova-compute.service'),
                service('libvirtd.service', 'libvirt', 'failed'),
                service('libvirtd-tcp.socket', 'libvirt', 'inactive'),
            )
        )
        self.assertEqual(
            [
                ('SERVICE-RUNS', findings.GOOD),
                ('SERVICE-FAILED', findings.STALE),
                ('SERVICE-OFF', findings.NOTE),
            ],
            found,
        )

    def test_what_keeps_one_off_is_named(self) -> None:
        there = host('c1', service('a', state='inactive', held='/x/held'))
        (found,) = list_services.judge([there], {}).findings
        self.assertEqual('SERVICE-HELD', found.code)
        self.assertEqual('inactive (x), by /x/held', found.cause)

    def test_what_nova_hears(self) -> None:
        for state, code in (
            ('up', 'SERVICE-HEARD'),
            ('down', 'SERVICE-UNHEARD'),
            ('forced down', 'SERVICE-UNHEARD'),
        ):
            found = self.codes(host('c1'), c1=self.row(state=state))
            self.assertEqual(code, found[-1][0])
        result = list_services.judge(
            [host('c1')],
            {'c1': self.row(state='up', disabled=True, disabled_reason='why')},
        )
        self.assertIn('disabled: why', result.findings[-1].cause)

    def test_what_brings_one_back_of_which_nova_does_not_hear(self) -> None:
        name = 'nova-compute.service'
        off = service(name, state='inactive')
        restart = program.call('host service restart c1')
        for row, state, told in (
            (service(name), 'down', restart),
            (off, 'down', f'systemctl start {name}'),
            ({**off, 'engine': 'podman'}, 'down', f'podman start {name}'),
            ({**off, 'held': '/x/held'}, 'down', ''),
            (service('libvirtd.service', 'libvirt'), 'down', ''),
            (service(name), 'forced down', ''),
            (service(name), 'up', ''),
        ):
            heard = {'c1': self.row(state=state)}
            last = list_services.judge([host('c1', row)], heard).findings[-1]
            self.assertEqual(told, last.fix or last.expected)

    def test_a_host_that_does_not_answer(self) -> None:
        found = self.codes(Reached('c1', problem='unreachable'))
        self.assertEqual([('HOST-UNKNOWN', findings.UNKNOWN)], found)
