# SPDX-License-Identifier: Apache-2.0

"""``recovery run``: what was carried out, when, by whom, and how it ended."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import threading
from typing import Any, TYPE_CHECKING

from nova_recovery.cli.base import (
    Fields,
    RecoveryCommand,
    RecoveryLister,
    RecoveryShowOne,
    Table,
)
from nova_recovery.exceptions import NotFound

if TYPE_CHECKING:
    from nova_recovery.cli.show_plan import Line
    from nova_recovery.cli.stage import Stage
    from nova_recovery.engine.journal import Journal
    from nova_recovery.engine.records import RunRecord

    #: Shows a run as it is now.
    Tell = Callable[[RunRecord], None]

#: Seconds between two looks at a run that is watched.
WATCH = 2.0
OVER = ('interrupted', 'paused', 'done', 'partly', 'undone')


def add_run(parser: argparse.ArgumentParser) -> None:
    """The argument that names a run."""
    parser.add_argument(
        'run',
        metavar='<run>',
        help='ID of the run, or its beginning if no other begins so',
    )


class ListRun(RecoveryLister):
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

        here = self.stage(parsed_args)
        runs: list[RunRecord] = []
        try:
            with here.journal() as journal:
                runs = journal.runs(limit=parsed_args.limit)
        except NotFound as error:
            here.say(str(error))
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


class ShowRun(RecoveryShowOne):
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
            metavar='<seconds>',
            nargs='?',
            type=_seconds,
            const=WATCH,
            help='Stay until the run has ended, and tell how far it is, every '
            f'so many seconds (default: {WATCH:g}). Ctrl-C ends the watching, '
            'not the run',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Fields:
        here = self.stage(parsed_args)
        with here.journal() as journal:
            run = here.run_of(journal)
            if parsed_args.watch is not None:
                run = self._watch(here, journal, run, parsed_args.watch)
            fields = dataclasses.asdict(run)
            fields['reason'] = reason_of(journal, run)
            self.text: list[Any] = []
            if parsed_args.formatter == 'table':
                self.text = _lines(here, journal, run, parsed_args.items)
            elif parsed_args.items:
                fields['items'] = [
                    dataclasses.asdict(item) for item in journal.items(run.id)
                ]
        return tuple(fields), tuple(fields.values())

    def produce_output(
        self, parsed_args: argparse.Namespace, column_names: Any, data: Any
    ) -> int:
        """As text for people, unless a format was asked for."""
        if parsed_args.formatter != 'table':
            return super().produce_output(parsed_args, column_names, data)
        from nova_recovery.cli import show_plan

        screen = show_plan.console(self.app.stdout)
        for line in self.text:
            screen.print(line)
        return 0

    def _watch(
        self, here: Stage, journal: Journal, run: RunRecord, seconds: float
    ) -> RunRecord:
        """The run when it has ended, or when nobody wants to watch it."""
        show = _redrawn if here.screen.is_terminal else _told
        pause = threading.Event()
        try:
            with show(here, journal) as tell:
                while run.state not in OVER:
                    tell(run)
                    pause.wait(seconds)
                    run = journal.run(run.id)
                    if run.state == 'running' and not run.holder:
                        break
        except KeyboardInterrupt:
            here.say('No longer watched; the run goes on.')
            return run
        if run.state not in OVER:
            here.say(
                'Its process is gone. Go on with: '
                + here.call('run', 'resume', run.id)
            )
        return run


@contextlib.contextmanager
def _redrawn(here: Stage, journal: Journal) -> Iterator[Tell]:
    """The whole run on the terminal, in the same place each time."""
    from rich import live, text

    with live.Live(
        console=here.screen, auto_refresh=False, transient=True
    ) as drawn:

        def tell(run: RunRecord) -> None:
            lines = _lines(here, journal, run)
            drawn.update(text.Text('\n').join(lines), refresh=True)

        yield tell


@contextlib.contextmanager
def _told(here: Stage, journal: Journal) -> Iterator[Tell]:
    """A line each time that something changed, for a log."""
    from nova_recovery.report import summary

    said = ''

    def tell(run: RunRecord) -> None:
        nonlocal said
        line = f'{run.state}: {summary.counted(run.counts)}'
        if line != said:
            here.say(line)
            said = line

    yield tell


def _lines(
    here: Stage, journal: Journal, run: RunRecord, every: bool = False
) -> list[Line]:
    """The run for people."""
    from nova_recovery.cli import show_run

    plan, items = journal.plan(run.id), journal.items(run.id)
    reason = reason_of(journal, run)
    return list(show_run.lines(run, plan, items, here.call, reason, every))


def reason_of(journal: Journal, run: RunRecord) -> str:
    """Why a run paused or was interrupted, '' if it wasn't."""
    if run.state not in ('paused', 'interrupted'):
        return ''
    return next(
        (
            event.detail
            for event in reversed(journal.events(run.id))
            if event.kind == run.state
        ),
        '',
    )


def _seconds(word: str) -> float:
    seconds = float(word)
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f'{word}: 0.1 to 3600 seconds')
    return seconds


class ReportRun(RecoveryCommand):
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
        from nova_recovery.report import record, written

        here = self.stage(parsed_args)
        with here.journal() as journal:
            run = here.run_of(journal)
            made = record.of_run(journal, run.id, here.registry)
        chunks = written.FORMATS[parsed_args.format](made)
        if not parsed_args.output:
            self.app.stdout.writelines(chunks)
            return
        files.write(parsed_args.output, chunks)
        here.say(f'Report of run {run.id} in {parsed_args.output}.')
