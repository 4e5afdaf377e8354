# SPDX-License-Identifier: Apache-2.0

"""A guest is ended where nova does not have it, and only there."""

from __future__ import annotations

from unittest import mock

from nova_recovery import changes
from nova_recovery.cloud.records import Server
from nova_recovery.engine import change
from nova_recovery.engine.plan import Plan
from nova_recovery.procedures import stop_guest
from nova_recovery.procedures.reached import Reached
from nova_recovery.procedures.stop_guest import Facts, Request
from tests.base import TestCase
from tests.unit.procedures.test_check_guests import domain, host, server, WEB

RUNNING = host('c2', domain())


class Stopped(TestCase):
    def decide(
        self,
        there: Reached = RUNNING,
        home: Reached | None = None,
        known: Server | None = None,
        unknown: tuple[str, ...] = (),
        deleted: frozenset[str] = frozenset(),
    ) -> Plan:
        plan = stop_guest.decide(
            Request(WEB, 'c2'),
            Facts(there, home, known, deleted, unknown),
            '/home',
        )
        plan.check(change.kinds(changes.registry()))
        return plan

    def refused(self, plan: Plan) -> list[tuple[str, str, str]]:
        return [(g.name, g.klass, g.state) for g in plan.gates if g.blocks]

    def test_one_that_runs_at_home_too(self) -> None:
        plan = self.decide(home=host('c1', domain()), known=server()[WEB])
        self.assertEqual([], self.refused(plan))
        (item,) = plan.items()
        self.assertEqual(('c2', WEB), (item.data['host'], item.data['uuid']))
        self.assertEqual('cell1', item.data['cell'])

    def test_the_only_one(self) -> None:
        plan = self.decide(home=host('c1'), known=server()[WEB])
        self.assertEqual(
            [('guest-runs-at-home', 'soft', 'refused')], self.refused(plan)
        )
        silent = Reached('c1', problem='unreachable')
        plan = self.decide(home=silent, known=server()[WEB])
        self.assertEqual(
            [('guest-runs-at-home', 'soft', 'unknown')], self.refused(plan)
        )

    def test_what_is_paused_at_home_is_no_other_one(self) -> None:
        for word in ('paused', 'pmsuspended', 'in shutdown'):
            plan = self.decide(
                home=host('c1', domain(word)), known=server()[WEB]
            )
            self.assertEqual(
                [('guest-runs-at-home', 'hard', 'refused')], self.refused(plan)
            )
        (gate,) = (g for g in plan.gates if g.blocks)
        self.assertIn('only in shutdown', gate.observed)
        *_, stop, adopt = gate.remedy.splitlines()
        self.assertEqual(f'openstack server stop {WEB}', stop)
        self.assertIn(f'server adopt {WEB} --host c2', adopt)

    def test_what_libvirt_does_not_tell_of_at_home_may_be_paused(self) -> None:
        for there in (
            host('c1', processes=True),
            host('c1', domain('shut off'), processes=True),
            host('c1', processes=True, domains=None, why='no socket'),
        ):
            plan = self.decide(home=there, known=server()[WEB])
            self.assertEqual(
                [('guest-runs-at-home', 'soft', 'unknown')], self.refused(plan)
            )

    def test_where_nova_has_it_nobody_ends_it(self) -> None:
        plan = self.decide(known=server('c2')[WEB])
        self.assertEqual(
            [('guest-not-at-home', 'hard', 'refused')], self.refused(plan)
        )

    def test_where_nova_has_it_must_be_known(self) -> None:
        plan = self.decide(unknown=('cell1 is down',))
        self.assertEqual(
            [('guest-not-at-home', 'soft', 'unknown')], self.refused(plan)
        )

    def test_one_that_nova_deleted(self) -> None:
        plan = self.decide(deleted=frozenset({WEB}))
        self.assertEqual([], self.refused(plan))

    def test_one_that_no_cell_ever_had(self) -> None:
        plan = self.decide(deleted=frozenset({'another'}))
        self.assertEqual(
            [('guest-of-nova', 'soft', 'refused')], self.refused(plan)
        )

    def test_one_that_nova_did_not_make(self) -> None:
        foreign = host('c2', domain(nova=False))
        for deleted in (frozenset[str](), frozenset({WEB})):
            plan = self.decide(foreign, deleted=deleted)
            self.assertEqual(
                [('guest-of-nova', 'hard', 'refused')], self.refused(plan)
            )
        plan = self.decide(foreign, unknown=('cell1 is down',))
        self.assertIn(('guest-of-nova', 'hard', 'refused'), self.refused(plan))
        # novas of old wrote nothing into it: the row tells as well
        plan = self.decide(
            foreign, home=host('c1', domain()), known=server()[WEB]
        )
        self.assertEqual([], self.refused(plan))

    def test_a_migration_may_be_under_way(self) -> None:
        plan = self.decide(
            home=host('c1', domain()),
            known=server(task_state='migrating')[WEB],
        )
        self.assertEqual([('no-task', 'soft', 'refused')], self.refused(plan))

    def test_it_does_not_run_there(self) -> None:
        for there in (host('c2'), host('c2', domain('shut off'))):
            plan = self.decide(there)
            self.assertIn(
                ('guest-runs-there', 'hard', 'refused'), self.refused(plan)
            )

    def test_a_host_that_does_not_answer(self) -> None:
        plan = self.decide(Reached('c2', problem='unreachable'))
        self.assertEqual(
            [('host-answers', 'hard', 'unknown')], self.refused(plan)
        )
        self.assertEqual([], list(plan.items()))


class Resumed(TestCase):
    """What a run asks again before it goes on."""

    def check(
        self, there: Reached, known: dict[str, Server], touched: bool = True
    ) -> list[tuple[str, str, str]]:
        """The gates that refuse it, of a guest whose home is c1."""
        hosts = {'c1': host('c1', domain()), 'c2': there}
        plan = Plan('guest-stop', 't', {'uuid': WEB, 'host': 'c2'}, ())
        subjects = frozenset({f'guest:c2:{WEB}'} if touched else ())
        with (
            mock.patch.object(
                stop_guest.reached,
                'read',
                lambda cloud, names, *calls: [hosts[n] for n in names],
            ),
            mock.patch.object(
                stop_guest.check_guests,
                'read_nova',
                return_value=(known, frozenset(), ()),
            ),
        ):
            gates = stop_guest.check(plan, mock.Mock(), subjects)
        return [(g.name, g.klass, g.state) for g in gates if g.blocks]

    def test_one_that_runs_still_is_asked_about_again(self) -> None:
        self.assertEqual([], self.check(RUNNING, server('c1')))
        # it was adopted meanwhile
        self.assertEqual(
            [('guest-not-at-home', 'hard', 'refused')],
            self.check(RUNNING, server('c2')),
        )

    def test_one_that_was_begun_may_have_ended(self) -> None:
        for ended in (host('c2'), host('c2', domain('shut off'))):
            self.assertEqual([], self.check(ended, server('c2')))
            self.assertEqual(
                [('guest-runs-there', 'hard', 'refused')],
                self.check(ended, server('c1'), touched=False),
            )

    def test_a_host_that_does_not_answer(self) -> None:
        self.assertEqual(
            [('host-answers', 'hard', 'unknown')],
            self.check(Reached('c2', problem='unreachable'), server('c1')),
        )
