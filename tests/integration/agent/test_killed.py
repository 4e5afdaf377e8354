# SPDX-License-Identifier: Apache-2.0

"""SIGKILL at every write, with the oldest and the newest Python there is."""

from __future__ import annotations

import json
import pathlib
import subprocess

import fixtures

from tests import base
from tests.integration.agent import killed, pythons, trees


class Killed(base.TestCase):
    """``killed.py`` does it; it is a program for Python 3.6."""

    def trial(self, python: str, pairs: list[str]) -> None:
        directory = self.useFixture(fixtures.TempDir(rootdir=memory())).path
        done = subprocess.run(
            [python, killed.__file__, directory, *pairs],
            capture_output=True,
            timeout=600,
            check=False,
        )
        self.assertEqual(0, done.returncode, done.stderr.decode())
        told = json.loads(done.stdout)
        self.assertEqual([], told['wrong'])
        # each kind was killed before and after it
        for kind in ('write', 'fdatasync', 'fchownat', 'chmod', 'setxattr'):
            for when in ('before', 'after'):
                self.assertGreater(told['kinds'][f'{when} {kind}'], 1, kind)
        self.assertGreater(told['kinds']['within write'], 1)
        # at the very least two for each entry
        self.assertGreater(min(told['kills']), 60)

    def test_oldest_in_a_swap(self) -> None:
        self.trial(pythons.found()[0], trees.SWAP)

    def test_newest_in_a_chain(self) -> None:
        self.trial(pythons.found()[-1], trees.CHAIN)


def memory() -> str | None:
    """Where an fsync costs nothing; None: the usual place."""
    return '/dev/shm' if pathlib.Path('/dev/shm').is_dir() else None
