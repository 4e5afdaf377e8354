# SPDX-License-Identifier: Apache-2.0

"""Which part of the cloud is meant."""

from __future__ import annotations

import json
from typing import Any

from nova_recovery.exceptions import Ambiguous, NotFound
from nova_recovery.procedures.disaster import scope
from nova_recovery.procedures.disaster.look import layout
from nova_recovery.procedures.disaster.scope import Layout, Scope
from tests.base import TestCase

LAYOUT = Layout(
    cells=frozenset({'cell1', 'cell2'}),
    hosts={'np-rcc4': 'cell1', 'np-rcc46': 'cell1', 'np-rcc5': 'cell2'},
    zones={'np-rcc5': 'east'},
    default='nova',
    aggregates={
        'fast': frozenset({'np-rcc4', 'np-rcc5'}),
        'east': frozenset({'np-rcc5'}),
    },
)


class ScopeTest(TestCase):
    def hosts(self, silent: Any = (), **given: Any) -> Any:
        place = Layout(**{**vars(LAYOUT), 'silent': frozenset(silent)})
        return scope.hosts(Scope(**given), place)

    def test_nothing_named_is_everything(self) -> None:
        self.assertIsNone(self.hosts())
        self.assertTrue(Scope().everything)
        self.assertFalse(Scope(projects=('p',)).everything)

    def test_cells_and_projects_are_not_hosts(self) -> None:
        self.assertIsNone(self.hosts(cells=('cell1',), projects=('p',)))

    def test_a_host_is_to_the_letter(self) -> None:
        self.assertEqual({'np-rcc4'}, self.hosts(hosts=('np-rcc4',)))
        for name in ('np-rcc', 'NP-RCC4', 'np-rcc4 '):
            self.assertRaises(NotFound, self.hosts, hosts=(name,))

    def test_names_of_one_sort_add_up(self) -> None:
        self.assertEqual(
            {'np-rcc4', 'np-rcc5'}, self.hosts(hosts=('np-rcc4', 'np-rcc5'))
        )
        self.assertEqual(
            {'np-rcc4', 'np-rcc46', 'np-rcc5'},
            self.hosts(zones=('nova', 'east')),
        )

    def test_those_of_several_narrow_each_other_down(self) -> None:
        self.assertEqual(
            {'np-rcc4'}, self.hosts(aggregates=('fast',), zones=('nova',))
        )
        self.assertEqual(
            frozenset(), self.hosts(hosts=('np-rcc46',), zones=('east',))
        )

    def test_the_default_zone_is_all_the_others(self) -> None:
        self.assertEqual({'np-rcc4', 'np-rcc46'}, self.hosts(zones=('nova',)))

    def test_what_is_unknown_is_refused(self) -> None:
        for given in (
            {'cells': ('cell3',)},
            {'zones': ('west',)},
            {'aggregates': ('slow',)},
            {'skip_hosts': {'np-rcc9': 'dead'}},
        ):
            error = self.assertRaises(NotFound, self.hosts, **given)
            self.assertIn('there are', str(error))

    def test_one_that_is_there_is_told_as_one(self) -> None:
        one = Layout(
            frozenset({'cell1'}), {}, {}, 'nova', {'slow': frozenset()}
        )
        for given, words in (
            ({'cells': ('cell2',)}, 'there is cell1'),
            ({'aggregates': ('fast',)}, 'there is slow'),
            ({'hosts': ('np-rcc4',)}, 'there is none'),
        ):
            error = self.assertRaises(
                NotFound,
                scope.hosts,
                Scope(**given),  # type: ignore[arg-type]
                one,
            )
            self.assertIn(words, str(error))

    def test_a_project_of_which_nothing_is_known(self) -> None:
        asked = Scope(projects=('demo', '7b1f'))
        error = self.assertRaises(
            NotFound, scope.known_projects, asked, {'7b1f'}, ()
        )
        self.assertIn('project demo', str(error))
        self.assertIn('by their ID', str(error))

    def test_a_project_may_be_in_a_silent_cell(self) -> None:
        asked = Scope(projects=('7b1f',))
        scope.known_projects(asked, (), {'cell2'})
        scope.known_projects(asked, {'7b1f', 'other'}, ())

    def test_a_host_may_be_in_a_silent_cell(self) -> None:
        error = self.assertRaises(
            NotFound, self.hosts, silent=['cell2'], hosts=('np-rcc9',)
        )
        self.assertIn('cell2 does not answer', str(error))

    def test_as_plain_data(self) -> None:
        one = Scope(hosts=('np-rcc4',), skip_hosts={'np-rcc5': 'dead'})
        self.assertEqual(one, scope.of(json.loads(json.dumps(one.plain()))))

    def test_in_words(self) -> None:
        self.assertEqual('the whole cloud', Scope().words())
        self.assertEqual(
            'cell a, b and host h without x',
            Scope(
                cells=('a', 'b'), hosts=('h',), skip_hosts={'x': 'dead'}
            ).words(),
        )


class SilenceTest(TestCase):
    def matters(self, **given: Any) -> frozenset[str]:
        place = Layout(
            cells=LAYOUT.cells,
            hosts={'np-rcc4': 'cell1'},
            zones=LAYOUT.zones,
            default='nova',
            aggregates=LAYOUT.aggregates,
            silent=frozenset({'cell2'}),
        )
        asked = Scope(**given)
        return scope.matters(asked, place, scope.hosts(asked, place))

    def test_it_may_have_anything(self) -> None:
        self.assertEqual({'cell2'}, self.matters())
        self.assertEqual({'cell2'}, self.matters(projects=('p',)))
        self.assertEqual({'cell2'}, self.matters(zones=('nova',)))

    def test_not_of_another_cell(self) -> None:
        self.assertEqual(frozenset(), self.matters(cells=('cell1',)))

    def test_not_of_hosts_that_are_found(self) -> None:
        self.assertEqual(frozenset(), self.matters(hosts=('np-rcc4',)))

    def test_of_hosts_that_are_not(self) -> None:
        self.assertEqual({'cell2'}, self.matters(aggregates=('fast',)))


class GroupsTest(TestCase):
    groups = {'u1': 'db', 'u2': 'web', 'u3': 'web'}

    def test_by_name_and_by_uuid(self) -> None:
        self.assertEqual(
            ['u3', 'u1'], layout.named_groups(self.groups, ['u3', 'db'])
        )

    def test_unknown_and_ambiguous(self) -> None:
        self.assertRaises(NotFound, layout.named_groups, self.groups, ['x'])
        self.assertRaises(Ambiguous, layout.named_groups, self.groups, ['web'])
