# SPDX-License-Identifier: Apache-2.0

"""How times, numbers and names are written."""

from __future__ import annotations

import datetime

from nova_recovery.report import wording
from tests.base import TestCase
from tests.unit import plans

NOW = '2026-03-01T14:11:30Z'


class TimeTest(TestCase):
    def test_a_time_of_today_has_its_age(self) -> None:
        for time, text in (
            ('2026-03-01T14:11:26.700Z', '14:11:26Z, 3 s ago'),
            ('2026-03-01T14:02:11Z', '14:02:11Z, 9 min ago'),
            ('2026-03-01T10:11:30Z', '10:11:30Z, 4 h ago'),
            ('2026-02-28T14:11:30Z', '2026-02-28 14:11:30Z, 1 d ago'),
            ('2026-03-01T14:12:00Z', '14:12:00Z, 30 s ahead of this clock'),
            ('2026-03-01T15:11:30+01:00', '14:11:30Z, 0 s ago'),
            ('', ''),
            ('yesterday', ''),
            (None, ''),
        ):
            self.assertEqual(text, wording.ago(time, NOW))

    def test_a_naive_time_is_utc(self) -> None:
        self.assertEqual(
            '2026-03-01 14:02:11Z',
            wording.stamp(datetime.datetime(2026, 3, 1, 14, 2, 11)),
        )

    def test_span(self) -> None:
        self.assertEqual('9 min', wording.span('2026-03-01T14:02:11Z', NOW))
        self.assertEqual('', wording.span('', NOW))


class WordTest(TestCase):
    def test_what_the_subjects_are(self) -> None:
        self.assertEqual('server', wording.noun_of(['server:a', 'server:b']))
        self.assertEqual('item', wording.noun_of(['server:a', 'host:b']))
        self.assertEqual('item', wording.noun_of(['server:a', 'server:a']))
        self.assertEqual('1 server', wording.count(1, 'server'))
        self.assertEqual('4 servers', wording.count(4, 'server'))

    def test_an_id_isnt_said_twice(self) -> None:
        self.assertEqual('', wording.identifier('host:np-rcc54', 'np-rcc54'))
        self.assertEqual('a:b', wording.identifier('server:a:b', 'vm'))
        self.assertEqual('odd', wording.identifier('odd', 'vm'))

    def test_no_word_is_divided(self) -> None:
        uuid = plans.UUID.format(1)
        lines = wording.wrap(f'server {uuid} and {uuid}', 'xx', 32)
        self.assertEqual(
            ['xxserver', f'  {uuid}', '  and', f'  {uuid}'], lines
        )
