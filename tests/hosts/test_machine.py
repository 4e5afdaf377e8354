# SPDX-License-Identifier: Apache-2.0

"""Whole machines beside the beds: real iSCSI, from one to the other."""

from __future__ import annotations

from typing import ClassVar

from tests import base
from tests.cloud import process
from tests.hosts import cgroups
from tests.hosts.beds import Beds
from tests.hosts.machine import Machine

IQN = 'iqn.2010-10.org.openstack:volume-{}'


class TestMachines(base.TestCase):
    """A compute host and the storage that it has its volumes from."""

    beds: ClassVar[Beds]
    host: ClassVar[Machine]
    storage: ClassVar[Machine]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.beds = Beds.up(0)
        cls.addClassCleanup(cls.beds.down)
        cls.storage = cls.beds.machine()
        cls.host = cls.beds.machine()

    def sessions(self) -> list[str]:
        """What iscsiadm says of each; it ends with 21 where there is none."""
        found = self.host.run('iscsiadm -m session', check=False)
        return [it for it in found.splitlines() if it.startswith('tcp: ')]

    def test_they_are_two_machines_with_what_a_compute_host_has(self) -> None:
        for path in (
            '/etc/machine-id',
            '/etc/hostname',
            '/etc/iscsi/initiatorname.iscsi',
            '/sys/class/net/eth0/address',
        ):
            found = {it.run(f'cat {path}') for it in (self.host, self.storage)}
            self.assertEqual(2, len(found), path)
        self.assertIn('uid=108(nova)', self.host.run('id nova'))
        units = 'nova-compute libvirtd tgt iscsid'
        self.assertEqual(
            ['active'] * 4,
            self.host.run(f'systemctl is-active {units}').split(),
        )
        self.host.run('modprobe dm_mod && dmsetup version')

    def test_a_session_is_opened_and_closed_by_its_number(self) -> None:
        names = [IQN.format(number) for number in (1, 2)]
        for name in names:
            self.storage.export(name)
        portal = self.storage.address
        found = self.host.run(f'iscsiadm -m discovery -t st -p {portal}')
        for name in names:
            self.assertIn(f'{portal}:3260,1 {name}\n', found)
        for name in names:
            self.host.run(f'iscsiadm -m node -T {name} -p {portal} --login')
        first, second = self.sessions()
        self.assertTrue(first.startswith(f'tcp: [1] {portal}:3260,1 '), first)
        disk = f'/dev/disk/by-path/ip-{portal}:3260-iscsi-{names[1]}-lun-1'
        self.host.run(f'udevadm settle; mkfs.ext4 -q {disk}')
        self.host.run('iscsiadm -m session -r 1 -u')
        self.assertEqual([second], self.sessions())
        self.host.run('iscsiadm -m session -r 2 -u')
        self.assertEqual([], self.sessions())

    def test_with_its_cable_pulled_it_still_does_what_is_said(self) -> None:
        self.host.cut_network()
        self.assertFalse(self.host.answers())
        self.assertEqual('iscsi2\n', self.host.run('hostname'))
        self.host.mend_network()
        process.wait_for(self.host.answers, 60, 'the network')

    def test_it_ends_with_the_beds(self) -> None:
        with Beds.up(0) as beds:
            machine = beds.machine()
            running = cgroups.members(beds.group)
            self.assertNotEqual([], running)
            machine.run('true')
        self.assertEqual(
            [], [pid for pid in running if process.start_time(pid)]
        )
        self.assertFalse(beds.directory.exists())
