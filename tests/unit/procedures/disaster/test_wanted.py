# SPDX-License-Identifier: Apache-2.0

"""Which servers are to run again, and in what order."""

from __future__ import annotations

from typing import Any

from nova_recovery.procedures.disaster.judge import wanted
from nova_recovery.procedures.disaster.judge.wanted import Answer, Order
from nova_recovery.procedures.disaster.situation import Server
from tests.base import TestCase
from tests.unit.procedures.disaster import situations

SYNC = ['stop', None]
OWNER = ['stop', 'alice']


class WantedTest(TestCase):
    def answer(self, **given: Any) -> Answer:
        return wanted.wanted(situations.make(**given))

    def why(self, record: bool = True, **fields: Any) -> str | None:
        """Why it is in W; None: it isn't."""
        answer = self.answer(servers={'web': fields}, record=record)
        found = [one.why for one in answer.servers]
        # of each server one thing is said
        self.assertEqual(1, len(found) + len(answer.left))
        return found[0] if found else None

    def left(self, record: bool = True, **fields: Any) -> str:
        answer = self.answer(servers={'web': fields}, record=record)
        self.assertEqual((), answer.servers)
        return answer.left['web']

    def test_what_its_owner_deleted_never_comes_back(self) -> None:
        """nova's power sync may have stopped it since."""
        for fields in (
            {'task_state': 'deleting'},
            {'task_state': 'soft-deleting'},
            {
                'task_state': 'deleting',
                'vm_state': 'stopped',
                'newest': [SYNC],
            },
        ):
            why = self.left(**fields)
            self.assertTrue(why.startswith('its owner deleted it'), why)
            self.assertIn('openstack server delete --force web', why)

    # what the snapshot says

    def test_it_ran(self) -> None:
        self.assertEqual('it ran', self.why())

    def test_its_guest_is_off(self) -> None:
        self.assertEqual(
            'it ran, and its guest is off (power state 0)',
            self.why(power_state=0),
        )

    def test_it_is_in_error_since(self) -> None:
        self.assertEqual(
            'it ran, and is in error now', self.why(vm_state='error')
        )

    def test_it_was_in_error_before(self) -> None:
        self.assertEqual(
            'it was error before',
            self.left(vm_state='error', before={'vm_state': 'error'}),
        )

    def test_it_was_stopped_before(self) -> None:
        self.assertEqual(
            'it was stopped before',
            self.left(
                vm_state='stopped',
                power_state=4,
                before={'vm_state': 'stopped', 'power_state': 4},
            ),
        )

    def test_what_its_owner_chose_is_left(self) -> None:
        for state in (
            'suspended',
            'paused',
            'rescued',
            'resized',
            'shelved',
            'shelved_offloaded',
            'soft-delete',
            'building',
        ):
            self.assertIn('it', self.left(vm_state=state))

    def test_it_is_on_no_host(self) -> None:
        self.assertEqual(
            'it is error, on no host', self.left(vm_state='error', host=None)
        )

    def test_it_moved(self) -> None:
        found = self.answer(
            servers={'web': {'host': 'np-rcc5'}},
            computes={'np-rcc4': 'up', 'np-rcc5': 'up'},
        ).servers[0]
        self.assertTrue(found.moved)
        self.assertEqual('it ran; on np-rcc5 instead of np-rcc4', found.why)

    # what was asked since

    def test_the_power_sync_stopped_it(self) -> None:
        self.assertEqual(
            "it ran; nova's power sync stopped it",
            self.why(vm_state='stopped', power_state=4, newest=[SYNC]),
        )

    def test_its_owner_stopped_it(self) -> None:
        self.assertEqual(
            'stop was asked for since (req-1001)',
            self.left(vm_state='stopped', power_state=4, newest=[OWNER]),
        )

    def test_its_owner_stopped_it_after_the_sync(self) -> None:
        # started by hand, then stopped: the newest counts
        self.assertIn(
            'req-1003',
            self.left(
                vm_state='stopped', newest=[SYNC, ['start', 'alice'], OWNER]
            ),
        )

    def test_the_sync_stopped_it_after_its_owner_started_it(self) -> None:
        self.assertIsNotNone(
            self.why(
                vm_state='stopped', newest=[OWNER, ['start', 'alice'], SYNC]
            )
        )

    def test_what_has_nothing_to_do_with_running_does_not_count(self) -> None:
        self.assertIsNotNone(
            self.why(
                vm_state='stopped',
                newest=[SYNC, ['attach_volume', 'alice'], ['lock', 'alice']],
            )
        )
        self.assertIsNotNone(self.why(newest=[['detach_volume', 'alice']]))

    def test_its_stop_was_on_its_way(self) -> None:
        self.assertIn(
            'stop was asked',
            self.left(task_state='powering-off', newest=[['stop', 'alice']]),
        )
        self.assertEqual(
            'its task is powering-off, which somebody asked for',
            self.left(task_state='powering-off'),
        )

    def test_the_sync_is_stopping_it(self) -> None:
        found = self.answer(
            servers={'web': {'task_state': 'powering-off', 'newest': [SYNC]}}
        ).servers[0]
        self.assertEqual('powering-off', found.task)

    def test_nobody_tells_who_stopped_it(self) -> None:
        answer = self.answer(servers={'web': {'vm_state': 'stopped'}})
        self.assertEqual({'web'}, answer.doubtful)
        self.assertIn('no action since tells', answer.left['web'])

    def test_it_was_started_since(self) -> None:
        before = {'vm_state': 'stopped', 'power_state': 4}
        self.assertEqual(
            'it was stopped; start since',
            self.why(before=before, newest=[['start', 'alice']]),
        )
        self.assertEqual(
            'it was stopped; start since',
            self.why(
                before=before,
                vm_state='stopped',
                newest=[['start', 'alice'], SYNC],
            ),
        )

    def test_the_sync_stops_what_libvirt_started(self) -> None:
        # nova's force_stop of a guest that was to stay off
        self.assertEqual(
            'it was stopped before',
            self.left(
                before={'vm_state': 'stopped', 'power_state': 4},
                vm_state='stopped',
                newest=[SYNC],
            ),
        )

    def test_its_guest_was_off_before(self) -> None:
        self.assertEqual(
            'its guest was off before',
            self.left(
                before={'power_state': 4}, vm_state='stopped', newest=[SYNC]
            ),
        )

    def test_an_evacuation_starts_nothing(self) -> None:
        self.assertEqual(
            'it was stopped before',
            self.left(
                before={'vm_state': 'stopped', 'power_state': 4},
                vm_state='stopped',
                newest=[['evacuate', 'admin']],
            ),
        )

    # what the snapshot doesn't have

    def test_new_ones_are_judged_by_what_they_are(self) -> None:
        self.assertEqual(
            'new since the snapshot; it is active', self.why(before=None)
        )
        self.assertEqual(
            "new since the snapshot; nova's power sync stopped it since",
            self.why(before=None, vm_state='stopped', newest=[SYNC]),
        )
        self.assertEqual(
            'stop was asked for since (req-1001)',
            self.left(before=None, vm_state='stopped', newest=[OWNER]),
        )

    def test_without_a_snapshot(self) -> None:
        self.assertEqual('it is active', self.why(record=False))
        self.assertEqual(
            'it is active, and its guest is off (power state 0)',
            self.why(record=False, power_state=0),
        )
        self.assertEqual(
            'it is stopped', self.left(record=False, vm_state='stopped')
        )
        self.assertEqual(
            "nova's power sync stopped it since",
            self.why(record=False, vm_state='stopped', newest=[SYNC]),
        )
        self.assertEqual(
            'it is stopped',
            self.left(
                record=False,
                vm_state='stopped',
                newest=[SYNC],
                earlier=['stop', 'alice'],
            ),
        )

    def test_without_a_snapshot_nobody_tells_of_an_error(self) -> None:
        answer = self.answer(
            servers={'web': {'vm_state': 'error'}}, record=False
        )
        self.assertEqual({'web'}, answer.doubtful)

    # what is not asked for

    def test_a_skipped_host(self) -> None:
        answer = self.answer(
            servers={'web': None},
            scope={'skip_hosts': {'np-rcc4': 'its board is dead'}},
        )
        self.assertEqual(
            {'web': 'its host np-rcc4 is skipped: its board is dead'},
            answer.left,
        )

    def test_gone(self) -> None:
        answer = self.answer(
            gone={'a': {'deleted': True}, 'b': {}, 'c': {'host': 'np-rcc9'}}
        )
        self.assertEqual(
            {
                'a': 'it was deleted since the snapshot',
                'b': 'nova has no such server any more',
                'c': 'it is on np-rcc9 now, which is not asked for',
            },
            answer.left,
        )

    def test_a_silent_cell_is_told(self) -> None:
        answer = self.answer(silent={'cell2': 'no answer'})
        self.assertEqual({'cell2': 'no answer'}, answer.silent)


class OrderTest(TestCase):
    def names(self, servers: dict[str, Any], **order: Any) -> list[str]:
        answer = wanted.wanted(situations.make(servers), Order(**order))
        return [one.server.name for one in answer.servers]

    def test_by_name(self) -> None:
        self.assertEqual(['a', 'b'], self.names({'b': None, 'a': None}))

    def test_by_metadata(self) -> None:
        one = {'metadata': {'recovery_priority': '1'}}
        ten = {'metadata': {'recovery_priority': '10'}}
        nine = {'metadata': {'recovery_priority': '9'}}
        self.assertEqual(
            ['z', 'y', 'x', 'a'],
            self.names({'a': None, 'x': ten, 'y': nine, 'z': one}),
        )

    def test_no_number_is_the_default(self) -> None:
        broken = {'metadata': {'recovery_priority': 'high'}}
        first = {'metadata': {'recovery_priority': '99'}}
        last = {'metadata': {'recovery_priority': '101'}}
        self.assertEqual(
            ['c', 'a', 'b'], self.names({'a': broken, 'b': last, 'c': first})
        )

    def test_another_key(self) -> None:
        self.assertEqual(
            ['b', 'a'],
            self.names(
                {'a': None, 'b': {'metadata': {'rank': '1'}}}, key='rank'
            ),
        )

    def test_groups_within_the_same_number(self) -> None:
        servers = {
            'a': None,
            'b': {'group': 'g2'},
            'c': {'group': 'g1'},
            'd': {'group': 'g2', 'metadata': {'recovery_priority': '200'}},
        }
        self.assertEqual(
            ['c', 'b', 'a', 'd'], self.names(servers, groups=('g1', 'g2'))
        )

    def test_named_ones_before_all(self) -> None:
        servers = {
            'a': {'metadata': {'recovery_priority': '1'}},
            'b': None,
            'c': None,
        }
        self.assertEqual(
            ['c', 'b', 'a'], self.names(servers, first=('c', 'b'))
        )

    def test_it_can_be_asked_alone(self) -> None:
        found = situations.make(
            {'web': {'metadata': {'recovery_priority': '7'}}}
        )
        server: Server = found.servers['web']
        self.assertEqual(7, wanted.priority(server))
        self.assertEqual(wanted.DEFAULT, wanted.priority(server, 'other'))
