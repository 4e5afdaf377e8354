# SPDX-License-Identifier: Apache-2.0

"""Guests of hosts, real ones: one that runs twice, and what their XML says."""

from __future__ import annotations

import json
import os
import pathlib
import re
import sys
from typing import Any

from tests.cloud import process
from tests.hosts.beds import Beds
from tests.hosts.packages import BedError
from tests.hosts.program import ProgramTest, ROOT


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
        # all of it as it was, for people
        (kept,) = [
            path
            for path in self.folder.rglob('*')
            if path.is_file() and b'<domain' in path.read_bytes()
        ]
        self.assertEqual(0o600, kept.stat().st_mode & 0o777)
        self.assertIn('0.0.0.0', kept.read_text())
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

    def test_killed_between_what_is_defined_and_what_runs(self) -> None:
        words = ('--vnc-listen', '--dhcpserver', '10.0.0.1', '--yes')
        program = self.typed('guest', 'set', *self.guest_words, *words)
        self.addCleanup(program.communicate)
        process.wait_for(
            lambda: "'10.0.0.1'" in self.guest.xml(inactive=True),
            60,
            'its XML to be another one',
            0.02,
        )
        program.kill()
        self.run_program('run', 'resume', self.run_id(), '--yes')
        self.assertEqual({'10.0.0.1'}, self.rules())
        self.assertEqual(
            [self.bed.address, '10.0.0.1'], [row[2] for row in self.shown()]
        )
        self.assertEqual(1, len(self.guest.boots()))

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

    def test_on_the_host_itself_without_a_cloud(self) -> None:
        # /tmp of the host is its own
        tops = [str(ROOT), *os.environ.get('PYTHONPATH', '').split(':')]
        paths = []
        for number, top in enumerate(filter(None, dict.fromkeys(tops))):
            paths.append(f'/srv/own/{number}')
            self.bed.mount(pathlib.Path(top), paths[-1], read_only=True)
        self.bed.mount(pathlib.Path(sys.prefix), '/srv/env', read_only=True)
        base = pathlib.Path(sys.base_prefix)
        if base != pathlib.Path('/usr'):
            self.bed.mount(base, str(base), read_only=True)
        self.bed.write(
            '/root/own.conf',
            '[journal]\nconnection = sqlite:////root/journal\n'
            '[fleet]\ndriver = local\n',
        )

        def typed(*words: str) -> str:
            return self.bed.run(
                *('env', f'PYTHONPATH={":".join([*paths[1:], paths[0]])}'),
                *('/srv/env/bin/python', '-B', '-m', 'nova_recovery.shell'),
                *(*words, '--recovery-config-file', '/root/own.conf'),
            )

        typed('guest', 'set', *self.guest_words, '--vnc-listen', '--yes')
        said = typed('guest', 'show', *self.guest_words, '-f', 'json')
        (vnc, _dhcp) = json.loads(said)
        self.assertEqual(
            ('0.0.0.0', self.bed.address),
            (vnc['Runs with'], vnc['After a power cycle']),
        )


class Filters(ProgramTest):
    """libvirt's filters, and the rules that it makes of them."""

    def setUp(self) -> None:
        self.beds = Beds.up(1)
        self.addCleanup(self.beds.down)
        super().setUp()
        (self.bed,) = self.beds

    def listed(self, code: int) -> dict[str, dict[str, Any]]:
        rows = self.rows('guest', 'filter', 'list', 'compute1', codes=[code])
        return {row['Filter']: row for row in rows}

    def rebuild(self, *words: str, code: int = 0) -> str:
        return self.run_program(
            *('guest', 'filter', 'rebuild', '--host', 'compute1', *words),
            code=code,
        )

    def filter(self, name: str) -> str:
        return self.bed.run('virsh', 'nwfilter-dumpxml', name)

    def test_one_that_is_there_keeps_its_uuid(self) -> None:
        # no guest refers to a filter: neutron filters
        said = self.rebuild('--yes', code=3)
        self.assertIn('openstack port set --host compute1', said)
        guest = self.bed.guest(dhcp_server='10.0.0.1')
        guest.start()
        rows = self.listed(0)
        self.assertEqual('FILTER-GOOD', rows['nova-base']['Code'])
        self.assertEqual(guest.name, rows['nova-base']['Guests'])
        self.assertLess(10, rows[guest.filter]['Rules'])
        before = self.filter('nova-base')
        # what nova did before it asked for the UUID
        done = self.bed.ran(
            *('virsh', 'nwfilter-define', '/dev/stdin'),
            input="<filter name='nova-base' chain='root'/>",
        )
        self.assertIn('already exists with uuid', done.stderr)
        self.rebuild('nova-base', '--yes')
        uuid = rows['nova-base']['UUID']
        self.assertIn(uuid, self.filter('nova-base'))
        self.assertIn('nova-no-nd-reflection', self.filter('nova-base'))
        rows = self.listed(0)
        self.assertIn('nova-no-nd-reflection', rows)
        self.assertLess(10, rows[guest.filter]['Rules'])
        self.assertEqual('running', guest.state())
        said = self.rebuild('nova-base', '--yes')
        self.assertIn('it is defined so', said)
        self.run_program('run', 'undo', self.runs()[1], '--yes')
        self.assertEqual(before, self.filter('nova-base'))
        self.assertNotIn('nova-no-nd-reflection', self.listed(0))

    def test_rules_that_somebody_flushed(self) -> None:
        guest = self.bed.guest(dhcp_server='10.0.0.1')
        guest.start()
        self.bed.run('ebtables', '-t', 'nat', '-F')
        row = self.listed(4)[guest.filter]
        self.assertEqual(('FILTER-RULES', 0), (row['Code'], row['Rules']))
        _there, *words = row['To do'].split()
        self.bed.run(*words[:3])
        process.wait_for(
            lambda: self.listed(0)[guest.filter]['Rules'], 30, 'rules', 0.1
        )

    def runs(self) -> list[str]:
        """The ids of runs, the newest first."""
        return self.run_program(
            *('run', 'list', '-f', 'value', '-c', 'ID')
        ).split()

    def test_missing_ones_of_a_guest_that_is_off(self) -> None:
        guest = self.bed.guest(dhcp_server='10.0.0.1')
        for name in ('nova-base', 'no-mac-spoofing', guest.filter):
            self.bed.run('virsh', 'nwfilter-undefine', name)
        rows = self.listed(4)
        self.assertEqual('FILTER-MISSING', rows[guest.filter]['Code'])
        self.assertIn('can not be started', rows[guest.filter]['Seen'])
        error = self.assertRaises(BedError, guest.start)
        self.assertIn('is missing', str(error))
        self.rebuild('--yes')
        rows = self.listed(4)
        self.assertEqual('FILTER-GOOD', rows[guest.filter]['Code'])
        self.assertEqual('FILTER-GOOD', rows['nova-base']['Code'])
        # libvirt's own, of a package
        self.assertEqual('FILTER-MISSING', rows['no-mac-spoofing']['Code'])
        self.bed.run(*rows['no-mac-spoofing']['To do'].split()[1:4])
        guest.start()
        self.assertLess(10, self.listed(0)[guest.filter]['Rules'])
        # libvirt keeps what a guest that runs needs
        said = self.run_program('run', 'undo', self.run_id(), '--yes', code=4)
        self.assertIn('in use', said)
        self.assertIn(guest.filter, self.listed(0))
