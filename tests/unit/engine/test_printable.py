# SPDX-License-Identifier: Apache-2.0

"""Names that tenants chose: on a terminal, and in commands to be copied."""

from __future__ import annotations

import shlex

from nova_recovery.engine import printable
from tests.base import TestCase


class PrintableTest(TestCase):
    def test_what_moves_a_cursor_is_shown_as_its_escape(self) -> None:
        for name, shown in (
            ('\x1b[2Jdb1', r'\x1b[2Jdb1'),
            ('a\u202eb', r'a\u202eb'),
            ('a\x9bb', r'a\x9bb'),
            ('a\nb', r'a\nb'),
            ('\udc80', r'\udc80'),
            ('löschbar 5 €', 'löschbar 5 €'),
        ):
            self.assertEqual(shown, printable.clean(name))

    def test_a_name_is_one_word_of_a_command(self) -> None:
        for name in ('web1', '$(id)', 'a b; rm -rf ~', "it's", '`id`', '*'):
            typed = printable.typed(name, 'uuid')
            self.assertEqual([name], shlex.split(typed))

    def test_where_it_cant_be_one_the_uuid_is(self) -> None:
        for name in ('', '-rf', '--yes', 'a=b', 'a\x1bb', 'a\nb'):
            self.assertEqual('uuid', printable.typed(name, 'uuid'))
