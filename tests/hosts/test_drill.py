# SPDX-License-Identifier: Apache-2.0

"""A canary loses its power and its iSCSI sessions, and comes back.

Nova, cinder and their databases are the practice cloud's. Its host1 is a
whole machine here: the guest is libvirt's, its disk comes through a real
session from another machine. What nova-compute's libvirt driver would do
there when it starts a server is done by ``Hand``, as the practice cloud's own
hypervisor only writes down what it was asked for.
"""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from tests.functional.base import FunctionalTest
from tests.hosts.beds import Beds
from tests.hosts.machine import Machine

#: Where the practice cloud's cinder says that its storage is.
PORTAL = '192.0.2.100:3260'
_DOMAIN = """\
<domain type="qemu"><name>{name}</name><uuid>{server}</uuid>
<memory unit="MiB">32</memory><os><type>hvm</type></os><devices>
<emulator>/usr/bin/qemu-system-x86_64</emulator>
<controller type="usb" model="none"/><memballoon model="none"/>
{disks}</devices></domain>
"""
_DISK = """\
<disk type="block" device="disk"><source dev="{path}"/>
<target dev="vd{letter}" bus="virtio"/><serial>{volume}</serial></disk>
"""
#: What it boots: cli, hlt. A guest that waits for nothing leaves the emulated
#: processor to the others.
_HALTS = """\
set -eu
disk=/srv/$(echo {target} | tr : -)
printf '\\372\\364\\353\\375' | dd of=$disk conv=notrunc status=none
printf '\\125\\252' | dd of=$disk bs=1 seek=510 conv=notrunc status=none
"""


def iqn(volume: str) -> str:
    return f'iqn.2010-10.org.openstack:volume-{volume}'


class Hand:
    """What host1's nova-compute does on the machine that stands for host1.

    It opens sessions and starts the domain when nova has started the server,
    and lets nova's hypervisor know no more than it would see itself: that a
    domain is off.
    """

    def __init__(self, practice: Any, host: Machine, lock: Any) -> None:
        self._practice, self._host, self._lock = practice, host, lock
        self._state = practice.config.state / 'var' / 'compute-host1'
        self._boots: dict[str, int] = {}
        self._ran: set[str] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.trouble: list[str] = []

    def run(self, script: str, check: bool = True) -> str:
        with self._lock:
            return self._host.run(script, check, 120)

    def adopt(self, server: str, volumes: list[str]) -> None:
        """Start a server there as nova has it, for the first time."""
        disks = ''
        for letter, volume in zip('abc', volumes):
            path = f'/dev/disk/by-path/ip-{PORTAL}-iscsi-{iqn(volume)}-lun-1'
            disks += _DISK.format(path=path, letter=letter, volume=volume)
        text = _DOMAIN.format(name=f'instance-{server[:8]}', server=server,
                              disks=disks)  # fmt: skip
        self.run(f"cat >/tmp/d.xml <<'END'\n{text}END")
        self._start(server, volumes, '/tmp/d.xml')
        self._boots[server] = self._guests()[server]['boots']
        self._ran.add(server)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._end.set()
        self._thread.join()

    def _guests(self) -> dict[str, Any]:
        return dict(self._practice.guests('host1'))

    def _start(self, server: str, volumes: list[str], xml: str = '') -> None:
        define = f'virsh -q define {xml}; ' if xml else ''
        logins = ''.join(
            f'iscsiadm -m node -T {iqn(volume)} -p {PORTAL} -o new; '
            f'iscsiadm -m node -T {iqn(volume)} -p {PORTAL} --login; '
            for volume in volumes
        )
        # 15: there is such a session
        self.run(f'{logins} udevadm settle; {define} virsh start {server}')

    def _work(self) -> None:
        while not self._end.wait(2):
            try:
                self._look()
            except Exception as error:
                self.trouble.append(str(error))

    def _look(self) -> None:
        guests = self._guests()
        for server, boots in list(self._boots.items()):
            guest = guests.get(server)
            if guest and guest['boots'] > boots:
                self._boots[server] = guest['boots']
                self._start(server, list(guest['volumes'].values()))
                self._ran.add(server)
        if not self._ran:
            return
        # libvirt itself takes seconds to answer there
        running = self.run('pgrep -a qemu-system', check=False)
        for server in [one for one in self._ran if one not in running]:
            self._ran.discard(server)
            lost = self._state / 'lost'
            lost.mkdir(exist_ok=True)
            (lost / server).touch()


class DrillTest(FunctionalTest):
    """The practice cloud, with a machine for its host1."""

    beds: ClassVar[Beds]
    host: ClassVar[Machine]
    storage: ClassVar[Machine]
    lock: ClassVar[Any]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.beds = Beds.up(0)
        cls.addClassCleanup(cls.beds.down)
        cls.host = cls.beds.machine()
        cls.storage = cls.beds.machine()
        cls.lock = threading.Lock()
        cls.storage.run('ip address add 192.0.2.100/24 dev eth0')
        cls.host.run(
            'ip address add 192.0.2.1/24 dev eth0\n'
            "printf '[DEFAULT]\\nhost = host1\\n' >/etc/nova/nova.conf"
        )

    def setUp(self) -> None:
        super().setUp()
        self.configure(
            fleet__inventory=self.beds.inventory(),
            fleet__host=f'host1={self.host.name}',
            # emulated, and libvirt in it takes its time
            fleet__timeout=300,
            snapshot__directory=self.home / 'snapshots',
            # the canary has just been made
            disaster__quiet=1,
        )
        self.hand = Hand(self.practice, self.host, self.lock)

    def canary(self, *kinds: str) -> tuple[str, str, list[str]]:
        """A server that runs on the machine: name, UUID, iSCSI volumes."""
        server = self.create_server('canary', volumes=kinds)
        guest = self.practice.guests('host1')[server.id]
        volumes = [
            volume
            for volume, kind in zip(guest['volumes'].values(), kinds)
            if kind == 'iscsi'
        ]
        for volume in volumes:
            self.storage.export(iqn(volume))
            self.storage.run(_HALTS.format(target=iqn(volume)))
        self.hand.adopt(server.id, volumes)
        self.hand.begin()
        self.addCleanup(self.hand.end)
        return server.name, server.id, volumes

    def sessions(self) -> list[str]:
        """The targets of the machine's sessions, as iscsiadm has them."""
        said = self.hand.run('iscsiadm -m session', check=False)
        return [
            line.split()[3] for line in said.splitlines() if PORTAL in line
        ]

    def whole(self, server: str, volumes: list[str]) -> None:
        """The server runs, on both sides, with each of its disks."""
        for volume in volumes:
            self.assertIn(iqn(volume), self.sessions())
        self.assertIn(server, self.hand.run('virsh -q list --uuid'))
        self.assertEqual([], self.hand.trouble)
        row = self.state.row(server)
        self.assertEqual(('active', 1), (row['vm_state'], row['power_state']))
        for volume in volumes:
            (held,) = self.state.attachments(volume)
            self.assertEqual('attached', held['attach_status'])


class TestDrill(DrillTest):
    def test_power_loss_seen_brought_back_and_timed(self) -> None:
        name, server, volumes = self.canary('iscsi')
        # an emulated host needs a minute to answer where others are at work
        rows = self.answer(
            *('drill', 'power-loss', '--server', name, '--yes'),
            *('--target', 'seen=900', '--target', 'back=1800'),
        )
        steps = {row['Step']: row for row in rows}
        self.assertEqual('met', steps['seen']['Result'])
        self.assertEqual('met', steps['back']['Result'])
        self.whole(server, volumes)
        self.assertEqual(rows, self.answer('drill', 'report'))
        self.assertEqual('reboot', self.state.actions(server)[-1])
