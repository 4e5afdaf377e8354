# SPDX-License-Identifier: Apache-2.0

"""Programs of a host that end, or don't."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import Any

import fixtures

from nova_recovery.host.agent import programs
from tests.base import TestCase


class Undying(subprocess.Popen):
    """As a process that waits for a disk which never answers."""

    def kill(self) -> None:
        made.append(self)


made: list[Any] = []


class Programs(TestCase):
    def test_what_it_reads_writes_and_complains_of(self) -> None:
        found = programs.run(['sh', '-c', 'cat; echo b  a >&2; exit 3'], 9,
                             given='x\udcff')  # fmt: skip
        self.assertEqual((3, 'x\udcff', 'b a'), found)
        self.assertRaises(programs.Missing, programs.run, ['no-such-thing'])

    def test_one_that_takes_too_long_is_ended(self) -> None:
        error = self.assertRaises(
            programs.TookTooLong, programs.run, ['sleep', '60'], 0.1
        )
        self.assertIn('sleep 60', str(error))

    def test_one_that_does_not_end_by_force_is_left_behind(self) -> None:
        self.useFixture(fixtures.MockPatchObject(subprocess, 'Popen', Undying))
        self.useFixture(fixtures.MockPatchObject(programs, '_LAST', 0.1))
        self.addCleanup(self.reap)
        begun = time.monotonic()
        self.assertRaises(
            programs.TookTooLong, programs.run, ['sleep', '30'], 0.1
        )
        self.assertLess(time.monotonic() - begun, 20)

    def reap(self) -> None:
        process = made.pop()
        process.send_signal(signal.SIGKILL)
        process.wait()
