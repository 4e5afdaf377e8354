# SPDX-License-Identifier: Apache-2.0

"""A run that goes step by step, pauses by itself, and is taken back."""

from __future__ import annotations

from typing import Any

from tests.functional.base import Ended
from tests.functional.disaster import DisasterTest

SKIPPED = 'host2'
EMERGENCY = """\
[    2.120331] systemd[1]: Timed out waiting for device /dev/vdb1.
You are in emergency mode. After logging in, type "journalctl -xb" to view
Give root password for maintenance
(or press Control-D to continue): """


class TestWaves(DisasterTest):
    """One host is skipped; the ten servers of the other come in waves."""

    def setUp(self) -> None:
        super().setUp()
        self.before = self.everything()
        self.take_snapshot()
        self.lose_power()
        self.power_on()
        self.wait_up()

    def sent(self) -> dict[str, list[str]]:
        """What was asked of whom since the power was lost."""
        return {
            name: asked
            for name, now in self.everything().items()
            if (asked := self.asked(self.before[name], now))
        }

    def resume(self, run: str, *words: str, code: int = 4) -> Ended:
        return self.done('run', 'resume', run, '--yes', *words, code=code)

    def test_pauses(self) -> None:
        """At each one somebody has to look before anything is sent on."""
        volume = self.before['at3-ui08'].devices[1]['volume_id']
        self.practice.sql(
            'cinder',
            "UPDATE volumes SET status = 'error' WHERE id = %s",
            [volume],
        )
        words = (
            '--skip-host', f'{SKIPPED}=its PDU burnt', '--max-failures', '0',
            '--wave-size', '3',
        )  # fmt: skip

        # step 2, there and back
        self.apply(*words, through=2, code=4)
        self.assertEqual('in-use', self.cinder(volume)['status'])
        self.done('run', 'undo', self.newest_run(), '--yes')
        self.assertEqual('error', self.cinder(volume)['status'])
        plan = self.plan_file(*words)
        self.apply(*words, through=2, code=4)
        self.assertEqual({}, self.sent())

        # a canary doesn't come up
        run = self.newest_run()
        canaries, first, *later = self.waves(plan)
        sick = canaries[0]
        self.practice.next_boot(self.before[sick].uuid, console=EMERGENCY)
        ended = self.resume(run)
        self.assertIn('emergency mode', ended.stderr)
        self.assertIn(sick, ended.stderr)
        self.assertEqual({name: ['reboot'] for name in canaries}, self.sent())
        self.assertEqual('paused', self.answer('run', 'show', run)['state'])

        # somebody looked after it; then one of a wave fails
        broken = first[0]
        host = self.before[sick].row['host']
        self.practice.config.console(host, self.before[sick].uuid).write_text(
            'practice login: '
        )
        self.practice.next_boot(self.before[broken].uuid, error='no disk')
        ended = self.resume(run)
        self.assertIn('no disk', ended.stderr)
        self.assertEqual(
            {name: ['reboot'] for name in (*canaries, *first)}, self.sent()
        )

        # it is never sent again by itself
        self.resume(run)
        self.assertEqual(['reboot'], self.sent()[broken])
        ended = self.resume(
            run, '--again', f'{broken}=its disk is back', code=0
        )
        self.assertEqual('done', self.answer('run', 'show', run)['state'])
        self.assertEqual(['reboot', 'reboot'], self.sent().pop(broken))
        rest = {
            name: one
            for name, one in self.before.items()
            if name != broken and one.row['host'] != SKIPPED
        }
        self.assert_back(rest.values(), repaired=True)
        skipped = self.everything()['at3-ui11']
        self.assertEqual(self.before['at3-ui11'].actions, skipped.actions)
        self.assertEqual({SKIPPED: 'shut off'}, skipped.guests)

    def waves(self, plan: Any) -> list[list[str]]:
        """The names of the servers of the canaries and of each wave."""
        return [
            [
                item['label']
                for item in step['items']
                if item['kind'] == 'restart-server'
            ]
            for step in plan['steps']
            if step.get('number') == 3
        ]
