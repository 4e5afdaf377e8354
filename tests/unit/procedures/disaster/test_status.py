# SPDX-License-Identifier: Apache-2.0

"""Who is still down, and what tells so."""

from __future__ import annotations

import datetime
import types
from typing import Any
from unittest import mock

from nova_recovery.exceptions import ApiUnavailable
from nova_recovery.procedures.disaster.judge import alive
from nova_recovery.procedures.disaster.judge.wanted import Order
from nova_recovery.procedures.disaster.run import status
from nova_recovery.procedures.disaster.run.status import Status
from tests.base import TestCase
from tests.unit import plans
from tests.unit.procedures.disaster import situations


class JudgeTest(TestCase):
    def judge(
        self,
        runs: bool | None = None,
        hosts: Any = None,
        computes: Any = None,
        **fields: Any,
    ) -> str:
        found = situations.make({'web': fields}, computes, hosts=hosts or {})
        return alive.judge(found, found.servers['web'], {'web': runs}).state

    def test_what_its_compute_says_wins(self) -> None:
        self.assertEqual(alive.UP, self.judge(True, power_state=0))
        self.assertEqual(
            alive.DOWN, self.judge(False, newest=[['reboot', 'admin']])
        )

    def test_of_a_dead_host_nothing_runs(self) -> None:
        for state in ('down', 'forced down'):
            self.assertEqual(
                alive.DOWN, self.judge(computes={'np-rcc4': state})
            )
        self.assertEqual(
            alive.UNPROVEN, self.judge(computes={'np-rcc4': 'unknown'})
        )

    def test_what_the_database_says(self) -> None:
        self.assertEqual(alive.UNPROVEN, self.judge())
        self.assertEqual(alive.DOWN, self.judge(vm_state='stopped'))
        self.assertEqual(alive.DOWN, self.judge(vm_state='error'))
        self.assertEqual(alive.DOWN, self.judge(power_state=4))
        self.assertEqual(
            alive.STARTING, self.judge(task_state='rebooting_hard')
        )

    def test_what_was_asked_since(self) -> None:
        for action in ('reboot', 'start', 'evacuate'):
            self.assertEqual(alive.UP, self.judge(newest=[[action, 'admin']]))
        self.assertEqual(
            alive.DOWN, self.judge(newest=[['reboot', 'admin', 'Error']])
        )
        self.assertEqual(
            alive.STARTING, self.judge(newest=[['reboot', 'admin', None]])
        )
        # it was stopped again
        self.assertEqual(
            alive.DOWN,
            self.judge(
                vm_state='stopped', newest=[['start', 'admin'], ['stop', None]]
            ),
        )

    def test_what_was_asked_before_the_outage(self) -> None:
        # the snapshot is older, and the power went twice since
        for at, state in (
            ('2026-11-22T14:00:00', alive.UNPROVEN),
            ('2026-11-22T15:00:00', alive.UP),
        ):
            asked = ['reboot', 'admin', 'Success', at]
            self.assertEqual(state, self.judge(newest=[asked]))

    def test_what_its_host_told(self) -> None:
        for words, state in (
            (['running'], alive.UP),
            (['idle'], alive.UP),
            (['paused'], alive.DOWN),
            (['shut off'], alive.DOWN),
        ):
            told: Any = {'np-rcc4': {'domains': {'web': words}}}
            self.assertEqual(state, self.judge(hosts=told))
        told = {'np-rcc4': {'domains': {}}}
        self.assertEqual(alive.DOWN, self.judge(hosts=told))
        self.assertEqual(alive.UNPROVEN, self.judge(hosts={'np-rcc5': {}}))

    def test_what_its_host_told_before_the_outage(self) -> None:
        told: Any = {
            'np-rcc4': {
                'domains': {'web': ['running']},
                'taken': '2026-11-22T14:00:00',
            }
        }
        self.assertEqual(alive.UNPROVEN, self.judge(hosts=told))

    def test_what_its_host_told_before_it_was_started(self) -> None:
        told: Any = {'np-rcc4': {'domains': {}}}
        later = ['reboot', 'admin', 'Success', '2026-11-22T16:00:00']
        earlier = ['reboot', 'admin', 'Success', '2026-11-22T15:00:00']
        self.assertEqual(alive.UP, self.judge(hosts=told, newest=[later]))
        self.assertEqual(alive.DOWN, self.judge(hosts=told, newest=[earlier]))


class StatusTest(TestCase):
    servers: Any = {  # noqa: RUF012 - made anew by each test
        'up': {'newest': [['reboot', 'admin']]},
        'down': {'vm_state': 'error', 'project': 'b'},
        'first': {
            'vm_state': 'error',
            'project': 'b',
            'metadata': {'recovery_priority': '1'},
        },
        'asked': {'project': 'a'},
        'off': {'vm_state': 'suspended'},
    }

    def look(
        self,
        runs: Any = None,
        only: Any = None,
        ask: bool = True,
        **given: Any,
    ) -> Status:
        self.compute = mock.Mock()
        self.compute.runs.side_effect = runs or (lambda uuid: False)
        return status.status(
            types.SimpleNamespace(compute=self.compute),  # type: ignore
            situations.make(self.servers, **given),
            Order(),
            only,
            ask,
        )

    def names(self, result: Status) -> list[str]:
        return [row.server.name for row in result.rows]

    def test_by_project_and_priority(self) -> None:
        result = self.look()
        self.assertEqual(4, result.total)
        self.assertEqual(['asked', 'first', 'down'], self.names(result))
        self.assertEqual([100, 1, 100], [r.priority for r in result.rows])
        self.assertEqual(
            'not up: 3 of 4 servers to run (3 down) of 2 projects, since '
            '2026-11-22T14:49:00Z',
            result.summary(),
        )
        self.assertEqual(
            ('a', 100, 60, 'down', 'asked', 'asked', 'np-rcc4'),
            result.table()[0][:7],
        )

    def test_only_the_unproven_are_asked_about(self) -> None:
        result = self.look(runs=lambda uuid: True)
        self.assertEqual(['first', 'down'], self.names(result))
        self.assertEqual([mock.call('asked')], self.compute.runs.mock_calls)

    def test_the_power_went_again_after_they_were_started(self) -> None:
        # all hosts are back: nothing tells when it was
        result = self.look(outage='snapshot')
        self.assertIn('up', self.names(result))
        self.assertEqual(alive.DOWN, result.rows[-1].state)
        self.assertNotIn(
            'up', self.names(self.look(lambda uuid: True, outage='snapshot'))
        )

    def test_a_compute_that_does_not_answer(self) -> None:
        def fail(uuid: str) -> bool:
            raise ApiUnavailable('no answer')

        result = self.look(runs=fail)
        self.assertEqual(alive.UNPROVEN, result.rows[0].state)
        self.assertEqual('', result.unasked)

    def test_nobody_can_be_asked(self) -> None:
        with mock.patch.object(
            status.read, 'running', side_effect=ApiUnavailable('no keystone')
        ):
            result = self.look()
        self.assertEqual('no keystone', result.unasked)
        self.assertEqual(alive.UNPROVEN, result.rows[0].state)

    def test_nobody_is_asked(self) -> None:
        result = self.look(ask=False)
        self.assertEqual([], self.compute.runs.mock_calls)
        self.assertEqual(alive.UNPROVEN, result.rows[0].state)

    def test_those_of_a_run(self) -> None:
        result = self.look(only={'first': 1, 'up': 1, 'off': 1})
        self.assertEqual(['first'], self.names(result))
        self.assertEqual(2, result.total)

    def test_of_a_run_it_is_known_that_they_ran(self) -> None:
        given: Any = {'record': False, 'new': []}
        self.assertNotIn('down', self.names(self.look(**given)))
        result = self.look(only={'down': 1}, **given)
        self.assertEqual(['down'], self.names(result))

    def test_the_minutes_of_a_host_that_is_still_down(self) -> None:
        seen = situations.NOW - datetime.timedelta(minutes=90, seconds=30)
        result = self.look(
            computes={'np-rcc4': {'state': 'down', 'last_seen': seen}},
            outage='heartbeat',
        )
        self.assertEqual({90}, {row.minutes for row in result.rows})

    def test_the_minutes_are_not_known(self) -> None:
        result = self.look(outage='unknown')
        self.assertEqual({None}, {row.minutes for row in result.rows})
        self.assertNotIn('since', result.summary())

    def test_a_silent_cell_is_named(self) -> None:
        result = self.look(silent={'cell2': 'no answer'})
        self.assertIn('silent: cell2', result.summary())

    def test_nobody_is_down(self) -> None:
        self.servers = {'up': {'newest': [['reboot', 'admin']]}}
        self.assertEqual(
            'not up: 0 of 1 server to run, since 2026-11-22T14:49:00Z',
            self.look().summary(),
        )


class PlannedTest(TestCase):
    def test_what_a_plan_brings_up(self) -> None:
        def item(kind: str, uuid: str) -> Any:
            return types.SimpleNamespace(
                kind=kind, data={'uuid': uuid, 'cell': 'c', 'mark': 7}
            )

        plan: Any = types.SimpleNamespace(
            items=lambda: [
                item('claim-server', 'a'),
                item('restart-server', 'b'),
            ]
        )
        planned = status.planned(plan)
        self.assertEqual({'b': ('c', 7)}, planned)
        self.assertEqual({'c': 7}, status.marks(planned.values()))

    def test_another_plan_brings_none_up(self) -> None:
        self.assertEqual({}, status.planned(plans.make()))
