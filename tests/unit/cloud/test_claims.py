# SPDX-License-Identifier: Apache-2.0

"""Claims: what they are called, and what they cover."""

from __future__ import annotations

from nova_recovery.cloud import claims
from nova_recovery.engine import records
from tests.base import TestCase
from tests.unit.tables import Memory


class TestOwnerTag(TestCase):
    def test_it_is_the_marker(self) -> None:
        marker = records.marker('1a2b3c4d', 'anna/admin', 'ctl1')
        self.assertEqual(
            'nova-recovery-run=1a2b3c4d-by=anna/admin@ctl1',
            claims.owner_tag(marker),
        )

    def test_two_machines_never_share_one(self) -> None:
        # or whoever lost a run would still hold its servers
        who = 'anna.maria.mustermann/openstack-administrator'
        tags = {
            claims.owner_tag(records.marker('1a2b3c4d', who, machine))
            for machine in ('controller1', 'controller2')
        }
        self.assertEqual(2, len(tags))
        for tag in tags:
            self.assertEqual(80, len(tag))
            self.assertTrue(tag.startswith('nova-recovery-run=1a2b3c4d-by='))


class TestMovers(TestCase):
    """A server that left its host is under the claim on that host."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = Memory(
            services='id host binary deleted disabled_reason',
            migrations='id deleted instance_uuid migration_type status '
            'source_compute',
        )
        self.addCleanup(self.cell.engine.dispose)
        self.marker = records.marker('1a2b3c4d', 'anna', 'ctl1')
        for number, host, reason in (
            (1, 'np-rcc54', self.marker),
            (2, 'np-rcc55', 'kernel update'),
        ):
            self.cell.add(
                'services', id=number, host=host, binary='nova-compute',
                deleted=0, disabled_reason=reason,
            )  # fmt: skip

    def left(self, uuid: str, host: str, status: str = 'done') -> None:
        self.cell.add(
            'migrations', deleted=0, instance_uuid=uuid, status=status,
            migration_type='evacuation', source_compute=host,
        )  # fmt: skip

    def test_while_the_run_has_its_claim(self) -> None:
        self.left('u1', 'np-rcc54')
        self.left('u2', 'np-rcc55')
        self.left('u3', 'np-rcc54', 'completed')
        self.left('u4', 'np-rcc54')
        self.assertEqual(
            {'u1': self.marker}, claims.movers(self.cell, ['u1', 'u2', 'u3'])
        )
