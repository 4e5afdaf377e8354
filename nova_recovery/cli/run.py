# SPDX-License-Identifier: Apache-2.0

"""``recovery run``: what was carried out, when, by whom, and how it ended."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import threading
from typing import Any, TYPE_CHECKING

from nova_recovery.cli import approval, disaster_options, tables
from nova_recovery.cli.base import (
    Fields,
    RecoveryCommand,
    RecoveryLister,
    RecoveryShowOne,
    Table,
)
from nova_recovery.engine import claiming, states
from nova_recovery.exceptions import NotFound, Refused
from nova_recovery.report import standing

if TYPE_CHECKING:
    from nova_recovery.cli.show_plan import Line
    from nova_recovery.cli.stage import Stage
    from nova_recovery.engine.journal import Journal
    from nova_recovery.engine.plan import Item, Plan
    from nova_recovery.engine.records import RunRecord
    from nova_recovery.engine.undo import Foreseen

    #: Shows a run as it is now.
    Tell = Callable[[RunRecord], None]

#: Seconds between two looks at a run that is watched.
WATCH = 2.0


def add_run(parser: argparse.ArgumentParser) -> None:
    """The argument that names a run."""
    parser.add_argument(
        'run',
        metavar='<run>',
        help='ID of the run, or its beginning if no other begins so',
    )


class ListRun(RecoveryLister):
    """List the runs, the newest first.

    Example: openstack recovery run list --limit 5
    """

    short = ('ID', 'Title', 'State', 'Started', 'Done/Total')

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
                standing.state_of(run),
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

    Example: openstack recovery run show 3fb04a53 --watch
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
        from nova_recovery.cli import show_plan

        here = self.stage(parsed_args)
        with here.journal() as journal:
            run = here.run_of(journal)
            if parsed_args.watch is not None:
                run = self._watch(here, journal, run, parsed_args.watch)
            fields = dataclasses.asdict(run)
            fields['reason'] = standing.reason_of(run, journal.events(run.id))
            self.text: list[Any] = []
            if parsed_args.formatter == 'table':
                screen = show_plan.console(self.app.stdout)
                columns = show_plan.width(screen) if screen.is_terminal else 0
                self.text = _lines(
                    here, journal, run, parsed_args.items, columns
                )
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
                while run.state not in states.AT_REST:
                    tell(run)
                    pause.wait(seconds)
                    run = journal.run(run.id)
                    if run.state == states.RUNNING and not run.holder:
                        break
        except KeyboardInterrupt:
            here.say('No longer watched; the run goes on.')
            return run
        if run.state not in states.AT_REST:
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
            lines = _lines(here, journal, run, columns=here.width)
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
    here: Stage,
    journal: Journal,
    run: RunRecord,
    every: bool = False,
    columns: int = 0,
) -> list[Line]:
    """The run for people.

    :param columns: of the terminal; 0: nobody reads it there
    """
    from nova_recovery.cli import show_run

    plan, items = journal.plan(run.id), journal.items(run.id)
    reason = standing.reason_of(run, journal.events(run.id))
    return list(
        show_run.lines(
            run, plan, items, here.registry, here.call, reason, every, columns
        )
    )


def _seconds(word: str) -> float:
    seconds = float(word)
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f'{word}: 0.1 to 3600 seconds')
    return seconds


class ReportRun(RecoveryCommand):
    """Write the record of a run for the review of the incident.

    What went wrong, what is left to do, how long each server was down; who
    did what, when and why: the gates and who overrode them with which
    reason, each item with its times, what it was before and what was done.

    Several runs, such as a disaster and its repairs, make one report, with a
    server's downtime over all of them.

    Example: openstack recovery run report 3fb04a53
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'runs',
            metavar='<run>',
            nargs='+',
            help='ID of a run, or its beginning if no other begins so',
        )
        parser.add_argument(
            '--format',
            choices=('text', 'html', 'json'),
            default='text',
            help='default: text',
        )
        parser.add_argument(
            '--since',
            metavar='<time>',
            type=disaster_options.time,
            help='When the servers went down, such as 2026-03-01T13:58:00Z, '
            'where the runs do not know it themselves (default: downtimes '
            'begin with the first run, and are "at least")',
        )
        parser.add_argument(
            '--output',
            metavar='<file>',
            help='Write it there, mode 0600, instead of to stdout',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from nova_recovery.cloud import secrets
        from nova_recovery.engine import files, records
        from nova_recovery.report import story, wording, writing

        here = self.stage(parsed_args)
        with here.journal() as journal:
            ids = [
                here.run_of(journal, prefix).id for prefix in parsed_args.runs
            ]
            made = story.of_runs(
                journal,
                ids,
                here.registry,
                now=records.now(),
                since=wording.iso(parsed_args.since),
            )
        # the journal has none; what somebody typed as a reason may
        chunks = writing.FORMATS[parsed_args.format](secrets.mask(made))
        if not parsed_args.output:
            self.app.stdout.writelines(chunks)
            return
        files.write(parsed_args.output, chunks)
        here.say(f'Report of run {", ".join(ids)} in {parsed_args.output}.')


class UndoRun(RecoveryLister):
    """Take back what a run changed, as far as nobody changed it since.

    What will be reverted is shown and asked for first, and what can't be,
    with why and what to do instead. The exit code is 4 when something of it
    had to stay.

    Example: openstack recovery run undo 3fb04a53 --dry-run
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        add_run(parser)
        group = approval.add_confirm_options(parser)
        group.add_argument(
            '--dry-run',
            action='store_true',
            help='Show what would be taken back and stop',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery import procedures
        from nova_recovery.engine import undo

        here = self.stage(parsed_args)
        with here.journal() as journal:
            found = here.run_of(journal)
            plan = journal.plan(found.id)
            here.check_mine(found)
            here.check_kinds(plan)
            items = list(journal.items(found.id))
            if why := procedures.only_forward(plan, items):
                raise Refused(
                    f'{why}. Nothing was changed. Bring it to its end '
                    f'instead: {here.call("run", "resume", found.id)}'
                )
            foreseen = undo.foresee(plan, items, here.registry)
            held = claiming.held({i.id: i.state for i in items}, plan)
            total = len(foreseen.back) or len(held)
            past: dict[str, str] = {}
            if total:
                cloud = self.cloud(parsed_args)
                past = undo.past_undoing(
                    plan, foreseen, here.registry, cloud, found
                )
            if past:
                foreseen = undo.foresee(plan, items, here.registry, past)
            digest = digest_of(plan, foreseen)
            self._show(here, found, plan, foreseen, held, digest)
            refused = undo.only_forward(found.id, items, foreseen, past)
            if refused:
                raise Refused(refused)
            if not total or parsed_args.dry_run:
                self.closing.append('Nothing was changed.')
                columns, rows = self._untouched(foreseen)
                if tables.wanted(parsed_args, self.app.stdout):
                    # it was just shown
                    rows = []
                return columns, rows
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
                dataclasses.replace(item, state=states.KEPT, detail=why)
                for item, why in foreseen.stays
            ]
        )

    def _show(
        self,
        here: Stage,
        found: RunRecord,
        plan: Plan,
        foreseen: Foreseen,
        held: list[Item],
        digest: str,
    ) -> None:
        from nova_recovery.cli import show_run

        here.say(f'Undo of run {found.id}  {found.title}')
        for line in show_run.undo_lines(
            plan, foreseen, held, here.registry, here.width, digest
        ):
            here.say(line)


def digest_of(plan: Plan, foreseen: Foreseen) -> str:
    """What approves this undo, and nothing else.

    Not the digest of the plan: who agreed to a recovery didn't agree to
    taking it back.
    """
    wanted = {record.id for record in foreseen.back}
    left = plan.remaining(i.id for i in plan.items() if i.id not in wanted)
    return dataclasses.replace(left, procedure=f'undo {plan.procedure}').digest


class ExportRun(RecoveryCommand):
    """Save a run in a file, to go on with it on another controller.

    Example: openstack recovery run export 3fb04a53 3fb04a53.run
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        add_run(parser)
        parser.add_argument('file', metavar='<file>', help='Where to save it')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        here = self.stage(parsed_args)
        with here.journal() as journal:
            found = here.run_of(journal)
            journal.export(found.id, parsed_args.file)
        here.say(
            f'Run {found.id} saved in {parsed_args.file}. On the other '
            f'controller: {here.call("run", "import", parsed_args.file)}'
        )


class ImportRun(RecoveryCommand):
    """Take a run that was exported into the journal of this controller.

    Example: openstack recovery run import 3fb04a53.run
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('file', metavar='<file>', help='The saved run')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        here = self.stage(parsed_args)
        with here.journal(make=True) as journal:
            run_id = journal.import_(parsed_args.file)
        here.say(
            f'Make it yours, so that the other controller sends nothing '
            f'more: {here.call("run", "take", "over", run_id)} --reason WHY'
        )
        self.app.stdout.write(f'{run_id}\n')


class TakeOverRun(RecoveryCommand):
    """Make a run yours that somebody else began.

    Its claims in the cloud name you from then on. It is refused while the
    other process still lives, as far as this machine can tell::

        openstack recovery run take over 3fb0 --reason "controller1 is off"
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        add_run(parser)
        parser.add_argument(
            '--reason',
            metavar='<text>',
            required=True,
            help='Why; it is kept in the journal',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from nova_recovery.changes import claims
        from nova_recovery.engine import records

        here = self.stage(parsed_args)
        me = here.who()
        with here.journal() as journal:
            found = here.run_of(journal)
            if found.holder:
                raise Refused(
                    f'run {found.id} is carried out just now by '
                    f'{found.holder}; stop it there'
                )
            mine = records.marker(found.id, me['who'], me['machine'])
            # The cloud first: from here on the other process, if it still
            # lives somewhere, sends nothing more. Repeating it does no harm.
            handed = claims.hand_over(
                journal.plan(found.id),
                self.cloud(parsed_args),
                found.marker,
                mine,
            )
            journal.take_over(
                found.id,
                who=me['who'],
                machine=me['machine'],
                reason=parsed_args.reason,
            )
        for label in handed:
            here.say(f'The claim on {label} is yours.')
        here.say(
            f'Run {found.id} of {found.who} on {found.machine} is yours. '
            f'Go on with it: {here.call("run", "resume", found.id)}'
        )
