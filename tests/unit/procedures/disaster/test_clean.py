# SPDX-License-Identifier: Apache-2.0

"""Which changes of step 2 are left undone, and what follows in step 4."""

from __future__ import annotations

import dataclasses
from typing import Any

from nova_recovery.cloud.db.volumes import Access
from nova_recovery.procedures.disaster.plan import clean, reattach
from nova_recovery.procedures.disaster.plan.clean import Cleaned
from nova_recovery.procedures.disaster.plan.reattach import Reattached
from nova_recovery.procedures.disaster.request import Request
from nova_recovery.procedures.disaster.situation import Connection, Found
from nova_recovery.snapshot.mapfile import Line
from tests.base import TestCase
from tests.unit.procedures.disaster import situations
from tests.unit.procedures.volumes import situations as volumes

JSON = dict[str, Any]
KNOWN = {'host': situations.HOST}


def found(both: JSON, outside: tuple[str, ...] = (), **others: Any) -> Found:
    """Of server web; how hosts connect is known, and no guest runs.

    :param outside: live servers that are not in the scope
    """
    more = {
        name: others.pop(name)
        for name in ('runs', 'lines', 'access')
        if name in others
    }
    here = situations.make({'web': others.pop('web', {})}, **others)
    known = volumes.make(both, {'web': {}, **{one: {} for one in outside}})
    return Found(
        dataclasses.replace(here, volumes=known),
        claimable=frozenset({'cell1'}),
        connections={
            (one.server, one.volume): Connection(KNOWN, Access('rw'))
            for one in known.mappings
        },
        **{
            'runs': {'web': False},
            'access': {('web', one): Access('rw') for one in known.volumes},
            **more,
        },
    )


def cleaned(seen: Found) -> Cleaned:
    return clean.plan(Request(), seen)


class ScopeTest(TestCase):
    def assert_left(self, seen: Found) -> None:
        result = cleaned(seen)
        self.assertEqual((), result.items)
        self.assertIn(
            'server db has it too, and is not asked for', result.left['data']
        )

    def test_mapping_of_a_server_outside_is_not_mended(self) -> None:
        """It is not claimed, and nobody was asked about it."""
        both = {
            'data': {
                'multiattach': True,
                'attachments': {'a1': {}},
                'mappings': {
                    'web': {'attachment': 'a1'},
                    'db': {'attachment': 'gone'},
                },
            }
        }
        self.assert_left(found(both, ('db',)))

    def test_volume_that_is_of_another_server_by_now(self) -> None:
        both: JSON = {
            'data': {
                'status': 'detaching',
                'attachments': {'a1': {'server': 'db'}},
                'mappings': {'db': {'attachment': 'a1'}},
            }
        }
        self.assert_left(found(both, ('db',)))

    def test_attachment_of_a_server_outside(self) -> None:
        both: JSON = {
            'data': {
                'attachments': {'a1': {}, 'a2': {'server': 'db'}},
                'mappings': {'web': {'attachment': 'a1'}},
            }
        }
        self.assert_left(found(both, ('db',)))

    def test_danger_of_a_server_in_the_scope_stays_one(self) -> None:
        both = {
            'data': {
                'multiattach': True,
                'attachments': {'a1': {'server': 'db'}},
                'mappings': {
                    'web': {'attachment': 'gone'},
                    'db': {'attachment': 'a1'},
                },
            }
        }
        seen = found(both, ('db',))
        self.assert_left(seen)
        self.assertIn('not asked for', cleaned(seen).danger['web'])

    def test_servers_that_are_gone_are_outside_of_nothing(self) -> None:
        both: JSON = {
            'data': {
                'attachments': {'a1': {}, 'a2': {'server': 'deleted'}},
                'mappings': {'web': {'attachment': 'a1'}},
            }
        }
        seen = found(both)
        here = seen.situation
        assert here.volumes is not None
        gone = dataclasses.replace(
            here.volumes, gone=volumes.gone(['deleted'])
        )
        here = dataclasses.replace(here, volumes=gone)
        (item,) = cleaned(dataclasses.replace(seen, situation=here)).items
        self.assertEqual('a2', item.data['attachment'])


class LeftoverTest(TestCase):
    """A mapping that goes in step 2 is none in step 4."""

    def reattached(self, seen: Found) -> Reattached:
        return reattach.plan(Request(), seen, cleaned(seen), {'web'}, ())

    def test_attach_that_failed_since(self) -> None:
        seen = found(
            {'data': {'mappings': {'web': {'connected': False}}}},
            devices={'web': {'data': {}}},
        )
        (item,) = cleaned(seen).items
        self.assertEqual('drop-mapping', item.kind)
        reattached = self.reattached(seen)
        self.assertEqual(0, reattached.kept)
        self.assertEqual({}, reattached.left)
        self.assertEqual(
            ['attach-volume:data:web'], [one.id for one in reattached.items]
        )

    def test_attach_that_never_ended(self) -> None:
        both = {
            'data': {
                'status': 'attaching',
                'attach_status': 'attaching',
                'attachments': {'a1': {'status': 'attaching'}},
                'mappings': {'web': {'attachment': 'a1', 'connected': False}},
            }
        }
        seen = found(both, devices={'web': {'data': {}}})
        self.assertEqual(
            ['drop-mapping', 'drop-attachment'],
            [one.kind for one in cleaned(seen).items],
        )
        reattached = self.reattached(seen)
        self.assertEqual(
            (0, {}, 1),
            (reattached.kept, reattached.left, len(reattached.items)),
        )

    def test_mapping_of_another_server_that_is_gone(self) -> None:
        both: JSON = {'data': {'mappings': {'gone': {'connected': False}}}}
        seen = found(both, devices={'web': {'data': {}}})
        here = seen.situation
        assert here.volumes is not None
        here = dataclasses.replace(
            here,
            volumes=dataclasses.replace(
                here.volumes, gone=volumes.gone(['gone'])
            ),
        )
        reattached = self.reattached(dataclasses.replace(seen, situation=here))
        self.assertEqual(
            (0, {}, 1),
            (reattached.kept, reattached.left, len(reattached.items)),
        )

    def test_what_it_really_has_is_kept(self) -> None:
        both: JSON = {
            'data': {
                'attachments': {'a1': {}},
                'mappings': {'web': {'attachment': 'a1'}},
            }
        }
        reattached = self.reattached(
            found(both, devices={'web': {'data': {}}})
        )
        self.assertEqual(1, reattached.kept)
        self.assertEqual((), reattached.items)


class RootTest(TestCase):
    """A boot volume never comes back as a data volume."""

    def left(self, device: str, **others: Any) -> str:
        seen = found(
            {'disk': {}}, lines=(Line(1, 'disk', 'web', device),), **others
        )
        reattached = reattach.plan(Request(), seen, cleaned(seen), {'web'}, ())
        self.assertEqual(1, len(reattached.items) + len(reattached.left))
        return reattached.left.get(('disk', 'web'), '')

    def test_device_that_the_server_boots_from(self) -> None:
        """Neither nova nor the record has its mapping any more."""
        for device in ('/dev/vda', 'vda', '/dev/vda1'):
            self.assertIn('boots from /dev/vda', self.left(device))
        self.assertEqual('', self.left('/dev/vdb'))
        self.assertIn(
            'boots from sdc', self.left('/dev/sdc', web={'root_device': 'sdc'})
        )

    def test_nothing_tells_what_it_boots_from(self) -> None:
        lost = {'image': None, 'root_device': None}
        self.assertIn('name its device', self.left('auto', web=lost))
        self.assertIn('boots from', self.left('/dev/sda', web=lost))
        self.assertEqual('', self.left('/dev/vdb', web=lost))

    def test_another_volume_is_known_to_be_its_root(self) -> None:
        mapped = {'image': None, 'boots_from_volume': True}
        self.assertEqual('', self.left('auto', web=mapped))
        lost = {'image': None}
        recorded = {'web': {'root': {'root': True}}}
        self.assertEqual('', self.left('auto', web=lost, devices=recorded))
        self.assertEqual('', self.left('auto'))


class UnheldTest(TestCase):
    """A volume that nova maps is never made available."""

    def test_cinder_has_another_attachment_for_the_same_server(self) -> None:
        """Half of an evacuation; the boot volume would be free for all."""
        for root in (True, False):
            for named in ('x', None):
                mapping = {'root': root, 'attachment': named}
                both: JSON = {
                    'disk': {
                        'attachments': {'y': {}, 'z': {}},
                        'mappings': {'web': mapping},
                    }
                }
                result = cleaned(found(both))
                self.assertEqual((), result.items)
                self.assertEqual(frozenset(), result.free)
                self.assertIn('would not hold it', result.left['disk'])
                self.assertIn('would not hold it', result.danger['web'])

    def test_one_too_many_goes(self) -> None:
        both: JSON = {
            'disk': {
                'attachments': {'x': {}, 'y': {}},
                'mappings': {'web': {'root': True, 'attachment': 'x'}},
            }
        }
        (item,) = cleaned(found(both)).items
        self.assertEqual('y', item.data['attachment'])


class ReadOnlyTest(TestCase):
    """What a server could only read must not become writable."""

    def left(self, access: Access, **device: Any) -> str:
        """Why step 4 leaves it."""
        seen = found(
            {'data': {}},
            devices={'web': {'data': device}},
            access={('web', 'data'): access},
        )
        result = reattach.plan(Request(), seen, cleaned(seen), {'web'}, ())
        self.assertEqual(1, len(result.items) + len(result.left))
        return result.left.get(('data', 'web'), '')

    def test_one_that_was_read_only(self) -> None:
        why = self.left(Access('ro'), mode='rw')
        self.assertIn('it was attached read-only', why)
        self.assertIn('volume attach web data --mode rw', why)

    def test_nothing_tells(self) -> None:
        for access in (Access(''), Access(None)):
            self.assertIn('read-only is not known', self.left(access))

    def test_the_snapshot_tells(self) -> None:
        self.assertEqual('', self.left(Access(None), mode='rw'))
        self.assertIn('read-only', self.left(Access(None), mode='ro'))

    def test_one_that_cinder_attaches_read_only(self) -> None:
        self.assertEqual('', self.left(Access('ro', read_only=True)))

    def mended(self, access: Access) -> tuple[list[Any], str]:
        """The modes that step 2 makes attachments with, or why none."""
        both: JSON = {'data': {'mappings': {'web': {'attachment': 'gone'}}}}
        seen = found(both)
        seen = dataclasses.replace(
            seen, connections={('web', 'data'): Connection(KNOWN, access)}
        )
        result = cleaned(seen)
        modes = [one.data['mode'] for one in result.items]
        return modes, result.left.get('data', '')

    def test_a_lost_attachment_is_made_as_it_was(self) -> None:
        self.assertEqual((['ro'], ''), self.mended(Access('ro')))
        self.assertEqual((['rw'], ''), self.mended(Access('rw')))
        made, why = self.mended(Access(None))
        self.assertEqual([], made)
        self.assertIn('read-only is not known', why)
