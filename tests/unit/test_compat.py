# SPDX-License-Identifier: Apache-2.0

"""What stands in for newer Pythons' own."""

from __future__ import annotations

import datetime
import hashlib
import io

from nova_recovery import compat
from tests.base import TestCase


class CompatTest(TestCase):
    def test_pairs_of_what_is_as_long(self) -> None:
        self.assertEqual(
            [('a', 1), ('b', None)], list(compat.pairs('ab', [1, None]))
        )
        for first, second in (('a', ''), ('', 'a')):
            found = compat.pairs(first, second)
            self.assertRaises(ValueError, list, found)

    def test_a_time_is_in_utc(self) -> None:
        for text in (
            '2026-11-22T14:49:00',
            '2026-11-22T14:49:00Z',
            '2026-11-22 15:49:00+01:00',
        ):
            self.assertEqual(
                datetime.datetime(2026, 11, 22, 14, 49), compat.utc(text)
            )
        self.assertRaises(ValueError, compat.utc, 'yesterday')

    def test_a_checksum_is_of_what_is_left_of_the_file(self) -> None:
        contents = b'head' + bytes(3 << 20)
        file = io.BytesIO(contents)
        file.read(4)
        self.assertEqual(
            hashlib.sha256(contents[4:]).hexdigest(), compat.sha256(file)
        )

    def test_entry_points_are_those_of_the_group(self) -> None:
        self.assertEqual(
            {'nova-recovery'},
            {
                point.name
                for point in compat.entry_points('console_scripts')
                if point.value == 'nova_recovery.shell:main'
            },
        )
        self.assertEqual([], list(compat.entry_points('no.such.group')))
