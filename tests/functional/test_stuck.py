# SPDX-License-Identifier: Apache-2.0

"""Tasks that nobody is at any more, and the printed ways out of them."""

from __future__ import annotations

import re
import shlex

import fixtures

from nova_recovery.engine import planfile
from nova_recovery.engine.plan import Item, Plan, Step
from tests.cloud import services
from tests.functional import disaster
from tests.functional.base import FunctionalTest

SOURCE, HOST, TARGET = 'host1', 'host2', 'host3'


class TestStuck(FunctionalTest):
    """As after a power loss in the middle of a reboot, on nova 27."""

    def setUp(self) -> None:
        super().setUp()
        server = self.create_server(host=HOST)
        self.uuid, self.name = server.id, server.name
        self.kill_compute(HOST)
        guests = self.practice.guests(HOST)
        guests[self.uuid]['state'] = 'shut off'
        self.practice.write_guests(HOST, guests)
        name = services.compute(HOST)
        self.practice.start(name, options=disaster.NO_SYNC)
        self.addCleanup(self.practice.kill, name)
        self.practice.wait_compute_up(HOST)
        self.practice.sql(
            'nova',
            "UPDATE instances SET task_state = 'rebooting_hard'"
            ' WHERE uuid = %s',
            [self.uuid],
        )

    def follow(self, text: str, command: str, *more: str) -> str:
        """Type a command that was printed; what it prints to stderr."""
        found = re.search(
            rf'openstack recovery ({command}[^();]*)', ' '.join(text.split())
        )
        self.assertIsNotNone(found, text)
        words = shlex.split(found[1])
        return self.done(*words, *more).stderr

    def assert_runs(self) -> None:
        self.assertEqual({HOST: 'running'}, self.state.guests(self.uuid))
        self.assertIsNone(self.state.row(self.uuid)['task_state'])
        self.assertEqual(
            1, self.state.actions(self.uuid).count('reboot'), 'reboots'
        )

    def test_a_reboot_is_refused_and_names_the_way(self) -> None:
        ended = self.done('server', 'reboot', self.uuid, '--yes', code=3)
        line = next(
            line for line in ended.stderr.splitlines() if 'server set' in line
        )
        words = shlex.split(line.strip())
        self.assertEqual(['openstack', 'recovery'], words[:2])
        self.done(*words[2:], '--yes')
        self.done('server', 'reboot', self.uuid, '--yes')
        self.assert_runs()

    def test_a_run_names_it_and_the_way(self) -> None:
        self.useFixture(
            fixtures.MonkeyPatch('nova_recovery.cloud.tasks.TAKEN_UP', 3)
        )
        row = self.state.row(self.uuid)
        item = Item(
            f'restart-server:{self.uuid}', 'restart-server',
            f'server:{self.uuid}', self.name,
            {'uuid': self.uuid, 'host': HOST, 'cell': 'cell1', 'mark': 0,
             'seen': 0, 'settle': 5, 'patience': 600},
        )  # fmt: skip
        path = self.home / 'restart.plan'
        planfile.save(
            Plan(
                'server-reboot', 'restart', {},
                (Step('restart', 'restart', (item,)),),
            ),
            str(path),
        )  # fmt: skip
        self.assertEqual('active', row['vm_state'])
        self.done('plan', 'apply', path, '--yes', code=4)
        run = self.newest_run()
        shown = self.done('run', 'show', run).stdout
        self.assertIn('nova-compute does not take that up', shown)
        self.follow(shown, 'server set', '--yes')
        again = f'{self.name}=its task was cleared'
        self.done('run', 'resume', run, '--again', again, '--yes')
        self.assert_runs()


class OfADeadHost(FunctionalTest):
    """A recovery that is refused, and what it prints."""

    def recover(self, uuid: str, code: int, *more: str) -> str:
        return self.done(
            'server', 'recover', uuid, '--fenced', 'PDU port 14 is off',
            '--shared-storage', '--dry-run', *more, code=code,
        ).stderr  # fmt: skip

    def follow(
        self, told: str, command: str = 'server set', *more: str
    ) -> None:
        """Type the first command that is printed.

        :param more: what only an operator can say
        """
        line = next(
            line for line in told.splitlines() if f' {command} ' in line
        )
        self.done(*shlex.split(line.strip())[2:], *more, '--yes')


class TestStatesOfADeadHost(OfADeadHost):
    """What is neither evacuated nor moved as it is, and what leads on."""

    def setUp(self) -> None:
        super().setUp()
        self.rescued = self.create_server('rescued', host=HOST).id
        self.unshelved = self.create_server('unshelved', host=HOST).id
        self.gone = self.create_server('gone', host=HOST, volumes=('rbd',)).id
        self.state.server_action(self.unshelved, 'shelve')
        self.wait_for(
            lambda: (
                self.state.row(self.unshelved)['vm_state']
                == 'shelved_offloaded'
            ),
            'it to be offloaded',
        )
        self.kill_compute(HOST)
        for uuid, values in (
            (self.rescued, "vm_state = 'rescued'"),
            # its owner had it unshelved, and the host died
            (
                self.unshelved,
                f"host = '{HOST}', node = '{HOST}', task_state = 'spawning'",
            ),
        ):
            self.practice.sql(
                'nova',
                f'UPDATE instances SET {values} WHERE uuid = %s',
                [uuid],
            )

    def test_a_volume_that_cinder_does_not_have_any_more(self) -> None:
        """Nova would evacuate it, and leave it in error."""
        (volume,) = [
            one['volume_id']
            for one in self.state.devices(self.gone)
            if one['volume_id']
        ]
        for statement in (
            'UPDATE volume_attachment SET deleted = 1 WHERE volume_id = %s',
            "UPDATE volumes SET deleted = 1, status = 'deleted' WHERE id = %s",
        ):
            self.practice.sql('cinder', statement, [volume])
        told = self.recover(self.gone, 3)
        self.assertIn('volumes-held', told)
        off = f'guest-off:{volume}=its host has no power'
        self.follow(told, 'volume detach-stale', '--override', off)
        self.assertIn('evacuated by nova', self.recover(self.gone, 0))

    def test_each_has_a_way_on(self) -> None:
        self.follow(self.recover(self.rescued, 3))
        self.assertIn('evacuated by nova', self.recover(self.rescued, 0))

        told = self.recover(self.unshelved, 3)
        self.assertNotIn('delete', told)
        self.follow(told)
        self.assertIn(f'openstack server unshelve {self.unshelved}', told)
        answer = self.state.server_action(self.unshelved, 'unshelve')
        self.assertEqual(202, answer.status_code, answer.text)
        self.wait_for(
            lambda: self.state.row(self.unshelved)['vm_state'] == 'active',
            'it to run again',
        )
        self.assertNotEqual(HOST, self.state.row(self.unshelved)['host'])


class TestResizesOfADeadHost(OfADeadHost):
    """Servers that came from SOURCE, and wait to be confirmed."""

    def setUp(self) -> None:
        super().setUp()
        options = {'host': SOURCE}
        first, second = self.create_servers(
            {'resized': options, 'resized-too': options}
        )
        self.confirmed, self.resized = first.id, second.id
        for uuid in (self.confirmed, self.resized):
            self.migrate(uuid, HOST)
        for uuid in (self.confirmed, self.resized):
            self.becomes(uuid, 'resized')
        self.kill_compute(HOST)

    def migrate(self, uuid: str, host: str) -> None:
        answer = self.state.server_action(uuid, 'migrate', {'host': host})
        self.assertEqual(202, answer.status_code, answer.text)

    def becomes(self, uuid: str, state: str) -> None:
        self.wait_for(
            lambda: (
                self.state.row(uuid)['vm_state'] == state
                and not self.state.row(uuid)['task_state']
            ),
            f'it to be {state}',
        )

    def test_each_has_a_way_on(self) -> None:
        """Nova asks the source alone, whatever became of the target."""
        told = self.recover(self.confirmed, 3)
        words = f'openstack server resize confirm {self.confirmed}'
        self.assertIn(words, told)
        setting = self.done(
            'server', 'set', self.confirmed, '--vm-state', 'active', '--yes',
            code=3,
        ).stderr  # fmt: skip
        self.assertRegex(setting, 'refused +resize-abandoned .*host1.* is up')
        self.assertIn(words, setting)
        self.confirm(self.confirmed)
        self.assertIn('evacuated by nova', self.recover(self.confirmed, 0))

        self.kill_compute(SOURCE)
        self.practice.wait_compute_down(SOURCE)
        answer = self.state.server_action(self.resized, 'confirmResize')
        self.assertEqual(409, answer.status_code, answer.text)
        alone = '--override', 'cell-alive:cell1=two hosts died'
        told = self.recover(self.resized, 3, *alone)
        self.follow(told)
        self.assertEqual(('error', []), self.migration())
        self.done('run', 'undo', self.newest_run(), '--yes')
        self.assertEqual(('finished', [SOURCE]), self.migration())
        self.follow(told)
        self.done(
            'server', 'recover', self.resized, '--fenced', 'no power',
            '--shared-storage', *alone, '--target-host', TARGET, '--yes',
        )  # fmt: skip
        self.assertEqual(TARGET, self.state.row(self.resized)['host'])
        self.assertEqual('running', self.state.guests(self.resized)[TARGET])

        # what was left would be confirmed, on the wrong host
        self.revive(SOURCE)
        self.migrate(self.resized, SOURCE)
        self.becomes(self.resized, 'resized')
        self.confirm(self.resized)
        self.assertEqual(SOURCE, self.state.row(self.resized)['host'])
        self.assertEqual({SOURCE}, set(self.state.allocations(self.resized)))

    def confirm(self, uuid: str) -> None:
        answer = self.state.server_action(uuid, 'confirmResize')
        self.assertEqual(204, answer.status_code, answer.text)
        self.becomes(uuid, 'active')

    def migration(self) -> tuple[str, list[str]]:
        """Of the resize: its status, and where it holds something."""
        row = self.state.migrations(self.resized)[0]
        return row['status'], list(self.state.allocations(row['uuid']))
