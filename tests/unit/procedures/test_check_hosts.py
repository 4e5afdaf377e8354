# SPDX-License-Identifier: Apache-2.0

"""What is wrong with a host, by what it says of itself."""

from __future__ import annotations

import pathlib
import re
from typing import Any

from nova_recovery.engine import findings
from nova_recovery.engine.findings import Finding
from nova_recovery.procedures import check_hosts
from nova_recovery.procedures.check_hosts import Facts
from nova_recovery.procedures.reached import Reached
from tests.base import TestCase

MOUNT = {
    'target': '/srv',
    'source': '/dev/sdb',
    'type': 'ext4',
    'read_only': False,
    'errors': 'continue',
    'remote': False,
    'way': '',
    'answers': True,
    'bytes': 100,
    'free': 50,
    'files': 100,
    'free_files': 50,
}
LINE = {
    'line': 3,
    'source': '/dev/sdb',
    'target': '/srv',
    'type': 'ext4',
    'options': ['defaults'],
    'remote': False,
    'way': '',
}


CEPH: dict[str, Any] = {
    'user': 'cinder',
    'health': 'HEALTH_OK',
    'checks': {},
    'caps': None,
    'blocked': [],
    'addresses': ['10.0.0.1', 'fd00::1'],
    'images': [],
    'why': '',
    'missing': False,
}
LVM = {'groups': [], 'volumes': [], 'wanted': [], 'why': ''}
GROUP = {'name': 'cinder-volumes', 'bytes': 100, 'free': 50, 'missing': 0}
LOGICAL = {
    'group': 'cinder-volumes',
    'name': 'volume-1',
    'active': True,
    'pool': False,
    'thin': '',
    'health': '',
    'data': None,
    'metadata': None,
}
GUIDE = pathlib.Path(__file__).parents[3] / 'doc/source/user'
#: The page that tells what each code means -> where they are made.
PAGES = {
    'host-check.rst': ('check_hosts.py', 'check_storage.py'),
    'host-path.rst': ('list_paths.py',),
    'host-rules.rst': ('rules/show.py', 'rules/saved.py'),
    'iscsi.rst': ('iscsi/show.py',),
}


class Documented(TestCase):
    def test_each_code_is_in_the_user_guide_and_none_else(self) -> None:
        folder = pathlib.Path(check_hosts.__file__).parent
        for page, sources in PAGES.items():
            text = ''.join(
                (folder / one).read_text() for one in ('reached.py', *sources)
            )
            made = set(re.findall("'([A-Z]+(?:-[A-Z]+)+)'", text))
            told = set(
                re.findall(
                    '``([A-Z]+(?:-[A-Z]+)+)``', (GUIDE / page).read_text()
                )
            )
            told -= {'UID-DIFFERS', 'UID-UNKNOWN'}
            self.assertEqual(made, told, page)


class Judged(TestCase):
    def judge(
        self, more: Any = (), images: Any = (), **said: Any
    ) -> list[Finding]:
        answer = {
            'mounts': [],
            'targets': [],
            'fstab': [],
            'maps': [],
            'sessions': [],
            'disks': [],
            'lvm': LVM,
            'ceph': None,
            'time': 1000.5,
            'synchronized': True,
            **said,
        }
        host = Reached('c1', 'id', said=(answer,))
        found = check_hosts.judge(
            Facts((host,), (1000.0, 1001.0), images=images), more
        )
        return list(found.findings)

    def codes(self, **said: Any) -> list[tuple[str, str]]:
        return [(one.code, one.severity) for one in self.judge(**said)]

    def line(self, *options: str, mounted: bool = True, **more: Any) -> Any:
        row = {**LINE, 'options': list(options), **more}
        return self.codes(
            fstab=[row], targets=[row['target']] if mounted else []
        )

    def test_a_host_with_nothing_wrong(self) -> None:
        self.assertEqual([('HOST-GOOD', findings.GOOD)], self.codes())

    def test_a_host_that_does_not_answer(self) -> None:
        host = Reached('c1', problem='unreachable')
        found = check_hosts.judge(Facts((host,), (0.0, 0.0)))
        self.assertEqual(findings.UNKNOWN, found.worst)

    def test_a_local_disk_may_be_mounted_as_ever(self) -> None:
        self.assertEqual([('HOST-GOOD', findings.GOOD)], self.line('defaults'))

    def test_a_disk_of_the_san_is_waited_for_by_nobody(self) -> None:
        good = '_netdev', 'nofail', 'errors=remount-ro'
        self.assertEqual(
            [('HOST-GOOD', findings.GOOD)], self.line(*good, way='iscsi')
        )
        for left, code in (
            ('_netdev', 'FSTAB-SAN'),
            ('nofail', 'FSTAB-SAN'),
            ('errors=remount-ro', 'FSTAB-ERRORS'),
        ):
            found = self.line(*(set(good) - {left}), way='iscsi')
            self.assertEqual([(code, findings.STALE)], found, left)
        # what is not mounted at boot stops none
        self.assertNotIn('FSTAB-SAN', dict(self.line('noauto', way='fc')))

    def test_nfs_is_a_network_mount_by_its_type_and_others_are_not(
        self,
    ) -> None:
        for kind, code in (
            ('nfs4', 'HOST-GOOD'),
            ('ceph', 'HOST-GOOD'),
            ('beegfs', 'FSTAB-SAN'),
        ):
            found = self.line('defaults', type=kind, remote=True)
            self.assertEqual([code], [one for one, _severity in found], kind)

    def test_the_superblock_may_say_it_too(self) -> None:
        row = {**LINE, 'way': 'iscsi', 'options': ['_netdev', 'nofail']}
        found = self.codes(
            fstab=[row],
            targets=['/srv'],
            mounts=[{**MOUNT, 'errors': 'remount-ro'}],
        )
        self.assertEqual([('HOST-GOOD', findings.GOOD)], found)

    def test_the_option_that_the_guide_spells_wrongly(self) -> None:
        self.assertIn(
            ('FSTAB-WRONG', findings.DANGER), self.line('errors=remount')
        )

    def test_errors_that_its_file_system_does_not_know(self) -> None:
        # each of them as mount(8) takes it or does not
        for kind, option, known in (
            ('ext4', 'remount-ro', True),
            ('ext4', 'continue', True),
            ('ext3', 'panic', True),
            ('ext4', 'remount,ro', False),
            ('xfs', 'remount-ro', False),
            ('btrfs', 'continue', False),
            ('vfat', 'whatever', True),
        ):
            options = f'errors={option}'.split(',')
            found = self.line(*options, type=kind)
            self.assertEqual(
                known, ('FSTAB-WRONG', findings.DANGER) not in found, kind
            )

    def test_what_stops_at_an_error_and_what_is_written_instead(self) -> None:
        row = {**LINE, 'way': 'iscsi'}
        for option, fix in (
            ('errors=panic', ''),
            ('errors=continue', 'in place of errors=continue'),
        ):
            options = ['_netdev', 'nofail', option]
            (one,) = self.judge(
                fstab=[{**row, 'options': options}], targets=['/srv']
            )
            self.assertIn(fix, one.expected)
            self.assertEqual('FSTAB-ERRORS' if fix else 'HOST-GOOD', one.code)

    def test_homes_that_are_away_with_the_storage(self) -> None:
        good = '_netdev', 'nofail', 'errors=remount-ro'
        found = self.line(*good, way='iscsi', target='/home')
        self.assertEqual([('HOME-ON-SAN', findings.NOTE)], found)

    def test_what_should_be_mounted_and_is_not(self) -> None:
        self.assertEqual(
            [('MOUNT-MISSING', findings.DANGER)],
            self.line('defaults', mounted=False),
        )
        self.assertEqual(
            [('HOST-GOOD', findings.GOOD)], self.line('noauto', mounted=False)
        )

    def test_read_only_where_fstab_means_it_or_not(self) -> None:
        row = {**MOUNT, 'read_only': True}
        for fstab, severity in (
            ([LINE], findings.DANGER),
            ([], findings.NOTE),
        ):
            found = self.codes(mounts=[row], fstab=fstab, targets=['/srv'])
            self.assertEqual([('MOUNT-READ-ONLY', severity)], found)
        meant = [{**LINE, 'options': ['ro']}]
        found = self.codes(mounts=[row], fstab=meant, targets=['/srv'])
        self.assertEqual([('HOST-GOOD', findings.GOOD)], found)

    def test_full_by_space_or_by_inodes(self) -> None:
        for free, severity in ((2, findings.DANGER), (8, findings.STALE)):
            for name in ('free', 'free_files'):
                found = self.codes(mounts=[{**MOUNT, name: free}])
                self.assertEqual([('FS-FULL', severity)], found)
        found = self.codes(mounts=[{**MOUNT, 'files': 0, 'free_files': 0}])
        self.assertEqual([('HOST-GOOD', findings.GOOD)], found)

    def test_what_does_not_answer_is_judged_no_further(self) -> None:
        row = {
            key: value
            for key, value in MOUNT.items()
            if 'free' not in key and key not in ('bytes', 'files')
        }
        found = self.codes(mounts=[{**row, 'answers': False}])
        self.assertEqual([('MOUNT-SILENT', findings.DANGER)], found)

    def test_paths_and_maps(self) -> None:
        one = {'name': 'mpatha', 'good': ['sdb'], 'failed': ['sdc']}
        dead = {**one, 'good': []}
        for maps, expected in (
            ([one], ('PATH-FAILED', findings.STALE)),
            ([dead], ('MAP-DEAD', findings.DANGER)),
            # its sessions are closed, and it is left
            ([{**dead, 'failed': []}], ('MAP-DEAD', findings.DANGER)),
            (None, ('PATHS-UNKNOWN', findings.UNKNOWN)),
        ):
            self.assertEqual([expected], self.codes(maps=maps))

    def test_sessions_and_their_disks(self) -> None:
        disk = {'device': 'sdb', 'state': 'running'}
        one = {'session': 1, 'portal': 'p', 'state': 'LOGGED_IN'}
        for session, code in (
            ({**one, 'disks': [disk]}, 'HOST-GOOD'),
            ({**one, 'disks': [{**disk, 'state': 'blocked'}]}, 'ISCSI-DEAD'),
            ({**one, 'state': 'FAILED', 'disks': []}, 'ISCSI-DEAD'),
        ):
            self.assertEqual(code, self.codes(sessions=[session])[0][0])

    def lvm(self, *volumes: Any, **more: Any) -> list[tuple[str, str]]:
        group = {**GROUP, **more}
        said = {
            'groups': [group],
            'volumes': volumes,
            'wanted': ['cinder-volumes'],
        }
        return self.codes(lvm={**LVM, **said})

    def test_the_group_of_cinder(self) -> None:
        self.assertEqual([('HOST-GOOD', findings.GOOD)], self.lvm(LOGICAL))
        for more, code, severity in (
            ({'name': 'other'}, 'VG-MISSING', findings.DANGER),
            ({'missing': 1}, 'VG-PARTIAL', findings.DANGER),
            ({'free': 5}, 'VG-FULL', findings.STALE),
        ):
            self.assertEqual([(code, severity)], self.lvm(**more), more)
        # that of the system may be full
        other = {**GROUP, 'name': 'root', 'free': 0}
        self.assertEqual(
            [('HOST-GOOD', findings.GOOD)],
            self.codes(lvm={**LVM, 'groups': [other]}),
        )
        unknown = {**LVM, 'groups': None, 'volumes': None, 'why': 'it hung'}
        self.assertEqual(
            [('LVM-UNKNOWN', findings.UNKNOWN)], self.codes(lvm=unknown)
        )

    def test_its_volumes_and_pools(self) -> None:
        pool = {**LOGICAL, 'name': 'pool', 'pool': True}
        for row, code, severity in (
            ({**pool, 'data': 95.0}, 'POOL-FULL', findings.STALE),
            ({**pool, 'metadata': 98.5}, 'POOL-FULL', findings.DANGER),
            ({**pool, 'health': 'failed'}, 'LV-FAILED', findings.DANGER),
            ({**LOGICAL, 'active': False}, 'LV-INACTIVE', findings.STALE),
        ):
            self.assertEqual([(code, severity)], self.lvm(row, free=50), row)
        # a pool takes all of its group
        self.assertEqual(
            [('HOST-GOOD', findings.GOOD)], self.lvm(pool, free=0)
        )
        snapshot = {**LOGICAL, 'name': '_snapshot-1', 'active': False}
        self.assertEqual([('HOST-GOOD', findings.GOOD)], self.lvm(snapshot))

    def ceph(self, **more: Any) -> list[tuple[str, str]]:
        return self.codes(ceph={**CEPH, **more})

    def test_a_cluster_and_its_clients(self) -> None:
        good = [('HOST-GOOD', findings.GOOD)]
        self.assertEqual(good, self.ceph())
        for more, code, severity in (
            ({'health': 'HEALTH_WARN'}, 'CEPH-HEALTH', findings.STALE),
            ({'health': 'HEALTH_ERR'}, 'CEPH-HEALTH', findings.DANGER),
            ({'why': 'timed out'}, 'CEPH-SILENT', findings.DANGER),
            (
                {'why': 'no ceph', 'missing': True},
                'CEPH-UNKNOWN',
                findings.NOTE,
            ),
            ({'caps': {'mon': 'allow r'}}, 'CEPH-CAPS', findings.DANGER),
            ({'blocked': ['10.0.0.1:0/0']}, 'CEPH-BLOCKED', findings.DANGER),
        ):
            self.assertEqual([(code, severity)], self.ceph(**more), more)
        for mon in (
            'profile rbd',
            'allow r, allow command "osd blacklist"',
            'allow *',
        ):
            self.assertEqual(good, self.ceph(caps={'mon': mon}))
        # one process that is gone, and another host
        blocked = ['10.0.0.1:0/77', '10.0.0.10:0/0']
        self.assertEqual(good, self.ceph(blocked=blocked))

    def test_who_has_the_image_of_a_guest(self) -> None:
        mine, other = '10.0.0.1:0/7', '[fd00::9]:0/7'
        for active, watchers, lockers, code in (
            (True, [mine], [mine], 'HOST-GOOD'),
            (False, [], [], 'HOST-GOOD'),
            (False, [], [mine], 'RBD-LOCKED'),
            (False, [other], [other], 'RBD-ELSEWHERE'),
            (True, [mine, other], [mine], 'RBD-ELSEWHERE'),
        ):
            row = {
                'image': 'vms/a_disk',
                'server': 'x',
                'active': active,
                'watchers': watchers,
                'lockers': lockers,
                'why': '',
            }
            ((found, severity),) = self.ceph(images=[row])
            self.assertEqual(code, found)
            if code == 'RBD-ELSEWHERE':
                # where it is only defined, that is how it is to be
                expected = findings.DANGER if active else findings.NOTE
                self.assertEqual(expected, severity)
        (found,) = self.ceph(images=[{**row, 'why': 'no such image'}])
        self.assertEqual(('RBD-UNKNOWN', findings.UNKNOWN), found)

    def test_whose_a_disk_was_before_the_power_went(self) -> None:
        row = {'path': '/i/disk', 'uid': 64055, 'gid': 104, 'was': [108, 120]}
        (one,) = self.judge(disks=[row])
        self.assertEqual(
            ('OWNER-LEFT', 'chown 108:120 /i/disk'), (one.code, one.expected)
        )

    def test_a_clock_within_the_time_that_the_answer_took_is_right(
        self,
    ) -> None:
        for time in (999.1, 1001.9):
            self.assertEqual('HOST-GOOD', self.codes(time=time)[0][0])
        for time in (997.0, 1004.0):
            self.assertEqual('CLOCK-APART', self.codes(time=time)[0][0])
        self.assertEqual('CLOCK-FREE', self.codes(synchronized=False)[0][0])
        # where the kernel does not say, nothing is said
        self.assertEqual('HOST-GOOD', self.codes(synchronized=None)[0][0])

    def test_images_by_what_qemu_img_says(self) -> None:
        row = {'path': '/i/disk', 'format': 'qcow2', 'open': False, 'why': 'x'}
        for state, code, severity in (
            ('good', 'IMAGE-GOOD', findings.GOOD),
            ('unchecked', 'IMAGE-RAW', findings.NOTE),
            ('leaks', 'IMAGE-LEAKS', findings.NOTE),
            ('corrupt', 'IMAGE-CORRUPT', findings.DANGER),
            ('unknown', 'IMAGE-UNKNOWN', findings.UNKNOWN),
        ):
            images = ({**row, 'state': state},)
            (one,) = self.judge(images=images)
            self.assertEqual((code, severity), (one.code, one.severity))
        # what is written to meanwhile may look like anything
        (one,) = self.judge(
            images=({**row, 'state': 'corrupt', 'open': True},)
        )
        self.assertEqual(findings.UNKNOWN, one.severity)

    def test_numbers_that_differ_from_other_hosts(self) -> None:
        one = Finding(
            'UID-DIFFERS',
            findings.STALE,
            'host:c1',
            'differs: nova',
            host='c1',
        )
        (found,) = self.judge(more=[one])
        self.assertEqual('UID-DIFFERS', found.code)
        self.assertIn('host uid show c1', found.fix)
