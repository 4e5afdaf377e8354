# SPDX-License-Identifier: Apache-2.0

"""The verb ``several``: verbs one after the other, in one call.

What it costs to reach a host is paid once. The first that is not done ends
it, as if it had been asked alone.
"""

import argparse
import contextlib
import io
import shlex
from typing import Any, Callable, Dict, List

from nova_recovery.host.agent import lines
from nova_recovery.host.agent.lines import AgentError, Refused

HELP = 'verbs one after the other, as long as each is done'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--call',
        action='append',
        required=True,
        metavar='WORDS',
        help='a verb with its options, as a shell would divide them',
    )


def run(parsed: argparse.Namespace, say: Callable[..., None]) -> int:
    from nova_recovery.host.agent.__main__ import main

    common = ['--home', parsed.home]
    for text in parsed.set:
        common += ['--set', text]
    answers: List[Dict[str, Any]] = []
    for text in parsed.call:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = main(common + shlex.split(text))
        said = [
            lines.loads(line.encode())
            for line in printed.getvalue().splitlines()
        ]
        last = said[-1]
        if last['event'] == 'refused':
            raise Refused(last['text'])
        if last['event'] != 'result':
            raise AgentError(last['text'])
        answers.append(dict(last, code=code))
    say('result', answers=answers)
    return 0
