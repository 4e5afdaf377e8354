# SPDX-License-Identifier: Apache-2.0

"""Where a command carries a plan out: its terminal, its journal, its words."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
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
from typing import Any
from typing import TYPE_CHECKING

from nova_recovery import changes
from nova_recovery.changes import claims_of_run
from nova_recovery.cli import carry_out
from nova_recovery.cli import show_plan
from nova_recovery.cli import show_run
from nova_recovery.engine import change
from nova_recovery.engine import gates as gates_module
from nova_recovery.engine import plan as plan_module
from nova_recovery.engine import planfile
from nova_recovery.engine import printable
from nova_recovery import exceptions
from nova_recovery import procedures
from nova_recovery.report import summary
from nova_recovery.report import wording

if TYPE_CHECKING:
    from oslo_config import cfg

    from nova_recovery.cli import base
    from nova_recovery.cloud import cloud as cloud_module
    from nova_recovery.engine import journal as journal_module
    from nova_recovery.engine.journal import records
    from nova_recovery.engine import progress
    from nova_recovery.engine import session

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
_REQUEST = re.compile(r'req-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}')
_SECRET = re.compile('--.*(password|passcode|secret|token|key)')


class Stage:
    """One command that was typed."""

    def __init__(
        self, command: base.RecoveryMixin, parsed: argparse.Namespace
    ) -> None:
        self._command, self._parsed = command, parsed
        self.screen = show_plan.console(command.app.stderr)

    @functools.cached_property
    def registry(self) -> change.Registry:
        return changes.registry()

    @functools.cached_property
    def _conf(self) -> cfg.ConfigOpts:
        return self._command.conf(self._parsed)

    @property
    def width(self) -> int:
        """Columns to write in."""
        return show_plan.width(self.screen)

    def say(self, text: str | show_plan.Line = '') -> None:
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

    def show(self, plan: plan_module.Plan) -> None:
        """The plan on stderr."""
        show_plan.show(plan, self.registry, self.screen)

    def show_gates(self, plan: plan_module.Plan) -> None:
        """Its gates alone on stderr."""
        for line in show_plan.gate_lines(plan.gates, self.width):
            self.screen.print(line)

    def say_decided(
        self, what: str, words: Sequence[tuple[str, str]]
    ) -> None:
        """What the operator decided about items, each with the reason."""
        for item_id, reason in words:
            self.say(f'{what}: {item_id}  ({reason})')

    def say_through(self, through: int | None) -> None:
        """Where it will pause, if it was asked to."""
        if through is not None:
            self.say(f'Pauses when step {through} is over (--through).')

    def asker(self) -> carry_out.Asker:
        return carry_out.Asker(
            self._command.app.stdin, self._command.app.stderr
        )

    def call(self, *words: str) -> str:
        """How another command is typed in this program, to be copied."""
        unified = str(self._command.cmd_name or '').startswith('recovery ')
        program = ('openstack', 'recovery') if unified else ('nova-recovery',)
        return shlex.join([*program, *words])

    @contextlib.contextmanager
    def journal(self, make: bool = False) -> Iterator[journal_module.Journal]:
        """The journal that is configured; closed at the end.

        :param make: for a new run: make one where there is none
        :raises NotFound: there is none
        """
        from nova_recovery.engine import journal as journal_module

        url = self._conf.journal.connection
        opened = journal_module.Journal
        with contextlib.closing(
            opened.open(url) if make else opened.open_existing(url)
        ) as journal:
            yield journal

    def run_of(self, journal: journal_module.Journal) -> records.RunRecord:
        """The run that the command names.

        :raises NotFound: with those that there are
        :raises Ambiguous: with those that it could be
        """
        try:
            return journal.run(self._parsed.run)
        except exceptions.NotFound as error:
            newest = [f'{r.id}  {r.title}' for r in journal.runs(limit=5)]
            if not newest:
                raise
            raise exceptions.Ambiguous(
                f'{error}; the newest are:', newest
            ) from error

    def who(self) -> dict[str, str]:
        """Who does it, where, and with which command."""
        return {
            'who': person(os.environ),
            'machine': socket.gethostname(),
            'command': typed(sys.argv),
        }

    def check_mine(self, found: records.RunRecord) -> None:
        """Refuse a run of another controller.

        Its claims in the cloud name that one, which may still be at it.

        :raises Refused: with how to make it ours
        """
        if found.machine != self.who()['machine']:
            raise exceptions.Refused(
                f'run {found.id} is of {found.who} on {found.machine}; make '
                f'it yours first: {self.call("run", "take", "over", found.id)}'
                ' --reason WHY'
            )

    def check_kinds(self, plan: plan_module.Plan) -> None:
        """:raises RecoveryError: a plan of another version"""
        change.check_kinds(plan, self.registry)

    def checked_again(
        self,
        plan: plan_module.Plan,
        cloud: cloud_module.Cloud,
        touched: frozenset[str] = frozenset(),
    ) -> plan_module.Plan:
        """The same plan with its gates as they are now.

        :param touched: subjects that its run has begun to change
        """
        now = procedures.check_gates(plan, cloud, touched)
        return dataclasses.replace(
            plan, gates=gates_module.again(now, plan.gates)
        )

    def save(self, plan: plan_module.Plan, path: str) -> carry_out.Result:
        """Save the plan and stop."""
        planfile.save(plan, path)
        self.say(
            f'\nSaved in {path}. Carry it out with: '
            f'{self.call("plan", "apply", path)}'
        )
        carry_out.refuse_if_blocked(plan.gates)
        return self.nothing(plan)

    def dry(self, plan: plan_module.Plan) -> carry_out.Result:
        """Stop after the plan was shown."""
        self.say('\nDry run. Nothing was changed.')
        return self.nothing(plan)

    def nothing(self, plan: plan_module.Plan) -> carry_out.Result:
        """The result of a plan that isn't carried out, or is empty."""
        return carry_out.Result(*procedures.table(plan, None))

    def run(
        self,
        journal: journal_module.Journal,
        run_id: str,
        plan: plan_module.Plan,
        cloud: cloud_module.Cloud,
        through: int | None = None,
    ) -> carry_out.Result:
        """Run what the journal has, from its beginning or from where it is.

        Sets the command's exit code.

        :param through: pause before the first step with a higher number
        """
        from nova_recovery.engine import runner

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
        one = runner.Runner(
            before=before,
            through=through,
            **self._session(journal, cloud, guard),
        )
        return self._end(journal, plan, one.carry_out(run_id))

    def undo(
        self,
        journal: journal_module.Journal,
        run_id: str,
        plan: plan_module.Plan,
        cloud: cloud_module.Cloud,
    ) -> carry_out.Result:
        """Take back what of the run is in the cloud.

        Sets the command's exit code.
        """
        from nova_recovery.engine import undo

        marker = journal.run(run_id).marker
        guard = procedures.guard(plan, cloud, marker, undoing=True)
        one = undo.Undo(**self._session(journal, cloud, guard))
        outcome = one.undo(run_id)
        if outcome.state not in _HALTED:
            for label in claims_of_run.give_back(plan, cloud, run_id, marker):
                self.say(f'{label} stays disabled; its claim is given back.')
        return self._end(journal, plan, outcome)

    def _session(
        self,
        journal: journal_module.Journal,
        cloud: cloud_module.Cloud,
        guard: change.Guard | None,
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

    def _reporter(self) -> progress.Reporter:
        from nova_recovery.engine import progress

        if self.screen.is_terminal:
            return progress.RichReporter(self._command.app.stderr)
        return progress.PlainReporter(self._command.app.stderr)

    def _end(
        self,
        journal: journal_module.Journal,
        plan: plan_module.Plan,
        outcome: session.Outcome,
    ) -> carry_out.Result:
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
        return carry_out.Result(columns, rows, outcome.exit_code)


def requests_of_others(
    journal: journal_module.Journal, run_id: str
) -> frozenset[str]:
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


def requests_of(
    journal: journal_module.Journal, run_id: str
) -> frozenset[str]:
    """The ids of the requests that the run has sent so far.

    One whose answer was lost is known by the row that nova has of it, which
    is told in the item's words.
    """
    found: set[str] = set()
    for item in journal.items(run_id):
        if item.notes.get('request_id'):
            found.add(item.notes['request_id'])
        elif item.begun:
            found.update(_REQUEST.findall(item.detail or ''))
    return frozenset(found)


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
