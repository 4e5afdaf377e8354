# SPDX-License-Identifier: Apache-2.0

"""Disks over a network, from what the kernel shows of each kind."""

from __future__ import annotations

import os
from typing import Any

from nova_recovery.host.agent import paths
from tests.unit.host.test_uses import Kernel

NQN = 'nqn.2014-08.org.nvmexpress:uuid:0a1b'


class Disks(Kernel):
    def disks(self) -> list[dict[str, Any]]:
        return paths.disks(str(self.top))

    def device(self, name: str, place: str) -> None:
        """As sysfs has it: the class leads to where the device is."""
        path = f'sys/devices/{place}/{name}'
        self.write(f'{path}/dev', '8:16\n')
        self.write(f'{path}/size', '2048\n')
        os.symlink(self.top / path, self.top / 'sys/class/block' / name)

    def test_fibre_channel_with_its_port(self) -> None:
        lun = 'pci0000/host2/rport-2:0-1/target2:0:0/2:0:0:7'
        self.device('sdb', f'{lun}/block')
        os.symlink(
            self.top / f'sys/devices/{lun}',
            self.top / f'sys/devices/{lun}/block/sdb/device',
        )
        self.write(f'sys/devices/{lun}/wwid', 'naa.600a098\n')
        self.write(f'sys/devices/{lun}/state', 'blocked\n')
        port = 'sys/class/fc_remote_ports/rport-2:0-1'
        self.write(f'{port}/port_name', '0x50060e801049cfd1\n')
        self.write(f'{port}/port_state', 'Blocked\n')
        self.device('sda', 'pci0000/ata1/host0/target0:0:0/0:0:0:0/block')
        (found,) = self.disks()
        self.assertEqual(
            {
                'device': 'sdb',
                'way': 'fc',
                'lun': 7,
                'state': 'blocked',
                'wwid': '3600a098',
                'bytes': 1 << 20,
                'maps': [],
                'names': ['sdb'],
                'target': '0x50060e801049cfd1',
                'portal': '',
                'links': [['rport-2:0-1', 'Blocked']],
            },
            found,
        )

    def controller(self, place: str, state: str, transport: str) -> None:
        for name, text in (
            ('transport', transport),
            ('state', state),
            ('subsysnqn', NQN),
            ('address', 'traddr=10.0.0.1,trsvcid=4420,src_addr=10.0.0.2'),
        ):
            self.write(f'sys/devices/{place}/{name}', f'{text}\n')

    def test_nvme_by_one_way_and_by_two(self) -> None:
        self.controller('fabrics/ctl/nvme0', 'live', 'tcp')
        self.device('nvme0n1', 'fabrics/ctl/nvme0')
        self.write('sys/devices/fabrics/ctl/nvme0/nvme0n1/wwid', 'uuid.1\n')
        for number, state in ((2, 'live'), (3, 'connecting')):
            self.controller(f'fabrics/ctl/nvme{number}', state, 'tcp')
        self.device('nvme1n1', 'virtual/nvme-subsystem/nvme-subsys1')
        self.device('nvme1c2n1', 'fabrics/ctl/nvme2')
        for number in (2, 3):
            os.symlink(
                self.top / f'sys/devices/fabrics/ctl/nvme{number}',
                self.top
                / 'sys/devices/virtual/nvme-subsystem/nvme-subsys1'
                / f'nvme{number}',
            )
        one, two = self.disks()
        self.assertEqual(
            ('nvme0n1', 'nvmeof', NQN, 'uuid.1'),
            tuple(one[n] for n in ('device', 'way', 'target', 'wwid')),
        )
        self.assertEqual(
            ['nvme0 10.0.0.1:4420'], [link for link, _state in one['links']]
        )
        self.assertEqual(
            ['live', 'connecting'], [state for _link, state in two['links']]
        )

    def test_the_host_s_own_nvme_is_none(self) -> None:
        self.controller('pci0000/nvme/nvme0', 'live', 'pcie')
        self.device('nvme0n1', 'pci0000/nvme/nvme0')
        self.assertEqual([], self.disks())

    def test_rbd_of_the_kernel(self) -> None:
        self.device('rbd3', 'virtual/block')
        self.write('sys/bus/rbd/devices/3/pool', 'volumes\n')
        self.write('sys/bus/rbd/devices/3/name', 'volume-1\n')
        (found,) = self.disks()
        self.assertEqual(
            ('rbd3', 'rbd', 'volumes/volume-1', 1 << 20),
            tuple(found[n] for n in ('device', 'way', 'target', 'bytes')),
        )
