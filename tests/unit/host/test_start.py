# SPDX-License-Identifier: Apache-2.0

"""What systemd is told of a run that it starts."""

from __future__ import annotations

import os
from unittest import mock

import fixtures

from nova_recovery.host.agent import programs
from nova_recovery.host.agent.runs import start
from tests.base import TestCase


class Detached(TestCase):
    def told(self, *verb: str) -> list[str]:
        run = mock.Mock(return_value=(0, '', ''))
        for where, name, value in (
            (programs, 'run', run),
            (os.path, 'isdir', lambda path: True),
            (os, 'geteuid', lambda: 0),
        ):
            self.useFixture(fixtures.MockPatchObject(where, name, value))
        unit = start._detach('/home', 'r1', '/home/runs/r1', list(verb))
        self.assertEqual('nova-recovery-r1.service', unit)
        (words,) = run.call_args.args
        self.assertEqual(['work', 'r1'], words[-2:])
        return list(words)

    def test_a_trial_of_rules_goes_on_when_it_is_killed(self) -> None:
        again = '--property=Restart=on-abnormal'
        self.assertIn(again, self.told('--set', 'a=b', 'rules', 'apply'))
        # whoever killed it decides whether it is to go on
        self.assertNotIn(again, self.told('owners', 'change'))
