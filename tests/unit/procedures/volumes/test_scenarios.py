# SPDX-License-Identifier: Apache-2.0

"""Each scenario folder: what is found, and the plan that comes of it.

``situation.yaml`` is as in ``situations``, with what the outside says
(``compute``, ``runs``, ``connector``); ``plan.txt`` is what an operator
reads. See ``tests.unit.golden`` for how it is written anew.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any
from unittest import mock

import fixtures
import yaml

from nova_recovery import changes, procedures
from nova_recovery.cli import show_plan
from nova_recovery.cloud.db.volumes import Access
from nova_recovery.engine import overrides as overrides_module
from nova_recovery.engine.plan import Plan
from nova_recovery.fencing import Status
from nova_recovery.procedures.volumes import (
    attach,
    detach,
    gates,
    policy,
    reset,
)
from nova_recovery.procedures.volumes.gates import Outside
from tests.base import TestCase
from tests.unit import golden, plans
from tests.unit.procedures.volumes import situations

FOLDERS = pathlib.Path(__file__).parents[3] / 'scenarios' / 'volumes'
MODULES: dict[str, Any] = {
    'attach': attach,
    'detach-stale': detach,
    'reset': reset,
}


def load(folder: pathlib.Path) -> tuple[Any, Any, Any, Any]:
    """The module, what was asked for, what was found, the overrides."""
    asked = yaml.safe_load((folder / 'request.yaml').read_text())
    given = yaml.safe_load((folder / 'situation.yaml').read_text())
    outside = Outside(
        compute=given.pop('compute', 'up'),
        runs=given.pop('runs', None),
        claimable=True,
        elsewhere=given.pop('elsewhere', ''),
    )
    connector = given.pop('connector', None)
    access = Access(**given.pop('access', {'mode': 'rw'}))
    found = situations.make(**given)
    module = MODULES[asked.pop('command')]
    words = asked.pop('override', [])
    request: Any
    if module is reset:
        request = reset.Request(tuple(asked['volumes']))
        servers = dict.fromkeys(found.servers, outside)
        return module, request, reset.Situation(found, servers), words
    if module is detach:
        request = detach.Request(**asked)
        return module, request, detach.Situation(found, outside), words
    request = attach.Request(**asked)
    return (
        module,
        request,
        attach.Situation(found, outside, connector, access),
        words,
    )


def shown(found: Any, plan: Plan) -> str:
    """Findings, and the plan on a screen of 100 columns."""
    text = ''.join(
        f'{one.code}  {one.severity}  {one.volume}  {one.server}\n'
        f'  {one.cause}\n' + (f'  {one.fix}\n' if one.fix else '')
        for one in policy.findings(found)
    )
    lines = show_plan.lines(plan, changes.registry(), 100, every=True)
    text += '\n' + '\n'.join(line.plain for line in lines) + '\n'
    for digest in (plan.digest, plan.digest[: show_plan.SHORT]):
        text = text.replace(digest, '…')
    return text


class ScenarioTest(TestCase):
    """One test for each folder; they are added below."""

    def check(self, folder: pathlib.Path) -> None:
        module, request, found, words = load(folder)
        plan = plans.checked(module.decide(request, found))
        overrides = overrides_module.parse_overrides(words)
        gates = overrides_module.apply(plan.gates, overrides)
        plan = dataclasses.replace(plan, gates=gates)
        golden.compare(self, folder / 'plan.txt', shown(found.situation, plan))
        self.check_is_plain_data(plan)
        self.check_what_refused_it_still_refuses(module, plan, found)
        self.check_it_is_claimed(plan)

    def check_is_plain_data(self, plan: Plan) -> None:
        for item in plan.items():
            self.assertEqual(item.data, json.loads(json.dumps(item.data)))
            self.assertIn(item.kind, changes.registry())
        ids = [item.id for item in plan.items()]
        self.assertEqual(sorted(set(ids)), sorted(ids))
        json.dumps(plan.arguments)

    def check_what_refused_it_still_refuses(
        self, module: Any, plan: Plan, found: Any
    ) -> None:
        """The gates of an unchanged cloud, asked again."""
        plan = dataclasses.replace(
            plan, arguments=json.loads(json.dumps(plan.arguments))
        )
        with fixtures.MonkeyPatch(
            f'{module.__name__}.read', lambda *arguments: found
        ):
            now = procedures.check_gates(plan, mock.Mock())
            touched = frozenset(item.subject for item in plan.items())
            later = procedures.check_gates(plan, mock.Mock(), touched)
        again = overrides_module.as_approved(now, plan.gates)
        self.assertCountEqual(plan.gates, again)
        # What a run has begun with is in between: it goes on from there.
        self.assertEqual(
            [], [one for one in later if f'volume:{one.subject}' in touched]
        )

    def check_it_is_claimed(self, plan: Plan) -> None:
        """What is done to a live server is done under a claim."""
        kinds = [item.kind for item in plan.items()]
        if 'claim-server' in kinds:
            self.assertEqual('claim-server', kinds[0])
            self.assertEqual('release-server', kinds[-1])
            self.assertIn(
                next(plan.items()).subject, list(plan.items())[-2].follows
            )


class ModeTest(TestCase):
    """What a server could only read must not become writable."""

    def ask(
        self, scenario: str, access: Access, mode: str | None = None
    ) -> tuple[set[str], list[Any]]:
        """The gates that block, and the modes of what is made."""
        _, request, found, _ = load(FOLDERS / scenario)
        request = dataclasses.replace(request, mode=mode)
        found = dataclasses.replace(found, access=access)
        plan = attach.decide(request, found)
        return (
            {
                f'{gate.name} {gate.state}'
                for gate in plan.gates
                if gate.blocks
            },
            [one.data['mode'] for one in plan.items() if 'mode' in one.data],
        )

    def test_through_nova(self) -> None:
        lost = 'attach_what_nova_lost'
        for access, asked, blocks in (
            (Access('ro'), None, {'mode-known refused'}),
            (Access(''), None, {'mode-known unknown'}),
            (Access('rw'), None, set()),
            # a server that never had it
            (Access(None), None, set()),
            (Access('ro'), 'rw', set()),
            (Access('rw'), 'ro', {'mode-known refused'}),
            (Access('ro', read_only=True), None, set()),
        ):
            self.assertEqual((blocks, []), self.ask(lost, access, asked))

    def test_under_a_mapping(self) -> None:
        lost = 'attach_a_boot_volume_under_its_mapping'
        for access, asked, wanted in (
            (Access('ro'), None, (set(), ['ro'])),
            (Access('rw'), None, (set(), ['rw'])),
            (Access('rw'), 'ro', (set(), ['ro'])),
            (Access(None), 'rw', (set(), ['rw'])),
            (Access('rw', read_only=True), 'rw', (set(), ['ro'])),
        ):
            self.assertEqual(wanted, self.ask(lost, access, asked))
        for access in (Access(''), Access(None)):
            blocks, _ = self.ask(lost, access)
            self.assertEqual({'mode-known unknown'}, blocks)


class GoneTest(TestCase):
    """The guest of a server that was deleted without its host."""

    def gate(self, runs: bool | None, **attachment: Any) -> list[str]:
        found = situations.make(
            {'data': {'attachments': {'a1': attachment}}},
            gone={'web': {'power_state': 1}},
        )
        return [
            gate.state
            for gate in detach.gates(
                detach.Request('web', 'data'),
                detach.Situation(found, Outside(runs=runs)),
                frozenset(),
            )
            if gate.name == 'guest-off'
        ]

    def test_its_host_is_off(self) -> None:
        self.assertEqual(['unknown'], self.gate(None))
        self.assertEqual(['ok'], self.gate(False))

    def test_what_it_never_had_connected(self) -> None:
        self.assertEqual([], self.gate(None, status='reserved'))
        self.assertEqual([], self.gate(None, host='np-rcc46'))
        self.assertEqual(['unknown'], self.gate(None, host=None))

    def outside(self, state: str, **fields: Any) -> tuple[Any, list[str]]:
        """What is known of it, and the hosts that were asked about."""
        asked: list[str] = []

        def status(host: str) -> Status:
            asked.append(host)
            return Status(state, '')

        driver = mock.Mock(status=status)
        self.patch(gates.fencing, 'load', lambda conf, words: driver)
        (gone,) = situations.gone({'web': fields}).values()
        return gates.outside(mock.Mock(), None, gone).runs, asked

    def test_fencing_is_asked_where_it_may_run(self) -> None:
        runs = {'power_state': 1}
        self.assertEqual((False, ['np-rcc4']), self.outside('off', **runs))
        self.assertEqual((None, ['np-rcc4']), self.outside('on', **runs))
        self.assertEqual((None, ['np-rcc4']), self.outside('unknown', **runs))

    def test_nobody_is_asked_where_it_can_not(self) -> None:
        for fields in ({'power_state': 0}, {'power_state': 4}, {'host': None}):
            self.assertEqual((None, []), self.outside('on', **fields))
            (gone,) = situations.gone({'web': fields}).values()
            self.assertTrue(gates.ended(gone))
        for state in (1, 3, 7, None):
            (gone,) = situations.gone({'web': {'power_state': state}}).values()
            self.assertFalse(gates.ended(gone))


class ClaimTest(TestCase):
    def gates(
        self,
        touched: frozenset[str] = frozenset(),
        scenario: str = 'attach_what_nova_lost',
        **outside: str,
    ) -> set[str]:
        module, request, found, _ = load(FOLDERS / scenario)
        if module is reset:
            found = dataclasses.replace(
                found, movers={'web': outside['mover']}
            )
        else:
            found = dataclasses.replace(
                found, outside=dataclasses.replace(found.outside, **outside)
            )
        return {
            gate.name
            for gate in module.gates(request, found, touched)
            if gate.blocks
        }

    def test_somebody_else_works_on_the_server(self) -> None:
        self.assertEqual({'unclaimed'}, self.gates(holder='run=x'))

    def test_a_run_that_was_killed_after_its_claim_goes_on(self) -> None:
        touched = frozenset({'server:web'})
        self.assertEqual(
            set(), self.gates(touched, holder='run=x', mover='run=y')
        )

    def test_a_run_that_moves_the_server_has_its_volumes_in_hand(self) -> None:
        for scenario in (
            'attach_what_nova_lost',
            'detach_what_a_replayed_message_left',
            'reset_after_a_failed_export',
        ):
            with self.subTest(scenario):
                self.assertIn(
                    'not-moved-now',
                    self.gates(scenario=scenario, mover='run=y'),
                )


def _add_tests() -> None:
    for folder in sorted(FOLDERS.iterdir()):

        def test(self: ScenarioTest, folder: pathlib.Path = folder) -> None:
            self.check(folder)

        test.__doc__ = None
        setattr(ScenarioTest, f'test_{folder.name}', test)


_add_tests()
