# SPDX-License-Identifier: Apache-2.0

"""What proves that a target sees the disk of a dead host's server."""

from __future__ import annotations

import dataclasses
from typing import Any
from unittest import mock

import fixtures

from nova_recovery.engine.plan import Plan
from nova_recovery.exceptions import ConfigError
from nova_recovery.fleet import answer
from nova_recovery.procedures.recover import procedure, sights, ways
from nova_recovery.procedures.recover.situation import Situation
from nova_recovery.procedures.recover.ways import Assignment
from tests.base import TestCase
from tests.unit.procedures.recover import scenarios

SEEN, ABSENT, UNSEEN = ways.SEEN, ways.ABSENT, ways.UNSEEN
HOSTS: dict[str, Any] = {'source': {}, 'target': {}, 'other': {}}
FILES = {'web': ['disk', 'disk.info']}
USERS = {'source': 1800, 'target': 60}


class Sights(TestCase):
    SERVER: dict[str, Any] = {'local_disk': True, 'volumes': []}

    def found(self, server: Any = None, **sight: Any) -> Situation:
        return scenarios.make(
            ['source'],
            HOSTS,
            {'web': dict(server or self.SERVER)},
            sights={'target': sight} if sight else {},
        )

    def sees(
        self, server: Any = None, method: str = ways.MOVE, **sight: Any
    ) -> str:
        found = self.found(server, **sight)
        one = Assignment(found.servers[0], method, '', 'target')
        self.assertEqual(
            ways.sight(one, found)[0] != SEEN, ways.unproven(one, found)
        )
        return ways.sight(one, found)[0]

    def test_both_wrote_their_names_into_one_directory(self) -> None:
        self.assertEqual(SEEN, self.sees(files=FILES, users=USERS))

    def test_nobody_asked(self) -> None:
        self.assertEqual(UNSEEN, self.sees())

    def test_a_file_that_is_left_over_is_none(self) -> None:
        for users in (
            {'target': 60},
            {'source': 90_000, 'target': 60},
            # its clock or the conductor's is wrong
            {'source': -7200, 'target': 60},
        ):
            self.assertEqual(UNSEEN, self.sees(files=FILES, users=users))

    def test_a_directory_that_nova_there_does_not_use_is_none(self) -> None:
        for users in ({'source': 1800}, {'source': 1800, 'target': 90_000}):
            self.assertEqual(UNSEEN, self.sees(files=FILES, users=users))
            self.assertEqual(UNSEEN, self.sees(users=users))

    def test_a_copy_of_a_machine_with_its_directory_is_none(self) -> None:
        self.assertEqual(
            UNSEEN, self.sees(files=FILES, users=USERS, remote=False)
        )

    def test_of_a_host_that_never_reported_nothing_is_known(self) -> None:
        found = self.found(files=FILES, users=USERS)
        hosts = dict(found.hosts)
        hosts['source'] = dataclasses.replace(hosts['source'], heartbeat=None)
        found = dataclasses.replace(found, hosts=hosts)
        one = Assignment(found.servers[0], ways.MOVE, '', 'target')
        self.assertEqual(UNSEEN, ways.sight(one, found)[0])

    def test_no_file_is_there(self) -> None:
        for files in ({}, {'web': ['disk.info', 'console.log.old']}):
            self.assertEqual(ABSENT, self.sees(files=files, users=USERS))

    def test_images_in_ceph(self) -> None:
        ceph: Any = {'images_type': 'rbd', 'pool': 'vms'}
        self.assertEqual(SEEN, self.sees(images={'web': ['disk']}, **ceph))
        self.assertEqual(ABSENT, self.sees(images={'web': []}, **ceph))
        # a file of before is none
        self.assertEqual(ABSENT, self.sees(files=FILES, users=USERS, **ceph))

    def test_disks_of_another_kind(self) -> None:
        self.assertEqual(
            UNSEEN, self.sees(files=FILES, users=USERS, images_type='lvm')
        )

    def test_what_did_not_answer_proves_nothing(self) -> None:
        self.assertEqual(
            UNSEEN, self.sees(files=FILES, users=USERS, problem='a hung NFS')
        )

    def test_of_a_server_in_a_volume_its_other_files_count(self) -> None:
        server = {
            'config_drive': True,
            'volumes': [{'root': True, 'protocol': 'rbd'}],
        }
        here = {'web': ['disk.config']}
        self.assertEqual(SEEN, self.sees(server, files=here, users=USERS))
        only = {'web': ['disk.info']}
        self.assertEqual(ABSENT, self.sees(server, files=only, users=USERS))


class Asked(TestCase):
    """How the targets are asked, and what a plan makes of it."""

    PAUSED: dict[str, Any] = {
        'local_disk': True,
        'volumes': [],
        'vm_state': 'paused',
        'power_state': 3,
    }

    def setUp(self) -> None:
        super().setUp()
        self.found = scenarios.make(['source'], HOSTS, {'web': self.PAUSED})
        self.uuid = self.found.servers[0].uuid
        self.request = scenarios.request(
            self.found, ['source'], target_host='target', fenced='it is off'
        )
        self.found = scenarios.fenced(self.request, self.found)
        self.cloud = scenarios.cloud()
        self.cloud.conf.fleet.inventory = ['hosts.yaml']
        self.cloud.fleet.identify = lambda names: {
            name: answer.Answer(
                name, answer.DONE, result={'machine_id': name * 4}
            )
            for name in names
        }
        self.cloud.fleet.each = lambda names, ask: {n: ask(n) for n in names}
        self.cloud.fleet.several = mock.Mock(side_effect=self.answered)
        self.users = {'source': scenarios.NOW - 1800.0, 'target': 0.0}
        self.users['target'] = scenarios.NOW - 60.0
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.procedures.recover.read.read',
                lambda *_arguments, **_more: self.found,
            )
        )

    def answered(self, host: str, *calls: Any) -> answer.Answer:
        ((verb, data),) = calls
        self.assertEqual('disks', verb)
        said = {
            'time': float(scenarios.NOW),
            'directory': {
                'path': '/var/lib/nova/instances',
                'type': 'nfs4',
                'source': 'filer:/instances',
                'remote': True,
                'users': self.users,
                'files': {uuid: ['disk'] for uuid in data['server']},
                'why': '',
            },
            'ceph': {'type': None, 'pool': '', 'images': {}, 'why': ''},
        }
        return answer.Answer(host, answer.DONE, result={'answers': [said]})

    def plan(self) -> Plan:
        return procedure.make_plan(self.cloud, self.request)

    def later(self, plan: Plan) -> Any:
        (item,) = [one for one in plan.items() if one.kind == 'move-record']
        return item.data.get('later')

    def blocks(self, plan: Plan) -> list[str]:
        again = procedure.check(plan, self.cloud, frozenset())
        return [gate.name for gate in again if gate.blocks]

    def test_only_targets_are_asked_and_the_tombstone_goes_along(self) -> None:
        plan = self.plan()
        self.assertFalse(plan.blocked)
        self.assertIsNone(self.later(plan))
        self.assertNotIn('arm-tombstone', [i.kind for i in plan.items()])
        (call,) = self.cloud.fleet.several.call_args_list
        self.assertEqual('target', call.args[0])
        self.assertEqual([], self.blocks(plan))

    def test_what_was_seen_and_is_not_seen_any_more_refuses(self) -> None:
        plan = self.plan()
        self.users.pop('source')
        self.assertEqual(
            ['disk-reachable', 'disk-reachable'], self.blocks(plan)
        )
        self.request = dataclasses.replace(self.request, shared_storage=True)
        self.assertTrue(self.later(self.plan()))

    def test_without_a_fleet_it_is_as_it_was(self) -> None:
        self.cloud.conf.fleet.inventory = []
        self.request = dataclasses.replace(self.request, shared_storage=True)
        plan = self.plan()
        self.assertTrue(self.later(plan))
        self.assertFalse(plan.blocked)
        self.cloud.fleet.several.assert_not_called()

    def test_hosts_that_can_not_be_reached_leave_it_to_a_word(self) -> None:
        self.cloud.fleet.identify = mock.Mock(
            side_effect=ConfigError('ansible-playbook is not installed')
        )
        plan = self.plan()
        self.assertEqual(['disk-reachable'], self.blocks(plan))
        (gate,) = [one for one in plan.gates if one.blocks]
        self.assertEqual('soft', gate.klass)
        self.assertIn('ansible-playbook is not installed', gate.observed)

    def test_many_servers_are_asked_for_in_parts(self) -> None:
        servers = {f'web{n}': self.PAUSED for n in range(601)}
        found = scenarios.make(['source'], HOSTS, servers)
        assigned = [
            Assignment(one, ways.MOVE, '', 'target') for one in found.servers
        ]
        found = sights.look(self.cloud, found, assigned)
        self.assertEqual(3, self.cloud.fleet.several.call_count)
        self.assertEqual(601, len(found.sights['target'].files))
        self.assertFalse(any(ways.unproven(one, found) for one in assigned))
