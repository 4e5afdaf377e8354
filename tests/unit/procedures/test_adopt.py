# SPDX-License-Identifier: Apache-2.0

"""A guest that runs elsewhere than its row says, adopted there."""

from __future__ import annotations

import dataclasses
from typing import Any
from unittest import mock

from nova_recovery import changes
from nova_recovery.changes.record import MoveRecord, tombstone_row
from nova_recovery.cloud.db import tombstones
from nova_recovery.cloud.records import Migration
from nova_recovery.engine.change import kinds
from nova_recovery.engine.plan import Gate, Plan
from nova_recovery.exceptions import UsageError
from nova_recovery.procedures import adopt
from nova_recovery.procedures.adopt import Found, Request
from tests.base import TestCase
from tests.unit.procedures.recover import scenarios

SOURCE, TARGET = 'np-rcc54', 'np-rcc46'
PROVIDER = scenarios.provider(TARGET)


def migration(kind: str, status: str) -> Migration:
    return Migration(
        id=7,
        uuid='migration-7',
        instance_uuid='',
        source_compute=SOURCE,
        source_node=SOURCE,
        dest_compute=TARGET,
        dest_node=TARGET,
        status=status,
        migration_type=kind,
        deleted=False,
        created_at=None,
    )


class TestAdopt(TestCase):
    def decided(
        self,
        server: dict[str, Any] | None = None,
        hosts: dict[str, Any] | None = None,
        rows: tuple[tuple[Migration, dict[str, Any]], ...] = (),
        runs: bool | None = None,
        **asked: Any,
    ) -> Plan:
        """The plan; by default of an evacuation that stopped half-way."""
        usual = {
            'vm_state': 'error',
            'power_state': 0,
            'task_state': 'rebuild_spawning',
            'allocations': {SOURCE: None, TARGET: None},
            'migrations': [['evacuation', 'pre-migrating', SOURCE, TARGET]],
        }
        found = scenarios.make(
            [SOURCE],
            {SOURCE: None, TARGET: None, 'np-rcc47': None, **(hosts or {})},
            {'web': {**usual, **(server or {})}},
        )
        request = Request(
            uuid=found.servers[0].uuid,
            source=SOURCE,
            target=TARGET,
            seen_running='virsh list',
            fenced='PDU',
        )
        request = dataclasses.replace(request, **asked)
        found = scenarios.fenced(
            scenarios.request(found, [SOURCE], fenced=request.fenced), found
        )
        rows = rows or ((migration('evacuation', 'pre-migrating'), {}),)
        plan = adopt.decide(request, Found(found, rows, runs))
        plan.check(kinds(changes.registry()))
        return plan

    def refused(self, plan: Plan) -> dict[str, Gate]:
        return {gate.name: gate for gate in plan.gates if gate.blocks}

    def test_its_rows_go_where_it_runs(self) -> None:
        plan = self.decided()
        self.assertEqual({}, self.refused(plan))
        self.assertEqual(
            [
                'claim-host',
                'lock-server',
                'move-allocation',
                'move-record',
                'bind-port',
                'verify-server',
                'arm-tombstone',
                'unlock-server',
                'release-host',
            ],
            [item.kind for item in plan.items()],
        )
        items = {item.kind: item.data for item in plan.items()}
        self.assertEqual([PROVIDER], list(items['move-allocation']['wanted']))
        values = items['move-record']['values']
        self.assertEqual(
            (TARGET, 'active', 1, None),
            tuple(
                values[name]
                for name in ('host', 'vm_state', 'power_state', 'task_state')
            ),
        )
        self.assertEqual(
            [{'id': 7, 'type': 'evacuation', 'status': 'pre-migrating'}],
            items['move-record']['close'],
        )
        self.assertTrue(items['verify-server']['running'])

    def test_the_only_copy_stays_until_the_guest_was_seen(self) -> None:
        """Till then only a word says that it runs there.

        The source may be alive, and its nova-compute be started any time.
        """
        alive = {SOURCE: {'reports': [1, 3], 'forced_down': False}}
        for hosts, runs in ((None, None), (alive, False)):
            plan = self.decided(hosts=hosts, runs=runs)
            (record,) = (i for i in plan.items() if i.kind == 'move-record')
            row = tombstone_row(mock.MagicMock(), record.data, 'u', None)
            self.assertNotIn(row['status'], tombstones.ARMED)
            kinds_of = [item.kind for item in plan.items()]
            self.assertLess(
                kinds_of.index('verify-server'),
                kinds_of.index('arm-tombstone'),
            )
            self.assertIn('only your word', MoveRecord().describe(record)[-2])
            self.assertIn('until the hypervisor', plan.notes[0])

    def test_a_live_migration_has_an_allocation_of_its_own(self) -> None:
        held = {scenarios.provider(SOURCE): {'VCPU': 2}}
        plan = self.decided(
            {
                'vm_state': 'active',
                'power_state': 1,
                'task_state': 'migrating',
                'allocations': {TARGET: None},
                'migrations': [['live-migration', 'running', SOURCE, TARGET]],
            },
            rows=((migration('live-migration', 'running'), held),),
        )
        self.assertEqual({}, self.refused(plan))
        (moved,) = (i for i in plan.items() if i.kind == 'move-allocation')
        self.assertEqual('migration-7', moved.data['uuid'])
        self.assertEqual(
            (held, {}), (moved.data['seen'], moved.data['wanted'])
        )

    def test_nobody_saw_it_there(self) -> None:
        gate = self.refused(self.decided(seen_running=''))['guest-seen']
        self.assertEqual(('soft', 'unknown'), (gate.klass, gate.state))
        self.assertIn('--seen-running', gate.remedy)

    def test_its_old_host_may_run_it(self) -> None:
        self.assertIn('source-fenced', self.refused(self.decided(fenced='')))
        alive = {SOURCE: {'reports': [1, 3], 'forced_down': False}}
        gate = self.refused(self.decided(hosts=alive, runs=True))['guest-gone']
        self.assertEqual('hard', gate.klass)
        # a paused one that a migration left must not refuse for ever
        self.assertIn('openstack server stop', gate.remedy)
        plan = self.decided(hosts=alive, runs=False, fenced='')
        self.assertEqual({}, self.refused(plan))
        # A host that is alive gets back what it had.
        claim = next(plan.items())
        self.assertNotIn('report_count', claim.data)
        self.assertEqual(0, claim.data['seen']['forced_down'])

    def test_it_may_run_on_a_third_host(self) -> None:
        plan = self.decided({'allocations': {TARGET: None, 'np-rcc47': None}})
        gate = self.refused(plan)['guest-only-there']
        self.assertIn('np-rcc47', gate.observed)

    def test_the_target_has_to_be_alive(self) -> None:
        for fields in ({'reports': [5, 5]}, {'nodes': 2}):
            plan = self.decided(hosts={TARGET: fields})
            self.assertIn('target-ready', self.refused(plan), fields)
        # Out of service it may be: the guest is there already.
        plan = self.decided(hosts={TARGET: {'disabled': True}})
        self.assertEqual({}, self.refused(plan))

    def test_what_is_not_written_by_hand(self) -> None:
        plan = self.decided({'special': ['it has pinned CPUs']})
        gate = self.refused(plan)['adoptable']
        self.assertIn('virsh destroy', gate.remedy)
        plan = self.decided({'special': [adopt.UNFINISHED]})
        self.assertEqual({}, self.refused(plan))

    def test_what_its_owner_deleted_is_not_brought_back(self) -> None:
        plan = self.decided(
            {
                'task_state': 'deleting',
                'migrations': [['live-migration', 'running', SOURCE, TARGET]],
            }
        )
        gate = self.refused(plan)['adoptable']
        self.assertIn('its owner deleted it', gate.observed)
        self.assertIn('openstack server delete --force', gate.remedy)

    def test_a_volume_that_is_connected_elsewhere(self) -> None:
        for connector, refuses in (
            ({'host': TARGET}, False),
            ({'host': SOURCE}, True),
            (None, True),
        ):
            volume = {'protocol': 'iscsi', 'source_connector': connector}
            plan = self.decided({'volumes': [volume]})
            self.assertEqual(
                refuses, 'volumes-there' in self.refused(plan), connector
            )

    def test_it_is_there_already(self) -> None:
        self.assertRaises(UsageError, self.decided, target=SOURCE)

    def test_what_is_begun_is_not_asked_again(self) -> None:
        plan = self.decided()
        touched = frozenset({f'server:{plan.arguments["uuid"]}'})
        self.assertEqual((), adopt.check(plan, None, touched))  # type: ignore
