# SPDX-License-Identifier: Apache-2.0

"""Which numbers accounts get, in which order, and what refuses."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any
from unittest import mock

from nova_recovery import changes
from nova_recovery.changes.claims import ClaimHost, ReleaseHost
from nova_recovery.cloud.db import services
from nova_recovery.engine import change, claiming
from nova_recovery.engine.plan import Gate, Plan
from nova_recovery.exceptions import DatabaseUnavailable, UsageError
from nova_recovery.procedures.starts import Rows
from nova_recovery.procedures.uid import numbers, procedure, show
from nova_recovery.procedures.uid.facts import Facts, Host
from nova_recovery.procedures.uid.procedure import Request, Service
from tests.base import TestCase
from tests.unit.at import at, MARKER
from tests.unit.changes.case import Cloud
from tests.unit.procedures.test_check_guests import server
from tests.unit.procedures.test_starts import away
from tests.unit.procedures.uid import hosts
from tests.unit.procedures.uid.hosts import facts, host, share


class Numbers(TestCase):
    def test_most_hosts_decide(self) -> None:
        goal = numbers.propose(
            [host('c1'), host('c2', {'nova': 112}), host('c3')], {}
        )
        self.assertEqual(108, goal['uid', 'nova'])

    def test_a_number_that_is_taken_somewhere_is_not_proposed(self) -> None:
        taken = {('uid', 108): [('passwd', 'sshd')]}
        goal = numbers.propose(
            [host('c1'), host('c2', {'nova': 112}, uses=taken), host('c3')], {}
        )
        self.assertEqual(112, goal['uid', 'nova'])

    def test_where_none_is_free_none_is_proposed(self) -> None:
        goal = numbers.propose(
            [
                host('c1', uses={('uid', 112): [('process', 'ntpd (3)')]}),
                host('c2', {'nova': 112}, uses={('uid', 108): [('nss', 'x')]}),
            ],
            {},
        )
        self.assertNotIn(('uid', 'nova'), goal)

    def test_who_leaves_a_number_in_the_same_run_does_not_take_it(
        self,
    ) -> None:
        swapped = host('c2', {'nova': 112, 'libvirt-qemu': 108})
        three = [
            host('c1', {'libvirt-qemu': 112}),
            swapped,
            host('c3', {'libvirt-qemu': 112}),
        ]
        goal = numbers.propose(three, {})
        self.assertEqual(
            (108, 112), (goal['uid', 'nova'], goal['uid', 'qemu'])
        )
        found = list(numbers.accounts(swapped, goal, {}))
        self.assertEqual({112: 108, 108: 112}, numbers.pairs(found)['uid'])

    def test_any_name_of_any_distribution_means_the_account(self) -> None:
        self.assertEqual('qemu', numbers.role_of('uid', 'libvirt-qemu'))
        self.assertEqual('qemu', numbers.role_of('uid', 'qemu'))
        self.assertEqual('libvirt', numbers.role_of('gid', 'libvirtd'))
        self.assertRaises(UsageError, numbers.role_of, 'uid', 'kvm')


class Deciding(TestCase):
    def decide(
        self,
        *found: Host,
        shares: tuple[object, ...] = (),
        served: dict[str, Service] | None = None,
        rows: Rows | None = None,
        **request: object,
    ) -> Plan:
        names = [one.name for one in found]
        plan = procedure.decide(
            Request(tuple(names), **request),  # type: ignore[arg-type]
            facts(*found, shares=shares),  # type: ignore[arg-type]
            hosts.claimable(*names) if served is None else served,
            rows or Rows(),
            hosts.HOME,
        )
        if not plan.blocked:
            plan.check(change.kinds(changes.registry()))
        return plan

    def ids(self, plan: Plan) -> list[str]:
        return [item.id for item in plan.items()]

    def refused(self, plan: Plan) -> list[tuple[str, str]]:
        return [(g.name, g.subject) for g in plan.gates if g.blocks]

    def test_what_has_the_numbers_already_is_left_alone(self) -> None:
        plan = self.decide(host('c1'), host('c2'))
        self.assertEqual([], self.ids(plan))
        self.assertFalse(plan.blocked)

    def test_libvirt_is_stopped_too_unless_it_takes_guests_along(self) -> None:
        both = ['nova-compute.service', 'libvirtd.service']
        for more, goal, running in (
            ({}, {}, both),
            ({'contained': True}, {}, both[:1]),
            ({'contained': True}, {'uid': {'qemu': 130}}, both),
            ({'contained': True}, {'gid': {'kvm': 131}}, both),
        ):
            plan = self.decide(
                host('c1'), host('c2', {'nova': 112}, **more), **goal
            )
            stop, start = (
                item
                for item in plan.items()
                if item.kind in ('stop-services', 'start-services')
                and item.label == 'c2'
            )
            self.assertEqual(running, stop.data['running'])
            self.assertEqual(running, start.data['running'])
            groups = ['nova', 'libvirt'][: len(running)]
            for item in plan.items():
                if item.label == 'c2' and 'machine_id' in item.data:
                    self.assertEqual(groups, item.data['groups'], item.id)

    def test_phases_in_their_order_with_a_barrier_before_files(self) -> None:
        plan = self.decide(host('c1'), host('c2'), host('c3', {'nova': 112}))
        self.assertEqual(
            [
                'claim-host:c3',
                'stop-services:c3',
                'set-accounts:c3',
                'change-owners:c3:/',
                'verify-owners:c3:/',
                'start-services:c3',
                'release-host:c3',
            ],
            self.ids(plan),
        )
        failures = {step.name: step.failures for step in plan.steps}
        self.assertEqual(
            [0, 0, 0], [failures[n] for n in ('claim', 'stop', 'accounts')]
        )

    def test_accounts_only_and_files_only(self) -> None:
        two = host('c1'), host('c2', {'nova': 112})
        plan = self.decide(*two, uid={'nova': 108}, files=False)
        self.assertNotIn('owners', [step.name for step in plan.steps])
        plan = self.decide(*two, accounts=False, was_uid={'nova': 108})
        self.assertNotIn('accounts', [step.name for step in plan.steps])
        (walk,) = (i for i in plan.items() if i.kind == 'change-owners')
        # its account has 112 and keeps it, whatever most hosts have
        self.assertEqual(
            ('c2', ['108:112']), (walk.data['host'], walk.data['uid'])
        )

    def test_an_old_number_that_is_somebody_elses_by_now_refuses(self) -> None:
        taken = host('c1', uses={('uid', 107): [('passwd', 'sshd')]})
        plan = self.decide(taken, accounts=False, was_uid={'nova': 107})
        self.assertEqual([('accounts-alone', 'c1')], self.refused(plan))
        swapped = host('c1', {'nova': 112, 'libvirt-qemu': 108})
        plan = self.decide(
            swapped, accounts=False, was_uid={'nova': 108, 'qemu': 112}
        )
        self.assertEqual([], self.refused(plan))
        (walk,) = (i for i in plan.items() if i.kind == 'change-owners')
        self.assertEqual(['108:112', '112:108'], walk.data['uid'])

    def test_a_user_of_ldap_with_the_same_number_refuses(self) -> None:
        ldap = {('uid', 112): [('nss', 'anna (ldap)'), ('nss', 'nova (sss)')]}
        plan = self.decide(
            host('c1', {'nova': 112}, uses=ldap), uid={'nova': 108}
        )
        self.assertEqual([('accounts-alone', 'c1')], self.refused(plan))
        self.assertIn(
            'anna (ldap)', self.gate(plan, 'accounts-alone').observed
        )

    def test_a_plan_made_again_of_its_arguments_is_the_same(self) -> None:
        two = host('c1'), host('c2', {'nova': 112}, {'kvm': 105})
        for request in (
            {},
            {'files': False},
            {'accounts': False, 'was_uid': {'nova': 108}},
            {'meant': {'/srv': 'c1'}},
        ):
            plan = self.decide(*two, shares=(), **request)
            again = {k: v for k, v in plan.arguments.items() if k != 'hosts'}
            again['roots'] = tuple(again['roots'])
            again['shared'] = tuple(again['shared'])
            self.assertEqual(plan.digest, self.decide(*two, **again).digest)

    def test_accounts_that_stay_are_not_said_to_have_other_numbers(
        self,
    ) -> None:
        error = self.assertRaises(
            UsageError,
            self.decide,
            host('c1'),
            accounts=False,
            uid={'nova': 130},
            was_uid={'nova': 107},
        )
        self.assertIn('user nova of c1 has 108', str(error))

    def test_a_shared_directory_is_walked_from_one_host_once(self) -> None:
        plan = self.decide(
            host('c1', {'nova': 112}),
            host('c2', {'nova': 113}),
            shares=(share('c1', 'c2', squashed='c1'),),
            uid={'nova': 120},
        )
        walks = [i for i in plan.items() if i.kind == 'change-owners']
        self.assertEqual(
            [('c2', '/srv'), ('c1', '/'), ('c2', '/')],
            [(i.data['host'], i.data['root']) for i in walks],
        )
        self.assertEqual(['112:120', '113:120'], walks[0].data['uid'])
        self.assertEqual(('host:c1', 'host:c2'), walks[0].follows)
        self.assertEqual(['/srv'], walks[1].data['leave_out'])
        # nobody starts before the files are right
        for item in plan.items():
            if item.kind == 'start-services':
                self.assertEqual((walks[0].subject,), item.follows)

    def test_what_is_shared_is_not_walked_again_as_a_root(self) -> None:
        """From both hosts at once 112 would become 120, and 120 130."""
        plan = self.decide(
            host('c1', {'nova': 112}),
            host('c2', {'nova': 112}),
            shares=(share('c1', 'c2'),),
            uid={'nova': 120},
            roots=('/srv', '/srv/one', '/srv2', '/var'),
        )
        self.assertEqual(
            [
                ('c1', '/srv', []),
                *((c, d, []) for c in ('c1', 'c2') for d in ('/srv2', '/var')),
            ],
            [
                (i.data['host'], i.data['root'], i.data['leave_out'])
                for i in plan.items()
                if i.kind == 'change-owners'
            ],
        )

    def test_a_root_may_be_shared_though_no_server_lies_there(self) -> None:
        """Or each host walks it, and a chain goes on by one number."""
        request = Request(('c1',), shared=('/a',), roots=('/', '/mnt/nfs'))
        self.assertEqual(('/a', '/mnt/nfs'), request.perhaps_shared)
        with mock.patch.object(procedure.facts_module, 'read') as read:
            procedure._read(mock.Mock(), request)
        self.assertEqual(('/a', '/mnt/nfs'), read.call_args[0][4])

    def test_a_root_that_cant_be_walked_refuses_before_anything(self) -> None:
        found = dataclasses.replace(
            facts(host('c1', {'nova': 112}), host('c2')),
            unfit={
                'c1': {'/slip': 'there is no such directory', '/b': 'x'},
                # nothing is changed there
                'c2': {'/slip': 'there is no such directory'},
            },
        )
        plan = procedure.decide(
            Request(('c1', 'c2'), roots=('/slip',), uid={'nova': 108}),
            found,
            hosts.claimable('c1', 'c2'),
            Rows(),
            hosts.HOME,
        )
        (gate,) = [gate for gate in plan.gates if gate.blocks]
        self.assertEqual(('roots-there', 'c1'), (gate.name, gate.subject))
        self.assertEqual(
            '--root /slip: there is no such directory', gate.observed
        )

    def test_who_walks_for_others_is_stopped_and_started_too(self) -> None:
        plan = self.decide(
            host('c1'),
            host('c2', {'nova': 112}),
            host('c3'),
            shares=(share('c1', 'c2', squashed='c2'),),
        )
        self.assertIn('stop-services:c1', self.ids(plan))
        self.assertIn('start-services:c1', self.ids(plan))
        self.assertNotIn('set-accounts:c1', self.ids(plan))

    def test_a_number_with_two_meanings_on_shared_files_refuses(self) -> None:
        two = (
            host('c1', {'nova': 108, 'libvirt-qemu': 112}),
            host('c2', {'nova': 112, 'libvirt-qemu': 108}),
        )
        plan = self.decide(
            *two, shares=(share('c1', 'c2'),), uid={'nova': 108, 'qemu': 112}
        )
        self.assertIn(('numbers-unambiguous', '/srv'), self.refused(plan))
        apart = self.decide(*two, uid={'nova': 108, 'qemu': 112})
        self.assertEqual([], self.refused(apart))

    def test_an_operator_says_as_on_which_host_files_are_numbered(
        self,
    ) -> None:
        plan = self.decide(
            host('c1', {'nova': 108, 'libvirt-qemu': 112}),
            host('c2', {'nova': 112, 'libvirt-qemu': 108}),
            shares=(share('c1', 'c2'),),
            uid={'nova': 108, 'qemu': 112},
            meant={'/srv': 'c1', '/srv/b': 'c2'},
        )
        self.assertEqual([], self.refused(plan))
        walks = {
            i.data['root']: i.data['uid']
            for i in plan.items()
            if i.kind == 'change-owners' and i.data['root'] != '/'
        }
        # as on the first they are right already
        self.assertEqual({'/srv/b': ['108:112', '112:108']}, walks)
        self.assertRaises(
            UsageError, self.decide, host('c1'), meant={'/srv': 'c9'}
        )

    def test_a_stranger_with_the_old_number_refuses_on_shared_files(
        self,
    ) -> None:
        plan = self.decide(
            host('c1', {'nova': 112}),
            host('c2', uses={('uid', 112): [('passwd', 'backup')]}),
            shares=(share('c1', 'c2'),),
            uid={'nova': 108},
        )
        self.assertIn(('numbers-unambiguous', '/srv'), self.refused(plan))

    def test_a_server_that_distrusts_root_refuses(self) -> None:
        plan = self.decide(
            host('c1', {'nova': 112}),
            shares=(share('c1', squashed='c1'),),
            uid={'nova': 108},
        )
        self.assertIn(('root-is-root', '/srv'), self.refused(plan))

    def test_guests_run_on_while_only_nova_changes(self) -> None:
        guest = {('uid', 64055): [('process', 'qemu-system-x86 (9)')]}
        running = host('c2', {'nova': 112}, uses=guest)
        self.assertEqual([], self.refused(self.decide(host('c1'), running)))
        plan = self.decide(running, gid={'kvm': 109})
        self.assertIn(('no-guest-runs', 'c2'), self.refused(plan))

    def test_what_is_set_back_at_each_boot_is_told(self) -> None:
        line = '/etc/tmpfiles.d/nova.conf:1: d /run/nova 0755 112 120'
        plan = self.decide(
            host(
                'c1',
                {'nova': 112},
                uses={('uid', 112): [('tmpfiles.d', line)]},
            ),
            uid={'nova': 108},
        )
        (gate,) = (g for g in plan.gates if g.name == 'nothing-sets-back')
        self.assertIn(line, gate.observed)
        self.assertTrue(gate.blocks)

    def test_accounts_of_elsewhere_and_shared_numbers_refuse(self) -> None:
        odd = host('c1')
        users = {
            'nova': {'uid': 108, 'source': 'ldap', 'shared_with': []},
            'libvirt-qemu': {
                'uid': 109,
                'source': 'passwd',
                'shared_with': ['qemu-old'],
            },
        }
        plan = self.decide(
            Host(**{**vars(odd), 'users': users}),
            uid={'nova': 130, 'qemu': 131},
        )
        self.assertEqual(
            {('accounts-local', 'c1'), ('accounts-alone', 'c1')},
            set(self.refused(plan)),
        )

    def test_a_host_that_does_not_answer_is_unknown_and_refuses(self) -> None:
        plan = self.decide(
            host('c1', {'nova': 112}),
            Host('c2', problem='in doubt, unreachable'),
            uid={'nova': 108},
        )
        self.assertEqual([('host-answers', 'c2')], self.refused(plan))
        gate = next(g for g in plan.gates if g.blocks)
        self.assertEqual('unknown', gate.state)

    def test_a_host_that_can_not_be_claimed_is_taken_by_word_only(
        self,
    ) -> None:
        plan = self.decide(
            host('c1', {'nova': 112}),
            uid={'nova': 108},
            served={'c1': Service('c1', why_not='cell1 does not answer')},
        )
        self.assertEqual([('host-claimable', '')], self.refused(plan))
        self.assertNotIn('claim-host:c1', self.ids(plan))

    def test_a_claim_of_another_run_refuses(self) -> None:
        held = hosts.claimable('c1')['c1']
        plan = self.decide(
            host('c1', {'nova': 112}),
            uid={'nova': 108},
            served={'c1': Service(**{**vars(held), 'holder': 'run=1'})},
        )
        self.assertEqual([('host-unclaimed', 'c1')], self.refused(plan))

    def gate(self, plan: Plan, name: str) -> Gate:
        return next(g for g in plan.gates if g.name == name)

    def test_a_guest_that_the_start_would_destroy_refuses(self) -> None:
        rows = Rows(server('c2'), away('c2'))
        apart = host('c2', {'nova': 112})
        plan = self.decide(host('c1'), apart, rows=rows)
        self.assertEqual([('no-tombstone', 'web')], self.refused(plan))
        for other in (
            # that host is left alone
            self.decide(host('c1', {'nova': 112}), host('c2'), rows=rows),
            # its nova-compute is off, and stays so
            self.decide(
                host('c1'),
                host('c2', {'nova': 112}, running={'libvirt': ('libvirtd',)}),
                rows=rows,
            ),
        ):
            self.assertEqual([], self.refused(other))

    def test_evacuations_that_are_not_known_are_taken_by_word_only(
        self,
    ) -> None:
        apart = (host('c1'), host('c2', {'nova': 112}))
        rows = Rows(unknown=('no database',))
        (gate,) = (g for g in self.decide(*apart, rows=rows).gates if g.blocks)
        self.assertEqual(
            ('no-tombstone', '', 'soft'), (gate.name, gate.subject, gate.klass)
        )

    def test_a_number_that_can_be_given_nowhere_asks_for_one(self) -> None:
        plan = self.decide(
            host('c1', uses={('uid', 112): [('passwd', 'a')]}),
            host('c2', {'nova': 112}, uses={('uid', 108): [('passwd', 'b')]}),
        )
        gate = self.gate(plan, 'numbers-free')
        self.assertIn('--uid nova=NUMBER', gate.remedy)
        self.assertTrue(gate.blocks)

    def test_a_number_that_somebody_has_is_refused_with_who(self) -> None:
        plan = self.decide(
            host(
                'c1', {'nova': 112}, uses={('uid', 99): [('passwd', 'sshd')]}
            ),
            uid={'nova': 99},
        )
        self.assertIn('passwd sshd', self.gate(plan, 'numbers-free').observed)


class Showing(TestCase):
    def test_what_differs_is_marked(self) -> None:
        found = show.judge(
            Facts(
                (
                    host('c1'),
                    host('c2', {'nova': 112}),
                    host('c3'),
                    Host('c4', problem='unreachable'),
                )
            )
        )
        headers, rows = found.table
        column = headers.index('uid nova')
        self.assertEqual(
            ['108', '112 -> 108', '108', '?'], [row[column] for row in rows]
        )
        self.assertEqual(4, found.exit_code)

    def test_all_alike_is_good(self) -> None:
        found = show.judge(Facts((host('c1'), host('c2'))))
        self.assertEqual(0, found.exit_code)


class Services(TestCase):
    """What is claimed is what the databases have."""

    def setUp(self) -> None:
        super().setUp()
        self.cloud = Cloud('nova34-nova', 'nova34-cinder')
        self.addCleanup(self.cloud.close)
        self.add(7, 'c1')

    def add(self, number: int, name: str, **more: object) -> None:
        self.cloud.cell.add(
            'services', id=number, host=name, binary='nova-compute',
            topic='compute', report_count=1, deleted=0, version=70,
            **{'disabled': 0, 'disabled_reason': None, 'forced_down': 0}
            | more,
        )  # fmt: skip

    def of(self, *names: str) -> dict[str, Service]:
        cloud: Any = self.cloud
        return procedure.services_of(cloud, names)

    def test_a_live_host_is_claimed_as_it_is_and_gets_that_back(self) -> None:
        found = self.of('c1')['c1']
        self.assertEqual(
            ('cell1', 7, ''), (found.cell, found.id, found.holder)
        )
        plan = procedure.decide(
            Request(('c1',), uid={'nova': 112}),
            facts(host('c1')),
            {'c1': found},
            Rows(),
            hosts.HOME,
        )
        claim, release = (i for i in plan.items() if i.kind in claiming.KINDS)
        change = ClaimHost()
        where = at(claim, self.cloud)
        seen = change.observe(where)
        begun = at(claim, self.cloud, image=seen.image)
        change.apply(begun)
        self.assertEqual(MARKER, self.of('c1')['c1'].holder)
        ReleaseHost().apply(
            at(release, self.cloud, image={'disabled_reason': MARKER})
        )
        self.assertEqual(found, self.of('c1')['c1'])

    def test_a_host_that_nova_has_not_is_told(self) -> None:
        self.assertIn('no cell has', self.of('c9')['c9'].why_not)

    def test_a_database_that_is_down_is_waited_for_once(self) -> None:
        asked = []

        def down(database: object, name: str) -> None:
            asked.append(name)
            raise DatabaseUnavailable('cell1', 'gone')

        api = SimpleNamespace(name='cell1')
        with (
            mock.patch.object(services, 'host_mapping', down),
            mock.patch.object(self.cloud.databases, 'api', api),
        ):
            found = self.of('c1', 'c2', 'c3')
        self.assertEqual(['c1'], asked)
        self.assertEqual(1, len({one.why_not for one in found.values()}))
