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

HOST = 'host2'


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


class TestStatesOfADeadHost(FunctionalTest):
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

    def recover(self, uuid: str, code: int) -> str:
        return self.done(
            'server', 'recover', uuid, '--fenced', 'PDU port 14 is off',
            '--shared-storage', '--dry-run', code=code,
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
