# SPDX-License-Identifier: Apache-2.0

"""Which servers may be rebooted, and that each is claimed before."""

from __future__ import annotations

import dataclasses
from typing import Any

import fixtures

from nova_recovery.cloud.db.mappings import Unheld
from nova_recovery.cloud.records import Server
from nova_recovery.procedures import reboot
from nova_recovery.procedures.gates import on_resume
from nova_recovery.procedures.reboot import Request, Situation
from nova_recovery.procedures.whereabouts import Perhaps, Whereabouts
from tests.base import TestCase
from tests.unit import plans
from tests.unit.procedures import rows

UP = {'np-rcc54': 'up', 'np-rcc46': 'up'}


def server(number: int, **fields: Any) -> Server:
    """An active server on np-rcc54."""
    return rows.server(
        **{
            'uuid': f'uuid-{number}',
            'name': f'at3-ui{number:02}',
            'vm_state': 'active',
            'power_state': 1,
            **fields,
        }
    )


def situation(
    *servers: Server,
    computes: dict[str, str] | None = UP,
    holders: dict[str, str] | None = None,
    unreachable: dict[str, str] | None = None,
    **more: Any,
) -> Situation:
    """These servers on computes that are up, claimed by nobody."""
    return Situation(
        servers,
        computes,
        holders or {},
        {'nova': '2.103'},
        unreachable or {},
        places={
            server.uuid: Whereabouts(server.host or '') for server in servers
        },
        **more,
    )


def decided(found: Situation) -> Any:
    """The plan to reboot them all."""
    uuids = tuple(server.uuid for server in found.servers)
    return plans.checked(reboot.decide(Request(uuids, 30, 300, 2), found))


class PlanTest(TestCase):
    def test_claimed_sent_once_given_back(self) -> None:
        plan = decided(
            situation(server(2), server(1, vm_state='stopped', power_state=4))
        )
        self.assertEqual(
            [
                ('claim-server', 'at3-ui01'),
                ('claim-server', 'at3-ui02'),
                ('start-server', 'at3-ui01'),
                ('reboot-server', 'at3-ui02'),
                ('release-server', 'at3-ui01'),
                ('release-server', 'at3-ui02'),
            ],
            [(item.kind, item.label) for item in plan.items()],
        )
        self.assertFalse(plan.blocked)

    def test_only_so_many_at_a_time_on_one_host(self) -> None:
        plan = decided(situation(server(1)))
        (step,) = [one for one in plan.steps if one.name == 'reboot']
        self.assertEqual({'host': 2}, step.limits)
        (item,) = step.items
        self.assertEqual('np-rcc54', item.data['host'])
        self.assertEqual(30, item.data['settle'])
        self.assertEqual(300, item.data['patience'])

    def test_what_was_asked_before_is_known_to_be_old(self) -> None:
        plan = decided(situation(server(1), server(2), marks={'uuid-1': 42}))
        (step,) = [one for one in plan.steps if one.name == 'reboot']
        self.assertEqual([42, 0], [i.data['mark'] for i in step.items])

    def test_the_order_of_the_databases_is_of_no_account(self) -> None:
        servers = [server(1), server(2), server(3)]
        request = Request(tuple(one.uuid for one in servers))
        self.assertEqual(
            reboot.decide(request, situation(*servers)).digest,
            reboot.decide(request, situation(*reversed(servers))).digest,
        )

    def test_no_servers_no_steps(self) -> None:
        self.assertEqual((), decided(situation()).steps)


class GatesTest(TestCase):
    def blocking(self, found: Situation) -> list[tuple[str, str, str]]:
        return [
            (gate.name, gate.state, gate.observed)
            for gate in reboot.gates(found, frozenset())
            if gate.blocks
        ]

    def test_a_host_that_is_down_would_get_it_when_it_returns(self) -> None:
        for state in ('down', 'forced down'):
            found = situation(server(1), computes={'np-rcc54': state})
            self.assertEqual(
                [('host-up', 'refused', f'it is {state}')],
                self.blocking(found),
            )

    def test_np_rcc46_being_up_says_nothing_of_np_rcc4(self) -> None:
        found = situation(server(1, host='np-rcc4'), computes=UP)
        self.assertEqual(
            [('host-up', 'refused', 'nova has no such host')],
            self.blocking(found),
        )

    def test_a_server_on_no_host(self) -> None:
        found = situation(server(1, host=None))
        (gate,) = [g for g in reboot.gates(found, frozenset()) if g.blocks]
        self.assertEqual('no host', gate.subject)

    def test_without_the_api_nothing_is_known(self) -> None:
        found = situation(
            server(1), computes=None, unreachable={'nova': 'refused'}
        )
        self.assertEqual(
            [
                ('apis-reachable', 'unknown', 'nova: refused'),
                ('host-up', 'unknown', 'nova was not asked'),
            ],
            self.blocking(found),
        )

    def test_each_host_is_asked_for_once(self) -> None:
        found = situation(server(1), server(2), server(3, host='np-rcc46'))
        gates = [
            gate.subject
            for gate in reboot.gates(found, frozenset())
            if gate.name == 'host-up'
        ]
        self.assertEqual(['np-rcc46', 'np-rcc54'], gates)

    def test_states_that_nova_reboots_or_starts(self) -> None:
        for state in ('active', 'paused', 'suspended', 'error', 'stopped'):
            found = situation(server(1, vm_state=state))
            self.assertEqual([], self.blocking(found))

    def test_states_that_it_does_not(self) -> None:
        for state in ('rescued', 'resized', 'building', 'shelved_offloaded'):
            found = situation(server(1, vm_state=state))
            ((name, _, observed),) = self.blocking(found)
            self.assertEqual('rebootable', name)
            self.assertIn(f'it is {state}', observed)

    def test_a_task_is_under_way(self) -> None:
        found = situation(server(1, task_state='rebooting_hard'))
        self.assertEqual(
            [
                (
                    'rebootable',
                    'refused',
                    'it is active, its task is rebooting_hard',
                )
            ],
            self.blocking(found),
        )

    def test_somebody_else_is_at_it(self) -> None:
        found = situation(
            server(1), holders={'uuid-1': 'nova-recovery-run=1a2b'}
        )
        self.assertEqual(
            [('unclaimed', 'refused', 'claimed: nova-recovery-run=1a2b')],
            self.blocking(found),
        )

    def test_somebody_moves_it(self) -> None:
        found = situation(server(1), movers={'uuid-1': 'run=1a2b'})
        self.assertEqual(
            [('not-moved-now', 'refused', 'its host is claimed: run=1a2b')],
            self.blocking(found),
        )

    def test_a_volume_that_the_reboot_would_make_nova_forget(self) -> None:
        volumes = {'uuid-1': Unheld(lost=('v1',), unnamed=('v2',))}
        found = situation(server(1), volumes=volumes)
        gates = [g for g in reboot.gates(found, frozenset()) if g.blocks]
        self.assertEqual(
            [('volumes-held', 'hard'), ('volumes-named', 'soft')],
            [(gate.name, gate.klass) for gate in gates],
        )
        # what is claimed is not rebooted yet
        touched = frozenset({'server:uuid-1'})
        self.assertEqual(
            gates, [g for g in reboot.gates(found, touched) if g.blocks]
        )
        # a start makes nova forget nothing
        found = situation(server(1, vm_state='stopped'), volumes=volumes)
        self.assertEqual([], self.blocking(found))

    def test_one_that_is_claimed_only_may_have_gone_elsewhere(self) -> None:
        """Killed after its claim, and resumed hours later."""
        moved = Whereabouts(
            'np-rcc54', (Perhaps('np-rcc46', 'its live-migration is running'),)
        )
        found = dataclasses.replace(
            situation(server(1), server(2)),
            places={'uuid-1': moved, 'uuid-2': Whereabouts('np-rcc54')},
        )
        touched = frozenset({'server:uuid-1', 'server:uuid-2'})
        gates = [g for g in reboot.gates(found, touched) if g.blocks]
        self.assertEqual(
            [('guest-only-here', 'hard', 'at3-ui01')],
            [(gate.name, gate.klass, gate.subject) for gate in gates],
        )
        # The run has it: whoever looks leaves it out first.
        (gate,) = on_resume(gates)
        self.assertIn('run resume RUN --skip at3-ui01=REASON', gate.remedy)
        self.assertIn('server adopt uuid-1 --host np-rcc46', gate.remedy)

    def test_an_administrator_may_not_read_the_keys(self) -> None:
        for state in ('active', 'stopped'):
            found = situation(
                server(1, vm_state=state),
                server(2),
                encrypted={'uuid-1': ('v1', 'v2')},
            )
            for touched in (frozenset(), frozenset({'server:uuid-1'})):
                (gate,) = [g for g in reboot.gates(found, touched) if g.blocks]
                self.assertEqual(
                    ('keys-readable', 'at3-ui01', 'soft', 'unknown'),
                    (gate.name, gate.subject, gate.klass, gate.state),
                )
                self.assertIn('volume v1, v2 is encrypted', gate.observed)
                self.assertIn('np-rcc54 no longer has it', gate.observed)
                self.assertIn(
                    'openstack server reboot --hard uuid-1', gate.remedy
                )

    def test_a_cinder_that_does_not_answer(self) -> None:
        found = situation(
            server(1), volumes={'uuid-1': Unheld(unknown='refused')}
        )
        ((name, state, _),) = self.blocking(found)
        self.assertEqual(('volumes-held', 'unknown'), (name, state))

    def test_later_only_what_is_left_is_asked_for(self) -> None:
        asked: list[str] = []
        gone, there = server(1), server(2)

        def live(cloud: Any, uuids: Any) -> list[Server]:
            asked.extend(uuids)
            return [one for one in (there,) if one.uuid in asked]

        for name, answer in (
            ('_live', live),
            ('_situation', lambda cloud, found, words: situation(*found)),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(
                    f'nova_recovery.procedures.reboot.{name}', answer
                )
            )
        plan = decided(situation(gone, there, server(3)))
        left = plan.remaining(['reboot-server:uuid-3'])
        gates = reboot.check(left, None, frozenset())  # type: ignore[arg-type]
        self.assertEqual(['uuid-1', 'uuid-2'], asked)
        self.assertEqual([], [gate for gate in gates if gate.blocks])

    def test_what_a_run_has_begun_with_is_not_asked_again(self) -> None:
        found = situation(
            server(1, task_state='rebooting_hard'),
            server(2, task_state='rebooting_hard'),
            holders={'uuid-1': 'nova-recovery-run=1a2b'},
        )
        gates = reboot.gates(found, frozenset({'server:uuid-1'}))
        self.assertEqual(
            ['at3-ui02'], [gate.subject for gate in gates if gate.blocks]
        )
