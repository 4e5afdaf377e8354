# SPDX-License-Identifier: Apache-2.0

"""What refuses a recovery, on the real cloud."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.cloud import servers, services
from tests.functional.base import FunctionalTest, JSON

DEAD, TARGET = 'host1', 'host2'
FENCED = ('--fenced', 'PDU port 14 is off')
#: What nova keeps of hw:cpu_policy=dedicated, as far as it is asked for.
PINNED = {
    'nova_object.name': 'InstanceNUMATopology',
    'nova_object.namespace': 'nova',
    'nova_object.version': '1.3',
    'nova_object.data': {
        'cells': [
            {
                'nova_object.name': 'InstanceNUMACell',
                'nova_object.namespace': 'nova',
                'nova_object.version': '1.6',
                'nova_object.data': {
                    'id': 0,
                    'cpuset': [],
                    'pcpuset': [0],
                    'memory': 2048,
                    'pagesize': None,
                    'cpu_pinning_raw': {'0': 3},
                    'cpu_policy': 'dedicated',
                },
            }
        ]
    },
}


class TestServers(FunctionalTest):
    """Each server of a dead host has its own reason not to be moved."""

    fresh = True

    def test_reasons(self) -> None:
        self._prepare()
        self.kill_compute(DEAD)
        # nova takes it, whatever the state of the host: it waits there.
        queued = self.state.uuid('at3-ui05')
        answer = self.state.server_action(queued, 'os-start')
        self.assertEqual(202, answer.status_code, answer.text)
        before = self.state.rows(DEAD)

        words = (
            'host', 'recover', DEAD, '--target-host', TARGET, *FENCED,
            '--shared-storage', '--connector', self.connector(TARGET),
        )  # fmt: skip
        moving = self.plan(*words, '--method', 'move', code=3)
        self.assertEqual(
            {
                ('movable', 'at3-ui01', 'hard', 'pinned CPUs'),
                ('movable', 'at3-ui02', 'hard', 'attached before Queens'),
                ('movable', 'at3-ui11', 'hard', 'host2 -> host1 is finished'),
                ('nothing-queued', 'at3-ui05', 'soft', 'powering-on'),
                ('memory-kept', 'at3-ui09', 'soft', 'was saved on host1'),
                ('zone-and-group', 'at3-ui03', 'soft', 'in zone elsewhere'),
                ('zone-and-group', 'at3-ui07', 'soft', 'anti-affinity'),
            },
            self._refusals(moving),
        )

        evacuating = self.plan(*words, '--method', 'evacuate', code=3)
        self.assertEqual(
            {
                ('evacuable', 'at3-ui06', 'hard', 'it is paused'),
                ('evacuable', 'at3-ui09', 'hard', 'it is suspended'),
                ('evacuable', 'at3-ui11', 'hard', 'it is resized'),
                ('nothing-queued', 'at3-ui05', 'soft', 'powering-on'),
                ('zone-and-group', 'at3-ui03', 'soft', 'in zone elsewhere'),
                ('zone-and-group', 'at3-ui07', 'soft', 'anti-affinity'),
            },
            self._refusals(evacuating),
        )

        # None of them can be forced through.
        ended = self.done(
            *words, '--method', 'move', '--yes',
            '--override', 'movable:at3-ui01=pins or not', code=2,
        )  # fmt: skip
        self.assertIn("it can't be overridden", ended.stderr)
        self.assertEqual(before, self.state.rows(DEAD))
        self.assertEqual(0, self.state.service(DEAD)['disabled'])

        self._shows_what_waits(queued)

    def _prepare(self) -> None:
        def sql(statement: str, *arguments: Any) -> None:
            database, _, statement = statement.partition(': ')
            self.practice.sql(database, statement, arguments)

        uuid = self.state.uuid
        sql(
            'nova: UPDATE instance_extra SET numa_topology = %s'
            ' WHERE instance_uuid = %s',
            json.dumps(PINNED), uuid('at3-ui01'),
        )  # fmt: skip
        sql(
            'nova: UPDATE block_device_mapping SET attachment_id = NULL'
            ' WHERE instance_uuid = %s',
            uuid('at3-ui02'),
        )  # fmt: skip
        (spec,) = self.practice.sql(
            'nova_api',
            'SELECT spec FROM request_specs WHERE instance_uuid = %s',
            [uuid('at3-ui03')],
        )
        changed = json.loads(spec['spec'])
        changed['nova_object.data']['availability_zone'] = 'elsewhere'
        sql(
            'nova_api: UPDATE request_specs SET spec = %s'
            ' WHERE instance_uuid = %s',
            json.dumps(changed), uuid('at3-ui03'),
        )  # fmt: skip
        self._anti_affinity('at3-ui07', 'at3-spread')
        self.state.server_action(uuid('at3-ui09'), 'suspend')
        # A real cold migration, which waits to be confirmed.
        answer = self.state.server_action(
            uuid('at3-ui11'), 'migrate', {'host': DEAD}
        )
        self.assertEqual(202, answer.status_code, answer.text)
        self._settled('at3-ui11', 'resized')
        self._settled('at3-ui09', 'suspended')

    def _anti_affinity(self, name: str, other: str) -> None:
        group = servers.call(
            self.admin.compute,
            'POST',
            '/os-server-groups',
            'server_group',
            {'server_group': {'name': 'spread', 'policy': 'anti-affinity'}},
            '2.64',
        )
        member = self.create_server(other, host=TARGET)
        for uuid in (self.state.uuid(name), member.id):
            self.practice.sql(
                'nova_api',
                'INSERT INTO instance_group_member (instance_uuid, group_id)'
                ' SELECT %s, id FROM instance_groups WHERE uuid = %s',
                [uuid, group['id']],
            )

    def _settled(self, name: str, state: str) -> None:
        def settled() -> bool:
            row = self.state.row(self.state.uuid(name))
            return row['vm_state'] == state and row['task_state'] is None

        self.wait_for(settled, f'{name} to be {state}')

    def _refusals(self, plan: JSON) -> set[tuple[str, str, str, str]]:
        """Gate, subject, class and the words that tell it from others."""
        words = re.compile(
            'pinned CPUs|attached before Queens|host2 -> host1 is finished|'
            'powering-on|was saved on host1|in zone elsewhere|anti-affinity|'
            'it is (paused|suspended|resized)'
        )
        found = set()
        for gate in self.gates(plan):
            said = [m.group() for m in words.finditer(gate['observed'])]
            self.assertTrue(said, gate)
            found.add((gate['name'], gate['subject'], gate['klass'], said[-1]))
        return found

    def _shows_what_waits(self, uuid: str) -> None:
        """server show tells of it; no command has put anything there."""
        shown = self.answer('server', 'show', uuid)
        self.assertIn('powering-on: sent to host1', shown['waiting_request'])
        self.assertIn('compute.host1', shown['waiting_request'])
        ended = self.done('server', 'reboot', 'at3-ui03', '--yes', code=3)
        self.assertRegex(ended.stderr, r'host-up +host1')
        self.assertEqual(1, self.state.queued(DEAD))
        # or else it is carried out when the host is started again
        self.practice.purge_queue(f'compute.{DEAD}')


class TestHosts(FunctionalTest):
    """What is asked of hosts and of the cloud."""

    def recover(self, *words: str, code: int = 3) -> str:
        return self.done(
            'host', 'recover', *words, *FENCED, '--shared-storage', '--yes',
            code=code,
        ).stderr  # fmt: skip

    def test_a_living_host(self) -> None:
        """Whatever any clock says: the count of its reports moves."""
        said = self.recover(TARGET)
        self.assertRegex(said, r'source-silent +host2: .* is alive')
        said = self.recover(
            TARGET, '--override', 'source-silent:host2=I know', code=2
        )
        self.assertIn("it can't be overridden", said)
        self.addCleanup(self.practice.start, 'nova-conductor')
        for clock, words in ((-300, '0:05:0. ago'), (300, 'in the future')):
            # Heartbeats get their time from the conductor's clock; nova's
            # API takes both for down.
            self.practice.start('nova-conductor', clock)
            self.practice.wait_compute_down(TARGET)
            said = self.recover(TARGET)
            self.assertRegex(said, r'source-silent +host2: .* is alive')
            self.assertRegex(said.replace('\n', ' '), words)
        self.practice.start('nova-conductor')
        self.practice.wait_compute_up(TARGET)
        self.assertEqual(0, self.state.service(TARGET)['disabled'])

    def test_a_machine_that_reports_under_another_name(self) -> None:
        """It is alive, whatever its old name's heartbeat says.

        It was installed anew, else nova-compute would not start under a new
        name since 2023.1: it looks for guests and for its node's UUID
        (``_sanity_check_new_host``, ``_check_for_host_rename``).
        """
        full = f'{DEAD}.example.org'
        self.lose_power(DEAD)
        config = self.practice.config
        for kept in ('guests.json', 'compute_id'):
            path = config.guests(DEAD).with_name(kept)
            self.addCleanup(path.write_text, path.read_text())
            path.unlink()
        daemon = services.daemon(config, services.compute(DEAD))
        daemon.start(services.option_environment({'host': full}))
        self.addCleanup(self.forget, full)
        self.addCleanup(daemon.kill)
        self.practice.wait_compute_down(DEAD)
        self.wait_for(
            lambda: self.practice.sql(
                'nova',
                'SELECT s.id FROM services s JOIN compute_nodes n'
                ' ON n.host = s.host WHERE s.host = %s'
                ' AND s.report_count > 1',
                [full],
            ),
            f'{full} to report',
        )
        said = self.recover(DEAD)
        self.assertRegex(
            said,
            rf'source-same-machine +{DEAD}: {full} has the same hypervisor',
        )

    def forget(self, host: str) -> None:
        """Take a compute host out of the cell again."""
        for table in ('services', 'compute_nodes'):
            self.practice.sql('nova', f'DELETE FROM {table} WHERE host = %s',
                              [host])  # fmt: skip

    def test_all_hosts_silent(self) -> None:
        """Without a conductor all seem dead: that is not their fault."""
        self.stop_service('nova-conductor')
        said = self.recover(DEAD, '--target-host', TARGET)
        self.assertRegex(
            said, r'unknown +source-silent +host1: no other compute'
        )
        self.assertRegex(said, r'refused +cell-alive +cell1: 3 of 3 computes')
        self.assertRegex(said, r'refused +target-ready +host2: .*stands still')

    def test_names_are_exact(self) -> None:
        for name in ('host', 'HOST2', 'host22', 'host2 '):
            self.assertIn(
                f'no cell has a compute host named {name}',
                self.recover(name, code=1),
            )

    def test_a_plain_member(self) -> None:
        """Its token is good, but not for this."""
        self.log_in('demo')
        said = self.recover('host3')
        self.assertRegex(said, 'apis-reachable')
        self.assertIn('403', said)
        self.assertEqual(0, self.state.service('host3')['disabled'])
