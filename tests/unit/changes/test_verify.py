# SPDX-License-Identifier: Apache-2.0

"""A recovered server is looked at everywhere."""

from __future__ import annotations

import dataclasses
from typing import Any

from nova_recovery.changes.verify import VerifyServer
from nova_recovery.cloud.api.network import Port
from nova_recovery.engine.change import State
from nova_recovery.exceptions import ApiUnavailable, ChangeFailed, NotFound
from tests.unit.changes.case import ChangeTestCase, UUID, VOLUME

PORT = Port(
    id='port1', device_id=UUID, device_owner='compute:nova', host='np-rcc46',
    vnic_type='normal', vif_type='ovs', status='ACTIVE', profile={},
    addresses=('10.20.0.7',), has_resources=False,
)  # fmt: skip


class TestVerify(ChangeTestCase):
    """One that was moved to np-rcc46 and runs there."""

    def setUp(self) -> None:
        super().setUp()
        self.change = VerifyServer()
        self.add_server(host='np-rcc46', node='np-rcc46.example.org')
        self.cell.add(
            'block_device_mapping', id=1, instance_uuid=UUID, deleted=0,
            volume_id=VOLUME, attachment_id='new',
            connection_info='{"driver_volume_type": "iscsi"}',
        )  # fmt: skip
        self.make_item(
            f'server:{UUID}', cell='cell1', uuid=UUID, source='np-rcc54',
            target='np-rcc46', running=True, node='np-rcc46.example.org',
            provider='p-target', source_provider='p-source', volumes=[VOLUME],
        )  # fmt: skip
        self.runs = True
        self.held: dict[str, Any] = {'p-target': {'VCPU': 1}}
        self.port = PORT
        self.attached = ['new']
        self.cloud.compute.runs.side_effect = lambda uuid: self.runs
        self.cloud.placement.allocations.side_effect = lambda uuid: {
            'allocations': self.held
        }
        # a card is below its node; a node that was made anew left another
        self.cloud.placement.providers.return_value = {
            'p-target': ('p-target', 'np-rcc46'),
            'p-node': ('p-node', 'np-rcc47'),
            'p-card': ('p-node', 'np-rcc47'),
            'p-gone': ('p-gone', 'np-rcc46'),
        }
        self.cell.add(
            'compute_nodes', id=1, uuid='p-node', host='np-rcc47', deleted=0,
            vcpus=1, memory_mb=1, local_gb=1, vcpus_used=0, memory_mb_used=0,
            local_gb_used=0, hypervisor_type='QEMU', hypervisor_version=1,
            cpu_info='', hypervisor_hostname='np-rcc47',
        )  # fmt: skip
        self.cloud.network.ports.side_effect = lambda uuid: [self.port]
        self.cloud.volume.attachments.side_effect = lambda volume: [
            {'id': one, 'instance': UUID} for one in self.attached
        ]

    def set_mapping(self, **values: Any) -> None:
        self.cell.set('block_device_mapping', **values)

    def assert_wrong(self, *told: str) -> None:
        """Exactly this is wrong."""
        self.begin()
        error = self.assertRaises(ChangeFailed, self.change.apply, self.begun)
        self.assertEqual('; '.join(told), str(error))

    def test_all_is_well(self) -> None:
        before = self.everything()
        self.assertEqual('running on np-rcc46', self.apply())
        self.assert_seen(State.BEFORE, again=True)
        self.assertEqual('nothing was changed', self.revert())
        self.assertEqual(before, self.everything())

    def test_one_that_stays_off_needs_no_guest(self) -> None:
        self.item.data['running'] = False
        self.runs = False
        self.set_server(vm_state='stopped')
        self.set_mapping(connection_info=None)
        self.assertEqual('stopped on np-rcc46', self.apply())

    def test_its_row(self) -> None:
        self.set_server(vm_state='error')
        self.assert_wrong('the server is error, not active')
        self.set_server(vm_state='active', host='np-rcc54')
        self.assert_wrong('the server is on np-rcc54, not np-rcc46')
        self.set_server(host='np-rcc46', node='np-rcc46')
        self.assert_wrong('its node is np-rcc46, not np-rcc46.example.org')

    def test_its_guest(self) -> None:
        self.runs = False
        self.assert_wrong(
            'the hypervisor of np-rcc46 does not have it running'
        )

    def test_its_allocation(self) -> None:
        self.held = {'p-source': {'VCPU': 1}}
        self.assert_wrong('placement has no allocation for it on np-rcc46')
        self.held = {'p-target': {}, 'p-card': {}, 'p-gone': {}}
        self.assert_wrong('placement has allocations on np-rcc47')

    def test_the_sources_allocation_is_there_until_it_returns(self) -> None:
        self.held['p-source'] = {'VCPU': 1}
        self.assertEqual('running on np-rcc46', self.apply())

    def test_its_ports(self) -> None:
        for values, told in (
            ({'host': 'np-rcc54'}, 'bound to np-rcc54'),
            ({'host': ''}, 'bound to no host'),
            ({'vif_type': 'binding_failed'}, 'binding_failed'),
            ({'vif_type': 'unbound'}, 'unbound'),
        ):
            self.port = dataclasses.replace(PORT, **values)
            self.assert_wrong(f'port port1 is {told}')

    def test_a_volume_from_before_queens(self) -> None:
        """Nova names no attachment, and evacuates it as it was."""
        self.set_mapping(attachment_id=None)
        self.assertEqual('running on np-rcc46', self.apply())
        self.attached = []
        self.assert_wrong(f'cinder has no attachment None of volume {VOLUME}')

    def test_its_volumes(self) -> None:
        self.set_mapping(connection_info=None)
        self.assert_wrong(f'nova has no connection data for volume {VOLUME}')
        self.attached = []
        self.assert_wrong(f'cinder has no attachment new of volume {VOLUME}')
        self.set_mapping(deleted=1)
        self.assert_wrong(f'nova has lost its mapping of volume {VOLUME}')

    def test_all_that_is_wrong_is_told_at_once(self) -> None:
        self.runs = False
        self.attached = []
        self.assert_wrong(
            'the hypervisor of np-rcc46 does not have it running',
            f'cinder has no attachment new of volume {VOLUME}',
        )

    def test_who_does_not_answer_makes_no_difference_of_it(self) -> None:
        """It is not known to be wrong: the run says that it can't look."""
        self.cloud.network.ports.side_effect = ApiUnavailable('neutron')
        self.begin()
        self.assertRaises(ApiUnavailable, self.change.apply, self.begun)
        self.set_server(deleted=1)
        self.assertRaises(NotFound, self.change.apply, self.begun)
