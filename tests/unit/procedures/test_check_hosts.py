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


GUIDE = pathlib.Path(__file__).parents[3] / 'doc/source/user'
#: Where codes are made, and the page that tells what each means.
PAGES = {
    'check_hosts.py': 'host-check.rst',
    'iscsi/show.py': 'iscsi.rst',
    'list_paths.py': 'host-path.rst',
    'rules/show.py': 'host-rules.rst',
}


class Documented(TestCase):
    def test_each_code_is_in_the_user_guide_and_none_else(self) -> None:
        folder = pathlib.Path(check_hosts.__file__).parent
        for source, page in PAGES.items():
            made = set(
                re.findall(
                    "'([A-Z]+(?:-[A-Z]+)+)'", (folder / source).read_text()
                )
            )
            # not told of by itself, or of another command
            made -= {'ISCSI-TARGET'}
            told = set(
                re.findall(
                    '``([A-Z]+(?:-[A-Z]+)+)``', (GUIDE / page).read_text()
                )
            )
            told -= {'UID-DIFFERS', 'UID-UNKNOWN', 'RULES-SAVED'}
            self.assertEqual(made, told, page)


class Judged(TestCase):
    def judge(self, more: Any = (), **said: Any) -> list[Finding]:
        answer = {
            'mounts': [],
            'targets': [],
            'fstab': [],
            'maps': [],
            'sessions': [],
            'disks': [],
            'time': 1000.5,
            'synchronized': True,
            **said,
        }
        host = Reached('c1', 'id', said=(answer,))
        found = check_hosts.judge(Facts((host,), (1000.0, 1001.0)), more)
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
        self.assertIn('host uid show', found.expected)
