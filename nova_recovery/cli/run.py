# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""``recovery run``: what was carried out, when, by whom, and how it ended."""

from __future__ import annotations

import argparse
import dataclasses
import threading
from typing import Any
from typing import TYPE_CHECKING

from nova_recovery.cli import base

if TYPE_CHECKING:
    from nova_recovery.cli import stage as stage_module
    from nova_recovery.engine import journal as journal_module
    from nova_recovery.engine.journal import records

Table = tuple[tuple[str, ...], list[tuple[Any, ...]]]
Fields = tuple[tuple[str, ...], tuple[Any, ...]]

#: Seconds between two looks at a run that is watched.
WATCH = 1.0
OVER = ('interrupted', 'done', 'partly', 'undone')


def add_run(parser: argparse.ArgumentParser) -> None:
    """The argument that names a run."""
    parser.add_argument(
        'run',
        metavar='<run>',
        help='ID of the run, or its beginning if no other begins so',
    )


def stage(
    command: base.RecoveryMixin, parsed: argparse.Namespace
) -> stage_module.Stage:
    """The terminal and the journal of this command."""
    from nova_recovery.cli import stage as stage_module

    return stage_module.Stage(command, parsed)


class ListRun(base.RecoveryLister):
    """List the runs, the newest first."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--limit',
            metavar='<number>',
            type=int,
            default=50,
            help='At most so many (default: 50)',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.cli import show_run
        from nova_recovery.report import wording

        with stage(self, parsed_args).journal() as journal:
            runs = journal.runs(limit=parsed_args.limit)
        return (
            'ID',
            'Procedure',
            'Title',
            'State',
            'Who',
            'Machine',
            'Started',
            'Done/Total',
        ), [
            (
                run.id,
                run.procedure,
                wording.clean(run.title),
                show_run.state_of(run),
                wording.clean(run.who),
                wording.clean(run.machine),
                wording.stamp(run.started_at or run.created_at),
                show_run.done_of(run.counts),
            )
            for run in runs
        ]


class ShowRun(base.RecoveryShowOne):
    """Show how far a run is and what needs attention.

    As text for people; with -f json its fields are there for scripts.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        add_run(parser)
        parser.add_argument(
            '--items',
            action='store_true',
            help='Each item, also those that went well',
        )
        parser.add_argument(
            '--watch',
            action='store_true',
            help='Stay until the run has ended, and tell how far it is',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Fields:
        here = stage(self, parsed_args)
        with here.journal() as journal:
            run = here.run_of(journal)
            if parsed_args.watch:
                run = self._watch(here, journal, run)
            fields = dataclasses.asdict(run)
            self.text: list[Any] = []
            if parsed_args.formatter == 'table':
                self._render(here, journal, run, parsed_args.items)
            elif parsed_args.items:
                fields['items'] = [
                    dataclasses.asdict(item) for item in journal.items(run.id)
                ]
        return tuple(fields), tuple(fields.values())

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: Any,
        data: Any,
    ) -> int:
        """As text for people, unless a format was asked for."""
        if parsed_args.formatter != 'table':
            return super().produce_output(parsed_args, column_names, data)
        from nova_recovery.cli import show_plan

        screen = show_plan.console(self.app.stdout)
        for line in self.text:
            screen.print(line)
        return 0

    def _render(
        self,
        here: stage_module.Stage,
        journal: journal_module.Journal,
        run: records.RunRecord,
        every: bool,
    ) -> None:
        from nova_recovery.cli import show_run

        plan = journal.plan(run.id)
        items = journal.items(run.id)
        self.text = list(show_run.lines(run, plan, items, here.call, every))

    def _watch(
        self,
        here: stage_module.Stage,
        journal: journal_module.Journal,
        run: records.RunRecord,
    ) -> records.RunRecord:
        from nova_recovery.report import summary

        pause, said = threading.Event(), ''
        while run.state not in OVER:
            text = f'{run.state}: {summary.counted(run.counts)}'
            if text != said:
                here.say(text)
                said = text
            pause.wait(WATCH)
            run = journal.run(run.id)
            if run.state == 'running' and not run.holder:
                here.say(
                    'Its process is gone. Go on with: '
                    + here.call('run', 'resume', run.id)
                )
                break
        return run


class ReportRun(base.RecoveryCommand):
    """Write the record of a run for the review of the incident.

    Who did what, when and why: the gates and who overrode them with which
    reason, each item with its times, what it was before and what was done.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        add_run(parser)
        parser.add_argument(
            '--format',
            choices=('text', 'html', 'json'),
            default='text',
            help='default: text',
        )
        parser.add_argument(
            '--output',
            metavar='<file>',
            help='Write it there, mode 0600, instead of to stdout',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from nova_recovery.engine import files
        from nova_recovery.report import record
        from nova_recovery.report import written

        here = stage(self, parsed_args)
        with here.journal() as journal:
            run = here.run_of(journal)
            made = record.of_run(journal, run.id, here.registry)
        chunks = written.FORMATS[parsed_args.format](made)
        if not parsed_args.output:
            self.app.stdout.writelines(chunks)
            return
        files.write(parsed_args.output, chunks)
        here.say(f'Report of run {run.id} in {parsed_args.output}.')
