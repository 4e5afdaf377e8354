# SPDX-License-Identifier: Apache-2.0

"""``recovery`` alone, and ``recovery guide``: which command when."""

from __future__ import annotations

import argparse
import difflib

from nova_recovery import exit_codes, program
from nova_recovery.cli.base import RecoveryCommand

#: What happened, and what is typed then: a look first, nothing is changed.
WHEN = (
    ('Before anything happens', 'config check'),
    ('To compare with later', 'snapshot create'),
    ('A compute node is dead', 'host recover HOST --dry-run'),
    ('One of its servers', 'server recover SERVER --dry-run'),
    ('A guest runs elsewhere', 'server show SERVER'),
    ('A volume is stuck, or lost', 'volume check'),
    ('The site lost its power', 'disaster assess --ready'),
    ('Accounts differ', 'host uid show HOST HOST'),
    ('A run was killed or failed', 'run list'),
    ('What did it do, and who?', 'run report RUN'),
)


class Guide(RecoveryCommand):
    """Tell which command is for what.

    Each of them only looks. What changes something shows its plan, asks,
    keeps a journal, and says what to type next::

        openstack recovery guide
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        # what was typed where no command has that name
        parser.add_argument('words', nargs='*', help=argparse.SUPPRESS)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        if parsed_args.words:
            return self._unknown(' '.join(parsed_args.words))
        widest = max(len(what) for what, _ in WHEN)
        for what, words in WHEN:
            self.app.stdout.write(f'{what:<{widest}}  {program.call(words)}\n')
        self.app.stdout.write(
            f'\nEach with --help; all of them: {program.call("--help")}\n'
        )
        return exit_codes.DONE

    def _unknown(self, typed: str) -> int:
        """No such command; those that may be meant."""
        names = {
            name.removeprefix('recovery ')
            for name, _ in self.app.command_manager
            if name.startswith('recovery ')
        }
        first = typed.split()[0]
        near = sorted(
            {
                *difflib.get_close_matches(typed, names),
                *(name for name in names if name.split()[0] == first),
            }
        )
        self.log.error('there is no command "%s"', program.call(typed))
        for name in near or ('guide',):
            self.app.stderr.write(f'  {program.call(name)}\n')
        return exit_codes.USAGE
