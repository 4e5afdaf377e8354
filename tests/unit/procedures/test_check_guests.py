# SPDX-License-Identifier: Apache-2.0

"""Where guests run, beside where nova has them."""

from __future__ import annotations

from typing import Any

from nova_recovery.cloud.records import Server
from nova_recovery.engine import findings
from nova_recovery.engine.findings import Assessment
from nova_recovery.procedures import check_guests
from nova_recovery.procedures.check_guests import Facts
from nova_recovery.procedures.reached import Reached
from tests.base import TestCase
from tests.unit.tables import Memory

WEB = '3f57699a-e773-4650-a443-b4b37eed5a06'


def domain(state: str = 'running', **more: Any) -> dict[str, Any]:
    return {
        'uuid': WEB,
        'name': 'instance-00000001',
        'active': state != 'shut off',
        'state': state,
        'nova': True,
        'vnc': '127.0.0.1',
        'dhcp_server': '',
        'disks': {},
        **more,
    }


def host(
    name: str, *domains: dict[str, Any], processes: bool = False, **more: Any
) -> Reached:
    rows = [{'uuid': WEB, 'pid': 7}] if processes else []
    said = {'processes': rows, 'domains': list(domains), 'why': '', **more}
    return Reached(name, f'id-of-{name}', said=(said,))


def server(at: str | None = 'c1', **more: Any) -> dict[str, Server]:
    fields = {
        'uuid': WEB,
        'id': 1,
        'name': 'web',
        'cell': 'cell1',
        'host': at,
        'node': at,
        'compute_id': None,
        'vm_state': 'active',
        'power_state': 1,
        'task_state': None,
        'project': 'p',
        'zone': None,
        'locked': False,
        'hidden': False,
        'image': None,
        'root_device': None,
        'instance_name': '',
        'row': {},
        **more,
    }
    return {WEB: Server(**fields)}


def judged(
    *hosts: Reached, everything: bool = False, **more: Any
) -> Assessment:
    more.setdefault('servers', {})
    return check_guests.judge(Facts(hosts, **more), everything)


class Judged(TestCase):
    def codes(
        self, *hosts: Reached, **more: Any
    ) -> list[tuple[str, str, str]]:
        return [
            (one.host, one.code, one.severity)
            for one in judged(*hosts, **more).findings
        ]

    def test_where_nova_has_it(self) -> None:
        found = judged(host('c1', domain()), servers=server())
        self.assertEqual(findings.GOOD, found.worst)
        self.assertEqual([], found.table[1])
        found = judged(host('c1', domain()), servers=server(), everything=True)
        self.assertEqual(1, len(found.table[1]))

    def test_on_two_hosts_is_danger_on_both(self) -> None:
        found = self.codes(
            host('c1', domain()), host('c2', domain()), servers=server()
        )
        self.assertEqual(
            [
                ('c1', 'GUEST-TWICE', findings.DANGER),
                ('c2', 'GUEST-TWICE', findings.DANGER),
            ],
            found,
        )

    def test_only_the_one_that_nova_does_not_have_is_to_be_ended(self) -> None:
        two = host('c1', domain()), host('c2', domain())
        at_home, other = judged(*two, servers=server()).findings
        self.assertEqual('', at_home.fix)
        self.assertIn(f'guest stop {WEB} --host c2', other.fix)
        for one in judged(*two, unknown=('down',)).findings:
            self.assertEqual('', one.fix)

    def test_the_only_living_one_is_not_to_be_ended(self) -> None:
        for home in (
            host('c1', domain('paused')),
            host('c1', processes=True),
            host('c1', domain('shut off'), processes=True),
        ):
            found = judged(home, host('c2', domain()), servers=server())
            self.assertEqual(
                [('GUEST-TWICE', ''), ('GUEST-TWICE', '')],
                [(one.code, one.fix) for one in found.findings],
            )
            self.assertIn('which of them writes', found.findings[1].expected)
        two = host('c1', domain('paused')), host('c2', domain())
        one, _other = judged(*two, servers=server()).findings
        self.assertIn('on c1 (paused) and c2:', one.cause)
        # and where its home was not asked, nobody knows
        two = host('c2', domain()), host('c3', domain())
        for one in judged(*two, servers=server()).findings:
            self.assertEqual(('GUEST-TWICE', ''), (one.code, one.fix))

    def test_a_process_that_libvirt_does_not_tell_of_counts(self) -> None:
        silent = host('c2', processes=True, domains=None, why='no socket')
        found = self.codes(host('c1', domain()), silent, servers=server())
        self.assertIn(('c2', 'GUEST-TWICE', findings.DANGER), found)
        self.assertIn(('c2', 'LIBVIRT-SILENT', findings.UNKNOWN), found)

    def test_a_live_migration_is_none_while_one_of_them_waits(self) -> None:
        moving = server(task_state='migrating')
        two = host('c1', domain()), host('c2', domain('paused'))
        for _host, code, severity in self.codes(*two, servers=moving):
            self.assertNotEqual('GUEST-TWICE', code)
            self.assertNotEqual(findings.DANGER, severity)
        # the task may be years old: two that run are two
        two = host('c1', domain()), host('c2', domain())
        self.assertIn(
            ('c1', 'GUEST-TWICE', findings.DANGER),
            self.codes(*two, servers=moving),
        )
        # without a task it may be woken at any time
        two = host('c1', domain()), host('c2', domain('paused'))
        self.assertIn(
            ('c2', 'GUEST-TWICE', findings.DANGER),
            self.codes(*two, servers=server()),
        )

    def test_it_runs_where_nova_does_not_have_it(self) -> None:
        found = judged(host('c2', domain()), host('c1'), servers=server())
        codes = {one.code: one for one in found.findings}
        self.assertEqual({'GUEST-ELSEWHERE', 'GUEST-OFF'}, set(codes))
        self.assertIn('--host c2', codes['GUEST-ELSEWHERE'].fix)
        # nobody is told to start it a second time
        self.assertEqual('', codes['GUEST-OFF'].fix)
        self.assertIn('it runs on c2', codes['GUEST-OFF'].cause)

    def test_the_same_where_it_is_defined_at_home(self) -> None:
        found = judged(
            host('c2', domain()),
            host('c1', domain('shut off')),
            servers=server(),
        )
        (off,) = (f for f in found.findings if f.code == 'GUEST-OFF')
        self.assertEqual('', off.fix)

    def test_only_defined_where_nova_does_not_have_it(self) -> None:
        found = self.codes(
            host('c2', domain('shut off')), servers=server('c1')
        )
        self.assertEqual([('c2', 'GUEST-LEFT', findings.STALE)], found)
        # the source of a resize keeps it until that is confirmed
        found = self.codes(
            host('c2', domain('shut off')), servers=server(vm_state='resized')
        )
        self.assertEqual([('c2', 'GUEST-MOVING', findings.NOTE)], found)

    def test_it_should_run_and_does_not(self) -> None:
        for there in (host('c1'), host('c1', domain('shut off'))):
            found = judged(there, servers=server())
            (one,) = found.findings
            self.assertEqual('GUEST-OFF', one.code)
            self.assertIn(f'server reboot {WEB}', one.fix)
        for state in ('stopped', 'suspended', 'shelved_offloaded'):
            found = judged(host('c1'), servers=server(vm_state=state))
            self.assertEqual((), found.findings)
        # somebody is at it
        found = judged(host('c1'), servers=server(task_state='powering-on'))
        self.assertEqual((), found.findings)

    def test_nothing_is_missing_where_libvirt_does_not_tell(self) -> None:
        silent = host('c1', domains=None, why='no socket')
        found = self.codes(silent, servers=server())
        self.assertEqual([('c1', 'LIBVIRT-SILENT', findings.UNKNOWN)], found)

    def test_what_nova_deleted_and_what_it_never_made(self) -> None:
        deleted = {'deleted': frozenset({WEB})}
        for state, code, severity in (
            ('running', 'GUEST-ORPHAN', findings.DANGER),
            ('shut off', 'GUEST-LEFT', findings.STALE),
        ):
            found = self.codes(host('c1', domain(state)), **deleted)
            self.assertEqual([('c1', code, severity)], found)
        found = self.codes(host('c1', domain(nova=False)))
        self.assertEqual([('c1', 'GUEST-FOREIGN', findings.NOTE)], found)

    def test_an_orphan_is_to_be_ended_only_if_nova_deleted_it(self) -> None:
        there = host('c1', domain())
        (one,) = judged(there, deleted=frozenset({WEB})).findings
        self.assertIn(f'guest stop {WEB} --host c1', one.fix)
        # after a restore the databases are older than the newest guests
        (one,) = judged(there).findings
        self.assertEqual(('GUEST-ORPHAN', ''), (one.code, one.fix))
        self.assertIn('restored from a dump', one.expected)

    def test_where_the_databases_do_not_tell_nothing_is_an_orphan(
        self,
    ) -> None:
        found = self.codes(host('c1', domain()), unknown=('cell1 is down',))
        self.assertEqual([('c1', 'GUEST-UNKNOWN', findings.UNKNOWN)], found)

    def test_a_host_that_does_not_answer(self) -> None:
        found = self.codes(
            Reached('c1', problem='unreachable'), servers=server()
        )
        self.assertEqual([('c1', 'HOST-UNKNOWN', findings.UNKNOWN)], found)

    def test_a_process_at_home_that_libvirt_lost(self) -> None:
        found = self.codes(host('c1', processes=True), servers=server())
        self.assertEqual([('c1', 'GUEST-UNMANAGED', findings.DANGER)], found)


class OfCell(TestCase):
    def test_of_exactly_these_hosts_and_of_what_was_seen(self) -> None:
        cell = Memory(
            instances='id uuid host display_name vm_state hidden deleted'
        )
        for number, (uuid, at, deleted) in enumerate(
            [
                ('a', 'np-rcc4', 0),
                ('b', 'np-rcc46', 0),
                ('c', 'np-rcc9', 0),
                ('d', 'np-rcc4', 5),
                ('e', 'np-rcc9', 6),
            ],
            1,
        ):
            cell.add(
                'instances',
                id=number,
                uuid=uuid,
                host=at,
                hidden=0,
                deleted=deleted,
            )
        live, gone = check_guests.of_cell(cell, ['np-rcc4'], ['c', 'e', 'x'])
        self.assertEqual({'a', 'c'}, set(live))
        self.assertEqual({'e'}, gone)
