# SPDX-License-Identifier: Apache-2.0

"""Inventories that are none, by the real ansible-inventory."""

from __future__ import annotations

import os
import pathlib
import sys

import fixtures

from nova_recovery.exceptions import ConfigError
from nova_recovery.fleet.ansible import inventory
from tests.base import TestCase

FOREIGN = ('WARNING', 'ERROR', 'implicit localhost', 'caused by', 'Origin')


class TestInventory(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.home = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        lister = os.path.join(os.path.dirname(sys.executable),
                              'ansible-inventory')  # fmt: skip
        self.words = [lister]

    def refused(self, *places: str) -> str:
        given = [*self.words, *(f'--inventory={one}' for one in places)]
        environment = {**os.environ, 'LC_ALL': 'C.UTF-8'}
        told = str(
            self.assertRaises(
                ConfigError,
                inventory.read,
                given,
                str(self.home),
                environment,
                places,
            )
        )
        for word in FOREIGN:
            self.assertNotIn(word, told)
        self.assertEqual(1, len(told.splitlines()))
        return told

    def test_a_file_that_is_not_there(self) -> None:
        self.assertEqual(
            '[fleet] inventory: no such file: /nowhere',
            self.refused('/nowhere'),
        )

    def test_a_file_that_is_no_inventory(self) -> None:
        path = self.home / 'hosts.yml'
        path.write_text('x: [')
        told = self.refused(str(path))
        self.assertIn(f'{path} has no hosts', told)
        self.assertTrue(told.endswith(f'--inventory={path} --graph'), told)

    def test_a_script_that_fails(self) -> None:
        path = self.home / 'hosts'
        path.write_text('#!/bin/sh\nexit 1\n')
        path.chmod(0o755)
        self.assertIn('what it says of that:', self.refused(str(path)))

    def test_no_ansible(self) -> None:
        self.words = ['/nowhere/ansible-inventory']
        self.assertIn('[fleet] ansible_playbook', self.refused())
