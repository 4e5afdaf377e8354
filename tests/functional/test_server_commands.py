# SPDX-License-Identifier: Apache-2.0

"""``server list``, ``show``, ``set`` and ``reboot`` on the real cloud."""

from __future__ import annotations

import json
import signal
import time

from nova_recovery.engine import planfile
from tests.functional.base import FunctionalTest
from tests.integration import killing
from tests.integration.killing import Watch
from tests.unit.engine import world

#: The others of host1 are active.
STATES = {
    'at3-ui05': ('stopped', 'shutdown', 'SHUTOFF'),
    'at3-ui06': ('paused', 'paused', 'PAUSED'),
    'at3-ui10': ('stopped', 'shutdown', 'SHUTOFF'),
}


class TestServerCommands(FunctionalTest):
    """On the seeded servers."""

    fresh = True

    def test_list(self) -> None:
        """From the databases, with the API's status beside it."""
        rows = {
            row['Name']: row
            for row in self.answer('server', 'list', '--host', 'host1')
        }
        self.assertEqual([f'at3-ui{n:02}' for n in range(1, 11)], list(rows))
        for name, row in rows.items():
            self.assertEqual(
                STATES.get(name, ('active', 'running', 'ACTIVE')),
                (row['VM state'], row['Power state'], row['Status (API)']),
                name,
            )
            self.assertEqual(
                name == 'at3-ui06', bool(row['Against evacuation']), name
            )
            self.assertEqual('', row['Against a move'], name)
        uuid = rows['at3-ui04']['ID']
        self.assertEqual(
            [device['volume_id'] for device in self.state.devices(uuid)],
            rows['at3-ui04']['Volumes'].split(', '),
        )
        self.assertEqual([], self.answer('server', 'list', '--host', 'host3'))

    def test_show_by_any_name(self) -> None:
        uuid = self.state.uuid('at3-ui04')
        number = self.state.row(uuid)['id']
        names = (
            uuid, uuid.upper(), 'at3-ui04', str(number),
            f'instance-{number:08x}', f'i-{number:08x}', f'0x{number:x}',
        )  # fmt: skip
        for name in names:
            shown = self.answer('server', 'show', name)
            self.assertEqual(uuid, shown['id'], name)
        self.assertEqual('host1', shown['host'])
        self.assertEqual('ACTIVE', shown['status_of_api'])
        self.assertIn('/dev/sda', shown['volumes'])
        self.assertEqual('', shown['waiting_request'])

        ended = self.done('server', 'show', 'at3-ui99', code=1)
        self.assertIn('no server at3-ui99', ended.stderr)

    def test_show_every_column(self) -> None:
        uuid = self.state.uuid('at3-ui02')
        shown = self.answer('server', 'show', uuid, '--long')
        row = self.state.row(uuid)
        self.assertEqual(list(row), list(shown))
        for name in ('host', 'node', 'vm_state', 'display_name', 'compute_id'):
            self.assertEqual(row[name], shown[name])

    def test_apis_are_down(self) -> None:
        """What only needs the databases goes on; a recovery doesn't."""
        uuid = self.state.uuid('at3-ui07')
        for name in ('keystone', 'nova-api'):
            self.addCleanup(self.practice.start, name)
            self.practice.kill(name)
            began = time.monotonic()
            rows = self.answer('server', 'list', '--host', 'host1')
            self.assertLess(time.monotonic() - began, 30)
            self.assertEqual(10, len(rows))
            self.assertEqual(
                {'unknown'}, {row['Status (API)'] for row in rows}
            )
            shown = self.answer('server', 'show', uuid)
            self.assertEqual('unknown', shown['status_of_api'])

            ended = self.done(
                'server', 'set', uuid, '--vm-state', 'error', '--yes'
            )
            self.assertIn('its hypervisor was not asked', ended.stderr)
            self.assertEqual('error', self.state.row(uuid)['vm_state'])
            self.done('run', 'undo', self.newest_run(), '--yes')
            self.assertEqual('active', self.state.row(uuid)['vm_state'])

            ended = self.done(
                'host', 'recover', 'host1', '--fenced', 'off', '--yes', code=3
            )
            self.assertRegex(ended.stderr, r'unknown +apis-reachable +nova')
            self.assertEqual(0, self.state.service('host1')['disabled'])
            self.practice.start(name)

    def test_set_and_back(self) -> None:
        """nova's API sees what was set; undo brings the same row back."""
        uuid = self.state.uuid('at3-ui03')
        row = self.state.row(uuid)
        ended = self.subprocess_recovery(
            'server', 'set', 'at3-ui03', '--vm-state', 'error', '--yes',
            program='nova-recovery',
        )  # fmt: skip
        self.assertEqual(0, ended.code, ended.stderr)
        self.assertIn('openstack server set --state error', ended.stderr)
        self.assertEqual('ERROR', self.admin.compute.get_server(uuid).status)
        self.assertEqual(1, self.state.row(uuid)['power_state'])

        self.done('run', 'undo', self.newest_run(), '--yes')
        back = self.state.row(uuid)
        self.assertEqual(row, {**back, 'updated_at': row['updated_at']})

    def test_set_what_nova_would_not_leave_alone(self) -> None:
        row = self.state.row(self.state.uuid('at3-ui01'))
        for code, words, said in (
            # as it was written down in 2012
            (2, '--vm-state shutoff', 'a server that is off is stopped'),
            (2, '--power-state 5', 'a guest that is off has shutdown (4)'),
            (2, '--vm-state active --power-state 4', 'active go 1'),
            (2, '--vm-state deleted', 'no state that can be set'),
            (2, '', 'give --vm-state, --power-state or --task-state'),
            # the guest runs, and the power sync would stop it
            (3, '--vm-state stopped', 'the guest runs'),
        ):
            ended = self.done(
                'server', 'set', 'at3-ui01', *words.split(), '--yes', code=code
            )
            self.assertIn(said, ended.stderr)
        self.assertEqual(row, self.state.row(row['uuid']))

    def test_set_clears_a_task(self) -> None:
        """Only on the word of somebody who knows that nothing is at it."""
        uuid = self.state.uuid('at3-ui05')
        self.practice.sql(
            'nova',
            "UPDATE instances SET task_state = 'powering-on' WHERE uuid = %s",
            [uuid],
        )
        words = ('server', 'set', uuid, '--task-state', 'none', '--yes')
        ended = self.done(*words, code=3)
        self.assertIn('nova-compute on host1 may be at it', ended.stderr)
        self.done(*words, '--override', 'no-task:at3-ui05=its log ends')
        row = self.state.row(uuid)
        self.assertEqual(
            ('stopped', 4, None),
            (row['vm_state'], row['power_state'], row['task_state']),
        )

    def test_reboot(self) -> None:
        """Each exactly once; a soft one is refused by nova for paused."""
        asked = {'at3-ui04': 'reboot', 'at3-ui06': 'reboot',
                 'at3-ui10': 'start'}  # fmt: skip
        uuids = {name: self.state.uuid(name) for name in asked}
        before = {n: self.state.actions(u) for n, u in uuids.items()}
        ended = self.subprocess_recovery(
            'server', 'reboot', *asked, '--yes', '-f', 'json'
        )
        self.assertEqual(0, ended.code, ended.stderr)
        self.assertEqual(
            {name: 'done' for name in asked},
            {r['Subject']: r['Outcome'] for r in json.loads(ended.stdout)},
        )
        for name, uuid in uuids.items():
            self.assertEqual(
                [*before[name], asked[name]], self.state.actions(uuid)
            )
            row = self.state.row(uuid)
            self.assertEqual(
                ('active', 1, None),
                (row['vm_state'], row['power_state'], row['task_state']),
            )
            self.assertEqual({'host1': 'running'}, self.state.guests(uuid))
        self.assertEqual(
            [],
            self.practice.sql(
                'nova',
                "SELECT * FROM task_log WHERE task_name = 'nova-recovery'",
            ),
        )
        self.assertEqual(0, self.state.queued('host1'))

    def test_tags_of_a_member_claim_nothing(self) -> None:
        """What looks like a claim, of nobody and of the run itself."""
        uuid = self.state.uuid('at3-ui08')
        owner = self.practice.connection('demo')
        before = self.state.actions(uuid)
        for tag in ('nova-recovery-claim', 'nova-recovery-run=3fb04a53-by=a'):
            put = owner.compute.put(
                f'servers/{uuid}/tags/{tag}', microversion='2.26'
            )
            self.assertIn(put.status_code, (201, 204))
        self.done('server', 'reboot', uuid, '--yes')
        self.assertEqual([*before, 'reboot'], self.state.actions(uuid))

    def test_a_claim_whose_journal_is_lost(self) -> None:
        """The refusal names the command that takes it off."""
        uuid = self.state.uuid('at3-ui09')
        before = self.state.actions(uuid)
        run = self.killed_after_its_claim(uuid)
        ended = self.done('server', 'reboot', uuid, '--yes', code=3)
        self.assertIn(f'run={run} ', ended.stderr)
        self.assertIn('run abandon RUN --reason WHY', ended.stderr)
        ended = self.done(
            'run', 'abandon', run, '--reason', 'ctl2 burnt', '--yes'
        )
        self.assertIn(f'server {uuid}: its claim is taken off', ended.stderr)
        self.assertEqual(before, self.state.actions(uuid))
        self.done('server', 'reboot', uuid, '--yes')
        self.assertEqual([*before, 'reboot'], self.state.actions(uuid))

    def killed_after_its_claim(self, uuid: str) -> str:
        """A run of a controller that is lost, and its journal with it."""
        lost = f'sqlite:///{self.home}/lost.sqlite'
        conf = self.home / 'lost.conf'
        self.configure(conf, journal__connection=lost)
        path = self.home / 'plan'
        self.done('server', 'reboot', uuid, '--plan-file', path)
        run = killing.create_run(lost, planfile.load(str(path)))
        watch = Watch(
            self.home / 'points',
            {f'server:{uuid}': {'claim-server: journal done'}},
        )
        pid = world.start(lambda: killing.carry_out(conf, run, 1, watch))
        self.assertEqual(-signal.SIGKILL, world.ended(pid, 60))
        return run

    def test_a_plain_member_reboots_nothing(self) -> None:
        uuid = self.state.uuid('at3-ui08')
        before = self.state.actions(uuid)
        self.log_in('demo')
        ended = self.done('server', 'reboot', uuid, '--yes', code=3)
        self.assertRegex(ended.stderr, r'unknown +apis-reachable +nova: ')
        self.assertIn('(HTTP 403)', ended.stderr)
        self.assertEqual(before, self.state.actions(uuid))
