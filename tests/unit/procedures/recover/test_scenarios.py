# SPDX-License-Identifier: Apache-2.0

"""Each scenario folder: the plan that comes of it, as an operator reads it.

See ``scenarios`` for how a folder is read, and ``tests.unit.golden`` for how
``plan.txt`` is written anew.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib

import fixtures

from nova_recovery import changes
from nova_recovery.cli import show_plan
from nova_recovery.engine.plan import Plan
from nova_recovery.procedures.recover import procedure
from nova_recovery.procedures.recover.situation import Request, Situation
from tests.base import TestCase
from tests.unit import golden, plans
from tests.unit.procedures.recover import scenarios


def shown(plan: Plan) -> str:
    """The plan as it is on a screen of 100 columns, without its digest."""
    lines = show_plan.lines(plan, changes.registry(), 100, every=True)
    text = '\n'.join(line.plain for line in lines) + '\n'
    for digest in (plan.digest, plan.digest[: show_plan.SHORT]):
        text = text.replace(digest, '…')
    return text


def backwards(found: Situation) -> Situation:
    """The same, had the databases answered in another order."""
    return dataclasses.replace(
        found,
        hosts=dict(reversed(found.hosts.items())),
        servers=tuple(reversed(found.servers)),
    )


class ScenarioTest(TestCase):
    """One test for each folder; they are added below."""

    def check(self, folder: pathlib.Path) -> None:
        request, found = scenarios.load(folder)
        found = scenarios.fenced(request, found)
        plan = plans.checked(procedure.decide(request, found))
        golden.compare(self, folder / 'plan.txt', shown(plan))
        self.check_is_plain_data(plan, request)
        self.check_order_is_of_no_account(plan, request, found)
        self.check_what_refused_it_still_refuses(plan, found)

    def check_is_plain_data(self, plan: Plan, request: Request) -> None:
        for item in plan.items():
            data = json.loads(json.dumps(item.data))
            self.assertEqual(item.data, data)
        ids = [item.id for item in plan.items()]
        self.assertEqual(sorted(set(ids)), sorted(ids))
        arguments = json.loads(json.dumps(plan.arguments))
        self.assertEqual(request, procedure.from_arguments(arguments))

    def check_order_is_of_no_account(
        self, plan: Plan, request: Request, found: Situation
    ) -> None:
        again = procedure.decide(request, backwards(found))
        self.assertEqual(plan.digest, again.digest)
        self.assertEqual(plan.gates, again.gates)

    def check_what_refused_it_still_refuses(
        self, plan: Plan, found: Situation
    ) -> None:
        """The gates of an unchanged cloud, asked again."""
        with (
            fixtures.MonkeyPatch(
                'nova_recovery.procedures.recover.read.read',
                lambda *arguments, **more: found,
            ),
            fixtures.MonkeyPatch(
                'nova_recovery.fencing.load', lambda *arguments: None
            ),
        ):
            again = procedure.check(plan, scenarios.cloud(), frozenset())
        self.assertEqual(plan.blocked, any(gate.blocks for gate in again))
        # Only these differ: a server without a target has no items.
        forgotten = [g for g in again if g.name == 'server-planned']
        same = [gate for gate in again if gate not in forgotten]
        if forgotten:
            self.assertLessEqual(set(same), set(plan.gates))
        else:
            self.assertCountEqual(plan.gates, same)


def _add_tests() -> None:
    for folder in sorted(scenarios.FOLDERS.iterdir()):

        def test(self: ScenarioTest, folder: pathlib.Path = folder) -> None:
            self.check(folder)

        test.__doc__ = None
        setattr(ScenarioTest, f'test_{folder.name}', test)


_add_tests()
