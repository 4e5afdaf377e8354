# SPDX-License-Identifier: Apache-2.0

"""A guest that runs elsewhere than its row says is never started twice."""

from __future__ import annotations

from collections.abc import Callable
import re
import signal
from typing import Any

from nova_recovery.engine import planfile
from tests.cloud import services
from tests.functional.base import FunctionalTest
from tests.integration import killing
from tests.integration.killing import Watch
from tests.unit.engine import world

SOURCE, TARGET = 'host1', 'host2'
FENCED = ('--fenced', 'PDU port 14 is off')
SEEN = ('--seen-running', 'virsh list on host2 shows it')


class AtEachKind(Watch):
    """Dies at each kind of point once in the life of its file."""

    def is_deadly(self, subject: str, what: str) -> bool:
        return what not in {dead for _, dead in self._dead}


class TestAdopt(FunctionalTest):
    """The death of a host in the middle of what moved its server away."""

    fresh = True

    def setUp(self) -> None:
        super().setUp()
        self.server = self.create_server(host=SOURCE)
        self.uuid = str(self.server.id)

    def adopt(self, *words: str, code: int = 0) -> str:
        """What it says."""
        ended = self.done(
            'server', 'adopt', self.uuid, '--host', TARGET, *FENCED, *words,
            code=code,
        )  # fmt: skip
        return str(ended.stderr + ended.stdout)

    def cut_evacuation(self) -> None:
        """A real one that stops when the guest was started on the target."""
        self.lose_power(SOURCE)
        self.practice.wait_compute_down(SOURCE)
        self.practice.next_boot(self.uuid, seconds=4, host=TARGET)
        answer = self.state.server_action(
            self.uuid, 'evacuate', {'host': TARGET}
        )
        self.assertEqual(200, answer.status_code, answer.text)
        self.wait_for(
            lambda: (
                self.state.row(self.uuid)['task_state'] == 'rebuild_spawning'
            ),
            'the guest to be started',
            180,
        )
        # What comes after the spawn goes through the conductor.
        self.practice.kill('nova-conductor')
        self.addCleanup(self.practice.start, 'nova-conductor')
        self.wait_for(
            lambda: self.state.guests(self.uuid).get(TARGET) == 'running',
            'the guest on the target',
        )
        self.practice.kill(services.compute(TARGET))
        self.addCleanup(self.practice.start, services.compute(TARGET))
        self.practice.start('nova-conductor')
        self.practice.start(services.compute(TARGET))
        self.practice.wait_compute_up(TARGET)
        self.assertEqual(SOURCE, self.state.row(self.uuid)['host'])
        self.assertEqual(['pre-migrating'], self.statuses())

    def cut_live_migration(self) -> None:
        """A real one: the guest has arrived, and its source is gone."""
        self.practice.next_boot(self.uuid, seconds=120, host=SOURCE)
        answer = self.state.server_action(
            self.uuid,
            'os-migrateLive',
            {'host': TARGET, 'block_migration': 'auto'},
        )
        self.assertEqual(202, answer.status_code, answer.text)
        self.wait_for(
            lambda: self.state.guests(self.uuid) == {TARGET: 'running'},
            'the guest on the target',
            120,
        )
        self.lose_power(SOURCE)
        self.practice.wait_compute_down(SOURCE)
        self.assertEqual(SOURCE, self.state.row(self.uuid)['host'])
        self.assertEqual(['running'], self.statuses())

    def statuses(self) -> list[str]:
        return [row['status'] for row in self.state.migrations(self.uuid)]

    def boots(self) -> int:
        return int(self.practice.guests(TARGET)[self.uuid]['boots'])

    def test_an_evacuation_that_stopped_half_way(self) -> None:
        self.cut_evacuation()
        self.brought_to_where_it_runs()

    def test_a_live_migration_whose_source_lost_power(self) -> None:
        self.cut_live_migration()
        self.brought_to_where_it_runs(self.as_service)

    def as_service(self) -> None:
        """nova made a binding for the target, which only services may use."""
        said = self.adopt(*SEEN, '--yes', code=4).replace('\n', ' ')
        words = re.findall(r'openstack role (add [^)]*) service\)', said)[0]
        identity = self.practice.connection('admin').identity
        user, project = re.findall('[0-9a-f]{32}', words)
        role = identity.find_role('service', ignore_missing=False)
        identity.assign_project_role_to_user(project, user, role)
        self.addCleanup(
            identity.unassign_project_role_from_user, project, user, role
        )
        self.done('run', 'resume', self.newest_run(), '--yes')

    def brought_to_where_it_runs(
        self, adopt: Callable[[], Any] | None = None
    ) -> None:
        """Recovery refuses, and names what brings all to the target.

        :param adopt: how, if not at the first try
        """
        boots = self.boots()

        # It is not started anywhere.
        refused = self.plan(
            'server', 'recover', self.uuid, *FENCED, '--shared-storage',
            code=3,
        )  # fmt: skip
        (gate,) = self.gates(refused, 'guest-only-here')
        self.assertEqual('hard', gate['klass'])
        self.assertIn(f'server adopt {self.uuid} --host host2', gate['remedy'])
        shown = self.answer('server', 'show', self.uuid)
        self.assertIn('perhaps on host2', shown['guest_may_run'])

        # Nor is it adopted without somebody's word.
        self.assertIn('--seen-running', self.adopt(code=3))
        if adopt:
            adopt()
        else:
            self.adopt(*SEEN, '--yes')

        row = self.state.row(self.uuid)
        self.assertEqual(
            (TARGET, 'active', 1, None),
            (
                row['host'],
                row['vm_state'],
                row['power_state'],
                row['task_state'],
            ),
        )
        self.assertEqual({TARGET}, set(self.state.allocations(self.uuid)))
        self.assertEqual(
            {TARGET},
            {port['binding:host_id'] for port in self.state.ports(self.uuid)},
        )
        self.assertEqual(['completed', 'done'], self.statuses())
        self.assertEqual(boots, self.boots())
        self.assertFalse(row['locked'])

        # Its old host cleans up, and nothing happens to the guest.
        self.revive(SOURCE)
        self.wait_for(
            lambda: self.state.guests(self.uuid) == {TARGET: 'running'},
            'the old host to clean up',
        )
        self.assertEqual(boots, self.boots())
        self.assertIn(
            'here only',
            self.answer('server', 'show', self.uuid)['guest_may_run'],
        )

    def test_killed_after_each_thing_that_lasts(self) -> None:
        """Each kind of commit of the journal, and of change of the cloud.

        What is left of the run goes on in the next process, until that one
        comes to something at which none was killed before. The guest runs on
        all the while.
        """
        self.cut_evacuation()
        boots = self.boots()
        path = self.home / 'adopt.plan'
        self.adopt(*SEEN, '--plan-file', str(path))
        run = killing.create_run(
            f'sqlite:///{self.journal}', planfile.load(str(path))
        )
        noted = self.home / 'noted'
        codes = [-signal.SIGKILL]
        while codes[-1] == -signal.SIGKILL and len(codes) < 60:
            codes.append(self.process(run, AtEachKind(noted)))
        self.assertEqual(0, codes[-1])
        died = [point.what for point in killing.points(noted) if point.died]
        self.assertEqual(len(codes) - 2, len(died))
        self.assertEqual({point.what for point in killing.points(noted)},
                         set(died))  # fmt: skip
        self.assertGreater(len(died), 25)

        self.assertEqual('done', self.answer('run', 'show', run)['state'])
        row = self.state.row(self.uuid)
        self.assertEqual(
            (TARGET, 'active', 1, None, 0),
            tuple(
                row[name]
                for name in (
                    'host', 'vm_state', 'power_state', 'task_state', 'locked'
                )
            ),
        )  # fmt: skip
        self.assertEqual({TARGET}, set(self.state.allocations(self.uuid)))
        self.assertEqual(['completed', 'done'], self.statuses())
        self.assertEqual(boots, self.boots())
        self.assertEqual(
            {SOURCE: 'shut off', TARGET: 'running'},
            self.state.guests(self.uuid),
        )

    def process(self, run: str, watch: Watch) -> int:
        """Carry out in a process of its own; -9 if it was killed."""
        return world.ended(
            world.start(
                lambda: killing.carry_out(self.conf_file, run, 1, watch)
            ),
            120,
        )

    def rows_of_a_cut_evacuation(self) -> None:
        """Only what its rows say of one: the guest runs nowhere."""
        self.lose_power(SOURCE)
        self.practice.wait_compute_down(SOURCE)
        self.practice.sql(
            'nova',
            "UPDATE instances SET vm_state = 'error', power_state = 0,"
            " task_state = 'rebuild_spawning' WHERE uuid = %s",
            [self.uuid],
        )
        self.practice.sql(
            'nova',
            'INSERT INTO migrations (created_at, deleted, uuid,'
            ' instance_uuid, source_compute, source_node, dest_compute,'
            ' dest_node, status, migration_type, hidden)'
            " VALUES (UTC_TIMESTAMP(), 0, UUID(), %s, 'host1', 'host1',"
            " 'host2', 'host2', 'pre-migrating', 'evacuation', 0)",
            [self.uuid],
        )

    def test_it_does_not_run_there(self) -> None:
        """The hypervisor has the last word, and all can be taken back."""
        self.rows_of_a_cut_evacuation()
        before = self.state.row(self.uuid)
        held = self.state.allocations(self.uuid)

        said = self.adopt(*SEEN, '--yes', code=4)
        self.assertIn('does not have it running', said)
        run = self.newest_run()
        self.assertIn(f'run undo {run}', said)
        self.done('run', 'undo', run, '--yes')

        after = self.state.row(self.uuid)
        for name in ('host', 'node', 'vm_state', 'task_state', 'locked'):
            self.assertEqual(before[name], after[name], name)
        self.assertEqual(held, self.state.allocations(self.uuid))
        self.assertEqual(['pre-migrating'], self.statuses())
        # The way on: it runs nowhere, and is recovered.
        self.done(
            'server', 'recover', self.uuid, '--target-host', 'host3',
            '--not-running', f'{self.uuid}@{TARGET}=virsh list shows it off',
            *FENCED, '--shared-storage', '--yes',
        )  # fmt: skip
        self.assertEqual('running', self.state.guests(self.uuid)['host3'])
