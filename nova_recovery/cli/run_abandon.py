# SPDX-License-Identifier: Apache-2.0

"""``recovery run abandon``: nobody goes on with it, and it holds nothing."""

from __future__ import annotations

import argparse
import hashlib
from typing import TYPE_CHECKING

from nova_recovery.cli import approval
from nova_recovery.cli.base import RecoveryCommand
from nova_recovery.exceptions import (
    JournalError,
    NotFound,
    Refused,
    UsageError,
)

if TYPE_CHECKING:
    from nova_recovery.cli.stage import Stage
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.engine.plan import Plan
    from nova_recovery.engine.records import RunRecord


class AbandonRun(RecoveryCommand):
    """Take all claims of a run off the cloud; nobody goes on with it.

    For a run that can't be resumed, taken over or undone, such as one whose
    journal is lost with its controller: its claims say whose they are, and
    that is enough. They are shown and asked for first. What it has changed
    stays, a dead host stays disabled and forced down, locks stay (they name
    the run, too), and so do services that it keeps off on hosts: what lets go
    of them is told, where the journal has the run. A process that still
    carries it out somewhere sends nothing more::

        openstack recovery run abandon 3fb04a53 --reason "ctl1 burnt down"
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'run',
            metavar='<run>',
            help='ID of the run, whole, of this journal or as a claim names '
            'it',
        )
        parser.add_argument(
            '--reason',
            metavar='<text>',
            required=True,
            help='Why; it is kept in the journal, and with a host that stays '
            'disabled',
        )
        approval.add_confirm_options(parser).add_argument(
            '--dry-run',
            action='store_true',
            help='Show what would be taken off and stop',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        from nova_recovery import exit_codes
        from nova_recovery.changes import claims

        here = self.stage(parsed_args)
        found, plan, off = self._journaled(here, parsed_args.run)
        cloud = self.cloud(parsed_args)
        run_id = found.id if found else self._claimed(cloud, parsed_args.run)
        held = claims.held_by(cloud, run_id)
        here.say(f'Run {run_id} claims, and will claim no more:')
        for line in held or ['nothing']:
            here.say(f'  {line}')
        for line in off:
            here.say(line)
        if parsed_args.dry_run:
            here.say('Nothing was changed.')
            return exit_codes.DONE
        digest = hashlib.sha256('\n'.join([run_id, *held]).encode())
        approval.confirm(
            here.asker(), parsed_args, len(held), digest.hexdigest()
        )
        # The cloud first: from here on nobody sends anything for it.
        done = claims.abandon(cloud, run_id, parsed_args.reason, plan)
        for line in (*done.told, *done.unknown):
            here.say(line)
        if done.unknown:
            here.say(
                'The claims there may stand. Repeat it when they answer: '
                + here.call('run', 'abandon', run_id)
                + ' --reason WHY'
            )
            return exit_codes.PARTLY
        if found:
            me = here.who()
            with here.journal() as journal:
                journal.abandon(
                    run_id,
                    who=me['who'],
                    machine=me['machine'],
                    reason=parsed_args.reason,
                )
        here.say(f'Run {run_id} is abandoned; it claims nothing.')
        if found:
            here.say(
                'What it did: ' + here.call('run', 'show', run_id, '--items')
            )
        return exit_codes.DONE

    def _journaled(
        self, here: Stage, word: str
    ) -> tuple[RunRecord | None, Plan | None, list[str]]:
        """The run as this journal has it, if it does.

        :returns: the last: a line for whatever it leaves that somebody has
            to see to
        :raises Refused: it is carried out just now
        """
        from nova_recovery import procedures
        from nova_recovery.changes import host_services

        try:
            with here.journal() as journal:
                found = journal.run(word)
                if found.id != word:
                    # too much goes with it for a word that may mean another
                    raise UsageError(
                        f'{word!r} is the beginning of run {found.id}: give '
                        'its ID whole'
                    )
                plan = journal.plan(found.id)
                items = list(journal.items(found.id))
        except NotFound:
            return None, None, []
        except JournalError as error:
            here.say(str(error))
            return None, None, []
        if found.holder:
            raise Refused(
                f'run {found.id} is carried out just now by {found.holder}; '
                'stop it there'
            )
        left = host_services.kept_off(plan, items, found.id)
        if why := procedures.only_forward(plan, items):
            left.append(
                f'{why}, which nobody does once it is abandoned. Instead of '
                f'that: {here.call("run", "resume", found.id)}'
            )
        return found, plan, left

    def _claimed(self, cloud: Cloud, word: str) -> str:
        """The run of exactly that name, if it claims something.

        :raises NotFound: it doesn't
        """
        from nova_recovery.changes import claims

        runs = claims.runs(cloud)
        if word not in runs:
            raise NotFound(
                f'no run {word} in this journal, and none that claims '
                'anything in the cells that answer'
                + '; these do: ' * bool(runs)
                + ', '.join(
                    sorted(one for some in runs.values() for one in some)
                )
            )
        return word
