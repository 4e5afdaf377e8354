# SPDX-License-Identifier: Apache-2.0

"""Which cell a host is of, whatever is left of it there."""

from __future__ import annotations

from typing import Any

from nova_recovery.cloud.db import compute_hosts
from nova_recovery.exceptions import NotFound
from tests.base import TestCase
from tests.unit.changes.case import Cloud


class CellTest(TestCase):
    """np-rcc4 has a service, np-rcc54 only a server that names it."""

    def setUp(self) -> None:
        super().setUp()
        self.cloud: Any = Cloud('nova34-nova', 'nova34-cinder')
        self.addCleanup(self.cloud.close)
        self.cloud.cell.add(
            'services', id=1, host='np-rcc4', binary='nova-compute',
            report_count=7, deleted=0, topic='compute',
        )  # fmt: skip
        self.cloud.cell.add(
            'compute_nodes', id=1, uuid='n', host='np-rcc4', deleted=0,
            vcpus=1, memory_mb=1, local_gb=1, vcpus_used=0, memory_mb_used=0,
            local_gb_used=0, hypervisor_type='QEMU', hypervisor_version=1,
            cpu_info='', hypervisor_hostname='hv17.example.org',
        )  # fmt: skip
        for number, (host, deleted) in enumerate(
            [('np-rcc54', 0), ('np-rcc99', 1)]
        ):
            self.cloud.cell.add(
                'instances', id=number, uuid=f'u{number}', host=host,
                deleted=deleted, locked=0,
            )  # fmt: skip

    def cell(self, host: str) -> str:
        return compute_hosts.cell_of(self.cloud.databases, host)

    def test_of_a_service_and_of_servers_without_one(self) -> None:
        self.assertEqual('cell1', self.cell('np-rcc4'))
        self.assertEqual('cell1', self.cell('np-rcc54'))

    def test_deleted_servers_name_nothing(self) -> None:
        self.assertRaises(NotFound, self.cell, 'np-rcc99')

    def test_by_another_name_the_right_one_is_told(self) -> None:
        for word in (
            'NP-RCC4', 'np-rcc4.example.org', 'hv17', 'hv17.example.org'
        ):  # fmt: skip
            error = self.assertRaises(NotFound, self.cell, word)
            self.assertIn('is called np-rcc4: give that name', str(error))

    def test_one_that_nobody_knows(self) -> None:
        """np-rcc is not np-rcc4."""
        error = self.assertRaises(NotFound, self.cell, 'np-rcc')
        self.assertIn('one of these?\n  np-rcc4', str(error))
        error = self.assertRaises(NotFound, self.cell, 'storage1')
        self.assertNotIn('np-rcc4', str(error))
