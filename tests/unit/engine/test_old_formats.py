# SPDX-License-Identifier: Apache-2.0

"""What older versions wrote is read, and is still what was approved."""

from __future__ import annotations

import json
import pathlib

import fixtures

from nova_recovery.cli import show_plan
from nova_recovery.engine import planfile
from nova_recovery.engine.journal import Journal
from nova_recovery.engine.plan import LeftOut
from tests.base import TestCase
from tests.unit import plans

#: A plan file and an exported run of version 0.1.
OLD = pathlib.Path(__file__).parent / 'format1'
DIGEST = '9aacf8da34fe98107d87385f42d777034721f193a89b8ccc4b7967de5755131c'
LEFT_OUT = LeftOut(f'server:{plans.UUID.format(9)}', '', 'db: main: excluded')


class OldFormatsTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.journal = Journal.open(f'sqlite:///{self.folder}/journal')
        self.addCleanup(self.journal.close)
        self.plan = planfile.load(str(OLD / 'plan.json'))

    def test_a_plan_file(self) -> None:
        self.assertEqual(DIGEST, self.plan.digest)
        self.assertEqual((LEFT_OUT,), self.plan.left_out)
        lines = show_plan.lines(self.plan, plans.REGISTRY, 100)
        self.assertIn('db: main: excluded', '\n'.join(map(str, lines)))

    def test_it_is_carried_out_as_it_was_approved(self) -> None:
        run_id = self.journal.create_run(
            self.plan, who='anna', machine='ctl1', command='test'
        )
        self.assertEqual(DIGEST, self.journal.run(run_id).digest)
        self.assertEqual(self.plan, self.journal.plan(run_id))

    def test_saved_again_it_is_the_same_file(self) -> None:
        path = self.folder / 'plan.json'
        planfile.save(self.plan, str(path))
        self.assertEqual(
            json.loads((OLD / 'plan.json').read_text()),
            json.loads(path.read_text()),
        )

    def test_a_run(self) -> None:
        run_id = self.journal.import_(OLD / 'run.jsonl')
        self.assertEqual(self.plan, self.journal.plan(run_id))
        self.assertEqual(DIGEST, self.journal.plan(run_id).digest)
        self.assertEqual(
            {'done': 1, 'pending': 4}, self.journal.run(run_id).counts
        )
