# SPDX-License-Identifier: Apache-2.0

"""The guide's second procedure, whole, on hosts that disagree.

What an operator types is typed, as a program of its own; what becomes of the
hosts is looked at on the hosts.
"""

from __future__ import annotations

import contextlib
import subprocess

from nova_recovery.engine.journal import Journal
from nova_recovery.exceptions import NotFound
from tests.cloud import process
from tests.hosts.bed import Bed
from tests.hosts.beds import Beds
from tests.hosts.program import ProgramTest

INSTANCES = '/var/lib/nova/instances'
UNKNOWN = (
    *('--override', 'host-claimable=no nova here'),
    *('--override', 'no-tombstone=no nova here'),
)


class OneNumber(ProgramTest):
    """``host uid set`` on some hosts.

    :ivar given: what is overridden on hosts without a cloud
    """

    count = 2
    given: tuple[str, ...] = UNKNOWN

    def setUp(self) -> None:
        self.beds = Beds.up(self.count)
        self.addCleanup(self.beds.down)
        super().setUp()

    def set(self, *words: str, code: int = 0) -> str:
        """``host uid set`` on all hosts."""
        names = [host.name for host in self.beds]
        return self.run_program(
            *('host', 'uid', 'set', *names, '--yes'),
            *(*self.given, *words),
            code=code,
        )

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

    # a run that is under way

    def begun(
        self,
        program: subprocess.Popen[str],
        kind: str,
        states: set[str] | None = None,
    ) -> None:
        """Return as soon as the journal says so of the newest run."""

        def seen() -> bool:
            if program.poll() is not None:
                said, _none = program.communicate()
                raise AssertionError(f'it ended before {kind}: {said}')
            try:
                opened = Journal.open_existing(self.journal)
            except NotFound:
                return False
            with contextlib.closing(opened) as journal:
                return any(
                    item.state in states if states else item.begun
                    for run in journal.runs(limit=1)
                    for item in journal.items(run.id)
                    if item.kind == kind
                )

        process.wait_for(seen, 120, kind, 0.1)


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
        libvirt = two.run('systemctl', 'show', '-P', 'MainPID', 'libvirtd')
        said = self.set('--uid', 'nova=108', '--gid', 'nova=120')
        # which keeps the numbers that it was started with
        self.assertNotEqual(
            libvirt, two.run('systemctl', 'show', '-P', 'MainPID', 'libvirtd')
        )
        self.assertIn('done: 7 done', said)
        self.assertIn('108', self.show(0))
        for host in self.beds:
            self.assertEqual('108\n120\n64055\n', self.numbers(host))
            self.assert_runs(host)
            self.assertNotIn('112:', self.seen(host))
            self.assertNotIn(':124 ', self.seen(host))
        self.assertIn('6755 /var/lib/nova/x/setuid', self.seen(two))
        self.verify(0)
        two.run('chown', '112', '/var/lib/nova/x/plain')
        self.assertIn('var/lib/nova/x/plain', self.verify(4))
        two.run('chown', 'nova', '/var/lib/nova/x/plain')
        self.run_program('run', 'undo', self.run_id(), '--yes')
        self.assertEqual(before, [self.seen(host) for host in self.beds])
        self.assertEqual('112\n124\n64055\n', self.numbers(two))
        for host in self.beds:
            self.assert_runs(host)

    def verify(self, code: int) -> str:
        return self.run_program(
            'host', 'uid', 'verify', '--run', self.run_id(), code=code
        )

    def show(self, code: int) -> str:
        return self.run_program(
            'host', 'uid', 'show', 'compute1', 'compute2', code=code
        )


class ThreeHosts(OneNumber):
    """Numbers that are exchanged, a guest, and whatever can go wrong."""

    count = 3

    def disagree(self) -> None:
        """nova 108/112/112, libvirt-qemu the other one on the first."""
        one, two, three = self.beds
        self.renumber(
            one,
            'usermod -u 113 libvirt-qemu; usermod -u 112 nova\n'
            'usermod -u 108 libvirt-qemu; groupmod -g 124 nova',
        )
        for host in (two, three):
            self.renumber(host, 'usermod -u 112 libvirt-qemu')
        # where nova of the first shall go
        three.run('groupadd', '--gid', '124', 'stranger')
        self.beds.share(INSTANCES, [two, three])
        for host in self.beds:
            self.files(host)

    def right(self) -> None:
        """All hosts have what most had, and so have their files."""
        for host in self.beds:
            self.assertEqual('108\n120\n112\n', self.numbers(host))
            self.assert_runs(host)
            self.assertIn('108:120 644 /var/lib/nova/x/plain', self.seen(host))
            self.assertIn(
                '112:104 644 /var/lib/libvirt/images/disk', self.seen(host)
            )
            # nothing keeps its services off any more
            host.run('sh', '-c', '! ls /etc/systemd/system/*.d/zz-nova-*')
        self.run_program('host', 'uid', 'verify', '--run', self.run_id())

    def test_exchanged_numbers_under_a_guest_killed_in_each_phase(
        self,
    ) -> None:
        self.disagree()
        guest = self.beds['compute2'].guest()
        guest.start()
        before = [self.seen(host) for host in self.beds]
        # a gid that somebody has on one of them
        self.assertIn('group stranger', self.set('--gid', 'nova=124', code=3))
        names = [host.name for host in self.beds]
        program = self.typed(
            *('host', 'uid', 'set', *names, '--yes', *UNKNOWN)
        )
        for phase in (
            'stop-services',
            'set-accounts',
            'change-owners',
            'start-services',
        ):
            self.begun(program, phase)
            program.kill()
            program.communicate()
            if phase == 'change-owners':
                self.rebooted(self.beds['compute1'])
            program = self.typed('run', 'resume', self.run_id(), '--yes')
            if phase == 'change-owners':
                self.begun(program, 'verify-owners')
                self.cut('compute1')
        said, _none = program.communicate(timeout=180)
        self.assertEqual(0, program.returncode, said)
        self.right()
        self.assertEqual('running', guest.state())
        program = self.typed('run', 'undo', self.run_id(), '--yes')
        self.begun(program, 'change-owners', {'reverting'})
        program.kill()
        program.communicate()
        self.run_program('run', 'undo', self.run_id(), '--yes')
        self.assertEqual(before, [self.seen(host) for host in self.beds])

    def rebooted(self, host: Bed) -> None:
        """Its boot starts nothing, or libvirt would give files away."""
        host.reboot()
        for unit in ('nova-compute', 'libvirtd', 'libvirtd.socket'):
            state = host.run('systemctl', 'is-active', unit, check=False)
            self.assertEqual('inactive', state.strip(), unit)
        self.assertEqual(
            'enabled', host.run('systemctl', 'is-enabled', 'libvirtd').strip()
        )

    def cut(self, name: str) -> None:
        """Its network is gone until somebody has noticed."""
        self.beds[name].cut_network()
        process.wait_for(
            lambda: not self.beds[name].answers(), 60, 'the cut', 0.1
        )
        self.beds[name].mend_network()

    def test_one_that_can_not_follow_takes_all_back(self) -> None:
        """Somebody is logged in as nova: usermod would be refused there."""
        self.disagree()
        names = self.beds['compute2'], self.beds['compute3']
        before = [self.numbers(host) for host in self.beds]
        for host in names:
            self.assertEqual('108\n120\n112\n', self.numbers(host))
        with subprocess.Popen(
            [
                *('ssh', '-F', str(self.beds.ssh_config), '-tt'),
                *('nova@compute3', 'cat'),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as login:
            self.addCleanup(login.kill)
            process.wait_for(
                lambda: 'cat' in names[1].run('ps', '-u', 'nova', check=False),
                20,
                'the login',
                0.1,
            )
            said = self.set('--uid', 'nova=130', code=4)
            login.kill()
        self.assertIn('So all is taken back', said)
        self.assertIn('in use by', said)
        self.assertEqual(before, [self.numbers(host) for host in self.beds])
        for host in self.beds:
            self.assert_runs(host)
        self.beds['compute3'].cut_network()
        said = self.set('--uid', 'nova=130', code=3)
        self.assertIn('unreachable', said)
