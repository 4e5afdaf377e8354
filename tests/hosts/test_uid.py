# SPDX-License-Identifier: Apache-2.0

"""The guide's second procedure, whole, on hosts that disagree.

What an operator types is typed, as a program of its own; what becomes of the
hosts is looked at on the hosts.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import fixtures

from tests import base
from tests.hosts.bed import Bed
from tests.hosts.beds import Beds

ROOT = pathlib.Path(__file__).parents[2]
INSTANCES = '/var/lib/nova/instances'
UNCLAIMED = 'host-claimable=no nova here'


class OneNumber(base.TestCase):
    """Hosts, an inventory, a journal, and nova-recovery."""

    count = 2

    def setUp(self) -> None:
        super().setUp()
        self.beds = Beds.up(self.count)
        self.addCleanup(self.beds.down)
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        (self.folder / 'nova.conf').write_text('[DEFAULT]\n')
        self.conf = self.folder / 'nova-recovery.conf'
        self.conf.write_text(
            f'[journal]\nconnection = sqlite:///{self.folder}/journal\n'
            f'[fleet]\ninventory = {self.beds.inventory()}\n'
        )

    def typed(self, *words: str) -> subprocess.Popen[str]:
        """Begin with a command of nova-recovery."""
        return subprocess.Popen(
            [
                *(sys.executable, '-m', 'nova_recovery.shell', *words),
                *('--recovery-config-file', str(self.conf)),
                *('--nova-config-file', str(self.folder / 'nova.conf')),
            ],
            cwd=ROOT,
            env={**os.environ, 'COLUMNS': '120'},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run_program(self, *words: str, code: int = 0) -> str:
        """Type a command to its end; what it said."""
        program = self.typed(*words)
        said, _none = program.communicate(timeout=180)
        self.assertEqual(code, program.returncode, said)
        return said

    def set(self, *words: str, code: int = 0) -> str:
        """``host uid set`` on all hosts."""
        names = [host.name for host in self.beds]
        return self.run_program(
            *('host', 'uid', 'set', *names, '--yes'),
            *('--override', UNCLAIMED, *words),
            code=code,
        )

    def run_id(self) -> str:
        said = self.run_program('run', 'list', '-f', 'value', '-c', 'ID')
        return said.split()[0]

    # what hosts have

    def renumber(self, host: Bed, script: str) -> None:
        """As whoever installed it had it; nova-compute runs on."""
        host.run(
            *('sh', '-ec'),
            f'systemctl stop nova-compute; {script}\n'
            'chown -R nova:nova /var/lib/nova /var/log/nova\n'
            'systemctl start nova-compute',
        )

    def files(self, host: Bed) -> None:
        """Some that the walk has to find, of each kind one."""
        host.run(
            *('sh', '-ec'),
            'd=/var/lib/nova/x; mkdir -p $d; touch $d/plain $d/root\n'
            'chown nova:nova $d $d/plain; chown root:root $d/root\n'
            'cp /bin/true $d/setuid; chown nova:nova $d/setuid\n'
            'chmod 6755 $d/setuid; ln -s root $d/link\n'
            'chown -h nova:nova $d/link; ln $d/plain $d/plain2\n'
            'mkdir -p /var/lib/libvirt/images\n'
            'touch /var/lib/libvirt/images/disk\n'
            'chown libvirt-qemu:kvm /var/lib/libvirt/images/disk',
        )

    def seen(self, host: Bed) -> str:
        """All owners and modes below what is nova's and libvirt's."""
        return host.run(
            *('find', '/var/lib/nova', '/var/lib/libvirt/images'),
            *('-printf', '%U:%G %m %p\\n'),
        )

    def numbers(self, host: Bed) -> str:
        return host.run(
            *('sh', '-c', 'id -u nova; id -g nova; id -u libvirt-qemu')
        )

    def assert_runs(self, host: Bed) -> None:
        for unit in ('nova-compute', 'libvirtd'):
            host.run('systemctl', 'is-active', unit)


class TwoHosts(OneNumber):
    """One number on two hosts with a directory in common, and back."""

    def test_there_and_back(self) -> None:
        one, two = self.beds
        self.beds.share(INSTANCES)
        self.renumber(two, 'usermod -u 112 nova; groupmod -g 124 nova')
        for host in self.beds:
            self.files(host)
            host.run(
                *('install', '-o', 'nova', '-g', 'nova', '/dev/null'),
                f'{INSTANCES}/{host.name}',
            )
        before = [self.seen(host) for host in self.beds]
        self.assertIn('112 -> 108', self.show(4))
        said = self.set('--uid', 'nova=108', '--gid', 'nova=120')
        self.assertIn('done: 7 done', said)
        self.assertIn('108', self.show(0))
        for host in self.beds:
            self.assertEqual('108\n120\n64055\n', self.numbers(host))
            self.assert_runs(host)
            self.assertNotIn('112:', self.seen(host))
            self.assertNotIn(':124 ', self.seen(host))
        self.assertIn('6755 /var/lib/nova/x/setuid', self.seen(two))
        self.run_program('run', 'undo', self.run_id(), '--yes')
        self.assertEqual(before, [self.seen(host) for host in self.beds])
        self.assertEqual('112\n124\n64055\n', self.numbers(two))
        for host in self.beds:
            self.assert_runs(host)

    def show(self, code: int) -> str:
        return self.run_program(
            'host', 'uid', 'show', 'compute1', 'compute2', code=code
        )
