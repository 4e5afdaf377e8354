# SPDX-License-Identifier: Apache-2.0

"""Which states may be written, and what is said about it."""

from __future__ import annotations

from typing import Any

from nova_recovery.cloud.records import Server
from nova_recovery.exceptions import UsageError
from nova_recovery.procedures import set_states, show_servers
from nova_recovery.procedures.set_states import Request, Situation
from nova_recovery.procedures.whereabouts import Perhaps, Whereabouts
from tests.base import TestCase
from tests.unit import plans
from tests.unit.procedures import rows


def decided(
    found: Server,
    runs: bool | None = None,
    alive: bool | None = None,
    **wanted: Any,
) -> Any:
    """The plan to set the states of a server."""
    request = Request(uuid=rows.UUID, cell='cell1', **wanted)
    place = Whereabouts(found.host or '')
    plan = set_states.decide(request, Situation(found, runs, alive, place))
    return plans.checked(plan)


def values(plan: Any) -> tuple[Any, Any, Any]:
    """What the plan writes: vm_state, power_state, task_state."""
    (item,) = plan.items()
    wanted = item.data['values']
    return wanted['vm_state'], wanted['power_state'], wanted['task_state']


class WordsTest(TestCase):
    def test_a_power_state_by_name_or_number(self) -> None:
        for words, number in (
            (('nostate', '0'), 0),
            (('running', 'Running', '1'), 1),
            (('paused', '3'), 3),
            (('shutdown', 'SHUTDOWN', '4'), 4),
            (('crashed', '6'), 6),
            (('suspended', '7'), 7),
        ):
            for word in words:
                self.assertEqual(number, set_states.power_state(word))

    def test_a_power_state_of_2012_is_refused_with_todays_word(self) -> None:
        for word in ('5', 'shutoff', 'SHUTOFF', 'off', '2'):
            error = self.assertRaises(UsageError, set_states.power_state, word)
            self.assertIn('UNKNOWN', str(error))
            self.assertIn('shutdown (4)', str(error))

    def test_what_is_no_power_state(self) -> None:
        for word in ('', '8', '-1', '4.0', 'active', '²', 'up'):
            error = self.assertRaises(UsageError, set_states.power_state, word)
            self.assertIn('running (1)', str(error))
            self.assertNotIn('2012', str(error))

    def test_a_vm_state_of_2012_is_refused_with_todays_word(self) -> None:
        for word in ('shutoff', 'SHUTOFF', 'shutdown'):
            error = self.assertRaises(UsageError, set_states.vm_state, word)
            self.assertIn('a server that is off is stopped', str(error))

    def test_states_that_only_nova_makes(self) -> None:
        for word in ('building', 'deleted', 'resized', 'shelved_offloaded'):
            error = self.assertRaises(UsageError, set_states.vm_state, word)
            self.assertIn('stopped', str(error))
            self.assertNotIn('2012', str(error))

    def test_a_power_state_is_shown_by_the_same_words(self) -> None:
        for word, number in set_states.POWER_STATES.items():
            self.assertEqual(word, show_servers.power(number))
        self.assertEqual('5 (no state of nova)', show_servers.power(5))
        self.assertEqual('', show_servers.power(None))


class ValuesTest(TestCase):
    def test_a_new_state_takes_its_power_state_along(self) -> None:
        for state, power in (
            ('active', 1),
            ('paused', 3),
            ('suspended', 4),
            ('rescued', 1),
        ):
            plan = decided(rows.server(power_state=4), vm_state=state)
            self.assertEqual((state, power, None), values(plan))

    def test_a_power_state_that_fits_as_well_stays(self) -> None:
        found = rows.server(vm_state='active', power_state=6)
        plan = decided(found, vm_state='stopped')
        self.assertEqual(('stopped', 6, None), values(plan))
        found = rows.server(vm_state='active', power_state=1)
        plan = decided(found, vm_state='error')
        self.assertEqual(('error', 1, None), values(plan))

    def test_an_unknown_power_state_is_replaced(self) -> None:
        for power in (None, 2, 5):
            plan = decided(rows.server(power_state=power), vm_state='stopped')
            self.assertEqual(('stopped', 4, None), values(plan))

    def test_every_pair_that_nova_leaves_alone_can_be_set(self) -> None:
        for state, powers in set_states.LEGAL.items():
            for power in powers:
                found = rows.server(vm_state='building', power_state=None)
                plan = decided(found, vm_state=state, power_state=power)
                self.assertEqual((state, power, None), values(plan))

    def test_a_pair_that_nova_would_repair_is_refused(self) -> None:
        for state, power in (
            ('active', 4),
            ('active', 0),
            ('stopped', 1),
            ('paused', 1),
            ('suspended', 1),
        ):
            error = self.assertRaises(
                UsageError,
                decided,
                rows.server(),
                vm_state=state,
                power_state=power,
            )
            self.assertIn(f'with {state} go', str(error))

    def test_a_power_state_must_fit_the_state_that_stays(self) -> None:
        self.assertRaises(UsageError, decided, rows.server(), power_state=1)
        plan = decided(rows.server(power_state=5), power_state=4)
        self.assertEqual(('stopped', 4, None), values(plan))

    def test_a_state_that_nobody_sets_by_hand_fits_no_power_state(
        self,
    ) -> None:
        error = self.assertRaises(
            UsageError,
            decided,
            rows.server(vm_state='resized', power_state=1),
            power_state=4,
        )
        self.assertIn('with resized go none', str(error))

    def test_clearing_the_task_leaves_the_rest_whatever_it_is(self) -> None:
        found = rows.server(
            vm_state='resized', power_state=5, task_state='rebooting'
        )
        plan = decided(found, clear_task=True)
        self.assertEqual(('resized', 5, None), values(plan))

    def test_the_task_stays_unless_it_is_cleared(self) -> None:
        found = rows.server(task_state='powering-off', power_state=5)
        plan = decided(found, power_state=4)
        self.assertEqual(('stopped', 4, 'powering-off'), values(plan))

    def test_nothing_to_change_is_an_empty_plan(self) -> None:
        for wanted in ({'clear_task': True}, {'vm_state': 'stopped'}):
            self.assertEqual((), decided(rows.server(), **wanted).steps)

    def test_the_row_must_be_as_it_was_seen(self) -> None:
        (item,) = decided(rows.server(), vm_state='active').items()
        self.assertEqual(
            {
                'host': 'np-rcc54',
                'vm_state': 'stopped',
                'power_state': 4,
                'task_state': None,
            },
            item.data['seen'],
        )


class GatesTest(TestCase):
    def gate(self, plan: Any, name: str) -> Any:
        (gate,) = [gate for gate in plan.gates if gate.name == name]
        return gate

    def test_a_guest_that_runs_is_not_written_as_stopped(self) -> None:
        found = rows.server(vm_state='active', power_state=1)
        gate = self.gate(
            decided(found, runs=True, alive=True, vm_state='stopped'),
            'guest-agrees',
        )
        self.assertEqual(('soft', 'refused'), (gate.klass, gate.state))
        self.assertEqual('the guest runs', gate.observed)

    def test_a_guest_that_is_off_is_not_written_as_active(self) -> None:
        gate = self.gate(
            decided(rows.server(), runs=False, alive=True, vm_state='active'),
            'guest-agrees',
        )
        self.assertTrue(gate.blocks)

    def test_row_and_guest_agree(self) -> None:
        for state, runs in (('active', True), ('paused', False)):
            plan = decided(rows.server(), runs, True, vm_state=state)
            self.assertEqual('ok', self.gate(plan, 'guest-agrees').state)

    def test_a_guest_of_a_dead_host_was_not_asked(self) -> None:
        """nova's power sync would make it what a wrong row says."""
        found = rows.server(vm_state='error', power_state=0)
        gate = self.gate(decided(found, vm_state='active'), 'guest-agrees')
        self.assertEqual(('soft', 'unknown'), (gate.klass, gate.state))
        # A task that is cleared changes nothing for it.
        found = rows.server(task_state='powering-on')
        gate = self.gate(decided(found, clear_task=True), 'guest-agrees')
        self.assertEqual('advice', gate.klass)

    def test_a_guest_that_may_run_elsewhere(self) -> None:
        place = Whereabouts('np-rcc54', (Perhaps('np-rcc46', 'it does'),))
        request = Request(uuid=rows.UUID, cell='cell1', vm_state='active')
        plan = set_states.decide(
            request, Situation(rows.server(), True, True, place)
        )
        self.assertEqual('hard', self.gate(plan, 'guest-only-here').klass)
        self.assertTrue(plan.blocked)

    def test_a_task_may_still_be_carried_out(self) -> None:
        found = rows.server(task_state='rebooting')
        for alive in (False, None):
            plan = decided(found, alive=alive, clear_task=True)
            gate = self.gate(plan, 'no-task')
            self.assertTrue(gate.blocks)
            self.assertIn('when np-rcc54 returns', gate.observed)
        plan = decided(found, alive=True, runs=False, clear_task=True)
        self.assertIn('may be at it', self.gate(plan, 'no-task').observed)


class ResizeTest(TestCase):
    """One that waits to be confirmed, from np-rcc46 to np-rcc54."""

    HELD = {'p-source': {'VCPU': 1}}

    def decided(
        self,
        alive: bool | None,
        vm_state: str = 'resized',
        held: Any = HELD,
        **fields: Any,
    ) -> Any:
        row = rows.migration(
            7, **{'status': 'finished', 'migration_type': 'resize', **fields}
        )
        request = Request(uuid=rows.UUID, cell='cell1', vm_state='active')
        found = Situation(
            rows.server(vm_state=vm_state, power_state=1),
            None,
            False,
            Whereabouts('np-rcc54'),
            (set_states.Resize(row, alive, held),),
        )
        return plans.checked(set_states.decide(request, found))

    def gate(self, plan: Any) -> Any:
        (gate,) = [g for g in plan.gates if g.name == 'resize-abandoned']
        return gate

    def test_it_ends_with_the_state_where_its_source_is_down(self) -> None:
        plan = self.decided(False)
        self.assertEqual('ok', self.gate(plan).state)
        states, release = plan.items()
        self.assertEqual(
            [{'id': 7, 'status': 'finished', 'type': 'resize'}],
            states.data['close'],
        )
        self.assertEqual(
            {
                'uuid': 'migration-7',
                'source': 'np-rcc46',
                'seen': self.HELD,
                'wanted': {},
            },
            release.data,
        )
        (note,) = (note for note in plan.notes if 'np-rcc46' in note)
        self.assertIn(f'{rows.UUID}_resize', note)
        self.assertIn('virsh undefine instance-000015b9', note)

    def test_one_that_is_left_of_a_server_in_another_state(self) -> None:
        """Somebody reset its state by the API."""
        plan = self.decided(True, 'active', None)
        self.assertEqual('ok', self.gate(plan).state)
        (item,) = plan.items()
        self.assertEqual(7, item.data['close'][0]['id'])
        self.assertNotIn('The API can do this', ''.join(plan.notes))
        (note,) = (n for n in plan.notes if 'allocation delete' in n)
        self.assertIn('allocation delete migration-7', note)

    def test_within_its_host_its_guest_is_not_to_be_undefined(self) -> None:
        plan = self.decided(False, source_compute='np-rcc54')
        notes = ''.join(plan.notes)
        self.assertIn('np-rcc54 keeps the disk from before', notes)
        self.assertIn(f'{rows.UUID}_resize', notes)
        self.assertNotIn('virsh undefine', notes)

    def test_a_migration_without_a_uuid_holds_nothing(self) -> None:
        """Rows had none before Pike."""
        plan = self.decided(False, held=None, uuid=None)
        self.assertEqual(1, len(list(plan.items())))
        self.assertNotIn('None', ''.join(plan.notes))

    def test_nova_ends_it_where_its_source_is_up(self) -> None:
        gate = self.gate(self.decided(True))
        self.assertEqual(('soft', 'refused'), (gate.klass, gate.state))
        self.assertTrue(
            gate.remedy.endswith(f'server resize confirm {rows.UUID}')
        )
        gate = self.gate(self.decided(True, status='confirming'))
        self.assertEqual('refused', gate.state)
        self.assertNotIn('resize confirm', gate.remedy)

    def test_nobody_knows_of_its_source(self) -> None:
        self.assertEqual('unknown', self.gate(self.decided(None)).state)

    def test_between_two_cells_only_nova_ends_it(self) -> None:
        gate = self.gate(self.decided(False, row={'cross_cell_move': 1}))
        self.assertEqual(('hard', 'refused'), (gate.klass, gate.state))


class NotesTest(TestCase):
    API = 'openstack server set --state'

    def says(self, found: Server, **wanted: Any) -> str:
        return '\n'.join(decided(found, **wanted).notes)

    def test_the_api_is_named_where_it_does_the_same(self) -> None:
        found = rows.server(vm_state='error', power_state=1)
        self.assertIn(
            f'{self.API} active {rows.UUID}',
            self.says(found, vm_state='active'),
        )
        found = rows.server(
            vm_state='active', power_state=1, task_state='rebooting'
        )
        self.assertIn(self.API, self.says(found, clear_task=True))

    def test_it_is_not_where_it_does_less(self) -> None:
        self.assertNotIn(self.API, self.says(rows.server(), vm_state='active'))
        found = rows.server(vm_state='error', power_state=4)
        self.assertNotIn(self.API, self.says(found, vm_state='stopped'))

    def test_nor_where_it_does_more(self) -> None:
        found = rows.server(
            vm_state='error', power_state=1, task_state='rebooting'
        )
        self.assertNotIn(self.API, self.says(found, vm_state='active'))

    def test_a_state_that_nova_leaves_by_itself(self) -> None:
        found = rows.server(vm_state='resized', power_state=1)
        self.assertIn(
            'nova finishes itself', self.says(found, vm_state='error')
        )
