# SPDX-License-Identifier: Apache-2.0

"""Where a command carries a plan out: its terminal, its journal, its words."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import datetime
import functools
import logging
import os
import pwd
import re
import shlex
import socket
import sys
from typing import Any, TYPE_CHECKING

from nova_recovery import changes, procedures
from nova_recovery.changes import claims
from nova_recovery.cli import carry_out, show_plan, show_run
from nova_recovery.cli.carry_out import Asker, Result
from nova_recovery.cli.show_plan import Line
from nova_recovery.engine import change, planfile, printable
from nova_recovery.engine.change import Guard, Registry
from nova_recovery.engine.gates import again
from nova_recovery.engine.plan import Plan
from nova_recovery.exceptions import Ambiguous, NotFound, Refused
from nova_recovery.report import summary, wording

if TYPE_CHECKING:
    from oslo_config import cfg

    from nova_recovery.cli.base import RecoveryMixin
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.engine.journal import Journal
    from nova_recovery.engine.progress import Reporter
    from nova_recovery.engine.records import Outcome, RunRecord

LOG = logging.getLogger(__name__)

#: State of a run -> how it is said at its end.
_ENDS = {
    'done': 'done',
    'partly': 'partly done',
    'undone': 'taken back',
    'paused': 'paused',
    'interrupted': 'interrupted, and nothing of it is in flight',
}
#: Ends after which there is more of the same to do.
_HALTED = ('paused', 'interrupted')
#: Whose requests count as ours besides those of the run itself.
RECENT = datetime.timedelta(hours=1)
RECENT_RUNS = 20
_SECRET = re.compile('--.*(password|passcode|secret|token|key)')


class Stage:
    """One command that was typed."""

    def __init__(
        self, command: RecoveryMixin, parsed: argparse.Namespace
    ) -> None:
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
            text = printable.lines(text)
        try:
            self.screen.print(text)
        except OSError:
            # A terminal that is gone must not hide how the run ended: the
            # result on stdout and the exit code are still to come.
            LOG.debug('stderr is gone, so nobody reads: %s', text)

    def show(self, plan: Plan) -> None:
        """The plan on stderr."""
        show_plan.show(plan, self.registry, self.screen)

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
        return Asker(self._command.app.stdin, self._command.app.stderr)

    def call(self, *words: str) -> str:
        """How another command is typed in this program, to be copied."""
        unified = str(self._command.cmd_name or '').startswith('recovery ')
        program = ('openstack', 'recovery') if unified else ('nova-recovery',)
        return shlex.join([*program, *words])

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

    def run_of(self, journal: Journal) -> RunRecord:
        """The run that the command names.

        :raises NotFound: with those that there are
        :raises Ambiguous: with those that it could be
        """
        try:
            return journal.run(self._parsed.run)
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
        return dataclasses.replace(plan, gates=again(now, plan.gates))

    def save(self, plan: Plan, path: str) -> Result:
        """Save the plan and stop."""
        planfile.save(plan, path)
        self.say(
            f'\nSaved in {path}. Carry it out with: '
            f'{self.call("plan", "apply", path)}'
        )
        carry_out.refuse_if_blocked(plan.gates)
        return self.nothing(plan)

    def dry(self, plan: Plan) -> Result:
        """Stop after the plan was shown."""
        self.say('\nDry run. Nothing was changed.')
        return self.nothing(plan)

    def nothing(self, plan: Plan) -> Result:
        """The result of a plan that isn't carried out, or is empty."""
        return Result(*procedures.table(plan, None))

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
        return self._end(journal, plan, one.carry_out(run_id))

    def undo(
        self, journal: Journal, run_id: str, plan: Plan, cloud: Cloud
    ) -> Result:
        """Take back what of the run is in the cloud.

        Sets the command's exit code.
        """
        from nova_recovery.engine import undo

        marker = journal.run(run_id).marker
        guard = procedures.guard(plan, cloud, marker, undoing=True)
        one = undo.Undo(**self._session(journal, cloud, guard))
        outcome = one.undo(run_id)
        if outcome.state not in _HALTED:
            for line in claims.give_back(plan, cloud, run_id, marker):
                self.say(line)
        return self._end(journal, plan, outcome)

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
        self.say()
        counts = summary.counted(outcome.counts)
        self.say(f'Run {outcome.run_id} {_ENDS[outcome.state]}: {counts}.')
        if outcome.state == 'paused':
            self.say(f'Paused: {outcome.reason}.')
        for line in show_run.ways_on(journal.run(outcome.run_id), self.call):
            self.say(line)
        self._command.exit_code = outcome.exit_code
        columns, rows = procedures.table(plan, journal.items(outcome.run_id))
        return Result(columns, rows, outcome.exit_code)


def requests_of_others(journal: Journal, run_id: str) -> frozenset[str]:
    """The same of those runs that ended within the last hour.

    What we did ourselves a minute ago is nobody else at work.
    """
    now = datetime.datetime.now(datetime.UTC)
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
    shown: list[str] = []
    hide = False
    for word in words:
        name, equals, _ = word.partition('=')
        secret = bool(_SECRET.fullmatch(name))
        if hide:
            shown.append('***')
        else:
            shown.append(f'{name}=***' if secret and equals else word)
        hide = secret and not equals
    if shown:
        shown[0] = os.path.basename(shown[0])
    return wording.clean(shlex.join(shown))
