# SPDX-License-Identifier: Apache-2.0

"""Disks over iSCSI and NVMe-oF, real ones, and their paths."""

from __future__ import annotations

from typing import Any
import uuid

from tests.hosts.storage import StorageTest

NQN = 'nqn.2014-08.org.nvmexpress:uuid:39c9a6f3-9a0c-4e2c-9f06-7b0c6d3f9cc2'
#: A disk in a file, by two ports of one address.
_TARGET = """\
modprobe nvmet-tcp; truncate -s 16M /srv/nvme.img; cd /sys/kernel/config/nvmet
mkdir -p subsystems/{nqn}/namespaces/1; cd subsystems/{nqn}
echo 1 >attr_allow_any_host; echo /srv/nvme.img >namespaces/1/device_path
echo 1 >namespaces/1/buffered_io; echo 1 >namespaces/1/enable; cd ../..
for port in 4420 4421; do
mkdir ports/$port; echo tcp >ports/$port/addr_trtype
echo ipv4 >ports/$port/addr_adrfam; echo {address} >ports/$port/addr_traddr
echo $port >ports/$port/addr_trsvcid
ln -s /sys/kernel/config/nvmet/subsystems/{nqn} ports/$port/subsystems/
done
"""
_CONNECT = """\
modprobe nvme-tcp
for port in 4420 4421; do
echo transport=tcp,traddr={address},trsvcid=$port,nqn={nqn},\
hostnqn=nqn.2014-08.org.nvmexpress:uuid:{host},hostid={host},\
ctrl_loss_tmo=600,reconnect_delay=1 >/dev/nvme-fabrics
done
udevadm settle; i=0
until ls /sys/class/block/nvme*n1; do
sleep 0.2; i=$((i+1)); [ $i -lt 50 ]; done
"""


class Paths(StorageTest):
    def listed(self, *codes: int) -> dict[str, dict[str, Any]]:
        """The rows of the host, by disk."""
        found = self.rows('host', 'path', 'list', self.host.name, codes=codes)
        return {row['Disk']: row for row in found}

    def test_a_map_of_two_paths_that_fail_one_after_the_other(self) -> None:
        first = self.login()[1]
        volume = self.volume
        self.volume = str(uuid.uuid4())
        self.iqn = f'iqn.2010-10.org.openstack:volume-{self.volume}'
        self.storage.export(self.iqn)
        second = self.login()[1]
        found = self.listed(0)
        self.assertEqual(
            ('PATH-UNUSED', 'iscsi', volume),
            tuple(found[first][n] for n in ('Code', 'Way', 'Volume')),
        )
        self.host.run(
            'modprobe dm-multipath; echo "0 8192 multipath 0 0 1 1 '
            f'round-robin 0 2 1 /dev/{first} 1000 /dev/{second} 1000" | '
            'dmsetup create m -u mpath-m; udevadm settle; '
            'sleep 600 </dev/mapper/m >/dev/null & echo $! >/run/held'
        )
        try:
            row = self.listed(0)['m']
            self.assertEqual('PATH-GOOD', row['Code'])
            self.assertEqual({first, second}, set(row['Paths'].split(', ')))
            self.assertIn('open sleep', row['Seen'])
            for disk, code in ((first, 'PATH-FAILED'), (second, 'PATH-DEAD')):
                self.host.run(f'dmsetup message m 0 fail_path /dev/{disk}')
                row = self.listed(4)['m']
                self.assertEqual(code, row['Code'])
                self.assertIn(f'{disk} (failed)', row['Paths'])
                self.assertNotIn(first, self.listed(4))
        finally:
            for disk in (first, second):
                self.host.run(
                    f'dmsetup message m 0 reinstate_path /dev/{disk}'
                )
            self.host.run('kill $(cat /run/held); sleep 0.5; dmsetup remove m')

    def test_nvme_over_tcp_by_two_ways(self) -> None:
        address = self.storage.address
        self.storage.run(_TARGET.format(nqn=NQN, address=address))
        self.host.run(
            _CONNECT.format(nqn=NQN, address=address, host=uuid.uuid4())
        )
        (row,) = (r for r in self.listed(0).values() if r['Way'] == 'nvmeof')
        self.assertEqual('PATH-UNUSED', row['Code'])
        self.assertEqual(2, row['Paths'].count(f'{address}:442'))
        # one of its ways goes, then all
        for gone, port, code in (
            (1, 4421, 'PATH-FAILED'),
            (2, 4420, 'PATH-DEAD'),
        ):
            self.storage.run(
                f'rm /sys/kernel/config/nvmet/ports/{port}/subsystems/*'
            )
            self.host.run(
                'i=0; until [ $(grep -L live /sys/class/nvme/nvme*/state | '
                f'wc -l) -ge {gone} ]; do '
                'sleep 0.2; i=$((i+1)); [ $i -lt 100 ]; done'
            )
            (row,) = (
                r for r in self.listed(4).values() if r['Way'] == 'nvmeof'
            )
            self.assertEqual(code, row['Code'], row)
        self.host.run(
            'for c in /sys/class/nvme/nvme*; do '
            'timeout 20 sh -c "echo 1 >$c/delete_controller"; done',
            check=False,
        )
