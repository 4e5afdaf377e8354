# SPDX-License-Identifier: Apache-2.0

"""``host check`` on machines that have every fault, and then none."""

from __future__ import annotations

import time
import uuid

from tests.hosts.storage import StorageTest

_LOST = '/dev/disk/by-path/ip-10.0.0.9:3260-iscsi-iqn.2026-01.test:x-lun-1'
#: A file system of which nobody answers; who looks at it hangs.
_SILENT = """\
import ctypes, os, time
fd = os.open("/dev/fuse", os.O_RDWR)
words = "fd=%d,rootmode=40000,user_id=0,group_id=0" % fd
libc = ctypes.CDLL(None, use_errno=True)
os.makedirs("/srv/silent", exist_ok=True)
if libc.mount(b"x", b"/srv/silent", b"fuse", 0, words.encode()):
    raise OSError(ctypes.get_errno(), "mount")
time.sleep(3600)
"""
#: As a time service does it: adjtimex(2) with the status, and the error.
_KEPT = (
    "python3 -c 'import ctypes, struct; "
    'b = ctypes.create_string_buffer(512); '
    'struct.pack_into("=i4xqqqqi", b, 0, 0x14, 0, 0, 1000, 0, 0); '
    "ctypes.CDLL(None).adjtimex(b)'"
)


class Check(StorageTest):
    def codes(self, *names: str, code: int) -> dict[str, set[str]]:
        """Host -> the codes of what was found."""
        found: dict[str, set[str]] = {}
        for row in self.rows('host', 'check', *names, codes=[code]):
            found.setdefault(row['Host'], set()).add(row['Code'])
        return found

    def test_each_fault_is_seen_and_when_mended_is_not(self) -> None:
        names = self.host.name, self.storage.name
        disks = [self.login()[1]]
        self.iqn = f'iqn.2026-01.test:{uuid.uuid4()}'
        self.storage.export(self.iqn)
        disks.append(self.login()[1])
        for machine in (self.host, self.storage):
            # as late as can be: it goes slowly on a busy machine
            machine.run(f'date --set @{time.time():.0f} >/dev/null; {_KEPT}')
        self.assertEqual(
            dict.fromkeys(names, {'HOST-GOOD'}), self.codes(*names, code=0)
        )
        self.broken(*disks)
        found = self.codes(*names, 'nowhere', code=4)
        self.assertEqual({'HOST-UNKNOWN'}, found['nowhere'])
        self.assertEqual(
            {
                *('CLOCK-APART', 'CLOCK-FREE', 'FS-FULL', 'FSTAB-ERRORS'),
                *('FSTAB-SAN', 'FSTAB-WRONG', 'HOME-ON-SAN', 'ISCSI-DEAD'),
                *('MAP-DEAD', 'MOUNT-MISSING', 'MOUNT-READ-ONLY'),
                *('MOUNT-SILENT', 'OWNER-LEFT', 'UID-DIFFERS'),
                *('LV-FAILED', 'LV-INACTIVE', 'VG-FULL', 'VG-MISSING'),
                'VG-PARTIAL',
            },
            found[self.host.name],
        )
        self.host.run('dmsetup message m 0 reinstate_path /dev/' + disks[1])
        again = self.codes(self.host.name, code=4)[self.host.name]
        self.assertIn('PATH-FAILED', again)
        # who hung there was ended, where the kernel lets that be
        hung = 'ps ax -o args | grep -c "[s]tatvfs.*/srv/silent"'
        self.assertEqual('0', self.host.run(hung, check=False).strip())
        self.mended(*disks)
        self.assertEqual(
            dict.fromkeys(names, {'HOST-GOOD'}), self.codes(*names, code=0)
        )

    def test_images_are_checked_and_none_that_is_open(self) -> None:
        folder = '/var/lib/nova/instances/y'
        self.host.run(
            f'mkdir -p {folder}; cd {folder}; echo \'{{"{folder}/disk": '
            f'"qcow2", "{folder}/disk.eph0": "raw"}}\' >disk.info; '
            'qemu-img create -q -f qcow2 disk 8M; truncate -s 8M disk.eph0; '
            "qemu-io -f qcow2 -c 'write 0 1M' disk >/dev/null"
        )
        words = (self.host.name, '--image', folder)

        def codes(*more: str, code: int) -> set[str]:
            found = self.codes(*words, *more, code=code)[self.host.name]
            return {one for one in found if one[:5] == 'IMAGE'}

        self.assertEqual({'IMAGE-GOOD', 'IMAGE-RAW'}, codes(code=0))
        before = self.host.run(f'sha256sum {folder}/*')
        self.host.run(f'sleep 600 <{folder}/disk >/dev/null & echo $! >/run/o')
        self.assertEqual({'IMAGE-UNKNOWN', 'IMAGE-RAW'}, codes(code=4))
        found = codes('--running', code=0)
        self.assertEqual({'IMAGE-GOOD', 'IMAGE-RAW'}, found)
        self.host.run('kill $(cat /run/o)')
        self.assertEqual(before, self.host.run(f'sha256sum {folder}/*'))
        # the counts of its clusters are gone: they lie at 128 KiB
        self.host.run(
            f'dd if=/dev/zero of={folder}/disk bs=64k seek=2 count=1 '
            'conv=notrunc 2>/dev/null'
        )
        self.assertEqual({'IMAGE-CORRUPT', 'IMAGE-RAW'}, codes(code=4))
        self.host.run(f'rm -r {folder}')

    def broken(self, first: str, second: str) -> None:
        """Every fault that there is."""
        path = f'/dev/disk/by-path/ip-{self.portal}-iscsi-{self.iqn}-lun-1'
        script = f"""
cp /etc/fstab /etc/fstab.old
modprobe -a dm-multipath loop fuse
mkdir -p /srv/a /srv/full /var/lib/nova/instances/x
echo "0 8192 multipath 0 0 1 1 round-robin 0 2 1 \
/dev/{first} 1000 /dev/{second} 1000" | dmsetup create m -u mpath-m
dmsetup message m 0 fail_path /dev/{first}
dmsetup message m 0 fail_path /dev/{second}
truncate -s 8M /srv/full.img /srv/a.img
mkfs.ext4 -q -m 0 /srv/full.img; mount -o loop /srv/full.img /srv/full
dd if=/dev/zero of=/srv/full/x bs=64k 2>/dev/null || true
mkfs.ext4 -q /srv/a.img; mount -o loop,ro /srv/a.img /srv/a
echo '{path} /srv/a ext4 defaults 0 0' >>/etc/fstab
echo '/dev/vdz /srv/b ext4 errors=remount,noauto 0 0' >>/etc/fstab
echo '{_LOST} /home ext4 _netdev,nofail,errors=remount-ro' >>/etc/fstab
cat >/tmp/silent.py <<'END'
{_SILENT}END
python3 /tmp/silent.py >/dev/null & echo $! >/run/silent
touch /var/lib/nova/instances/x/disk
chown libvirt-qemu:kvm /var/lib/nova/instances/x/disk
setfattr -n trusted.libvirt.security.dac -v +108:+120 \
    /var/lib/nova/instances/x/disk
echo offline >/sys/class/block/{first}/device/state
systemctl stop nova-compute
usermod -u 130 nova
for n in 1 2; do truncate -s 32M /srv/pv$n.img; losetup -f /srv/pv$n.img; done
loop() {{ losetup -n -O NAME,BACK-FILE | awk "/$1/ {{print \\$1}}"; }}
vgcreate -q cinder-volumes $(loop pv1) $(loop pv2)
lvcreate -q -l 95%VG -n volume-1 -an cinder-volumes
losetup -d $(loop pv2)
mkdir -p /etc/cinder
printf '[DEFAULT]\nenabled_backends = a,b\n[a]\n[b]\nvolume_group = b\n' \
    >/etc/cinder/cinder.conf
date --set @$(($(date +%s) + 3600)) >/dev/null
until grep -q /srv/silent /proc/mounts; do sleep 0.2; done
"""
        self.scripted(script)

    def mended(self, first: str, second: str) -> None:
        """What each of them wants to have done."""
        self.scripted(f"""
kill $(cat /run/silent); umount -l /srv/silent
echo running >/sys/class/block/{first}/device/state
dmsetup remove m
rm -r /etc/cinder; losetup -f /srv/pv2.img; vgremove -q -f cinder-volumes
losetup -D
umount /srv/full /srv/a; cp /etc/fstab.old /etc/fstab
chown 108:120 /var/lib/nova/instances/x/disk
usermod -u 108 nova; systemctl start nova-compute
date --set @$(($(date +%s) - 3600)) >/dev/null
{_KEPT}
""")

    def scripted(self, script: str) -> None:
        """Run one that is longer than a line of the terminal may be."""
        self.host.run(': >/tmp/script')
        for place in range(0, len(script), 1000):
            part = script[place : place + 1000]
            self.host.run(
                f"cat >>/tmp/script <<'ENDED'\n{part}\nENDED\n"
                'truncate -s -1 /tmp/script'
            )
        self.host.run('sh -eu /tmp/script')
