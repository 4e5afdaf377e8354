# SPDX-License-Identifier: Apache-2.0
"""Waves, and how many of one may fail."""

from __future__ import annotations

from nova_recovery.exceptions import UsageError
from nova_recovery.procedures.disaster.plan import steps
from nova_recovery.procedures.disaster.request import failures
from tests.base import TestCase
from tests.unit.procedures.disaster import situations


def kinds(**given: str) -> dict[str, frozenset[str]]:
    return {name: frozenset(text.split()) for name, text in given.items()}


class WavesTest(TestCase):
    def test_one_canary_for_each_kind(self) -> None:
        found = steps.divide(
            ['a', 'b', 'c', 'd'],
            kinds(a='ceph', b='lvm', c='ceph', d='ceph'),
            50,
        )
        self.assertEqual(['canary', 'wave-1'], [one.name for one in found])
        self.assertEqual(('b', 'd'), found[0].servers)
        self.assertTrue(found[0].canary)
        self.assertEqual(('a', 'c'), found[1].servers)

    def test_a_server_of_two_kinds_shows_both(self) -> None:
        found = steps.canaries(
            ['a', 'b', 'c'], kinds(a='local', b='lvm', c='local lvm')
        )
        self.assertEqual({'c'}, found)

    def test_waves_are_of_at_most_that_many_servers(self) -> None:
        names = [f's{number:03}' for number in range(101)]
        found = steps.divide(names, dict.fromkeys(names, frozenset('x')), 50)
        self.assertEqual([1, 50, 50], [len(one.servers) for one in found])
        self.assertEqual('wave 2 of 2', found[-1].title)
        self.assertEqual(
            names, sorted(name for one in found for name in one.servers)
        )

    def test_no_server_no_wave(self) -> None:
        self.assertEqual([], steps.divide([], {}, 50))

    def test_a_pool_is_no_back_end_of_its_own(self) -> None:
        server = situations.make({'web': None}).servers['web']
        self.assertEqual(
            frozenset(
                {'ctl@ceph, boots from image', 'local disk, boots from image'}
            ),
            steps.kinds_of(server, ['ctl@ceph#fast', 'ctl@ceph#slow']),
        )

    def test_a_volume_of_nobody_is_a_kind_of_its_own(self) -> None:
        server = situations.make({'web': {'boots_from_volume': True}}).servers[
            'web'
        ]
        self.assertEqual(
            frozenset({'unknown, boots from volume'}),
            steps.kinds_of(server, [None]),
        )


class FailuresTest(TestCase):
    def test_a_share_is_rounded_down(self) -> None:
        self.assertEqual(2, failures('5%', 50))
        self.assertEqual(0, failures('5%', 19))

    def test_a_number_is_for_any_wave(self) -> None:
        self.assertEqual(3, failures('3', 10))

    def test_what_is_neither_is_refused(self) -> None:
        for text in ('many', '-1', '101%', '5.5%', ''):
            self.assertRaises(UsageError, failures, text, 10)
