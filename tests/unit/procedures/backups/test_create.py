# SPDX-License-Identifier: Apache-2.0

"""What is backed up, in which order, and what refuses."""

from __future__ import annotations

import dataclasses
import datetime
import json
from typing import Any

from nova_recovery.cloud.db.backups import Backup, Inventory, Volume
from nova_recovery.cloud.records import Service
from nova_recovery.engine.plan import Plan
from nova_recovery.procedures.backups import create
from nova_recovery.procedures.backups.create import Request, Situation
from nova_recovery.procedures.backups.read import Outside, Scope
from tests.base import TestCase
from tests.unit import plans

NOW = datetime.datetime(2026, 5, 4, 12)
UP = Service(
    binary='cinder-backup',
    host='volumes',
    cell='cinder',
    zone='nova',
    state='up',
)
OUTSIDE = Outside(
    backup=(UP,),
    volume=(dataclasses.replace(UP, host='volumes@lvm'),),
    project='ours',
    room={'backups': None, 'gigabytes': None},
)


def volume(name: str, **given: Any) -> Volume:
    return Volume(
        **{
            'id': name,
            'name': name,
            'project': 'theirs',
            'status': 'available',
            'size': 10,
            'backend': 'volumes@lvm',
            'zone': 'nova',
            **given,
        }
    )


def backup(of: str, days: int) -> Backup:
    return Backup(
        f'of-{of}-{days}', of, 'ours', 'available', None,
        NOW - datetime.timedelta(days=days), 10,
    )  # fmt: skip


class TestCreate(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.volumes: list[Volume] = []
        self.backups: dict[str, tuple[Backup, ...]] = {}
        self.outside: Outside | str = OUTSIDE

    def plan(self, **given: Any) -> Plan:
        request = Request(**{'scope': Scope(), 'limit': 7 * 86400, **given})
        found = Inventory(
            {one.id: one for one in self.volumes}, self.backups, NOW
        )
        made = create.decide(request, Situation(found, self.outside))
        return plans.checked(made)

    def names(self, **given: Any) -> list[str]:
        return [item.label for item in self.plan(**given).items()]

    def blocking(self, **given: Any) -> dict[str, str]:
        """Gate -> subject, of those that don't let the plan pass."""
        gates = self.plan(**given).gates
        return {gate.name: gate.subject for gate in gates if gate.blocks}

    def test_the_neediest_first(self) -> None:
        self.volumes = [volume(n) for n in ('young', 'old', 'older', 'never')]
        self.backups = {
            'young': (backup('young', 1),),
            'old': (backup('old', 8),),
            'older': (backup('older', 80),),
        }
        self.assertEqual(['never', 'older', 'old'], self.names())
        self.assertEqual(['never', 'older'], self.names(at_most=2))
        self.assertIn('1 more', ' '.join(self.plan(at_most=2).notes))
        self.assertEqual(['never', 'older'], self.names(limit=8 * 86400))

    def test_limits_are_by_back_end_and_everywhere(self) -> None:
        self.volumes = [volume('a')]
        (step,) = self.plan(per_backend=3, everywhere=5).steps
        self.assertEqual(({'backend': 3}, 5), (step.limits, step.at_a_time))
        self.assertIn('backend', step.items[0].data)

    def test_in_use(self) -> None:
        self.volumes = [volume('a'), volume('used', status='in-use')]
        self.assertIn('not-in-use', self.blocking())
        forced = self.plan(in_use='force')
        self.assertFalse(forced.blocked)
        self.assertIn('crash-consistent', ' '.join(forced.notes))
        self.assertTrue(all(i.data['force'] for i in forced.items()))
        skipped = self.plan(in_use='skip')
        self.assertFalse(skipped.blocked)
        (one,) = skipped.left_out
        self.assertEqual('volume:used', one.subject)

    def test_a_state_that_cinder_refuses(self) -> None:
        self.volumes = [volume('a'), volume('broken', status='error')]
        self.assertEqual({}, self.blocking())
        (one,) = self.plan().left_out
        self.assertEqual('volume:broken', one.subject)
        self.assertIn('it is error', one.why)
        named = Scope(volumes=('broken',))
        self.assertEqual(
            {'volume-state': 'broken'}, self.blocking(scope=named)
        )

    def test_incremental_where_there_is_a_full_one(self) -> None:
        self.volumes = [volume('has'), volume('new')]
        self.backups = {'has': (backup('has', 9),)}
        new, has = self.plan(incremental=True).items()
        self.assertEqual('of-has-9', has.data['base'])
        self.assertIsNone(new.data['base'])
        self.assertIn('none to build on', new.data['why_full'])
        self.assertEqual(
            [None, None], [item.data['base'] for item in self.plan().items()]
        )

    def test_services(self) -> None:
        self.volumes = [volume('a'), volume('b', zone='other')]
        self.assertEqual({'backup-service': 'other'}, self.blocking())
        self.volumes = [volume('a')]
        for state, disabled in (('down', False), ('up', True)):
            one = dataclasses.replace(UP, state=state, disabled=disabled)
            self.outside = dataclasses.replace(OUTSIDE, backup=(one,))
            self.assertEqual({'backup-service': 'nova'}, self.blocking())
        for known in ((), (dataclasses.replace(UP, state='down'),)):
            self.outside = dataclasses.replace(OUTSIDE, volume=known)
            self.assertEqual({'back-end-up': 'volumes@lvm'}, self.blocking())
        self.outside = 'cinder does not answer'
        self.assertEqual({'cinder-answers': ''}, self.blocking())

    def test_quota(self) -> None:
        self.volumes = [volume('a'), volume('b')]
        for room, short in (
            ({'backups': 2, 'gigabytes': 20}, False),
            ({'backups': 1, 'gigabytes': None}, True),
            ({'backups': None, 'gigabytes': 19}, True),
        ):
            self.outside = dataclasses.replace(OUTSIDE, room=room)
            self.assertEqual(short, 'quota' in self.blocking())

    def test_arguments_are_enough_to_check_again(self) -> None:
        self.volumes = [volume('a')]
        scope = Scope(project='p', volumes=('a',))
        plan = self.plan(scope=scope, in_use='skip', at_most=4)
        arguments = json.loads(json.dumps(plan.arguments))
        self.assertEqual(
            Request(scope, 7 * 86400, 4, in_use='skip'),
            create._request(arguments),
        )
