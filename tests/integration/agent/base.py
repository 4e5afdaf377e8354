# SPDX-License-Identifier: Apache-2.0

"""The agent as it is typed, on trees of its own."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import textwrap
from typing import Any

import fixtures

from tests import base
from tests.integration.agent import trees

#: The project, for a process that is to import it.
PROJECT = pathlib.Path(__file__).parents[3]

#: In front of a hook, which may change what the agent is made of.
START = 'import os, sys\n'
END = """
from nova_recovery.host.agent import __main__ as agent
sys.exit(agent.main(sys.argv[1:]))
"""


class AgentTest(base.TestCase):
    """Has a tree, a state directory and a command line."""

    pairs = trees.PLAIN

    def setUp(self) -> None:
        super().setUp()
        self.top = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.tree = self.top / 'tree'
        self.root = self.tree / 'in'
        self.state = self.top / 'state'
        self.lines: list[dict[str, Any]] = []

    def build(self) -> None:
        trees.build(self.tree)
        self.before = trees.snapshot(self.tree)

    def words(self, action: str, *more: str) -> list[str]:
        words = ['owners', action, '--root', str(self.root)]
        return [*words, '--state', str(self.state), *self.pairs, *more]

    def agent(
        self,
        action: str,
        *more: str,
        hook: str = '',
        python: str = sys.executable,
        within: tuple[str, ...] = (),
    ) -> int:
        """Its exit code; what it said is in ``lines``."""
        return self.typed(
            self.words(action, *more), hook, python=python, within=within
        )

    def typed(
        self,
        words: list[str],
        hook: str = '',
        python: str = sys.executable,
        within: tuple[str, ...] = (),
    ) -> int:
        start = ['-m', 'nova_recovery.host.agent']
        if hook:
            start = ['-c', START + textwrap.dedent(hook) + END]
        done = subprocess.run(
            [*within, python, *start, *words],
            env={
                'PATH': os.environ['PATH'],
                'PYTHONPATH': str(PROJECT),
                'PYTHONDONTWRITEBYTECODE': '1',
            },
            cwd='/',
            capture_output=True,
            timeout=120,
            check=False,
        )
        self.lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertNotIn(b'Traceback', done.stderr, done.stderr.decode())
        return done.returncode

    def said(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line['event'] == event]

    @property
    def result(self) -> dict[str, Any]:
        self.assertEqual('result', self.lines[-1]['event'], self.lines[-1])
        return self.lines[-1]

    def problems(self) -> dict[str, set[str]]:
        """{code: paths}."""
        found: dict[str, set[str]] = {}
        for line in self.said('problem'):
            found.setdefault(line['code'], set()).add(line['path'])
        return found

    def ids(self, path: str) -> tuple[int, int]:
        status = os.lstat(self.root / path)
        return status.st_uid, status.st_gid

    def assert_as_before(self) -> None:
        now = trees.snapshot(self.tree)
        self.assertEqual({}, trees.difference(self.before, now))

    def assert_changed(self) -> None:
        now = trees.snapshot(self.tree)
        wanted = trees.expected(self.before, self.pairs)
        self.assertEqual({}, trees.difference(wanted, now))
