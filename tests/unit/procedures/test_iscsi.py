# SPDX-License-Identifier: Apache-2.0

"""What sessions are of, and when one is closed or opened."""

from __future__ import annotations

from typing import Any

from nova_recovery import changes
from nova_recovery.cloud.db.connections import Connection, Path
from nova_recovery.cloud.records import Server
from nova_recovery.engine import change, findings
from nova_recovery.engine.findings import Finding
from nova_recovery.engine.plan import Gate, Plan
from nova_recovery.procedures.iscsi import procedure, show
from nova_recovery.procedures.iscsi.facts import Facts
from nova_recovery.procedures.iscsi.procedure import Elsewhere, Request
from nova_recovery.procedures.reached import Reached
from tests.base import TestCase

VOLUME = '39c9a6f3-9a0c-4e2c-9f06-7b0c6d3f9cc2'
WEB = '3f57699a-e773-4650-a443-b4b37eed5a06'
DB = '0d2cd44e-9d0e-4a5b-a4b4-1f0f3d5a7f11'
IQN = f'iqn.2010-10.org.openstack:volume-{VOLUME}'
ARRAY = 'iqn.1992-08.com.netapp:sn.4082'
PORTAL = '10.0.0.1:3260'


def disk(device: str = 'sdb', lun: int = 1, **more: Any) -> dict[str, Any]:
    return {
        'device': device,
        'lun': lun,
        'wwid': f'3{device}',
        'state': 'running',
        'bytes': 1 << 30,
        'maps': [],
        'names': [device],
        'uses': [],
        **more,
    }


def session(
    *disks: dict[str, Any], number: int = 1, **more: Any
) -> dict[str, Any]:
    return {
        'session': number,
        'target': IQN,
        'portal': PORTAL,
        'state': 'LOGGED_IN',
        'disks': list(disks),
        **more,
    }


def host(
    *sessions: dict[str, Any], domains: Any = (), name: str = 'c1'
) -> Reached:
    said = {'sessions': list(sessions), 'domains': domains, 'why': 'no'}
    return Reached(name, f'id-of-{name}', said=({**said, 'record': False},))


def wanted(
    volume: str = VOLUME,
    uuid: str = WEB,
    lun: int | None = 1,
    vm_state: str = 'active',
    target: str = IQN,
    wwid: str = '',
) -> Connection:
    server = Server(
        uuid=uuid,
        id=1,
        name=f'name-{uuid[:2]}',
        cell='cell1',
        host='c1',
        node='c1',
        compute_id=None,
        vm_state=vm_state,
        power_state=1,
        task_state=None,
        project='p',
        zone=None,
        locked=False,
        hidden=False,
        image=None,
        root_device=None,
        instance_name='',
        row={},
    )
    return Connection(volume, server, (Path(target, PORTAL, lun),), wwid)


def facts(
    *hosts: Reached, own: tuple[Connection, ...] = (), **more: Any
) -> Facts:
    return Facts(hosts, {'c1': own}, **more)


class Shown(TestCase):
    def judged(self, found: Facts) -> list[Finding]:
        return list(show.judge(found).findings)

    def codes(self, found: Facts) -> list[tuple[str, str]]:
        return [(one.code, one.severity) for one in self.judged(found)]

    def test_what_nova_has_through_it_is_its_volume_and_server(self) -> None:
        (one,) = self.judged(
            facts(
                host(session(disk(), target=ARRAY)),
                own=(wanted(target=ARRAY),),
            )
        )
        self.assertEqual(
            ('ISCSI-SESSION', VOLUME, WEB), (one.code, one.volume, one.server)
        )
        self.assertEqual('name-3f', one.more['server'])

    def test_one_session_of_an_array_has_the_luns_of_several(self) -> None:
        other = wanted('0' * 8 + VOLUME[8:], DB, 2, target=ARRAY)
        (one,) = self.judged(
            facts(
                host(session(disk(), disk('sdc', 2), target=ARRAY)),
                own=(wanted(target=ARRAY), other),
            )
        )
        self.assertEqual(f'{VOLUME}, {other.volume}', one.volume)
        self.assertEqual('', one.server)
        self.assertEqual('name-3f, name-0d', one.more['server'])

    def test_the_domain_tells_by_what_is_made_of_the_disk(self) -> None:
        mapped = disk(maps=['mpatha'], names=['sdb', 'dm-0'])
        guest = {'uuid': WEB, 'name': 'i-1', 'disks': {'dm-0': VOLUME}}
        (one,) = self.judged(
            facts(host(session(mapped, target=ARRAY), domains=[guest]))
        )
        self.assertEqual((VOLUME, WEB), (one.volume, one.server))
        self.assertEqual('sdb (mpatha)', one.more['disks'])

    def test_what_nobody_uses_is_told_with_what_closes_it(self) -> None:
        (one,) = self.judged(facts(host(session(disk()))))
        self.assertEqual('ISCSI-UNUSED', one.code)
        self.assertIn('session delete c1 --session 1', one.fix)

    def test_where_nova_does_not_answer_nothing_is_unused(self) -> None:
        found = facts(host(session(disk())), unknown=('cell1 is down',))
        self.assertEqual([('ISCSI-SESSION', findings.NOTE)], self.codes(found))
        self.assertIn(
            'not compared with nova: cell1 is down', show.judge(found).summary
        )

    def test_a_volume_of_an_active_server_without_session(self) -> None:
        for state, domains, severity in (
            ('active', [{'uuid': WEB, 'active': True}], findings.DANGER),
            ('active', None, findings.DANGER),
            # its start makes one
            ('active', [{'uuid': WEB, 'active': False}], findings.STALE),
            # libvirt may have lost it, and it runs on
            ('active', [], findings.DANGER),
            ('stopped', None, findings.NOTE),
        ):
            found = facts(host(domains=domains), own=(wanted(vm_state=state),))
            self.assertEqual([('ISCSI-LOST', severity)], self.codes(found))

    def test_a_session_whose_target_has_lost_the_disk(self) -> None:
        running = [{'uuid': WEB, 'active': True, 'disks': {}}]
        array, own = {'target': ARRAY}, (wanted(target=ARRAY, wwid='3x'),)
        for there, volumes, told in (
            (session(), (wanted(),), [findings.NOTE, findings.DANGER]),
            (session(disk(lun=2)), (wanted(),), [findings.GOOD]),
            (
                session(disk('sdc', 2), **array),
                own,
                [findings.GOOD, findings.DANGER],
            ),
            (session(disk(), **array), own, [findings.GOOD]),
            # by its wwid, or by what its guest says of it
            (session(disk('x', 2), **array), own, [findings.GOOD]),
        ):
            found = self.judged(
                facts(host(there, domains=running), own=volumes)
            )
            self.assertEqual(told, [one.severity for one in found], there)
            if len(told) > 1:
                self.assertEqual(
                    ('ISCSI-LOST', WEB), (found[1].code, found[1].server)
                )
                self.assertIn('session 1 has no disk of it', found[1].cause)
        guest = {**running[0], 'disks': {'sdc': VOLUME}}
        there = host(session(disk('sdc', 9), **array), domains=[guest])
        (one,) = self.judged(facts(there, own=own))
        self.assertEqual(findings.GOOD, one.severity)

    def test_a_session_at_another_portal_is_none_of_the_volume(self) -> None:
        found = facts(
            host(session(disk(), portal='10.0.0.2:3260'), domains=None),
            own=(wanted(),),
        )
        self.assertIn(('ISCSI-LOST', findings.DANGER), self.codes(found))

    def test_a_dead_portal_under_a_guest_and_under_nobody(self) -> None:
        use = {'kind': 'open', 'what': 'qemu (7)', 'server': WEB}
        for uses, severity in (([use], findings.DANGER), ([], findings.STALE)):
            found = facts(host(session(disk(uses=uses), state='FAILED')))
            self.assertEqual([('ISCSI-DEAD', severity)], self.codes(found))
        found = facts(host(session(disk(state='blocked'))))
        self.assertEqual('sdb is blocked', self.judged(found)[0].cause)

    def test_a_host_that_does_not_answer_is_unknown(self) -> None:
        found = facts(Reached('c1', problem='unreachable'), own=(wanted(),))
        self.assertEqual(
            [('HOST-UNKNOWN', findings.UNKNOWN)], self.codes(found)
        )


class Closed(TestCase):
    def decide(self, found: Facts, number: int = 1) -> Plan:
        plan = procedure.decide_close(Request('c1', number), found, '/home')
        plan.check(change.kinds(changes.registry()))
        return plan

    def refused(self, plan: Plan) -> list[tuple[str, str]]:
        return [(g.name, g.klass) for g in plan.gates if g.blocks]

    def test_an_unused_one_with_its_target_and_portal(self) -> None:
        plan = self.decide(facts(host(session(disk()))))
        self.assertFalse(plan.blocked)
        (item,) = plan.items()
        self.assertEqual(
            (1, IQN, PORTAL),
            tuple(item.data[n] for n in ('session', 'target', 'portal')),
        )

    def test_whoever_uses_a_disk_of_it_refuses(self) -> None:
        use = {'kind': 'mount', 'what': '/mnt', 'server': None}
        plan = self.decide(
            facts(host(session(disk(), disk('sdc', 2, uses=[use]))))
        )
        self.assertEqual([('session-unused', 'hard')], self.refused(plan))
        (gate,) = (g for g in plan.gates if g.blocks)
        self.assertEqual('sdc: mount /mnt', gate.observed)

    def test_the_volume_of_one_server_may_be_taken_those_of_two_not(
        self,
    ) -> None:
        found = host(session(disk(), target=ARRAY))
        own = (wanted(target=ARRAY, vm_state='stopped'),)
        plan = self.decide(facts(found, own=own))
        self.assertEqual([('session-unneeded', 'soft')], self.refused(plan))
        own += (wanted('0' * 8 + VOLUME[8:], DB, 2, target=ARRAY),)
        plan = self.decide(facts(found, own=own))
        self.assertEqual([('session-unneeded', 'hard')], self.refused(plan))

    def test_what_nova_has_there_must_be_known(self) -> None:
        plan = self.decide(facts(host(session(disk())), unknown=('down',)))
        self.assertEqual([('session-unneeded', 'soft')], self.refused(plan))

    def test_a_number_that_is_not_there(self) -> None:
        plan = self.decide(facts(host(session(disk()))), 2)
        self.assertEqual([('session-there', 'hard')], self.refused(plan))
        self.assertEqual([], list(plan.items()))

    def test_a_host_that_does_not_answer(self) -> None:
        plan = self.decide(facts(Reached('c1', problem='unreachable')))
        self.assertEqual([('host-answers', 'hard')], self.refused(plan))
        self.assertEqual([], list(plan.items()))


class Opened(TestCase):
    request = Request('c1', None, IQN, PORTAL)

    def decide(
        self,
        *sessions: dict[str, Any],
        offered: bool = True,
        other: Elsewhere | None = None,
    ) -> Plan:
        targets = [{'target': IQN, 'portal': PORTAL}] if offered else []
        plan = procedure.decide_open(
            self.request,
            facts(host(*sessions)),
            Reached('c1', said=({'targets': targets},)),
            other or Elsewhere(),
            '/home',
        )
        plan.check(change.kinds(changes.registry()))
        return plan

    def gates(self, plan: Plan) -> list[Gate]:
        return [gate for gate in plan.gates if gate.blocks]

    def test_one_that_is_offered_and_that_nobody_else_has(self) -> None:
        plan = self.decide()
        self.assertEqual([], self.gates(plan))
        self.assertEqual(['open-session'], [i.kind for i in plan.items()])

    def test_nothing_is_done_where_it_is_there(self) -> None:
        plan = self.decide(session(disk(), number=7))
        self.assertEqual([], list(plan.items()))
        self.assertIn('session 7', plan.notes[0])

    def test_what_is_not_offered_and_what_another_host_has(self) -> None:
        (gate,) = self.gates(self.decide(offered=False))
        self.assertEqual(('target-offered', 'soft'), (gate.name, gate.klass))
        for other in (
            Elsewhere(('server x on c2',)),
            Elsewhere(unknown='no cinder'),
        ):
            (gate,) = self.gates(self.decide(other=other))
            self.assertEqual('disk-nowhere-else', gate.name)
