# SPDX-License-Identifier: Apache-2.0

"""A dead host: turned off, and known to nova as off."""

from __future__ import annotations

from typing import Any
from unittest import mock

from nova_recovery import fencing
from nova_recovery.changes.host import FenceHost, ForceDown
from nova_recovery.engine.change import State
from nova_recovery.exceptions import ChangeFailed, OutcomeUnknown
from nova_recovery.fencing import Status
from tests.unit.changes.case import ChangeTestCase


class TestForceDown(ChangeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.change = ForceDown()
        self.make_item(
            'host:np-rcc54', cell='cell1', host='np-rcc54', service_id=7
        )
        for number, host in ((7, 'np-rcc54'), (8, 'np-rcc55')):
            self.cell.add(
                'services', id=number, host=host, binary='nova-compute',
                topic='compute', report_count=1, deleted=0, forced_down=0,
            )  # fmt: skip
        self.refuses = ''
        self.cloud.compute.service.side_effect = self.service
        self.cloud.compute.force_down.side_effect = self.force_down

    def service(self, host: str) -> dict[str, Any]:
        (row,) = [r for r in self.cell.rows('services') if r['host'] == host]
        return {**row, 'forced_down': bool(row['forced_down'])}

    def force_down(self, service: Any, down: bool) -> None:
        if self.refuses:
            raise ChangeFailed(self.refuses)
        table = self.cell['services']
        self.cell.write(
            lambda c: c.execute(
                table.update()
                .where(table.c.id == service['id'])
                .values(forced_down=down)
            )
        )

    def down(self) -> dict[str, int]:
        return {
            row['host']: row['forced_down']
            for row in self.cell.rows('services')
        }

    def test_it_alone(self) -> None:
        self.assertEqual('forced down', self.apply())
        self.assertEqual({'np-rcc54': 1, 'np-rcc55': 0}, self.down())
        self.assert_seen(State.AFTER, 'already forced down', again=True)
        self.assertEqual('no longer forced down', self.revert())
        self.assertEqual({'np-rcc54': 0, 'np-rcc55': 0}, self.down())
        self.assertEqual('already as it was', self.revert())

    def test_one_that_somebody_forced_down_is_not_ours(self) -> None:
        self.force_down({'id': 7}, True)
        self.assert_seen(State.AFTER, 'already forced down')

    def test_no_answer_is_looked_at_again(self) -> None:
        self.cloud.compute.force_down.side_effect = OutcomeUnknown('504')
        self.assertRaises(OutcomeUnknown, self.apply)
        self.assert_seen(State.BEFORE, again=True)

    def test_nova_refuses_while_it_has_not_cleaned_up(self) -> None:
        """The way back of the rest, and the claim, don't depend on it."""
        self.apply()
        self.refuses = 'Service has evacuations'
        told = self.revert()
        self.assertIn('stays forced down (Service has evacuations)', told)
        self.assertIn('set --up np-rcc54 nova-compute', told)
        self.assertEqual(1, self.down()['np-rcc54'])


class TestFenceHost(ChangeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.change = FenceHost()
        self.make_item('host:np-rcc54', host='np-rcc54')
        self.power = 'on'
        self.deaf = False
        driver = mock.create_autospec(fencing.Operator, instance=True)
        driver.status.side_effect = lambda host: Status(
            self.power, f'{host}: {self.power}'
        )
        driver.off.side_effect = self.off
        patch = mock.patch.object(fencing, 'load', return_value=driver)
        patch.start()
        self.addCleanup(patch.stop)

    def off(self, host: str) -> None:
        self.assertEqual('np-rcc54', host)
        if not self.deaf:
            self.power = 'off'

    def test_turned_off(self) -> None:
        self.assertEqual('np-rcc54: off', self.apply())
        self.assert_seen(State.AFTER, 'off', again=True)

    def test_one_that_is_off(self) -> None:
        self.power = 'off'
        self.assert_seen(State.AFTER, 'np-rcc54: off')

    def test_what_nobody_knows_is_not_touched(self) -> None:
        self.power = 'unknown'
        self.assert_seen(State.UNKNOWN, 'np-rcc54: unknown')

    def test_judged_by_what_its_status_says_afterwards(self) -> None:
        self.deaf = True
        self.begin()
        self.assert_refused(
            ChangeFailed,
            lambda: self.change.apply(self.begun),
            'np-rcc54 was told to turn off: np-rcc54: on',
        )

    def test_it_stays_off_when_the_run_is_taken_back(self) -> None:
        self.apply()
        self.assertEqual('stays off', self.revert())
        self.assertEqual('off', self.power)
