# SPDX-License-Identifier: Apache-2.0

"""What a host says of Ceph, of a real one."""

from __future__ import annotations

from typing import Any

from nova_recovery.engine.findings import Finding
from nova_recovery.host.agent import ceph
from nova_recovery.procedures import check_storage
from nova_recovery.procedures.reached import Reached
from tests import base
from tests.cloud import process
from tests.integration.ceph import Ceph

SERVER = '3f57699a-e773-4650-a443-b4b37eed5a06'


class OfAHost(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ceph = self.useFixture(Ceph())
        self.conf = self.ceph.top / 'nova.conf'
        self.conf.write_text(
            '[libvirt]\nrbd_user = cinder\n'
            f'images_rbd_ceph_conf = {self.ceph.conf}\n'
        )

    def look(self, active: bool = False) -> Any:
        domain = {'uuid': SERVER, 'active': active}
        domain['network'] = {'rbd:volumes/v': 'the volume'}
        return ceph.look({'nova_conf': [str(self.conf)]}, [domain])

    def found(self, said: Any) -> dict[str, Finding]:
        host = Reached('c1', 'id')
        return {one.code: one for one in check_storage.ceph(host, said)}

    def codes(self, active: bool = False) -> set[str]:
        return set(self.found(self.look(active))) - {'CEPH-HEALTH'}

    def test_what_a_power_loss_leaves(self) -> None:
        said = self.look()
        self.assertEqual('', said['why'])
        self.assertEqual(set(), self.codes())
        guest = self.ceph.guest()
        said = self.look(active=True)
        (row,) = said['images']
        self.assertEqual('', row['why'])
        self.assertEqual(row['watchers'], row['lockers'])
        self.assertEqual(set(), self.codes(active=True))
        # the same, seen from another host
        said['addresses'] = ['10.0.0.9']
        elsewhere = self.found(said)['RBD-ELSEWHERE']
        self.assertIn('127.0.0.1', elsewhere.cause)
        guest.kill()
        process.wait_for(
            lambda: not self.look()['images'][0]['watchers'], 60, 'the end'
        )
        self.assertEqual({'RBD-LOCKED'}, self.codes())
        # what would keep it from starting: who has it can't be shut out
        self.ceph.caps('allow r')
        said = self.look()
        self.assertIsNone(said['caps'])
        self.conf.write_text(
            f'[libvirt]\nimages_rbd_ceph_conf = {self.ceph.conf}\n'
        )
        self.assertEqual({'mon', 'osd', 'mgr'}, set(self.look()['caps']))
        self.ceph.run('osd', 'blocklist', 'add', '127.0.0.1:0/0')
        self.assertIn('CEPH-BLOCKED', self.codes())

    def test_a_cluster_that_does_not_answer(self) -> None:
        text = self.ceph.conf.read_text()
        # nobody listens to the discard service
        text = text.replace(f':{self.ceph.port}/', ':9/')
        self.ceph.conf.write_text(text)
        self.assertEqual({'CEPH-SILENT'}, self.codes())
