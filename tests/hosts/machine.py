# SPDX-License-Identifier: Apache-2.0

"""A whole machine beside the beds: a kernel that has iSCSI and devices.

Containers have this machine's kernel, which may know neither. It is emulated
(no KVM), so it is booted once and kept as it was when it had booted; from
there it goes on in seconds.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import socket
import time
from typing import TYPE_CHECKING
import uuid

from tests.cloud import process
from tests.cloud.process import CloudError
from tests.hosts import cgroups, packages, tree
from tests.hosts.bed import Host
from tests.hosts.packages import BedError

if TYPE_CHECKING:
    from tests.hosts.beds import Beds

_HERE = pathlib.Path(__file__).parent
_WORDS = (
    'root=/dev/vda rw console=ttyS0 quiet mitigations=off nokaslr '
    'no_timer_check tsc=reliable random.trust_cpu=on net.ifnames=0 '
    'systemd.show_status=no audit=0'
)
_ADOPT = """\
date --set @{now} >/dev/null
hostname {name}
echo {name} >/etc/hostname
echo {machine_id} >/etc/machine-id
echo '{key}' >/etc/ssh/authorized_keys
echo InitiatorName=iqn.2026-01.test:{name} >/etc/iscsi/initiatorname.iscsi
mkdir -p /etc/nova
printf '[DEFAULT]\\nhost = {name}\\nmy_ip = {address}\\n' >/etc/nova/nova.conf
cat >/etc/systemd/network/10-switch.network <<END
[Match]
Name=eth0
[Link]
MACAddress=fa:16:3e:01:00:{number}
[Network]
LinkLocalAddressing=no
Address={address}/24
END
systemctl restart iscsid systemd-networkd
until ip -4 address show eth0 | grep -q inet; do sleep 0.1; done
cat /etc/ssh/ssh_host_ed25519_key.pub
"""
#: Of the state that is kept, in the disk's own file.
_SNAPSHOT = 'booted'
#: Seconds to boot on a busy machine without KVM.
_BOOT = 300


class Machine(Host):
    """One machine on the beds' switch; it is gone with the beds.

    :ivar name: iscsi1 and so on; as a bed's, also its nova host
    """

    def __init__(self, beds: Beds, number: int) -> None:
        super().__init__(
            beds, f'iscsi{number}', f'10.78.0.{20 + number}', f'tap{number}'
        )
        self._directory = beds.directory / self.name
        self._group = f'{beds.group}/{self.name}'

    @property
    def disk(self) -> pathlib.Path:
        """The disk that it boots from."""
        return self._directory / 'disk.qcow2'

    def wake(self, disk: pathlib.Path) -> None:
        """Go on where the kept machine was, as another one.

        :param disk: with the state that was kept
        """
        self._make()
        # sparse, and without a copy where the file system can do that
        packages.run(
            *('cp', '--sparse=always', '--reflink=auto'),
            *(str(disk), str(self.disk)),
        )
        self._launch('-loadvm', _SNAPSHOT)
        self._adopt()

    def boot(self, base: pathlib.Path) -> None:
        """Boot it for the first time, from a layer over the base."""
        self._make()
        packages.run(
            *('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'qcow2'),
            *('-b', str(base), str(self.disk)),
        )
        self._launch()
        self._await_shell()
        self.run('systemctl is-system-running --wait', seconds=_BOOT)

    def keep(self) -> None:
        """Write how it is now into its disk, and end it."""
        self._command(f'savevm {_SNAPSHOT}')
        self.off()

    def off(self) -> None:
        """End it, as a power cut does."""
        cgroups.kill(self._group)
        process.wait_for(
            lambda: not cgroups.members(self._group), 15, 'its end', 0.02
        )

    def run(self, script: str, check: bool = True, seconds: float = 60) -> str:
        """Have a script run by the shell at its serial port, as root.

        It needs no network. A terminal takes some 4,000 characters a line.

        :returns: what it printed, errors too
        :raises BedError: there is no answer in time; or the script failed,
            unless *check* is false
        """
        mark = uuid.uuid4().hex
        encoded = base64.b64encode(script.encode()).decode()
        # the terminal may echo the line, but that has the quotes in it
        line = (
            f'echo "{mark}""<"; sh -c "$(echo {encoded} | base64 -d)" '
            f'</dev/null 2>&1; echo "{mark}"">$?<"\n'
        )
        ended = re.compile(f'{mark}<(.*){mark}>([0-9]+)<', re.S)
        said = ''
        deadline = time.monotonic() + seconds
        with self._socket('serial') as serial:
            serial.sendall(line.encode())
            serial.settimeout(0.2)
            while not (found := ended.search(said)):
                if time.monotonic() > deadline:
                    raise BedError(f'{self.name}: {script}\n{said}')
                with contextlib.suppress(TimeoutError):
                    said += serial.recv(65536).decode(errors='replace')
        answer = found[1].replace('\r', '').lstrip('\n')
        if check and found[2] != '0':
            raise BedError(f'{self.name}: {script}: {found[2]}\n{answer}')
        return answer

    def _await_shell(self) -> None:
        deadline = time.monotonic() + _BOOT
        while True:
            try:
                self.run('true', seconds=5)
            except BedError as error:
                if time.monotonic() > deadline:
                    console = self._directory / 'console'
                    raise BedError(
                        f'{error}\n{console.read_text(errors="replace")}'
                    ) from error
            else:
                return

    def export(self, iqn: str, megabytes: int = 16) -> None:
        """Have a new iSCSI target with one disk, LUN 1, open to everybody."""
        path = f'/srv/{iqn.replace(":", "-")}'
        self.run(f"""
set -eu
last=$(tgtadm --mode target --op show | awk '/^Target/ {{print $2 + 0}}')
number=$(($(echo "$last" | tail -n 1) + 1))
truncate --size {megabytes}M {path}
tgtadm --tid $number --mode target --op new -T {iqn}
tgtadm --tid $number --mode logicalunit --op new --lun 1 -b {path}
tgtadm --tid $number --mode target --op bind -I ALL
""")

    def _make(self) -> None:
        self._directory.mkdir()
        cgroups.create(self._group)
        self.beds.run(*f'ip tuntap add {self.port} mode tap'.split())

    def _launch(self, *extra: str) -> None:
        boot = self.beds.tree / 'boot'
        emulator = process.program('qemu-system-x86_64', 'qemu-system-x86')
        self.beds.spawn(
            self._group,
            self._directory,
            [
                *(emulator, '-name', self.name, '-machine', 'q35'),
                *('-accel', 'tcg', '-cpu', 'Nehalem', '-m', '512'),
                *('-nodefaults', '-no-user-config', '-display', 'none'),
                *('-serial', 'file:console'),
                *('-serial', 'unix:serial,server=on,wait=off'),
                *('-monitor', 'unix:monitor,server=on,wait=off'),
                *('-drive', 'file=disk.qcow2,if=virtio,cache=unsafe'),
                *('-device', 'virtio-rng-pci'),
                '-netdev',
                f'tap,id=net,ifname={self.port},script=no,downscript=no',
                *('-device', 'virtio-net-pci,netdev=net,romfile='),
                *('-kernel', str(next(boot.glob('vmlinuz-*')))),
                *('-initrd', str(next(boot.glob('initrd.img-*')))),
                *('-append', _WORDS, *extra),
            ],
        )

    def _adopt(self) -> None:
        """Make it another one than its brothers from the same state."""
        said = self.run(
            _ADOPT.format(
                now=int(time.time()),
                name=self.name,
                address=self.address,
                number=self.address.rpartition('.')[2],
                machine_id=uuid.uuid4().hex,
                key=self.beds.key.with_suffix('.pub').read_text().strip(),
            )
        )
        found = re.search(r'^ssh-ed25519 \S+', said, re.M)
        if found is None:
            raise BedError(f'{self.name} was not adopted:\n{said}')
        with open(self.beds.directory / 'known_hosts', 'a') as known:
            known.write(f'{self.name},{self.address} {found.group()}\n')
        self.beds.run(*f'ip link set {self.port} master hosts up'.split())

    def _command(self, line: str) -> None:
        """Give a command to the monitor of qemu; wait until it is done."""
        with self._socket('monitor') as monitor:
            monitor.settimeout(120)
            for order in ('', line):
                said = b''
                monitor.sendall(f'{order}\n'.encode() if order else b'')
                while not said.endswith(b'(qemu) '):
                    said += monitor.recv(65536)

    def _socket(self, name: str) -> socket.socket:
        """Connect to a socket of qemu, whose path may be too long for one."""
        directory = os.open(self._directory, os.O_PATH)
        try:
            path = f'/proc/self/fd/{directory}/{name}'
            process.wait_for(
                (self._directory / name).is_socket, 20, f'its {name}', 0.02
            )
            connected = socket.socket(socket.AF_UNIX)
            connected.connect(path)
        except CloudError as error:
            log = (self._directory / 'log').read_text(errors='replace')
            raise BedError(f'{self.name}: {error}\n{log}') from error
        finally:
            os.close(directory)
        return connected


def build(root: pathlib.Path) -> pathlib.Path:
    """Return the directory with the kept machine; make it where it is not.

    :param root: the tree of the beds
    :raises BedError: it does not boot
    """
    from tests.hosts.beds import Beds

    recipe = hashlib.sha256(root.name.encode())
    for name in ('machine.py', 'machine.sh'):
        recipe.update((_HERE / name).read_bytes())
    state = tree.state_directory()
    image = state / f'machine-{recipe.hexdigest()[:12]}'
    with tree.locked(state / 'machine-lock'):
        if (image / 'disk.qcow2').exists():
            return image
        for old in state.glob('machine-*/'):
            shutil.rmtree(old)
        image.mkdir()
        _make_base(root, image)
        with Beds.up(0) as beds:
            machine = Machine(beds, 1)
            machine.boot(image / 'base.qcow2')
            machine.keep()
            shutil.move(machine.disk, image / 'disk.qcow2')
    return image


def _make_base(root: pathlib.Path, image: pathlib.Path) -> None:
    """Make a file system of the tree, changed a bit."""
    work = image / 'work'
    script = (
        f'mkdir {work}; mount -t tmpfs tmpfs {work}; cd {work}\n'
        'mkdir upper layer root\n'
        f'mount -t overlay -o lowerdir={root},upperdir=upper,workdir=layer'
        ' overlay root\n'
        f'chroot root sh -eu <{_HERE}/machine.sh\n'
        f'mkfs.ext4 -q -O ^has_journal -d root {image}/base.raw 3G\n'
    )
    packages.run('unshare', '--mount', 'sh', '-eu', input=script)
    packages.run(
        *('qemu-img', 'convert', '-O', 'qcow2'),
        *(str(image / 'base.raw'), str(image / 'base.qcow2')),
    )
    (image / 'base.raw').unlink()
