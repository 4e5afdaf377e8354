# SPDX-License-Identifier: Apache-2.0

"""Services of hosts, real ones, under a guest that runs on."""

from __future__ import annotations

from nova_recovery.compat import pairs
from tests.hosts.beds import Beds
from tests.hosts.program import ProgramTest

UNKNOWN = (
    *('--override', 'host-claimable=no nova here'),
    *('--override', 'no-tombstone=no nova here'),
)
UNITS = ('nova-compute', 'libvirtd')


class Services(ProgramTest):
    def setUp(self) -> None:
        self.beds = Beds.up(1)
        self.addCleanup(self.beds.down)
        super().setUp()

    def pids(self) -> list[str]:
        (host,) = self.beds
        return [
            host.run('systemctl', 'show', '-P', 'MainPID', unit).strip()
            for unit in UNITS
        ]

    def restart(self, *words: str, code: int = 0) -> str:
        return self.run_program(
            *('host', 'service', 'restart', 'compute1', *words), code=code
        )

    def test_nova_alone_then_both_and_the_guest_runs_on(self) -> None:
        (host,) = self.beds
        guest = host.guest()
        guest.start()
        boots = guest.boots()
        host.run('systemctl', 'start', 'libvirtd')
        first = self.pids()
        self.assertIn('no-tombstone', self.restart('--yes', code=3))
        self.assertEqual(first, self.pids())
        self.restart('--yes', *UNKNOWN)
        second = self.pids()
        self.assertNotEqual(first[0], second[0])
        self.assertEqual(first[1], second[1])
        self.restart('--libvirt', '--yes', *UNKNOWN)
        third = self.pids()
        for old, new in pairs(second, third):
            self.assertNotEqual(old, new)
            self.assertNotEqual('0', new)
        self.assertEqual(boots, guest.boots())
        self.assertEqual('running', guest.state())
        said = self.run_program(
            *('host', 'service', 'list', 'compute1', '-f', 'value'),
            *('-c', 'Code', '-c', 'Service'),
        )
        for unit in UNITS:
            self.assertIn(f'SERVICE-RUNS {unit}.service', said)
