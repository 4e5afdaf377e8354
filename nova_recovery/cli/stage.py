# SPDX-License-Identifier: Apache-2.0

"""From a plan to its result: show, gates, agree, run.

Every command that changes something ends here, so that nothing is changed
before it was shown and agreed to, whoever or whatever types the command.
What is said on the way goes to stderr; the result alone is for stdout.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import datetime
import functools
import logging
import os
import pwd
import shlex
import socket
import sys
import time
from typing import Any, Protocol, TYPE_CHECKING
from urllib import parse

from nova_recovery import changes, exit_codes, procedures, program
from nova_recovery.changes import claims
from nova_recovery.cli import approval, show_plan, tables
from nova_recovery.cli.approval import Asker
from nova_recovery.cli.show_plan import Line
from nova_recovery.cloud import secrets
from nova_recovery.engine import change, planfile, printable, states, undo
from nova_recovery.engine.change import Guard, Registry
from nova_recovery.engine.overrides import apply, as_approved
from nova_recovery.engine.plan import Plan
from nova_recovery.exceptions import (
    Ambiguous,
    NotFound,
    RecoveryError,
    Refused,
)
from nova_recovery.report import standing, summary, wording

if TYPE_CHECKING:
    from oslo_config import cfg

    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.engine.journal import Journal
    from nova_recovery.engine.progress import Reporter
    from nova_recovery.engine.records import Outcome, RunRecord

LOG = logging.getLogger(__name__)

#: State of a run -> how it is said at its end.
_ENDS = {
    states.DONE: 'done',
    states.PARTLY: 'partly done',
    states.UNDONE: 'taken back',
    states.PAUSED: 'paused',
    states.INTERRUPTED: 'interrupted, and nothing of it is in flight',
}
#: Whose requests count as ours besides those of the run itself.
RECENT = datetime.timedelta(hours=1)
RECENT_RUNS = 20


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of a plan.

    :ivar columns: headers of the table for stdout
    :ivar rows: one a subject
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    exit_code: int = exit_codes.DONE

    @property
    def table(self) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """What a lister returns."""
        return self.columns, self.rows


class Command(Protocol):
    """What is needed of a command; see ``cli.base.RecoveryMixin``."""

    app: Any
    exit_code: int
    closing: list[str]

    def conf(self, parsed_args: argparse.Namespace) -> cfg.ConfigOpts:
        """Our configuration, where options of the command win."""

    def cloud(self, parsed_args: argparse.Namespace) -> Cloud:
        """The cloud."""


class Stage:
    """One command that was typed: its terminal, its journal, its words."""

    def __init__(self, command: Command, parsed: argparse.Namespace) -> None:
        self._command, self._parsed = command, parsed
        self.screen = show_plan.console(command.app.stderr)

    @functools.cached_property
    def registry(self) -> Registry:
        return changes.registry()

    @functools.cached_property
    def _conf(self) -> cfg.ConfigOpts:
        return self._command.conf(self._parsed)

    @property
    def width(self) -> int:
        """Columns to write in."""
        return show_plan.width(self.screen)

    def say(self, text: str | Line = '') -> None:
        """One line on stderr, while somebody is there to read it.

        What is text may have names that tenants chose.
        """
        if isinstance(text, str):
            text = wording.fitted(
                printable.lines(text), self._command.app.stderr
            )
        try:
            self.screen.print(text)
        except OSError:
            # A terminal that is gone must not hide how the run ended: the
            # result on stdout and the exit code are still to come.
            LOG.debug('stderr is gone, so nobody reads: %s', text)

    def show(self, plan: Plan) -> None:
        """The plan on stderr."""
        show_plan.show(
            plan,
            self.registry,
            self.screen,
            comes_to=show_plan.comes_to(*procedures.table(plan, None)),
        )

    def show_gates(self, plan: Plan) -> None:
        """Its gates alone on stderr."""
        for line in show_plan.gate_lines(plan.gates, self.width):
            self.screen.print(line)

    def say_decided(self, what: str, words: Sequence[tuple[str, str]]) -> None:
        """What the operator decided about items, each with the reason."""
        for item_id, reason in words:
            self.say(f'{what}: {item_id}  ({reason})')

    def say_through(self, through: int | None) -> None:
        """Where it will pause, if it was asked to."""
        if through is not None:
            self.say(f'Pauses when step {through} is over (--through).')

    def asker(self) -> Asker:
        """The terminal of the command."""
        return Asker(self._command.app.stdin, self._command.app.stderr)

    def call(self, *words: str) -> str:
        """How another command is typed in this program, to be copied."""
        return program.call(shlex.join(words))

    @contextlib.contextmanager
    def journal(self, make: bool = False) -> Iterator[Journal]:
        """The journal that is configured; closed at the end.

        :param make: for a new run: make one where there is none
        :raises NotFound: there is none
        """
        from nova_recovery.engine.journal import Journal

        where = self._conf.journal
        opened = Journal.open if make else Journal.open_existing
        with contextlib.closing(
            opened(where.connection, where.images or '')
        ) as journal:
            yield journal

    def run_of(self, journal: Journal, prefix: str = '') -> RunRecord:
        """The run that the command names.

        :param prefix: of several, this one
        :raises NotFound: with those that there are
        :raises Ambiguous: with those that it could be
        """
        try:
            return journal.run(prefix or self._parsed.run)
        except NotFound as error:
            newest = [f'{r.id}  {r.title}' for r in journal.runs(limit=5)]
            if not newest:
                raise
            raise Ambiguous(f'{error}; the newest are:', newest) from error

    def who(self) -> dict[str, str]:
        """Who does it, where, and with which command."""
        return {
            'who': person(os.environ),
            'machine': socket.gethostname(),
            'command': typed(sys.argv),
        }

    def cloud_name(self) -> str:
        """Which cloud, as the command or its environment calls it.

        The name in clouds.yaml, else the host of Keystone; '' if neither is
        given: nova.conf says which one it is then.
        """
        options = vars(self._command.app.options)
        for name in ('cloud', 'auth_url'):
            # openstack, nova-recovery
            value = options.get(name) or options.get(f'os_{name}')
            value = value or os.environ.get(f'OS_{name.upper()}', '')
            if value and name == 'auth_url':
                # what is no URL may have a password in it all the same
                value = _hostname(value)
            if value:
                return wording.clean(value)
        return ''

    def check_mine(self, found: RunRecord) -> None:
        """Refuse a run of another controller.

        Its claims in the cloud name that one, which may still be at it.

        :raises Refused: with how to make it ours
        """
        if found.machine != self.who()['machine']:
            raise Refused(
                f'run {found.id} is of {found.who} on {found.machine}; make '
                f'it yours first: {self.call("run", "take", "over", found.id)}'
                ' --reason WHY'
            )

    def check(self, plan: Plan) -> None:
        """:raises RecoveryError: a new plan that is wrong"""
        plan.check(change.kinds(self.registry))

    def check_kinds(self, plan: Plan) -> None:
        """:raises RecoveryError: a plan of another version"""
        change.check_kinds(plan, self.registry)

    def checked_again(
        self, plan: Plan, cloud: Cloud, touched: frozenset[str] = frozenset()
    ) -> Plan:
        """The same plan with its gates as they are now.

        :param touched: subjects that its run has begun to change
        """
        now = procedures.check_gates(plan, cloud, touched)
        return dataclasses.replace(plan, gates=as_approved(now, plan.gates))

    def settle(
        self,
        plan: Plan,
        cloud: Cloud,
        through: int | None = None,
        name: str = '',
    ) -> Result:
        """Show a new plan; carry it out if its gates and the operator agree.

        Sets the command's exit code.

        :param through: pause before the first step with a higher number
        :param name: see ``approval.confirm``
        :raises Refused: a gate refused, or nobody agreed; nothing was changed
        :raises UsageError: an override that means none of the plan's gates,
            or no step has the number
        """
        approval.check_through(plan, through)
        given = approval.given(self._parsed)
        plan = dataclasses.replace(
            plan, gates=apply(plan.gates, given), cloud=self.cloud_name()
        )
        self.check(plan)
        self.show(plan)
        if self._parsed.plan_file:
            return self._save(plan, self._parsed.plan_file)
        return self._agreed(plan, cloud, through, name)

    def settle_saved(self, plan: Plan) -> Result:
        """Show a plan of a file, its gates checked again, and carry it out.

        :raises Refused: as ``settle`` does
        :raises UsageError: no step has the number of ``--through``
        """
        self.check_kinds(plan)
        change.check_data(plan, self.registry)
        self.check(plan)
        approval.check_through(plan, self._parsed.through)
        if name := self.cloud_name():
            # it may be carried out by another name than it was made by
            plan = dataclasses.replace(plan, cloud=name)
        cloud = self._command.cloud(self._parsed)
        self.say(f'Made {wording.ago(plan.created_at)}; checking its gates …')
        try:
            plan = self.checked_again(plan, cloud)
        except change.MISUNDERSTOOD as error:
            # the file may be anybody's
            raise RecoveryError(
                f'the plan is not one of {plan.procedure}: what it was asked '
                f'for makes no sense ({type(error).__name__}); make it anew. '
                'Nothing was changed.'
            ) from error
        self.show(plan)
        return self._agreed(plan, cloud, self._parsed.through)

    def _agreed(
        self, plan: Plan, cloud: Cloud, through: int | None, name: str = ''
    ) -> Result:
        """Run a plan that was shown, if its gates and the operator agree."""
        approval.refuse_if_blocked(plan.gates, plan.digest)
        if self._parsed.dry_run:
            self._command.closing.append('Dry run. Nothing was changed.')
            return self.nothing(plan)
        if not any(plan.items()):
            return self.nothing(plan)
        with self.journal(make=True) as journal:
            self.say_through(through)
            plan = self.agree(
                plan, lambda: self.checked_again(plan, cloud), name
            )
            run_id = journal.create_run(plan, **self.who())
            return self.run(journal, run_id, plan, cloud, through)

    def agree(
        self, plan: Plan, now: Callable[[], Plan], name: str = ''
    ) -> Plan:
        """The plan that was shown, once somebody agreed to it.

        :param now: gives it with its gates as they are now: an answer that
            took its time is for gates that may no longer stand so
        :param name: see ``approval.confirm``
        :raises Refused: nobody agreed, or a gate refuses by now
        """
        shown = time.monotonic()
        total = sum(1 for _ in plan.items())
        approval.confirm(self.asker(), self._parsed, total, plan.digest, name)
        if time.monotonic() - shown > approval.STALE:
            plan = now()
            self.show_gates(plan)
            approval.refuse_if_blocked(plan.gates, plan.digest)
        return plan

    def _save(self, plan: Plan, path: str) -> Result:
        """Save the plan and stop."""
        planfile.save(plan, path)
        self._command.closing.append(
            f'Saved in {path}. Carry it out with: '
            f'{self.call("plan", "apply", path)}'
        )
        approval.refuse_if_blocked(plan.gates, plan.digest)
        return self.nothing(plan)

    def nothing(self, plan: Plan) -> Result:
        """The result of a plan that isn't carried out, or is empty.

        On a terminal it was just shown.
        """
        columns, rows = procedures.table(plan, None)
        if tables.wanted(self._parsed, self._command.app.stdout):
            rows = []
        return Result(columns, rows)

    def run(
        self,
        journal: Journal,
        run_id: str,
        plan: Plan,
        cloud: Cloud,
        through: int | None = None,
    ) -> Result:
        """Run what the journal has, from its beginning or from where it is.

        Sets the command's exit code.

        :param through: pause before the first step with a higher number
        """
        from nova_recovery.engine.runner import Runner

        self.say(f'\nRun {run_id}')
        marker = journal.run(run_id).marker
        guard = procedures.guard(plan, cloud, marker)
        earlier = requests_of_others(journal, run_id)
        before = procedures.before(
            plan,
            cloud,
            lambda: earlier | requests_of(journal, run_id),
            lambda: {i.id: i.state for i in journal.items(run_id)},
        )
        one = Runner(
            before=before,
            through=through,
            **self._session(journal, cloud, guard),
        )
        outcome = one.carry_out(run_id)
        if outcome.state == states.PAUSED:
            step = procedures.goes_back(plan, journal.items(run_id))
            if step:
                return self._go_back(journal, outcome, plan, cloud, step)
        if states.UNDO & set(outcome.counts):
            # it went forward, of a run that was taken back
            self._give_back(journal, plan, cloud, outcome, marker)
        return self._end(journal, plan, outcome)

    def _go_back(
        self,
        journal: Journal,
        outcome: Outcome,
        plan: Plan,
        cloud: Cloud,
        step: str,
    ) -> Result:
        """Take back at once what is done on all or on none."""
        items = list(journal.items(outcome.run_id))
        self.say(f'\nNot done on all of them: {step}. So all is taken back:')
        for item in items:
            if item.state in states.BAD:
                self.say(f'  {item.label}: {item.detail}')
        self.undo(journal, outcome.run_id, plan, cloud)
        self._command.exit_code = exit_codes.PARTLY
        # what went wrong, not that it was taken back
        return Result(*procedures.table(plan, items), exit_codes.PARTLY)

    def undo(
        self, journal: Journal, run_id: str, plan: Plan, cloud: Cloud
    ) -> Result:
        """Take back what of the run is in the cloud.

        Sets the command's exit code.
        """
        marker = journal.run(run_id).marker
        guard = procedures.guard(plan, cloud, marker, undoing=True)
        one = undo.Undo(**self._session(journal, cloud, guard))
        outcome = one.undo(run_id)
        self._give_back(journal, plan, cloud, outcome, marker)
        return self._end(journal, plan, outcome)

    def _give_back(
        self,
        journal: Journal,
        plan: Plan,
        cloud: Cloud,
        outcome: Outcome,
        marker: str,
    ) -> None:
        """What a run that was taken back still claims, once it is over."""
        items = journal.items(outcome.run_id)
        if outcome.state in states.HALTED or undo.forward(
            plan, items, self.registry
        ):
            return
        for line in claims.give_back(plan, cloud, outcome.run_id, marker):
            self.say(line)

    def _session(
        self, journal: Journal, cloud: Cloud, guard: Guard | None
    ) -> dict[str, Any]:
        """What both ways through a run need."""
        return {
            'journal': journal,
            'registry': self.registry,
            'cloud': cloud,
            'reporter': self._reporter(),
            'workers': self._conf.runner.workers,
            'guard': guard,
        }

    def _reporter(self) -> Reporter:
        from nova_recovery.engine.progress import PlainReporter, RichReporter

        if self.screen.is_terminal:
            return RichReporter(self._command.app.stderr)
        return PlainReporter(self._command.app.stderr)

    def _end(self, journal: Journal, plan: Plan, outcome: Outcome) -> Result:
        """Say how it ended and how to go on; the result for stdout."""
        counts = summary.counted(outcome.counts)
        end = [f'Run {outcome.run_id} {_ENDS[outcome.state]}: {counts}.']
        if outcome.state == states.PAUSED:
            end.append(f'Paused: {outcome.reason}.')
        end.extend(outcome.then)
        items = list(journal.items(outcome.run_id))
        run = journal.run(outcome.run_id)
        forward = undo.forward(plan, items, self.registry)
        back = undo.worth(
            plan, items, self.registry
        ) and not procedures.only_forward(plan, items)
        end.extend(standing.lines(run, self.call, forward, back))
        self._command.closing.extend(end)
        self._command.exit_code = outcome.exit_code
        columns, rows = procedures.table(plan, items)
        return Result(columns, rows, outcome.exit_code)


def requests_of_others(journal: Journal, run_id: str) -> frozenset[str]:
    """The same of those runs that ended within the last hour.

    What we did ourselves a minute ago is nobody else at work.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    found: set[str] = set()
    for run in journal.runs(limit=RECENT_RUNS):
        ended = wording.moment(run.finished_at)
        if run.id != run_id and ended and now - ended < RECENT:
            found |= requests_of(journal, run.id)
    return frozenset(found)


def requests_of(journal: Journal, run_id: str) -> frozenset[str]:
    """The ids of the requests that the run has sent so far."""
    return frozenset(
        item.notes['request_id']
        for item in journal.items(run_id)
        if item.notes.get('request_id')
    )


def person(environ: Mapping[str, str]) -> str:
    """``anna``, or ``anna/admin`` where she works as OpenStack's admin."""
    try:
        login = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        login = str(os.getuid())
    names = [environ.get('SUDO_USER') or environ.get('USER') or login]
    if environ.get('OS_USERNAME'):
        names.append(environ['OS_USERNAME'])
    return '/'.join(wording.clean(name)[:32] for name in names)


def typed(words: Sequence[str]) -> str:
    """The command line for the journal, without secrets."""
    shown = secrets.mask_command(words)
    if shown:
        shown[0] = os.path.basename(shown[0])
    return wording.clean(shlex.join(shown))


def _hostname(url: str) -> str:
    """The host of a URL; '' where it has none."""
    try:
        return parse.urlsplit(url).hostname or ''
    except ValueError:
        return ''
