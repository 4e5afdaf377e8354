# SPDX-License-Identifier: Apache-2.0
"""A run that is watched from another terminal."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import fixtures

from nova_recovery.engine.journal import Journal, RunRecord
from nova_recovery.shell import Shell
from tests.unit.cli.programs import OwnLogging
from tests.unit.cli.runs import RunsTestCase
from tests.unit.cli.test_terminal import Terminal


class WatchTest(RunsTestCase):
    """The journal shows, look by look, what the test wants."""

    def looks(self, *looks: dict[str, Any] | None) -> str:
        """A run that looks so, look by look; None is a Ctrl-C. Its ID."""
        self.ended(0, 'host', 'recover', '--yes')
        run = self.journal().run(self.only_run())
        self.shown = list(looks)

        def next_look(journal: Journal, prefix: str) -> RunRecord:
            look = self.shown.pop(0)
            if look is None:
                raise KeyboardInterrupt
            return dataclasses.replace(run, **look)

        for name, value in (
            ('nova_recovery.engine.journal.store.Journal.run', next_look),
            ('nova_recovery.cli.run.WATCH', 0),
        ):
            self.useFixture(fixtures.MonkeyPatch(name, value))
        return run.id

    def watch(self, *looks: dict[str, Any] | None) -> str:
        ended = self.ended(0, 'run', 'show', self.looks(*looks), '--watch')
        self.assertEqual([], self.shown)
        return ended.stderr

    def test_what_changes_is_told_until_the_run_has_ended(self) -> None:
        alive = {'state': 'running', 'holder': 'pid 1 on ctl1'}
        seen = self.watch(
            {**alive, 'counts': {'pending': 3}},
            {**alive, 'counts': {'pending': 3}},
            {**alive, 'counts': {'pending': 1, 'done': 2}},
            {'state': 'done', 'counts': {'done': 3}},
        )
        self.assertEqual(
            ['running: 3 pending', 'running: 1 pending, 2 done'],
            seen.splitlines(),
        )

    def test_ctrl_c_ends_the_watching_only(self) -> None:
        alive = {'state': 'running', 'holder': 'pid 1 on ctl1'}
        seen = self.watch({**alive, 'counts': {'pending': 3}}, None)
        self.assertEqual(
            ['running: 3 pending', 'No longer watched; the run goes on.'],
            seen.splitlines(),
        )

    def test_a_run_that_paused_is_over(self) -> None:
        alive = {'state': 'running', 'holder': 'pid 1 on ctl1'}
        self.watch(alive, {'state': 'paused', 'counts': {'pending': 3}})

    def test_how_often_can_be_said(self) -> None:
        alive = {'state': 'running', 'holder': 'pid 1 on ctl1'}
        run_id = self.looks(alive, {'state': 'done'})
        began = time.monotonic()
        self.ended(0, 'run', 'show', run_id, '--watch', '0.3')
        self.assertGreater(time.monotonic() - began, 0.3)
        for word in ('0', 'often'):
            self.ended(2, 'run', 'show', run_id, '--watch', word)

    def test_on_a_terminal_the_run_is_drawn_anew(self) -> None:
        alive = {'state': 'running', 'holder': 'pid 1 on ctl1'}
        run_id = self.looks(
            {**alive, 'counts': {'pending': 2}},
            {**alive, 'counts': {'pending': 1, 'done': 1}},
            {'state': 'done', 'counts': {'done': 2}},
        )
        self.useFixture(fixtures.EnvironmentVariable('TERM', 'xterm'))
        with OwnLogging(), Terminal('no question', '') as terminal:
            code = Shell().run(
                ['run', 'show', run_id, '--watch',
                 '--recovery-config-file', str(self.conf)]
            )  # fmt: skip
            seen = terminal.text()
        self.assertEqual(0, code)
        first = seen.index('running: 2 pending')
        again = seen.index('running: 1 pending, 1 done')
        # the cursor goes up to where the first one began
        self.assertIn('\x1b[1A', seen[first:again])

    def test_a_run_that_was_killed_is_told(self) -> None:
        seen = self.watch(
            {'state': 'running', 'holder': 'pid 1 on ctl1'},
            {'state': 'running', 'holder': ''},
        )
        self.assertIn('Its process is gone. Go on with: nova-rec', seen)

    def test_a_run_that_was_killed_is_listed_so(self) -> None:
        self.ended(0, 'host', 'recover', '--yes')
        run_id = self.only_run()
        self.journal().set_run_state(run_id, 'running', 'resumed')
        self.assertIn(' killed ', self.ended(0, 'run', 'list').stdout)
        self.assertIn(
            'state      killed: 3 done',
            self.ended(0, 'run', 'show', run_id).stdout,
        )
