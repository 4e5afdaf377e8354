# SPDX-License-Identifier: Apache-2.0

"""What is typed to ``host uid``."""

from __future__ import annotations

from nova_recovery.cli import host_uid
from nova_recovery.exceptions import UsageError
from tests.base import TestCase


class Typed(TestCase):
    def test_a_root_is_absolute(self) -> None:
        self.assertEqual(('/',), host_uid.roots(None))
        self.assertEqual(
            ('/var/lib', '/var/li', '/srv'),
            host_uid.roots(['/var//lib/', '/var/li', '//usr/../srv']),
        )
        for text in ('', 'var', './var'):
            error = self.assertRaises(UsageError, host_uid.roots, [text])
            self.assertIn('give an absolute path', str(error))

    def test_nothing_is_walked_twice(self) -> None:
        """A second walk of a swap would take it back."""
        for two in (
            ['/var', '/var'],
            ['/var/', '/var/lib'],
            ['/var/lib/../lib/nova', '/var/lib'],
            ['/srv', '/'],
        ):
            error = self.assertRaises(UsageError, host_uid.roots, two)
            self.assertIn('have the same files', str(error))

    def test_numbers_that_the_kernel_has(self) -> None:
        self.assertEqual(
            {'nova': 4294967294}, host_uid.numbers(['nova=4294967294'], 'uid')
        )
        for number in ('0', '-1', '4294967295', '4294967296', '', 'nova'):
            error = self.assertRaises(
                UsageError, host_uid.numbers, [f'nova={number}'], 'uid'
            )
            self.assertIn('from 1 to 4294967294', str(error))

    def test_two_accounts_have_two_numbers(self) -> None:
        error = self.assertRaises(
            UsageError,
            host_uid.numbers,
            ['nova=130', 'libvirt-qemu=130'],
            'uid',
        )
        self.assertIn('could not be told apart', str(error))
        self.assertEqual(
            {'nova': 130, 'qemu': 131},
            host_uid.numbers(
                ['nova=130', 'qemu=131', 'libvirt-qemu=131', 'nova=130'], 'uid'
            ),
        )
