# SPDX-License-Identifier: Apache-2.0

"""Claims: where they are, and what they cover."""

from __future__ import annotations

from typing import Any

from oslo_utils import timeutils

from nova_recovery.cloud import claims
from nova_recovery.engine import records
from tests.base import TestCase
from tests.unit.tables import Memory, Real


class TestServers(TestCase):
    """A server alone is claimed where only administrators write."""

    def setUp(self) -> None:
        super().setUp()
        self.cell: Any = Real(
            'nova34-nova', ('instances', 'services', 'tags', 'task_log')
        )
        self.addCleanup(self.cell.engine.dispose)
        self.marker = records.marker('1a2b3c4d', 'anna', 'ctl1')

    def test_what_a_member_writes_is_no_claim(self) -> None:
        """Neither one that looks like ours, nor one that was taken off."""
        claims.claim_server(self.cell, 'u1', self.marker)
        for uuid in ('u1', 'u2'):
            for tag in ('claim', 'run=1a2b3c4d-by=a', 'run=9-by=b'):
                self.cell.add(
                    'tags', resource_id=uuid, tag=f'nova-recovery-{tag}'
                )
        self.assertEqual(
            {'u1': self.marker}, claims.server_holders(self.cell, ['u1', 'u2'])
        )
        claims.claim_server(self.cell, 'u2', self.marker)

    def test_what_the_owner_sees_says_nothing_of_us(self) -> None:
        claims.claim_server(self.cell, 'u1', self.marker)
        self.assertEqual([], self.cell.rows('tags'))

    def test_all_claims_of_a_cell(self) -> None:
        self.cell.add(
            'services', id=7, host='np-rcc54', binary='nova-compute',
            deleted=0, report_count=1, disabled_reason=self.marker,
        )  # fmt: skip
        claims.claim_server(self.cell, 'u1', self.marker)
        self.cell.add(
            'task_log', task_name='instance_usage_audit', host='np-rcc54',
            state='DONE', message='nova-recovery run=1 of nobody',
            period_beginning=timeutils.utcnow(), deleted=0,
            period_ending=timeutils.utcnow(),
        )  # fmt: skip
        self.assertEqual(
            [('np-rcc54', 7), ('u1', None)],
            [(one.name, one.service_id) for one in claims.every(self.cell)],
        )


class TestOldCloud(TestCase):
    """Before there was a place for claims, nothing is claimed."""

    def test_nobody_has_anything(self) -> None:
        cell: Any = Memory(
            services='id host binary deleted', instances='uuid deleted host'
        )
        self.addCleanup(cell.engine.dispose)
        self.assertFalse(claims.possible(cell))
        self.assertIsNone(claims.server_holder(cell, 'u1'))
        self.assertEqual({}, claims.under_hosts(cell, ['u1']))
        self.assertEqual([], list(claims.every(cell)))


class TestUnderHosts(TestCase):
    """All that is on a host is under its claim, and what left it."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = Memory(
            instances='uuid deleted host',
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
            {'u1': self.marker},
            claims.under_hosts(self.cell, ['u1', 'u2', 'u3']),
        )

    def test_what_is_on_it(self) -> None:
        for uuid, host in (('u1', 'np-rcc54'), ('u2', 'np-rcc55')):
            self.cell.add('instances', uuid=uuid, deleted=0, host=host)
        self.assertEqual(
            {'u1': self.marker}, claims.under_hosts(self.cell, ['u1', 'u2'])
        )
