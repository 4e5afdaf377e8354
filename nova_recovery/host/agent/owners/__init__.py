# SPDX-License-Identifier: Apache-2.0

"""The verb ``owners``: files whose owners' numbers change."""

import argparse
from typing import Any, Callable

from nova_recovery.host.agent.owners import pairs as pairs_module

HELP = 'change who owns the files below a directory, old number to new'

#: action -> what carries it out: (parsed, pairs, say) -> exit code
ACTIONS = {}  # type: dict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('action', choices=sorted(ACTIONS))
    parser.add_argument('--root', required=True, metavar='DIR')
    for kind in ('uid', 'gid'):
        parser.add_argument(
            '--' + kind,
            action='append',
            default=[],
            type=pairs_module.argument,
            metavar='OLD:NEW',
        )
    parser.add_argument('--state', metavar='DIR')


def run(parsed: argparse.Namespace, say: Callable[..., Any]) -> int:
    try:
        pairs = pairs_module.Pairs(parsed.uid, parsed.gid)
    except ValueError as error:
        say('usage', text=str(error))
        return 2
    return ACTIONS[parsed.action](parsed, pairs, say)
