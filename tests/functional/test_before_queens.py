# SPDX-License-Identifier: Apache-2.0

"""A volume that was attached before Queens: nova names no attachment."""

from __future__ import annotations

from tests.functional.dead_host import DeadHostTest


class TestBeforeQueens(DeadHostTest):
    wanted = {'legacy': {'volumes': ['iscsi']}}

    def test_evacuated_well_is_verified_well(self) -> None:
        before = self.server('legacy')
        self.practice.sql(
            'nova',
            'UPDATE block_device_mapping SET attachment_id = NULL'
            ' WHERE instance_uuid = %s AND volume_id IS NOT NULL',
            [before.uuid],
        )
        (row,) = self.answer(*self.words(before), '--yes')
        self.assertEqual('done', row['Outcome'], row['Detail'])
        self.assertEqual(
            {'host2': 'running'},
            {
                host: state
                for host, state in self.state.guests(before.uuid).items()
                if host != 'host1'
            },
        )
