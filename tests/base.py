# SPDX-License-Identifier: Apache-2.0

"""What all tests share."""

from __future__ import annotations

import os
import signal

import fixtures
from oslotest import base

from nova_recovery import program


class TestCase(base.BaseTestCase):
    """A test that sees neither the caller's cloud nor their home."""

    def setUp(self) -> None:
        super().setUp()
        self.useFixture(CleanEnvironment())
        _take_signals()
        # what a command said that it is holds for its process
        self.addCleanup(program.use, program.UNIFIED)


def _take_signals() -> None:
    """Let programs that a test starts be interrupted.

    Who runs in the background of a shell, or under nohup, has these ignored,
    and so have its children.
    """
    for number, usual in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


class CleanEnvironment(fixtures.Fixture):
    """No OS_* variable of the person who runs the tests counts.

    OS_CLOUD would send a test to a real cloud, and OS_DATABASE__CONNECTION
    overrides what a test writes into nova.conf.
    """

    def _setUp(self) -> None:
        for name in os.environ:
            if name.startswith('OS_') and not name.startswith('OS_TEST'):
                self.useFixture(fixtures.EnvironmentVariable(name))
