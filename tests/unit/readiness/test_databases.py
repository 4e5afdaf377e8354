# SPDX-License-Identifier: Apache-2.0

"""What the databases say, and what it means."""

from __future__ import annotations

from typing import Any

from nova_recovery import readiness
from nova_recovery.engine.findings import Finding
from nova_recovery.readiness import age, database
from nova_recovery.readiness.age import Marks
from tests.base import TestCase

MEMBER = {
    'read_only': 'OFF',
    'wsrep_on': 'ON',
    'wsrep_cluster_status': 'Primary',
    'wsrep_ready': 'ON',
    'wsrep_local_state_comment': 'Synced',
    'wsrep_cluster_state_uuid': 'u',
    'wsrep_cluster_size': '3',
    'wsrep_cluster_address': 'gcomm://db1,db2,db3:4567?pc.wait_prim=yes',
    'wsrep_incoming_addresses': 'db1:3306,db2:3306,db3:3306',
    'wsrep_gcomm_uuid': 'm1',
}


def cluster(**changed: dict[str, str]) -> dict[str, Any]:
    return {
        f'db{number}:3306': {
            **MEMBER,
            'wsrep_gcomm_uuid': f'm{number}',
            **changed.get(f'db{number}', {}),
        }
        for number in (1, 2, 3)
    }


class TestDatabase(TestCase):
    def rows(self, answer: Any, members: Any = None) -> list[Finding]:
        return list(
            database.judge('API, cell1', 'vip:3306', answer, members or {})
        )

    def test_a_single_server_that_can_be_written_to(self) -> None:
        (row,) = self.rows({'read_only': 'OFF'})
        self.assertEqual(readiness.GO, row.severity)

    def test_a_server_that_does_not_answer(self) -> None:
        (row,) = self.rows('refused the connection')
        self.assertEqual(readiness.UNKNOWN, row.severity)
        self.assertIn('vip', row.fix)

    def test_every_way_to_be_read_only(self) -> None:
        for option in ('read_only', 'super_read_only', 'innodb_read_only'):
            for value in ('ON', '1', 'NO_LOCK'):
                (row,) = self.rows({'read_only': 'OFF', option: value})
                self.assertEqual(readiness.NO_GO, row.severity)
                self.assertIn(f'{option} = {value}', row.cause)

    def test_super_read_only_is_opened_before_read_only(self) -> None:
        (row,) = self.rows({'read_only': 'ON', 'super_read_only': 'ON'})
        self.assertIn(
            'SET GLOBAL super_read_only = OFF; SET GLOBAL read_only = OFF',
            row.fix,
        )

    def test_a_whole_cluster_behind_a_balancer(self) -> None:
        (row,) = self.rows({**MEMBER, 'wsrep_gcomm_uuid': 'm2'}, cluster())
        self.assertEqual(readiness.GO, row.severity)
        self.assertIn('3 members', row.cause)

    def test_each_member_that_does_not_take_part(self) -> None:
        for option, value in (
            ('wsrep_cluster_status', 'non-Primary'),
            ('wsrep_ready', 'OFF'),
            ('wsrep_local_state_comment', 'Donor/Desynced'),
            ('wsrep_cluster_state_uuid', 'other'),
        ):
            (row,) = self.rows(MEMBER, cluster(db3={option: value}))
            self.assertEqual(readiness.NO_GO, row.severity)
            self.assertEqual('API, cell1: db3:3306', row.subject)
            self.assertIn(option, row.cause)
            self.assertTrue(row.fix)

    def test_a_member_that_is_no_member_any_more(self) -> None:
        (row,) = self.rows(MEMBER, cluster(db2={'wsrep_on': 'OFF'}))
        self.assertIn('takes part in no cluster', row.cause)

    def test_a_member_that_can_not_be_asked_is_unknown(self) -> None:
        (row,) = self.rows(MEMBER, {**cluster(), 'db3:3306': 'no answer'})
        self.assertEqual(readiness.UNKNOWN, row.severity)
        self.assertIn('db3', row.subject)

    def test_a_member_that_is_not_in_the_component(self) -> None:
        small = {'wsrep_cluster_size': '2'}
        members = cluster(db1=small, db2=small)
        del members['db3:3306']
        (row,) = self.rows({**MEMBER, **small}, members)
        self.assertEqual(readiness.NO_GO, row.severity)
        self.assertIn('2 of 3 members', row.cause)

    def test_members_that_nobody_names_are_unknown(self) -> None:
        # MariaDB's AUTO, and a first member started with gcomm://
        hidden = {
            **MEMBER,
            'wsrep_cluster_address': 'gcomm://',
            'wsrep_incoming_addresses': 'AUTO,AUTO,AUTO',
        }
        self.assertEqual([], database.addresses(hidden, 3306))
        (row,) = self.rows(hidden)
        self.assertEqual(readiness.UNKNOWN, row.severity)
        self.assertIn('2 of 3 members', row.cause)

    def test_where_members_are_asked(self) -> None:
        self.assertEqual(
            ['db1:3306', 'db2:3306', 'db3:3306'],
            database.addresses(MEMBER, 3306),
        )
        self.assertEqual(
            ['10.0.0.1:3306', 'db1:3307', 'db2:3307', 'db3:3307'],
            database.addresses(
                {**MEMBER, 'wsrep_incoming_addresses': '10.0.0.1,AUTO,'}, 3307
            ),
        )

    def test_addresses_of_version_six(self) -> None:
        self.assertEqual(('fd00::1', 3307), database.split('[fd00::1]:3307'))
        self.assertEqual(('db1', 3306), database.split('db1'))


class TestAge(TestCase):
    BEFORE = Marks(
        {'instances': 10, 'instance_actions': 500, 'migrations': None},
        {7: ('nova-compute host1', 900), 8: ('nova-compute host2', 900)},
    )

    def judge(self, now: Marks) -> Finding:
        return age.judge(
            'cell:cell1', self.BEFORE, now, '2026-11-22T01:00:00Z', 'nova'
        )

    def test_what_went_on_is_not_older(self) -> None:
        row = self.judge(
            Marks(
                {'instances': 10, 'instance_actions': 501, 'migrations': 2},
                {7: ('nova-compute host1', 900)},
            )
        )
        self.assertEqual(readiness.GO, row.severity)
        self.assertIn('instance_actions 501 (was 500)', row.cause)

    def test_a_lower_id_is_named_with_both(self) -> None:
        row = self.judge(Marks({'instances': 10, 'instance_actions': 480}, {}))
        self.assertEqual(readiness.NO_GO, row.severity)
        self.assertIn(
            'instance_actions id 480, 500 in the snapshot', row.cause
        )
        self.assertIn('dump of nova', row.fix)

    def test_a_server_that_forgets_ids_leaves_it_unknown(self) -> None:
        lower = {'instances': 10, 'instance_actions': 480}
        row = self.judge(
            Marks(lower, {7: ('nova-compute host1', 901)}, forgets=True)
        )
        self.assertEqual(readiness.UNKNOWN, row.severity)
        self.assertIn('--purge', row.fix)
        self.assertTrue(row.more[age.FORGETS])
        # no server forgets a heartbeat
        row = self.judge(
            Marks(lower, {7: ('nova-compute host1', 899)}, forgets=True)
        )
        self.assertEqual(readiness.NO_GO, row.severity)

    def test_an_emptied_table_is_older(self) -> None:
        row = self.judge(
            Marks({'instances': None, 'instance_actions': 500}, {})
        )
        self.assertIn('instances id none, 10', row.cause)

    def test_heartbeats_only_grow(self) -> None:
        row = self.judge(
            Marks(
                self.BEFORE.numbers,
                {7: ('nova-compute host1', 899), 8: ('nova-compute host2', 3)},
            )
        )
        self.assertEqual(readiness.NO_GO, row.severity)
        self.assertIn(
            'services.report_count of nova-compute host1 (id 7) 899, 900 '
            'in the snapshot and 1 more',
            row.cause,
        )

    def test_a_service_that_was_made_anew_counts_from_zero(self) -> None:
        row = self.judge(
            Marks(self.BEFORE.numbers, {9: ('nova-compute host1', 1)})
        )
        self.assertEqual(readiness.GO, row.severity)

    def test_cinder_by_its_newest_time(self) -> None:
        before = Marks({'volumes': '2026-11-22T10:00:00'})
        for then, state in (
            ('2026-11-22T10:00:00', readiness.GO),
            ('2026-11-22T09:59:59', readiness.NO_GO),
        ):
            row = age.judge(
                'cinder', before, Marks({'volumes': then}), '', 'cinder'
            )
            self.assertEqual(state, row.severity)
        self.assertIn('volumes updated_at 2026-11-22T09:59:59Z', row.cause)
