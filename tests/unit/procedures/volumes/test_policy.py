# SPDX-License-Identifier: Apache-2.0

"""The table of statuses, row by row."""

from __future__ import annotations

import dataclasses
from typing import Any

from nova_recovery.cloud.db import volumes as volumes_module
from nova_recovery.procedures.volumes import attach, detach, policy, situation
from nova_recovery.procedures.volumes.situation import mismatch
from tests.base import TestCase
from tests.unit.procedures.volumes import situations

#: Every status that cinder has for a volume, but those of attachments.
CINDERS_OWN = (
    'creating', 'deleting', 'error_deleting', 'downloading', 'managing',
    'error_managing', 'awaiting-transfer', 'maintenance', 'retyping',
    'extending', 'error_extending', 'uploading', 'backing-up',
    'restoring-backup', 'error_restoring', 'error_backing-up',
    'error_managing_deleting', 'unmanaging', '',
)  # fmt: skip
BETWEEN = (
    'attaching', 'detaching', 'reserved', 'error_attaching',
    'error_detaching',
)  # fmt: skip


class PolicyTest(TestCase):
    def told(self, **given: Any) -> list[tuple[str, str, str, str]]:
        """Code, severity, server and remedy of each finding."""
        given.setdefault('servers', {'web': {}})
        return [
            (one.code, one.severity, one.server, one.remedy)
            for one in policy.findings(situations.make(**given))
        ]

    def of(self, volume: Any, **given: Any) -> list[tuple[str, str, str, str]]:
        return self.told(volumes={'data': volume}, **given)


class ConsistentTest(PolicyTest):
    """What only looks so is no finding."""

    LINKED = {
        'attachments': {'a': {}},
        'mappings': {'web': {'attachment': 'a'}},
    }

    def test_in_use_and_mapped(self) -> None:
        self.assertEqual([], self.of(self.LINKED))

    def test_available_and_not_mapped(self) -> None:
        self.assertEqual([], self.of({}))

    def test_of_a_server_that_was_shelved_and_offloaded(self) -> None:
        shelved = {
            'host': None, 'vm_state': 'shelved_offloaded', 'power_state': 4,
        }  # fmt: skip
        for status, attach_status in (
            ('reserved', 'reserved'),
            ('in-use', 'attached'),
        ):
            volume = {
                'status': status,
                'attach_status': attach_status,
                'attachments': {
                    'a': {
                        'status': attach_status,
                        'connected': False,
                        'host': None,
                    }
                },
                'mappings': {'web': {'attachment': 'a', 'connected': False}},
            }
            self.assertEqual([], self.of(volume, servers={'web': shelved}))

    def test_of_a_server_that_is_being_built(self) -> None:
        reserved = {'a': {'status': 'reserved', 'connected': False}}
        volume = {
            'status': 'reserved', 'attach_status': 'reserved',
            'attachments': reserved,
        }  # fmt: skip
        building = {'web': {'vm_state': 'building', 'host': None}}
        # Before and after it has mappings, and before it is scheduled.
        self.assertEqual([], self.of(volume, servers=building))
        mapped = {'web': {'attachment': 'a', 'connected': False}}
        self.assertEqual(
            [], self.of({**volume, 'mappings': mapped}, servers=building)
        )
        self.assertEqual([], self.of(volume, servers={}, elsewhere=['web']))

    def test_of_a_server_that_is_migrated(self) -> None:
        """One attachment for each host."""
        volume = {
            'attachments': {'a': {}, 'b': {'host': 'np-rcc46'}},
            'mappings': {'web': {'attachment': 'a'}},
        }
        for moving in ({'task_state': 'migrating'}, {'vm_state': 'resized'}):
            self.assertEqual([], self.of(volume, servers={'web': moving}))
        self.assertEqual(
            [('VOL-EXTRA', 'stale', 'web', 'detach-stale')], self.of(volume)
        )

    def test_a_host_uses_it(self) -> None:
        self.assertEqual([], self.of({'attachments': {'a': {'server': None}}}))

    def test_multiattach(self) -> None:
        volume = {
            'multiattach': True,
            'attachments': {'a': {}, 'b': {'server': 'mail'}},
            'mappings': {
                'web': {'attachment': 'a'},
                'mail': {'attachment': 'b'},
            },
        }
        servers = {'web': {}, 'mail': {}}
        self.assertEqual([], self.of(volume, servers=servers))

    def test_attached_before_queens(self) -> None:
        """Its mapping names none; only nova 28 and later mind."""
        volume = {'attachments': {'a': {}}, 'mappings': {'web': {}}}
        self.assertEqual([], self.of(volume, strict=False))
        self.assertEqual(
            [('VOL-LEGACY', 'danger', 'web', 'attach')], self.of(volume)
        )

    def test_migrated_once(self) -> None:
        for status in (None, 'none', 'success', 'error'):
            self.assertEqual(
                [], self.of({**self.LINKED, 'migration_status': status})
            )


class NeverTouchedTest(PolicyTest):
    def test_statuses_of_cinders_own_work(self) -> None:
        for status in CINDERS_OWN:
            self.assertNotIn(status, volumes_module.OF_ATTACHMENTS)
            for attachments in ({}, {'a': {'server': 'gone'}}):
                found = self.of(
                    {'status': status, 'attachments': attachments},
                    gone=['gone'],
                )
                self.assertEqual([('VOL-BUSY', 'note', '', '')], found)

    def test_being_migrated(self) -> None:
        for status in ('target:x', 'starting', 'migrating', 'completing'):
            found = self.of({'status': 'in-use', 'migration_status': status})
            self.assertEqual([('VOL-BUSY', 'note', '', '')], found)

    def test_a_lost_mapping_is_told_all_the_same_without_a_fix(self) -> None:
        found = self.of(
            {
                'status': 'error_deleting',
                'mappings': {'web': {'attachment': 'dead'}},
            }
        )
        self.assertEqual(
            [
                ('VOL-BUSY', 'note', '', ''),
                ('VOL-UNLINKED', 'danger', 'web', ''),
            ],
            found,
        )

    def test_error_of_something_else(self) -> None:
        found = self.of({'status': 'error'})
        self.assertEqual([('VOL-FAILED', 'note', '', '')], found)


class StaleTest(PolicyTest):
    def test_nothing_holds_it(self) -> None:
        for status in ('in-use', *BETWEEN):
            self.assertEqual(
                [('VOL-STALE', 'stale', '', 'reset')],
                self.of({'status': status}),
            )
        self.assertEqual(
            [('VOL-STALE', 'stale', '', 'reset')],
            self.of({'attach_status': 'attached'}),
        )

    def test_nothing_is_known_to_hold_it(self) -> None:
        """A cell that is silent may."""
        self.assertEqual(
            [], self.of({'status': 'in-use'}, silent={'cell2': 'down'})
        )

    def test_it_may_be_under_way(self) -> None:
        for status in BETWEEN:
            for age in (5.0, None, -3600.0):
                self.assertEqual(
                    [('VOL-STALE', 'note', '', 'reset')],
                    self.of({'status': status, 'age': age}),
                )

    def test_server_or_mapping_is_gone(self) -> None:
        for status in ('in-use', *BETWEEN):
            volume = {'status': status, 'attachments': {'a': {}}}
            for given in (
                {},
                {'servers': {}, 'gone': ['web']},
                {'servers': {}},
            ):
                self.assertEqual(
                    [('VOL-ORPHAN', 'stale', 'web', 'detach-stale')],
                    self.of(volume, **given),
                )

    def test_its_server_may_be_in_another_cell(self) -> None:
        volume = {'attachments': {'a': {}}}
        self.assertEqual([], self.of(volume, servers={}, elsewhere=['web']))

    def test_one_of_several_servers_is_gone(self) -> None:
        volume = {
            'multiattach': True,
            'attachments': {'a': {}, 'b': {'server': 'gone'}},
            'mappings': {'web': {'attachment': 'a'}},
        }
        self.assertEqual(
            [('VOL-ORPHAN', 'stale', 'gone', 'detach-stale')],
            self.of(volume, gone=['gone']),
        )

    def test_export_failed(self) -> None:
        self.assertEqual(
            [('VOL-ERROR', 'stale', 'web', 'reset')],
            self.of({**ConsistentTest.LINKED, 'status': 'error'}),
        )

    def test_detach_that_never_ended(self) -> None:
        for status in ('detaching', 'error_detaching'):
            self.assertEqual(
                [('VOL-DETACHING', 'stale', 'web', 'reset')],
                self.of({**ConsistentTest.LINKED, 'status': status}),
            )

    def test_status_is_not_what_its_attachments_make_of_it(self) -> None:
        for status in ('available', 'reserved', 'attaching'):
            self.assertEqual(
                [('VOL-STATUS', 'stale', 'web', 'reset')],
                self.of({**ConsistentTest.LINKED, 'status': status}),
            )

    def test_attach_that_never_ended(self) -> None:
        for state in ('attaching', 'error_attaching'):
            for connected, remedy in (
                (True, 'reset'),
                (False, 'detach-stale'),
            ):
                volume = {
                    'status': state,
                    'attach_status': 'attaching',
                    'attachments': {'a': {'status': state}},
                    'mappings': {
                        'web': {'attachment': 'a', 'connected': connected}
                    },
                }
                self.assertEqual(
                    [('VOL-ATTACHING', 'stale', 'web', remedy)],
                    self.of(volume),
                )

    def test_an_attach_was_replayed(self) -> None:
        volume = {'mappings': {'web': {'connected': False}}}
        self.assertEqual(
            [('VOL-LEFTOVER', 'stale', 'web', 'detach-stale')], self.of(volume)
        )
        self.assertEqual(
            [('VOL-LEFTOVER', 'note', 'web', 'detach-stale')],
            self.of({**volume, 'age': 3.0}),
        )

    def test_mapping_of_a_deleted_server(self) -> None:
        volume = {'mappings': {'web': {'attachment': 'dead'}}}
        self.assertEqual(
            [('VOL-LEFTOVER', 'stale', 'web', 'detach-stale')],
            self.of(volume, servers={}, gone=['web']),
        )


class DangerTest(PolicyTest):
    """A reboot would lose the disk."""

    def test_cinder_does_not_know_the_attachment(self) -> None:
        for status in ('available', 'reserved', 'in-use', 'detaching'):
            for root in (False, True):
                volume = {
                    'status': status,
                    'mappings': {'web': {'attachment': 'dead', 'root': root}},
                }
                self.assertEqual(
                    [('VOL-UNLINKED', 'danger', 'web', 'attach')],
                    self.of(volume),
                )

    def test_a_root_without_an_attachment_is_never_a_leftover(self) -> None:
        volume = {'mappings': {'web': {'root': True, 'connected': False}}}
        self.assertEqual(
            [('VOL-UNLINKED', 'danger', 'web', 'attach')], self.of(volume)
        )

    def test_no_command_is_safe(self) -> None:
        mapped = {'web': {'attachment': 'dead'}}
        for volume, servers in (
            ({'status': 'error'}, {'web': {}}),
            ({'attachments': {'b': {'server': 'mail'}}},
             {'web': {}, 'mail': {}}),
            ({}, {'web': {'host': None, 'vm_state': 'shelved_offloaded'}}),
        ):  # fmt: skip
            found = self.of({**volume, 'mappings': mapped}, servers=servers)
            self.assertIn(('VOL-UNLINKED', 'danger', 'web', ''), found)

    def test_another_attachment_of_the_same_server_goes_first(self) -> None:
        found = self.of(
            {
                'attachments': {'b': {}},
                'mappings': {'web': {'attachment': 'dead'}},
            }
        )
        self.assertEqual(
            [
                ('VOL-UNLINKED', 'danger', 'web', 'detach-stale'),
                ('VOL-EXTRA', 'stale', 'web', 'detach-stale'),
            ],
            found,
        )

    def test_nova_has_no_connection(self) -> None:
        for attachment, mapping in (
            ({}, {'connected': False}),
            ({'status': 'reserved', 'connected': False}, {'connected': True}),
        ):
            volume = {
                'attachments': {'a': attachment},
                'mappings': {'web': {'attachment': 'a', **mapping}},
            }
            found = self.of(volume)
            self.assertEqual(
                ('VOL-NODATA', 'danger', 'web', 'attach'), found[0]
            )
            # nova brings it while it is at it
            busy = {'web': {'task_state': 'rebuild_block_device_mapping'}}
            self.assertEqual([], self.of(volume, servers=busy))

    def test_attachment_of_another_server(self) -> None:
        volume = {
            'attachments': {'a': {'server': 'mail'}},
            'mappings': {'web': {'attachment': 'a'}},
        }
        found = self.of(volume, servers={'web': {}, 'mail': {}})
        self.assertIn(('VOL-CROSSED', 'danger', 'web', ''), found)

    def test_the_volume_is_gone(self) -> None:
        for root, remedy in ((False, 'detach-stale'), (True, '')):
            volume = {
                'lost': True,
                'mappings': {'web': {'attachment': 'a', 'root': root}},
            }
            self.assertEqual(
                [('VOL-LOST', 'danger', 'web', remedy)], self.of(volume)
            )


class DerivedTest(TestCase):
    def test_as_cinder_does_it(self) -> None:
        for attachments, expected in (
            ((), ('available', 'detached')),
            (('attached',), ('in-use', 'attached')),
            (('reserved', 'attached'), ('in-use', 'attached')),
            (('reserved', 'attaching'), ('attaching', 'attaching')),
            (('detaching', 'reserved'), ('detaching', 'detaching')),
            (('reserved',), ('reserved', 'reserved')),
            (('error_attaching',), ('available', 'detached')),
        ):
            self.assertEqual(expected, situation.derived(attachments))


class FixTest(TestCase):
    def test_it_can_be_typed_as_it_is(self) -> None:
        for remedy, expected in (
            ('', ''),
            ('reset', 'openstack recovery volume reset V'),
            ('attach', 'openstack recovery volume attach S V'),
            ('detach-stale', 'openstack recovery volume detach-stale S V'),
        ):
            one = mismatch(
                'VOL-X', 'stale', 'V', 'in-use', 'S', 'cause', remedy
            )
            self.assertEqual(expected, one.fix)


class OtherHostTest(PolicyTest):
    """An attachment that was made for another host than the server's."""

    def made_for(
        self, host: str | None, bound: bool = True, **server: Any
    ) -> list[tuple[str, str, str, str]]:
        volume = {
            'attachments': {'a': {'host': host}},
            'mappings': {'web': {'attachment': 'a', 'host_bound': bound}},
        }
        return self.of(volume, servers={'web': server})

    def test_is_a_danger(self) -> None:
        self.assertEqual(
            [('VOL-HOST', 'danger', 'web', 'attach')],
            self.made_for('np-rcc99'),
        )

    def test_not_where_the_data_is_good_anywhere_or_nobody_knows(self) -> None:
        self.assertEqual([], self.made_for('np-rcc99', bound=False))
        self.assertEqual([], self.made_for(None))
        self.assertEqual([], self.made_for(situations.HOST))

    def test_not_while_a_migration_is_under_way(self) -> None:
        for server in ({'task_state': 'migrating'}, {'vm_state': 'resized'}):
            self.assertEqual([], self.made_for('np-rcc99', **server))


class TwiceTest(TestCase):
    """Two live mappings of one server and volume."""

    def both(self, *mappings: dict[str, Any]) -> situation.BothSides:
        found = situations.make(
            volumes={
                'data': {
                    'attachments': {'a': {}},
                    'mappings': {'web': {'attachment': 'a'}},
                }
            },
            servers={'web': {}},
        )
        (one,) = found.mappings
        return dataclasses.replace(
            found,
            mappings=tuple(
                dataclasses.replace(one, id=number, **fields)
                for number, fields in enumerate(mappings, 1)
            ),
        )

    def told(self, found: situation.BothSides) -> list[tuple[str, Any]]:
        return [(one.code, one.mapping) for one in policy.findings(found)]

    def test_the_empty_one_is_one_too_many(self) -> None:
        """Whichever is older; nothing else is wrong."""
        empty = {'attachment': None, 'connected': False, 'device': None}
        found = self.both(empty, {})
        self.assertEqual([('VOL-TWICE', 1)], self.told(found))
        self.assertEqual([('VOL-TWICE', 2)], self.told(self.both({}, empty)))
        (one,) = policy.findings(found)
        self.assertEqual('danger', one.severity)
        self.assertIn('mapping 1 is one too many, 2 is kept', one.cause)
        request = detach.Request('web', 'data')
        (step,) = detach.steps(request, found)
        self.assertEqual([1], [i.data['mapping'] for i in step.items])
        kept = attach.mapping_of(attach.Request('web', 'data'), found)
        self.assertEqual(2, kept.id if kept else None)

    def test_a_copy_of_the_boot_volume_s(self) -> None:
        found = self.both({'root': True}, {'root': True})
        self.assertEqual([('VOL-TWICE', 2)], self.told(found))
        (step,) = detach.steps(detach.Request('web', 'data'), found)
        self.assertEqual([2], [i.data['mapping'] for i in step.items])

    def test_one_that_cinder_does_not_have_gives_way(self) -> None:
        found = self.both({'attachment': 'gone'}, {})
        self.assertEqual([('VOL-TWICE', 1)], self.told(found))
