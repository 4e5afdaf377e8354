# SPDX-License-Identifier: Apache-2.0

"""The power of a site is sent for once, and what came of it is seen."""

from __future__ import annotations

import os
import pathlib
import subprocess
import time
from typing import Any
from unittest import mock

import fixtures

from nova_recovery import conf
from nova_recovery.changes import site_power
from nova_recovery.engine import clock
from nova_recovery.engine.change import At, State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import (
    ChangeFailed,
    Conflict,
    DatabaseUnavailable,
    OutcomeUnknown,
)
from nova_recovery.fencing import programs
from tests.base import TestCase
from tests.unit.at import at

SENT = {'sending': {'boot': 'x', 'at': 1.0}}
BEGUN = {'stamped': True}


class PowerCase(TestCase):
    """A site whose hosts have these counts of reports, look by look."""

    def setUp(self) -> None:
        super().setUp()
        self.home = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.conf = conf.load([])
        self.counts: list[Any] = [1]
        for name, value in (
            ('POLL', 0.0),
            ('_none_unnamed', lambda at: None),
            ('_counts', self.look),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(f'{site_power.__name__}.{name}', value)
            )

    def look(self, at: At[Any]) -> Any:
        found = self.counts.pop(0) if len(self.counts) > 1 else self.counts[0]
        if isinstance(found, str):
            return site_power._Counts({}, {'cell1': found})
        return site_power._Counts({'host1': found}, {})

    def program(self, option: str, text: str) -> str:
        path = self.home / option
        path.write_text(f'#!/bin/sh\necho x >> {self.home}/calls\n{text}\n')
        path.chmod(0o755)
        self.conf.set_override(option, str(path), 'drill')
        return str(path)

    def calls(self) -> int:
        path = self.home / 'calls'
        return len(path.read_text().split()) if path.exists() else 0

    def at(self, kind: str, command: str | None, **more: Any) -> At[Any]:
        data = {
            'command': command,
            'hosts': [{'host': 'host1', 'cell': 'cell1', 'service_id': 1}],
            'servers': [],
            'quiet': 0.05,
            'cells': ['cell1'],
            'patience': 0.05,
        }
        label = 'power-off' if 'off' in kind else 'power-on'
        item = Item(f'{kind}:site', kind, 'power:x', label, data)
        return at(item, mock.Mock(conf=self.conf), **more)


class Off(PowerCase):
    change = site_power.PowerOffSite()

    def off(self, command: str | None, **more: Any) -> At[Any]:
        return self.at('power-off-site', command, **more)

    def test_sent_and_seen(self) -> None:
        here = self.off(self.program('site_power_off', 'exit 0'))
        self.assertIs(State.BEFORE, self.change.observe(here).state)
        self.change.apply(here)
        self.assertEqual(0, here.notes['ended'])
        self.assertIn('sending', here.notes)
        self.assertIn('nothing is heard of 1 hosts', self.change.follow(here))
        self.assertEqual(1, self.calls())

    def test_a_host_that_is_heard_of_is_waited_for(self) -> None:
        self.counts = [1, 2, 2, 2]
        here = self.off('x', image=BEGUN, notes={**SENT, 'ended': 0})
        self.assertIn('nothing is heard', self.change.follow(here))

    def test_hosts_that_stay_alive_leave_it_in_doubt(self) -> None:
        self.conf.set_override('site_silent_timeout', 1, 'drill')
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.changes.site_power._watch',
                lambda at, wait: (['host1'], ''),
            )
        )
        here = self.off('x', image=BEGUN, notes={**SENT, 'ended': 0})
        error = self.assertRaises(OutcomeUnknown, self.change.follow, here)
        self.assertIn('still heard of: host1', str(error))
        self.assertIn('--skip power-off=REASON', str(error))
        self.assertIn('--again power-off=REASON', str(error))
        seen = self.change.observe(here)
        self.assertIs(State.UNKNOWN, seen.state)
        self.assertIn('--skip power-off=REASON', seen.detail)

    def test_killed_before_it_was_sent_it_is_sent(self) -> None:
        here = self.off('x', image=BEGUN)
        self.assertIs(State.BEFORE, self.change.observe(here).state)

    def test_killed_after_it_was_sent_it_is_only_looked_at(self) -> None:
        here = self.off('x', image=BEGUN, notes=dict(SENT))
        self.assertIs(State.AFTER, self.change.observe(here).state)
        self.counts = list(range(9))
        self.assertIs(State.UNKNOWN, self.change.observe(here).state)
        self.assertEqual(0, self.calls())

    def test_a_program_that_goes_on_alone_is_waited_for(self) -> None:
        here = {
            **clock.stamp(),
            'pid': os.getpid(),
            'born': programs.born(os.getpid()),
        }
        one = self.off('x', image=BEGUN, notes={**SENT, 'program': here})
        self.assertIs(State.UNDERWAY, self.change.observe(one).state)
        # another process by now
        one.notes['program'] = {**here, 'born': '1'}
        self.assertIs(State.AFTER, self.change.observe(one).state)

    def test_a_database_that_lost_its_power_too(self) -> None:
        self.counts = ['no route to host']
        told = self.off('x', image=BEGUN, notes={**SENT, 'ended': 0})
        self.assertIs(State.AFTER, self.change.observe(told).state)
        # nobody said that it is off
        killed = self.off('x', image=BEGUN, notes=dict(SENT))
        self.assertIs(State.UNKNOWN, self.change.observe(killed).state)

    def test_a_database_that_answers_again_is_heard_of(self) -> None:
        """It was away for a moment; the hosts report all the time."""
        self.counts = ['away', *range(9)]
        here = self.off('x', image=BEGUN, notes={**SENT, 'ended': 0})
        seen = self.change.observe(here)
        self.assertIs(State.UNKNOWN, seen.state)
        self.assertIn('still heard of: the database of cell1', seen.detail)

    def test_a_program_that_fails_leaves_it_in_doubt(self) -> None:
        path = self.program('site_power_off', 'echo no route >&2; exit 3')
        here = self.off(path)
        error = self.assertRaises(OutcomeUnknown, self.change.apply, here)
        # and not what a fence agent would mean by it
        self.assertIn('ended with 3: no route', str(error))
        path = self.program('site_power_off', 'echo usage: login; exit 3')
        error = self.assertRaises(
            OutcomeUnknown, self.change.apply, self.off(path)
        )
        self.assertIn('ended with 3: usage: login', str(error))

    def test_one_that_cant_be_run_was_not_sent(self) -> None:
        self.conf.set_override('site_power_off', '/nowhere/off', 'drill')
        here = self.off('/nowhere/off')
        self.assertRaises(ChangeFailed, self.change.apply, here)

    def test_another_program_than_planned_is_not_run(self) -> None:
        self.program('site_power_off', 'exit 0')
        self.assertRaises(Conflict, self.change.apply, self.off('other'))
        self.assertEqual(0, self.calls())

    def test_one_that_hangs_is_ended(self) -> None:
        self.conf.set_override('site_power_off_timeout', 1, 'drill')
        path = self.program('site_power_off', 'exec sleep 60')
        error = self.assertRaises(
            OutcomeUnknown, self.change.apply, self.off(path)
        )
        self.assertIn('no answer within 1 s', str(error))

    def test_with_one_that_hangs_all_that_it_started_ends(self) -> None:
        self.conf.set_override('site_power_off_timeout', 1, 'drill')
        loop = f'(sleep 3; echo late >> {self.home}/late)'
        path = self.program('site_power_off', f'{loop}\n{loop}')
        self.assertRaises(OutcomeUnknown, self.change.apply, self.off(path))
        time.sleep(3)
        self.assertFalse((self.home / 'late').exists())

    def test_by_hand_it_is_waited_for_again_and_again(self) -> None:
        self.conf.set_override('site_silent_timeout', 1, 'drill')
        here = self.off(None)
        self.change.apply(here)
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.changes.site_power._watch',
                lambda at, wait: (['host1'], ''),
            )
        )
        error = self.assertRaises(ChangeFailed, self.change.follow, here)
        self.assertIn('Take it, then: ', str(error))
        begun = self.off(None, image=BEGUN, notes=dict(SENT))
        self.assertIs(State.BEFORE, self.change.observe(begun).state)


class On(PowerCase):
    change = site_power.PowerOnSite()

    def test_what_failed_can_be_run_again(self) -> None:
        path = self.program('site_power_on', 'echo locked; exit 1')
        here = self.at('power-on-site', path)
        error = self.assertRaises(ChangeFailed, self.change.apply, here)
        self.assertIn('ended with 1: locked', str(error))
        self.assertIn('--skip power-on=REASON', str(error))
        self.program('site_power_on', 'exit 0')
        again = self.at('power-on-site', path, image={'looked': True})
        self.assertIs(State.BEFORE, self.change.observe(again).state)
        self.assertIn('ended with 0', self.change.apply(again))

    def test_who_mends_the_program_is_not_held_up(self) -> None:
        self.conf.set_override('site_power_on', '/nowhere/on', 'drill')
        here = self.at('power-on-site', '/nowhere/on')
        error = self.assertRaises(ChangeFailed, self.change.apply, here)
        self.assertIn('there is no program /nowhere/on', str(error))
        self.assertIn('run resume 1a2b3c4d', str(error))
        self.assertIn('--skip power-on=REASON', str(error))
        self.program('site_power_on', 'exit 0')
        self.assertIn('ended with 0', self.change.apply(here))
        self.assertEqual(1, self.calls())

    def test_one_whose_end_nobody_saw_is_run_again(self) -> None:
        path = self.program('site_power_on', 'exit 0')
        alone = subprocess.Popen(['sleep', '0.3'])
        self.addCleanup(alone.wait)
        here = {
            **clock.stamp(),
            'pid': alone.pid,
            'born': programs.born(alone.pid),
        }
        one = self.at('power-on-site', path, image={'looked': True},
                      notes={'program': here})  # fmt: skip
        self.assertIs(State.UNDERWAY, self.change.observe(one).state)
        self.assertIn('ended with 0', self.change.follow(one))
        self.assertEqual(1, self.calls())
        self.assertEqual('', self.change.follow(one))
        self.assertEqual(1, self.calls())

    def test_a_site_that_does_not_answer_says_what_is_missing(self) -> None:
        here = self.at('see-site', None)
        here.cloud.databases.cell.side_effect = DatabaseUnavailable(
            'cell1', 'no route to host'
        )
        error = self.assertRaises(
            ChangeFailed, site_power.SeeSite().follow, here
        )
        self.assertIn('no route to host', str(error))
        self.assertIn('run resume 1a2b3c4d', str(error))
