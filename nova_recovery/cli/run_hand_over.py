# SPDX-License-Identifier: Apache-2.0

"""``recovery run export``, ``import``, ``take over``: to other hands."""

from __future__ import annotations

import argparse

from nova_recovery.cli import run
from nova_recovery.cli.base import RecoveryCommand
from nova_recovery.exceptions import Refused


class ExportRun(RecoveryCommand):
    """Save a run in a file, to go on with it on another controller."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        run.add_run(parser)
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
    """Take a run that was exported into the journal of this controller."""

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
        run.add_run(parser)
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
