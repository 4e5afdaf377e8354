# SPDX-License-Identifier: Apache-2.0

"""What goes into a plan beside what a screen shows of it."""

from __future__ import annotations

from collections.abc import Collection
import datetime
import json
from typing import Any
from unittest import mock

import fixtures

from nova_recovery import changes, procedures
from nova_recovery.cloud.db.mappings import Unheld
from nova_recovery.engine import claiming
from nova_recovery.engine.overrides import address, apply, parse_overrides
from nova_recovery.engine.plan import Item, Plan
from nova_recovery.exceptions import RecoveryError, UsageError
from nova_recovery.procedures.recover import gates, procedure
from nova_recovery.procedures.recover.situation import Request, Situation
from tests.base import TestCase
from tests.unit import plans
from tests.unit.procedures.recover import scenarios

HOSTS: dict[str, Any] = {
    'np-rcc54': {},
    'np-rcc46': {'connector': {'host': 'np-rcc46'}},
}
PAUSED = {'vm_state': 'paused', 'power_state': 3}


def planned(
    servers: dict[str, Any], hosts: dict[str, Any] = HOSTS, /, **asked: Any
) -> tuple[Plan, Situation]:
    """The plan to recover them from np-rcc54, by default to np-rcc46."""
    found = scenarios.make(['np-rcc54'], hosts, servers)
    request = scenarios.request(
        found,
        **{
            'hosts': ['np-rcc54'],
            'target_host': 'np-rcc46',
            'fenced': 'PDU port 14 is off',
            **asked,
        },
    )
    found = scenarios.fenced(request, found)
    plan = procedure.decide(request, found, '2026-03-01T14:11:30Z')
    return plans.checked(plan), found


def items(plan: Plan, kind: str) -> list[Item]:
    """The items of a kind."""
    return [item for item in plan.items() if item.kind == kind]


class DownSinceTest(TestCase):
    def test_a_host_is_down_since_its_last_heartbeat(self) -> None:
        seen = datetime.datetime.fromisoformat('2026-03-01T14:02:11+00:00')
        hosts = {**HOSTS, 'np-rcc54': {'heartbeat': seen.timestamp()}}
        plan, _ = planned({'at3-ui01': {}}, hosts)
        self.assertEqual(
            {'host:np-rcc54': '2026-03-01T14:02:11.000Z'}, plan.down_since
        )
        # which only describes
        self.assertEqual(planned({'at3-ui01': {}})[0].digest, plan.digest)

    def test_of_a_host_without_a_service_nobody_knows(self) -> None:
        hosts = {**HOSTS, 'np-rcc54': {'heartbeat': None}}
        plan, _ = planned({'at3-ui01': {}}, hosts)
        self.assertEqual({}, plan.down_since)


class ArgumentsTest(TestCase):
    FULL = Request(
        hosts=('np-rcc54', 'np-rcc55'),
        servers=('u1', 'u2'),
        method='move',
        target_host='np-rcc46',
        target_for={'u1': 'np-rcc47'},
        exclude=('u3',),
        fenced='PDU "14" = off',
        fence=True,
        shared_storage=False,
        connectors={'np-rcc46': {'host': 'np-rcc46', 'wwpns': ['1', '2']}},
        per_target=2,
        settle=30,
        patience=900,
    )

    def test_there_and_back_as_json(self) -> None:
        for request in (Request(('np-rcc54',)), self.FULL):
            arguments = procedure.to_arguments(request)
            self.assertEqual(request, procedure.from_arguments(arguments))
            again = json.loads(json.dumps(arguments))
            self.assertEqual(arguments, again)
            self.assertEqual(request, procedure.from_arguments(again))

    def test_every_argument_is_part_of_the_approval(self) -> None:
        digests = set()
        for asked in (
            {},
            {'fenced': 'I saw it'},
            {'shared_storage': True},
            {'shared_storage': False},
            {'patience': 1},
            {'per_target': 1},
            {'method': 'evacuate'},
            {'connectors': {'np-rcc46': {'host': 'np-rcc46'}}},
        ):
            digests.add(planned({'web': {}}, **asked)[0].digest)
        self.assertEqual(8, len(digests))

    def test_the_moment_is_not(self) -> None:
        plan, found = planned({'web': {}})
        request = procedure.from_arguments(plan.arguments)
        later = procedure.decide(request, found, '2026-03-01T15:00:00Z')
        self.assertEqual(plan.digest, later.digest)


class ContradictionTest(TestCase):
    def refused(self, **asked: Any) -> str:
        found = scenarios.make(['np-rcc54'], HOSTS, {'web': {}})
        request = Request(('np-rcc54',), **asked)
        return str(
            self.assertRaises(UsageError, procedure.decide, request, found)
        )

    def test_a_server_that_is_elsewhere(self) -> None:
        gone = scenarios.UUID.format(99)
        for asked in (
            {'servers': (gone,)},
            {'exclude': (gone,)},
            {'target_for': {gone: 'np-rcc46'}},
        ):
            self.assertIn(gone, self.refused(**asked))

    def test_left_out_and_sent_somewhere(self) -> None:
        uuid = scenarios.UUID.format(1)
        self.assertIn(
            'both excluded and given a target',
            self.refused(exclude=(uuid,), target_for={uuid: 'np-rcc46'}),
        )


class ItemsTest(TestCase):
    def test_every_kind_is_known_and_says_what_it_does(self) -> None:
        plan, _ = planned(
            {'web': {}, 'db': {**PAUSED, 'volumes': [{'protocol': 'iscsi'}]}},
            {**HOSTS, 'np-rcc54': {'fence': 'on', 'fence_detail': 'on'}},
            fence=True,
        )
        registry = changes.registry()
        kinds = [item.kind for item in plan.items()]
        self.assertEqual(
            [
                'claim-host',
                'fence-host',
                'force-down',
                'evacuate-server',
                'lock-server',
                'move-allocation',
                'move-record',
                'bind-port',
                'reconnect-volume',
                'start-server',
                'verify-server',
                'verify-server',
                'unlock-server',
                'release-host',
            ],
            kinds,
        )
        for item in plan.items():
            self.assertNotEqual([], registry[item.kind].describe(item))

    def test_a_server_waits_for_its_host_and_the_claim_for_its_servers(
        self,
    ) -> None:
        plan, found = planned({'web': {}, 'db': PAUSED})
        for item in plan.items():
            if item.subject.startswith('server:'):
                self.assertEqual(('host:np-rcc54',), item.follows)
        (release,) = items(plan, 'release-host')
        self.assertCountEqual(
            [server.subject for server in found.servers], release.follows
        )

    def test_a_claim_waits_only_for_the_servers_of_its_host(self) -> None:
        plan, _ = planned(
            {'web': {}, 'db': {'host': 'np-rcc55'}},
            {'np-rcc54': {}, 'np-rcc55': {}, 'np-rcc46': {}},
            hosts=['np-rcc54', 'np-rcc55'],
        )
        self.assertEqual(
            [
                (f'server:{scenarios.UUID.format(1)}',),
                (f'server:{scenarios.UUID.format(2)}',),
            ],
            [item.follows for item in items(plan, 'release-host')],
        )

    def test_a_moved_row_is_parked(self) -> None:
        plan, _ = planned({'web': {**PAUSED, 'task_state': 'pausing'}})
        (item,) = items(plan, 'move-record')
        self.assertEqual(
            {
                'host': 'np-rcc54',
                'node': 'np-rcc54.example.org',
                'availability_zone': 'nova',
                'vm_state': 'paused',
                'power_state': 3,
                'task_state': 'pausing',
                'compute_id': 10,
            },
            item.data['seen'],
        )
        self.assertEqual(
            {
                'host': 'np-rcc46',
                'node': 'np-rcc46.example.org',
                'availability_zone': 'nova',
                'vm_state': 'stopped',
                'power_state': 4,
                'task_state': None,
                'compute_id': 20,
            },
            item.data['values'],
        )
        self.assertEqual([], item.data['disarm'])

    def test_before_28_there_is_no_compute_id(self) -> None:
        plan, _ = planned({'web': {**PAUSED, 'compute_id': None}})
        (item,) = items(plan, 'move-record')
        self.assertNotIn('compute_id', item.data['seen'])
        self.assertNotIn('compute_id', item.data['values'])

    def test_an_allocation_goes_as_a_whole(self) -> None:
        plan, _ = planned({'web': PAUSED})
        (item,) = items(plan, 'move-allocation')
        self.assertEqual(scenarios.HELD, item.data['resources'])
        self.assertEqual('provider-of-np-rcc54', item.data['source_provider'])
        self.assertEqual('provider-of-np-rcc46', item.data['target_provider'])

    def test_only_volumes_that_are_bound_to_a_host_are_connected_anew(
        self,
    ) -> None:
        volumes = [
            {'protocol': 'rbd', 'root': True},
            {'protocol': 'iscsi', 'source_connector': {'host': 'np-rcc54'}},
        ]
        plan, _ = planned({'web': {**PAUSED, 'volumes': volumes}})
        (item,) = items(plan, 'reconnect-volume')
        self.assertEqual('volume-11', item.data['volume'])
        self.assertEqual({'host': 'np-rcc46'}, item.data['connector'])
        self.assertEqual({'host': 'np-rcc54'}, item.data['source_connector'])
        (verify,) = items(plan, 'verify-server')
        self.assertEqual(['volume-10', 'volume-11'], verify.data['volumes'])

    def test_so_many_at_a_time_on_one_target(self) -> None:
        plan, _ = planned({'web': {}, 'db': PAUSED}, per_target=7)
        limited = {
            step.name: step.limits for step in plan.steps if step.limits
        }
        self.assertEqual(
            {'evacuate': {'target': 7}, 'start': {'target': 7}}, limited
        )
        for step in plan.steps:
            for key in step.limits:
                for item in step.items:
                    self.assertEqual('np-rcc46', item.data[key])

    def test_how_long_to_wait_comes_from_the_request(self) -> None:
        plan, _ = planned({'web': {}, 'db': PAUSED}, settle=3, patience=33)
        for kind in ('evacuate-server', 'start-server'):
            (item,) = items(plan, kind)
            self.assertEqual(3, item.data['settle'])
            self.assertEqual(33, item.data['patience'])


class AgainTest(TestCase):
    """The gates of a plan that was saved, or of a run that goes on."""

    def again(
        self, plan: Plan, found: Situation, touched: Collection[str] = ()
    ) -> list[tuple[str, str]]:
        with (
            fixtures.MonkeyPatch(
                'nova_recovery.procedures.recover.read.read',
                lambda *arguments, **more: found,
            ),
            fixtures.MonkeyPatch(
                'nova_recovery.fencing.load', lambda *arguments: None
            ),
        ):
            asked = procedures.check_gates(
                plan, scenarios.cloud(), frozenset(touched)
            )
        return [(gate.name, gate.subject) for gate in asked if gate.blocks]

    def test_a_server_without_a_target_is_not_forgotten(self) -> None:
        hosts = {**HOSTS, 'np-rcc46': {'free': {'VCPU': 2, **scenarios.HELD}}}
        plan, found = planned({'web': {}, 'db': {}}, hosts, target_host=None)
        self.assertEqual(
            [('target-ready', 'web')],
            [(g.name, g.subject) for g in plan.gates if g.blocks],
        )
        self.assertEqual([('server-planned', 'web')], self.again(plan, found))

    def test_nor_one_that_has_come_since(self) -> None:
        plan, _ = planned({'web': {}})
        _, found = planned({'web': {}, 'late': {}})
        self.assertEqual([('server-planned', 'late')], self.again(plan, found))

    def test_what_was_left_out_stays_out(self) -> None:
        plan, found = planned({'web': {}, 'db': {}}, exclude=['db'])
        self.assertEqual([], self.again(plan, found))
        plan, found = planned({'web': {}, 'db': {}}, servers=['web'])
        self.assertEqual([], self.again(plan, found))

    def test_what_changed_since_refuses(self) -> None:
        plan, _ = planned({'web': {}})
        _, found = planned(
            {'web': {}}, {**HOSTS, 'np-rcc46': {'disabled': True}}
        )
        self.assertEqual(
            [('target-ready', 'np-rcc46')], self.again(plan, found)
        )

    def test_of_a_server_that_was_begun_with_nothing_is_asked(self) -> None:
        plan, found = planned({'web': {'task_state': 'rebuilding'}})
        subject = found.servers[0].subject
        self.assertEqual([('nothing-queued', 'web')], self.again(plan, found))
        self.assertEqual([], self.again(plan, found, (subject,)))

    def test_one_that_is_claimed_only_is_asked_of(self) -> None:
        """Of a host without service each server is claimed by itself."""
        plan, _ = planned({'web': {}})
        _, found = planned(
            {'web': {'allocations': {'np-rcc54': None, 'np-rcc46': None}}}
        )
        uuid = found.servers[0].uuid
        claim = mock.Mock(
            begun=True, kind='claim-server', subject=f'server:{uuid}'
        )
        lock = mock.Mock(
            begun=False, kind='lock-server', subject=f'server:{uuid}'
        )
        self.assertIn(
            ('guest-only-here', 'web'),
            self.again(plan, found, claiming.touched([claim, lock])),
        )
        lock.begun = True
        self.assertEqual(
            [], self.again(plan, found, claiming.touched([claim, lock]))
        )

    def test_a_host_without_service_that_came_back(self) -> None:
        """Of a run that goes on its guard closes it; no other goes on."""
        bare = {'service_id': None, 'nodes': 0, 'reports': [0, 0]}
        plan, _ = planned({'web': {}}, {**HOSTS, 'np-rcc54': bare})
        (claim,) = items(plan, 'claim-server')
        self.assertEqual('np-rcc54', claim.data['source'])
        back = {**HOSTS, 'np-rcc54': {'reports': [-1, 3]}}
        _, found = planned({'web': {}}, back)
        self.assertIn(('source-silent', 'np-rcc54'), self.again(plan, found))
        left = plan.remaining([claim.id])
        touched = claiming.touched(
            [mock.Mock(begun=True, kind=claim.kind, subject=claim.subject)]
        )
        self.assertEqual([], self.again(left, found, touched))
        asked = procedure._by_servers(left, touched)
        self.assertEqual({'np-rcc54': 'cell1'}, asked)
        self.assertEqual({}, procedure._by_servers(plan, frozenset()))

    def test_the_claim_of_the_run_itself(self) -> None:
        plan, _ = planned({'web': {}})
        mine = {'disabled_reason': 'nova-recovery run=1a by=anna@ctl1'}
        _, found = planned({'web': {}}, {**HOSTS, 'np-rcc54': mine})
        self.assertEqual(
            [('source-unclaimed', 'np-rcc54')], self.again(plan, found)
        )
        self.assertEqual([], self.again(plan, found, ('host:np-rcc54',)))

    def test_a_server_that_is_gone_is_the_items_matter(self) -> None:
        plan, _ = planned({'web': {}, 'db': {}})
        _, found = planned({'web': {}})
        self.assertEqual([], self.again(plan, found))

    def test_on_is_excused_only_where_it_will_be_turned_off(self) -> None:
        on = {**HOSTS, 'np-rcc54': {'fence': 'on', 'fence_detail': 'on'}}
        off = {**HOSTS, 'np-rcc54': {'fence': 'off', 'fence_detail': 'off'}}
        plan, found = planned({'web': {}}, on, fence=True, fenced='')
        self.assertEqual([], self.again(plan, found))
        refused = [('source-fenced', 'np-rcc54')]
        # that item is over, or was left out with --skip
        (fence,) = items(plan, 'fence-host')
        left = plan.remaining([fence.id])
        self.assertEqual(refused, self.again(left, found))
        # the host was off when the plan was made, which has no such item
        plan, _ = planned({'web': {}}, off, fence=True, fenced='')
        self.assertEqual(refused, self.again(plan, found))

    def test_a_procedure_of_another_version(self) -> None:
        plan = Plan('teleport', '', {}, ())
        self.assertRaises(
            RecoveryError, procedures.check_gates, plan, mock.Mock()
        )

    def test_a_target_is_found_in_the_items_that_name_one(self) -> None:
        plan, _ = planned({'web': {}, 'db': PAUSED})
        self.assertEqual(
            {'evacuate-server', 'move-record'},
            {
                item.kind
                for item in plan.items()
                if procedure._target(item.kind, item.data)
            },
        )


class AgeTest(TestCase):
    def test_in_words(self) -> None:
        for seconds, words in (
            (0.0, '0:00:00 ago'),
            (0.4, '0:00:00 ago'),
            (9.6, '0:00:10 ago'),
            (3661, '1:01:01 ago'),
            (90061, '1 day, 1:01:01 ago'),
        ):
            self.assertEqual(words, gates.age(seconds))

    def test_of_the_future(self) -> None:
        self.assertEqual(
            '1:00:00 in the future: some clock is wrong', gates.age(-3600)
        )

    def test_part_of_a_second_is_no_wrong_clock(self) -> None:
        self.assertEqual('0:00:00 ago', gates.age(-0.3))


class CellTest(TestCase):
    """More than a fifth silent is a broken bus; one never is."""

    def refused(self, dead: int, alive: int, **others: Any) -> bool:
        hosts: dict[str, Any] = {'np-rcc54': {}}
        for number in range(1, dead):
            hosts[f'dead{number}'] = {'reports': [1, 1], **others}
        for number in range(alive):
            hosts[f'alive{number}'] = {}
        plan, _ = planned({}, hosts)
        (gate,) = [g for g in plan.gates if g.name == 'cell-alive']
        self.assertEqual('soft', gate.klass)
        return gate.blocks

    def test_how_many(self) -> None:
        for dead, alive, refused in (
            (1, 0, False),
            (1, 1, False),
            (2, 8, False),
            (2, 7, True),
            (3, 12, False),
            (3, 11, True),
            (20, 80, False),
            (21, 79, True),
        ):
            self.assertEqual(refused, self.refused(dead, alive), (dead, alive))

    def test_hosts_that_are_known_to_be_out_of_service(self) -> None:
        self.assertFalse(self.refused(5, 5, forced_down=True))
        self.assertFalse(self.refused(5, 5, disabled=True))


class OverrideTest(TestCase):
    """Every refusal that may be overridden can be, by the name it has."""

    def test_each_soft_gate_by_its_address(self) -> None:
        count = 0
        for folder in scenarios.FOLDERS.iterdir():
            request, found = scenarios.load(folder)
            plan = procedure.decide(request, scenarios.fenced(request, found))
            for gate in plan.gates:
                if not gate.blocks or gate.klass != 'soft':
                    continue
                where = address(gate.name, gate.subject)
                words = parse_overrides([f'{where}=known'])
                after = apply(plan.gates, words)
                state = [
                    g.state
                    for g in after
                    if (g.name, g.subject) == (gate.name, gate.subject)
                ]
                self.assertEqual(['overridden'], state, folder.name)
                count += 1
        self.assertGreater(count, 10)


class HeldTest(TestCase):
    """Both sides of the volumes, before a server is started elsewhere."""

    def refused(self, unheld: Unheld, **fields: Any) -> list[str]:
        plan, _ = planned({'web': {'unheld': unheld, **fields}})
        return [
            f'{gate.klass} {gate.observed}'
            for gate in plan.gates
            if gate.name == 'volumes-held'
        ]

    def test_held_for_nobody(self) -> None:
        lost = Unheld(lost=('v1',))
        (told,) = self.refused(lost, **PAUSED)
        self.assertIn('hard cinder holds volume v1 for nobody', told)
        # nova asks cinder for another
        self.assertEqual([], self.refused(lost))

    def test_cinder_has_no_such_volume_any_more(self) -> None:
        """Nova evacuates it all the same, and leaves it in error."""
        gone = Unheld(lost=('v1',), gone=('v1',))
        for fields in ({}, PAUSED):
            (told,) = self.refused(gone, **fields)
            self.assertIn('hard cinder has no volume v1 any more', told)
        plan, _ = planned({'web': {'unheld': gone}})
        (gate,) = [one for one in plan.gates if one.name == 'volumes-held']
        self.assertIn('recovery volume detach-stale', gate.remedy)
        plan, found = planned({'web': {}})
        root = found.servers[0].volumes[0].id
        plan, _ = planned({'web': {'unheld': Unheld(gone=(root,))}})
        (gate,) = [one for one in plan.gates if one.name == 'volumes-held']
        self.assertNotIn('detach-stale', gate.remedy)

    def test_without_a_request_spec_it_is_moved(self) -> None:
        plan, _ = planned({'web': {'specless': True}})
        self.assertEqual(1, len(items(plan, 'move-record')))
        self.assertFalse(plan.blocked)
        plan, _ = planned({'web': {'specless': True}}, method='evacuate')
        (gate,) = [one for one in plan.gates if one.blocks]
        self.assertIn('its request spec is missing', gate.observed)

    def test_another_server_has_it_by_now(self) -> None:
        taken = Unheld(lost=('v1',), taken=(('v1', 'db'),))
        (told,) = self.refused(taken)
        self.assertIn('v1, which server db has', told)
        (told,) = self.refused(taken, **PAUSED)
        self.assertIn('holds volume v1 for nobody', told)

    def test_held_for_another_server(self) -> None:
        for fields in ({}, PAUSED):
            (told,) = self.refused(Unheld(foreign=('v1',)), **fields)
            self.assertIn('hard what nova names of volume v1', told)

    def test_nobody_could_be_asked(self) -> None:
        (told,) = self.refused(Unheld(unknown='refused'), **PAUSED)
        self.assertIn('was not asked', told)
