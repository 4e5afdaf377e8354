# SPDX-License-Identifier: Apache-2.0

"""Where servers are proposed to go."""

from __future__ import annotations

import dataclasses
from typing import Any

from nova_recovery.procedures.recover import ways
from nova_recovery.procedures.recover.situation import Request, Volume
from tests.base import TestCase
from tests.unit.procedures.recover import scenarios


def room(memory: int, **others: Any) -> dict[str, Any]:
    """A host with so many MiB free."""
    return {
        'free': {'VCPU': 64, 'MEMORY_MB': memory, 'DISK_GB': 4000},
        **others,
    }


def assigned(
    hosts: dict[str, Any], servers: dict[str, Any], **asked: Any
) -> dict[str, str | None]:
    """Server -> target, as proposed."""
    hosts = {'np-rcc54': {}, **hosts}
    found = scenarios.make(['np-rcc54'], hosts, servers)
    request = scenarios.request(found, hosts=['np-rcc54'], **asked)
    return {
        one.server.name: one.target
        for one in ways.assign(found.servers, request, found)
    }


def several(number: int, **fields: Any) -> dict[str, Any]:
    """So many servers of 4096 MiB each."""
    return {f'web{n:02}': dict(fields) for n in range(1, number + 1)}


class NestedTest(TestCase):
    """Of what is below its node nova makes the server's share anew."""

    def test_devices_of_its_own_are_not_moved_by_hand(self) -> None:
        found = scenarios.make(['np-rcc54'], {'np-rcc54': {}}, several(1))
        server = dataclasses.replace(
            found.servers[0], devices=('VGPU 1 on np-rcc54_gpu0',)
        )
        self.assertEqual([], ways.to_move(found.servers[0]))
        self.assertEqual([], ways.to_evacuate(server, True))
        (why,) = ways.to_move(server)
        self.assertIn('it has VGPU 1 on np-rcc54_gpu0', why)


class CrowdTest(TestCase):
    """``max_server_per_host`` of an anti-affinity group."""

    def test_as_many_as_the_group_allows(self) -> None:
        members = {'a': 'np-rcc46', 'b': 'np-rcc47', 'c': 'np-rcc54'}
        for most, crowded in ((1, True), (2, True), (3, False)):
            group = {
                'policy': 'anti-affinity', 'most': most, 'members': members
            }  # fmt: skip
            found = scenarios.make(
                ['np-rcc54'], {'np-rcc54': {}}, {'web': {'group': group}}
            )
            (server,) = found.servers
            self.assertEqual(
                crowded, ways.crowded(server, 'np-rcc46', {'c': 'np-rcc46'})
            )
            self.assertEqual(most == 1, ways.crowded(server, 'np-rcc47', {}))


class BeforeQueensTest(TestCase):
    """Nova names no attachment of such a volume."""

    def against(self, row: dict[str, Any], protocol: str) -> list[str]:
        found = scenarios.make(['np-rcc54'], {'np-rcc54': {}}, several(1))
        volume = Volume('v1', 1, '/dev/vdb', False, None, protocol)
        return ways.to_move(
            dataclasses.replace(found.servers[0], row=row, volumes=(volume,))
        )

    def test_only_a_nova_from_28_on_deletes_attachments_that_it_does_not_name(
        self,
    ) -> None:
        old, new = {'id': 1}, {'id': 1, 'compute_id': 3}
        self.assertEqual([], self.against(old, 'rbd'))
        self.assertIn('only an evacuation', self.against(old, 'iscsi')[0])
        for row in (new, {}):
            self.assertIn('would detach it', self.against(row, 'rbd')[0])


class TwiceTest(TestCase):
    def test_a_volume_that_is_mapped_twice_is_not_moved(self) -> None:
        found = scenarios.make(['np-rcc54'], {'np-rcc54': {}}, several(1))
        one = Volume('v1', 1, '/dev/vdb', False, 'a1', 'rbd')
        server = dataclasses.replace(found.servers[0], volumes=(one, one))
        self.assertEqual(['volume v1 is mapped 2 times'], ways.to_move(server))


class SpreadingTest(TestCase):
    def count(self, found: dict[str, str | None]) -> dict[str | None, int]:
        return {
            target: list(found.values()).count(target)
            for target in sorted(set(found.values()), key=str)
        }

    def test_each_goes_where_most_is_free_by_then(self) -> None:
        hosts = {'a': room(40960), 'b': room(40960), 'c': room(20480)}
        self.assertEqual(
            {'a': 9, 'b': 8, 'c': 3}, self.count(assigned(hosts, several(20)))
        )

    def test_alike_hosts_in_the_order_of_names(self) -> None:
        found = assigned({'b': room(8192), 'a': room(8192)}, several(2))
        self.assertEqual({'web01': 'a', 'web02': 'b'}, found)

    def test_the_last_mib_counts(self) -> None:
        self.assertEqual(
            {'web01': 'a'}, assigned({'a': room(4096)}, several(1))
        )
        self.assertEqual(
            {'web01': None}, assigned({'a': room(4095)}, several(1))
        )

    def test_any_resource_can_be_short(self) -> None:
        for short in ('VCPU', 'MEMORY_MB', 'DISK_GB'):
            free = {**scenarios.ROOM, short: 1}
            self.assertEqual(
                {'web01': None}, assigned({'a': {'free': free}}, several(1))
            )

    def test_a_class_that_a_host_has_not_at_all(self) -> None:
        held = {'np-rcc54': {**scenarios.HELD, 'CUSTOM_LICENCE': 1}}
        with_it = room(8192)
        with_it['free']['CUSTOM_LICENCE'] = 1
        found = assigned(
            {'a': room(262144), 'b': with_it}, several(1, allocations=held)
        )
        self.assertEqual({'web01': 'b'}, found)

    def test_named_ones_take_their_room_too(self) -> None:
        found = assigned(
            {'a': room(9000), 'b': room(6000)},
            several(3),
            target_for={'web01': 'a'},
        )
        self.assertEqual({'web01': 'a', 'web02': 'b', 'web03': 'a'}, found)

    def test_one_named_for_all_and_one_for_itself(self) -> None:
        found = assigned(
            {'a': room(1), 'b': room(1)},
            several(2),
            target_host='a',
            target_for={'web02': 'b'},
        )
        self.assertEqual({'web01': 'a', 'web02': 'b'}, found)

    def test_hosts_that_take_nothing(self) -> None:
        for fields in (
            {'disabled': True},
            {'forced_down': True},
            {'api_state': 'down'},
            {'reports': [5, 5]},
            {'nodes': 0},
            {'nodes': 2},
            {'hypervisor': 'ironic'},
            {'cell': 'cell2'},
            {'free': None},
        ):
            hosts = {'a': {**room(262144), **fields}, 'b': room(8192)}
            self.assertEqual({'web01': 'b'}, assigned(hosts, several(1)))

    def test_it_never_goes_back(self) -> None:
        hosts = {'np-rcc54': room(262144)}
        self.assertEqual({'web01': None}, assigned(hosts, several(1)))

    def test_a_zone_that_was_asked_for(self) -> None:
        hosts = {'a': room(262144), 'b': room(8192, zone='rack1')}
        self.assertEqual(
            {'web01': 'b'}, assigned(hosts, several(1, pinned_zone='rack1'))
        )

    def test_the_old_guest_is_there(self) -> None:
        hosts = {'a': room(262144), 'b': room(8192)}
        old: dict[str, Any] = {'armed': {'a': [{'id': 1, 'status': 'done'}]}}
        self.assertEqual({'web01': 'b'}, assigned(hosts, several(1, **old)))
        # A move disarms it.
        old.update(vm_state='paused', power_state=3)
        self.assertEqual({'web01': 'a'}, assigned(hosts, several(1, **old)))
        # Else the gate tells why not.
        del old['vm_state'], old['power_state'], hosts['b']
        self.assertEqual({'web01': 'a'}, assigned(hosts, several(1, **old)))

    def test_anti_affinity_within_the_plan(self) -> None:
        uuids = [scenarios.UUID.format(number) for number in (1, 2, 3)]
        servers = {
            f'db{number}': {
                'group': {
                    'policy': 'anti-affinity',
                    'members': {
                        other: 'np-rcc54'
                        for other in uuids
                        if other != uuids[number - 1]
                    },
                }
            }
            for number in (1, 2, 3)
        }
        hosts = {'a': room(262144), 'b': room(99999), 'c': room(8192)}
        self.assertEqual(
            {'db1': 'a', 'db2': 'b', 'db3': 'c'}, assigned(hosts, servers)
        )

    def test_affinity_within_the_plan(self) -> None:
        servers = {
            f'web{number}': {
                'group': {
                    'policy': 'affinity',
                    'members': {scenarios.UUID.format(3 - number): 'np-rcc54'},
                }
            }
            for number in (1, 2)
        }
        hosts = {'a': room(9000), 'b': room(8500)}
        self.assertEqual({'web1': 'a', 'web2': 'a'}, assigned(hosts, servers))


class NeedsTest(TestCase):
    def needs(self, allocations: Any) -> dict[str, int]:
        found = scenarios.make(
            ['np-rcc54'],
            {'np-rcc54': {}},
            {'web': {'allocations': allocations}},
        )
        return ways.needs(found.servers[0])

    def test_what_it_holds(self) -> None:
        self.assertEqual(scenarios.HELD, self.needs({'np-rcc54': None}))

    def test_held_twice_needed_once(self) -> None:
        self.assertEqual(
            scenarios.HELD, self.needs({'np-rcc54': None, 'np-rcc46': None})
        )

    def test_without_what_other_providers_hold(self) -> None:
        self.assertEqual(
            scenarios.HELD, self.needs({'gpu': {'VGPU': 1}, 'np-rcc54': None})
        )

    def test_nothing_or_unknown(self) -> None:
        self.assertEqual({}, self.needs({}))
        self.assertEqual({}, self.needs(None))


class MethodTest(TestCase):
    def method(
        self, method: str, evacuates_with_task: bool = True, **fields: Any
    ) -> tuple[str, str]:
        found = scenarios.make(
            ['np-rcc54'],
            {'np-rcc54': {}},
            {'web': fields},
            evacuates_with_task=evacuates_with_task,
        )
        request = scenarios.request(found, ['np-rcc54'], method=method)
        (one,) = ways.assign(found.servers, request, found)
        return one.method, one.why

    def test_what_nova_evacuates_is_evacuated(self) -> None:
        for state in ('active', 'stopped', 'error'):
            self.assertEqual(
                ('evacuate', ''), self.method('auto', vm_state=state)
            )

    def test_the_rest_is_moved_and_the_reason_told(self) -> None:
        for fields, word in (
            ({'vm_state': 'paused'}, 'paused'),
            ({'vm_state': 'suspended'}, 'suspended'),
            ({'vtpm': True}, 'TPM'),
            ({'shares': 2}, 'shares'),
        ):
            method, why = self.method('auto', **fields)
            self.assertEqual('move', method)
            self.assertIn(word, why)

    def test_a_task_matters_to_an_old_nova(self) -> None:
        task = {'task_state': 'rebooting'}
        self.assertEqual(('evacuate', ''), self.method('auto', True, **task))
        self.assertEqual('move', self.method('auto', False, **task)[0])

    def test_what_was_asked_for_goes_before(self) -> None:
        self.assertEqual(
            ('evacuate', ''), self.method('evacuate', vm_state='paused')
        )
        self.assertEqual(('move', 'asked for'), self.method('move'))


class ConnectorTest(TestCase):
    def test_given_before_known(self) -> None:
        known, given = {'host': 'a', 'initiator': 'x'}, {'host': 'a'}
        found = scenarios.make(
            ['np-rcc54'],
            {'np-rcc54': {}, 'a': {'connector': known}, 'b': {}},
            {},
        )
        plain = Request(('np-rcc54',))
        request = Request(('np-rcc54',), connectors={'a': given})
        self.assertEqual(known, ways.connector(found.hosts['a'], plain))
        self.assertEqual(given, ways.connector(found.hosts['a'], request))
        self.assertIsNone(ways.connector(found.hosts['b'], request))
