# SPDX-License-Identifier: Apache-2.0

"""Which site may lose its power for a drill, and what is planned then."""

from __future__ import annotations

import dataclasses
from typing import Any
from unittest import mock

from nova_recovery import changes, conf, procedures
from nova_recovery.cloud import records
from nova_recovery.cloud.records import Service
from nova_recovery.engine import change
from nova_recovery.engine.findings import Finding
from nova_recovery.engine.plan import Gate, Plan
from nova_recovery.procedures.disaster.run.status import Row, Status
from nova_recovery.procedures.drill import site
from nova_recovery.procedures.drill.site import Power, Request, Seen
from nova_recovery.procedures.drill.site_back import Seen as SeenBack
from tests.base import TestCase
from tests.unit.procedures.disaster import test_scenarios

FOLDER = test_scenarios.FOLDERS / 'no_snapshot_and_no_dump'
POWER = Power('cut all', 'give all')
CELL = '11111111-2222-3333-4444-555555555555'


class Sites(TestCase):
    """One server on c1, and an empty host."""

    def setUp(self) -> None:
        super().setUp()
        _, found, _ = test_scenarios.load(FOLDER)
        (self.server,) = found.situation.servers.values()
        self.host = str(self.server.host)
        self.found = self.with_situation(
            found,
            computes={
                name: Service(
                    'nova-compute', name, 'cell1', number, state=records.UP
                )
                for number, name in enumerate((self.host, 'empty'), 1)
            },
        )

    def with_situation(self, found: Any, **more: Any) -> Any:
        here = dataclasses.replace(found.situation, **more)
        return dataclasses.replace(found, situation=here)

    def plan(
        self,
        servers: tuple[str, ...] | None = None,
        by_hand: bool = False,
        power: Power = POWER,
        **more: Any,
    ) -> Plan:
        seen = Seen(
            **{
                'found': self.found,
                'power': Power() if by_hand else power,
                'identity': (CELL,),
                **more,
            }
        )
        return site.decide(Request('lab', servers, by_hand), seen)

    def refusing(self, plan: Plan) -> list[Gate]:
        return [gate for gate in plan.gates if gate.blocks]

    def told(self, plan: Plan) -> str:
        (gate,) = self.refusing(plan)
        return f'{gate.name}: {gate.observed}'

    def test_the_power_is_taken_once_all_is_known_and_claimed(self) -> None:
        plan = self.plan()
        self.assertEqual([], self.refusing(plan))
        plan.check(change.kinds(changes.registry()))
        kinds = [item.kind for item in plan.items()]
        self.assertEqual(
            [
                *('take-snapshot', 'claim-host', 'claim-host'),
                *('see-service', 'see-service'),
                *('power-off-site', 'power-on-site', 'see-site'),
                *('see-service', 'see-service'),
                *('release-host', 'release-host'),
            ],
            kinds,
        )
        off = next(i for i in plan.items() if i.kind == 'power-off-site')
        self.assertEqual([self.server.uuid], off.data['servers'])
        self.assertEqual(
            {'snapshot:drill', f'host:{self.host}', 'host:empty'},
            set(off.follows),
        )
        # when the power may be off no claim can be asked for
        on = next(i for i in plan.items() if i.kind == 'power-on-site')
        self.assertEqual((off.subject,), on.follows)
        self.assertEqual([1, 1, 1, 2, 3, 3, 3, 3],
                         [step.number for step in plan.steps])  # fmt: skip

    def test_who_loses_power_is_told_before(self) -> None:
        told = ' '.join(self.plan().notes)
        self.assertIn('2 hosts (', told)
        self.assertIn('with 1 server, of which', told)
        self.assertIn(f'1 project ({self.server.project})', told)

    def test_each_server_has_to_be_named(self) -> None:
        plan = self.plan(('another',))
        name = self.server.name or self.server.uuid
        self.assertIn(f'were not named: {name}', self.told(plan))
        self.assertEqual([], self.refusing(self.plan((self.server.uuid,))))

    def test_servers_that_nobody_can_name(self) -> None:
        self.found = self.with_situation(self.found, disabled=('cell2',))
        names = {gate.name for gate in self.refusing(self.plan())}
        self.assertIn('servers-named', names)

    def test_a_site_without_programs_is_left_alone(self) -> None:
        plan = self.plan(power=Power('', '', ('x is not set',)))
        self.assertIn('power-programs: x is not set', self.told(plan))
        (gate,) = self.refusing(plan)
        self.assertIn('--by-hand', gate.remedy)
        self.assertEqual((), plan.steps)

    def test_by_hand_nothing_is_run(self) -> None:
        plan = self.plan(by_hand=True)
        self.assertEqual([], self.refusing(plan))
        self.assertEqual(
            {None},
            {i.data['command'] for i in plan.items() if 'command' in i.data},
        )

    def test_by_hand_nobody_is_asked_who_may_be_off(self) -> None:
        plan = self.plan(by_hand=True)
        off = next(i for i in plan.items() if i.kind == 'power-off-site')
        # no claim: it would be asked for
        self.assertEqual(('snapshot:drill',), off.follows)
        rest = plan.remaining(
            [item.id for step in plan.steps[:3] for item in step.items]
        )
        self.assertEqual((), procedures.check_gates(rest, mock.Mock(spec=())))

    def test_what_is_down_before_tells_nothing(self) -> None:
        computes = dict(self.found.situation.computes)
        computes['empty'] = dataclasses.replace(
            computes['empty'], state=records.DOWN
        )
        self.found = self.with_situation(self.found, computes=computes)
        self.assertIn('empty is down', self.told(self.plan()))

    def test_a_journal_that_may_lose_its_power_too(self) -> None:
        plan = self.plan(journal='it is in MySQL')
        self.assertEqual('journal-outside: it is in MySQL', self.told(plan))
        self.assertEqual('soft', self.refusing(plan)[0].klass)

    def test_a_site_that_could_not_start_guests(self) -> None:
        row = Finding('bus', 'danger', 'rabbit', 'it is down')
        self.assertEqual(
            'site-ready: it is down', self.told(self.plan(red=(row,)))
        )

    def test_no_gate_stands_in_the_way_once_the_power_may_be_off(self) -> None:
        cloud = mock.Mock(spec=())
        self.assertEqual(
            (),
            procedures.check_gates(
                self.plan(), cloud, frozenset({'power:off'})
            ),
        )
        rest = self.plan().remaining(
            [i.id for i in self.plan().items() if i.kind != 'release-host']
        )
        self.assertEqual((), procedures.check_gates(rest, cloud))

    def test_it_is_not_taken_back_while_the_power_may_be_off(self) -> None:
        """It could not be resumed then, and nothing would give it back."""

        def why(off: Any, on: str, by_hand: bool = False) -> str:
            begun = off is not None
            made = [
                mock.Mock(kind=site.OFF, begun=begun, notes=off or {}),
                mock.Mock(kind=site.ON, state=on),
            ]
            return site.only_forward(self.plan(by_hand=by_hand), made)

        sent = {'sending': {'at': 1.0}}
        self.assertIn('has to be given back', why(sent, 'blocked'))
        self.assertIn('has to be given back', why(sent, 'failed'))
        for given in ('done', 'skipped'):
            self.assertEqual('', why(sent, given))
        self.assertEqual('', why(None, 'pending'))
        self.assertEqual('', why({}, 'pending'))
        self.assertEqual('', why(sent, 'pending', by_hand=True))

    def test_a_journal_that_may_lose_its_power(self) -> None:
        for connection, machine, told in (
            ('sqlite:////j', 'control', ''),
            ('mysql+pymysql://db/j', 'control', 'in a database of a server'),
            ('sqlite:////j', 'c1.lab', 'this machine, c1.lab, is one of'),
        ):
            why = site.loses_journal(connection, ['c1', 'c2.lab'], machine)
            self.assertIn(told, why)
            self.assertEqual(bool(told), bool(why))

    def test_one_program_is_no_way_back(self) -> None:
        given = conf.load([])
        for option in ('site_power_off', 'site_power_on'):
            given.set_override(option, 'true --site', 'drill')
        (told,) = site.power(given, False).missing
        self.assertIn('are the same', told)

    def test_programs_that_cant_be_run_are_missing(self) -> None:
        given = conf.load([])
        told = ' '.join(site.power(given, False).missing)
        self.assertIn('[drill] site_power_off is not set', told)
        given.set_override('site_power_off', '/bin/true -p x', 'drill')
        given.set_override('site_power_on', '/nowhere/on', 'drill')
        (told,) = site.power(given, False).missing
        self.assertIn("no program '/nowhere/on'", told)
        given.set_override('site_power_on', '/bin/true --password x', 'drill')
        self.assertEqual(
            Power("/bin/true -p '***'", "/bin/true --password '***'"),
            site.power(given, False),
        )
        self.assertEqual(Power(), site.power(given, True))


class Back(TestCase):
    def seen(self, total: int, *rows: str, silent: bool = False) -> SeenBack:
        found: Any = mock.Mock(
            silent={'cell1': 'down'} if silent else {},
            outage=mock.Mock(at=None),
        )
        server: Any = mock.Mock(project='p')
        server.name = 'web'
        made: Any = [Row(server, 1, None, state, '') for state in rows]
        return SeenBack(Status(found, total, tuple(made)))

    def test_the_loss_is_seen_where_servers_are_down(self) -> None:
        self.assertEqual(
            (True, '2 of 2 servers down'), self.seen(2, 'down', 'down').loss()
        )
        self.assertEqual(
            (True, '1 of 2 servers down, 1 up again already'),
            self.seen(2, 'down').loss(),
        )
        self.assertFalse(self.seen(2).loss()[0])
        self.assertFalse(self.seen(2, 'down', 'unproven').loss()[0])
        self.assertFalse(self.seen(2, 'down', silent=True).loss()[0])

    def test_it_is_whole_when_all_are_up(self) -> None:
        self.assertEqual((True, 'all of 2 servers up'), self.seen(2).back())
        self.assertFalse(self.seen(2, 'down').back()[0])
        self.assertFalse(self.seen(2, silent=True).back()[0])
