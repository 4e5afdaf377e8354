# SPDX-License-Identifier: Apache-2.0

"""What a compute host has, beside what it had."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any
from unittest import mock

import fixtures

from nova_recovery import readiness
from nova_recovery.host import domains, mounts, multipath
from nova_recovery.host.iscsi import Session
from nova_recovery.host.multipath import Paths
from nova_recovery.readiness import local, Site
from nova_recovery.readiness.local import Probe
from nova_recovery.snapshot.reading import Snapshot
from nova_recovery.snapshot.writing import Writer
from tests.base import TestCase

NFS = {'/': '/dev/sda1', '/var/lib/nova/instances': 'nas:/instances'}
PATH = '/var/lib/nova/instances'

# multipath-tools 0.9
MULTIPATH = """\
mpatha (3600140558d4f3d5a3f74a2ab9d1f7c5c) dm-0 LIO-ORG,lun0
size=10G features='1 queue_if_no_path' hwhandler='1 alua' wp=rw
|-+- policy='service-time 0' prio=50 status=active
| `- 7:0:0:1 sdc 8:32 active ready running
`-+- policy='service-time 0' prio=10 status=enabled
  `- 8:0:0:1 sdd 8:48 failed faulty offline
36001405aaaaaaaaaaaaaaaaaaaaaaaaa dm-3 LIO-ORG,lun1
size=1.0G features='0' hwhandler='0' wp=rw
`-+- policy='service-time 0' prio=1 status=active
  |- 7:0:0:2 sde 8:64 active ready running
  `- 8:0:0:2 sdf 8:80 active ghost running
"""

XML = """\
<domain><devices>
 <disk type='file' device='disk'><source file='{path}/u1/disk'/></disk>
 <disk type='file' device='cdrom'><source file='{path}/u1/x.iso'/></disk>
 <disk type='file' device='disk'><source file='/mnt/nfs/volume-1'/>
  <serial>8a6b</serial></disk>
</devices></domain>
"""


class TestStorage(TestCase):
    def test_mounted_as_it_was(self) -> None:
        row = local.storage(PATH, NFS, NFS, '')
        self.assertEqual(readiness.GO, row.severity)
        self.assertIn('nas:/instances', row.cause)

    def test_not_mounted_is_the_wrong_disk(self) -> None:
        row = local.storage(PATH, NFS, {'/': '/dev/sda1'}, '')
        self.assertEqual(readiness.NO_GO, row.severity)
        self.assertIn('/dev/sda1 (/)', row.cause)
        self.assertIn('nas:/instances', row.expected)
        self.assertEqual(f'mount {PATH}', row.fix)

    def test_mounted_from_elsewhere(self) -> None:
        row = local.storage(PATH, NFS, {**NFS, PATH: 'nas2:/i'}, '')
        self.assertEqual(readiness.NO_GO, row.severity)

    def test_read_only(self) -> None:
        for before in (NFS, None):
            row = local.storage(PATH, before, NFS, 'read-only')
            self.assertEqual(readiness.NO_GO, row.severity)
            self.assertIn('remount,rw', row.fix)

    def test_a_mount_point_is_no_prefix_of_a_name(self) -> None:
        self.assertEqual(
            '/', local.mount_point('/srv/nova2', ['/', '/srv/nova'])
        )


class TestSessions(TestCase):
    BEFORE = (
        {'target': 'iqn:host', 'portal': 'p:3260', 'volume': None},
        {'target': 'iqn:volume-1', 'portal': 'p:3260', 'volume': 'v1'},
    )

    def session(self, target: str) -> Session:
        return Session(target, 'p:3260', 'LOGGED_IN', 1, 'sdb', None)

    def test_those_of_volumes_come_back_with_their_servers(self) -> None:
        row = local.sessions(self.BEFORE, [self.session('iqn:host')], {})
        self.assertEqual(readiness.GO, row.severity)
        self.assertIn('0 of 1 of volumes', row.cause)

    def test_one_of_the_host_is_missing(self) -> None:
        row = local.sessions(self.BEFORE, [], {})
        self.assertEqual(readiness.NO_GO, row.severity)
        self.assertEqual(
            'iscsiadm -m node -T iqn:host -p p:3260 --login', row.fix
        )

    def test_a_portal_that_is_silent(self) -> None:
        row = local.sessions(
            self.BEFORE, [self.session('iqn:host')], {'p:3260': 'refused'}
        )
        self.assertEqual(readiness.NO_GO, row.severity)
        self.assertIn('portal p:3260: refused', row.cause)


class TestMultipath(TestCase):
    def test_paths_that_failed(self) -> None:
        self.assertEqual(
            {
                'mpatha': Paths(('sdc',), ('sdd',)),
                '36001405aaaaaaaaaaaaaaaaaaaaaaaaa': Paths(('sde', 'sdf')),
            },
            multipath.parse(MULTIPATH),
        )

    def test_no_maps(self) -> None:
        self.assertEqual({}, multipath.parse(''))


class TestHost(TestCase):
    """All of it, on this machine, with a snapshot."""

    def setUp(self) -> None:
        super().setUp()
        self.home = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.path = self.home / 'instances'
        (self.path / 'u1').mkdir(parents=True)
        (self.path / 'u1' / 'disk').touch()
        self.snapshot = self.home / 'host.snapshot'
        with Writer(str(self.snapshot)) as writer:
            writer.source('host:h1', 'host')
            writer.part(
                'mounts',
                'host:h1',
                [dataclasses.astuple(mount) for mount in mounts.mounted()],
            )
            writer.part(
                'domains',
                'host:h1',
                [('u1', 'i-1', 'running', 0, 1, XML.format(path=self.path))],
            )
            writer.finish()

    def rows(self, host: str = 'h1', named: bool = True) -> dict[str, Any]:
        cloud: Any = mock.Mock()
        cloud.nova.host = host
        cloud.nova.instances_path = str(self.path)
        snapshot = Snapshot(str(self.snapshot)) if named else None
        site = Site(cloud, snapshot, local=True)
        return {row.subject: row for row in Probe().rows(site)}

    def test_nothing_is_looked_at_unasked(self) -> None:
        self.assertEqual([], list(Probe().rows(Site(mock.Mock()))))

    def test_a_host_that_is_as_it_was(self) -> None:
        rows = self.rows()
        self.assertEqual(readiness.GO, rows['instances_path'].severity)
        self.assertEqual(readiness.GO, rows['disks'].severity)
        self.assertIn('1 of 1', rows['disks'].cause)

    def test_a_disk_that_is_not_there(self) -> None:
        (self.path / 'u1' / 'disk').unlink()
        row = self.rows()['disks']
        self.assertEqual(readiness.NO_GO, row.severity)
        self.assertIn('u1', row.cause)

    def test_a_directory_that_is_not_there(self) -> None:
        os.rename(self.path, self.home / 'elsewhere')
        row = self.rows()['instances_path']
        self.assertEqual(readiness.NO_GO, row.severity)
        self.assertIn('No such file', row.cause)

    def test_a_snapshot_without_this_host_is_unknown(self) -> None:
        self.assertEqual(readiness.UNKNOWN, self.rows('h2')['h2'].severity)

    def test_without_a_snapshot_it_does_not_block(self) -> None:
        self.assertEqual(readiness.GO, self.rows(named=False)['h1'].severity)

    def test_files_of_disks_are_those_without_a_serial(self) -> None:
        self.assertEqual(['/i/u1/disk'], domains.files(XML.format(path='/i')))
