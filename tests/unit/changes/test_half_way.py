# SPDX-License-Identifier: Apache-2.0

"""Changes of several requests that stop between two of them."""

from __future__ import annotations

from typing import Any
from unittest import mock

from nova_recovery.changes import volume_exchange
from nova_recovery.changes.volume_attach import DropAttachment
from nova_recovery.changes.volume_exchange import (
    ReconnectVolume,
    RecreateAttachment,
)
from nova_recovery.engine.change import Observed, State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import (
    ApiUnavailable,
    Conflict,
    NotFound,
    NotRevertible,
    OutcomeUnknown,
)
from tests.base import TestCase
from tests.unit.at import at


def item(kind: str, **data: Any) -> Item:
    return Item(kind, kind, 'server:u1', 'web', {'uuid': 'u1', **data})


def park(test: TestCase) -> dict[str, Any]:
    """The row of a server that was moved and not started."""
    row = {'host': 'np-rcc46', 'vm_state': 'stopped', 'task_state': None}
    patch = mock.patch(
        'nova_recovery.changes.cell.server_row', lambda *args: row
    )
    patch.start()
    test.addCleanup(patch.stop)
    return row


class VolumesTest(TestCase):
    """What nova and cinder have of one volume, in two dictionaries."""

    def setUp(self) -> None:
        super().setUp()
        self.mapping: dict[str, Any] = {
            'attachment_id': 'old',
            'connection_info': '{}',
        }
        self.attached = {'old': 'attached'}
        self.cloud = mock.Mock()
        self.volume = self.cloud.volume
        self.volume.attachments.side_effect = lambda volume: [
            {'id': one, 'instance': 'u1'} for one in self.attached
        ]
        self.volume.create_attachment.side_effect = self.create
        self.volume.delete_attachment.side_effect = self.attached.pop
        self.volume.attachment.side_effect = self.show
        for target, answer in (
            ('nova_recovery.changes.volume_rows.update_mapping', self.write),
            (
                'nova_recovery.changes.volume_rows.mapping',
                lambda *args: self.mapping,
            ),
            ('nova_recovery.changes.volume_rows.volume', self.of_cinder),
        ):
            patch = mock.patch(target, answer)
            patch.start()
            self.addCleanup(patch.stop)

    def create(self, *args: Any) -> str:
        self.attached['new'] = 'reserved'
        return 'new'

    def show(self, uuid: str) -> dict[str, Any]:
        if uuid not in self.attached:
            raise NotFound(uuid)
        return {'status': self.attached[uuid]}

    def write(self, at: Any, seen: Any, values: Any) -> None:
        if self.mapping['attachment_id'] != seen['attachment_id']:
            raise Conflict('the mapping is another by now')
        self.mapping.update(values)

    def of_cinder(self, *args: Any) -> Any:
        return mock.Mock(
            attachments=[
                mock.Mock(id=one, server='u1', status=status)
                for one, status in self.attached.items()
            ]
        )


class TestVolumes(VolumesTest):
    """What is left of volumes that are half connected."""

    def test_a_guest_that_somebody_started_keeps_its_volume(self) -> None:
        server = park(self)
        self.attached = {'new': 'attached'}
        self.mapping['attachment_id'] = 'new'
        wanted = item(
            'reconnect-volume', volume='v1', mapping=1, attachment='old',
            device='/dev/vdb', mode='rw', source='np-rcc54',
            source_connector={'host': 'np-rcc54'},
        )  # fmt: skip
        patch = mock.patch.object(
            volume_exchange, '_connected', return_value=False
        )
        patch.start()
        self.addCleanup(patch.stop)
        server['vm_state'] = 'active'
        self.assertRaises(
            Conflict,
            ReconnectVolume().revert,
            at(wanted, self.cloud, {'known': []}),
        )
        self.assertEqual(['new'], list(self.attached))

    def test_a_conflict_in_the_middle_is_no_no(self) -> None:
        wanted = item(
            'reconnect-volume', volume='v1', mapping=1, attachment='old',
            device='/dev/vdb', mode='rw', connector={'host': 'np-rcc46'},
        )  # fmt: skip

        def connect(*args: Any) -> dict[str, Any]:
            # somebody replaces nova's mapping meanwhile
            self.mapping = {'attachment_id': 'other', 'connection_info': '{}'}
            return {'driver_volume_type': 'iscsi'}

        self.volume.connect_attachment.side_effect = connect
        self.assertRaises(
            OutcomeUnknown,
            ReconnectVolume().apply,
            at(wanted, self.cloud, {'known': []}),
        )
        # for the old one is gone
        self.assertNotIn('old', self.attached)

    def test_an_attachment_that_nova_did_not_name_yet_is_dropped(self) -> None:
        self.create()
        wanted = item(
            'recreate-attachment', volume='v1', mapping=1, attachment='old',
            remove=['old'],
        )  # fmt: skip
        way_back = RecreateAttachment()
        begun = at(wanted, self.cloud, {})
        way_back.revert(begun)
        self.assertEqual(['old'], list(self.attached))
        self.mapping['attachment_id'] = 'new'
        self.assertRaises(NotRevertible, way_back.revert, begun)

    def test_an_attachment_that_is_still_there_was_not_dropped(self) -> None:
        wanted = item('drop-attachment', volume='v1', attachment='old')
        way_back = DropAttachment()
        begun = at(wanted, self.cloud, {})
        way_back.revert(begun)
        del self.attached['old']
        self.assertRaises(NotRevertible, way_back.revert, begun)


class TestGuest(VolumesTest):
    """A guest that was off when the plan was made, and may run by now."""

    def setUp(self) -> None:
        super().setUp()
        self.server = park(self)
        self.compute = self.cloud.compute
        self.compute.service.return_value = {'state': 'up'}
        self.compute.runs.return_value = True
        self.host: str | None = 'np-rcc46'
        self.drop = item(
            'drop-attachment', volume='v1', attachment='old', cell='cell1',
            seen='attached',
        )  # fmt: skip
        self.anew = item(
            'recreate-attachment', volume='v1', mapping=1, attachment='old',
            remove=['old'], cell='cell1',
        )  # fmt: skip

    def of_cinder(self, *args: Any) -> Any:
        found = super().of_cinder(*args)
        for one in found.attachments:
            one.host = self.host
        return found

    def both(self, image: dict[str, Any] | None = None) -> list[Observed]:
        return [
            DropAttachment().observe(at(self.drop, self.cloud, image)),
            RecreateAttachment().observe(at(self.anew, self.cloud, image)),
        ]

    def assert_state(self, state: State) -> None:
        for image in (None, {}):
            for seen in self.both(image):
                self.assertIs(state, seen.state, seen.detail)

    def test_it_runs(self) -> None:
        self.assert_state(State.NEITHER)
        self.assertIn('runs on np-rcc46 by now', self.both()[0].detail)

    def test_it_is_off(self) -> None:
        self.compute.runs.return_value = False
        self.assert_state(State.BEFORE)

    def test_compute_that_is_up_and_does_not_answer(self) -> None:
        self.compute.runs.side_effect = ApiUnavailable('nova', 'timeout')
        self.assert_state(State.UNKNOWN)

    def test_host_that_is_down_is_not_asked(self) -> None:
        """It has no power yet, as the gate of the plan knew."""
        for service in ({'state': 'down'}, {'state': 'up', 'forced_down': 1}):
            self.compute.service.return_value = service
            self.assert_state(State.BEFORE)
        self.compute.runs.assert_not_called()

    def test_server_that_is_on_no_host_or_gone(self) -> None:
        self.server['host'] = None
        self.assert_state(State.BEFORE)
        patch = mock.patch(
            'nova_recovery.changes.cell.server_row',
            mock.Mock(side_effect=NotFound('server u1')),
        )
        patch.start()
        self.addCleanup(patch.stop)
        self.assert_state(State.BEFORE)

    def test_what_no_guest_of_its_host_uses(self) -> None:
        self.attached['old'] = 'reserved'
        self.drop.data['seen'] = 'reserved'
        self.assert_state(State.BEFORE)
        # a migration that failed left it on another host
        self.attached['old'] = self.drop.data['seen'] = 'attached'
        self.host = 'np-rcc54'
        self.assertIs(State.BEFORE, self.both()[0].state)

    def test_server_that_was_gone_when_it_was_planned(self) -> None:
        self.drop.data['cell'] = None
        self.assertIs(State.BEFORE, self.both()[0].state)
