# SPDX-License-Identifier: Apache-2.0

"""Whose the providers are that hold the allocations of servers."""

from __future__ import annotations

from nova_recovery.cloud.providers import Provider, Providers
from tests.base import TestCase
from tests.unit.changes.case import Cloud


class ProvidersTest(TestCase):
    """A node with a graphics card, one that was made anew, and its old one."""

    def setUp(self) -> None:
        super().setUp()
        self.cloud = Cloud('nova34-nova', 'nova34-cinder')
        self.addCleanup(self.cloud.close)
        self.held = {
            'web': {'p-node': {'VCPU': 1}, 'p-card': {'VGPU': 2}},
            'db': {'p-old': {'VCPU': 1}},
        }
        placement = self.cloud.placement
        placement.providers.return_value = {
            'p-node': ('p-node', 'np-rcc46'),
            'p-card': ('p-node', 'np-rcc46_gpu0'),
            'p-old': ('p-old', 'np-rcc47'),
        }
        placement.allocations.side_effect = lambda uuid: {
            'allocations': self.held.get(uuid, {})
        }
        placement.consumers.side_effect = lambda provider: [
            uuid for uuid, some in self.held.items() if provider in some
        ]
        for number, (uuid, host) in enumerate(
            [('p-node', 'np-rcc46'), ('p-new', 'np-rcc47')]
        ):
            self.cloud.cell.add(
                'compute_nodes', id=number, uuid=uuid, host=host, deleted=0,
                vcpus=1, memory_mb=1, local_gb=1, vcpus_used=0,
                memory_mb_used=0, local_gb_used=0, hypervisor_type='QEMU',
                hypervisor_version=1, cpu_info='', hypervisor_hostname=host,
            )  # fmt: skip

    def test_a_card_is_of_its_node(self) -> None:
        self.assertEqual(
            {'p-node': Provider('np-rcc46', 'np-rcc46')},
            Providers(self.cloud).of(['p-card']),
        )

    def test_what_is_held_of_a_card_is_told_by_its_name(self) -> None:
        self.assertEqual(
            ('VGPU 2 on np-rcc46_gpu0',),
            Providers(self.cloud).devices(self.held['web']),
        )
        self.assertEqual((), Providers(self.cloud).devices(self.held['db']))

    def test_few_servers_are_asked_each_and_many_by_provider(self) -> None:
        """The answer is the same."""
        providers = Providers(self.cloud)
        expected = {
            'web': {'p-node': Provider('np-rcc46', 'np-rcc46')},
            'db': {'p-old': Provider('np-rcc47', None)},
        }
        self.assertEqual(expected, providers.held(['web', 'db']))
        self.assertEqual(2, self.cloud.placement.allocations.call_count)
        many = [*expected, *(f'other{number}' for number in range(10))]
        found = providers.held(many)
        self.assertEqual(
            expected, {uuid: some for uuid, some in found.items() if some}
        )
        self.assertEqual(set(many), set(found))
        self.assertEqual(2, self.cloud.placement.allocations.call_count)
