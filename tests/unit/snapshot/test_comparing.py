# SPDX-License-Identifier: Apache-2.0

"""What is different between two snapshots."""

from __future__ import annotations

import pathlib
from typing import Any

import fixtures

from nova_recovery.snapshot import comparing
from nova_recovery.snapshot.comparing import Difference
from nova_recovery.snapshot.reading import Snapshot
from tests.base import TestCase
from tests.unit.snapshot import files
from tests.unit.snapshot.files import Rows


class TestDifferences(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)

    def compare(
        self, before: Rows, after: Rows, **more: Any
    ) -> list[Difference]:
        paths = [
            files.write(str(self.folder / 'a'), before),
            files.write(str(self.folder / 'b'), after, **more),
        ]
        with Snapshot(paths[0]) as one, Snapshot(paths[1]) as other:
            return list(comparing.differences(one, other))

    def server(self, **values: Any) -> dict[str, Any]:
        return {
            'uuid': files.WEB,
            'name': 'web',
            'host': 'np-rcc4',
            'node': 'np-rcc4',
            'vm_state': 'active',
            'power_state': 1,
            **values,
        }

    def test_nothing_is_different(self) -> None:
        same = {'servers': [self.server()], 'tags': []}
        self.assertEqual([], self.compare(same, same))

    def test_a_server_that_moved_and_stopped(self) -> None:
        moved, stopped = self.compare(
            {'servers': [self.server()]},
            {
                'servers': [
                    self.server(host='np-rcc46', node=None, power_state=4)
                ]
            },
        )
        self.assertEqual(
            Difference(
                code='server-moved',
                section='servers',
                source='cell:cell1',
                subject=files.WEB,
                name='web',
                before='host np-rcc4, node np-rcc4',
                after='host np-rcc46, node -',
            ),
            moved,
        )
        self.assertEqual(
            ('server-state', 'power_state 1', 'power_state 4'),
            (stopped.code, stopped.before, stopped.after),
        )

    def test_gone_and_new(self) -> None:
        gone, new = self.compare(
            {'servers': [self.server()]},
            {'servers': [self.server(uuid=files.DATABASE, name='db')]},
        )
        self.assertEqual(
            ('server-gone', files.WEB, 'web', ''),
            (gone.code, gone.subject, gone.name, gone.after),
        )
        self.assertEqual(
            ('server-new', files.DATABASE, ''),
            (new.code, new.subject, new.before),
        )

    def test_a_section_that_was_not_read_has_nothing_gone(self) -> None:
        (unknown,) = self.compare(
            {'servers': [self.server()]}, {}, unknown=['servers']
        )
        self.assertEqual(
            ('unknown', 'cell:cell1', 'unknown: it was down'),
            (unknown.code, unknown.subject, unknown.after),
        )

    def test_a_source_that_is_in_one_only_is_unknown(self) -> None:
        found = self.compare(
            {'servers': [self.server()]},
            {'servers': [self.server()]},
            source='cell:cell2',
        )
        self.assertEqual({'unknown'}, {one.code for one in found})

    def test_a_volume_attached_again_is_the_same_device(self) -> None:
        device = {'server': files.WEB, 'disk': files.VOLUME, 'tag': 'data'}
        found = self.compare(
            {'devices': [{**device, 'id': 1, 'device_name': '/dev/vdb'}]},
            {'devices': [{**device, 'id': 9, 'device_name': '/dev/vdb'}]},
        )
        self.assertEqual([], found)
        (changed,) = self.compare_again(
            {'devices': [{**device, 'device_name': '/dev/vdb'}]},
            {'devices': [{**device, 'device_name': '/dev/vdc'}]},
        )
        self.assertEqual('device-changed', changed.code)

    def compare_again(self, before: Rows, after: Rows) -> list[Difference]:
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        return self.compare(before, after)

    def test_of_rules_only_the_lines_that_changed(self) -> None:
        (rules,) = self.compare(
            {'rules': [{'tool': 'iptables', 'text': '*filter\n-A a\nCOMMIT'}]},
            {'rules': [{'tool': 'iptables', 'text': '*filter\nCOMMIT'}]},
        )
        self.assertEqual(
            ('rules-changed', '-A a', ''),
            (rules.code, rules.before, rules.after),
        )
