# SPDX-License-Identifier: Apache-2.0

"""Where a guest may run, from all that is known of it."""

from __future__ import annotations

import dataclasses
from typing import Any

from nova_recovery.cloud.providers import Provider
from nova_recovery.cloud.records import Migration, Server
from nova_recovery.procedures import whereabouts
from nova_recovery.procedures.whereabouts import Whereabouts
from tests.base import TestCase

UUID = '3f57699a-e773-4650-a443-b4b37eed5a06'
HOST1, HOST2 = Provider('host1', 'host1'), Provider('host2', 'host2')


def server(**given: Any) -> Server:
    values: dict[str, Any] = dict.fromkeys(
        field.name for field in dataclasses.fields(Server)
    )
    values.update(uuid=UUID, host='host1', node='host1', locked=False, row={})
    return Server(**{**values, **given})


def migration(
    kind: str, status: str, source: str, target: str | None, number: int = 1
) -> Migration:
    return Migration(
        id=number,
        uuid=None,
        instance_uuid=UUID,
        source_compute=source,
        source_node=source,
        dest_compute=target,
        dest_node=target,
        status=status,
        migration_type=kind,
        deleted=False,
        created_at=None,
    )


class TestWhereabouts(TestCase):
    def judge(
        self,
        *rows: Migration,
        held: tuple[Provider, ...] | None = (HOST1,),
        seen: dict[str, bool] | None = None,
        **given: Any,
    ) -> Whereabouts:
        return whereabouts.judge(
            server(**given),
            rows,
            None if held is None else {one.name: one for one in held},
            seen,
        )

    def check(
        self, found: Whereabouts, *hosts: str, sure: bool = True
    ) -> None:
        self.assertEqual(set(hosts), set(found.hosts()), found)
        self.assertEqual((), found.unknown)
        for one in found.perhaps:
            self.assertEqual(sure, one.sure, one)

    def test_nothing_speaks_against_its_row(self) -> None:
        found = self.judge()
        self.assertTrue(found.here_only)
        self.assertEqual('here only', found.told())

    def test_a_server_on_no_host_runs_nowhere(self) -> None:
        found = self.judge(host=None, held=())
        self.assertTrue(found.here_only)
        self.assertEqual('on no host', found.told())

    # The death of a host in the middle of ...

    def test_a_live_migration(self) -> None:
        for status in ('preparing', 'running', 'post-migrating'):
            row = migration('live-migration', status, 'host1', 'host2')
            self.check(self.judge(row), 'host2')

    def test_a_live_migration_whose_rows_say_nothing(self) -> None:
        """nova moves the allocation before the first row of it is written."""
        self.check(self.judge(held=(HOST2,)), 'host2')
        row = migration('live-migration', 'accepted', 'host1', 'host2')
        self.check(self.judge(row, held=(HOST2,)), 'host2')

    def test_an_evacuation(self) -> None:
        for status in ('accepted', 'pre-migrating'):
            row = migration('evacuation', status, 'host1', 'host2')
            self.check(self.judge(row, held=(HOST1, HOST2)), 'host2')

    def test_an_evacuation_whose_target_was_not_chosen(self) -> None:
        row = migration('evacuation', 'accepted', 'host1', None)
        found = self.judge(row)
        self.assertEqual((), found.perhaps)
        self.assertIn('a host not chosen yet is accepted', found.because())

    def test_a_resize_that_carried_its_disk_over(self) -> None:
        for kind in ('resize', 'migration'):
            for status in ('migrating', 'post-migrating'):
                row = migration(kind, status, 'host1', 'host2')
                self.check(self.judge(row), 'host2')

    def test_a_revert_of_a_resize(self) -> None:
        row = migration('resize', 'reverting', 'host2', 'host1')
        self.check(self.judge(row), 'host2')
        # Back already.
        row = migration('resize', 'reverting', 'host1', 'host2')
        self.check(self.judge(row))

    # What nova says came to nothing

    def test_an_evacuation_that_failed_may_have_started_it(self) -> None:
        for status in ('failed', 'error'):
            row = migration('evacuation', status, 'host1', 'host2')
            self.check(self.judge(row), 'host2', sure=False)

    def test_what_failed_and_has_its_allocation_there(self) -> None:
        row = migration('evacuation', 'failed', 'host1', 'host2')
        self.check(self.judge(row, held=(HOST1, HOST2)), 'host2')

    def test_a_live_migration_in_error(self) -> None:
        row = migration('live-migration', 'error', 'host1', 'host2')
        self.check(self.judge(row), 'host2', sure=False)

    def test_what_was_rolled_back(self) -> None:
        for kind, status in (
            ('live-migration', 'failed'),
            ('live-migration', 'cancelled'),
            ('live-migration', 'accepted'),
            ('evacuation', 'cancelled'),
            ('resize', 'error'),
            ('resize', 'reverted'),
            ('migration', 'accepted'),
        ):
            row = migration(kind, status, 'host1', 'host2')
            self.assertTrue(self.judge(row).here_only, (kind, status))

    # Odd ones, each of them seen or thought of

    def test_a_resize_whose_end_failed_brought_it_here(self) -> None:
        """What was before it tells nothing: it was here then, too."""
        away = migration('live-migration', 'completed', 'host1', 'host2', 1)
        back = migration('resize', 'error', 'host2', 'host1', 2)
        self.check(self.judge(away, back))
        # never begun: then nothing tells how it came back
        for status in ('failed', 'cancelled', 'accepted'):
            back = migration('resize', status, 'host2', 'host1', 2)
            self.check(self.judge(away, back), 'host2')

    def test_a_move_by_hand_that_armed_nothing_brought_it_here(self) -> None:
        away = migration('live-migration', 'completed', 'host1', 'host2', 1)
        moved = migration('evacuation', 'cancelled', 'host2', 'host1', 2)
        self.check(self.judge(away, moved, held=(HOST1,)))

    def test_an_evacuation_that_failed_after_it_arrived(self) -> None:
        away = migration('live-migration', 'completed', 'host1', 'host2', 1)
        for status in ('failed', 'error'):
            row = migration('evacuation', status, 'host2', 'host1', 2)
            self.check(self.judge(away, row))

    def test_a_resize_within_its_host(self) -> None:
        for status in ('migrating', 'post-migrating'):
            row = migration('resize', status, 'host1', 'host1')
            found = self.judge(row, task_state='resize_migrating')
            self.assertEqual((), found.perhaps)
            self.assertIn('its disk may be half of it', found.because())
        row = migration('resize', 'finished', 'host1', 'host1')
        self.check(self.judge(row))

    def test_two_migrations_at_once(self) -> None:
        live = migration('live-migration', 'running', 'host1', 'host2', 1)
        evacuated = migration('evacuation', 'accepted', 'host1', 'host3', 2)
        self.check(self.judge(live, evacuated), 'host2', 'host3')

    def test_it_went_to_nobody_knows_where(self) -> None:
        for kind, status in (
            ('evacuation', 'done'),
            ('live-migration', 'completed'),
            ('resize', 'migrating'),
        ):
            found = self.judge(migration(kind, status, 'host1', None))
            self.assertEqual((), found.perhaps)
            self.assertIn(f'not chosen yet is {status}', found.because())

    def test_a_node_that_is_another_hosts(self) -> None:
        """As after the guide's UPDATE of the host alone."""
        self.check(self.judge(held=(HOST2,), node='host2'), 'host2')

    # What settles it

    def test_it_arrived_here(self) -> None:
        for kind, status in (
            ('live-migration', 'completed'),
            ('evacuation', 'done'),
            ('evacuation', 'completed'),
            ('resize', 'finished'),
            ('resize', 'confirmed'),
            ('migration', 'confirming'),
        ):
            here = migration(kind, status, 'host2', 'host1', 9)
            older = migration('evacuation', 'failed', 'host2', 'host3', 3)
            self.assertTrue(self.judge(older, here).here_only, (kind, status))

    def test_what_failed_since_it_arrived_counts(self) -> None:
        here = migration('live-migration', 'completed', 'host2', 'host1', 3)
        later = migration('evacuation', 'failed', 'host1', 'host3', 9)
        self.check(self.judge(here, later), 'host3', sure=False)

    def test_the_row_was_edited_back(self) -> None:
        """Or its database is older than the migration."""
        for kind, status in (
            ('live-migration', 'completed'),
            ('evacuation', 'done'),
            ('resize', 'finished'),
        ):
            row = migration(kind, status, 'host1', 'host2')
            found = self.judge(row)
            self.check(found, 'host2')
            self.assertIn('still names host1', found.because())

    # Allocations

    def test_the_allocation_that_an_evacuation_left_behind(self) -> None:
        row = migration('evacuation', 'done', 'host2', 'host1')
        self.check(self.judge(row, held=(HOST1, HOST2)))

    def test_a_node_that_was_made_anew(self) -> None:
        self.check(self.judge(held=(Provider('host1', None),)))

    def test_a_provider_of_nobody(self) -> None:
        found = self.judge(held=(Provider('gone', None),))
        self.assertIn('gone, which is no compute node', found.because())
        self.assertFalse(found.here_only)

    def test_placement_was_not_asked(self) -> None:
        found = self.judge(held=None)
        self.assertFalse(found.here_only)
        self.assertEqual((), found.perhaps)

    # The rest

    def test_a_task_of_a_migration_without_a_row(self) -> None:
        found = self.judge(task_state='migrating')
        self.assertIn('its task is migrating', found.because())

    def test_words_that_a_later_nova_may_use(self) -> None:
        for row in (
            migration('teleport', 'done', 'host1', 'host2'),
            migration('live-migration', 'beaming', 'host1', 'host2'),
        ):
            found = self.judge(row)
            self.assertFalse(found.here_only)
            self.assertIn('not known here', found.because())

    def test_a_hypervisor_has_the_last_word(self) -> None:
        row = migration('evacuation', 'pre-migrating', 'host1', 'host2')
        self.check(self.judge(row, seen={'host2': False}))
        self.check(self.judge(seen={'host3': True}), 'host3')

    def test_one_line_for_each_host(self) -> None:
        row = migration('live-migration', 'running', 'host1', 'host2')
        found = self.judge(row, held=(HOST2,))
        self.assertEqual(1, len(found.perhaps))
        self.assertIn('is running; placement has', found.because())

    def test_the_way_on_is_named(self) -> None:
        row = migration('live-migration', 'running', 'host1', 'host2')
        gate = next(whereabouts.gates(self.judge(row), UUID, 'db'))
        self.assertEqual(('hard', 'refused'), (gate.klass, gate.state))
        self.assertIn(
            f'openstack recovery server adopt {UUID} --host host2', gate.remedy
        )
        self.assertIn(f'--not-running {UUID}@host2=', gate.remedy)

    def test_what_is_weak_can_be_overridden(self) -> None:
        row = migration('evacuation', 'failed', 'host1', 'host2')
        gates = list(whereabouts.gates(self.judge(row, held=None), UUID, 'db'))
        self.assertEqual(['soft', 'soft'], [gate.klass for gate in gates])
        self.assertEqual(
            ['refused', 'unknown'], [gate.state for gate in gates]
        )
