# SPDX-License-Identifier: Apache-2.0

"""What is left over from before: messages, evacuations, running hosts."""

from __future__ import annotations

import pathlib

from tests.cloud import services
from tests.functional.recovered import RecoveredTest

SOURCE, TARGET = 'host3', 'host2'
FENCED = ('--fenced', 'PDU port 14 is off')
#: MB that nova keeps for the host itself, by its own default.
RESERVED = 512


class TestTraps(RecoveredTest):
    """Each would bring harm after the recovery."""

    fresh = True

    def words(self, name: str, *more: str) -> tuple[str, ...]:
        return (
            'server', 'recover', name, '--target-host', TARGET,
            '--shared-storage', *more,
        )  # fmt: skip

    def test_an_old_evacuation_away_from_the_target(self) -> None:
        """Armed, it would make the target destroy the guest it just got."""
        server = self.create_server(host=SOURCE)
        (before,) = self.before([server.id])
        self.practice.sql(
            'nova',
            'INSERT INTO migrations (created_at, uuid, instance_uuid,'
            ' source_compute, source_node, dest_compute, dest_node, status,'
            ' migration_type, hidden, cross_cell_move, deleted) VALUES'
            ' (utc_timestamp(), uuid(), %s, %s, %s, %s, %s,'
            " 'done', 'evacuation', 0, 0, 1)",
            [server.id, TARGET, TARGET, SOURCE, SOURCE],
        )
        self.kill_compute(SOURCE)

        plan = self.plan(
            *self.words(server.id, '--method', 'evacuate', *FENCED), code=3
        )
        (gate,) = self.gates(plan)
        self.assertEqual(
            ('guest-not-on-target', 'hard'), (gate['name'], gate['klass'])
        )

        ended = self.subprocess_recovery(
            *self.words(server.id, '--method', 'move', *FENCED, '--yes')
        )
        self.assertEqual(0, ended.code, ended.stderr)
        self.assert_recovered(before, True, (TARGET,))

        self.practice.kill(services.compute(TARGET))
        self.practice.start(services.compute(TARGET))
        # A pass of its resource tracker counts the server, which it finds
        # by host and node.
        (row,) = self.practice.sql(
            'nova',
            'SELECT SUM(memory_mb) AS own FROM instances'
            ' WHERE host = %s AND node = %s AND deleted = 0',
            [TARGET, TARGET],
        )
        self.assertGreaterEqual(row['own'], before.row['memory_mb'])
        self.wait_for(
            lambda: (
                self.state.node(TARGET)['memory_mb_used']
                == RESERVED + row['own']
            ),
            'the resource tracker',
        )
        self.assertEqual('running', self.state.guests(server.id).get(TARGET))
        self.assertEqual({TARGET}, set(self.state.allocations(server.id)))

    def test_a_request_that_waits(self) -> None:
        """Sent by its owner to the dead host, which would obey later."""
        server = self.create_server(host=SOURCE)
        self.kill_compute(SOURCE)
        answer = self.state.server_action(server.id, 'os-stop', user='demo')
        self.assertEqual(202, answer.status_code, answer.text)
        (before,) = self.before([server.id])
        self.assertEqual('powering-off', before.row['task_state'])
        self.assertEqual(1, self.state.queued(SOURCE))

        ended = self.done(*self.words(server.name, *FENCED, '--yes'), code=3)
        self.assertRegex(ended.stderr, rf'nothing-queued +{server.name}')
        self.assertIn(f'compute.{SOURCE}', ended.stderr)
        self.practice.wait_compute_down(SOURCE)
        shown = self.answer('server', 'show', server.id)
        self.assertIn(f'compute.{SOURCE}', shown['waiting_request'])
        self.assertEqual(1, self.state.queued(SOURCE))

        self.practice.purge_queue(f'compute.{SOURCE}')
        self.done(
            *self.words(server.name, *FENCED, '--yes'), '--override',
            f'nothing-queued:{server.name}=purged it',
        )  # fmt: skip
        self.assert_recovered(before, False, (TARGET,))
        self.assertEqual(0, self.state.queued(SOURCE))
        self.revive(SOURCE)
        self.assertEqual({TARGET: 'running'}, self.state.guests(server.id))

    def test_the_host_is_still_on(self) -> None:
        """Beside a dead nova-compute guests may run: they are ended first."""
        server = self.create_server(host=SOURCE)
        (before,) = self.before([server.id])
        self.kill_compute(SOURCE)
        off = self.home / 'off'
        status = self._script(
            'status',
            # as fence agents do
            f'test -e {off} || exit 0\necho Status: OFF\nexit 2',
        )
        turn_off = self._script('off', f'test "$1" = {SOURCE} && touch {off}')
        self.configure(
            fencing__driver='command',
            fencing__command_status=f'{status} {{host}}',
            fencing__command_off=f'{turn_off} {{host}}',
        )
        ended = self.done(*self.words(server.name, '--yes'), code=3)
        self.assertRegex(ended.stderr, rf'source-fenced +{SOURCE}: on')
        self.assertEqual(before.row, self.state.row(server.id))
        self.assertFalse(off.exists())

        self.done(*self.words(server.name, '--fence', '--yes'))
        self.assertTrue(off.exists())
        self.assert_recovered(before, False, (TARGET,))

    def _script(self, name: str, text: str) -> pathlib.Path:
        path = self.home / f'{name}.sh'
        path.write_text(f'#!/bin/sh\n{text}\n')
        path.chmod(0o700)
        return path
