# SPDX-License-Identifier: Apache-2.0

"""The verb ``work``: what ``start`` detached. Nobody types it."""

import argparse
import contextlib
import os
import time
from typing import Callable

from nova_recovery.host.agent import files, identity, lines, runs

HELP = ''


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('run', metavar='RUN')


def run(parsed: argparse.Namespace, say: Callable[..., None]) -> int:
    from nova_recovery.host.agent.__main__ import main

    folder = runs.where(parsed.home, parsed.run)
    with files.locked(runs.path(folder, 'lock')):
        words = files.load(runs.path(folder, 'request.json'))['words']
        with open(runs.path(folder, 'status.jsonl'), 'a') as file:
            with contextlib.redirect_stdout(file):
                lines.say(
                    'begun',
                    time=time.time(),
                    pid=os.getpid(),
                    boot_id=identity.boot_id(),
                )
                code = _carried_out(main, words)
                lines.say('ended', time=time.time(), code=code)
                os.fsync(file.fileno())
    return code


def _carried_out(main: Callable[..., int], words: list) -> int:
    try:
        return main(words)
    except SystemExit as end:
        lines.say('usage', text='no such words: {}'.format(' '.join(words)))
        return int(end.code or 0)
    except Exception as error:
        lines.say('error', text='{}: {}'.format(type(error).__name__, error))
        return 1
