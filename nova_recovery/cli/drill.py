# SPDX-License-Identifier: Apache-2.0

"""``recovery drill …``: a power loss on one canary, to be ready for the day.

A drill is two runs: one that takes the power, and a disaster's that brings
back what lost it. Where it stands is in the journal, so that typing the
command again goes on with it. What the drill of one server has in common with
that of a whole site (``drill_site``) is ``Rehearsal``.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from typing import Any, TYPE_CHECKING

from nova_recovery import exit_codes
from nova_recovery.cli import approval, recovering
from nova_recovery.cli.base import RecoveryLister, Table
from nova_recovery.cli.server import ANY_NAME
from nova_recovery.engine import printable, states
from nova_recovery.engine.overrides import parse_overrides
from nova_recovery.exceptions import NotFound, RecoveryError

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.cloud.records import Server
    from nova_recovery.report.drill import Drill

#: Seconds between two looks, and until the loss, or its end, must be seen.
POLL, PATIENCE = 2.0, 120.0
#: So many hosts that did not come back are told how to be left out.
_SOME = 3
SHORT = ('Step', 'Began', 'Seconds', 'Target', 'Result')


@dataclasses.dataclass(frozen=True)
class Subject:
    """What loses its power.

    :ivar key: by which the journal knows its drills, see ``drill.newest``
    :ivar name: what has to be typed to agree
    """

    key: str
    name: str


class Rehearsal(RecoveryLister):
    """From the loss of power to its end, over two runs of the journal.

    :cvar procedure: of the first run
    """

    short = SHORT
    procedure: str

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--target',
            metavar='<step>=<seconds>',
            action='append',
            default=[],
            help='How long a step may take, before what [drill] targets '
            'says: snapshot, loss, power (of a site: until it is back), seen, '
            'record, clean, restart, attach, guests, or back for all of it. '
            'Repeat it for several',
        )
        group = approval.add_confirm_options(parser)
        group.add_argument(
            '--dry-run',
            action='store_true',
            help='Show the plan and stop: exit code 0, or 3 if a gate refuses',
        )
        approval.add_override(group)
        parser.set_defaults(plan_file=None)
        return parser

    def _back(self) -> Any:
        """The module that looks, and plans the way back."""
        raise NotImplementedError

    def _taken(self, found: Drill) -> Any:
        """What lost its power, for that module."""
        raise NotImplementedError

    def _whole_loss(
        self, parsed: argparse.Namespace, subject: Subject
    ) -> Drill | None:
        """The drill, if its power is lost and nothing is under way."""
        raise NotImplementedError

    def _go_on(self, parsed: argparse.Namespace, found: Drill) -> None:
        """Go on with the run that takes the power."""
        self._resume(parsed, found.loss.run.id)

    def _requests(self, parsed: argparse.Namespace) -> frozenset[str]:
        """What our own runs asked of nova lately, if there is a journal."""
        from nova_recovery.cli import stage

        try:
            with self.stage(parsed).journal() as journal:
                return stage.requests_of_others(journal, '')
        except NotFound:
            return frozenset()

    def _newest(
        self, parsed: argparse.Namespace, subject: Subject
    ) -> Drill | None:
        from nova_recovery.report import drill

        try:
            with self.stage(parsed).journal() as journal:
                return drill.newest(journal, subject.key, self.procedure)
        except NotFound:
            return None

    def _again(
        self,
        parsed: argparse.Namespace,
        cloud: Cloud,
        subject: Subject,
        found: Drill,
    ) -> Table:
        """Go on with a drill that has no end yet."""
        stage = self.stage(parsed)
        run = found.loss.run
        stage.check_mine(run)
        stage.say(f'Drill {run.id} of {subject.name} has no end yet.')
        if parsed.dry_run:
            self.closing.append('Dry run. Nothing was changed.')
            return self._told(parsed, subject, found)
        approval.confirm(stage.asker(), parsed, 1, run.digest, subject.name)
        if not found.loss.over and run.state != states.UNDONE:
            self._go_on(parsed, found)
        return self._forward(parsed, cloud, subject)

    def _forward(
        self, parsed: argparse.Namespace, cloud: Cloud, subject: Subject
    ) -> Table:
        """From the loss to its end, or as far as it can be had now."""
        try:
            self._bring_back(parsed, cloud, subject)
        except RecoveryError as error:
            self.closing.append(str(error))
            self.exit_code = error.exit_code
        found = self._newest(parsed, subject)
        if found is None:
            raise NotFound('the journal of the drill is gone')
        return self._told(parsed, subject, found)

    def _told(
        self, parsed: argparse.Namespace, subject: Subject, found: Drill
    ) -> Table:
        from nova_recovery.report import drill

        good, text = drill.verdict(found, subject.name)
        if not good and not self.exit_code:
            self.exit_code = exit_codes.PARTLY
        self.closing.append(text)
        self.closing += _ways_on(self.stage(parsed), found)
        return drill.COLUMNS, drill.table(found)

    def _bring_back(
        self, parsed: argparse.Namespace, cloud: Cloud, subject: Subject
    ) -> None:
        from nova_recovery.report import drill

        found = self._whole_loss(parsed, subject)
        if found is None:
            return
        back, taken = self._back(), self._taken(found)
        if found.last(drill.SEEN, drill.NOT_SEEN) is None:
            self._say(parsed, '\nWhether the findings see it …')
            self._look(
                parsed, cloud, taken, found, (drill.SEEN, drill.NOT_SEEN)
            )
        way = found.back
        if way is not None and not way.over and not way.undone:
            self._resume(parsed, way.run.id)
        elif way is None or not back.look(cloud, taken).back(taken.volumes)[0]:
            # none yet, or one that was taken back, given up, or not enough
            self._say(parsed, '\nAnd back:')
            plan = back.make_plan(
                cloud, taken, parse_overrides(parsed.override)
            )
            self.stage(_unasked(parsed)).settle(plan, cloud)
        self._quiet(parsed)
        again = self._newest(parsed, subject)
        if again is None or (
            again.back and again.back.run.state in states.HALTED
        ):
            return
        self._say(parsed, '\nWhether it is whole again …')
        self._look(parsed, cloud, taken, found, (drill.BACK, drill.NOT_BACK))

    def _look(
        self,
        parsed: argparse.Namespace,
        cloud: Cloud,
        taken: Any,
        found: Drill,
        kinds: tuple[str, str],
    ) -> None:
        """See that all is so, in some time, and write down what was seen.

        :param kinds: of the event, if it is so and if not
        """
        from nova_recovery.report import drill

        back = self._back()
        deadline = time.monotonic() + PATIENCE
        while True:
            seen = back.look(cloud, taken)
            judge = seen.loss if kinds[0] == drill.SEEN else seen.back
            good, told = judge(taken.volumes)
            if good or time.monotonic() > deadline:
                break
            time.sleep(POLL)
        stage = self.stage(parsed)
        stage.say(f'  {told}')
        me = stage.who()
        del me['command']
        with stage.journal() as journal:
            kind = kinds[0] if good else kinds[1]
            journal.tell(found.loss.run.id, kind, told, **me)

    def _resume(
        self,
        parsed: argparse.Namespace,
        run_id: str,
        through: int | None = None,
    ) -> None:
        from nova_recovery.cli import run_resume

        words = _unasked(parsed)
        words.override = parsed.override
        for name in ('again', 'skip', 'skip_host', 'skip_backend'):
            setattr(words, name, [])
        words.run, words.through = run_id, through
        # they are for what refused, and not for what follows
        parsed.override = []
        run_resume.resume(self, words)

    def _say(self, parsed: argparse.Namespace, text: str) -> None:
        self.stage(parsed).say(text)

    def _quiet(self, parsed: argparse.Namespace) -> None:
        """Say now how a run ended, which is not the end of the drill."""
        stage = self.stage(parsed)
        while self.closing:
            stage.say(self.closing.pop(0))
        if self.exit_code != exit_codes.INTERRUPTED:
            self.exit_code = exit_codes.DONE


class PowerLossDrill(Rehearsal):
    """Take the power of one canary, and bring it back as after a disaster.

    A snapshot is taken, the guest is cut off on its host without a word to
    nova, and its iSCSI sessions are closed by their numbers. Then it is seen
    whether the findings see that, the five steps are carried out for this
    server alone, and each is timed. No server is touched but the one that is
    named; its name is asked for. Refused while a session carries a volume of
    another one, or where there is none.

    Interrupted or killed: the same command again goes on. There is no way
    back but forward. Ends with 4 where a target was missed, where the loss
    was not seen, or where the server is not whole again::

        openstack recovery drill power-loss --server canary --dry-run
        openstack recovery drill power-loss --server canary --target back=300
    """

    procedure = 'drill'

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--server', metavar='<server>', required=True, help=ANY_NAME
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        cloud = self.cloud(parsed_args)
        (server,) = recovering.resolve(cloud, [parsed_args.server])
        subject = Subject(server.uuid, _name(server))
        found = self._newest(parsed_args, subject)
        if found is not None and not found.over:
            return self._again(parsed_args, cloud, subject, found)
        begun = self._begin(parsed_args, cloud, server)
        found = self._newest(parsed_args, subject)
        if parsed_args.dry_run or found is None:
            return begun
        return self._forward(parsed_args, cloud, subject)

    def _begin(
        self, parsed: argparse.Namespace, cloud: Cloud, server: Server
    ) -> Table:
        from nova_recovery.procedures.drill import procedure
        from nova_recovery.report import drill

        request = procedure.Request(
            server.uuid,
            server.cell,
            drill.targets(parsed.target, cloud.conf.drill.targets),
        )
        stage = self.stage(parsed)
        plan = procedure.make_plan(
            cloud, request, lambda: self._requests(parsed)
        )
        result = stage.settle(plan, cloud, name=_name(server)).table
        # what has been said is of no hindrance to a run that follows
        parsed.override = []
        return result

    def _back(self) -> Any:
        from nova_recovery.procedures.drill import back

        return back

    def _taken(self, found: Drill) -> Any:
        return self._back().Drill(
            found.loss.plan, found.snapshot, found.lost_at
        )

    def _whole_loss(
        self, parsed: argparse.Namespace, subject: Subject
    ) -> Drill | None:
        """The drill, if its server lost its power and nothing is under way.

        A session that could not be closed is left out: whatever there is of a
        loss, the server comes back.
        """
        self._quiet(parsed)
        found = self._newest(parsed, subject)
        if found is None or not found.lost_at:
            return None
        if found.loss.run.state in states.HALTED:
            return None
        left = [
            item
            for item in found.loss.items
            if item.kind == 'close-session'
            and item.state in states.BAD | {states.BLOCKED}
        ]
        if left and found.loss.run.state != states.UNDONE:
            stage = self.stage(parsed)
            me = stage.who()
            del me['command']
            with stage.journal() as journal:
                for item in left:
                    reason = (
                        f'the server comes back all the same: {item.detail}'
                    )
                    journal.skip(
                        found.loss.run.id, item.id, reason=reason, **me
                    )
            self._resume(parsed, found.loss.run.id)
            self._quiet(parsed)
            found = self._newest(parsed, subject)
        return found


class ReportDrill(RecoveryLister):
    """Show how long each step of a drill took, beside its target.

    All of it is in the journal. Ends with 0 where all is as it should be, 4
    where a target was missed, the loss was not seen, or the server is not
    whole again::

        openstack recovery drill report
        openstack recovery drill report 3fb0 -f json
    """

    short = SHORT
    looks = True

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'run',
            metavar='<run>',
            nargs='?',
            help='The run of "drill power-loss" or "drill site", or the '
            'beginning of its ID (default: the newest)',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        from nova_recovery.report import drill

        stage = self.stage(parsed_args)
        with stage.journal() as journal:
            if parsed_args.run:
                run_id = stage.run_of(journal).id
                found = drill.of_run(journal, run_id)
            else:
                newest = drill.newest(journal)
                if newest is None:
                    raise NotFound(
                        'the journal has no drill; begin one with: '
                        + stage.call('drill', 'power-loss', '--server')
                        + ' SERVER'
                    )
                found = newest
        good, text = drill.verdict(found, found.label)
        if not good:
            self.exit_code = exit_codes.PARTLY
        self.closing.append(text)
        self.closing += _ways_on(stage, found)
        return drill.COLUMNS, drill.table(found)


def _name(server: Server) -> str:
    """What is typed for it: its UUID, where its name can't be."""
    typable = server.name and printable.clean(server.name) == server.name
    return server.name if typable else server.uuid


def _unasked(parsed: argparse.Namespace) -> argparse.Namespace:
    """The same options, for what was agreed to with the drill."""
    words = argparse.Namespace(**vars(parsed))
    words.yes, words.approve = False, approval.AGREED
    words.override, words.dry_run, words.plan_file = [], False, None
    return words


def _ways_on(stage: Any, found: Drill) -> list[str]:
    """What an operator can type next."""
    runs = [found.loss.run.id]
    if found.back is not None:
        runs.append(found.back.run.id)
    lines = [
        f'All of it: {stage.call("run", "report", run_id)}' for run_id in runs
    ]
    if not found.over:
        lines += [
            'Leave out: '
            + stage.call(
                *('run', 'resume', found.loss.run.id),
                *('--skip', f'{item.label}=REASON'),
            )
            for item in found.loss.items
            if item.step == 'back' and item.state in states.BAD
        ][:_SOME]
        lines.append('Go on:     ' + stage.call('drill', *found.words))
        if not found.lost_at:
            lines.append(
                f'End it:    {stage.call("run", "abandon", found.loss.run.id)}'
                ' --reason WHY'
            )
    return lines
