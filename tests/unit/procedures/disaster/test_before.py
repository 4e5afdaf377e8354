# SPDX-License-Identifier: Apache-2.0
"""What is asked before each step and before each request."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any
from unittest import mock

import fixtures

from nova_recovery import procedures, readiness
from nova_recovery.engine import findings
from nova_recovery.engine.findings import Finding
from nova_recovery.engine.plan import Item, Plan
from nova_recovery.exceptions import (
    Conflict,
    DatabaseUnavailable,
    Paused,
    Refused,
)
from nova_recovery.procedures.disaster import procedure
from nova_recovery.procedures.disaster.plan import decide
from nova_recovery.procedures.disaster.run import before
from nova_recovery.procedures.volumes.situation import BothSides, mismatch
from nova_recovery.readiness import Site
from tests.base import TestCase
from tests.unit import plans
from tests.unit.procedures.disaster import test_scenarios

RED = Finding('volume', readiness.NO_GO, 'ctl@lvm', 'it is down')
DANGER = mismatch(
    'VOL-UNLINKED', findings.DANGER, 'data', 'available', 'web', 'lost'
)
NOW = 'nova_recovery.procedures.disaster.run.before.time.monotonic'


def scenario(name: str) -> Plan:
    """The plan of a scenario."""
    request, found, _ = test_scenarios.load(test_scenarios.FOLDERS / name)
    plan = plans.checked(decide.decide(request, found))
    # there is no such file
    return dataclasses.replace(
        plan, arguments={**plan.arguments, 'snapshot': None}
    )


class Steps(TestCase):
    """The steps of a plan, one after the other.

    :ivar states: item id -> its state in the journal
    :ivar rows: what readiness says
    :ivar layers: what was looked at
    :ivar wrong: what would lose a volume
    """

    def setUp(self) -> None:
        super().setUp()
        self.plan = scenario('volumes_that_nova_lost')
        self.states = {item.id: 'pending' for item in self.plan.items()}
        self.rows: list[Finding] = []
        self.wrong: list[Finding] = []
        self.layers: list[Any] = []
        self.sites: list[Site] = []

        def look(site: Site, layers: Any) -> list[Finding]:
            self.layers.append(layers)
            self.sites.append(site)
            return self.rows

        for name, answer in (
            ('readiness.look', look),
            ('dangers', lambda cloud, servers: self.wrong),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(f'{before.__name__}.{name}', answer)
            )

    def ask(self, name: str) -> None:
        asked = procedures.before(
            self.plan, mock.Mock(), frozenset, lambda: self.states
        )
        assert asked is not None
        (step,) = [one for one in self.plan.steps if one.name == name]
        asked(step)

    def end(self, number: int, state: str = 'done') -> None:
        """Let the items of a step of the guide have ended."""
        for step in self.plan.steps:
            if step.number == number:
                for item in step.items:
                    self.states[item.id] = state

    def refused(self, name: str) -> str:
        return str(self.assertRaises(Paused, self.ask, name))


class BeforeTest(Steps):
    def test_the_first_step_begins_whatever_the_site_is_like(self) -> None:
        self.rows = [RED]
        self.ask('record')
        self.ask('claim')
        self.assertEqual([], self.layers)

    def test_guests_of_old_clouds_that_run_by_now(self) -> None:
        """A host came back since the plan was made, or approved."""
        name = 'before_queens_on_hosts_that_are_up'
        self.plan = scenario(name)
        self.states = {item.id: 'pending' for item in self.plan.items()}
        self.end(1)
        _, found, _ = test_scenarios.load(test_scenarios.FOLDERS / name)
        self.patch(
            before.procedure.gather, 'read_all', lambda *args, **more: found
        )
        told = self.refused('clean')
        self.assertIn('up: its nova-compute is up', told)
        self.assertIn('odd: it is not known to be off', told)
        gates = tuple(
            dataclasses.replace(one, state='overridden', reason='virsh list')
            if one.name == 'hosts-off'
            else one
            for one in self.plan.gates
        )
        self.plan = dataclasses.replace(self.plan, gates=gates)
        self.ask('clean')

    def test_only_the_storage_of_what_is_left_is_asked(self) -> None:
        self.plan = scenario('back_end_is_skipped')
        self.states = {item.id: 'pending' for item in self.plan.items()}
        self.end(1)
        self.ask('canary')
        self.assertEqual(frozenset({'ctl@ceph'}), self.sites[-1].backends)
        self.end(3, 'skipped')
        self.ask('attach')
        self.assertEqual(frozenset(), self.sites[-1].backends)

    def test_a_plan_of_before_asks_all(self) -> None:
        self.plan = scenario('back_end_is_skipped')
        self.states = {item.id: 'pending' for item in self.plan.items()}
        self.end(1)
        for item in self.plan.items():
            item.data.pop('backends', None)
        self.ask('canary')
        self.assertIsNone(self.sites[-1].backends)

    def test_nothing_is_changed_before_the_first_step_is_whole(self) -> None:
        self.end(1)
        self.states['claim-server:web'] = 'conflict'
        told = self.refused('clean')
        self.assertIn('web (claim-server)', told)
        self.assertEqual([], self.layers)

    def test_the_name_of_a_server_moves_no_cursor(self) -> None:
        self.end(1)
        self.states['claim-server:web'] = 'conflict'
        (step,) = [one for one in self.plan.steps if one.name == 'claim']
        items = tuple(
            dataclasses.replace(one, label='\x1b[2Jweb') for one in step.items
        )
        named = dataclasses.replace(step, items=items)
        self.plan = dataclasses.replace(
            self.plan,
            steps=tuple(
                named if one is step else one for one in self.plan.steps
            ),
        )
        self.assertIn('\\x1b[2Jweb', self.refused('clean'))

    def test_what_somebody_left_out_is_not_missing(self) -> None:
        self.end(1)
        self.states['claim-server:web'] = 'skipped'
        self.ask('clean')

    def test_the_second_step_waits_for_the_storage(self) -> None:
        self.end(1)
        self.ask('clean')
        self.assertEqual([readiness.STORAGE], self.layers)
        self.rows = [RED]
        self.assertIn('volume ctl@lvm: it is down', self.refused('clean'))

    def test_the_third_step_waits_for_the_whole_site(self) -> None:
        self.end(1)
        self.ask('canary')
        self.assertEqual([None], self.layers)
        self.assertEqual(frozenset({'np-rcc4'}), self.sites[0].hosts)
        self.rows = [RED]
        self.assertIn('assess --ready', self.refused('canary'))

    def test_a_host_of_which_nothing_is_left_need_not_be_up(self) -> None:
        self.states = dict.fromkeys(self.states, 'skipped')
        self.ask('canary')
        self.assertEqual(frozenset(), self.sites[0].hosts)

    def test_one_dangerous_volume_holds_up_no_others(self) -> None:
        self.end(1)
        self.end(2)
        self.wrong = [DANGER]
        self.ask('canary')

    def test_volumes_are_attached_while_storage_and_computes_are_there(
        self,
    ) -> None:
        self.end(1)
        self.ask('attach')
        self.assertEqual([readiness.STORAGE | readiness.VITAL], self.layers)


class OriginTest(Steps):
    """The snapshot that the plan was made with."""

    def setUp(self) -> None:
        super().setUp()
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.file = folder / 'before.snapshot'
        self.file.write_text('as it was')
        name = test_scenarios.FOLDERS / 'volumes_that_nova_lost'
        request, found, _ = test_scenarios.load(name)
        self.patch(procedure.gather, 'read_all', lambda *args, **more: found)
        # nobody looks into it
        self.patch(before, 'Snapshot', mock.MagicMock())
        self.plan = procedure.make_plan(
            mock.Mock(), dataclasses.replace(request, snapshot=str(self.file))
        )

    def rest(self) -> Plan:
        """What is left of it when step 1 is over."""
        return self.plan.remaining(['record-relations:disaster'])

    def check(self) -> str:
        error = self.assertRaises(
            Refused, procedure.check, self.rest(), mock.Mock(),
            frozenset(),
        )  # fmt: skip
        return str(error)

    def test_it_is_still_there(self) -> None:
        procedure.check(self.rest(), mock.Mock(), frozenset())
        self.end(1)
        self.ask('clean')

    def test_another_one_was_put_in_its_place(self) -> None:
        self.file.write_text('as it is')
        self.assertIn('is another file by now', self.check())
        self.end(1)
        self.assertIn('is another file by now', self.refused('clean'))

    def test_it_is_gone(self) -> None:
        self.file.unlink()
        self.assertIn('No such file', self.check())
        self.end(1)
        self.assertIn('put it back there', self.refused('clean'))


class FailuresTest(TestCase):
    def test_the_second_step_has_the_limit_of_the_waves(self) -> None:
        plan = scenario('stale_volumes_are_cleaned')
        (clean,) = [one for one in plan.steps if one.number == 2]
        self.assertEqual(len(clean.items) // 20, clean.failures)


class VitalTest(TestCase):
    """How often it is looked whether the storage is still there."""

    def setUp(self) -> None:
        super().setUp()
        self.now = 100.0
        self.looks = 0
        self.layers: list[frozenset[str]] = []
        self.rows: list[Finding] = []
        self.item = Item(
            'restart-server:web',
            'restart-server',
            'server:web',
            'web',
            {'uuid': 'web', 'cell': 'cell1', 'host': 'np-rcc4'},
        )

        def vital(site: Site, layers: frozenset[str]) -> list[Finding]:
            self.looks += 1
            self.layers.append(layers)
            return self.rows

        self.useFixture(
            fixtures.MonkeyPatch(f'{before.__name__}.readiness.vital', vital)
        )
        self.useFixture(fixtures.MonkeyPatch(NOW, lambda: self.now))
        self.useFixture(
            fixtures.MonkeyPatch(
                f'{before.__name__}.dangers',
                lambda cloud, servers: self.wrong.pop(),
            )
        )
        self.wrong: list[list[Finding]] = [[]] * 99
        plan = Plan('disaster', '', {}, ())
        asked = procedures.guard(plan, mock.Mock(), 'marker')
        assert asked is not None
        self.ask = asked

    def test_an_answer_counts_for_eight_requests(self) -> None:
        for _ in range(8):
            self.ask(self.item)
        self.assertEqual(1, self.looks)
        self.ask(self.item)
        self.assertEqual(2, self.looks)

    def test_an_answer_counts_for_three_seconds(self) -> None:
        self.ask(self.item)
        self.now += 2.9
        self.ask(self.item)
        self.assertEqual(1, self.looks)
        self.now += 0.2
        self.ask(self.item)
        self.assertEqual(2, self.looks)

    def test_a_storage_that_died_stops_the_wave_within_ten(self) -> None:
        self.ask(self.item)
        self.rows = [RED]
        sent = 0
        while sent < 10:
            try:
                self.ask(self.item)
            except Paused as error:
                self.assertIn('ctl@lvm: it is down', str(error))
                break
            sent += 1
        self.assertLess(sent, 10)
        # and nothing is let through on the strength of that answer
        self.assertRaises(Paused, self.ask, self.item)

    def test_a_server_that_would_lose_a_volume_is_kept_back(self) -> None:
        self.wrong = [[DANGER], [DANGER]]
        error = self.assertRaises(Conflict, self.ask, self.item)
        self.assertIn('volume data: VOL-UNLINKED: lost', str(error))
        self.assertIn('run resume RUN --skip', str(error))

    def test_what_is_gone_at_a_second_look_is_no_danger(self) -> None:
        self.wrong = [[], [DANGER]]
        self.ask(self.item)
        self.assertEqual([], self.wrong)

    def clean(self, kind: str) -> None:
        """As the items of step 2 are: some name no host."""
        self.ask(Item(f'{kind}:v', kind, 'volume:v', 'v', {}))

    def test_what_cinder_is_asked_for_waits_for_its_storage_alone(
        self,
    ) -> None:
        self.clean('recreate-attachment')
        self.clean('drop-attachment')
        # the hosts may be off still
        self.assertEqual([frozenset({'volume'})], self.layers)
        self.rows = [RED]
        self.now += 4
        self.assertRaises(Paused, self.clean, 'recreate-attachment')
        # it is written into a database
        self.clean('reset-volume')
        self.clean('drop-mapping')

    def test_an_answer_for_the_storage_says_nothing_of_computes(self) -> None:
        self.clean('drop-attachment')
        self.ask(self.item)
        self.assertEqual([frozenset({'volume'}), readiness.VITAL], self.layers)

    def test_a_claim_is_made_whatever_the_storage_does(self) -> None:
        self.rows = [RED]
        self.ask(Item('release-server:web', 'release-server', 'x', ''))
        self.assertEqual(0, self.looks)


class DangersTest(TestCase):
    """What can't be known is no good news."""

    def setUp(self) -> None:
        super().setUp()
        item = Item(
            'r', 'restart-server', 'server:web', 'web', {'cell': 'cell1'}
        )
        self.servers = {'web': item}
        self.found: Any = BothSides({})
        self.patch(before, '_mapped', lambda database, servers: {'data'})
        self.patch(before, 'each', self.each)
        self.patch(before.volumes_read, 'both_sides', self.both_sides)

    def each(self, cells: Any, ask: Any) -> Any:
        return {'cell1': ask(cells[0])}

    def both_sides(self, cloud: Any, ids: Any) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def dangers(self) -> Any:
        return before.dangers(mock.Mock(), self.servers)

    def test_all_is_well(self) -> None:
        self.assertEqual([], self.dangers())

    def test_the_cell_fell_silent(self) -> None:
        self.found = BothSides({}, silent={'cell1': 'refused'})
        error = self.assertRaises(Paused, self.dangers)
        self.assertIn('cell1: refused', str(error))

    def test_cinder_fell_silent(self) -> None:
        self.found = DatabaseUnavailable('cinder', 'refused')
        self.assertRaises(Paused, self.dangers)
