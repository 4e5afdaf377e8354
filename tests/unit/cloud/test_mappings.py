# SPDX-License-Identifier: Apache-2.0

"""Volumes that a reboot would make nova forget."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

from nova_recovery.cloud.db import mappings
from nova_recovery.cloud.db.mappings import Unheld
from nova_recovery.exceptions import ApiUnavailable, NotFound
from tests.base import TestCase
from tests.unit.changes.case import Cloud
from tests.unit.tables import Memory


class TestHeld(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.cell = self.memory(
            instances='id uuid compute_id',
            block_device_mapping='id deleted instance_uuid volume_id '
            'attachment_id',
        )
        self.cloud = mock.Mock()
        self.cloud.databases.cinder = None
        self.known = {'a1'}
        self.of: dict[str, str] = {}
        self.cloud.volume.attachment.side_effect = self.attachment
        for number, server, attachment in (
            (1, 'well', 'a1'),
            (2, 'bad', 'a2'),
            (3, 'old', None),
            (4, 'other', 'a4'),
        ):
            self.cell.add(
                'block_device_mapping',
                id=number,
                deleted=0,
                instance_uuid=server,
                volume_id=f'v{number}',
                attachment_id=attachment,
            )

    def memory(self, **columns: str) -> Memory:
        found = Memory(**columns)
        self.addCleanup(found.engine.dispose)
        return found

    def attachment(self, uuid: str) -> dict[str, Any]:
        if uuid not in self.known:
            raise NotFound(uuid)
        return {'id': uuid, 'instance': self.of.get(uuid)}

    def found(self) -> dict[str, Unheld]:
        return mappings.unheld(self.cloud, self.cell, ['well', 'bad', 'old'])

    def test_what_cinder_does_not_have_is_lost(self) -> None:
        self.assertEqual(
            {'bad': Unheld(lost=('v2',)), 'old': Unheld(unnamed=('v3',))},
            self.found(),
        )

    def test_a_cinder_that_does_not_answer_is_no_cinder_without_them(
        self,
    ) -> None:
        self.cloud.volume.attachment.side_effect = ApiUnavailable('refused')
        self.assertEqual(
            {
                'well': Unheld(unknown='refused'),
                'bad': Unheld(unknown='refused'),
                'old': Unheld(unnamed=('v3',)),
            },
            self.found(),
        )

    def test_one_of_another_server_is_foreign(self) -> None:
        self.of['a1'] = 'other'
        self.assertEqual(Unheld(foreign=('v1',)), self.found()['well'])
        self.of['a1'] = 'well'
        self.assertNotIn('well', self.found())

    def test_before_a_start_elsewhere_any_nova_is_asked(self) -> None:
        uuids = ['well', 'bad', 'old']
        found = mappings.unheld(self.cloud, self.cell, uuids, started=True)
        self.assertEqual(Unheld(lost=('v2',)), found['bad'])

    def test_what_became_of_what_is_not_held(self) -> None:
        cinder = self.memory(
            volumes='id deleted multiattach',
            volume_attachment='id deleted volume_id instance_uuid '
            'attach_status',
        )
        self.cloud.databases.cinder = cinder

        def found() -> dict[str, Unheld]:
            uuids = ['well', 'bad', 'old']
            return mappings.unheld(self.cloud, self.cell, uuids, started=True)

        cinder.add(
            'volume_attachment', id='a1', deleted=0, volume_id='v1',
            instance_uuid='well', attach_status='attached',
        )  # fmt: skip
        self.assertEqual(
            {
                'bad': Unheld(lost=('v2',), gone=('v2',)),
                'old': Unheld(unnamed=('v3',), gone=('v3',)),
            },
            found(),
        )
        for number in (2, 3):
            cinder.add('volumes', id=f'v{number}', deleted=0)
        # its own, left over: nova deletes what it names, and cinder lets it
        for number, user in ((5, 'bad'), (6, 'db')):
            cinder.add(
                'volume_attachment', id=f'a{number}', deleted=0,
                volume_id='v2', instance_uuid=user, attach_status='attached',
            )  # fmt: skip
        self.assertEqual(
            Unheld(lost=('v2',), taken=(('v2', 'db'),)), found()['bad']
        )
        cinder.set('volumes', multiattach=1)
        self.assertEqual(Unheld(lost=('v2',)), found()['bad'])

    def test_before_28_nova_forgets_nothing(self) -> None:
        self.cell = self.memory(instances='id uuid')
        self.assertEqual({}, self.found())


class TestEncrypted(TestCase):
    """Whose volumes need a key, by their connection data."""

    def setUp(self) -> None:
        super().setUp()
        self.cell: Any = Memory(
            block_device_mapping='id deleted instance_uuid volume_id '
            'connection_info'
        )
        self.addCleanup(self.cell.engine.dispose)
        for number, (server, secret, deleted) in enumerate(
            (
                ('web', True, 0),
                ('web', True, 0),
                ('web', False, 0),
                ('db', False, 0),
                ('db', True, 4),
                ('mail', True, 0),
                ('bare', None, 0),
            )
        ):
            info = {'driver_volume_type': 'rbd', 'data': {'encrypted': secret}}
            self.cell.add(
                'block_device_mapping',
                id=number,
                deleted=deleted,
                instance_uuid=server,
                volume_id=f'v{number}',
                connection_info=None
                if secret is None
                else json.dumps({**info, 'serial': f'v{number}'}),
            )

    def test_live_mappings_of_those_that_are_asked_for(self) -> None:
        self.assertEqual(
            {'web': ('v0', 'v1')},
            mappings.encrypted(self.cell, ['web', 'db', 'bare']),
        )

    def test_of_essex_nothing_is_known(self) -> None:
        old: Any = Memory(block_device_mapping='id deleted instance_id')
        self.addCleanup(old.engine.dispose)
        self.assertEqual({}, mappings.encrypted(old, ['web']))


class TestGone(TestCase):
    """Servers that were deleted, as they were then."""

    def test_where_it_was_and_whether_it_ran(self) -> None:
        cloud: Any = Cloud('nova34-nova', 'nova34-cinder')
        self.addCleanup(cloud.close)
        for number, (uuid, deleted) in enumerate((('web', 1), ('db', 0)), 1):
            cloud.cell.add(
                'instances', id=number, uuid=uuid, deleted=deleted,
                host='np-rcc4', power_state=1, vm_state='deleted', hidden=0,
            )  # fmt: skip
        found = mappings.of_cell(cloud.cell, ['v1'], ['web', 'db', 'x'])
        self.assertEqual({'db'}, set(found.servers))
        self.assertEqual(
            {'web': ('np-rcc4', 1)},
            {
                uuid: (one.host, one.power_state)
                for uuid, one in found.gone.items()
            },
        )
