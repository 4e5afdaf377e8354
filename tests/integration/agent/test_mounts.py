# SPDX-License-Identifier: Apache-2.0

"""Which file systems are walked, where, and which are not looked at."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

import fixtures

from nova_recovery.host.agent import mounts
from tests import base as tests_base
from tests.integration.agent import base, trees


class MountTest(base.AgentTest):
    """In a mount namespace of its own, where 112 and 108 are a chain."""

    pairs = ['--uid', '108:112', '--uid', '112:119', '--gid', '120:124']

    def setUp(self) -> None:
        super().setUp()
        holder = subprocess.Popen(
            ['unshare', '-m', '--propagation', 'private', 'cat'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.addCleanup(holder.communicate)
        # it answers when it is in its namespace
        holder.stdin.write(b'ready\n')  # type: ignore[union-attr]
        holder.stdin.flush()  # type: ignore[union-attr]
        holder.stdout.readline()  # type: ignore[union-attr]
        self.inside = ('nsenter', '-t', str(holder.pid), '-m')
        self.seen = pathlib.Path(f'/proc/{holder.pid}/root')
        self.run_inside('mount', '-t', 'tmpfs', 'tree', str(self.top))
        self.root.relative_to('/')
        self.mkdir('')

    def run_inside(self, *words: str) -> None:
        subprocess.run([*self.inside, *words], check=True, capture_output=True)

    def path(self, name: str) -> pathlib.Path:
        """Where the test sees a path below the root."""
        return self.seen / self.root.relative_to('/') / name

    def mkdir(self, *names: str) -> None:
        for name in names:
            self.path(name).mkdir(parents=True)

    def file(self, *names: str) -> None:
        for name in names:
            trees.make(self.path(name), 108, 120)

    def mount(self, name: str, *words: str) -> None:
        self.run_inside('mount', *words, str(self.root / name))

    def uid(self, name: str) -> int:
        return self.path(name).lstat().st_uid

    def go(self, action: str, code: int = 0, hook: str = '') -> None:
        got = self.agent(action, within=self.inside, hook=hook)
        self.assertEqual(code, got, self.lines)

    def left_out(self) -> dict[str, str]:
        return {
            os.path.relpath(line['path'], self.root): line['type']
            for line in self.result['left_out']
        }


class Mounts(MountTest):
    def test_a_bind_mount_is_walked_once(self) -> None:
        self.mkdir('a', 'a/b', 'bound')
        self.file('a/f', 'a/b/g')
        self.mount('bound', '--bind', str(self.root / 'a'))
        self.go('change')
        self.assertEqual(2, self.result['changed'])
        self.assertEqual(112, self.uid('bound/f'))
        self.assertEqual(112, self.uid('a/b/g'))
        self.go('verify')
        self.go('undo')
        self.assertEqual(108, self.uid('bound/b/g'))

    def test_of_a_bind_mount_what_is_hidden_elsewhere(self) -> None:
        self.mkdir('a', 'a/hidden', 'bound')
        self.file('a/f', 'a/hidden/g')
        self.mount('bound', '--bind', str(self.root / 'a'))
        self.mount('a/hidden', '-t', 'tmpfs', 'over')
        self.file('a/hidden/above')
        self.go('change')
        self.assertEqual(3, self.result['changed'])
        for name in ('a/f', 'bound/hidden/g', 'a/hidden/above'):
            self.assertEqual(112, self.uid(name), name)

    def test_a_bind_mount_of_what_is_above_the_root(self) -> None:
        self.mkdir('all', 'sub')
        self.file('sub/f')
        trees.make(self.path('../beside'), 108, 120)
        self.mount('all', '--bind', str(self.tree))
        self.go('change')
        self.assertEqual(2, self.result['changed'])
        self.assertEqual(112, self.uid('sub/f'))
        self.assertEqual(112, self.uid('../beside'))
        self.go('undo')
        self.assertEqual(108, self.uid('sub/f'))

    def test_another_file_system_is_walked_its_top_too(self) -> None:
        self.mkdir('other')
        self.mount('other', '-t', 'tmpfs', 'other')
        self.file('other/f')
        os.chown(self.path('other'), 108, 120)
        os.chmod(self.path('other'), 0o2770)
        self.go('change')
        self.assertEqual(2, self.result['changed'])
        self.assertEqual(112, self.uid('other'))
        self.assertEqual(112, self.uid('other/f'))
        self.assertEqual(0o2770, self.path('other').stat().st_mode & 0o7777)
        self.go('undo')
        self.assertEqual(108, self.uid('other'))

    def test_what_is_left_out_is_told(self) -> None:
        self.mkdir('ro', 'merged', 'proc', 'lower', 'upper', 'work')
        self.file('lower/f')
        self.path('one').touch()
        self.path('../outside').touch()
        os.chown(self.path('../outside'), 108, 120)
        self.mount('ro', '-t', 'tmpfs', '-o', 'ro', 'nothing')
        layers = ','.join(
            f'{layer}dir={self.root / layer}'
            for layer in ('lower', 'upper', 'work')
        )
        self.mount('merged', '-t', 'overlay', '-o', layers, 'overlay')
        self.mount('proc', '-t', 'proc', 'proc')
        self.mount('one', '--bind', str(self.tree / 'outside'))
        self.go('change')
        self.assertEqual(
            {'ro': 'tmpfs', 'merged': 'overlay', 'one': 'tmpfs'},
            self.left_out(),
        )
        # a file of the lower layer, by itself; nothing was copied up
        self.assertEqual(112, self.uid('lower/f'))
        self.assertEqual([], list(self.path('upper').iterdir()))
        self.assertEqual(108, self.uid('../outside'))
        # and is not looked at: verify says what it can't know
        self.go('verify')
        self.assertEqual(3, len(self.left_out()))

    def test_a_root_that_would_do_harm(self) -> None:
        self.mkdir('ro', 'merged', 'lower', 'upper', 'work')
        self.file('lower/f')
        self.mount('ro', '-t', 'tmpfs', '-o', 'ro', 'nothing')
        layers = ','.join(
            f'{layer}dir={self.root / layer}'
            for layer in ('lower', 'upper', 'work')
        )
        self.mount('merged', '-t', 'overlay', '-o', layers, 'overlay')
        root = self.root
        for name in ('ro', 'merged'):
            self.root = root / name
            self.go('change', 3)
            # nothing speaks against a look
            self.go('show')
        self.root = root
        self.assertEqual([], list(self.path('upper').iterdir()))

    def test_mounted_in_the_walk(self) -> None:
        self.mkdir('a', 'b')
        self.file('a/f', 'b/g')
        hook = f"""
            import subprocess
            from nova_recovery.host.agent.owners import walk
            real = walk.Walk.run
            def run(self):
                subprocess.check_call(
                    ['mount', '-t', 'tmpfs', 'new', {str(self.root / 'b')!r}])
                real(self)
            walk.Walk.run = run
        """
        self.go('change', 4, hook)
        self.assertEqual({'mounts-changed': {'b'}}, self.problems())
        self.assertEqual(112, self.uid('a/f'))
        self.run_inside('umount', str(self.root / 'b'))
        self.assertEqual(108, self.uid('b/g'))
        # its next step
        self.go('change')
        self.assertEqual(112, self.uid('b/g'))

    def test_gone_at_the_undo_its_files_are_not_confused(self) -> None:
        self.mkdir('other')
        self.mount('other', '-t', 'tmpfs', 'other')
        self.file('other/f', 'f')
        self.go('change')
        self.run_inside('umount', str(self.root / 'other'))
        self.file('other/f')
        os.chown(self.path('other/f'), 112, 124)
        self.go('undo', 4)
        # in memory it is gone for good
        self.assertEqual({'gone': {'other/f'}}, self.problems())
        self.assertEqual(108, self.uid('f'))
        self.assertEqual(112, self.uid('other/f'))

    def test_mounted_again_it_is_undone(self) -> None:
        disk, kept = str(self.root / 'disk'), str(self.tree / 'kept')
        self.mkdir('disk', '../kept')
        # it stands in for a disk, which a tmpfs doesn't
        self.run_inside('mount', '-t', 'ramfs', 'disk', kept)
        self.run_inside('mount', '--bind', kept, disk)
        self.mkdir('disk/a', 'disk/a/b')
        self.file('disk/a/b/f', 'f')
        self.go('change')
        self.run_inside('umount', disk)
        self.go('undo', 4)
        self.assertEqual({'mounts-changed': {'disk/a/b/f'}}, self.problems())
        # nor is it in another one
        self.run_inside('mount', '-t', 'tmpfs', 'other', disk)
        self.go('undo', 4)
        self.assertEqual({'mounts-changed': {'disk/a/b/f'}}, self.problems())
        self.run_inside('umount', disk)
        self.run_inside('mount', '--bind', kept, disk)
        self.go('undo')
        self.assertEqual(108, self.uid('disk/a/b/f'))

    def test_removed_from_what_is_mounted_it_is_gone(self) -> None:
        self.mkdir('disk')
        self.mount('disk', '-t', 'ramfs', 'disk')
        self.mkdir('disk/a', 'disk/a/b')
        self.file('disk/a/b/f', 'f')
        self.go('change')
        shutil.rmtree(self.path('disk/a'))
        self.go('undo', 4)
        self.assertEqual({'gone': {'disk/a/b/f'}}, self.problems())

    def test_subvolumes_are_walked(self) -> None:
        # A btrfs where this kernel can mount one. Elsewhere another file
        # system stands in, as a directory with a device of its own of which
        # mountinfo says nothing; its top's inode is not 256 then.
        self.mkdir('data')
        hook = ''
        image = self.seen / self.top.relative_to('/') / 'image'
        with open(image, 'wb') as file:
            file.truncate(200 << 20)
        try:
            self.run_inside('mkfs.btrfs', '-q', str(self.top / 'image'))
            self.mount('data', '-o', 'loop', str(self.top / 'image'))
            self.run_inside(
                'btrfs', 'subvolume', 'create', str(self.root / 'data/sub')
            )
        except (FileNotFoundError, subprocess.CalledProcessError):
            self.mkdir('data/sub')
            self.mount('data/sub', '-t', 'tmpfs', 'sub')
            inode = self.path('data/sub').stat().st_ino
            hook = f"""
                from nova_recovery.host.agent import mounts
                from nova_recovery.host.agent.owners import walk
                walk._SUBVOLUME = {inode}
                real = mounts.read
                def read(path=mounts.MOUNTINFO):
                    found = [m for m in real(path)
                             if not m.target.endswith(b'/sub')]
                    for mount in found:
                        if mount.target == {bytes(self.top)!r}:
                            mount.type = 'btrfs'
                    return found
                mounts.read = read
            """
        self.file('data/f', 'data/sub/g')
        self.mkdir('data/sub/d')
        os.chown(self.path('data/sub'), 108, 120)
        self.file('data/sub/d/h')
        self.go('change', hook=hook)
        self.assertEqual(4, self.result['changed'])
        for name in ('data/f', 'data/sub', 'data/sub/g', 'data/sub/d/h'):
            self.assertEqual(112, self.uid(name), name)
        self.go('verify', hook=hook)
        self.go('undo', hook=hook)
        for name in ('data/f', 'data/sub', 'data/sub/g', 'data/sub/d/h'):
            self.assertEqual(108, self.uid(name), name)


#: Of a compute host, shortened: / on ext4, nova's instances on a dead NFS
#: server, a container, what the kernel makes up.
MOUNTINFO = rb"""
22 27 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw
23 27 0:21 / /proc rw,nosuid shared:13 - proc proc rw
24 27 0:5 / /dev rw,nosuid shared:2 - devtmpfs udev rw,mode=755
25 24 0:22 / /dev/pts rw,nosuid shared:3 - devpts devpts rw,gid=5
27 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
30 27 0:24 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,mode=755
31 30 0:25 / /run/user/0 rw,nosuid shared:6 - tmpfs tmpfs rw,mode=700
40 27 0:44 / /var/lib/nova/instances rw shared:90 - nfs4 nas:/i rw,vers=4.2
41 27 0:45 / /var/lib/nova/mnt/5c1 rw - fuse.glusterfs gl:/v rw
42 27 0:46 / /mnt rw - autofs systemd-1 rw,fd=29
43 27 0:47 / /var/lib/x/merged rw - overlay overlay rw,lowerdir=/l
44 27 8:1 /srv/with\040blank /opt/a\011b rw - ext4 /dev/sda1 rw
45 27 8:1 /etc/hosts /opt/hosts rw - ext4 /dev/sda1 rw
46 27 0:50 / /srv/mapped rw,idmapped - xfs /dev/sdb rw
47 27 0:51 / /var/lib/cephfs rw - ceph mon:/ rw
48 27 0:52 / /ntfs rw - fuseblk /dev/sdc1 rw
""".strip()


class Decisions(tests_base.TestCase):
    """From the text of mountinfo alone."""

    def setUp(self) -> None:
        super().setUp()
        self.table = mounts.Table(
            [mounts.Mount(line) for line in MOUNTINFO.splitlines()]
        )

        self.looked_at: list[bytes] = []
        self.useFixture(
            fixtures.MonkeyPatch('os.path.isdir', self.is_directory)
        )

    def is_directory(self, path: bytes) -> bool:
        self.looked_at.append(path)
        return path not in (b'/opt/hosts', *mounts.LAYERS)

    def plan(self, root: bytes) -> mounts.Plan:
        return mounts.plan(root, self.table)

    def test_a_compute_host(self) -> None:
        plan = self.plan(b'/')
        self.assertEqual(
            {
                b'': 'ext4',
                # with /dev/kvm, which udev sets at the next boot only
                b'dev': 'devtmpfs',
                b'run': 'tmpfs',
                b'run/user/0': 'tmpfs',
                b'ntfs': 'fuseblk',
            },
            {r.path: r.mount.type for r in plan.regions},
        )
        self.assertEqual(
            {
                b'var/lib/nova/instances': 'nfs4',
                b'var/lib/nova/mnt/5c1': 'fuse.glusterfs',
                b'var/lib/x/merged': 'overlay',
                b'srv/mapped': 'xfs',
                b'var/lib/cephfs': 'ceph',
            },
            {path: kind for path, kind, _why in plan.left_out},
        )

    def test_nobody_looks_at_a_dead_server(self) -> None:
        plan = self.plan(b'/')
        self.assertEqual(
            {b'/dev', b'/run', b'/run/user/0', b'/ntfs', *mounts.LAYERS},
            set(self.looked_at),
        )
        self.assertIn(b'instances', plan.points[b'var/lib/nova'])
        self.assertIn(b'mnt', plan.points[b''])

    def test_a_shared_root_is_the_callers_word(self) -> None:
        plan = self.plan(b'/var/lib/nova/instances/_base')
        self.assertEqual(['nfs4'], [r.mount.type for r in plan.regions])
        self.assertEqual([], plan.left_out)

    def test_a_path_leads_to_the_mount_on_top(self) -> None:
        for path, wanted in (
            (b'/', 27),
            (b'/run/user/0/x', 31),
            (b'/run/user/00', 30),
            (b'/opt/a\tb', 44),
            (b'/var/lib/nova', 27),
        ):
            mount = self.table.mount_of(path)
            self.assertEqual(wanted, mount and mount.id, path)

    def test_fuse_of_a_disk_is_no_network(self) -> None:
        mount = self.table.mount_of(b'/ntfs')
        self.assertFalse(mount and mount.shared)
