# SPDX-License-Identifier: Apache-2.0

"""Each scenario folder: what a power loss left, and the plan of it.

``situation.yaml`` is as in ``situations``; what else was found stands under
``found``. ``plan.txt`` is what an operator reads; see ``tests.unit.golden``
for how it is written anew.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import pathlib
from typing import Any
from unittest import mock

import fixtures
import yaml

from nova_recovery import changes, procedures
from nova_recovery.cli import show_plan
from nova_recovery.cloud.db.volumes import Access, Pair
from nova_recovery.engine import overrides as overrides_module
from nova_recovery.engine.findings import Finding
from nova_recovery.engine.plan import Item, LeftOut, Plan, Step
from nova_recovery.procedures.disaster import procedure, scope
from nova_recovery.procedures.disaster import request as request_module
from nova_recovery.procedures.disaster.before_queens.cleaning import Cleaning
from nova_recovery.procedures.disaster.plan import decide
from nova_recovery.procedures.disaster.situation import (
    Connection,
    Dump,
    Found,
    Situation,
)
from nova_recovery.procedures.guests import reboot
from nova_recovery.procedures.guests.reach import Address, Reach
from nova_recovery.procedures.whereabouts import Perhaps, Whereabouts
from nova_recovery.snapshot.mapfile import Line
from tests.base import TestCase
from tests.unit import golden, plans
from tests.unit.procedures.disaster import situations
from tests.unit.procedures.volumes import situations as volumes

JSON = dict[str, Any]
FOLDERS = pathlib.Path(__file__).parents[3] / 'scenarios' / 'disaster'
#: Whatever was lost, it can't have been in it.
DUMP = {'modified': '2026-11-22T15:00', 'size': 5, 'sha256': 'ab' * 32}


def load(
    folder: pathlib.Path,
) -> tuple[request_module.Request, Found, list[str]]:
    """What was asked for, what was found, the overrides."""
    asked = yaml.safe_load((folder / 'request.yaml').read_text()) or {}
    given = yaml.safe_load((folder / 'situation.yaml').read_text()) or {}
    words = asked.pop('override', [])
    area = asked.pop('scope', {})
    more = given.pop('found', {})
    request = request_module.Request(
        scope=scope.of(area),
        guests=reboot.Request(**asked.pop('guests', {})),
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in asked.items()
        },
    )
    return request, _found(given | {'scope': area}, more), words


def _found(given: JSON, more: JSON) -> Found:
    here = situations.make(**given)
    gone = volumes.gone(more.pop('deleted', ()))
    if gone and here.volumes:
        here = dataclasses.replace(
            here, volumes=dataclasses.replace(here.volumes, gone=gone)
        )
    dump = more.pop('dump', DUMP)
    if dump is not None:
        dump = {**DUMP, **dump}
        dump['modified'] = datetime.datetime.fromisoformat(dump['modified'])
        dump = Dump('/backup/nova.sql', **dump)
    lines = more.pop('lines', None)
    reach = {
        uuid: Reach(
            tuple(
                Address(address, (network, network), floating)
                for address, network, floating in addresses
            )
        )
        for uuid, addresses in more.pop('reach', {}).items()
    }
    age = more.pop('age', [])
    told = more.pop('told', None)
    old = more.pop('legacy', None)
    places = {
        uuid: Whereabouts(
            situations.HOST,
            tuple(Perhaps(*one) for one in fields.get('perhaps', ())),
            tuple(fields.get('unknown', ())),
        )
        for uuid, fields in more.pop('places', {}).items()
    }
    return Found(
        situation=here,
        versions=more.pop('versions', {'nova': '2.104', 'cinder': '3.71'}),
        claimable=frozenset({'cell1'}),
        connections={
            tuple(pair.split()): Connection(connector, Access('rw'))
            for pair, connector in more.pop('connections', {}).items()
        },
        access=_access(here, more),
        holes=tuple(more.pop('holes', ())),
        age=tuple(Finding(*row) for row in age) if here.recorded else None,
        dump=dump,
        reach=reach,
        places=places,
        lines=None if lines is None else tuple(Line(*line) for line in lines),
        legacy=None if old is None else _legacy(old),
        told=None if told is None else tuple(Finding(**row) for row in told),
        **more,
    )


def _access(here: Situation, more: JSON) -> dict[Pair, Access]:
    """They could write, but for what ``access`` says."""
    given = more.pop('access', {})
    pairs = {
        (server, volume)
        for server in here.servers
        for volume in (here.volumes.volumes if here.volumes else ())
    }
    return {
        pair: Access(**given.get(' '.join(pair), {'mode': 'rw'}))
        for pair in pairs
    }


def _legacy(old: JSON) -> Cleaning:
    items = tuple(Item(*words) for words in old['items'])
    step = Step('clean', 'clean', items, number=2)
    return Cleaning(
        old['layout'],
        (step,),
        tuple(LeftOut(s, '', why) for s, why in old['left_out'].items()),
        tuple(old['notes']),
        frozenset(old.get('servers', ())),
    )


def shown(plan: Plan) -> str:
    """The plan on a screen of 100 columns."""
    lines = show_plan.lines(plan, changes.registry(), 100, every=True)
    text = '\n'.join(line.plain for line in lines) + '\n'
    for digest in (plan.digest, plan.digest[: show_plan.SHORT]):
        text = text.replace(digest, '…')
    return text


class ScenarioTest(TestCase):
    """One test for each folder; they are added below."""

    def check(self, folder: pathlib.Path) -> None:
        request, found, words = load(folder)
        plan = plans.checked(decide.decide(request, found))
        overrides = overrides_module.parse_overrides(words)
        gates = overrides_module.apply(plan.gates, overrides)
        plan = dataclasses.replace(plan, gates=gates)
        golden.compare(self, folder / 'plan.txt', shown(plan))
        self.check_is_plain_data(plan, request)
        self.check_what_refused_it_still_refuses(plan, found)
        self.check_the_order(plan)
        self.check_it_is_claimed(plan, found)

    def check_is_plain_data(
        self, plan: Plan, request: request_module.Request
    ) -> None:
        for item in plan.items():
            self.assertEqual(item.data, json.loads(json.dumps(item.data)))
            self.assertIn(item.kind, changes.registry())
        ids = [item.id for item in plan.items()]
        self.assertEqual(sorted(set(ids)), sorted(ids))
        self.assertEqual(
            request, request_module.of(json.loads(json.dumps(plan.arguments)))
        )

    def check_what_refused_it_still_refuses(
        self, plan: Plan, found: Found
    ) -> None:
        """The gates of an unchanged cloud, asked again."""
        with (
            fixtures.MonkeyPatch(
                f'{procedure.__name__}.gather.read_all',
                lambda *arguments, **options: found,
            ),
            fixtures.MonkeyPatch(
                f'{procedure.__name__}.ready.rows',
                lambda *arguments: found.told,
            ),
        ):
            now = procedures.check_gates(plan, mock.Mock())
        again = overrides_module.as_approved(now, plan.gates)
        self.assertCountEqual(plan.gates, again)

    def check_the_order(self, plan: Plan) -> None:
        """The guide's; a server follows its volumes, and they follow it."""
        numbers = [step.number for step in plan.steps if step.number]
        self.assertEqual(sorted(numbers), numbers)
        if plan.steps:
            self.assertEqual({1, 2, 3, 4, 5}, set(numbers))
        place = {item.id: n for n, item in enumerate(plan.items())}
        restarts = [i for i in plan.items() if i.kind == 'restart-server']
        for item in restarts:
            for other in plan.items():
                if other.subject in item.follows:
                    self.assertLess(
                        place[other.id]
                        if other.kind != 'attach-volume'
                        else -1,
                        place[item.id],
                    )

    def check_it_is_claimed(self, plan: Plan, found: Found) -> None:
        """What is done to a live server is done under a claim."""
        claimed = {i.subject for i in plan.items() if i.kind == 'claim-server'}
        for item in plan.items():
            for subject in (item.subject, *item.follows):
                kind, _, uuid = subject.partition(':')
                if kind == 'server' and uuid in found.situation.servers:
                    self.assertIn(subject, claimed)
        released = {
            i.subject for i in plan.items() if i.kind == 'release-server'
        }
        self.assertEqual(claimed, released)


class AgainTest(TestCase):
    """The gates of what is left of a run."""

    def test_one_that_is_claimed_only_may_have_gone_elsewhere(self) -> None:
        request, found, _ = load(FOLDERS / 'a_cloud_comes_back')
        plan = decide.decide(request, found, '')
        restarts = [i for i in plan.items() if i.kind == 'restart-server']
        uuid = restarts[0].data['uuid']
        host = found.situation.servers[uuid].host
        moved = Whereabouts(host, (Perhaps('np-rcc99', 'it was cut off'),))
        found = dataclasses.replace(found, places={uuid: moved})
        touched = frozenset(item.subject for item in plan.items())

        def refused(left: Plan) -> list[str]:
            with fixtures.MonkeyPatch(
                f'{procedure.__name__}.gather.read_all',
                lambda *arguments, **options: found,
            ):
                gates = procedures.check_gates(left, mock.Mock(), touched)
            return [g.name for g in gates if g.blocks and g.klass == 'hard']

        self.assertEqual(['guest-only-here'], refused(plan))
        # what was restarted already is not held back by it
        self.assertEqual([], refused(plan.remaining([restarts[0].id])))


def _add_tests() -> None:
    for folder in sorted(FOLDERS.iterdir()):

        def test(self: ScenarioTest, folder: pathlib.Path = folder) -> None:
            self.check(folder)

        test.__doc__ = None
        setattr(ScenarioTest, f'test_{folder.name}', test)


_add_tests()
