# SPDX-License-Identifier: Apache-2.0

"""Owners of files that a server of NFS has, a real one, and its distrust."""

from __future__ import annotations

from typing import ClassVar

from tests.hosts.beds import Beds
from tests.hosts.machine import Machine
from tests.hosts.program import ProgramTest

INSTANCES = '/var/lib/nova/instances'
NUMBERS = ('--uid', 'nova=130', '--gid', 'nova=131', '--root', '/var/lib/nova')
UNKNOWN = (
    *('--override', 'host-claimable=no nova here'),
    *('--override', 'no-tombstone=no nova here'),
)


class ServedByNfs(ProgramTest):
    """Two compute hosts; the first has the disks, the second mounts them."""

    # a walk in an emulated machine, on a busy one
    patience = 400
    beds: ClassVar[Beds]
    server: ClassVar[Machine]
    client: ClassVar[Machine]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.beds = Beds.up(0)
        cls.addClassCleanup(cls.beds.down)
        cls.server, cls.client = cls.beds.machine(), cls.beds.machine()
        cls.server.run(f"""
set -eu
mkdir -p {INSTANCES}/6f3e
cd {INSTANCES}/6f3e
echo disk >disk; ln -s /etc/passwd link; cp /bin/true setuid
chown -hR nova:nova .; chmod 6755 setuid; chown root:root {INSTANCES}/..
printf '[nfsd]\\nvers3=n\\n' >/etc/nfs.conf
echo '{INSTANCES} {cls.client.address}(rw,no_subtree_check)' >/etc/exports
systemctl start nfs-server
# no client had anything open before
echo Y >/proc/fs/nfsd/v4_end_grace
""")
        cls.client.run(
            f'mount -t nfs4 {cls.server.address}:{INSTANCES} {INSTANCES}'
        )

    def seen(self) -> str:
        """Owners and modes, as the server has them."""
        return self.server.run(
            f'cd {INSTANCES}; find . -printf "%U:%G %m %p\\n" | sort'
        )

    def distrusted(self, squashed: bool) -> None:
        word = 'root_squash' if squashed else 'no_root_squash'
        client = f'{self.client.address}:{INSTANCES}'
        self.server.run(f'exportfs -o rw,no_subtree_check,{word} {client}')

    def set(self, *words: str, code: int = 0) -> str:
        return self.run_program(
            *('host', 'uid', 'set', *words, *NUMBERS, *UNKNOWN), code=code
        )

    def test_from_where_root_is_root(self) -> None:
        self.distrusted(True)
        before = self.seen()
        said = self.set('iscsi2', '--yes', code=3)
        self.assertIn('root-is-root', said)
        self.assertIn('makes nobody of root', said)
        # with the server beside it, the disks are walked once, and there
        said = self.set('iscsi1', 'iscsi2', '--dry-run')
        self.assertIn(f'{INSTANCES} of iscsi1, iscsi2', said)
        self.assertIn(f'iscsi1:{INSTANCES}', said)
        self.assertEqual(before, self.seen())
        # where the server trusts it, a client will do
        self.distrusted(False)
        self.set('iscsi2', '--yes')
        after = before.replace('108:120', '130:131')
        self.assertEqual(after, self.seen())
        self.assertIn('130:131 6755 ./6f3e/setuid', after)
        self.run_program('run', 'undo', self.run_id(), '--yes')
        self.assertEqual(before, self.seen())
        self.assertEqual('108\n', self.client.run('id -u nova'))
