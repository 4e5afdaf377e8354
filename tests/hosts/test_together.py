# SPDX-License-Identifier: Apache-2.0

"""A site loses its power, and comes back: all of it, in one piece.

Nova, cinder and their databases are the practice cloud's. Each of its compute
hosts is a bed here, with systemd, sshd, libvirtd and a domain for each server;
one of them is a guest that boots, and that is reached by ssh through its host.
What nova-compute's libvirt driver would do on a host is done by ``Hand``.
There is no iSCSI and no RBD in a container: what the kernel says of sessions
and of disks is ours.
"""

from __future__ import annotations

from concurrent import futures
import pathlib
import threading
from typing import Any, ClassVar

from tests.cloud import services
from tests.functional.disaster import DisasterTest, JSON, NO_SYNC
from tests.guests import image
from tests.hosts.bed import Bed
from tests.hosts.beds import Beds
from tests.hosts.guest import Guest

#: The one whose guest is real.
REAL = 'at3-ui01'
#: What containers can't have: this machine keeps their clock.
CLOCK = 'CLOCK-FREE'
#: That hangs, and that does not start.
HUNG, OFF = 'host1', 'host2'
#: Of both, and of the one that has most servers.
DOWN = ('HOST-DOWN', 'SRV-DOWN')
FOUND = (
    *('ISCSI-LOST', 'OWNER-LEFT', 'PATH-LOST', 'RULES-DIFFER', 'RULES-LOST'),
)
CHAINS = ('iptables:filter:INPUT', 'iptables:filter:ops')
_RULES = """\
iptables -N ops
iptables -A ops -p tcp --dport 4240 -j ACCEPT
iptables -A INPUT -j ops
"""
_NUMBERS = """\
usermod -u 112 nova
groupmod -g 124 nova
chown -R nova:nova /var/lib/nova /var/log/nova
"""
#: As os-brick connects a volume: what is in sysfs and in /dev afterwards. Any
#: device does that qemu opens.
_CONNECT = """\
#!/bin/sh
set -eu
volume=$1 kind=$2
if ! [ -d /run/sys ]; then
    for name in class bus; do
        mkdir -p /run/sys/$name /run/sys/work-$name
        mount -t overlay overlay /sys/$name -o \
lowerdir=/sys/$name,upperdir=/run/sys/$name,workdir=/run/sys/work-$name
    done
    echo 0 >/run/sys/number
fi
n=$(($(cat /run/sys/number) + 1))
echo $n >/run/sys/number
if [ $kind = rbd ]; then
    disk=rbd$n link=/dev/rbd/volumes/volume-$volume
    place=/sys/bus/rbd/devices/$n
    mkdir -p $place
    echo volumes >$place/pool
    echo volume-$volume >$place/name
else
    iqn=iqn.2010-10.org.openstack:volume-$volume portal=192.0.2.100
    disk=sd$(printf "\\\\$(printf %o $((101 + n)))")
    link=/dev/disk/by-path/ip-$portal:3260-iscsi-$iqn-lun-1
    place=/sys/class/iscsi_session/session$n
    lun=$place/device/target$n:0:0/$n:0:0:1
    mkdir -p $lun/block/$disk /sys/class/iscsi_connection/connection$n:0
    echo $iqn >$place/targetname
    echo LOGGED_IN >$place/state
    echo running >$lun/state
    echo $portal >/sys/class/iscsi_connection/connection$n:0/persistent_address
    echo 3260 >/sys/class/iscsi_connection/connection$n:0/persistent_port
fi
mkdir -p /sys/class/block/$disk ${link%/*}
echo 2097152 >/sys/class/block/$disk/size
mknod /dev/$disk c 1 5
ln -sfn /dev/$disk $link
"""
_LINKS = {
    'iscsi': '/dev/disk/by-path/ip-192.0.2.100:3260-iscsi-'
    'iqn.2010-10.org.openstack:volume-{}-lun-1',
    'rbd': '/dev/rbd/volumes/volume-{}',
}
_DOMAIN = """\
<domain type="qemu"><name>{name}</name><uuid>{uuid}</uuid>
<memory unit="MiB">16</memory><os><type>hvm</type></os><devices>
<emulator>/usr/bin/qemu-system-x86_64</emulator>
<controller type="usb" model="none"/><memballoon model="none"/>
{disks}</devices></domain>
"""
_DISK = """\
<disk type="block" device="disk">
<driver name="qemu" type="raw" cache="writeback"/><source dev="{path}"/>
<target dev="{target}" bus="virtio"/><serial>{volume}</serial></disk>
"""


class Hand:
    """What nova-compute does on the bed that stands for its host.

    The service runs where the practice cloud has it, as long as its unit does
    on the bed; a domain is started when nova has started its server.
    """

    def __init__(self, practice: Any, host: str, bed: Bed) -> None:
        self._practice, self._host, self.bed = practice, host, bed
        self._kinds = {
            row['id']: 'rbd' if 'rbd' in row['host'] else 'iscsi'
            for row in practice.sql('cinder', 'SELECT id, host FROM volumes')
        }
        self._boots: dict[str, int] = {}
        self._real: dict[str, Guest] = {}
        self._unit = ''
        #: it starts, and never gets as far as to report
        self.hangs = False
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.trouble: list[str] = []

    def begin(self, real: str) -> Guest | None:
        """Have the host as nova has it.

        :param real: the server whose guest boots
        :returns: that guest, if it is here
        """
        self.bed.write(
            '/etc/nova/nova.conf', f'[DEFAULT]\nhost = {self._host}\n'
        )
        self.bed.write('/usr/local/sbin/connect', _CONNECT, 0o755)
        for uuid, guest in self._guests().items():
            if uuid == real:
                number = int(guest['name'].rpartition('-')[2], 16)
                self._real[uuid] = self.bed.guest(number, uuid=uuid)
            else:
                self._define(uuid, guest)
            self._boots[uuid] = guest['boots']
            if guest['state'] != 'shut off':
                self._start(uuid, guest)
            if guest['state'] == 'paused':
                self.bed.run('virsh', 'suspend', uuid)
        self._unit = self._invocation()
        self._thread.start()
        return self._real.get(real)

    def end(self) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def _guests(self) -> dict[str, JSON]:
        return dict(self._practice.guests(self._host))

    def _define(self, uuid: str, guest: JSON) -> None:
        disks = ''.join(
            _DISK.format(
                path=_LINKS[self._kinds[volume]].format(volume),
                target=device.rpartition('/')[2],
                volume=volume,
            )
            for device, volume in sorted(guest['volumes'].items())
        )
        text = _DOMAIN.format(name=guest['name'], uuid=uuid, disks=disks)
        self.bed.run('virsh', 'define', '/dev/stdin', input=text)

    def _start(self, uuid: str, guest: JSON) -> None:
        for volume in guest['volumes'].values():
            kind = self._kinds[volume]
            link = _LINKS[kind].format(volume)
            if self.bed.ran('test', '-e', link).returncode:
                self.bed.run('connect', volume, kind)
        if uuid in self._real:
            self._real[uuid].begin()
        else:
            self.bed.run('virsh', 'start', uuid)

    def _invocation(self) -> str:
        """Which start of the unit runs now; '' if it does not."""
        said = self.bed.run(
            *('systemctl', 'show', 'nova-compute'),
            *('-P', 'ActiveState', '-P', 'InvocationID'),
        )
        state, _line, number = said.partition('\n')
        return number.strip() if state == 'active' else ''

    def _work(self) -> None:
        while not self._end.wait(0.5):
            with self._lock:
                if not self.bed.state()['ready']:
                    continue
                try:
                    self._look()
                except Exception as error:
                    self.trouble.append(f'{self._host}: {error}')

    def cut(self) -> None:
        """Take its power, and not in the middle of something of ours."""
        with self._lock:
            self.bed.power_cut()

    def _look(self) -> None:
        unit, name = self._invocation(), services.compute(self._host)
        if unit != self._unit:
            self._unit = unit
            self._practice.kill(name)
            if unit and not self.hangs:
                self._practice.start(name, options=NO_SYNC)
            self.hangs = False
        for uuid, guest in self._guests().items():
            if guest['boots'] > self._boots.get(uuid, 0):
                self._boots[uuid] = guest['boots']
                self._start(uuid, guest)


class TestTogether(DisasterTest):
    beds: ClassVar[Beds]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.beds = Beds.up(3)
        cls.addClassCleanup(cls.beds.down)

    def setUp(self) -> None:
        super().setUp()
        # what is looked at is in a table as wide as it needs
        hosts = dict(zip(self.practice.config.hosts, self.beds))
        pairs = ''.join(f'{h} {bed.name}\n' for h, bed in hosts.items())
        (self.home / 'map').write_text(pairs)
        self.hands = {
            host: Hand(self.practice, host, bed) for host, bed in hosts.items()
        }
        self.each(lambda hand: self.addCleanup(hand.end))
        self.real = self.state.uuid(REAL)
        (guest,) = filter(None, self.each(lambda one: one.begin(self.real)))
        self.guest = guest
        self.configure(
            snapshot__directory=self.home,
            disaster__quiet=1,
            fleet__inventory=self.beds.inventory(),
            fleet__host_map=self.home / 'map',
            guests__config_file=self.ssh_config(),
        )
        self.until_booted(1)

    def each(self, do: Any) -> list[Any]:
        with futures.ThreadPoolExecutor(3) as pool:
            return list(pool.map(do, self.hands.values()))

    def ssh_config(self) -> pathlib.Path:
        """What an operator has: the way into a guest is by its host."""
        built = image.build()
        known = self.home / 'known_hosts'
        known.write_text(f'{self.guest.address} {built.host_key}\n')
        path = self.home / 'ssh_config'
        path.write_text(f"""
Include {self.beds.ssh_config}
Host inside
  HostName {self.guest.address}
  ProxyJump {self.guest.bed.name}
  User root
  IdentityFile {built.key}
  IdentitiesOnly yes
  UserKnownHostsFile {known}
  GlobalKnownHostsFile /dev/null
""")
        return path

    def until_booted(self, times: int) -> None:
        self.wait_for(
            lambda: len(self.guest.boots()) >= times, f'boot {times}', 90
        )

    # what is found

    def assess(self, *words: str, code: int) -> dict[tuple[str, str], JSON]:
        """(code, host) -> row, of all that matters."""
        rows = self.answer('disaster', 'assess', '--hosts', *words, code=code)
        return {
            (row['Code'], row['Host']): row
            for row in rows
            if row['Severity'] != 'note' and row['Code'] != CLOCK
        }

    def red(self, code: int) -> dict[str, JSON]:
        rows = self.answer('disaster', 'assess', '--ready', '--hosts',
                           code=code)  # fmt: skip
        return {row['Subject']: row for row in rows if row['State'] != 'go'}

    # the power

    def power_loss(self) -> None:
        self.each(lambda hand: hand.cut())
        self.lose_power(database=True)

    def power_back(self) -> None:
        """Controllers first; each bed starts what its systemd is told to."""
        self.power_on(compute=False)
        self.each(lambda hand: hand.bed.power_on())
        # a bed's network outlives it; no other host keeps its rules
        self.hands['host1'].bed.run('sh', '-c', 'iptables -F; iptables -X')

    def test_a_site_loses_its_power_and_is_back(self) -> None:
        one, two = (self.hands[host] for host in ('host1', 'host2'))
        one.bed.run('sh', '-ec', _RULES)
        before = self.everything()
        self.take_snapshot('--hosts')
        against = ('--snapshot', self.snapshot)
        self.assertEqual({}, self.assess(*against, code=0))
        # never enabled by whoever set it up: it ran since by hand
        two.bed.run('systemctl', 'disable', 'nova-compute')
        one.hangs = True
        self.power_loss()
        self.power_back()
        # installed anew in the night, with other numbers
        two.bed.run('sh', '-ec', _NUMBERS)
        for host in (HUNG, OFF):
            self.practice.wait_compute_down(host)
        found = self.assess(*against, code=4)
        self.assertEqual(
            {
                *((code, 'host1') for code in FOUND),
                *((code, host) for code in DOWN for host in (HUNG, OFF)),
                ('UID-DIFFERS', 'host2'),
            },
            set(found),
        )
        red = self.red(3)
        self.assertLessEqual(
            {'host1', 'host2', f'host1 {self.guest.directory}/disk'}, set(red)
        )
        self.mend(found, red)
        self.assertEqual({}, self.red(0))
        self.apply(
            *('--guests', 'ssh', '--guest', REAL),
            *('--guest-address', f'{REAL}=inside'),
        )
        self.assert_back(before.values())
        self.assert_real_ones_run(before)
        self.assertEqual({}, self.assess(*against, code=0))
        told = self.done('run', 'report', self.newest_run()).stdout
        for name in (one_.name for one_ in before.values() if one_.ran):
            self.assertIn(name, told)
        self.assertEqual(
            [], [t for h in self.hands.values() for t in h.trouble]
        )

    def mend(
        self, found: dict[tuple[str, str], JSON], red: dict[str, JSON]
    ) -> None:
        """What the findings say, by the commands that they name."""
        self.done(
            *('host', 'rules', 'restore', 'host1', '--yes'),
            *('--snapshot', self.snapshot),
            *(word for name in CHAINS for word in ('--chain', name)),
        )
        bed = self.hands['host1'].bed
        self.assertIn('-A ops', bed.run('iptables-save'))
        owner = red[f'host1 {self.guest.directory}/disk']['Mend']
        bed.run('sh', '-c', owner)
        self.assertEqual(
            'openstack recovery host uid show host2',
            found['UID-DIFFERS', 'host2']['Fix'],
        )
        self.done('host', 'uid', 'set', *self.hands, '--yes')
        # one that runs and is not heard of, one that does not run
        for host in (HUNG, OFF):
            self.assertEqual(
                f'openstack recovery host service list {host}',
                found['HOST-DOWN', host]['Fix'],
            )
        self.assertEqual(
            'openstack recovery host service restart host1', self.to_do(HUNG)
        )
        self.done('host', 'service', 'restart', 'host1', '--yes')
        self.assertEqual(
            'systemctl start nova-compute.service', self.to_do(OFF)
        )
        self.hands[OFF].bed.run(*self.to_do(OFF).split())
        self.wait_up()

    def to_do(self, host: str) -> str:
        """What the list of a host's services says of its nova-compute."""
        rows = self.answer('host', 'service', 'list', host, code=4)
        (told,) = (row['To do'] for row in rows if row['To do'])
        return str(told)

    def assert_real_ones_run(self, before: dict[str, Any]) -> None:
        """On the hosts; the one guest was rebooted once from inside."""
        running = {
            uuid
            for bed in self.beds
            for uuid in bed.run('virsh', 'list', '--uuid').split()
        }
        self.assertEqual(
            {one.uuid for one in before.values() if one.ran}, running
        )
        self.assertEqual(
            (1, 3),
            (
                self.guest.console().count('asked to reboot'),
                len(self.guest.boots()),
            ),
        )
