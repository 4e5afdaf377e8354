# SPDX-License-Identifier: Apache-2.0

"""Overrides are for one refusing soft gate, with a reason."""

from __future__ import annotations

import dataclasses

from nova_recovery.engine import overrides
from nova_recovery.engine.overrides import Override
from nova_recovery.engine.plan import Gate
from nova_recovery.exceptions import UsageError
from tests.base import TestCase
from tests.unit import plans


class ParseTest(TestCase):
    def test_gate_subject_and_reason(self) -> None:
        self.assertEqual(
            (Override('disk-reachable', 'at3-ui04', 'a rebuild is ok'),),
            overrides.parse_overrides(
                ['disk-reachable:at3-ui04= a rebuild is ok ']
            ),
        )

    def test_gate_of_the_whole_plan(self) -> None:
        for word in ('capacity:=no matter', 'capacity=no matter'):
            self.assertEqual(
                (Override('capacity', '', 'no matter'),),
                overrides.parse_overrides([word]),
            )

    def test_a_reason_may_hold_anything(self) -> None:
        (found,) = overrides.parse_overrides(['capacity=a=b: c'])
        self.assertEqual('a=b: c', found.reason)

    def test_without_a_reason_it_is_refused(self) -> None:
        for word in ('capacity', 'capacity:', '=why', ':vm=why', ''):
            error = self.assertRaises(
                UsageError, overrides.parse_overrides, [word]
            )
            self.assertIn('GATE:SUBJECT=REASON', str(error))
        error = self.assertRaises(
            UsageError, overrides.parse_overrides, ['capacity= ']
        )
        self.assertIn('the reason is empty', str(error))


class ApplyTest(TestCase):
    def apply(self, *words: str, of: tuple = ()) -> tuple:
        found = of or (
            plans.SILENT,
            plans.LOCAL_DISK,
            plans.CAPACITY,
            plans.PINNED,
            plans.BACKUP,
        )
        return overrides.apply(found, overrides.parse_overrides(words))

    def refused(self, *words: str, of: tuple = ()) -> str:
        return str(self.assertRaises(UsageError, self.apply, *words, of=of))

    def test_only_the_named_gate_is_overridden(self) -> None:
        found = self.apply('disk-reachable:at3-ui04=image is fine')
        changed = [gate for gate in found if gate.state == 'overridden']
        self.assertEqual(['at3-ui04'], [gate.subject for gate in changed])
        self.assertEqual('image is fine', changed[0].reason)
        self.assertFalse(changed[0].blocks)

    def test_an_unknown_gate_is_overridden_like_a_refused_one(self) -> None:
        found = self.apply('capacity=the site is empty')
        self.assertEqual('overridden', found[2].state)

    def test_hard_gate(self) -> None:
        message = self.refused('pinned-cpus:at3-ui05=I know better')
        self.assertIn('pinned-cpus:at3-ui05: this gate is hard', message)

    def test_override_of_nothing_names_those_that_it_could_be(self) -> None:
        message = self.refused('disk-reachable:at3-ui05=typo')
        self.assertEqual(
            [
                '--override disk-reachable:at3-ui05: no gate of this plan '
                'has that name and subject',
                'those that refuse and can be overridden:',
                '  disk-reachable:at3-ui04',
                '  capacity',
            ],
            message.splitlines(),
        )

    def test_of_many_the_first_ten_are_named(self) -> None:
        many = tuple(
            dataclasses.replace(plans.LOCAL_DISK, subject=f'vm{number}')
            for number in range(12)
        )
        message = self.refused('disk-reachable:vm=all', of=many)
        self.assertIn('  vm9'.strip(), message)
        self.assertNotIn('vm10', message)
        self.assertIn('… and 2 more', message)

    def test_a_gate_that_passed_or_only_advises(self) -> None:
        self.assertIn("doesn't refuse", self.refused('source-silent=why'))
        self.assertIn('advice', self.refused('snapshot=later'))
        self.assertIn(
            'no gate of this plan wants an override',
            self.refused('x=y', of=(plans.SILENT,)),
        )

    def test_a_tenant_may_name_a_server_with_an_equals_sign(self) -> None:
        odd = dataclasses.replace(plans.LOCAL_DISK, subject='a=b:c')
        (found,) = self.apply('disk-reachable:a=b:c=why not', of=(odd,))
        self.assertEqual('why not', found.reason)
        self.refused('disk-reachable:a=b:c=', of=(odd,))

    def test_what_a_procedure_marked_itself_stays(self) -> None:
        once = self.apply('capacity=ok')
        self.assertEqual(once, self.apply('capacity=ok', of=once))


class AgainTest(TestCase):
    def test_an_approved_override_stands(self) -> None:
        before = overrides.apply(
            [plans.LOCAL_DISK, plans.CAPACITY],
            overrides.parse_overrides(
                ['disk-reachable:at3-ui04=image', 'capacity=empty']
            ),
        )
        passed = dataclasses.replace(plans.CAPACITY, state='ok')
        found = overrides.as_approved([plans.SILENT, passed], before)
        self.assertEqual(
            [
                ('source-silent', 'ok'),
                ('capacity', 'overridden'),
                ('disk-reachable', 'overridden'),
            ],
            [(gate.name, gate.state) for gate in found],
        )
        self.assertEqual(
            plans.make(gates=before).digest, plans.make(gates=found).digest
        )

    def test_it_is_for_what_was_seen_when_it_was_given(self) -> None:
        """Three of ten silent computes aren't ten of ten."""
        gate = Gate('cell-alive', 'cell1', 'soft', 'refused', '3 of 10')
        (given,) = overrides.apply(
            [gate], overrides.parse_overrides(['cell-alive:cell1=a switch'])
        )
        worse = dataclasses.replace(
            gate, observed='10 of 10', remedy='look at the bus'
        )
        (found,) = overrides.as_approved([worse], [given])
        self.assertTrue(found.blocks)
        self.assertEqual(
            ['the override was given when it was otherwise: 3 of 10',
             'look at the bus'],
            found.remedy.splitlines(),
        )  # fmt: skip
        (same,) = overrides.as_approved([gate], [given])
        self.assertEqual('overridden', same.state)

    def test_two_of_one_name(self) -> None:
        """A guest that may run on two hosts is asked about twice."""
        gates = [
            Gate('guest-only-here', 'web', 'soft', 'refused', host)
            for host in ('host2', 'host3')
        ]
        given = overrides.apply(
            gates, overrides.parse_overrides(['guest-only-here:web=seen'])
        )
        third = dataclasses.replace(gates[0], observed='host4')
        found = overrides.as_approved([*gates, third], given)
        self.assertEqual([False, False, True], [g.blocks for g in found])

    def test_a_gate_that_refuses_only_now_blocks(self) -> None:
        before = overrides.apply(
            [plans.CAPACITY], overrides.parse_overrides(['capacity=empty'])
        )
        hard = dataclasses.replace(plans.CAPACITY, klass='hard')
        self.assertTrue(overrides.as_approved([hard], before)[0].blocks)
        other = overrides.as_approved(
            [plans.CAPACITY, plans.LOCAL_DISK], before
        )
        self.assertEqual([False, True], [gate.blocks for gate in other])
