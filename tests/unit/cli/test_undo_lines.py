# SPDX-License-Identifier: Apache-2.0

"""What an undo tells before it is agreed to: how things will be."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

from nova_recovery.cli import show_run
from nova_recovery.engine import claiming
from nova_recovery.engine.plan import Item
from tests.base import TestCase

WEB = '3f57699a-e773-4650-a443-b4b37eed5a06'


class FutureTest(TestCase):
    def told(self, kind: str, *described: str) -> str:
        item = Item('1', kind, f'server:{WEB}', 'web', {})
        return show_run._future(item, list(described), 'move their rows')

    def test_what_goes_back_is_told_with_its_value(self) -> None:
        self.assertEqual(
            'host back to np-rcc54, node back to np-rcc54.example.org',
            self.told(
                'move-record',
                '~ host  np-rcc54 -> np-rcc46',
                '~ node  np-rcc54.example.org -> np-rcc46.example.org',
                '~ vm_state  paused -> stopped',
                '+ tombstone  np-rcc54 cleans up after itself',
            ),
        )
        self.assertEqual(
            'port 10.0.0.10 back to np-rcc54',
            self.told('bind-port', '~ port  10.0.0.10  np-rcc54 -> np-rcc46'),
        )

    def test_claims_and_locks(self) -> None:
        told = '+ claimed, while this run works on it'
        self.assertEqual('its claim', self.told(claiming.SERVER, told))
        self.assertEqual('its lock', self.told('lock-server', '~ locked'))

    def test_what_has_no_value_is_told_by_its_step(self) -> None:
        for line in ('- session 1', '~ 4 volumes  -> available, detached'):
            self.assertEqual('move their rows', self.told('x', line))

    def test_no_id_is_shown_but_those_of_the_cloud(self) -> None:
        @dataclasses.dataclass
        class Record:
            subject: str
            label: str

        for subject, label, told in (
            (f'server:{WEB}', 'web', 'web 3f57699a'),
            (f'guest:c1:{WEB}', 'instance-01', 'instance-01 3f57699a'),
            ('filter:c1:nova-nodhcp', 'nova-nodhcp', 'nova-nodhcp'),
            ('session:c1:1', 'session 1 of c1', 'session 1 of c1'),
            ('host:np-rcc54', 'np-rcc54', 'np-rcc54'),
        ):
            named = show_run._named(
                cast(Any, Record(subject, label)), {WEB: WEB[:8]}
            )
            self.assertEqual(told, named)
