# SPDX-License-Identifier: Apache-2.0

"""What hosts and cells answered, and what is not known for want of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest import mock

from nova_recovery.exceptions import ConfigError, DatabaseUnavailable
from nova_recovery.fleet import answer
from nova_recovery.fleet.answer import Answer
from nova_recovery.procedures import reached
from tests.base import TestCase


class Cells(TestCase):
    def cloud(self, answers: Any, disabled: Any = ()) -> Any:
        databases = SimpleNamespace(
            each_cell=lambda ask: answers, disabled=disabled
        )
        return SimpleNamespace(databases=databases)

    def test_all_that_is_not_known_is_told(self) -> None:
        found = reached.of_cells(
            self.cloud(
                {
                    'cell1': 1,
                    'cell2': DatabaseUnavailable('cell2', 'it is down'),
                },
                [SimpleNamespace(name='cell3')],
            ),
            lambda cell: 1,
        )
        self.assertEqual(
            (
                {'cell1': 1},
                (
                    'database of cell2 unavailable: it is down',
                    'cell3 is disabled, and not asked',
                ),
            ),
            found,
        )

    def test_a_host_by_itself_has_no_databases(self) -> None:
        class Alone:
            @property
            def databases(self) -> Any:
                raise ConfigError('no connection')

        cloud: Any = Alone()
        self.assertEqual(
            ({}, ('no connection',)), reached.of_cells(cloud, lambda cell: 1)
        )


class Hosts(TestCase):
    def test_each_answers_or_is_not_known(self) -> None:
        identified = {
            'c1': Answer('c1', answer.DONE, {'machine_id': 'm1'}),
            'c2': answer.refused('c2', 'another machine'),
            'c3': answer.doubt('c3', answer.UNREACHABLE),
            'c4': Answer('c4', answer.DONE, {'machine_id': 'm4'}),
        }
        asked = {
            'c1': Answer('c1', answer.DONE, {'answers': [{'a': 1}]}),
            'c4': answer.doubt('c4', answer.TIMED_OUT),
        }
        fleet = mock.Mock(
            identify=lambda names: identified, each=lambda names, ask: asked
        )
        cloud: Any = SimpleNamespace(fleet=fleet)
        found = reached.read(cloud, [*identified, 'c1'], ('x', {}))
        self.assertEqual(['c1', 'c2', 'c3', 'c4'], [h.name for h in found])
        self.assertEqual(({'a': 1},), found[0].said)
        self.assertEqual(
            [False, True, False, False], [h.refused for h in found]
        )
        states = {gate.subject: gate.state for gate in reached.gates(found)}
        self.assertEqual(
            {'c2': 'refused', 'c3': 'unknown', 'c4': 'unknown', '': 'ok'},
            states,
        )

    def test_asked_for_nothing_it_is_enough_that_they_answer(self) -> None:
        identified = {
            'c1': Answer('c1', answer.DONE, {'machine_id': 'm1'}),
            'c2': answer.doubt('c2', answer.UNREACHABLE),
        }
        # the agent refuses a call of nothing
        fleet = mock.Mock(identify=lambda names: identified)
        cloud: Any = SimpleNamespace(fleet=fleet)
        found = reached.read(cloud, [*identified])
        fleet.each.assert_not_called()
        self.assertEqual(('m1', ()), (found[0].machine_id, found[0].said))
        self.assertTrue(found[1].problem)
