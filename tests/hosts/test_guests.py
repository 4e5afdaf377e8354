# SPDX-License-Identifier: Apache-2.0

"""Guests of hosts, real ones: one that runs twice, and what their XML says."""

from __future__ import annotations

import re

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


class Settings(ProgramTest):
    """Where a console listens, and DHCPSERVER, of a guest that runs."""

    def setUp(self) -> None:
        self.beds = Beds.up(1)
        self.addCleanup(self.beds.down)
        super().setUp()
        (self.bed,) = self.beds
        with_vnc = self.bed.read('/etc/nova/nova.conf')
        self.bed.write(
            '/etc/nova/nova.conf',
            f'{with_vnc}\n[vnc]\nserver_listen = $my_ip\n',
        )
        self.guest = self.bed.guest(
            dhcp_server='10.0.0.7', vnc_listen='0.0.0.0'
        )
        self.guest.start()
        self.guest_words = (self.guest.uuid, '--host', 'compute1')
        self.file = f'{self.guest.directory}/libvirt.xml'

    def shown(self) -> list[tuple[str, ...]]:
        rows = self.rows('guest', 'show', *self.guest_words, codes=[0])
        return [tuple(row.values()) for row in rows]

    def rules(self) -> set[str]:
        """The addresses that answers of DHCP may come from."""
        return set(
            re.findall(r'--ip-src (10\.0\.0\.[17]) ', self.guest.rules())
        )

    def test_changed_as_it_runs_and_back(self) -> None:
        address, mac = self.bed.address, f'DHCPSERVER of {self.guest.mac}'
        self.assertEqual(
            [
                ('VNC listens on', '0.0.0.0', '0.0.0.0', '0.0.0.0', address),
                (mac, *['10.0.0.7'] * 3, 'as nova-network has it'),
            ],
            self.shown(),
        )
        before = self.bed.read(self.file)
        defined = self.guest.xml(inactive=True)
        words = ('guest', 'set', *self.guest_words)
        said = self.run_program(
            *(*words, '--vnc-listen', '--dhcpserver', '10.0.0.1', '--yes')
        )
        self.assertIn('until a power cycle its console listens on', said)
        self.assertEqual(
            [
                ('VNC listens on', '0.0.0.0', address, address, address),
                (mac, *['10.0.0.1'] * 3, 'as nova-network has it'),
            ],
            self.shown(),
        )
        self.assertEqual({'10.0.0.1'}, self.rules())
        self.assertEqual('running', self.guest.state())
        self.assertEqual(1, len(self.guest.boots()))
        self.assertEqual(
            before.replace('0.0.0.0', address).replace('10.0.0.7', '10.0.0.1'),
            self.bed.read(self.file),
        )
        said = self.bed.run('stat', '-c', '%U %G', self.file)
        self.assertEqual('nova nova', said.strip())
        # once more there is nothing to do
        said = self.run_program(
            *(*words, '--vnc-listen', '--dhcpserver', '10.0.0.1', '--yes')
        )
        self.assertIn('so already', said)
        # a power cycle moves the console
        self.guest.destroy()
        self.guest.start()
        self.assertIn(address, self.guest.xml())
        self.assertNotIn('0.0.0.0', self.guest.xml())
        self.run_program('run', 'undo', self.run_id(), '--yes')
        self.assertEqual({'10.0.0.7'}, self.rules())
        self.assertEqual(defined, self.guest.xml(inactive=True))
        self.assertEqual(before, self.bed.read(self.file))

    def test_what_somebody_else_changed_stays(self) -> None:
        words = ('guest', 'set', *self.guest_words)
        said = self.run_program(*words, '--vnc-listen', '::', code=3)
        self.assertIn('every interface', said)
        said = self.run_program(*words, '--vnc-listen', '10.9.9.9', code=3)
        self.assertIn('does not have the address 10.9.9.9', said)
        self.assertIn('0.0.0.0', self.guest.xml(inactive=True))
        self.run_program(*words, '--vnc-listen', '127.0.0.1', '--yes')
        self.bed.run(
            *('virsh', 'define', '/dev/stdin'),
            input=self.guest.xml(inactive=True).replace(
                '127.0.0.1', self.bed.address
            ),
        )
        run = self.run_id()
        said = self.run_program('run', 'undo', run, '--yes', code=4)
        self.assertIn(f'is {self.bed.address}', said)
        self.assertIn(self.bed.address, self.guest.xml(inactive=True))
        self.assertIn('127.0.0.1', self.bed.read(self.file))
