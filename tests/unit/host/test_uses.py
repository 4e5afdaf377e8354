# SPDX-License-Identifier: Apache-2.0

"""Who uses a disk, from what the kernel shows of one."""

from __future__ import annotations

import os
import pathlib

import fixtures

from nova_recovery.host.agent import iscsi, uses
from nova_recovery.host.agent.lines import AgentError, Refused
from tests.base import TestCase

WEB = '3f57699a-e773-4650-a443-b4b37eed5a06'


class Kernel(TestCase):
    """A /sys and a /proc of files."""

    def setUp(self) -> None:
        super().setUp()
        self.top = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.write('proc/swaps', 'Filename Type Size Used Priority\n')
        (self.top / 'sys/class/block').mkdir(parents=True)

    def write(self, path: str, text: str) -> None:
        place = self.top / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def block(self, name: str, number: str, **more: str) -> None:
        self.write(f'sys/class/block/{name}/dev', f'{number}\n')
        for path, text in more.items():
            self.write(
                f'sys/class/block/{name}/{path.replace("__", "/")}', text
            )

    def process(
        self, pid: int, mounts: str = '', command: bytes = b'', **fds: str
    ) -> None:
        place = self.top / f'proc/{pid}'
        self.write(f'proc/{pid}/mountinfo', mounts)
        self.write(f'proc/{pid}/comm', 'qemu-system-x86\n')
        (place / 'cmdline').write_bytes(command)
        for name in ('ns', 'fd'):
            (place / name).mkdir()
        os.symlink(f'mnt:[{pid}]', place / 'ns/mnt')
        for number, path in fds.items():
            os.symlink(path, place / 'fd' / number[1:])

    def told(self, *disks: str) -> list[str]:
        found = uses.of(disks, str(self.top))
        return [uses.told(disk, found[disk]) for disk in disks if found[disk]]


class Uses(Kernel):
    def test_a_mount_of_a_partition_that_only_a_container_sees(self) -> None:
        self.block('sdb', '8:16', sdb1__partition='1\n')
        self.block('sdb1', '8:17')
        line = '30 1 8:17 / /srv rw - ext4 /dev/sdb1 rw\n'
        self.process(1)
        self.process(77, line)
        self.assertEqual(['sdb: mount /srv'], self.told('sdb'))

    def test_what_is_mapped_over_it_however_high(self) -> None:
        self.block('sdb', '8:16')
        (self.top / 'sys/class/block/sdb/holders/dm-0').mkdir(parents=True)
        self.block('dm-0', '254:0', dm__name='mpatha\n')
        (self.top / 'sys/class/block/dm-0/holders/dm-1').mkdir(parents=True)
        self.block('dm-1', '254:1', dm__name='vg-lv\n')
        self.process(1, '30 1 254:1 / /srv rw - ext4 /dev/dm-1 rw\n')
        self.assertEqual(
            ['sdb: map mpatha, map vg-lv, mount /srv'], self.told('sdb')
        )

    def test_a_file_system_with_a_number_of_its_own(self) -> None:
        self.block('sdb', '8:16')
        self.process(1, '30 1 0:45 / /srv rw - btrfs /dev/sdb rw\n')
        self.assertEqual(['sdb: mount /srv'], self.told('sdb'))

    def test_each_disk_of_a_file_system_that_has_several(self) -> None:
        # seen with two loops: the kernel holds the second one, mountinfo
        # names the first, and neither has a holder
        for name, number in (('sdb', '8:16'), ('sdc', '8:32')):
            self.block(name, number)
            place = self.top / 'sys/fs/btrfs/0a1b/devices'
            place.mkdir(parents=True, exist_ok=True)
            (place / name).mkdir()
        self.block('sdd', '8:48')
        (self.top / 'sys/fs/btrfs/features').mkdir()
        self.process(
            1,
            '30 1 0:45 / /srv rw - btrfs /dev/sdb rw\n'
            '31 1 8:64 / /var rw - xfs /dev/sde rw,logdev=/dev/sdd\n',
        )
        self.assertEqual(
            ['sdb: mount /srv', 'sdc: mount /srv', 'sdd: mount /var'],
            self.told('sdb', 'sdc', 'sdd'),
        )

    def test_swap_and_a_loop(self) -> None:
        self.block('sdb', '8:16')
        self.block('sdc', '8:32')
        self.block('loop3', '7:3', loop__backing_file='/dev/sdc\n')
        self.write('proc/swaps', 'Filename\n/dev/sdb partition 1 0 -2\n')
        self.assertEqual(
            ['sdb: swap /dev/sdb', 'sdc: loop loop3'], self.told('sdb', 'sdc')
        )

    def test_a_guest_that_holds_it_is_named(self) -> None:
        number = os.stat('/dev/null')
        self.block('sdb', '8:16')
        self.process(
            9, '', f'qemu\0-uuid\0{WEB.upper()}\0-S\0'.encode(), _3='/dev/null'
        )
        # a character device is none
        self.assertEqual([], self.told('sdb'))
        self.assertEqual(
            ('qemu-system-x86', WEB), uses.who(str(self.top / 'proc/9'))
        )
        self.assertEqual(1, os.major(number.st_rdev))

    def test_a_guest_that_has_it_as_a_host_device_of_scsi(self) -> None:
        number = os.stat('/dev/null').st_rdev
        text = f'{os.major(number)}:{os.minor(number)}\n'
        command = f'qemu\0-uuid\0{WEB}\0'.encode()
        self.process(9, '', command, _3='/dev/null')
        self.block('sdb', '8:16', device__scsi_generic__sg1__dev=text)
        self.block('sdc', '8:32')
        self.write('sys/class/block/sdc/device/bsg/2:0:0:1/dev', text)
        for disk in ('sdb', 'sdc'):
            self.assertEqual(
                [f'{disk}: open qemu-system-x86 (9)'], self.told(disk)
            )

    def test_another_disk_and_no_disk_are_not_used(self) -> None:
        self.block('sdb', '8:16')
        self.process(1, '30 1 8:160 / /srv rw - ext4 /dev/sdk rw\n')
        self.assertEqual([], self.told('sdb', 'sdz'))


class Sessions(Kernel):
    def session(self, number: int, **more: str) -> None:
        place = f'sys/class/iscsi_session/session{number}'
        words = {'targetname': 'iqn.x:volume-1', 'state': 'LOGGED_IN', **more}
        for name, text in words.items():
            self.write(f'{place}/{name}', f'{text}\n')

    def portal(self, number: int, **words: str) -> None:
        place = f'sys/class/iscsi_connection/connection{number}:0'
        for name, text in words.items():
            self.write(f'{place}/{name}', f'{text}\n')

    def test_number_target_portal_and_disk(self) -> None:
        self.session(15)
        self.portal(15, persistent_address='10.0.0.1', persistent_port='3260')
        lun = 'sys/class/iscsi_session/session15/device/target2:0:0/2:0:0:1'
        self.write(f'{lun}/wwid', 'naa.6001405\n')
        self.write(f'{lun}/state', 'running\n')
        (self.top / lun / 'block/sdb').mkdir(parents=True)
        self.block('sdb', '8:16', size='2048\n')
        self.assertEqual(
            [
                {
                    'session': 15,
                    'target': 'iqn.x:volume-1',
                    'portal': '10.0.0.1:3260',
                    'state': 'LOGGED_IN',
                    'disks': [
                        {
                            'lun': 1,
                            'device': 'sdb',
                            'state': 'running',
                            'wwid': '36001405',
                            'bytes': 1 << 20,
                            'maps': [],
                            'names': ['sdb'],
                        }
                    ],
                }
            ],
            iscsi.sessions(str(self.top)),
        )

    def test_in_the_order_of_numbers_and_with_ipv6(self) -> None:
        for number in (10, 9):
            self.session(number, state='FAILED')
        self.portal(
            9,
            persistent_address='<NULL>',
            persistent_port='3260',
            address='fd00::1',
            port='3260',
        )
        found = iscsi.sessions(str(self.top))
        self.assertEqual([9, 10], [one['session'] for one in found])
        self.assertEqual('[fd00::1]:3260', found[0]['portal'])
        self.assertEqual('', found[1]['portal'])


class Opened(TestCase):
    """A session that is opened, by an iscsiadm that is not there."""

    def setUp(self) -> None:
        super().setUp()
        self.answers: list[tuple[int, str, str]] = []
        self.asked: list[list[str]] = []
        for where, name, value in (
            (iscsi.programs, 'run', self._run),
            (iscsi.programs, 'find', lambda name: f'/sbin/{name}'),
            (iscsi, 'sessions', list),
        ):
            self.useFixture(fixtures.MockPatchObject(where, name, value))

    def _run(self, words: list[str], _seconds: float) -> tuple[int, str, str]:
        self.asked.append(words[1:])
        return self.answers.pop(0)

    def create(self) -> None:
        iscsi.create({'engine': ''}, 'iqn.2010-10.org:x', '10.0.0.1:3260')

    def test_a_record_that_may_be_there_is_not_made_anew(self) -> None:
        # it has the passwords of CHAP; iscsiadm(8): 6 is its database
        self.answers = [(6, '', 'could not lock the database')]
        error = self.assertRaises(AgentError, self.create)
        self.assertIn('could not lock the database', str(error))
        self.assertEqual(1, len(self.asked))

    def test_one_that_was_made_goes_with_a_login_that_failed(self) -> None:
        self.answers = [(21, '', ''), (0, '', ''), (24, '', 'no'), (0, '', '')]
        error = self.assertRaises(Refused, self.create)
        self.assertIn('no session came of it: no', str(error))
        self.assertEqual(
            ['10.0.0.1:3260', 'new', '--login', 'delete'],
            [words[-1] for words in self.asked],
        )
