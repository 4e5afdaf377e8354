# SPDX-License-Identifier: Apache-2.0
"""The record of what belongs together, as a change."""

from __future__ import annotations

import hashlib
import pathlib
import types
from typing import Any

import fixtures

from nova_recovery.changes.relations import RecordRelations, TakeSnapshot
from nova_recovery.engine.change import At, State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed
from tests.base import TestCase
from tests.unit.at import at
from tests.unit.snapshot import files

ITEM = Item(
    'record-relations:disaster',
    'record-relations',
    'record:relations',
    'the cloud as it is now',
    {'cells': ['cell1'], 'wanted': [files.WEB], 'marks': {'cell1': 7}},
)


class RecordRelationsTest(TestCase):
    """Where a snapshot of the practice cloud would be taken.

    :ivar unknown: sections that can't be read
    :ivar taken: how often one was taken
    """

    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.unknown: list[str] = []
        self.taken = 0
        self.notes: dict[str, Any] = {}
        self.change = RecordRelations()
        conf = types.SimpleNamespace(
            snapshot=types.SimpleNamespace(directory=str(self.folder / 's'))
        )
        self.cloud = types.SimpleNamespace(conf=conf)
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.snapshot.taking.take', self.take
            )
        )

    def take(self, cloud: Any, request: Any, progress: Any) -> str:
        self.taken += 1
        known = ('servers', 'devices', 'volumes', 'attachments')
        rows: dict[str, list[dict[str, Any]]] = {
            name: [] for name in known if name not in self.unknown
        }
        if 'devices' in rows:
            rows['devices'].append(
                {
                    'server': files.WEB,
                    'volume': files.VOLUME,
                    'device_name': '/dev/vdb',
                }
            )
        return files.write(request.path, rows, unknown=self.unknown)

    def observed(self) -> State:
        return self.change.observe(self.at()).state

    def at(self) -> At[Any]:
        image: dict[str, Any] | None = {} if self.notes else None
        return at(ITEM, self.cloud, image, self.notes)

    def test_a_snapshot_and_its_map_beside_it(self) -> None:
        self.assertIs(State.BEFORE, self.observed())
        self.change.apply(self.at())
        snapshot = self.folder / 's' / 'disaster-1a2b3c4d.snapshot'
        map_file = self.folder / 's' / 'disaster-1a2b3c4d.map'
        self.assertEqual(str(snapshot), self.notes['snapshot'])
        self.assertEqual(
            f'{files.VOLUME} {files.WEB} /dev/vdb\n', map_file.read_text()
        )
        self.assertEqual(
            hashlib.sha256(map_file.read_bytes()).hexdigest(),
            self.notes['map_sha256'],
        )
        self.assertEqual(0o600, map_file.stat().st_mode & 0o777)
        self.assertIs(State.AFTER, self.observed())

    def test_a_run_that_was_killed_takes_no_second_one(self) -> None:
        self.change.apply(self.at())
        self.change.apply(self.at())
        self.assertEqual(1, self.taken)

    def test_a_record_that_is_gone_is_made_again(self) -> None:
        self.change.apply(self.at())
        pathlib.Path(self.notes['map']).unlink()
        self.assertIs(State.BEFORE, self.observed())

    def test_a_record_with_a_hole_is_none(self) -> None:
        self.unknown = ['devices']
        error = self.assertRaises(ChangeFailed, self.change.apply, self.at())
        self.assertIn('devices of cell:cell1', str(error))
        self.assertEqual({}, self.notes)
        self.unknown = []
        self.change.apply(self.at())
        self.assertEqual(2, self.taken)

    def test_the_record_stays_when_the_rest_is_taken_back(self) -> None:
        self.change.apply(self.at())
        self.change.revert(self.at())
        self.assertTrue(pathlib.Path(self.notes['snapshot']).exists())

    def test_a_snapshot_for_a_drill_that_has_a_hole_is_none(self) -> None:
        """Killed before it was looked through."""
        self.change = TakeSnapshot()
        self.unknown = ['devices']
        where = at(ITEM, self.cloud, {}, {})
        (self.folder / 's').mkdir()
        path = str(self.folder / 's' / 'drill-1a2b3c4d.snapshot')
        self.take(self.cloud, types.SimpleNamespace(path=path), None)
        self.assertIs(State.BEFORE, self.change.observe(where).state)
        self.unknown = []
        self.assertEqual(path, self.change.apply(where))
        self.assertEqual(2, self.taken)
        self.assertIs(State.AFTER, self.change.observe(where).state)
