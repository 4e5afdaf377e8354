# SPDX-License-Identifier: Apache-2.0

"""A plan on the screen; ``golden/`` has what it looks like."""

from __future__ import annotations

import dataclasses
import io
import pathlib
from typing import Any

from rich import console

from nova_recovery.cli import show_plan
from nova_recovery.engine import overrides
from nova_recovery.engine.plan import Gate, LeftOut, Plan, Step
from tests.base import TestCase
from tests.unit import golden, plans

GOLDEN = pathlib.Path(__file__).parent / 'golden'


def many_gates() -> tuple[Gate, ...]:
    """Gates of a host with many servers, one server after the other."""
    found = [plans.SILENT]
    for number in range(30):
        subject = f'at3-ui{number:02}'
        found += [
            dataclasses.replace(plans.LOCAL_DISK, subject=subject, remedy=''),
            Gate('cell', subject, 'hard', 'ok', 'cell1'),
        ]
    return tuple(found)


class ShowPlanTest(TestCase):
    def shown(self, plan: Plan, **options: Any) -> str:
        stream = io.StringIO()
        screen = show_plan.console(stream)
        show_plan.show(plan, plans.REGISTRY, screen, **options)
        return stream.getvalue()

    def golden(self, name: str, plan: Plan, **options: Any) -> str:
        text = self.shown(plan, **options)
        golden.compare(self, GOLDEN / name, text)
        return text

    def test_plan_with_every_kind_of_gate(self) -> None:
        found = overrides.apply(
            (
                plans.SILENT,
                plans.LOCAL_DISK,
                plans.CAPACITY,
                plans.PINNED,
                plans.BACKUP,
                dataclasses.replace(plans.CAPACITY, name='quota'),
            ),
            overrides.parse_overrides(['quota=the owner agreed on the phone']),
        )
        self.golden('plan.txt', plans.make(2, found))

    def test_large_plan_shows_counts_and_the_first_items(self) -> None:
        text = self.golden('large_plan.txt', plans.make(2345, many_gates()))
        self.assertLess(text.count('\n'), 50)

    def test_of_many_waves_the_first_ones(self) -> None:
        step = plans.make(60).steps[1]
        waves = tuple(
            dataclasses.replace(
                step, name=f'w{n}', title=f'wave {n}', number=3
            )
            for n in range(1, 9)
        )
        last = dataclasses.replace(step, title='release')
        plan = plans.without(plans.make(1), steps=(*waves, last))
        text = self.shown(plan)
        self.assertIn('wave 4', text)
        self.assertNotIn('wave 5', text)
        self.assertIn('… and 4 steps like these', text)
        self.assertIn('Then  release', text)
        self.assertIn('wave 8', self.shown(plan, every=True))

    def test_every_item_on_request(self) -> None:
        text = self.shown(plans.make(2345, many_gates()), every=True)
        self.assertIn('at3-ui2345', text)
        self.assertEqual(30, text.count('its disk is local'))
        self.assertNotIn('… and', text)

    def test_no_id_is_ever_divided(self) -> None:
        gate = dataclasses.replace(
            plans.LOCAL_DISK,
            observed='attachment '
            + ' '.join(plans.UUID.format(number) for number in range(9)),
        )
        plan = plans.make(1, (gate,))
        text = self.shown(
            plans.without(
                plan, left_out=(LeftOut(plans.UUID.format(1), '', 'x ' * 200),)
            )
        )
        for number in range(9):
            self.assertIn(plans.UUID.format(number), text)
        self.assertLessEqual(max(map(len, text.splitlines())), 100)

    def test_a_name_that_a_tenant_chose_cant_move_the_cursor(self) -> None:
        item = dataclasses.replace(
            plans.server(1), label='web\x1b[2J\r\n[bold]\u202eevil'
        )
        text = self.shown(
            plans.without(
                plans.make(),
                title=item.label,
                steps=(Step('s', item.label, (item,)),),
                left_out=(LeftOut(*[item.label] * 3),),
                notes=(item.label,),
                gates=(
                    dataclasses.replace(
                        plans.LOCAL_DISK, subject=item.label, remedy=item.label
                    ),
                ),
            )
        )
        self.assertNotRegex(text, '[\x1b\r\u202e]')
        self.assertIn(r'web\x1b[2J\r\n[bold]\u202eevil', text)

    def test_a_kind_of_a_newer_version_is_still_shown(self) -> None:
        step = Step('new', 'new', (plans.server(1, 'teleport'),))
        text = self.shown(plans.without(plans.make(), steps=(step,)))
        self.assertIn('= teleport: unknown to this version', text)

    def test_steps_keep_their_numbers_when_some_are_over(self) -> None:
        left = plans.make().remaining(['claim:np-rcc54'])
        text = self.shown(left)
        self.assertNotIn('Step 1', text)
        self.assertIn('Step 2  move what nova refuses', text)

    def test_empty_plan(self) -> None:
        self.assertIn(
            'Nothing to do.', self.shown(plans.without(plans.make(), steps=()))
        )

    def test_colours_on_a_terminal(self) -> None:
        stream = io.StringIO()
        screen = console.Console(
            file=stream,
            force_terminal=True,
            width=200,
            soft_wrap=True,
            color_system='standard',
        )
        show_plan.show(plans.make(), plans.REGISTRY, screen)
        self.assertIn('\x1b[32mok\x1b[0m', stream.getvalue())
        self.assertEqual(120, show_plan.width(screen))

    def test_a_locale_that_cant_write_a_name(self) -> None:
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding='ascii', errors='strict')
        screen = show_plan.console(stream)
        screen.print('Z\u00fcrich')
        stream.flush()
        self.assertEqual(b'Z\\xfcrich\n', raw.getvalue())
