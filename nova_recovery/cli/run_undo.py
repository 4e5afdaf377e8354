# SPDX-License-Identifier: Apache-2.0

"""``recovery run undo``: take back what a run changed."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from nova_recovery.cli import approval, run
from nova_recovery.cli.base import RecoveryLister, Table

if TYPE_CHECKING:
    from nova_recovery.cli.stage import Stage
    from nova_recovery.engine.journal import RunRecord
    from nova_recovery.engine.plan import Plan
    from nova_recovery.engine.undo import Foreseen


class UndoRun(RecoveryLister):
    """Take back what a run changed, as far as nobody changed it since.

    What will be reverted is shown and asked for first, and what can't be,
    with why and what to do instead. The exit code is 4 when something of it
    had to stay.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        run.add_run(parser)
        group = approval.add_confirm_options(parser)
        group.add_argument(
            '--dry-run',
            action='store_true',
            help='Show what would be taken back and stop',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.engine import undo

        here = self.stage(parsed_args)
        with here.journal() as journal:
            found = here.run_of(journal)
            plan = journal.plan(found.id)
            here.check_mine(found)
            here.check_kinds(plan)
            foreseen = undo.foresee(
                plan, journal.items(found.id), here.registry
            )
            digest = digest_of(plan, foreseen)
            self._show(here, found, foreseen, digest)
            if not foreseen.back or parsed_args.dry_run:
                here.say('Nothing was changed.')
                return self._untouched(foreseen)
            cloud = self.cloud(parsed_args)
            total = len(foreseen.back)
            approval.confirm(here.asker(), parsed_args, total, digest)
            return here.undo(journal, found.id, plan, cloud).table

    def _untouched(self, foreseen: Foreseen) -> Table:
        """What would be done, as the result; told by the exit code too."""
        from nova_recovery import exit_codes
        from nova_recovery.report import summary

        if foreseen.stays and not foreseen.back:
            self.exit_code = exit_codes.PARTLY
        return summary.of_items(
            [
                dataclasses.replace(item, state='to revert', detail='')
                for item in foreseen.back
            ]
            + [
                dataclasses.replace(item, state='kept', detail=why)
                for item, why in foreseen.stays
            ]
        )

    def _show(
        self, here: Stage, found: RunRecord, foreseen: Foreseen, digest: str
    ) -> None:
        from nova_recovery.cli import show_run

        here.say(f'Undo of run {found.id}  {found.title}')
        for line in show_run.undo_lines(foreseen, here.width, digest):
            here.say(line)


def digest_of(plan: Plan, foreseen: Foreseen) -> str:
    """What approves this undo, and nothing else.

    Not the digest of the plan: who agreed to a recovery didn't agree to
    taking it back.
    """
    wanted = {record.id for record in foreseen.back}
    left = plan.remaining(i.id for i in plan.items() if i.id not in wanted)
    return dataclasses.replace(left, procedure=f'undo {plan.procedure}').digest
