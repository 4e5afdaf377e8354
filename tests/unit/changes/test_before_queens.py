# SPDX-License-Identifier: Apache-2.0

"""The guide's reset on old schemas: of each row that is as the plan saw it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from nova_recovery.changes.before_queens import CleanMappings, CleanVolumes
from nova_recovery.cloud.db import bulk, old_volumes
from nova_recovery.engine.change import State
from nova_recovery.exceptions import ChangeFailed, Conflict
from tests.unit.changes.case import ChangeTestCase, UUID

KEPT = ('id', 'status', 'attach_status')


class Old(ChangeTestCase):
    """Three volumes of one server; two of them are in the plan.

    :ivar ids: of the volumes
    """

    LAYOUT: str
    SERVER: Any = UUID
    MAPPED_BY = 'instance_uuid'

    def setUp(self) -> None:
        super().setUp()
        self.arrange()
        layout = old_volumes.of(self.cloud.databases)
        assert layout is not None
        self.assertEqual(self.LAYOUT, layout.name)
        self.layout = layout
        self.volumes = old_volumes.database(
            self.cloud.databases, layout, 'cell1'
        )
        self.ids = [self.add_volume(number) for number in (1, 2, 3)]

    def arrange(self) -> None:
        """What else is to be done before the layout is known."""

    def add_volume(self, number: int) -> Any:
        uuid = number if self.LAYOUT == 'L0' else f'v{number}'
        values: dict[str, Any] = {
            'id': uuid, 'status': 'in-use', 'attach_status': 'attached',
            'deleted': 0,
        }  # fmt: skip
        if self.layout.server:
            values |= {
                self.layout.server: self.SERVER,
                'mountpoint': '/dev/vdb',
                'attach_time': '2015-01-01 00:00:00',
            }
        self.volumes.add('volumes', **values)
        mapping = {
            'id': number, 'volume_id': uuid, 'deleted': 0,
            self.MAPPED_BY: self.SERVER,
        }  # fmt: skip
        self.add_mapping(**mapping)
        if self.layout.server is None:
            self.cinder.add(
                'volume_attachment', id=f'a{number}', volume_id=uuid,
                instance_uuid=UUID, attach_status='attached', deleted=0,
                mountpoint='/dev/vdb',
            )  # fmt: skip
        if self.layout.modes:
            self.cinder.add(
                'volume_admin_metadata', id=number, volume_id=uuid, deleted=0,
                key='attached_mode', value='rw',
            )  # fmt: skip
        return uuid

    def add_mapping(self, **values: Any) -> None:
        columns = self.cell['block_device_mapping'].c
        # what must not be NULL
        more = {
            column.name: '/dev/vdb'
            for column in columns
            if not column.nullable and column.name not in values
        }
        self.cell.add('block_device_mapping', **{**more, **values})

    def set_volume(self, uuid: Any, **values: Any) -> None:
        """By somebody else."""
        table = self.volumes['volumes']
        self.volumes.write(
            lambda c: c.execute(
                sa.update(table).where(table.c.id == uuid).values(values)
            )
        )

    def statuses(self) -> list[tuple[Any, ...]]:
        return [
            tuple(row.values()) for row in self.volumes.rows('volumes', *KEPT)
        ]

    def live_mappings(self) -> list[int]:
        return [
            row['id']
            for row in self.cell.rows('block_device_mapping')
            if not row['deleted']
        ]

    def read(self, selection: Any, ids: Any, column: str = 'id') -> str:
        """Rows as a plan has them."""
        with self.volumes.connect() as connection:
            found = bulk.rows(
                connection, selection, bulk.among(column, list(map(str, ids)))
            )
        return '\n'.join(found)


class Mappings:
    """nova's half."""

    def setUp(self: Any) -> None:
        super().setUp()  # type: ignore[misc]
        self.change = CleanMappings()
        first, second, _third = self.ids
        self.make_item(
            'volumes:1', layout=self.LAYOUT, cell='cell1',
            rows=f'1|{first}\n2|{second}',
        )  # fmt: skip

    def test_soft_deleted_and_brought_back(self: Any) -> None:
        before = self.everything()
        self.assertEqual('2 rows', self.apply())
        self.assertEqual([3], self.live_mappings())
        self.assert_seen(State.AFTER, '2 rows', again=True)
        self.assertEqual('2 rows as they were', self.revert())
        self.assertEqual(before, self.everything())
        self.assertEqual('0 rows as they were', self.revert())

    def test_one_that_was_not_carried_out(self: Any) -> None:
        self.begin()
        before = self.everything()
        self.assert_seen(State.BEFORE, again=True)
        self.revert()
        self.assertEqual(before, self.everything())

    def test_one_whose_volume_changed_stays_and_is_named(self: Any) -> None:
        self.set_volume(self.ids[1], status='available')
        told = self.apply()
        self.assertIn('1 rows; 1 changed since the plan', told)
        self.assertEqual([2, 3], self.live_mappings())
        self.assertEqual({'left': ['2']}, self.begun.notes)
        self.assert_seen(State.AFTER, '1 changed', again=True)
        self.revert()
        self.assertEqual([1, 2, 3], self.live_mappings())

    def test_one_that_nova_deleted_meanwhile(self: Any) -> None:
        self.begin()
        table = self.cell['block_device_mapping']
        self.cell.write(
            lambda c: c.execute(
                sa.update(table).where(table.c.id == 1).values(deleted=1)
            )
        )
        self.assertIn('left as they are: 1', self.change.apply(self.begun))
        # it wasn't ours, so it doesn't come back
        self.revert()
        self.assertEqual([2, 3], self.live_mappings())

    def test_all_that_changed(self: Any) -> None:
        for uuid in self.ids:
            self.set_volume(uuid, status='available')
        self.begin()
        self.assert_refused(
            Conflict,
            lambda: self.change.apply(self.begun),
            'nothing was written',
        )

    def test_one_that_was_attached_again_is_not_brought_back(
        self: Any,
    ) -> None:
        self.apply()
        self.add_mapping(
            id=9, volume_id=self.ids[0], deleted=0,
            **{self.MAPPED_BY: self.SERVER},
        )  # fmt: skip
        self.assertIn('1 changed since', self.revert())
        self.assertEqual([2, 3, 9], self.live_mappings())

    def test_one_that_cinder_gave_to_nobody(self: Any) -> None:
        self.apply()
        self.set_volume(self.ids[0], status='available')
        self.assertIn('left as they are: 1', self.revert())
        self.assertEqual([2, 3], self.live_mappings())

    def test_a_plan_for_another_schema(self: Any) -> None:
        self.item.data['layout'] = 'L9'
        self.assert_refused(ChangeFailed, self.look, 'layout L9')


class Volumes:
    """Cinder's half, when nova's is done."""

    def setUp(self: Any) -> None:
        super().setUp()  # type: ignore[misc]
        self.change = CleanVolumes()
        ids = self.ids[:2]
        m1 = self.layout.server is None
        attachments = ''
        if m1:
            attachments = self.read(old_volumes.ATTACHMENTS, ['a1', 'a2'])
        self.make_item(
            'volumes:1', layout=self.LAYOUT, cell='cell1',
            rows=self.read(self.layout.volumes('deleted = 0'), ids),
            mappings='1 2', attachments=attachments,
            modes='1 2' if self.layout.modes else '',
        )  # fmt: skip
        self.unmap(1, 2)

    def unmap(self: Any, *numbers: int) -> None:
        table = self.cell['block_device_mapping']
        self.cell.write(
            lambda c: c.execute(
                sa.update(table)
                .where(table.c.id.in_(numbers))
                .values(deleted=1)
            )
        )

    def clean(self: Any) -> list[Any]:
        """Which volumes are."""
        return [
            uuid
            for uuid, *status in self.statuses()
            if status == ['available', 'detached']
        ]

    def of_nobody(self: Any) -> list[Any]:
        """The volumes that nobody has any more, all their rows told."""
        if self.layout.server:
            rows = self.volumes.rows('volumes', 'id', *self.layout.cleared)
            return [
                r.pop('id') for r in rows if set(r.values()) == {r['id'], None}
            ]
        live = {
            row['volume_id']
            for row in self.cinder.rows('volume_attachment')
            if not row['deleted']
        }
        return [uuid for uuid in self.ids if uuid not in live]

    def test_cleaned_and_given_back(self: Any) -> None:
        before = self.everything()
        self.assertEqual('2 rows', self.apply())
        self.assertEqual(self.ids[:2], self.clean())
        self.assertEqual(self.ids[:2], self.of_nobody())
        if self.layout.modes:
            self.assertEqual(
                [1, 1, 0],
                [
                    row['deleted']
                    for row in self.cinder.rows('volume_admin_metadata')
                ],
            )
        self.assert_seen(State.AFTER, '2 rows', again=True)
        self.assertEqual('2 rows as they were', self.revert())
        self.assertEqual(before, self.everything())
        self.assertEqual('0 rows as they were', self.revert())

    def test_one_that_was_not_carried_out(self: Any) -> None:
        self.begin()
        before = self.everything()
        self.assert_seen(State.BEFORE, again=True)
        self.assertEqual('0 rows as they were', self.revert())
        self.assertEqual(before, self.everything())

    def test_one_that_changed_is_left_alone_and_named(self: Any) -> None:
        self.begin()
        self.set_volume(self.ids[0], status='error_deleting')
        told = self.change.apply(self.begun)
        self.assertIn(f'left as they are: {self.ids[0]}', told)
        self.assertEqual([self.ids[1]], self.clean())
        self.assert_seen(State.AFTER, '1 changed', again=True)
        self.assertEqual('1 rows as they were', self.revert())
        self.assertEqual([], self.clean())
        self.assertEqual('error_deleting', self.statuses()[0][1])

    def test_one_that_nova_still_maps_stays(self: Any) -> None:
        """A mapping of an available volume is worse than a stale one."""
        table = self.cell['block_device_mapping']
        self.cell.write(
            lambda c: c.execute(
                sa.update(table).where(table.c.id == 2).values(deleted=0)
            )
        )
        self.assertIn('1 changed since the plan', self.apply())
        self.assertEqual([self.ids[0]], self.clean())

    def test_all_that_changed(self: Any) -> None:
        self.begin()
        for uuid in self.ids:
            self.set_volume(uuid, status='error')
        self.assert_seen(State.NEITHER, 'changed since the plan', again=True)
        self.assert_refused(
            Conflict,
            lambda: self.change.apply(self.begun),
            'nothing was written',
        )

    def test_one_that_somebody_took_is_not_given_back(self: Any) -> None:
        self.apply()
        self.set_volume(self.ids[0], status='attaching')
        self.assertIn(f'left as they are: {self.ids[0]}', self.revert())
        self.assertEqual(
            ['attaching', 'in-use', 'in-use'],
            [status for _, status, _ in self.statuses()],
        )

    def test_a_plan_for_another_schema(self: Any) -> None:
        self.item.data['layout'] = 'L9'
        self.assert_refused(ChangeFailed, self.look, 'layout L9')


class Kilo:
    """Attachments are rows of their own."""

    NOVA, CINDER, LAYOUT = 'old-kilo-nova', 'old-kilo-cinder', 'M1'


class Juno:
    """A volume names its server."""

    NOVA, CINDER, LAYOUT = 'old-juno-nova', 'old-juno-cinder', 'L1'


class Essex:
    """The volumes are in nova."""

    NOVA, CINDER, LAYOUT = 'old-essex-nova', 'old-juno-cinder', 'L0'
    SERVER, MAPPED_BY = 7, 'instance_id'

    def arrange(self: Any) -> None:
        self.cloud.databases.cinder = None


class TestMappingsOfKilo(Kilo, Mappings, Old):
    pass


class TestMappingsOfJuno(Juno, Mappings, Old):
    pass


class TestMappingsOfEssex(Essex, Mappings, Old):
    pass


class TestVolumesOfKilo(Kilo, Volumes, Old):
    def attach(self, number: int) -> None:
        self.cinder.add(
            'volume_attachment', id='new', volume_id=f'v{number}', deleted=0,
            instance_uuid='another', attach_status='attaching',
        )  # fmt: skip

    def test_an_attachment_that_came_since_the_plan(self) -> None:
        self.begin()
        self.attach(1)
        self.assertIn('left as they are: v1', self.change.apply(self.begun))
        self.assertEqual(['v2'], self.clean())

    def test_one_that_was_attached_again_is_not_given_back(self) -> None:
        self.apply()
        self.attach(1)
        self.assertIn('left as they are: v1', self.revert())
        self.assertEqual(['v1'], self.clean())


class TestVolumesOfJuno(Juno, Volumes, Old):
    pass


class TestVolumesOfEssex(Essex, Volumes, Old):
    pass
