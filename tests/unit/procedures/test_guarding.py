# SPDX-License-Identifier: Apache-2.0

"""The claims of a plan, looked at before each change."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any
from unittest import mock

import fixtures

from nova_recovery import procedures
from nova_recovery.cloud.db import servers
from nova_recovery.engine.plan import Gate, Item, Plan, Step
from nova_recovery.exceptions import ClaimLost, Closed, Conflict
from tests.base import TestCase
from tests.unit.changes.case import Cloud

MARKER = 'nova-recovery run=1a2b3c4d by=anna@ctl1'
OTHER = 'nova-recovery run=99999999 by=bob@ctl2'
CLAIM = Item(
    'claim-host:np-rcc54',
    'claim-host',
    'host:np-rcc54',
    'np-rcc54',
    {'cell': 'cell1', 'service_id': 7, 'report_count': 4711},
)
MOVE = Item(
    'move-record:u1', 'move-record', 'server:u1', 'web', {}, (CLAIM.subject,)
)
CLAIM_SERVER = Item(
    'claim-server:u1',
    'claim-server',
    'server:u1',
    'web',
    {'cell': 'cell1', 'uuid': 'u1'},
)
REBOOT = Item(
    'reboot-server:u1',
    'reboot-server',
    'server:u1',
    'web',
    {'cell': 'cell1', 'uuid': 'u1'},
)


def plan(*items: Item) -> Plan:
    """A plan of one step."""
    return Plan('p', '', {}, (Step('s', '', items),))


class GuardTest(TestCase):
    """What the cloud says when a change is about to be made.

    :ivar row: the dead host's row of ``services``
    :ivar holder: who claimed the server
    :ivar cloud: nothing is in its cell
    """

    def setUp(self) -> None:
        super().setUp()
        self.row: dict[str, Any] = {
            'disabled_reason': MARKER,
            'report_count': 4711,
        }
        self.cloud = Cloud('nova34-nova', 'nova34-cinder')
        self.addCleanup(self.cloud.close)
        self.holder: str | None = MARKER
        self.hosts: dict[str, str] = {}
        self.after: tuple[str | None, str | None] = ('np-rcc54', None)
        for name, answer in (
            ('service_row', lambda database, service: self.row),
            ('server_holder', lambda database, uuid: self.holder),
            ('under_hosts', lambda database, uuids: self.hosts),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(
                    f'nova_recovery.cloud.claims.{name}', answer
                )
            )
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.cloud.db.tombstones.after',
                lambda database, uuid, source: self.after,
            )
        )

    def confirm(self, item: Item, *items: Item) -> None:
        guard = procedures.guard(plan(*items), self.cloud, MARKER)
        assert guard is not None
        guard(item)

    def lost(self, item: Item, *items: Item) -> str:
        return str(self.assertRaises(ClaimLost, self.confirm, item, *items))

    def test_a_plan_that_claims_nothing_is_not_guarded(self) -> None:
        self.assertIsNone(procedures.guard(plan(MOVE), mock.Mock(), MARKER))

    def test_a_claim_that_is_ours(self) -> None:
        self.confirm(MOVE, CLAIM, MOVE)
        self.confirm(REBOOT, CLAIM_SERVER, REBOOT)

    def test_a_server_is_under_the_claim_on_its_host(self) -> None:
        for reason in (OTHER, 'kernel update', None):
            self.row['disabled_reason'] = reason
            self.assertIn(str(reason), self.lost(MOVE, CLAIM, MOVE))

    def test_a_server_of_another_host_is_not(self) -> None:
        self.row['disabled_reason'] = OTHER
        self.confirm(REBOOT, CLAIM, MOVE, REBOOT)

    def test_a_claim_on_a_server_is_gone(self) -> None:
        """Only an administrator takes one off, for all of the run."""
        for holder in (None, OTHER, MARKER.replace('anna', 'bob')):
            self.holder = holder
            told = self.lost(REBOOT, CLAIM_SERVER, REBOOT)
            self.assertIn('web', told)
            self.assertIn('run abandon', told)
            self.assertNotIn('archive', told)

    def test_a_claim_that_the_archive_took(self) -> None:
        self.holder = None
        self.cloud.cell.add(
            'shadow_task_log', id=1, task_name='nova-recovery',
            host=CLAIM_SERVER.data['uuid'], message=MARKER, state='CLAIMED',
            period_beginning=datetime.datetime(2000, 1, 1),
            period_ending=datetime.datetime(2000, 1, 1),
        )  # fmt: skip
        told = self.lost(REBOOT, CLAIM_SERVER, REBOOT)
        self.assertIn('archive_deleted_rows --task-log took it', told)
        self.assertIn('run abandon', told)

    def test_two_runs_by_two_kinds_of_claims(self) -> None:
        """Both were seen by nobody when they were made."""
        self.hosts = {'u1': OTHER}
        error = self.assertRaises(
            Conflict, self.confirm, REBOOT, *(CLAIM_SERVER, REBOOT)
        )
        self.assertIn(OTHER, str(error))
        self.hosts = {'u1': MARKER}
        self.holder = OTHER
        move = dataclasses.replace(MOVE, data={'uuid': 'u1', 'cell': 'cell1'})
        error = self.assertRaises(Conflict, self.confirm, move, CLAIM, move)
        self.assertIn(OTHER, str(error))
        self.holder = None
        self.confirm(move, CLAIM, move)

    def test_a_host_of_another_run_that_was_overridden(self) -> None:
        self.hosts = {'u1': OTHER}
        gate = Gate(
            'not-moved-now', 'web', 'soft', 'overridden', '', reason='stuck'
        )
        guard = procedures.guard(
            dataclasses.replace(plan(CLAIM_SERVER, REBOOT), gates=(gate,)),
            self.cloud,
            MARKER,
        )
        assert guard is not None
        guard(REBOOT)

    def test_claiming_and_giving_back_look_for_themselves(self) -> None:
        self.row['disabled_reason'] = None
        self.confirm(CLAIM, CLAIM, MOVE)

    def test_a_dead_host_that_reports_again(self) -> None:
        """Whoever put it to use may have taken the claim off with that."""
        self.row['report_count'] = 4712
        for reason in (MARKER, None, 'kernel update'):
            self.row['disabled_reason'] = reason
            error = self.assertRaises(Closed, self.confirm, MOVE, CLAIM, MOVE)
            self.assertIn('alive again', str(error))
            self.assertIn('host recover np-rcc54', error.then[-1])

    def test_it_reports_again_and_is_another_run_s(self) -> None:
        self.row.update(report_count=4712, disabled_reason=OTHER)
        self.assertIn(OTHER, self.lost(MOVE, CLAIM, MOVE))

    def test_what_was_moved_goes_on_when_it_has_cleaned_up(self) -> None:
        self.row['report_count'] = 4712
        self.after = 'np-rcc46', 'completed'
        self.confirm(MOVE, CLAIM, MOVE)
        for status in ('accepted', 'pre-migrating', 'done'):
            self.after = 'np-rcc46', status
            error = self.assertRaises(
                Conflict, self.confirm, MOVE, CLAIM, MOVE
            )
            self.assertIn('has not cleaned up', str(error))
            self.assertIn('run resume 1a2b3c4d', str(error))
            self.assertIn('run undo 1a2b3c4d', str(error))

    def test_one_whose_source_keeps_its_copy_is_not_started(self) -> None:
        """Only a word says that the disk is shared: nothing is deleted yet.

        Once it was started, its end is that the source cleans up.
        """
        self.row['report_count'] = 4712
        self.after = 'np-rcc46', 'cancelled'
        error = self.assertRaises(Conflict, self.confirm, MOVE, CLAIM, MOVE)
        self.assertIn('run undo 1a2b3c4d', str(error))
        for kind in ('verify-server', 'arm-tombstone'):
            end = dataclasses.replace(MOVE, kind=kind)
            self.confirm(end, CLAIM, end)

    def service(self, host: str, deleted: int) -> None:
        self.cloud.cell.add(
            'services', host=host, binary='nova-compute', deleted=deleted,
            report_count=1, disabled=0,
        )  # fmt: skip

    def test_a_host_without_service_has_one_again(self) -> None:
        """It is what its nova-compute makes as soon as it starts."""
        source = {'source': 'np-rcc54'}
        claim = dataclasses.replace(
            CLAIM_SERVER, data={**CLAIM_SERVER.data, **source}
        )
        move, start = (
            dataclasses.replace(REBOOT, kind=kind)
            for kind in ('move-record', 'start-server')
        )
        self.confirm(move, claim, move)
        self.service('np-rcc46', deleted=0)
        self.service('np-rcc54', deleted=5)
        self.confirm(start, claim, start)
        self.service('np-rcc54', deleted=0)
        error = self.assertRaises(Closed, self.confirm, move, claim, move)
        self.assertIn('np-rcc54 is alive again', str(error))
        self.after = 'np-rcc46', 'done'
        self.assertRaises(Conflict, self.confirm, start, claim, start)
        # it has cleaned up; or another host is the source
        self.after = 'np-rcc46', 'completed'
        self.confirm(start, claim, start)
        self.after = 'np-rcc54', None
        self.confirm(start, CLAIM_SERVER, start)
        guard = procedures.guard(
            plan(claim, move), self.cloud, MARKER, undoing=True
        )
        assert guard is not None
        guard(move)

    def test_giving_back_goes_on(self) -> None:
        self.row['report_count'] = 4712
        unlock = Item('unlock', 'unlock-server', 'server:u1', 'web', {})
        self.confirm(unlock, CLAIM, unlock)

    def migration(
        self, number: int, status: str, kind: str = 'live-migration'
    ) -> None:
        self.cloud.cell.add(
            'migrations', id=number, instance_uuid='u1', deleted=0,
            source_compute='np-rcc54', dest_compute='np-rcc46', status=status,
            migration_type=kind, hidden=0,
        )  # fmt: skip

    def test_what_somebody_moves_by_now_is_not_started(self) -> None:
        self.migration(7, 'error')
        guard = procedures.guard(
            plan(CLAIM_SERVER, REBOOT), self.cloud, MARKER
        )
        assert guard is not None
        guard(REBOOT)
        self.migration(8, 'failed')
        guard(REBOOT)
        self.migration(9, 'running')
        error = self.assertRaises(Conflict, guard, REBOOT)
        self.assertIn('np-rcc54 -> np-rcc46 is running', str(error))
        self.assertIn('--skip web=REASON', str(error))

    def test_one_that_failed_may_have_started_it_there(self) -> None:
        """nova says that it failed, and is sometimes wrong."""
        for number, (kind, status, stays) in enumerate(
            (
                ('live-migration', 'failed', True),
                ('live-migration', 'error', False),
                ('migration', 'error', True),
                ('evacuation', 'failed', False),
                ('evacuation', 'error', False),
                # of a move by this run
                ('evacuation', 'done', True),
                ('evacuation', 'cancelled', True),
            )
        ):
            guard = procedures.guard(
                plan(CLAIM_SERVER, REBOOT), self.cloud, MARKER
            )
            assert guard is not None
            self.migration(number + 1, status, kind)
            if stays:
                guard(REBOOT)
            else:
                error = self.assertRaises(Conflict, guard, REBOOT)
                self.assertIn(f'is {status}', str(error))

    def test_what_gates_were_asked_of_is_theirs(self) -> None:
        """They may have been overridden."""
        self.migration(7, 'running')
        self.confirm(REBOOT, CLAIM_SERVER, REBOOT)

    def test_begun_to_be_moved_before_somebody_agreed(self) -> None:
        """The gates were asked, and the run begins when somebody says so."""
        self.migration(7, 'error')
        servers.migrations(self.cloud.cell, ['u1'])
        self.confirm(REBOOT, CLAIM_SERVER, REBOOT)
        self.migration(8, 'running')
        self.assertRaises(Conflict, self.confirm, REBOOT, CLAIM_SERVER, REBOOT)

    def test_what_was_done_to_it_can_be_taken_back(self) -> None:
        self.row['report_count'] = 4712
        guard = procedures.guard(
            plan(CLAIM, MOVE), mock.Mock(), MARKER, undoing=True
        )
        assert guard is not None
        guard(MOVE)
        self.row['disabled_reason'] = OTHER
        self.assertRaises(ClaimLost, guard, MOVE)
