# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
"""A run that is watched from another terminal."""

from __future__ import annotations

import dataclasses
from typing import Any

import fixtures

from nova_recovery.engine import journal as journal_module
from tests.unit.cli import runs


class WatchTest(runs.RunsTestCase):
    """The journal shows, look by look, what the test wants."""

    def watch(self, *looks: dict[str, Any]) -> str:
        self.ended(0, 'host', 'recover', '--yes')
        run = self.journal().run(self.only_run())
        shown = [dataclasses.replace(run, **look) for look in looks]

        def next_look(
            journal: journal_module.Journal, prefix: str
        ) -> journal_module.RunRecord:
            return shown.pop(0)

        for name, value in (
            ('nova_recovery.engine.journal.store.Journal.run', next_look),
            ('nova_recovery.cli.run.WATCH', 0),
        ):
            self.useFixture(fixtures.MonkeyPatch(name, value))
        ended = self.ended(0, 'run', 'show', run.id, '--watch')
        self.assertEqual([], shown)
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
