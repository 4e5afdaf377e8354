# SPDX-License-Identifier: Apache-2.0

"""A plan file gives back the plan that was saved, or nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import stat
from typing import Any

import fixtures
import hypothesis
from hypothesis import strategies

from nova_recovery.engine import planfile
from nova_recovery.engine.plan import LeftOut
from nova_recovery.exceptions import RecoveryError, Refused
from tests.base import TestCase
from tests.unit import plans

OLD_DIGEST = '9660162f2df876e8d6e78c86774e92d7da4817f2d5b8b38fd5a154e9a067da59'
OLD_CHECKSUM = (
    '0f0486a0280a12659f397ed814b63b503c3354654e0d69dcebf8f1a360b6c8c0'
)


class PlanFileTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = self.useFixture(fixtures.TempDir()).path
        self.path = pathlib.Path(folder, 'plan.json')

    def save(self, servers: int = 2) -> None:
        planfile.save(plans.make(servers), str(self.path))

    def load_fails(self, error: type[Exception]) -> str:
        return str(self.assertRaises(error, planfile.load, str(self.path)))

    def edit(self, before: str, after: str) -> None:
        text = self.path.read_text()
        self.assertIn(before, text)
        self.path.write_text(text.replace(before, after, 1))

    def test_small_and_large_plans_come_back_whole(self) -> None:
        for servers in (0, 2, planfile.LINES_ABOVE + 1):
            plan = plans.make(servers, (plans.SILENT, plans.LOCAL_DISK))
            planfile.save(plan, str(self.path))
            self.assertEqual(plan, planfile.load(str(self.path)))

    def test_a_plan_of_an_older_version_is_still_the_same(self) -> None:
        left_out = (LeftOut('at3-ui09', '', 'deleted meanwhile'),)
        old = plans.without(plans.make(), left_out=left_out, format=1)
        planfile.save(old, str(self.path))
        head = json.loads(self.path.read_text())
        # as version 0.1 wrote them
        self.assertEqual(OLD_DIGEST, head['digest'])
        self.assertEqual(OLD_CHECKSUM, head['checksum'])
        self.assertEqual(
            {'name', 'title', 'limits', 'items'}, set(head['plan']['steps'][0])
        )

    def test_what_only_the_report_needs_comes_back(self) -> None:
        told = dataclasses.replace(
            plans.make(), down_since={'': '2026-03-01T13:58Z'}, cloud='test'
        )
        planfile.save(told, str(self.path))
        self.assertEqual(told, planfile.load(str(self.path)))
        self.assertEqual(plans.make().digest, told.digest)

    def test_numbers_and_limits_of_steps_come_back(self) -> None:
        plan = plans.make(2)
        for fields in ({'number': 3}, {'failures': 0}, {'at_a_time': 4}):
            steps = tuple(
                dataclasses.replace(step, **fields) for step in plan.steps
            )
            changed = dataclasses.replace(plan, steps=steps)
            self.assertNotEqual(plan.digest, changed.digest)
            planfile.save(changed, str(self.path))
            self.assertEqual(changed, planfile.load(str(self.path)))

    def test_a_number_that_is_none(self) -> None:
        plan = plans.make(2)
        steps = tuple(
            dataclasses.replace(step, number=3) for step in plan.steps
        )
        planfile.save(dataclasses.replace(plan, steps=steps), str(self.path))
        self.edit('"number": 3', '"number": "3"')
        self.assertIn("number '3' is not", self.load_fails(RecoveryError))

    def test_a_large_plan_has_a_line_an_item(self) -> None:
        self.save(planfile.LINES_ABOVE + 1)
        lines = self.path.read_text().splitlines()
        self.assertEqual(1 + 1 + planfile.LINES_ABOVE + 1, len(lines))
        self.assertEqual('claim:np-rcc54', json.loads(lines[1])['id'])

    def test_only_the_owner_reads_it(self) -> None:
        self.save()
        self.assertEqual(0o600, stat.S_IMODE(self.path.stat().st_mode))
        self.assertEqual([self.path], list(self.path.parent.iterdir()))

    def test_an_old_plan_stays_when_the_new_one_cant_be_written(self) -> None:
        self.save()
        before = self.path.read_bytes()

        def no_space(descriptor: int) -> None:
            raise OSError(28, 'No space left on device')

        with fixtures.MonkeyPatch('os.fsync', no_space):
            error = self.assertRaises(RecoveryError, self.save, 3)
        self.assertIn("plan.json: can't be written: No space", str(error))
        self.assertEqual(before, self.path.read_bytes())
        self.assertEqual([self.path], list(self.path.parent.iterdir()))

    def test_a_device_is_not_replaced_by_a_file(self) -> None:
        error = self.assertRaises(
            RecoveryError, planfile.save, plans.make(), '/dev/null'
        )
        self.assertIn('/dev/null: not a regular file', str(error))
        self.assertTrue(stat.S_ISCHR(os.stat('/dev/null').st_mode))

    def test_an_edit_of_what_is_done_is_refused(self) -> None:
        self.save()
        self.edit('"target": "np-rcc46"', '"target": "np-rcc47"')
        self.assertIn('changed since it was saved', self.load_fails(Refused))

    def test_an_edit_that_the_digest_doesnt_see_is_refused(self) -> None:
        self.save()
        self.edit('"title": "recover servers', '"title": "look at servers')
        self.load_fails(Refused)

    def test_an_edit_of_the_digest_is_refused(self) -> None:
        self.save()
        digest = plans.make().digest
        self.edit(digest, '0' * 64)
        message = self.load_fails(Refused)
        self.assertIn('0000000000000000…', message)
        self.assertIn(digest[:16], message)

    def test_a_broken_line_is_named(self) -> None:
        self.save()
        lines = self.path.read_text().splitlines()
        number = next(
            place for place, line in enumerate(lines, 1) if 'klass' in line
        )
        lines[number - 1] += ' oops'
        self.path.write_text('\n'.join(lines))
        message = self.load_fails(RecoveryError)
        self.assertRegex(message, f'plan.json, line ({number}|{number + 1}):')

    def test_a_broken_line_of_a_large_plan_is_named(self) -> None:
        self.save(planfile.LINES_ABOVE + 1)
        self.edit('{"id": "move:3f57699a-e773-4650-a443-b4b37eed5a07"', '{')
        self.assertIn('plan.json, line 9:', self.load_fails(RecoveryError))

    def test_a_plan_that_was_cut_off(self) -> None:
        self.save(planfile.LINES_ABOVE + 1)
        lines = self.path.read_text().splitlines()
        self.path.write_text('\n'.join(lines[:500]))
        self.assertIn(
            'it ends at line 500, but was written with 1003',
            self.load_fails(RecoveryError),
        )

    def test_a_plan_of_a_newer_format(self) -> None:
        self.save()
        self.edit('"nova-recovery-plan": 2', '"nova-recovery-plan": 3')
        message = self.load_fails(RecoveryError)
        self.assertIn('format 3; this version reads formats up to 2', message)

    def test_what_is_no_plan(self) -> None:
        for text in ('{}', '[]', '"x"', '{"nova-recovery-plan": true}', '1'):
            self.path.write_text(text)
            self.load_fails(RecoveryError)
        self.path.write_bytes(b'\xff\xfe')
        self.assertIn('not UTF-8', self.load_fails(RecoveryError))
        self.path.write_text('{"nova-recovery-plan": 1, "plan": {}}')
        self.assertIn("lacks 'steps'", self.load_fails(RecoveryError))

    def test_a_file_that_isnt_there(self) -> None:
        self.assertIn('No such file', self.load_fails(RecoveryError))


ANY = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | strategies.text(max_size=8),
    lambda inner: (
        strategies.lists(inner, max_size=3)
        | strategies.dictionaries(
            strategies.text(max_size=8), inner, max_size=3
        )
    ),
    max_leaves=4,
)


class FuzzTest(TestCase):
    """Files that anybody may have made: a plan, or words about the file."""

    def setUp(self) -> None:
        super().setUp()
        self.path = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.path /= 'plan.json'
        planfile.save(plans.make(2), str(self.path))
        self.small = self.path.read_text()
        planfile.save(plans.make(planfile.LINES_ABOVE + 1), str(self.path))
        self.large = self.path.read_text()

    def told(self, text: str) -> None:
        self.path.write_text(text, errors='surrogatepass')
        with contextlib.suppress(RecoveryError):
            plan = planfile.load(str(self.path))
            # what is taken can be counted, shown and saved
            plan.digest, list(plan.items()), plan.headings, plan.blocked
            planfile.save(plan, str(self.path))

    @hypothesis.settings(
        max_examples=200, deadline=None, derandomize=True, database=None
    )
    @hypothesis.given(strategies.data())
    def test_any_value_in_any_place(self, data: Any) -> None:
        body = json.loads(self.small)
        made = data.draw(ANY)
        place: Any = body
        while True:
            keys = (
                sorted(place) if isinstance(place, dict) else range(len(place))
            )
            key = data.draw(strategies.sampled_from(keys))
            inner = place[key]
            if (
                not isinstance(inner, (dict, list))
                or not inner
                or (data.draw(strategies.integers(0, 3)) == 0)
            ):
                break
            place = inner
        place[key] = made
        # whoever forges a plan signs it too
        with contextlib.suppress(KeyError, TypeError, AttributeError,
                                 ValueError):  # fmt: skip
            plan = planfile.from_dict(body['plan'], body[planfile.MAGIC])
            body['digest'] = plan.digest
            body['checksum'] = planfile._checksum(plan)
        self.told(json.dumps(body))

    @hypothesis.settings(
        max_examples=100, deadline=None, derandomize=True, database=None
    )
    @hypothesis.given(strategies.data())
    def test_any_text_in_any_place(self, data: Any) -> None:
        text = data.draw(strategies.sampled_from((self.small, self.large)))
        start = data.draw(strategies.integers(0, len(text)))
        end = data.draw(strategies.integers(start, min(start + 50, len(text))))
        self.told(text[:start] + data.draw(strategies.text()) + text[end:])

    def test_steps_that_count_backwards(self) -> None:
        head, _, rest = self.large.partition('\n')
        body = json.loads(head)
        count = body['plan']['steps'][0]['items']
        body['plan']['steps'][0]['items'] = count + 5
        body['plan']['steps'].append({**body['plan']['steps'][0],
                                      'items': -5})  # fmt: skip
        self.told(json.dumps(body) + '\n' + rest)
        self.told('[' * 100_000)
        self.told('')
