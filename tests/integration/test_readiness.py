# SPDX-License-Identifier: Apache-2.0

"""Is a cluster ready that loses its members? Asked of a real one."""

from __future__ import annotations

from nova_recovery import readiness
from nova_recovery.cloud.db.database import Database
from nova_recovery.engine.findings import Finding
from nova_recovery.readiness import database as database_probe
from nova_recovery.readiness.database import Server
from tests.base import TestCase
from tests.cloud import galera, process
from tests.cloud.galera import Galera


class TestGalera(TestCase):
    cluster: Galera

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.cluster = Galera()
        cls.addClassCleanup(cls.cluster.stop)
        cls.cluster.start()

    def test_members_that_are_cut_off(self) -> None:
        cluster = self.cluster
        (row,) = self._rows(cluster, 1)
        self.assertEqual(readiness.GO, row.severity, row)
        for node in galera.NODES:
            self.assertIn(str(cluster.port(node)), row.cause)

        cluster.sql(3, None, 'SET GLOBAL read_only = ON')
        (row,) = self._rows(cluster, 1)
        self.assertEqual(readiness.NO_GO, row.severity, row)
        self.assertIn(f':{cluster.port(3)}', row.subject)
        self.assertIn('read_only = ON', row.cause)
        cluster.sql(3, None, 'SET GLOBAL read_only = OFF')

        self._cut_off(cluster, 3)
        process.wait_for(
            lambda: cluster.size(1) == 2, 60, 'two to go on alone'
        )
        (row,) = self._rows(cluster, 1)
        self.assertEqual(readiness.NO_GO, row.severity, row)
        self.assertIn('2 of 3 members', row.cause)
        # whoever is led to the one that is cut off
        process.wait_for(lambda: cluster.size(3) == 1, 60, 'one to be alone')
        (row,) = self._rows(cluster, 3)
        self.assertEqual(readiness.NO_GO, row.severity, row)
        self.assertIn('non-Primary', row.cause)

        self._cut_off(cluster, 2)
        process.wait_for(
            lambda: cluster.size(1) == 1, 60, 'the last to be alone'
        )
        for node in galera.NODES:
            (row,) = self._rows(cluster, node)
            self.assertEqual(readiness.NO_GO, row.severity, row)
            self.assertIn('wsrep_ready = OFF', row.cause)
            self.assertIn('pc.bootstrap', row.fix)

        cluster.kill_node(1)
        (row,) = self._rows(cluster, 1)
        self.assertEqual(readiness.UNKNOWN, row.severity, row)

    def _cut_off(self, cluster: Galera, node: int) -> None:
        # it hears and is heard no more, but goes on running
        cluster.sql(
            node,
            None,
            "SET GLOBAL wsrep_provider_options = 'gmcast.isolate=1'",
        )

    def _rows(self, cluster: Galera, node: int) -> list[Finding]:
        server = Server(
            ('cell1',),
            f'127.0.0.1:{cluster.port(node)}',
            Database('cell1', cluster.url(node, 'mysql')),
        )
        return list(database_probe.asked([server]))
