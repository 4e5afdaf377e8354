# SPDX-License-Identifier: Apache-2.0

"""Two whole machines: a compute host, and storage that it logs in to."""

from __future__ import annotations

from typing import ClassVar
import uuid

from tests.hosts.beds import Beds
from tests.hosts.machine import Machine
from tests.hosts.program import ProgramTest


class StorageTest(ProgramTest):
    """A compute host, and the storage that it has its volumes from."""

    beds: ClassVar[Beds]
    host: ClassVar[Machine]
    storage: ClassVar[Machine]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.beds = Beds.up(0)
        cls.addClassCleanup(cls.beds.down)
        cls.host = cls.beds.machine()
        cls.storage = cls.beds.machine()

    def setUp(self) -> None:
        super().setUp()
        self.portal = f'{self.storage.address}:3260'
        self.volume = str(uuid.uuid4())
        self.iqn = f'iqn.2010-10.org.openstack:volume-{self.volume}'
        self.storage.export(self.iqn)

    def login(self) -> tuple[int, str]:
        """As os-brick does it; number and disk of the session."""
        node = f'iscsiadm -m node -T {self.iqn} -p {self.portal}'
        self.host.run(f'{node} -o new; {node} --login; udevadm settle')
        (number,) = self.numbers()
        place = f'/sys/class/iscsi_session/session{number}/device'
        return number, self.host.run(f'ls {place}/target*/*/block').strip()

    def numbers(self) -> list[int]:
        """What iscsiadm says of this test's target."""
        found = self.host.run('iscsiadm -m session', check=False)
        return [
            int(line.split('[')[1].split(']')[0])
            for line in found.splitlines()
            if self.iqn in line.split()
        ]
