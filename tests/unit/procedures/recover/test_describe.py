# SPDX-License-Identifier: Apache-2.0

"""From nova's rows to what a recovery decides on."""

from __future__ import annotations

from typing import Any

from nova_recovery.cloud.api import network
from nova_recovery.cloud.records import BlockDevice, ServerFacts
from nova_recovery.procedures.recover import read, situation
from nova_recovery.procedures.recover.situation import Server, Volume
from tests.base import TestCase
from tests.unit.procedures import rows


def described(facts: ServerFacts | None = None, **others: Any) -> Server:
    """The server of these facts; nothing else is known of it."""
    usual: dict[str, Any] = {
        'connectors': {},
        'group': None,
        'allocations': None,
        'ports': None,
    }
    return read.of_facts(facts or rows.facts(), **{**usual, **others})


def topology(*cells: dict[str, Any]) -> dict[str, Any]:
    """``instance_extra.numa_topology`` as nova writes it."""
    return {
        'nova_object.name': 'InstanceNUMATopology',
        'nova_object.data': {
            'cells': [
                {
                    'nova_object.name': 'InstanceNUMACell',
                    'nova_object.data': {'id': number, **cell},
                }
                for number, cell in enumerate(cells)
            ]
        },
    }


class SpecialTest(TestCase):
    """What binds a server to its host."""

    def special(self, **facts: Any) -> tuple[str, ...]:
        return described(rows.facts(**facts)).special

    def numa(self, *cells: dict[str, Any]) -> tuple[str, ...]:
        return self.special(extra={'numa_topology': topology(*cells)})

    def test_nothing_special(self) -> None:
        empty = {
            'numa_topology': None,
            'pci_requests': [],
            'resources': None,
            'migration_context': None,
        }
        for extra in ({}, empty):
            self.assertEqual((), self.special(extra=extra))

    def test_one_numa_cell_without_pins_may_move(self) -> None:
        self.assertEqual(
            (),
            self.numa(
                {'cpuset': [0, 1], 'cpu_pinning_raw': None, 'pagesize': None}
            ),
        )

    def test_pinned_cpus(self) -> None:
        for cell in (
            {'cpu_pinning_raw': {'0': 4, '1': 5}},
            {'cpu_policy': 'dedicated', 'cpu_pinning_raw': None},
            {'cpu_policy': 'mixed'},
            {'cpuset': [], 'pcpuset': [0, 1]},
        ):
            self.assertEqual(('it has pinned CPUs',), self.numa(cell))

    def test_pins_in_the_second_cell(self) -> None:
        self.assertEqual(
            ('it has pinned CPUs',), self.numa({}, {'pcpuset': [0]})
        )

    def test_shared_cpus_on_two_cells(self) -> None:
        self.assertEqual(('it has a NUMA topology',), self.numa({}, {}))

    def test_large_pages(self) -> None:
        self.assertEqual(
            ('it has a NUMA topology',), self.numa({'pagesize': 2048})
        )

    def test_a_topology_of_before_nova_had_objects(self) -> None:
        for cells, words in (
            ([{'id': 0, 'cpuset': '0-1'}], ()),
            ([{'id': 0}, {'id': 1}], ('it has a NUMA topology',)),
        ):
            extra = {'numa_topology': {'cells': cells}}
            self.assertEqual(words, self.special(extra=extra))

    def test_devices(self) -> None:
        for words, facts in (
            (
                'it has PCI devices',
                {'extra': {'pci_requests': [{'count': 1}]}},
            ),
            (
                'it has persistent memory',
                {'extra': {'resources': {'nova_object.data': {}}}},
            ),
            (
                'a migration of it was not finished',
                {'extra': {'migration_context': {'nova_object.data': {}}}},
            ),
            ('it has a virtual GPU', {'specs': {'resources:VGPU': '1'}}),
            ('it has a virtual GPU', {'specs': {'resources1:VGPU': '1'}}),
            (
                'it has an accelerator',
                {'specs': {'accel:device_profile': 'fpga'}},
            ),
            (
                'its memory is encrypted',
                {'specs': {'hw:mem_encryption': 'True'}},
            ),
            (
                'its memory is encrypted',
                {'image': {'hw_mem_encryption': 'true'}},
            ),
            (
                'it is hidden: a cross-cell resize was not finished',
                {'own': rows.server(hidden=True)},
            ),
        ):
            self.assertEqual((words,), self.special(**facts))

    def test_memory_that_is_said_not_to_be_encrypted(self) -> None:
        self.assertEqual(
            (), self.special(specs={'hw:mem_encryption': 'false'})
        )

    def test_a_flavor_that_nobody_kept(self) -> None:
        self.assertEqual((), described(rows.facts(flavor=None)).special)

    def test_virtual_tpm(self) -> None:
        self.assertFalse(described().vtpm)
        for facts in (
            rows.facts(specs={'hw:tpm_version': '2.0'}),
            rows.facts(image={'hw_tpm_version': '2.0'}),
        ):
            self.assertTrue(described(facts).vtpm)


class DiskTest(TestCase):
    """Whether it has files of its own below instances_path."""

    def local(self, *devices: BlockDevice, **row: Any) -> tuple[bool, bool]:
        found = described(rows.facts(rows.server(row=row), devices=devices))
        return found.local_disk, found.config_drive

    def test_it_boots_from_a_volume(self) -> None:
        self.assertEqual((False, False), self.local(rows.device(0)))
        self.assertEqual(
            (False, False), self.local(rows.device(0), rows.device(1))
        )

    def test_it_boots_from_an_image(self) -> None:
        for devices in (
            (rows.image_disk(),),
            (rows.image_disk(), rows.device(1)),
        ):
            self.assertEqual((True, False), self.local(*devices))

    def test_a_server_without_mappings_has_its_disk_there(self) -> None:
        # So it was before nova mapped the disk of an image.
        self.assertEqual((True, False), self.local())
        self.assertEqual((True, False), self.local(rows.device(1)))

    def test_an_ephemeral_or_swap_disk_beside_a_volume(self) -> None:
        blank = rows.image_disk(1, source_type='blank', boot_index=-1)
        self.assertEqual((True, False), self.local(rows.device(0), blank))

    def test_a_kernel_of_its_own(self) -> None:
        for name in ('kernel_id', 'ramdisk_id'):
            self.assertEqual(
                (True, False), self.local(rows.device(0), **{name: 'image'})
            )
            self.assertEqual(
                (False, False), self.local(rows.device(0), **{name: ''})
            )

    def test_a_config_drive_is_told_apart(self) -> None:
        self.assertEqual(
            (False, True), self.local(rows.device(0), config_drive='True')
        )
        self.assertEqual(
            (False, False), self.local(rows.device(0), config_drive='')
        )


class VolumeTest(TestCase):
    def volume(self, device: BlockDevice, **connectors: Any) -> Volume:
        facts = rows.facts(devices=(device,))
        (found,) = described(facts, connectors=connectors).volumes
        return found

    def test_a_volume_with_its_attachment(self) -> None:
        found = self.volume(
            rows.device(
                0,
                connection_info={
                    'driver_volume_type': 'iscsi',
                    'data': {'target_lun': 1, 'auth_password': 'secret'},
                },
            ),
            **{'attachment-0': {'mode': 'ro', 'connector': {'host': 'x'}}},
        )
        self.assertEqual(
            Volume(
                id='volume-0',
                mapping=0,
                device='/dev/vda',
                root=True,
                attachment='attachment-0',
                protocol='iscsi',
                mode='ro',
                source_connector={'host': 'x'},
            ),
            found,
        )

    def test_what_the_connection_data_hold_goes_no_further(self) -> None:
        device = rows.device(
            0, connection_info={'data': {'auth_password': 'chap'}}
        )
        self.assertNotIn('chap', repr(self.volume(device)))

    def test_encrypted(self) -> None:
        for encrypted in (True, False):
            device = rows.device(
                0, connection_info={'data': {'encrypted': encrypted}}
            )
            self.assertEqual(encrypted, self.volume(device).encrypted)

    def test_never_connected(self) -> None:
        for info in (None, {}, {'data': None}):
            device = rows.device(0, connection_info=info)
            self.assertIsNone(self.volume(device).protocol)
            self.assertFalse(self.volume(device).encrypted)

    def test_attached_before_queens(self) -> None:
        device = rows.device(0, attachment_id=None)
        self.assertIsNone(self.volume(device).attachment)

    def test_disks_that_are_no_volumes(self) -> None:
        facts = rows.facts(devices=(rows.image_disk(),))
        self.assertEqual((), described(facts).volumes)


class MigrationTest(TestCase):
    def test_a_resize_that_waits_to_be_confirmed_is_open(self) -> None:
        found = described(
            rows.facts(
                migrations=(
                    rows.migration(
                        1, status='finished', migration_type='resize'
                    ),
                )
            )
        )
        self.assertEqual(
            ('its resize np-rcc46 -> np-rcc54 is finished',),
            found.open_migrations,
        )
        self.assertEqual({}, found.armed)

    def test_those_that_are_over_are_not(self) -> None:
        for status in (
            'confirmed',
            'reverted',
            'error',
            'failed',
            'completed',
            'cancelled',
            'done',
        ):
            found = described(
                rows.facts(migrations=(rows.migration(1, status=status),))
            )
            self.assertEqual((), found.open_migrations)

    def test_the_others_are(self) -> None:
        for status in ('accepted', 'pre-migrating', 'running', 'preparing'):
            found = described(
                rows.facts(migrations=(rows.migration(1, status=status),))
            )
            self.assertEqual(1, len(found.open_migrations))

    def test_a_deleted_one_is_not_open_but_destroys_all_the_same(self) -> None:
        found = described(
            rows.facts(
                migrations=(
                    rows.migration(1, deleted=True, status='accepted'),
                )
            )
        )
        self.assertEqual((), found.open_migrations)
        self.assertEqual(
            {'np-rcc46': [{'id': 1, 'status': 'accepted'}]}, found.armed
        )

    def test_each_host_with_its_evacuations(self) -> None:
        found = described(
            rows.facts(
                migrations=(
                    rows.migration(1),
                    rows.migration(2, source_compute='np-rcc47'),
                    rows.migration(3, status='pre-migrating', deleted=True),
                    rows.migration(4, status='completed'),
                    rows.migration(5, migration_type='live-migration'),
                )
            )
        )
        self.assertEqual(
            {
                'np-rcc46': [
                    {'id': 1, 'status': 'done'},
                    {'id': 3, 'status': 'pre-migrating'},
                ],
                'np-rcc47': [{'id': 2, 'status': 'done'}],
            },
            found.armed,
        )


class RestTest(TestCase):
    def test_unknown_is_not_empty(self) -> None:
        self.assertIsNone(described().ports)
        self.assertIsNone(described().allocations)
        self.assertEqual((), described(ports=[]).ports)
        self.assertEqual({}, described(allocations={}).allocations)

    def test_a_port(self) -> None:
        port = network.Port(
            id='port-1',
            device_id=rows.UUID,
            device_owner='compute:nova',
            host='np-rcc54',
            vnic_type='direct',
            vif_type='ovs',
            status='ACTIVE',
            profile={},
            addresses=('10.0.0.1', 'fd00::1'),
            has_resources=True,
        )
        self.assertEqual(
            (
                situation.Port(
                    id='port-1',
                    address='10.0.0.1, fd00::1',
                    host='np-rcc54',
                    vnic_type='direct',
                    has_resources=True,
                ),
            ),
            described(ports=[port]).ports,
        )

    def test_the_zone_that_it_was_asked_for(self) -> None:
        self.assertIsNone(described().pinned_zone)
        for spec, zone in (
            ({'availability_zone': 'rack1'}, 'rack1'),
            ({'availability_zone': None}, None),
            ({}, None),
        ):
            facts = rows.facts(request_spec=spec)
            self.assertEqual(zone, described(facts).pinned_zone)

    def test_whether_it_shall_run_again(self) -> None:
        for vm_state, power_state, runs in (
            ('active', 1, True),
            ('active', 4, True),
            ('paused', 3, True),
            ('error', 1, True),
            ('error', 0, False),
            ('error', None, False),
            ('stopped', 4, False),
            ('stopped', 1, False),
            ('suspended', 4, False),
        ):
            own = rows.server(vm_state=vm_state, power_state=power_state)
            self.assertEqual(runs, described(rows.facts(own)).runs)
