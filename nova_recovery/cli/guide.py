# SPDX-License-Identifier: Apache-2.0

"""``recovery`` alone, and ``recovery guide``: which command when.

And what a gate or a code means, as the documentation has it: read on a
controller, in the hour when there is no other way to it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
import difflib
import functools
import json
import pathlib
from typing import Any

from nova_recovery import exit_codes, program
from nova_recovery.cli.base import RecoveryCommand
from nova_recovery.report import wording

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
#: Lines are no longer, however wide the terminal is.
WIDEST = 100


@functools.cache
def codes() -> dict[str, list[list[Any]]]:
    """What the documentation tells of each gate and code.

    doc/ext/codes.py makes the file of it, and tools/check_docs.py compares.

    :returns: name -> of each page that tells of it ``[page, title, …]``, and
        behind them ``[header, paragraph, …]`` of each cell of its line
    """
    path = pathlib.Path(__file__).with_name('codes.json')
    found: dict[str, list[list[Any]]] = json.loads(path.read_text('utf-8'))
    return found


def meaning(name: str, columns: int) -> Iterator[str]:
    """What is told of a gate or code, line by line.

    :param name: one of :func:`codes`
    """
    for _, title, *cells in codes()[name]:
        yield f'{name}  (user guide: {title})'
        for header, *paragraphs in cells:
            told = [one for one in paragraphs if one != name]
            if told and header != name:
                told[0] = f'{header}: {told[0]}'
            for text in told:
                if text.startswith(' '):
                    yield text
                else:
                    yield from wording.wrap(text, '  ', columns)
        yield ''


class Guide(RecoveryCommand):
    """Tell which command is for what, or what a gate or a code means.

    Each of the commands only looks. What changes something shows its plan,
    asks, keeps a journal, and says what to type next. Of a gate that refuses,
    or the code of a finding, it is told what is asked, and what to do::

        openstack recovery guide
        openstack recovery guide source-fenced
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        # or what was typed where no command has that name
        parser.add_argument(
            'words',
            metavar='<code>',
            nargs='*',
            help='A gate, or the code of a finding, as it is shown',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        if parsed_args.words:
            return self._told(parsed_args.words)
        widest = max(len(what) for what, _ in WHEN)
        for what, words in WHEN:
            self.app.stdout.write(f'{what:<{widest}}  {program.call(words)}\n')
        self.app.stdout.write(
            f'\nEach with --help; all of them: {program.call("--help")}\n'
        )
        return exit_codes.DONE

    def _told(self, words: list[str]) -> int:
        """What the codes mean, if they are some."""
        known: dict[str, list[str]] = {}
        for name in codes():
            # a gate and the code of its finding may be the same word
            known.setdefault(name.lower(), []).append(name)
        unknown = [word for word in words if word.lower() not in known]
        if unknown and str(self.cmd_name).endswith('guide'):
            self.log.error('there is no gate or code "%s"', unknown[0])
            return self._near(
                f'guide {known[one][0]}'
                for one in difflib.get_close_matches(
                    unknown[0].lower(), known, cutoff=0.7
                )
            )
        if unknown:
            typed = ' '.join(words)
            self.log.error('there is no command "%s"', program.call(typed))
            return self._near(self._commands(typed))
        columns = min(wording.columns(self.app.stdout) or WIDEST, WIDEST)
        for word in words:
            alike = known[word.lower()]
            for name in [word] if word in alike else alike:
                for line in meaning(name, columns):
                    self.app.stdout.write(f'{line}\n')
        return exit_codes.DONE

    def _commands(self, typed: str) -> list[str]:
        """Those that may be meant."""
        names = {
            name.removeprefix('recovery ')
            for name, _ in self.app.command_manager
            if name.startswith('recovery ')
        }
        first = typed.split()[0]
        return sorted(
            {
                *difflib.get_close_matches(typed, names),
                *(name for name in names if name.split()[0] == first),
            }
        )

    def _near(self, found: Iterable[str]) -> int:
        """What may be meant, else where all is told of."""
        for name in list(found) or ('guide',):
            self.app.stderr.write(f'  {program.call(name)}\n')
        return exit_codes.USAGE
