# SPDX-License-Identifier: Apache-2.0

"""A compute host of the practice cloud that can be looked at from inside.

The practice cloud's hypervisor writes down what it is asked for; there is no
host behind it. Commands that go to hosts are run here with the fleet's driver
``local``, in mounts of their own: sysfs, ``virsh`` and ``iscsiadm`` are ours
there and tell of the guests that the hypervisor has. The agent is as it is
everywhere. What these programs do on a host is seen in ``tests/hosts``.
"""

from __future__ import annotations

from collections.abc import Sequence
import json
import os
import pathlib
import shutil
import sys
import threading

#: Where the practice cloud's cinder says that its storage is.
ADDRESS, PORT = '192.0.2.100', '3260'
#: It makes the mounts, then becomes the command.
_MOUNTS = """\
cd {stand}
mount -t tmpfs tmpfs dev
for name in null zero full random urandom tty; do
    : >dev/$name
    mount --bind /dev/$name dev/$name
done
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
for disk in sys/class/block/*; do : >dev/${{disk##*/}}; done
mount --bind sys /sys
mount --bind bin /usr/local/sbin
mount -t overlay -o lowerdir={stand}/etc:/etc overlay /etc
mount --move dev /dev
cd /
exec "$@"
"""
_PROGRAM = """\
#!{python}
import sys
sys.path.insert(0, {root!r})
from tests.functional import stand
sys.exit(stand.{name}({stand!r}, {guests!r}, sys.argv[1:]))
"""
_DISK = """\
<disk type="block" device="disk"><source dev="/dev/{device}"/>
<target dev="{target}" bus="virtio"/><serial>{volume}</serial></disk>
"""


class Stand:
    """The host; its sessions are opened and closed for guests.

    :param state: of the host's nova-compute, with its ``guests.json``
    """

    def __init__(
        self, stand: pathlib.Path, state: pathlib.Path, nova_host: str
    ) -> None:
        self._stand, self._state = stand, state
        for name in (
            *('bin', 'dev', 'etc/nova', 'sys/class/block'),
            *('sys/class/iscsi_session', 'sys/class/iscsi_connection'),
        ):
            (stand / name).mkdir(parents=True)
        (stand / 'etc/nova/nova.conf').write_text(
            f'[DEFAULT]\nhost = {nova_host}\n'
        )
        for name in ('virsh', 'iscsiadm'):
            path = stand / 'bin' / name
            path.write_text(
                _PROGRAM.format(
                    python=sys.executable,
                    root=str(pathlib.Path(__file__).parents[2]),
                    name=name,
                    stand=str(stand),
                    guests=str(state),
                )
            )
            path.chmod(0o755)
        self._boots: dict[str, int] = {}
        self._volumes: dict[str, list[str]] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def begin(self, server: str, volumes: Sequence[str]) -> None:
        """Open the sessions of a server, now and whenever it is started."""
        self._volumes[server] = list(volumes)
        self._boots[server] = guests(self._state)[server]['boots']
        for volume in volumes:
            login(self._stand, target(volume))
        self._thread.start()

    def end(self) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def _follow(self) -> None:
        """As os-brick does it when nova-compute starts a server."""
        while not self._end.wait(0.2):
            there = guests(self._state)
            for server, boots in self._boots.items():
                if server in there and there[server]['boots'] > boots:
                    self._boots[server] = there[server]['boots']
                    for volume in self._volumes[server]:
                        login(self._stand, target(volume))

    def inside(self, *argv: str) -> list[str]:
        """The command that runs a program on the host."""
        script = _MOUNTS.format(stand=self._stand)
        return [
            *('unshare', '--mount', '--propagation', 'private'),
            *('sh', '-euc', script, 'sh', *argv),
        ]

    def sessions(self) -> dict[int, str]:
        """Number -> target."""
        return sessions(self._stand)


def target(volume: str) -> str:
    """As the practice cloud's cinder calls it."""
    return f'iqn.2010-10.org.openstack:volume-{volume}'


def guests(state: pathlib.Path) -> dict[str, dict]:
    """What the hypervisor has; a guest whose power was taken is off."""
    found: dict[str, dict] = json.loads((state / 'guests.json').read_text())
    for uuid, guest in found.items():
        if (state / 'lost' / uuid).exists():
            guest['state'] = 'shut off'
    return found


def sessions(stand: pathlib.Path) -> dict[int, str]:
    """Number -> target, of what sysfs has."""
    return {
        int(place.name[7:]): (place / 'targetname').read_text()
        for place in (stand / 'sys/class/iscsi_session').iterdir()
    }


def login(stand: pathlib.Path, iqn: str) -> bool:
    """Open a session, with a number that none had; False: there is one."""
    if iqn in sessions(stand).values():
        return False
    counter = stand / 'counter'
    number = int(counter.read_text()) + 1 if counter.exists() else 1
    counter.write_text(str(number))
    device = f'sd{chr(ord("f") + number)}'
    classes = stand / 'sys/class'
    made = stand / f'new{number}'
    lun = made / f'device/target{number}:0:0/{number}:0:0:1'
    (lun / 'block' / device).mkdir(parents=True)
    (made / 'targetname').write_text(iqn)
    (made / 'state').write_text('LOGGED_IN')
    (lun / 'state').write_text('running')
    (lun / 'wwid').write_text(f'naa.{number:016x}')
    connection = classes / f'iscsi_connection/connection{number}:0'
    connection.mkdir()
    (connection / 'persistent_address').write_text(ADDRESS)
    (connection / 'persistent_port').write_text(PORT)
    (classes / 'block' / device).mkdir()
    (classes / 'block' / device / 'size').write_text('2097152')
    # no major of any driver
    (classes / 'block' / device / 'dev').write_text(f'4000:{number}')
    made.rename(classes / f'iscsi_session/session{number}')
    return True


def iscsiadm(stand: str, _state: str, words: list[str]) -> int:
    """The program, as far as the agent calls it."""
    home = pathlib.Path(stand)
    if words[:2] == ['-m', 'session']:
        number = int(words[words.index('-r') + 1])
        if number not in sessions(home):
            return 22
        classes = home / 'sys/class'
        place = classes / f'iscsi_session/session{number}'
        for disk in place.glob('device/target*/*/block/*'):
            shutil.rmtree(classes / 'block' / disk.name)
        shutil.rmtree(classes / f'iscsi_connection/connection{number}:0')
        shutil.rmtree(place)
        return 0
    if '--login' in words:
        return 0 if login(home, words[words.index('-T') + 1]) else 15
    # no record is kept, as after -o delete
    return 0 if '-o' in words else 21


def virsh(stand: str, state: str, words: list[str]) -> int:
    """The program, as far as the agent calls it."""
    there = guests(pathlib.Path(state))
    orders = words[words.index('--connect') + 2 :]
    for order in ' '.join(orders).split('; '):
        verb, _, uuid = order.partition(' ')
        if verb == 'list':
            print('\n'.join(there))
        elif verb == 'domstate':
            print(there[uuid]['state'])
        elif verb == 'dumpxml':
            print(_domain(pathlib.Path(stand), uuid, there[uuid]))
        elif verb == 'destroy':
            if there[uuid]['state'] != 'running':
                return 1
            lost = pathlib.Path(state) / 'lost'
            lost.mkdir(exist_ok=True)
            (lost / uuid).touch()
    return 0


def _domain(stand: pathlib.Path, uuid: str, guest: dict) -> str:
    place = stand / 'sys/class/iscsi_session'
    devices = {
        iqn: os.listdir(next(place.glob(f'session{n}/device/*/*/block')))[0]
        for n, iqn in sessions(stand).items()
    }
    disks = [
        _DISK.format(
            device=devices.get(target(volume), 'none'),
            target=device.rpartition('/')[2],
            volume=volume,
        )
        for device, volume in guest['volumes'].items()
    ]
    runs = ' id="1"' if guest['state'] == 'running' else ''
    return (
        f'<domain type="kvm"{runs}><name>{guest["name"]}</name>'
        f'<uuid>{uuid}</uuid><devices>{"".join(disks)}</devices></domain>'
    )
