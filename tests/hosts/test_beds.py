# SPDX-License-Identifier: Apache-2.0

"""The beds themselves: what other tests rely on."""

from __future__ import annotations

from concurrent import futures
import os
import pathlib
import signal
import subprocess
import sys
from typing import ClassVar

from tests import base
from tests.cloud import process
from tests.hosts import beds as beds_module
from tests.hosts import cgroups
from tests.hosts.bed import Bed
from tests.hosts.beds import Beds
from tests.hosts.packages import BedError

ROOT = pathlib.Path(__file__).parents[2]
INSTANCES = '/var/lib/nova/instances'


class Traces:
    """What some beds have on this machine, to see later what is left.

    A namespace is gone with the last process in it, and its number is soon
    another one's.
    """

    def __init__(self, beds: Beds) -> None:
        self.directory = beds.directory
        self.group = beds.group
        inside = [beds.pid, *cgroups.members(beds.group)]
        namespaces = {it for pid in inside for it in _namespaces(pid)}
        namespaces -= _namespaces(os.getpid())
        self.processes = {
            int(entry.name): process.start_time(int(entry.name))
            for entry in pathlib.Path('/proc').iterdir()
            if entry.name.isdigit()
            and not namespaces.isdisjoint(_namespaces(int(entry.name)))
        }

    def left(self) -> list[str]:
        """Return what is there of them now, a line each."""
        found = [
            f'process {pid}'
            for pid, started in self.processes.items()
            if started and process.start_time(pid) == started
        ]
        with open('/proc/self/mountinfo') as mounts:
            found += [it for it in mounts if str(self.directory) in it]
        found += [
            f'control group {top / self.group}'
            for top in cgroups.hierarchies()
            if (top / self.group).exists()
        ]
        if self.directory.exists():
            found.append(f'files in {self.directory}')
        return found


def _namespaces(pid: int) -> set[str]:
    found = set()
    for kind in ('cgroup', 'ipc', 'mnt', 'net', 'pid', 'uts'):
        try:
            found.add(os.readlink(f'/proc/{pid}/ns/{kind}'))
        except OSError:
            # it is gone, or the machine's own first process
            continue
    return found


class TestBeds(base.TestCase):
    """Three hosts, which all tests of the class use."""

    beds: ClassVar[Beds]
    one: ClassVar[Bed]
    two: ClassVar[Bed]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.beds = Beds.up(3)
        cls.addClassCleanup(cls.beds.down)
        cls.one, cls.two, _three = cls.beds

    def ansible(self, *argv: str, user: str = 'root') -> str:
        inventory = str(self.beds.inventory(user))
        done = subprocess.run(
            ['/usr/bin/ansible', '-i', inventory, 'all', *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            env={'PATH': os.environ['PATH'], 'LC_ALL': 'C.UTF-8'},
        )
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        return done.stdout

    def knock(self, host: Bed) -> bool:
        """Whether it answers within a second over its network."""
        knock = 'import socket; socket.create_connection(("{}", 22), 1)'
        done = subprocess.run(
            self.beds.enter(sys.executable, '-c', knock.format(host.address)),
            stderr=subprocess.DEVNULL,
        )
        return done.returncode == 0

    def test_each_has_systemd_libvirtd_and_a_service_of_nova(self) -> None:
        for host in self.beds:
            units = ('nova-compute', 'libvirtd', 'ssh')
            active = host.run('systemctl', 'is-active', *units)
            self.assertEqual(['active'] * 3, active.split())
            failed = host.run('systemctl', 'list-units', '--failed', '-q')
            self.assertEqual('', failed)
            self.assertIn(
                'uid=108(nova) gid=120(nova)', host.run('id', 'nova')
            )
            self.assertIn('libvirt-qemu', host.run('id', 'libvirt-qemu'))
            self.assertIn(f'host = {host.name}\n',
                          host.read('/etc/nova/nova.conf'))  # fmt: skip
        pid = self.one.run(
            'systemctl', 'show', '-P', 'MainPID', 'nova-compute'
        )
        status = self.one.read(f'/proc/{pid.strip()}/status')
        self.assertIn('Uid:\t108\t', status)
        self.assertEqual(
            '/var/log/nova/nova-compute.log\n',
            self.one.run('readlink', f'/proc/{pid.strip()}/fd/3'),
        )

    def test_usermod_refuses_while_the_service_runs(self) -> None:
        ended = self.two.ran('usermod', '-u', '112', 'nova')
        self.assertEqual(8, ended.returncode, ended.stderr)

    def test_no_two_are_one_machine(self) -> None:
        for path in ('/etc/machine-id', '/etc/hostname',
                     '/proc/sys/kernel/random/boot_id',
                     '/etc/ssh/ssh_host_ed25519_key'):  # fmt: skip
            self.assertEqual(3, len({it.read(path) for it in self.beds}), path)

    def test_ssh_leads_in_for_root_and_for_others(self) -> None:
        for user in ('root', 'nova', 'stack'):
            ended = self.one.ssh('id -un; hostname', user=user)
            self.assertEqual(f'{user}\ncompute1\n', ended.stdout, ended.stderr)

    def test_ansible_finds_all_by_the_inventory(self) -> None:
        said = self.ansible('-m', 'raw', '-a', 'echo pong from $(hostname)')
        for host in self.beds:
            self.assertIn(f'pong from {host.name}', said)

    def test_stack_becomes_root_by_a_password(self) -> None:
        password = ('-e', 'ansible_become_password=practice')
        said = self.ansible(
            *('-b', '-m', 'raw', '-a', 'id -un', *password), user='stack'
        )
        self.assertEqual(3, said.splitlines().count('root'), said)

    def test_nothing_leads_out_of_their_network(self) -> None:
        routes = self.one.run('ip', 'route')
        self.assertNotIn('default', routes)
        ended = self.one.ran('ping', '-c', '1', '-W', '1', '192.0.2.1')
        self.assertNotEqual(0, ended.returncode)
        outside = pathlib.Path('/proc/net/dev').read_text()
        self.assertNotIn('host1:', outside)

    def test_a_file_is_written_with_its_owner(self) -> None:
        self.one.write('/var/lib/nova/a/b', 'text\n', 0o640, 'nova')
        self.assertEqual('text\n', self.one.read('/var/lib/nova/a/b'))
        outside = self.one.root / 'var/lib/nova/a/b'
        self.assertEqual('text\n', outside.read_text())
        found = outside.stat()
        self.assertEqual((108, 120), (found.st_uid, found.st_gid))
        self.assertEqual(0o640, found.st_mode & 0o7777)

    def test_a_failed_command_says_how(self) -> None:
        error = self.assertRaises(
            BedError, self.one.run, 'ls', '/does/not/exist'
        )
        self.assertIn('compute1: ls /does/not/exist: 2', str(error))
        self.assertEqual('', self.one.run('false', check=False))
        self.assertEqual(124, self.one.ran('sleep', '9', timeout=1).returncode)

    def test_a_reboot_is_another_boot_of_the_same_machine(self) -> None:
        before = self.two.boot_id(), self.two.read('/etc/machine-id')
        self.two.run('touch', '/var/kept', '/run/lost')
        self.two.reboot()
        after = self.two.boot_id(), self.two.read('/etc/machine-id')
        self.assertNotEqual(before[0], after[0])
        self.assertEqual(before[1], after[1])
        self.two.run('test', '-e', '/var/kept')
        self.two.run('test', '!', '-e', '/run/lost')
        self.assertEqual('compute2\n', self.two.ssh('hostname').stdout)

    def test_a_reboot_over_ssh_comes_back_too(self) -> None:
        boots = self.two.state()['boots']
        self.two.ssh('shutdown -r now')
        self.two.wait_booted(boots + 1)
        self.assertEqual('compute2\n', self.two.ssh('hostname').stdout)

    def test_after_a_power_cut_nothing_runs_until_it_is_on_again(self) -> None:
        before = self.two.boot_id()
        service = cgroups.members(f'{self.beds.group}/compute2')
        self.two.run('touch', '/var/written')
        self.two.power_cut()
        self.assertFalse(self.knock(self.two))
        self.assertEqual([], [
            pid for pid in service if process.start_time(pid)
        ])  # fmt: skip
        self.assertRaises(BedError, self.two.run, 'true')
        self.assertTrue((self.two.root / 'var/written').exists())
        self.two.power_on()
        self.assertNotEqual(before, self.two.boot_id())
        self.two.run('test', '-e', '/var/written')

    def test_a_host_that_switches_itself_off_stays_off(self) -> None:
        self.two.run('systemctl', 'poweroff')
        process.wait_for(lambda: not self.two.state()['on'], 30, 'its end')
        self.assertRaises(BedError, self.two.run, 'true')
        self.two.power_on()
        self.two.run('true')

    def test_with_its_cable_pulled_it_runs_on_unseen(self) -> None:
        self.assertTrue(self.knock(self.one))
        before = self.one.boot_id()
        self.one.cut_network()
        try:
            self.assertFalse(self.knock(self.one))
            ended = self.one.ssh('-o', 'ConnectTimeout=1', 'true')
            self.assertEqual(255, ended.returncode)
            self.assertTrue(self.knock(self.two))
            self.assertEqual(before, self.one.boot_id())
        finally:
            self.one.mend_network()
        process.wait_for(lambda: self.knock(self.one), 10, 'the network')

    def test_shared_storage_is_seen_by_those_that_have_it(self) -> None:
        outside = self.beds.share(INSTANCES, [self.one, self.two])
        self.one.write(f'{INSTANCES}/nonce', 'one wrote it\n', owner='nova')
        self.assertEqual('one wrote it\n', self.two.read(f'{INSTANCES}/nonce'))
        self.assertEqual(108, (outside / 'nonce').stat().st_uid)
        three = self.beds['compute3']
        three.run('test', '!', '-e', f'{INSTANCES}/nonce')
        self.two.reboot()
        self.assertEqual('one wrote it\n', self.two.read(f'{INSTANCES}/nonce'))
        for host in (self.one, self.two):
            host.unmount(INSTANCES)
            host.run('test', '!', '-e', f'{INSTANCES}/nonce')

    def test_a_directory_of_this_machine_is_mounted_read_only(self) -> None:
        self.one.mount(ROOT / 'tests', '/mnt/tests', read_only=True)
        self.one.run('test', '-e', '/mnt/tests/hosts/test_beds.py')
        self.assertRaises(BedError, self.one.run, 'touch', '/mnt/tests/new')
        self.one.unmount('/mnt/tests')

    def test_a_guest_runs_behind_its_filter(self) -> None:
        guest = self.one.guest(dhcp_server='10.0.0.7')
        disk = f'{guest.directory}/disk'
        self.assertEqual('nova\n', self.one.run('stat', '-c', '%U', disk))
        guest.start()
        self.assertEqual('running', guest.state())
        self.assertIn('root', guest.ssh('id').stdout)
        self.assertIn('--ip-src 10.0.0.7 --ip-proto udp', guest.rules())
        self.assertIn(f'-s {guest.mac}', guest.rules())
        self.assertEqual(
            'libvirt-qemu\n', self.one.run('stat', '-c', '%U', disk)
        )
        remembered = self.one.run(
            *('getfattr', '--only-values', '--absolute-names'),
            *('-n', 'trusted.libvirt.security.dac', disk),
        )
        self.assertEqual('+108:+120', remembered.rstrip('\0'))
        # it is not let through with another's address
        guest.ssh('ip addr add 10.0.0.99/24 dev eth0')
        ended = guest.ssh('ping -c 1 -W 1 -I 10.0.0.99 10.0.0.1')
        self.assertEqual(1, ended.returncode, ended.stdout + ended.stderr)
        guest.destroy()
        self.assertEqual('shut off', guest.state())
        self.assertNotIn(guest.mac, guest.rules())
        self.assertEqual('nova\n', self.one.run('stat', '-c', '%U', disk))


class TestEnd(base.TestCase):
    """However they end, nothing is left."""

    def gone(self, traces: Traces) -> None:
        process.wait_for(lambda: not traces.left(), 20, 'the end', 0.05)
        self.assertEqual([], traces.left())

    def test_down_leaves_nothing(self) -> None:
        with Beds.up(1) as beds:
            host = beds.hosts[0]
            beds.share(INSTANCES)
            host.run('systemd-run', '--quiet', 'sleep', '1000')
            host.run('chattr', '+i', '/etc/hostname')
            traces = Traces(beds)
            self.assertGreater(len(traces.left()), 5)
        self.assertEqual([], traces.left())

    def test_a_test_that_fails_leaves_nothing(self) -> None:
        try:
            with Beds.up(1) as beds:
                traces = Traces(beds)
                raise ZeroDivisionError
        except ZeroDivisionError:
            self.assertEqual([], traces.left())

    def test_a_test_that_is_killed_leaves_nothing(self) -> None:
        code = (
            'from tests.hosts.beds import Beds\n'
            'print(Beds.up(1).directory, flush=True)\n'
            'input()\n'
        )
        with subprocess.Popen(
            [sys.executable, '-c', code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        ) as program:
            assert program.stdout is not None
            directory = program.stdout.readline().strip()
            traces = Traces(Beds(pathlib.Path(directory)))
            self.assertGreater(len(traces.left()), 5)
            program.send_signal(signal.SIGKILL)
        self.gone(traces)

    def test_a_keeper_that_is_killed_is_cleaned_up_after(self) -> None:
        beds = Beds.up(1)
        self.addCleanup(beds.down)
        traces = Traces(beds)
        os.kill(beds.pid, signal.SIGKILL)
        process.wait_for(beds.ended, 10, 'the end', 0.02)
        beds_module.sweep()
        self.gone(traces)

    def test_those_that_stand_do_so_until_somebody_says_down(self) -> None:
        def command(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, '-m', 'tests.hosts', *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                cwd=ROOT,
                env=os.environ | {'NOVA_RECOVERY_HOSTS': str(self.state)},
            )

        self.state = beds_module.tree.state_directory()
        if Beds.find():
            self.fail('beds stand here: python -m tests.hosts down')
        up = command('up', '1')
        self.addCleanup(command, 'down')
        self.assertEqual(0, up.returncode, up.stderr)
        beds = Beds.find()
        assert beds is not None
        traces = Traces(beds)
        self.assertEqual(0, command('status').returncode)
        self.assertEqual(
            'compute1\n', command('ssh', 'compute1', 'hostname').stdout
        )
        self.assertIn('beds stand', command('up', '1').stderr)
        self.assertEqual(0, command('power-cut', 'compute1').returncode)
        self.assertEqual(1, command('status').returncode)
        self.assertEqual(0, command('down').returncode)
        self.assertEqual([], traces.left())
        self.assertIn('no beds', command('status').stderr)

    def test_two_sets_of_beds_do_not_see_each_other(self) -> None:
        with futures.ThreadPoolExecutor() as pool:
            first, second = pool.map(lambda _: Beds.up(1), range(2))
        with first, second:
            self.assertNotEqual(
                first.hosts[0].ssh('cat /etc/machine-id').stdout,
                second.hosts[0].ssh('cat /etc/machine-id').stdout,
            )
        self.assertFalse(first.directory.exists())
