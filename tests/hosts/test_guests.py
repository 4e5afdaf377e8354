# SPDX-License-Identifier: Apache-2.0

"""Guests of hosts, real ones: one that runs twice is found."""

from __future__ import annotations

from tests.cloud import process
from tests.hosts.beds import Beds
from tests.hosts.program import ProgramTest


class Guests(ProgramTest):
    def setUp(self) -> None:
        self.beds = Beds.up(2)
        self.addCleanup(self.beds.down)
        super().setUp()

    def found(self, command: str, code: int) -> list[dict[str, str]]:
        return self.rows(
            *('guest', command, 'compute1', 'compute2'), codes=[code]
        )

    def test_one_that_runs_twice_and_one_that_libvirt_lost(self) -> None:
        one, two = self.beds
        guest = one.guest(dhcp_server='10.0.0.7', vnc_listen='0.0.0.0')
        guest.start()
        (row,) = self.found('list', 4)
        self.assertEqual(
            ('compute1', guest.uuid, 'running', '0.0.0.0', '10.0.0.7'),
            tuple(
                row[name]
                for name in ('Host', 'Server ID', 'State', 'VNC', 'DHCPSERVER')
            ),
        )
        # without databases only that
        self.assertEqual('GUEST-UNKNOWN', row['Code'])
        other = two.guest()
        text = other.xml(inactive=True).replace(
            f'<uuid>{other.uuid}<', f'<uuid>{guest.uuid}<'
        )
        two.run('virsh', 'undefine', other.name)
        two.run('virsh', 'define', '/dev/stdin', input=text)
        other.uuid = guest.uuid
        other.start()
        rows = self.found('check', 4)
        self.assertEqual(
            [('compute1', 'GUEST-TWICE'), ('compute2', 'GUEST-TWICE')],
            [(row['Host'], row['Code']) for row in rows],
        )
        # its process counts where libvirt does not answer
        two.run(
            *('systemctl', 'stop', 'libvirtd.socket', 'libvirtd-ro.socket'),
            *('libvirtd-admin.socket', 'libvirtd'),
        )
        rows = self.found('check', 4)
        self.assertEqual(
            {
                ('compute1', 'GUEST-TWICE'),
                ('compute2', 'GUEST-TWICE'),
                ('compute2', 'LIBVIRT-SILENT'),
            },
            {(row['Host'], row['Code']) for row in rows},
        )
        two.run('systemctl', 'start', 'libvirtd')
        process.wait_for(
            lambda: other.state() == 'running', 30, 'libvirt to find it', 0.1
        )
        stop = (
            *('guest', 'stop', guest.uuid, '--host', 'compute2', '--yes'),
            *('--override', 'guest-not-at-home:compute2=no nova here'),
        )
        said = self.run_program(*stop[:5], '--dry-run', code=3)
        self.assertIn('where nova has it is not known', said)
        self.run_program(*stop)
        self.assertEqual('shut off', other.state())
        self.assertEqual('running', guest.state())
        said = self.run_program(*stop, code=3)
        self.assertIn('does not run there', said)
        rows = self.found('check', 4)
        self.assertEqual({'GUEST-UNKNOWN'}, {row['Code'] for row in rows})
