# SPDX-License-Identifier: Apache-2.0

"""What a starting nova-compute would destroy, as nova reads it."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
from types import SimpleNamespace
from typing import Any
from unittest import mock

from nova_recovery import procedures
from nova_recovery.engine.plan import Gate, Item, Plan, Step
from nova_recovery.exceptions import Conflict
from nova_recovery.fleet import answer
from nova_recovery.fleet.answer import Answer
from nova_recovery.procedures import reached, restart_services, starts
from nova_recovery.procedures.reached import Reached
from nova_recovery.procedures.starts import Evacuation, Rows
from nova_recovery.procedures.uid import facts as uid_facts
from nova_recovery.procedures.uid import procedure as uid_procedure
from tests.base import TestCase
from tests.unit.procedures.test_check_guests import domain, server, WEB
from tests.unit.procedures.uid import hosts as uid_hosts
from tests.unit.tables import Memory

MARKER = 'nova-recovery run=1a2b3c4d by=anna@ctl1'
COLUMNS = (
    'id instance_uuid source_compute dest_compute migration_type status '
    'deleted'
)
ROW: dict[str, Any] = {
    'id': 1,
    'instance_uuid': WEB,
    'source_compute': 'c1',
    'dest_compute': 'c2',
    'migration_type': 'evacuation',
    'status': 'done',
    'deleted': 0,
}


def away(
    host: str = 'c1', status: str = 'done', target: str | None = 'c2'
) -> Any:
    """What ``Rows.away`` has of it."""
    return {(WEB, host): (Evacuation(1, 'cell1', status, target),)}


def cell(host: str | None = 'c1', **row: Any) -> Any:
    """A server on a host, and an evacuation."""
    made = Memory(instances='id uuid host deleted', migrations=COLUMNS)
    made.add('instances', id=1, uuid=WEB, host=host, deleted=0)
    made.add('migrations', **{**ROW, **row})
    return made


def seen(gates: Any) -> list[tuple[str, str, str]]:
    return [(g.name, g.subject, g.klass) for g in gates if g.blocks]


class OfCell(TestCase):
    def away(self, **row: Any) -> Any:
        return set(starts.of_cell(cell(**row), {'c1': ()})[1])

    def test_an_evacuation_that_is_not_completed(self) -> None:
        for status in ('accepted', 'pre-migrating', 'done'):
            self.assertEqual({(WEB, 'c1')}, self.away(status=status))
        self.assertEqual({(WEB, 'c1')}, self.away(deleted=7))

    def test_what_it_leaves_alone(self) -> None:
        for row in (
            {'status': 'completed'},
            {'status': 'failed'},
            {'migration_type': 'live-migration'},
            {'source_compute': 'c2'},
        ):
            self.assertEqual(set(), self.away(**row))

    def test_where_nova_has_the_guests_that_run_there(self) -> None:
        for guests, host in (({WEB}, 'c2'), (set(), 'c1')):
            servers, _ = starts.of_cell(cell(host), {'c1': guests})
            self.assertEqual(host, servers[WEB].host)
        self.assertEqual({}, starts.of_cell(cell('c2'), {'c1': ()})[0])


class Gates(TestCase):
    def gates(self, rows: Rows, *running: str) -> list[Gate]:
        return [g for g in starts.gates(rows, {'c1': running}) if g.blocks]

    def test_a_guest_of_its_own_is_hard(self) -> None:
        for running in ((), (WEB,)):
            (gate,) = self.gates(Rows(server(), away()), *running)
            self.assertEqual(('web', 'hard'), (gate.subject, gate.klass))

    def test_the_way_on_is_named_with_its_ids(self) -> None:
        # "completed" would have the guest be on its target, see whereabouts
        for status, end in (
            ('accepted', 'failed'),
            ('pre-migrating', 'failed'),
            ('done', 'completed'),
        ):
            rows = Rows(server(), away(status=status))
            (gate,) = self.gates(rows)
            self.assertIn(f'(1 to c2: {status})', gate.observed)
            self.assertEqual(
                [
                    f'openstack recovery server show {WEB}',
                    'openstack recovery guest check c1 c2',
                    f'openstack recovery server adopt {WEB} --host c2',
                    f"UPDATE migrations SET status = '{end}' WHERE id = 1 "
                    f"AND status = '{status}';",
                ],
                [
                    line
                    for line in gate.remedy.splitlines()
                    if line.startswith(('openstack', 'UPDATE'))
                ],
            )
            self.assertIn('database of cell1', gate.remedy)

    def test_one_that_has_no_target_yet(self) -> None:
        rows = Rows(server(), away(status='accepted', target=None))
        (gate,) = self.gates(rows)
        self.assertIn('guest check c1\n', gate.remedy)
        self.assertNotIn('adopt', gate.remedy)
        self.assertIn('UPDATE', gate.remedy)

    def test_the_same_row_is_ended_that_was_seen(self) -> None:
        _, found = starts.of_cell(cell(status='accepted'), {'c1': ()})
        (one,) = found[WEB, 'c1']
        self.assertEqual(
            (1, 'accepted', 'c2'), (one.id, one.status, one.target)
        )

    def test_one_that_runs_here_and_nova_has_elsewhere(self) -> None:
        (gate,) = self.gates(Rows(server('c2'), away()), WEB)
        self.assertEqual(('web', 'soft'), (gate.subject, gate.klass))
        self.assertIn('nova has it on c2', gate.observed)
        self.assertIn('guest check c1 c2', gate.remedy)
        self.assertIn(f'server adopt {WEB} --host c1', gate.remedy)

    def test_one_that_no_cell_has_any_more(self) -> None:
        (gate,) = self.gates(Rows({}, away()), WEB)
        self.assertEqual((WEB, 'soft'), (gate.subject, gate.klass))
        self.assertIn('nova has it on no host', gate.observed)
        self.assertNotIn('adopt', gate.remedy)

    def test_what_went_away_for_good_is_cleaned_up(self) -> None:
        for rows, running in (
            (Rows(server('c2'), away()), ()),
            (Rows(server('c2'), away('c3')), (WEB,)),
            (Rows(server('c1')), (WEB,)),
        ):
            self.assertEqual([], self.gates(rows, *running))

    def test_who_starts_nothing_asks_nobody(self) -> None:
        unknown = Rows(unknown=('cell1 is down',))
        self.assertEqual([], list(starts.gates(unknown, {})))
        self.assertEqual([('no-tombstone', '', 'soft')], self.told(unknown))

    def told(self, rows: Rows) -> list[tuple[str, str, str]]:
        return seen(starts.gates(rows, {'c1': ()}))

    def test_guests_by_libvirt_and_by_processes(self) -> None:
        said = {'processes': [{'uuid': 'a'}], 'domains': [domain()]}
        self.assertEqual({'a', WEB}, starts.running(said))
        off = {'processes': [], 'domains': [domain('shut off')]}
        self.assertEqual(set(), starts.running(off))
        silent = {'processes': [{'uuid': 'a'}], 'domains': None}
        self.assertEqual({'a'}, starts.running(silent))


class Resumed(TestCase):
    """Whoever was stopped, or is to be, is started without a plan."""

    def plan(self, *left: str, running: str = 'nova-compute.service') -> Plan:
        items = tuple(
            Item(
                f'start-services:{name}',
                'start-services',
                f'host:{name}',
                name,
                {'host': name, 'running': [running]},
            )
            for name in left
        )
        return Plan(
            'x',
            'x',
            {'hosts': ['c1', 'c2'], 'libvirt': False},
            (Step('start', 'start', items),),
        )

    def check(
        self, plan: Plan, ask: Callable[..., Any], rows: Any
    ) -> list[tuple[str, str, str]]:
        databases = SimpleNamespace(
            each_cell=lambda read: {'cell1': read(rows)}, disabled=()
        )
        cloud: Any = SimpleNamespace(databases=databases)
        return seen(ask(plan, cloud, frozenset({'host:c2'})))

    def restart(self, plan: Plan, rows: Any) -> list[tuple[str, str, str]]:
        there = [
            Reached(name, name, said=({'processes': rows_of(name)},))
            for name in ('c1', 'c2')
        ]
        with mock.patch.object(reached, 'read', lambda *_words: there):
            return self.check(plan, restart_services.check, rows)

    def uid(self, plan: Plan, rows: Any) -> list[tuple[str, str, str]]:
        plan = Plan('x', 'x', {'hosts': ['c1', 'c2']}, plan.steps)
        there = uid_hosts.facts(
            uid_hosts.host('c1', guests=frozenset({WEB})), uid_hosts.host('c2')
        )
        with mock.patch.object(uid_facts, 'read', return_value=there):
            return self.check(plan, uid_procedure.check, rows)

    def test_evacuated_while_the_run_was_away(self) -> None:
        for check in (self.restart, self.uid):
            plan = self.plan('c1', 'c2')
            self.assertEqual(
                [('no-tombstone', WEB, 'hard')], check(plan, cell())
            )
            self.assertEqual(
                [('no-tombstone', WEB, 'soft')], check(plan, cell('c2'))
            )
            self.assertEqual([], check(plan, cell(status='completed')))

    def test_what_is_started_already_is_not_asked_again(self) -> None:
        for check in (self.restart, self.uid):
            self.assertEqual([], check(self.plan('c2'), cell()))
            off = self.plan('c1', running='libvirtd.service')
            self.assertEqual([], check(off, cell()))


class Started(TestCase):
    """Right before it, on both ways; the gates were asked long ago."""

    def confirm(
        self,
        kind: str,
        rows: Any = None,
        *,
        undoing: bool = False,
        running: tuple[str, ...] = ('nova-compute.service',),
        problem: str = '',
        runs: bool = False,
        held: str = '',
        gates: tuple[Gate, ...] = (),
    ) -> None:
        item = Item(
            f'{kind}:c1',
            kind,
            'host:c1',
            'c1',
            {'host': 'c1', 'running': list(running)},
        )
        plan = Plan('host-uid', '', {}, (Step('s', '', (item,)),), gates)
        services = [
            {'name': 'nova-compute.service', 'runs': runs, 'held': held},
            {'name': 'nova-api.service', 'runs': False, 'held': '/other'},
        ]
        said = ({'processes': rows_of('c1')}, {'services': services})
        there = Reached('c1', 'm', problem, said=() if problem else said)
        databases = SimpleNamespace(
            each_cell=lambda read: {'cell1': read(rows)}, disabled=()
        )
        cloud: Any = SimpleNamespace(databases=databases)
        guard = procedures.guard(plan, cloud, MARKER, undoing)
        with mock.patch.object(reached, 'read', return_value=[there]) as ask:
            if guard is not None:
                guard(item)
        self.assertEqual(guard is not None, ask.called)

    def kept_off(self, kind: str, *words: Any, **more: Any) -> str:
        return str(
            self.assertRaises(Conflict, self.confirm, kind, *words, **more)
        )

    def test_evacuated_while_its_services_were_off(self) -> None:
        told = self.kept_off('start-services', cell())
        self.assertIn('is not completed', told)
        self.assertIn('run resume 1a2b3c4d', told)

    def test_one_that_is_held_is_let_go_of_first(self) -> None:
        told = self.kept_off('start-services', cell(), held='/state/held')
        self.assertIn(
            'have started it there yourself (rm /state/held there first)', told
        )
        told = self.kept_off('start-services', cell())
        self.assertIn('have started it there yourself: ', told)

    def test_taking_back_a_stop_starts_it(self) -> None:
        told = self.kept_off('stop-services', cell('c2'), undoing=True)
        self.assertIn('server adopt', told)
        self.assertIn('run undo 1a2b3c4d', told)

    def test_nothing_would_be_destroyed(self) -> None:
        rows = cell(status='completed')
        self.confirm('start-services', rows)
        self.confirm('stop-services', rows, undoing=True)

    def test_what_starts_none_asks_nobody(self) -> None:
        for kind, undoing, running in (
            ('stop-services', False, 'nova-compute.service'),
            ('start-services', True, 'nova-compute.service'),
            ('start-services', False, 'libvirtd.service'),
            ('stop-services', True, 'virtqemud.service'),
        ):
            self.confirm(kind, cell(), undoing=undoing, running=(running,))

    def test_one_that_runs_already_is_not_started(self) -> None:
        self.confirm('start-services', cell(), runs=True)

    def test_a_host_that_says_nothing(self) -> None:
        told = self.kept_off('start-services', cell(), problem='no route')
        self.assertIn('no route', told)

    def test_an_override_holds(self) -> None:
        (gate,) = starts.gates(Rows({}, away()), {'c1': {WEB}})
        given = dataclasses.replace(gate, state='overridden', reason='gone')
        gone = Memory(instances='id uuid host deleted', migrations=COLUMNS)
        gone.add('migrations', **ROW)
        self.kept_off('start-services', gone)
        self.confirm('start-services', gone, gates=(given,))


class Read(TestCase):
    """Which guests run is asked of hosts together with their accounts."""

    def test_of_a_host_with_accounts(self) -> None:
        found = {'machine_id': 'm', 'layout': {'exec_prefix': []}}
        says: dict[str, Any] = {
            'accounts show': {
                'users': {},
                'groups': {},
                'uses': {},
                'unknown': [],
            },
            'services list': {'services': []},
            'guests list': {'processes': rows_of('c1')},
        }
        fleet = mock.Mock()
        fleet.identify.return_value = {'c1': Answer('c1', answer.DONE, found)}
        fleet.several = lambda name, *calls: Answer(
            name, answer.DONE, {'answers': [says[verb] for verb, _ in calls]}
        )
        fleet.each = lambda names, ask: {name: ask(name) for name in names}
        cloud: Any = SimpleNamespace(fleet=fleet)
        for asked, running in ((True, {WEB}), (False, set())):
            (host,) = uid_facts.read(cloud, ['c1'], guests=asked).hosts
            self.assertEqual(running, host.guests)


def rows_of(name: str) -> list[dict[str, Any]]:
    return [{'uuid': WEB, 'pid': 7}] if name == 'c1' else []
