# SPDX-License-Identifier: Apache-2.0

"""server reboot-guest: the plan, and what speaks against it."""

from __future__ import annotations

from typing import Any

from nova_recovery.engine.plan import Plan
from nova_recovery.procedures.guests import reboot
from nova_recovery.procedures.guests.reach import Address, Reach
from nova_recovery.procedures.guests.reboot import Request, Situation
from tests.base import TestCase
from tests.unit import plans
from tests.unit.procedures import rows

TIMES = {'connect': 1, 'answer': 2, 'reach': 3, 'settle': 4, 'patience': 5}
REACH = Reach((Address('10.0.0.5', ('demo-net', 'n1')),))


def decided(reach: Reach = REACH, **values: Any) -> Plan:
    found = {'holders': {}, 'movers': {}}
    for name in list(found):
        found[name] = values.pop(name, {})
    server = rows.server(**{'vm_state': 'active', **values})
    request = Request(
        ssh=True, servers=(server.uuid,), keys={'user': 'recovery_user'},
        times=TIMES,
    )  # fmt: skip
    plan = reboot.decide(
        request,
        Situation(
            servers=(server,),
            metadata={server.uuid: {'recovery_user': 'debian'}},
            reach={server.uuid: reach},
            **found,
        ),
        per_host=3,
    )
    return plans.checked(plan)


class TestPlan(TestCase):
    def test_the_claim_is_kept_while_the_guest_is_in_doubt(self) -> None:
        plan = decided()
        claim, guest, release = plan.items()
        self.assertEqual(
            ['claim-server', 'reboot-guest', 'release-server'],
            [item.kind for item in plan.items()],
        )
        self.assertEqual('debian', guest.data['user'])
        self.assertEqual((claim.subject,), guest.follows)
        self.assertEqual((guest.subject,), release.follows)
        self.assertEqual({'host': 3}, plan.steps[1].limits)
        self.assertFalse(plan.blocked)

    def test_no_way_in(self) -> None:
        plan = decided(Reach())
        self.assertEqual([], list(plan.items()))
        (one,) = plan.left_out
        self.assertIn('it has no address', one.why)

    def test_what_refuses_it(self) -> None:
        for name, values in (
            ('guest-runs', {'vm_state': 'stopped'}),
            ('guest-runs', {'task_state': 'rebooting'}),
            ('unclaimed', {'holders': {rows.UUID: 'run=1 by=anna'}}),
            ('not-moved-now', {'movers': {rows.UUID: 'run=1 by=anna'}}),
        ):
            plan = decided(**values)
            self.assertTrue(plan.blocked)
            self.assertEqual([name], [gate.name for gate in plan.gates])
