# SPDX-License-Identifier: Apache-2.0

"""A tiny guest on a bed, as nova has its own: libvirt, a filter, files."""

from __future__ import annotations

import functools
import gzip
import pathlib
import re
import subprocess
from typing import TYPE_CHECKING
import uuid as uuid_module

from tests.cloud import process
from tests.cloud.process import CloudError
from tests.guests import image
from tests.guests.cpio import Archive
from tests.guests.image import Image
from tests.hosts.packages import BedError

if TYPE_CHECKING:
    from tests.hosts.bed import Bed

_HERE = pathlib.Path(__file__).parent
_BRIDGE = 'br100'
#: The host's own address on the bridge, where the guests' DHCP server is.
GATEWAY = '10.0.0.1'
#: Seconds to boot on a busy machine without KVM.
_BOOT = 90

_FILTER = """\
<filter name='{filter}' chain='root'>
  <filterref filter='nova-base'/>
</filter>
"""

_DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>128</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{directory}/kernel</kernel>
    <initrd>{directory}/ramdisk</initrd>
    <cmdline>{words}</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='custom' match='exact'><model>qemu64</model></cpu>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none'/>
      <source file='{directory}/disk'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <controller type='usb' model='none'/>
    <interface type='bridge'>
      <mac address='{mac}'/>
      <source bridge='{bridge}'/>
      <model type='virtio'/>
      <rom enabled='no'/>
      <filterref filter='{filter}'>
        <parameter name='DHCPSERVER' value='{dhcp_server}'/>
        <parameter name='IP' value='{address}'/>
      </filterref>
    </interface>
    <serial type='file'>
      <source path='{directory}/console.log' append='on'/>
    </serial>
    <graphics type='vnc' autoport='yes' listen='{vnc_listen}'/>
    <video><model type='vga'/></video>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <memballoon model='none'/>
  </devices>
</domain>
"""


class Guest:
    """A domain on a bed, defined behind a filter of its own.

    Its files are where nova has them, ``libvirt.xml`` as old novas wrote it
    among them, and belong to nova until libvirt takes them.

    :param number: the one in instance-NUMBER; also of its address
    :param uuid: of its server; '': a new one
    """

    def __init__(
        self,
        bed: Bed,
        number: int,
        dhcp_server: str = GATEWAY,
        vnc_listen: str = '127.0.0.1',
        uuid: str = '',
    ) -> None:
        self.bed = bed
        self.name = f'instance-{number:08x}'
        self.uuid = uuid or str(uuid_module.uuid4())
        self.address = f'10.0.0.{10 + number}'
        self.mac = f'fa:16:3e:00:00:{number:02x}'
        self.filter = f'nova-instance-{self.name}-{self.mac.replace(":", "")}'
        self.directory = f'/var/lib/nova/instances/{self.uuid}'
        self._make_files(dhcp_server, vnc_listen)
        bed.run(
            'virsh',
            'nwfilter-define',
            '/dev/stdin',
            input=_FILTER.format(filter=self.filter),
        )
        bed.run('virsh', 'define', f'{self.directory}/libvirt.xml')

    def start(self) -> None:
        """Start it; return when it has booted.

        :raises BedError: it doesn't; with what its console says
        """
        boots = len(self.boots())
        self.begin()
        try:
            process.wait_for(
                lambda: len(self.boots()) > boots, _BOOT, 'its boot', 0.1
            )
        except CloudError as error:
            raise BedError(
                f'{self.name}: {error}\n{self.console()[-2000:]}'
            ) from error

    def begin(self) -> None:
        """Start it; whether it boots does not matter."""
        self._make_bridge()
        self.bed.run('virsh', 'start', self.name)

    def destroy(self) -> None:
        """End it, as a power cut does."""
        self.bed.run('virsh', 'destroy', self.name)

    def state(self) -> str:
        """Return libvirt's word for its state: running, shut off..."""
        return self.bed.run('virsh', 'domstate', self.name).strip()

    def xml(self, inactive: bool = False) -> str:
        """Return how it runs; *inactive*: how it will at its next start."""
        words = ['--inactive'] if inactive else []
        return self.bed.run('virsh', 'dumpxml', *words, self.name)

    def rules(self) -> str:
        """Return the rules of ebtables that stand for its filter now."""
        return self.bed.run('ebtables', '-t', 'nat', '--list')

    def console(self) -> str:
        """Return what it has written on its console."""
        return self.bed.run(
            'cat', f'{self.directory}/console.log', check=False
        )

    def boots(self) -> list[str]:
        """Return the boot_id of each of its boots, oldest first."""
        return re.findall(r'^boot (\S+)\s*$', self.console(), re.M)

    def ssh(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it, from its host."""
        return subprocess.run(
            [
                *('nsenter', f'--net=/proc/{self.bed.leader()}/ns/net', '--'),
                *(
                    'timeout',
                    '30',
                    'ssh',
                    '-F',
                    '/dev/null',
                    '-i',
                    _image().key,
                ),
                *('-o', 'StrictHostKeyChecking=no', '-o', 'BatchMode=yes'),
                *('-o', 'UserKnownHostsFile=/dev/null'),
                *('-o', 'LogLevel=ERROR', '-o', 'ServerAliveInterval=2'),
                *(f'root@{self.address}', *argv),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def _make_files(self, dhcp_server: str, vnc_listen: str) -> None:
        directory = self.directory
        owner = ('--owner=nova', '--group=nova')
        self.bed.run('install', '-d', *owner, directory)
        outside = self.bed.root / directory.lstrip('/')
        (outside / 'kernel').write_bytes(_image().kernel.read_bytes())
        (outside / 'ramdisk').write_bytes(_ramdisk())
        with open(outside / 'disk', 'wb') as disk:
            disk.truncate(1 << 20)
        (outside / 'libvirt.xml').write_text(
            _DOMAIN.format(
                name=self.name,
                uuid=self.uuid,
                directory=directory,
                words='console=ttyS0 quiet panic=-1 mitigations=off nokaslr '
                'reboot_after=1 random.trust_cpu=on net.ifnames=0 '
                f'address={self.address}/24',
                mac=self.mac,
                bridge=_BRIDGE,
                filter=self.filter,
                dhcp_server=dhcp_server,
                address=self.address,
                vnc_listen=vnc_listen,
            )
        )
        self.bed.run('chown', '-R', 'nova:nova', directory)

    def _make_bridge(self) -> None:
        if self.bed.ran('ip', 'link', 'show', _BRIDGE).returncode == 0:
            return
        link = ('ip', 'link')
        self.bed.run(*link, 'add', _BRIDGE, 'type', 'bridge')
        self.bed.run(*link, 'set', _BRIDGE, 'up')
        self.bed.run('ip', 'address', 'add', f'{GATEWAY}/24', 'dev', _BRIDGE)


@functools.cache
def _image() -> Image:
    return image.build()


@functools.cache
def _ramdisk() -> bytes:
    """Return the guests' archive with our first process in the place of its.

    The kernel unpacks one archive after the other, the later file wins.
    """
    ours = Archive()
    ours.file('init', (_HERE / 'guest_init.sh').read_bytes())
    return _image().archive.read_bytes() + gzip.compress(ours.finished(), 1)
