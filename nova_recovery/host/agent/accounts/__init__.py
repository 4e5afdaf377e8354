# SPDX-License-Identifier: Apache-2.0

"""The verb ``accounts``: the numbers of nova and libvirt on this host."""

import argparse
import os
import re
from typing import Callable, Dict, Sequence

from nova_recovery.host.agent import files
from nova_recovery.host.agent.accounts import look, renumber
from nova_recovery.host.agent.lines import Refused

HELP = 'users and groups of nova and libvirt: show, give other numbers, undo'

#: As useradd(8) takes them, NAME_REGEX of Debian and RHEL alike.
_NAMED = re.compile(r'([A-Za-z_][A-Za-z0-9_.-]*)[:=](\d+)$')
#: (uid_t) -1 and what 16-bit calls make of it mean "leave as it is".
_NO_NUMBERS = (65535, 4294967295)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('action', choices=['show', 'stands', 'set', 'undo'])
    for kind in ('uid', 'gid'):
        parser.add_argument(
            '--' + kind,
            action='append',
            default=[],
            metavar='NAME:NUMBER',
            help='the number that a name is to have; for show, NUMBER alone',
        )
    parser.add_argument(
        '--state',
        metavar='DIR',
        type=files.typed,
        help='where the accounts as they were are kept; not for show',
    )


def run(parsed: argparse.Namespace, say: Callable[..., None]) -> int:
    if parsed.action == 'show':
        say('result', **look.show(_numbers(parsed.uid), _numbers(parsed.gid)))
        return 0
    if not parsed.state:
        raise Refused('accounts {} needs --state DIR'.format(parsed.action))
    state = os.path.abspath(parsed.state)
    if parsed.action == 'set':
        found = renumber.change(state, _named(parsed.uid), _named(parsed.gid))
    elif parsed.action == 'undo':
        found = renumber.undo(state)
    else:
        found = renumber.stands(state)
    say('result', **found)
    return 0


def _numbers(texts: Sequence[str]) -> Sequence[int]:
    for text in texts:
        if not text.isdigit():
            raise Refused('{}: show looks up numbers'.format(text))
    return [int(text) for text in texts]


def _named(texts: Sequence[str]) -> Dict[str, int]:
    found = {}  # type: Dict[str, int]
    for text in texts:
        match = _NAMED.match(text)
        if match is None:
            raise Refused('{}: NAME:NUMBER, such as nova:112'.format(text))
        name, number = match.group(1), int(match.group(2))
        if name in found:
            raise Refused('{}: {} has a number already'.format(text, name))
        if number >= 1 << 32 or number in _NO_NUMBERS:
            raise Refused('{}: no account may have that number'.format(text))
        if number == 0:
            raise Refused('{}: 0 is root'.format(text))
        found[name] = number
    return found
