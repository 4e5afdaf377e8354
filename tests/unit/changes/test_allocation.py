# SPDX-License-Identifier: Apache-2.0

"""What a server holds in placement follows it to its new host."""

from __future__ import annotations

import copy
from typing import Any

from nova_recovery.changes.allocation import MoveAllocation
from nova_recovery.engine.change import State
from nova_recovery.exceptions import ChangeFailed, Conflict, OutcomeUnknown
from tests.unit.changes.case import ChangeTestCase, UUID

HELD = {'VCPU': 1, 'MEMORY_MB': 2048}
SOURCE, TARGET = {'p-source': HELD}, {'p-target': HELD}


class TestMoveAllocation(ChangeTestCase):
    """Placement as it is: whoever writes has to have seen the newest."""

    def setUp(self) -> None:
        super().setUp()
        self.change = MoveAllocation()
        self.make_item(
            f'server:{UUID}', uuid=UUID, source='np-rcc54', target='np-rcc46',
            source_provider='p-source', target_provider='p-target',
            resources=HELD, project_id='p', user_id='u',
        )  # fmt: skip
        self.held: dict[str, Any] = SOURCE
        self.generation = 3
        #: between a change's look and its write
        self.meanwhile: Any = None
        placement = self.cloud.placement
        placement.allocations.side_effect = self.allocations
        placement.put_allocations.side_effect = self.put

    def allocations(self, uuid: str) -> dict[str, Any]:
        self.assertEqual(UUID, uuid)
        found = {
            'allocations': copy.deepcopy(self.held),
            'project_id': 'p',
            'user_id': 'u',
            'consumer_generation': self.generation,
        }
        if self.meanwhile:
            self.meanwhile()
        return found

    def put(self, uuid: str, body: dict[str, Any]) -> None:
        if body['consumer_generation'] != self.generation:
            raise ChangeFailed('consumer generation conflict')
        self.of_somebody(body['allocations'])

    def of_somebody(self, held: dict[str, Any]) -> None:
        self.held = held
        self.generation += 1

    def test_there_and_back(self) -> None:
        self.assertEqual('allocated on np-rcc46', self.apply())
        self.assertEqual(TARGET, self.held)
        self.assert_seen(State.AFTER, 'already there', again=True)
        self.assertEqual('allocated on np-rcc54 again', self.revert())
        self.assertEqual(SOURCE, self.held)
        self.assertEqual('allocated on np-rcc54 again', self.revert())
        self.assertEqual(5, self.generation)

    def test_one_that_is_there_already(self) -> None:
        self.held = TARGET
        self.assert_seen(State.AFTER, 'already there')

    def test_what_it_holds_otherwise_is_not_overwritten(self) -> None:
        for held in (
            {},
            {**SOURCE, **TARGET},
            {'p-source': {**HELD, 'VCPU': 2}},
            {'p-other': HELD},
        ):
            self.held = held
            self.assert_seen(State.NEITHER, str(held))
        self.held = SOURCE
        self.begin()
        self.held = {'p-other': HELD}
        self.assertRaises(Conflict, self.change.apply, self.begun)
        self.assertEqual({'p-other': HELD}, self.held)

    def test_somebody_between_look_and_write(self) -> None:
        self.begin()
        self.meanwhile = lambda: self.of_somebody({'p-other': HELD})
        self.assertRaises(ChangeFailed, self.change.apply, self.begun)
        self.assertEqual({'p-other': HELD}, self.held)

    def test_not_taken_back_from_where_somebody_put_it(self) -> None:
        self.apply()
        self.held = {'p-other': HELD}
        error = self.assertRaises(Conflict, self.revert)
        self.assertIn("'p-other'", str(error))
        self.assertEqual({'p-other': HELD}, self.held)

    def test_an_answer_that_was_lost(self) -> None:
        def lost(uuid: str, body: dict[str, Any]) -> None:
            self.put(uuid, body)
            raise OutcomeUnknown('502')

        self.cloud.placement.put_allocations.side_effect = lost
        self.assertRaises(OutcomeUnknown, self.apply)
        self.assert_seen(State.AFTER, again=True)


class TestOfAMigration(ChangeTestCase):
    """What it holds of its source; who holds nothing is forgotten."""

    def setUp(self) -> None:
        super().setUp()
        self.change = MoveAllocation()
        self.make_item(
            f'server:{UUID}',
            uuid='m',
            source='np-rcc46',
            seen=SOURCE,
            wanted={},
        )
        self.held: dict[str, Any] = SOURCE
        placement = self.cloud.placement
        placement.allocations.side_effect = self.allocations
        placement.put_allocations.side_effect = self.put

    def allocations(self, uuid: str) -> dict[str, Any]:
        self.assertEqual('m', uuid)
        known = bool(self.held)
        return {
            'allocations': copy.deepcopy(self.held),
            'project_id': 'p' if known else None,
            'user_id': 'u' if known else None,
            'consumer_generation': 3 if known else None,
        }

    def put(self, uuid: str, body: dict[str, Any]) -> None:
        self.assertEqual(('p', 'u'), (body['project_id'], body['user_id']))
        self.assertEqual(3 if self.held else None, body['consumer_generation'])
        self.held = body['allocations']

    def test_there_and_back(self) -> None:
        self.assertEqual('released on np-rcc46', self.apply())
        self.assertEqual({}, self.held)
        self.assert_seen(State.AFTER, again=True)
        self.assertEqual('allocated on np-rcc46 again', self.revert())
        self.assertEqual(SOURCE, self.held)
        self.assertIn('np-rcc46', self.revert())
        self.assertIn('MEMORY_MB 2048', self.change.describe(self.item)[0])

    def test_what_changed_since_the_plan(self) -> None:
        self.begin()
        self.held = TARGET
        self.assert_seen(State.NEITHER, 'p-target')
        self.assert_refused(
            Conflict, lambda: self.change.apply(self.begun), 'p-target'
        )
