# SPDX-License-Identifier: Apache-2.0

"""Words for the operator, and names that may be meant."""

from __future__ import annotations

import json

from nova_recovery import exceptions
from nova_recovery.exceptions import Ambiguous, NotFound
from tests.base import TestCase

HOSTS = [f'np-rcc{n}' for n in range(4, 60)] + ['ctl1', 'NP-STORE']


class TestNear(TestCase):
    def test_a_letter_too_few_or_swapped(self) -> None:
        self.assertIn('np-rcc54', exceptions.near('np-rc54', HOSTS))
        self.assertEqual(['ctl1'], exceptions.near('clt1', HOSTS))
        self.assertEqual(['NP-STORE'], exceptions.near('store', HOSTS))

    def test_a_few_of_many_and_none_of_nothing(self) -> None:
        self.assertEqual(
            exceptions.NEAR, len(exceptions.near('np-rcc', HOSTS))
        )
        self.assertEqual([], exceptions.near('', HOSTS))
        self.assertEqual([], exceptions.near('zzz', HOSTS))

    def test_they_stand_below_what_is_not_there(self) -> None:
        self.assertEqual(
            'no host clt1; one of these?\n  ctl1',
            str(NotFound('no host clt1', ['ctl1'])),
        )
        self.assertEqual('no host x', str(NotFound('no host x')))

    def test_a_name_that_a_tenant_chose_adds_no_line(self) -> None:
        names = ['1  a\nrun: rm -rf /', '2  b\x85c\u2028d']
        for error in (NotFound('no x', names), Ambiguous('two x', names)):
            self.assertEqual(
                ['  1  a run: rm -rf /', '  2  b c d'],
                str(error).split('\n')[1:],
            )
            self.assertEqual(3, len(str(error).splitlines()))


class TestPlainly(TestCase):
    def of(self, broken: str) -> str:
        try:
            json.loads(broken)['a'].pop()
        except Exception as error:
            return exceptions.plainly(error)
        raise AssertionError('it is well')

    def test_no_words_of_parsers_and_python(self) -> None:
        self.assertEqual('no JSON at line 1, column 1', self.of('<html>'))
        self.assertEqual("it lacks 'a'", self.of('{}'))
        for broken in ('[]', '{"a": 1}', 'null'):
            self.assertIn('has another form', self.of(broken))
        error = self.assertRaises(OSError, open, '/nowhere')
        self.assertEqual(error.strerror, exceptions.plainly(error))
