# SPDX-License-Identifier: Apache-2.0

"""What libraries write about themselves is not for the screen."""

from __future__ import annotations

import io
import logging
import sys

import fixtures

from nova_recovery import logs
from tests.base import TestCase


class TestQuiet(TestCase):
    def seen(self, level: int) -> str:
        """What is on the screen of a program with this level."""
        screen = io.StringIO()
        self.useFixture(fixtures.MonkeyPatch('sys.stderr', screen))
        root = logging.getLogger()
        before = root.level
        self.addCleanup(root.setLevel, before)
        root.setLevel(level)
        handler = logging.StreamHandler(sys.stderr)
        root.addHandler(handler)
        self.addCleanup(root.removeHandler, handler)
        logs.mask_handlers()
        logs.mask_handlers()
        for name in ('urllib3.connectionpool', 'nova_recovery', 'openstackx'):
            logging.getLogger(name).warning('of %s', name)
        return screen.getvalue()

    def test_libraries_are_heard_where_more_was_asked_for(self) -> None:
        self.assertEqual(
            ['of nova_recovery', 'of openstackx'],
            self.seen(logging.WARNING).splitlines(),
        )
        self.assertIn('of urllib3', self.seen(logging.INFO))
