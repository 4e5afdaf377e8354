# SPDX-License-Identifier: Apache-2.0

"""What the agent asks the kernel for."""

from __future__ import annotations

import os
import pathlib

import fixtures

from nova_recovery.host.agent import kernel
from tests.base import TestCase


class ClockTest(TestCase):
    def test_no_file_is_older_than_the_tick_before_it(self) -> None:
        """Within one tick, too, where a rounded time is a later one."""
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        for number in range(2000):
            tick = kernel.ticked()
            path = folder / str(number)
            path.touch()
            self.assertGreaterEqual(path.stat().st_ctime_ns, tick)
            os.unlink(path)

    def test_all_that_is_there_is_older_than_the_next_tick(self) -> None:
        path = pathlib.Path(self.useFixture(fixtures.TempDir()).path) / 'a'
        for _ in range(20):
            path.touch()
            self.assertLess(path.stat().st_ctime_ns, kernel.next_tick())
