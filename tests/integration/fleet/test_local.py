# SPDX-License-Identifier: Apache-2.0

"""The fleet of one machine, and how a driver is chosen."""

from __future__ import annotations

import ast
import sys

from nova_recovery import fleet
from nova_recovery.exceptions import ConfigError
from nova_recovery.fleet.ansible import Transport
from tests import base
from tests.integration.agent import place
from tests.integration.fleet import reached

_SCRIPT = """
import sys
from nova_recovery import conf, fleet
options = conf.load([])
options.set_override('driver', 'local', group='fleet')
with fleet.load(options) as hosts:
    for host, verb in (
        ('c1', 'identity'), ('c1', 'nonsense'), ('c2', 'identity')
    ):
        answer = hosts.run(host, verb)
        print([answer.state, answer.detail])
"""


class Local(base.TestCase):
    def test_machine_answers_for_itself_alone(self) -> None:
        here = self.useFixture(place.Place('c1'))
        done = here.run(sys.executable, '-c', _SCRIPT)
        self.assertEqual('', done.stderr)
        mine, nonsense, other = map(ast.literal_eval, done.stdout.splitlines())
        self.assertEqual(['done', ''], mine)
        self.assertEqual('refused', nonsense[0])
        self.assertIn('invalid choice', nonsense[1])
        self.assertEqual('refused', other[0])
        self.assertIn('is the nova host c1', other[1])


class Drivers(base.TestCase):
    def test_ansible_is_taken_where_nothing_is_said(self) -> None:
        loaded = fleet.load(reached.options())
        self.assertIsInstance(loaded._transport, Transport)

    def test_driver_that_is_not_there_is_named(self) -> None:
        error = self.assertRaises(
            ConfigError, fleet.load, reached.options(driver='pigeons')
        )
        self.assertIn("nothing is called 'pigeons'", str(error))
