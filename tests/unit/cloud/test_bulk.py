# SPDX-License-Identifier: Apache-2.0

"""Rows as text: what stands in a statement, and what never does."""

from __future__ import annotations

from nova_recovery.cloud.db import bulk
from nova_recovery.cloud.db.bulk import Selection
from tests.base import TestCase

ROWS = Selection('volumes', 'id', ('status', 'host'), 'deleted = 0')


class BulkTest(TestCase):
    def test_keys_of_a_list(self) -> None:
        self.assertEqual("`id` IN ('a-1','2')", bulk.among('id', ['a-1', '2']))

    def test_what_is_no_key(self) -> None:
        for bad in ("a'b", "a','b", 'a"', 'a\\', 'a%', ''):
            keys = [bad] if bad else []
            self.assertRaises(ValueError, bulk.among, 'id', keys)

    def test_lines_of_a_list(self) -> None:
        self.assertEqual(
            "BINARY CONCAT_WS('|', `id`, IFNULL(`status`, '~'), "
            "IFNULL(`host`, '~')) IN ('a|in-use|~','b|~|h:1')",
            ROWS.exactly('a|in-use|~\nb|~|h:1'),
        )

    def test_lines_that_would_have_to_be_quoted(self) -> None:
        for bad in ("a|x'|h", 'a|x\\|h', 'a|%s|h', 'a|ü|h'):
            self.assertEqual('', ROWS.exactly(bad))

    def test_values_of_a_line(self) -> None:
        self.assertEqual(['a', None, 'h'], bulk.fields('a|~|h'))
        self.assertEqual([], bulk.lines(''))
