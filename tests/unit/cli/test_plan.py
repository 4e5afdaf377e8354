# SPDX-License-Identifier: Apache-2.0

"""What an operator types about plans and runs, and what comes of it."""

from __future__ import annotations

import dataclasses
import json
import stat

from nova_recovery import exit_codes
from nova_recovery.engine import planfile
from tests.unit import plans
from tests.unit.cli.runs import RunsTestCase


class GateTest(RunsTestCase):
    def test_dry_run_shows_the_plan_and_stops(self) -> None:
        ended = self.ended(0, 'host', 'recover', '--dry-run', '-f', 'json')
        self.assertIn('~ host, node  np-rcc54 -> np-rcc46', ended.stderr)
        self.assertIn('Dry run. Nothing was changed.', ended.stderr)
        self.assertEqual(
            [
                ('np-rcc54', 'planned'),
                ('at3-ui01', 'planned'),
                ('at3-ui02', 'planned'),
                ('at3-ui09', 'left out'),
            ],
            [(r['Subject'], r['Outcome']) for r in json.loads(ended.stdout)],
        )
        self.assertFalse((self.folder / 'journal.sqlite').exists())

    def test_a_refused_plan_changes_nothing(self) -> None:
        self.plan = plans.make(2, (plans.SILENT, plans.LOCAL_DISK))
        for word in ('--dry-run', '--yes'):
            ended = self.ended(
                exit_codes.REFUSED, 'host', 'recover', word, '-f', 'json'
            )
            # whoever reads JSON is told why
        (gate,) = json.loads(ended.stdout)
        self.assertEqual(
            ('disk-reachable', 'at3-ui04', 'refused'),
            (gate['Gate'], gate['Subject'], gate['State']),
        )
        self.assertIn('Refused by 1 gate. Nothing was changed.', ended.stderr)
        self.assertIn('What it means: nova-recovery guide ', ended.stderr)
        self.assertFalse((self.folder / 'journal.sqlite').exists())

    def test_an_override_lets_it_pass(self) -> None:
        self.plan = plans.make(2, (plans.SILENT, plans.LOCAL_DISK))
        plain = self.plan.digest
        ended = self.ended(
            0,
            'host',
            'recover',
            '--dry-run',
            '--override',
            'disk-reachable:at3-ui04=the owner has the image',
        )
        self.assertIn('overridden disk-reachable  at3-ui04', ended.stderr)
        self.assertIn('override: the owner has the image', ended.stderr)
        self.assertNotIn(plain[:8], ended.stderr)

    def test_an_override_of_nothing_is_a_usage_error(self) -> None:
        ended = self.ended(
            exit_codes.USAGE,
            'host',
            'recover',
            '--dry-run',
            '--override',
            'disk=why',
        )
        self.assertIn('no gate of this plan wants', ended.stderr)

    def test_without_a_terminal_nobody_is_asked(self) -> None:
        ended = self.ended(exit_codes.REFUSED, 'host', 'recover')
        self.assertIn(
            f'give --approve {self.plan.digest[:16]} or --yes', ended.stderr
        )
        self.assertEqual([], self.journal().runs())

    def test_a_digest_of_another_plan_shows_that_of_this_one(self) -> None:
        ended = self.ended(
            exit_codes.REFUSED, 'host', 'recover', '--approve', '0' * 16
        )
        self.assertIn(self.plan.digest, ended.stderr)

    def test_an_empty_plan_needs_no_approval(self) -> None:
        self.plan = plans.without(self.plan, steps=())
        ended = self.ended(0, 'host', 'recover')
        self.assertIn('Nothing to do.', ended.stderr)


class PlanTest(RunsTestCase):
    def save(self) -> str:
        path = str(self.folder / 'plan.json')
        self.ended(0, 'host', 'recover', '--plan-file', path, '--yes')
        return path

    def test_a_saved_plan_is_shown_and_not_carried_out(self) -> None:
        path = self.save()
        self.assertFalse((self.folder / 'journal.sqlite').exists())
        ended = self.ended(0, 'plan', 'show', path)
        self.assertIn('Step 2  move what nova refuses', ended.stdout)
        self.assertIn('made 2026-03-01 14:11:30Z, ', ended.stdout)
        self.assertEqual('', ended.stderr)

    def test_a_script_reads_its_digest(self) -> None:
        path = self.save()
        ended = self.ended(
            0, 'plan', 'show', path, '-f', 'value', '-c', 'digest'
        )
        self.assertEqual(self.plan.digest, ended.stdout.strip())
        body = json.loads(
            self.ended(0, 'plan', 'show', path, '-f', 'json').stdout
        )
        self.assertEqual(3, body['items'])
        text = self.ended(0, 'plan', 'show', path, '-f', 'yaml').stdout
        self.assertNotIn('!!python', text)

    def test_a_plan_that_makes_no_sense_is_told_in_one_line(self) -> None:
        """Whoever forges one signs it too."""
        path = self.save()
        for number, data in enumerate(({}, {'host': 5, 'target': []})):
            step = self.plan.steps[1]
            items = tuple(
                dataclasses.replace(item, data=data) for item in step.items
            )
            forged = dataclasses.replace(
                self.plan,
                steps=(dataclasses.replace(step, items=items),),
                arguments={} if number else self.plan.arguments,
            )
            planfile.save(forged, path)
            for words in (('plan', 'show', path),
                          ('plan', 'apply', path, '--yes')):  # fmt: skip
                ended = self.ended(1, *words)
                self.assertIn('make', ended.stderr)
                self.assertEqual(1, len(ended.stderr.splitlines()))

    def test_a_refused_plan_is_saved_and_says_so(self) -> None:
        self.plan = plans.make(2, (plans.LOCAL_DISK,))
        path = str(self.folder / 'plan.json')
        ended = self.ended(
            exit_codes.REFUSED, 'host', 'recover', '--plan-file', path
        )
        self.assertIn(f'nova-recovery plan apply {path}', ended.stderr)
        self.assertTrue(planfile.load(path).blocked)

    def test_gates_are_checked_again_before_it_is_carried_out(self) -> None:
        path = self.save()
        self.gates = (
            dataclasses.replace(plans.SILENT, state='refused', observed='up'),
        )
        for word in ('--yes', '--dry-run'):
            ended = self.ended(exit_codes.REFUSED, 'plan', 'apply', path, word)
            self.assertIn('source-silent  up', ended.stderr)

    def test_an_edited_plan_is_refused(self) -> None:
        path = self.save()
        with open(path) as file:
            text = file.read()
        with open(path, 'w') as file:
            file.write(text.replace('np-rcc46', 'np-rcc47'))
        ended = self.ended(exit_codes.REFUSED, 'plan', 'apply', path, '--yes')
        self.assertIn('changed since it was saved', ended.stderr)

    def test_a_plan_of_another_version_isnt_begun(self) -> None:
        path = self.save()
        del self.registry['move']
        ended = self.ended(exit_codes.ERROR, 'plan', 'apply', path, '--yes')
        self.assertIn('no change called move', ended.stderr)

    def test_mode_of_a_plan_file(self) -> None:
        mode = stat.S_IMODE((self.folder / self.save()).stat().st_mode)
        self.assertEqual(0o600, mode)
