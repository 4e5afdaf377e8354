# SPDX-License-Identifier: Apache-2.0

"""Single servers are moved, taken back, and survive what comes after."""

from __future__ import annotations

from typing import Any

import fixtures

from nova_recovery.changes.volume_exchange import ReconnectVolume
from tests.cloud import servers
from tests.functional.recovered import Before, RecoveredTest

SOURCE, TARGET = 'host3', 'host2'
FENCED = ('--fenced', 'PDU port 14 is off')


class TestServerRecover(RecoveredTest):
    """From a host whose nova-compute was killed beside running guests."""

    fresh = True

    def words(self, name: str, *more: str) -> tuple[str, ...]:
        return (
            'server', 'recover', name, '--method', 'move', '--target-host',
            TARGET, *FENCED, *more,
        )  # fmt: skip

    def test_volumes_stay_through_a_reboot_by_the_owner(self) -> None:
        """Boot volume, tag and all; the source cleans up when it returns."""
        server = self.create_server(
            host=SOURCE, boot_from_volume='iscsi', volumes=('rbd',)
        )
        self._attach_tagged(server.id)
        (before,) = self.before([server.id])
        self.assertEqual(['root'], [d['tag'] for d in before.devices][2:])
        self.kill_compute(SOURCE)

        self.done(
            *self.words(server.name, '--yes'),
            '--connector', self.connector(TARGET),
        )  # fmt: skip
        self.assert_recovered(before, True, (TARGET,))
        run = self.newest_run()
        self.assert_out_of_service(SOURCE, run)
        self.assertEqual(
            {SOURCE: 'running', TARGET: 'running'},
            self.state.guests(server.id),
        )

        # nova 28 and later drop mappings that cinder doesn't know at each
        # reboot, and with them volumes that nova doesn't know.
        answer = self.state.server_action(
            server.id, 'reboot', {'type': 'HARD'}, user='demo'
        )
        self.assertEqual(202, answer.status_code, answer.text)
        self.wait_for(
            lambda: (
                'reboot' in self.state.actions(server.id)
                and self.state.row(server.id)['task_state'] is None
            ),
            'the reboot',
        )
        self.assert_volumes(before, TARGET, moved=True)

        self._not_taken_back(run, server.id)
        self.revive(SOURCE)
        self.assertEqual({TARGET: 'running'}, self.state.guests(server.id))
        self.assertEqual({TARGET}, set(self.state.allocations(server.id)))
        self.assert_volumes(before, TARGET, moved=True)

    def _attach_tagged(self, uuid: str) -> None:
        owner = self.practice.connection('admin', 'demo')
        volume = servers.create_volume(owner, 'tagged')
        body = {'volumeId': volume, 'tag': 'root'}
        servers.call(
            self.admin.compute,
            'POST',
            f'/servers/{uuid}/os-volume_attachments',
            body={'volumeAttachment': {**body, 'delete_on_termination': True}},
            microversion='2.79',
        )
        self.wait_for(
            lambda: len(self.state.guest_volumes(uuid)) == 3, 'the volume'
        )

    def _not_taken_back(self, run: str, uuid: str) -> None:
        """A guest that was started is not undone; told is what instead."""
        row, service = self.state.row(uuid), self.state.service(SOURCE)
        ended = self.done('run', 'undo', run, '--yes', code=4)
        self.assertIn('openstack server migrate', ended.stderr)
        self.assertEqual(row, self.state.row(uuid))
        self.assertEqual(
            service['disabled_reason'],
            self.state.service(SOURCE)['disabled_reason'],
        )

    def test_the_target_dies_before_the_start(self) -> None:
        """All goes back, and meanwhile nobody else may touch it."""
        server = self.create_server(
            host=SOURCE, boot_from_volume='iscsi', volumes=('iscsi',)
        )
        (before,) = self.before([server.id])
        ports = self.state.ports(server.id)
        service = self.state.service(SOURCE)
        self.kill_compute(SOURCE)
        self._kill_target_after_volumes()

        ended = self.done(
            *self.words(server.name, '--yes'),
            '--connector', self.connector(TARGET), code=4,
        )  # fmt: skip
        self.assertIn('not sent', ended.stdout)
        self.assertEqual(TARGET, self.state.row(server.id)['host'])
        self.assertEqual({TARGET}, set(self.state.allocations(server.id)))
        self.assertEqual(0, self.state.queued(TARGET))
        self._second_operator(server.id)

        self.done('run', 'undo', self.newest_run(), '--yes')
        self._as_before(before, ports, service)
        self.revive(SOURCE)
        self.assertEqual({SOURCE: 'running'}, self.state.guests(server.id))

    def _kill_target_after_volumes(self) -> None:
        real = ReconnectVolume.apply
        died: list[str] = []

        def apply(*args: Any) -> str:
            detail = real(*args)
            if not died:
                died.append(TARGET)
                self.kill_compute(TARGET)
                self.state.set_service(TARGET, forced_down=True)
            return detail

        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.changes.volume_exchange.ReconnectVolume.apply',
                apply,
            )
        )

    def _second_operator(self, uuid: str) -> None:
        """With a journal elsewhere, which can't know of the first run."""
        run = self.newest_run()
        other = self.home / 'other.sqlite'
        conf = self.configure(
            self.home / 'other.conf', journal__connection=f'sqlite:///{other}'
        )
        ended = self.done(
            'host', 'recover', SOURCE, '--target-host', 'host1', *FENCED,
            '--shared-storage', '--yes', '--recovery-config-file', conf,
            code=3,
        )  # fmt: skip
        self.assertRegex(
            ended.stderr, rf'source-unclaimed +{SOURCE}: claimed: .*run={run}'
        )

    def _as_before(self, before: Before, ports: Any, service: Any) -> None:
        def steady(row: dict[str, Any]) -> dict[str, Any]:
            return {k: v for k, v in row.items() if k != 'updated_at'}

        uuid = before.uuid
        self.assertEqual(steady(before.row), steady(self.state.row(uuid)))
        self.assertEqual([], self.state.migrations(uuid))
        self.assertEqual({SOURCE}, set(self.state.allocations(uuid)))
        self.assert_ports(uuid, SOURCE)
        self.assertEqual(
            [port['id'] for port in ports],
            [port['id'] for port in self.state.ports(uuid)],
        )
        # Under new attachments, for the old ones were deleted.
        self.assert_volumes(before, SOURCE, moved=False)
        now = self.state.service(SOURCE)
        for name in ('disabled', 'disabled_reason', 'forced_down'):
            self.assertEqual(service[name], now[name], name)

    def test_a_port_that_can_not_be_bound(self) -> None:
        """The network agent is missing; once it is there it goes on."""
        server = self.create_server(host=SOURCE)
        (before,) = self.before([server.id])
        self.kill_compute(SOURCE)
        restore = self.state.remove_agent(TARGET)
        self.addCleanup(restore)

        ended = self.done(
            *self.words(server.name, '--shared-storage', '--yes'), code=4
        )
        self.assertIn('network agent', ended.stdout)
        self.assertEqual([], self.state.guests(server.id).get(TARGET, []))

        restore()
        self.done('run', 'resume', self.newest_run(), '--yes')
        self.assert_recovered(before, True, (TARGET,))
