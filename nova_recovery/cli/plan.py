# SPDX-License-Identifier: Apache-2.0

"""``recovery plan``: plans that were saved, to be read and carried out."""

from __future__ import annotations

import argparse
from typing import Any

from nova_recovery.cli import approval
from nova_recovery.cli.base import (
    Fields,
    RecoveryLister,
    RecoveryShowOne,
    Table,
)


class ShowPlan(RecoveryShowOne):
    """Show a plan that was saved with --plan-file.

    As text it is shown like the command that made it did; with -f json its
    digest, gates and items are there for scripts. Nothing is contacted.

    Example: openstack recovery plan show np-rcc54.plan
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('file', metavar='<file>', help='The plan')
        parser.add_argument(
            '--all-items',
            action='store_true',
            help='Each item of a large plan, not only the first ones',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Fields:
        from nova_recovery.engine import planfile

        self.plan = planfile.load(parsed_args.file)
        body = planfile.to_dict(self.plan)
        fields = {
            'digest': self.plan.digest,
            'blocked': self.plan.blocked,
            'items': sum(1 for _ in self.plan.items()),
            **body,
        }
        return tuple(fields), tuple(fields.values())

    def produce_output(
        self, parsed_args: argparse.Namespace, column_names: Any, data: Any
    ) -> int:
        """As text for people, unless a format was asked for."""
        if parsed_args.formatter != 'table':
            return super().produce_output(parsed_args, column_names, data)
        from nova_recovery import changes
        from nova_recovery.cli import show_plan
        from nova_recovery.engine import change
        from nova_recovery.report import wording

        registry = changes.registry()
        change.check_data(self.plan, registry)
        screen = show_plan.console(self.app.stdout)
        show_plan.show(self.plan, registry, screen, parsed_args.all_items)
        screen.print(f'made {wording.ago(self.plan.created_at)}')
        return 0


class ApplyPlan(RecoveryLister):
    """Carry out a plan that was saved with --plan-file.

    Its gates are checked again first, and everything it is about to change
    must still be as the plan saw it. The digest says that it is the plan
    which you approved::

        openstack recovery plan apply host1.plan --approve dc9667957917f2e6
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('file', metavar='<file>', help='The plan')
        approval.add_through(parser)
        group = approval.add_confirm_options(parser)
        group.add_argument(
            '--dry-run',
            action='store_true',
            help='Check the gates again and stop: exit code 0, or 3 if one '
            'refuses',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.engine import planfile

        plan = planfile.load(parsed_args.file)
        return self.stage(parsed_args).settle_saved(plan).table
