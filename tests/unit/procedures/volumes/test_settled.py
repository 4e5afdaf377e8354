# SPDX-License-Identifier: Apache-2.0

"""Whether cinder may still be at a volume."""

from __future__ import annotations

from collections.abc import Callable
import datetime
import functools
import types
from typing import Any

from nova_recovery.cloud.db.rows import Reader
from nova_recovery.engine import overrides
from nova_recovery.engine.plan import Gate
from nova_recovery.procedures.volumes import detach, gates, read, reset
from nova_recovery.procedures.volumes import situation as situation_module
from tests.base import TestCase
from tests.unit.changes.case import Cloud, UUID, VOLUME
from tests.unit.procedures.volumes import situations

#: By cinder's clock, which need not be right.
LONG_AGO = datetime.datetime(2026, 11, 22)


class TestSettled(TestCase):
    def settled(self, age: float | None = 3600, **fields: Any) -> Any:
        fields = {'watched': None, 'age': age, **fields}
        both = situations.make({'v1': fields})
        return gates.settled(both.volumes['v1'], both.mapped('v1'))

    def test_an_override_holds_while_the_volume_gets_older(self) -> None:
        (given,) = overrides.apply(
            [self.settled(5)],
            overrides.parse_overrides(['not-under-way:v1=cinder is off']),
        )
        (now,) = overrides.as_approved([self.settled(100)], [given])
        self.assertEqual('overridden', now.state)

    def test_one_in_a_state_of_its_own_needs_no_second_look(self) -> None:
        for status in ('available', 'in-use', 'error', 'error_attaching'):
            self.assertEqual('ok', self.settled(status=status).state, status)

    def test_nova_maps_it_before_cinder_knows_of_an_attach(self) -> None:
        """So that no stamp of cinder's tells whether that just began."""
        new: Any = {'attachment': None, 'connected': False}
        for mappings in ({'web': new}, {'web': {}, 'db': new}):
            gate = self.settled(mappings=mappings)
            self.assertEqual('refused', gate.state, mappings)
            gate = self.settled(mappings=mappings, watched=120.0)
            self.assertEqual('ok', gate.state, mappings)
        for mappings in (
            {'web': {}, 'db': {}},
            # from before Queens
            {'web': {'attachment': None, 'connected': True}},
        ):
            self.assertEqual('ok', self.settled(mappings=mappings).state)

    def test_of_one_on_its_way_a_stamp_proves_nothing(self) -> None:
        for fields in (
            {'status': 'reserved'},
            {'status': 'attaching'},
            {'status': 'detaching'},
            {'attachments': {'a': {'status': 'detaching'}}},
            {'age': None},
            {'age': -3600},
        ):
            gate = self.settled(**fields)
            self.assertEqual('refused', gate.state, fields)
            self.assertIn('is not known', gate.observed)
            gate = self.settled(**fields, watched=120.0)
            self.assertEqual('ok', gate.state, fields)
            for short in (0.0, 119.9):
                gate = self.settled(**fields, watched=short)
                self.assertEqual('refused', gate.state, fields)

    def test_what_is_young_is_refused_at_once(self) -> None:
        for status in ('in-use', 'detaching'):
            gate = self.settled(status=status, age=5)
            self.assertEqual('refused', gate.state)
            self.assertIn('within the last 120 s', gate.observed)


class WatchTest(TestCase):
    """Two looks, as far apart as our own clock says.

    :ivar meanwhile: what happens between them
    :ivar slept: seconds
    """

    def setUp(self) -> None:
        super().setUp()
        self.cloud: Any = Cloud('nova34-nova', 'nova34-cinder')
        self.addCleanup(self.cloud.close)
        self.cinder = self.cloud.cinder
        self.cinder.add(
            'volumes', id=VOLUME, status='detaching', attach_status='attached',
            deleted=0, updated_at=LONG_AGO, volume_type_id='t', use_quota=1,
        )  # fmt: skip
        self.cinder.add(
            'volume_attachment', id='a1', volume_id=VOLUME, deleted=0,
            instance_uuid=UUID, attach_status='attached', updated_at=LONG_AGO,
        )  # fmt: skip
        self.now, self.slept = 1000.0, 0.0
        self.meanwhile: Callable[[], None] = lambda: None
        self.clock = types.SimpleNamespace(
            monotonic=lambda: self.now, sleep=self.sleep
        )
        self.patch(read, 'time', self.clock)
        self.patch(
            Reader,
            'now',
            lambda reader: LONG_AGO + datetime.timedelta(hours=1),
        )
        self.said: list[str] = []

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.now += seconds
        self.meanwhile()

    def watched(self) -> float | None:
        found = read.both_sides(self.cloud, [VOLUME])
        found = read.watch(
            self.cloud, found, [VOLUME], progress=self.said.append
        )
        return found.volumes[VOLUME].watched

    def test_one_that_stays_as_it_is(self) -> None:
        self.assertEqual(120, self.watched())
        self.assertEqual(120, self.slept)
        self.assertIn('watching 1 volume for 120 s', self.said[0])

    def test_a_clock_of_cinders_that_is_slow(self) -> None:
        """Its stamps look old however new they are."""
        later = [LONG_AGO + datetime.timedelta(seconds=n) for n in (1, 2)]
        for table, name, value in (
            ('volumes', 'updated_at', later[0]),
            ('volume_attachment', 'updated_at', later[1]),
            ('volumes', 'status', 'attaching'),
            ('volume_attachment', 'attach_status', 'detaching'),
            ('volume_attachment', 'deleted', 1),
        ):
            self.meanwhile = functools.partial(
                self.cinder.set, table, **{name: value}
            )
            self.assertEqual(0, self.watched(), name)

    def test_a_wait_that_was_cut_short(self) -> None:
        """What counts is how far apart they were."""
        self.clock.sleep = lambda seconds: None
        found = read.both_sides(self.cloud, [VOLUME])
        found = read.watch(self.cloud, found, [VOLUME])
        (gate,) = [gates.settled(one, ()) for one in found.volumes.values()]
        self.assertEqual('refused', gate.state)

    def test_an_attach_that_nova_has_just_begun(self) -> None:
        """Its mapping is watched, whatever state the volume is in."""
        self.cinder.set('volumes', status='available')
        self.cinder.set('volume_attachment', deleted=1)
        self.map(5)
        self.assertEqual(120, self.watched())
        self.meanwhile = lambda: self.map(6)
        self.assertEqual(0, self.watched())

    def map(self, number: int) -> None:
        self.cloud.cell.add(
            'block_device_mapping', id=number, deleted=0, instance_uuid=UUID,
            volume_id=VOLUME,
        )  # fmt: skip

    def test_both_sides_are_as_the_second_look_has_them(self) -> None:
        def meanwhile() -> None:
            self.cloud.cell.add(
                'instances', id=1, uuid=UUID, deleted=0, host='np-rcc4',
                hidden=0,
            )  # fmt: skip
            self.cloud.cell.add(
                'block_device_mapping', id=5, deleted=0, instance_uuid=UUID,
                volume_id=VOLUME, attachment_id='a1',
            )  # fmt: skip

        self.meanwhile = meanwhile
        found = read.both_sides(self.cloud, [VOLUME])
        self.assertEqual(situation_module.NEVER, found.fate(UUID))
        found = read.watch(self.cloud, found, [VOLUME])
        self.assertEqual(situation_module.LIVE, found.fate(UUID))
        self.assertEqual([5], [one.id for one in found.mapped(VOLUME)])

    def test_what_was_done_meanwhile_is_no_time_lost(self) -> None:
        found = read.both_sides(self.cloud, [VOLUME])
        self.now += 100
        found = read.watch(self.cloud, found, [VOLUME])
        self.assertEqual(20, self.slept)
        self.assertEqual(120, found.volumes[VOLUME].watched)

    def test_others_are_kept_as_they_were(self) -> None:
        found = situations.make({'v1': {'mappings': {'db': {}}}}, {'db': None})
        here = read.both_sides(self.cloud, [VOLUME])
        found = read.watch(
            self.cloud,
            situation_module.BothSides(
                {**found.volumes, **here.volumes},
                found.mappings,
                found.servers,
            ),
            [VOLUME, 'v1'],
        )
        self.assertEqual({'v1', VOLUME}, set(found.volumes))
        self.assertIsNone(found.volumes['v1'].watched)
        self.assertEqual('db', found.mapped('v1')[0].server)
        self.assertEqual({'db'}, set(found.servers))

    def test_nothing_is_watched_of_which_one_look_tells(self) -> None:
        request = detach.Request(UUID, VOLUME)
        for status, attached in (
            ('backing-up', 'detaching'),  # cinder's own
            ('in-use', 'attached'),  # stale, in a state of its own
        ):
            self.cinder.set('volumes', status=status)
            self.cinder.set('volume_attachment', attach_status=attached)
            reset.read(self.cloud, [VOLUME])
            detach.read(self.cloud, request)
        self.cinder.set('volumes', status='detaching')
        self.patch(Reader, 'now', lambda reader: LONG_AGO)  # young
        reset.read(self.cloud, [VOLUME])
        detach.read(self.cloud, request)
        self.assertEqual(0, self.slept)

    def test_what_is_stale_is_watched(self) -> None:
        seen = [
            reset.read(self.cloud, [VOLUME]).situation,
            detach.read(self.cloud, detach.Request(UUID, VOLUME)).situation,
        ]
        for one in seen:
            self.assertEqual(120, one.volumes[VOLUME].watched)
        self.assertEqual(240, self.slept)

    def test_what_was_planned_is_not_watched_again(self) -> None:
        """Its stamp of then says that it was let alone since."""
        request = detach.Request(UUID, VOLUME)
        plan = detach.make_plan(self.cloud, request)
        self.assertEqual(120, self.slept)

        def asked() -> Gate:
            (gate,) = [
                one
                for one in detach.check(plan, self.cloud, frozenset())
                if one.name == 'not-under-way'
            ]
            return gate

        self.assertEqual('ok', asked().state)
        self.cinder.set(
            'volumes', updated_at=LONG_AGO + datetime.timedelta(seconds=1)
        )
        self.assertEqual('refused', asked().state)
        # asking it once more would not help
        self.assertIn('make a new plan', asked().remedy)
        self.assertEqual(120, self.slept)

    def test_an_attach_that_began_since_the_plan(self) -> None:
        """Cinder's stamp knows nothing of it yet."""
        plan = detach.make_plan(self.cloud, detach.Request(UUID, VOLUME))
        self.map(6)
        states = {
            one.name: one.state
            for one in detach.check(plan, self.cloud, frozenset())
        }
        self.assertEqual('refused', states['not-under-way'])
