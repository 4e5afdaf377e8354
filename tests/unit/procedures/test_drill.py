# SPDX-License-Identifier: Apache-2.0

"""Which canary may lose its power, and what is seen of one that did."""

from __future__ import annotations

import dataclasses
from typing import Any
from unittest import mock

import fixtures

from nova_recovery import changes
from nova_recovery.engine import change
from nova_recovery.engine.findings import Finding
from nova_recovery.engine.overrides import parse_overrides
from nova_recovery.engine.plan import Gate, Plan
from nova_recovery.procedures.drill import back, procedure
from nova_recovery.procedures.drill.back import Seen
from nova_recovery.procedures.drill.procedure import Canary, Request
from nova_recovery.procedures.iscsi.facts import Facts
from nova_recovery.procedures.reached import Reached
from tests.base import TestCase
from tests.unit.procedures import test_iscsi as iscsi
from tests.unit.procedures.disaster import test_scenarios
from tests.unit.procedures.test_iscsi import DB, disk, session, VOLUME

FOLDER = test_scenarios.FOLDERS / 'no_snapshot_and_no_dump'


def use(server: str | None, kind: str = 'open') -> dict[str, Any]:
    return {'kind': kind, 'what': 'x', 'server': server}


class Canaries(TestCase):
    def setUp(self) -> None:
        super().setUp()
        _, self.found, _ = test_scenarios.load(FOLDER)
        (server,) = self.found.situation.servers.values()
        self.server = dataclasses.replace(server, power_state=1)
        self.uuid = server.uuid

    def plan(
        self,
        *sessions: Any,
        active: bool = True,
        own: Any = None,
        unknown: tuple[str, ...] = (),
        red: tuple[Finding, ...] = (),
        **fields: Any,
    ) -> Plan:
        said = {'sessions': list(sessions), 'domains': [], 'why': ''}
        guests = {'domains': [{'uuid': self.uuid, 'active': active}]}
        there = Reached('c1', 'id-of-c1', said=(said, guests))
        if own is None:
            own = (iscsi.wanted(uuid=self.uuid),)
        canary = Canary(
            self.found,
            dataclasses.replace(self.server, **fields),
            there,
            Facts((there,), {'c1': own}, unknown),
            red,
            {one.volume: one.protocol for one in own},
        )
        return procedure.decide(
            Request(self.uuid, 'cell1', {'back': 300}), canary, '/home'
        )

    def refusing(self, plan: Plan) -> list[Gate]:
        return [gate for gate in plan.gates if gate.blocks]

    def told(self, plan: Plan) -> str:
        (gate,) = self.refusing(plan)
        return f'{gate.name}: {gate.observed}'

    def test_its_guest_is_cut_before_its_sessions_are_closed(self) -> None:
        plan = self.plan(session(disk(uses=[use(self.uuid)])))
        self.assertEqual([], self.refusing(plan))
        plan.check(change.kinds(changes.registry()))
        self.assertEqual(
            [
                *('take-snapshot', 'claim-server', 'cut-guest'),
                *('close-session', 'release-server'),
            ],
            [item.kind for item in plan.items()],
        )
        cut, close = list(plan.items())[2:4]
        self.assertEqual((cut.subject,), close.follows)
        self.assertEqual(1, close.data['session'])

    def test_only_sessions_of_its_own_are_closed(self) -> None:
        other = session(disk('sdc'), number=2, target=f'{iscsi.IQN}x')
        plan = self.plan(session(disk()), other)
        self.assertEqual(
            [1],
            [i.data['session'] for i in plan.items()
             if i.kind == 'close-session'],
        )  # fmt: skip

    def test_a_session_with_disks_of_others_is_refused(self) -> None:
        own = (
            iscsi.wanted(uuid=self.uuid, target=iscsi.ARRAY),
            iscsi.wanted('0' * 8 + VOLUME[8:], DB, 2, target=iscsi.ARRAY),
        )
        plan = self.plan(
            session(disk(), disk('sdc', 2), target=iscsi.ARRAY), own=own
        )
        self.assertIn('has disks of others too: name-0d', self.told(plan))

    def test_a_disk_that_the_host_uses_besides_is_refused(self) -> None:
        for kind in ('mount', 'map'):
            plan = self.plan(session(disk(uses=[use(None, kind)])))
            self.assertIn(f'sdb: {kind} x', self.told(plan))

    def test_multipath_is_refused_with_how_it_is_done_by_hand(self) -> None:
        held = [use(None, 'map')]
        plan = self.plan(
            session(disk(uses=held)), session(disk('sdc', uses=held), number=2)
        )
        (gate,) = self.refusing(plan)
        self.assertIn('session 1: sdb: map x; session 2: sdc', gate.observed)
        _why, destroy, *rest = gate.remedy.splitlines()
        self.assertEqual(f'virsh destroy {self.uuid}', destroy)
        self.assertEqual('multipath -f x', rest[0])
        for number, line in enumerate(rest[1:3], 1):
            self.assertIn(f'iscsi session delete c1 --session {number}', line)
        self.assertIn(f'server reboot {self.uuid}', rest[3])

    def test_what_nova_has_there_must_be_known(self) -> None:
        plan = self.plan(session(disk()), unknown=('cell2 is silent',))
        self.assertIn('cell2 is silent', self.told(plan))

    def test_storage_without_sessions_says_why_and_what_else(self) -> None:
        rbd = dataclasses.replace(
            iscsi.wanted(uuid=self.uuid), protocol='rbd', paths=()
        )
        plan = self.plan(own=(rbd,))
        self.assertIn('its volumes are by rbd', self.told(plan))
        self.assertIn('disaster plan', self.refusing(plan)[0].remedy)
        self.assertEqual((), plan.steps)
        self.assertIn('no disk of the host', self.told(self.plan(own=())))

    def test_only_one_that_runs(self) -> None:
        for told, given in (
            ('it is stopped', {'vm_state': 'stopped'}),
            ('its task is rebooting', {'task_state': 'rebooting'}),
            ('it is active', {'power_state': 4}),
            ('libvirt of c1 does not run it', {'active': False}),
        ):
            plan = self.plan(session(disk()), **given)
            self.assertIn(told, self.told(plan))
            self.assertIn('server reboot', self.refusing(plan)[0].remedy)

    def test_a_site_that_could_not_start_it_again(self) -> None:
        row = Finding('volume', 'danger', 'c1@lvm', 'it is down')
        plan = self.plan(session(disk()), red=(row,))
        self.assertEqual('site-ready: it is down', self.told(plan))

    def test_a_cloud_from_before_queens_is_brought_back_by_hand(self) -> None:
        _, self.found, _ = test_scenarios.load(
            test_scenarios.FOLDERS / 'before_queens'
        )
        names = {gate.name for gate in self.refusing(self.plan())}
        self.assertIn('schema-modern', names)

    def test_a_host_that_does_not_answer_is_left_alone(self) -> None:
        there = Reached('c1', problem='no route')
        canary = Canary(
            self.found, self.server, there, Facts((there,), {'c1': ()})
        )
        plan = procedure.decide(Request(self.uuid, 'cell1'), canary, '/')
        self.assertEqual('host-answers: no route', self.told(plan))
        self.assertEqual((), plan.steps)

    def test_of_one_that_lost_its_power_only_its_host_is_asked(self) -> None:
        plan = self.plan(session(disk()))
        asked = []

        def read(cloud: Any, names: list[str]) -> list[Reached]:
            asked.extend(names)
            return [Reached('c1', 'id-of-c1')]

        self.useFixture(
            fixtures.MonkeyPatch('nova_recovery.procedures.reached.read', read)
        )
        cut = next(i for i in plan.items() if i.kind == 'cut-guest')
        left = plan.remaining([cut.id])
        gates = procedure.check(left, mock.Mock(), frozenset({cut.subject}))
        self.assertEqual(['host-answers'], [gate.name for gate in gates])
        self.assertEqual(['c1'], asked)


class SeenTest(TestCase):
    def test_all_of_the_loss_has_to_be_seen(self) -> None:
        lost = {VOLUME: 'ISCSI-LOST'}
        self.assertTrue(Seen(lost, 'down', 'off').loss([VOLUME])[0])
        for seen in (
            Seen(lost, 'up'),
            Seen(lost, 'unproven'),
            Seen(lost, 'starting'),
            Seen({}, 'down'),
            Seen({VOLUME: 'ISCSI-SESSION'}, 'down'),
        ):
            self.assertFalse(seen.loss([VOLUME])[0])

    def test_back_is_up_with_each_of_its_sessions(self) -> None:
        there = {VOLUME: 'ISCSI-SESSION'}
        self.assertTrue(Seen(there, 'up').back([VOLUME])[0])
        for seen in (
            Seen(there, 'down'),
            Seen(there, 'unproven'),
            Seen({}, 'up'),
        ):
            self.assertFalse(seen.back([VOLUME])[0])


class WayBackTest(TestCase):
    """What was overridden before the power was taken, and since."""

    def setUp(self) -> None:
        super().setUp()
        self.asked = (
            Gate('keys-readable', 'db', 'soft', 'unknown', 'encrypted', 'x'),
            Gate('dump-named', '', 'soft', 'unknown', 'none', 'x'),
        )
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.procedures.drill.back.disaster.make_plan',
                lambda cloud, request: Plan(
                    'disaster', '', {}, (), gates=self.asked
                ),
            )
        )

    def plan(self, *given: Gate, words: tuple[str, ...] = ()) -> Plan:
        loss = Plan(
            'drill',
            '',
            {'server': 'u', 'cell': 'cell1', 'targets': {}},
            (),
            gates=given,
        )
        drill = back.Drill(loss, 'a.snapshot', '2026-11-29T11:00:00+00:00')
        return back.make_plan(mock.Mock(), drill, parse_overrides(words))

    def test_without_a_word_it_is_refused(self) -> None:
        self.assertEqual(
            ['unknown', 'overridden'], [g.state for g in self.plan().gates]
        )

    def test_it_stays_so(self) -> None:
        given = dataclasses.replace(
            self.asked[0], state='overridden', reason='the keys are mine'
        )
        other = dataclasses.replace(given, name='cells-read', subject='')
        gates = self.plan(given, other).gates
        self.assertEqual(['overridden'] * 2, [g.state for g in gates])
        self.assertEqual('the keys are mine', gates[0].reason)

    def test_it_is_not_for_what_was_seen_since(self) -> None:
        given = dataclasses.replace(
            self.asked[0], state='overridden', reason='y', observed='other'
        )
        self.assertEqual('unknown', self.plan(given).gates[0].state)

    def test_it_may_be_given_for_the_way_back(self) -> None:
        gates = self.plan(words=('keys-readable:db=asked him',)).gates
        self.assertEqual(['overridden'] * 2, [g.state for g in gates])
