# SPDX-License-Identifier: Apache-2.0

"""A controller is lost in the middle of a run; another one ends it."""

from __future__ import annotations

import json
import os
import pathlib
import signal
from typing import Any

import fixtures

from nova_recovery import exit_codes
from nova_recovery.engine import planfile
from tests.functional.base import Ended
from tests.functional.dead_host import DeadHostTest
from tests.integration import killing
from tests.integration.killing import Watch
from tests.unit.engine import world


class TestTakeOver(DeadHostTest):
    """Journals of two controllers, and one cloud that both work on."""

    wanted = {
        name: options
        for test in ('crash', 'frozen')
        for name, options in (
            (f'{test}-evacuated', {}),
            (f'{test}-moved', {'volumes': ['iscsi'], 'state': 'paused'}),
        )
    }

    def setUp(self) -> None:
        super().setUp()
        self.first = self.controller('ctl1')
        self.second = self.controller('ctl2')

    def controller(self, name: str) -> Any:
        """``recovery`` on another machine, with a journal of its own."""
        conf = self.home / f'{name}.conf'
        journal = f'sqlite:///{self.home}/{name}.sqlite'
        self.configure(conf, journal__connection=journal)

        def recovery(*words: Any, code: int = 0) -> Ended:
            with fixtures.MonkeyPatch('socket.gethostname', lambda: name):
                return self.done(
                    *words, '--recovery-config-file', conf, code=code
                )

        return recovery

    def half_run(self, test: str, number: signal.Signals) -> str:
        """A run of ctl1 that gets this signal when it has moved the row."""
        self.evacuated = self.server(f'{test}-evacuated')
        self.moved = self.server(f'{test}-moved')
        path = self.home / 'plan'
        self.first(
            *self.words(self.evacuated, self.moved), '--plan-file', path
        )
        with fixtures.MonkeyPatch('socket.gethostname', lambda: 'ctl1'):
            run_id = killing.create_run(
                f'sqlite:///{self.home}/ctl1.sqlite', planfile.load(str(path))
            )
            self.exported_early = self.home / 'early.run'
            self.first('run', 'export', run_id, self.exported_early)
            watch = Watch(
                self.home / 'points',
                {f'server:{self.moved.uuid}': {'move-record: journal done'}},
                number,
            )
            conf = self.home / 'ctl1.conf'
            self.pid = world.start(
                lambda: killing.carry_out(conf, run_id, 1, watch)
            )
        self.addCleanup(self.kill)
        self.wait_for(lambda: self.at_rest() in 'TZ', 'ctl1 to be at rest')
        return run_id

    def at_rest(self) -> str:
        """The state of ctl1's process, see proc(5)."""
        stat = pathlib.Path(f'/proc/{self.pid}/stat').read_text()
        return stat.rpartition(')')[2].split()[0]

    def kill(self) -> None:
        """Leave nothing of ctl1 behind."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            world.ended(self.pid)

    def claim(self) -> str:
        return str(self.state.service('host1')['disabled_reason'])

    def take_over(self, run_id: str, file: pathlib.Path) -> None:
        ended = self.second('run', 'import', file)
        self.assertEqual(run_id, ended.stdout.strip())
        # not before it is ours: ctl1 may be at it
        ended = self.second('run', 'resume', run_id, '--yes', code=3)
        self.assertIn('is of anna on ctl1', ended.stderr)
        self.assertIn('run take over', ended.stderr)
        self.assertIn('@ctl1', self.claim())
        ended = self.second(
            'run', 'take', 'over', run_id, '--reason', 'ctl1 burnt down'
        )
        self.assertIn('The claim on host1 is yours', ended.stderr)
        self.assertIn(f'run={run_id} ', self.claim())
        self.assertIn('@ctl2', self.claim())

    def test_exported_after_the_crash(self) -> None:
        """ctl2 ends it; ctl1 comes back and sends nothing."""
        run_id = self.half_run('crash', signal.SIGKILL)
        file = self.home / 'saved.run'
        self.first('run', 'export', run_id, file)
        self.take_over(run_id, file)

        self.resurrected(run_id)

        self.second('run', 'resume', run_id, '--yes')
        self.assert_recovered(self.evacuated, False, ('host2',))
        self.assert_recovered(self.moved, True, ('host2',))
        self.assert_out_of_service('host1', run_id)
        # what was to be done next is done, and its journal didn't know
        self.resurrected(run_id, 0, 'another controller ended the run')
        shown = self.first('run', 'show', run_id, '-f', 'json').stdout
        self.assertEqual('done', json.loads(shown)['state'])
        self.resurrected(run_id, 0, 'Nothing is left')

    def resurrected(
        self, run_id: str, code: int = 3, told: str = 'ctl2'
    ) -> None:
        """ctl1 goes on as if nothing had been: it is told, and stops."""
        servers = (self.evacuated, self.moved)
        before = [self.state.row(one.uuid) for one in servers]
        asked = [self.state.actions(one.uuid) for one in servers]
        calls = len(self.practice.cinder_calls())
        claim = self.claim()
        ended = self.first('run', 'resume', run_id, '--yes', code=code)
        self.assertIn(told, ended.stderr)
        self.assertEqual(before, [self.state.row(o.uuid) for o in servers])
        self.assertEqual(asked, [self.state.actions(o.uuid) for o in servers])
        self.assertEqual(calls, len(self.practice.cinder_calls()))
        self.assertEqual(claim, self.claim())

    def test_frozen(self) -> None:
        """ctl1 only stood still, and ctl2 has an old copy of the journal.

        Awake, ctl1 looks at its claim and ends. What it did after the copy
        was made is nobody's as far as ctl2 can tell: that is reported, and
        not done again.
        """
        run_id = self.half_run('frozen', signal.SIGSTOP)
        self.take_over(run_id, self.exported_early)
        noted = self.home / 'points'
        done = len(killing.points(noted))
        os.kill(self.pid, signal.SIGCONT)
        code = world.ended(self.pid, 60)
        self.pid = 0
        self.assertEqual(exit_codes.REFUSED, code)
        after = [point.what for point in killing.points(noted)[done:]]
        self.assertEqual('bind-port: journal intent', after[0])
        self.assertEqual([], [what for what in after if ': sent' in what])
        self.assertEqual([], [what for what in after if 'committed' in what])
        self.assertIn('@ctl2', self.claim())
        self.assert_ports(self.moved.uuid, 'host1')

        ended = self.second('run', 'resume', run_id, '--yes', code=4)
        self.assertIn('conflict', ended.stderr)
        for one in (self.evacuated, self.moved):
            self.assertEqual('host2', self.state.row(one.uuid)['host'])
            self.assertEqual(1, len(self.state.migrations(one.uuid)))
        asked = self.state.actions(self.evacuated.uuid)
        self.assertEqual(1, asked.count('evacuate'))
        # There is something left to do, so the host stays claimed.
        self.assertIn('@ctl2', self.claim())
