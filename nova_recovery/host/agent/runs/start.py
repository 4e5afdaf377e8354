# SPDX-License-Identifier: Apache-2.0

"""The verb ``start``: detach a verb, or go on with it.

By systemd-run where systemd runs, so that it belongs to no ssh session and
its end is in the journal of the host; else in a session of its own.
"""

import argparse
import os
import subprocess  # nosec B404
import sys
import time
from typing import Any, Callable, Dict, List, Tuple

from nova_recovery.host.agent import files, programs, runs
from nova_recovery.host.agent.lines import AgentError, Refused
from nova_recovery.host.agent.runs import status

HELP = 'detach a verb that takes long; the same once more goes on with it'

#: Seconds until what was started says so.
_PATIENCE = 20.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('run', metavar='RUN')
    parser.add_argument('words', nargs=argparse.REMAINDER, metavar='VERB ...')


def run(parsed: argparse.Namespace, say: Callable[..., None]) -> int:
    if not parsed.words:
        raise Refused('start {}: which verb?'.format(parsed.run))
    folder = runs.where(parsed.home, parsed.run)
    words = [w for text in parsed.set for w in ('--set', text)] + parsed.words
    say('result', **start(parsed.home, parsed.run, folder, words))
    return 0


def start(
    home: str, name: str, folder: str, words: List[str]
) -> Dict[str, Any]:
    """Start a run; one that works, or is done, is left alone.

    :returns: ``state`` (running or done), ``started`` (whether by this), and
        ``unit`` where there is one
    :raises Refused: the run is of other words
    :raises AgentError: it did not begin
    """
    with files.locked(runs.path(folder, 'start.lock')):
        saved = files.load(runs.path(folder, 'request.json'))
        if saved is not None and saved['words'] != words:
            raise Refused(
                'run {} is of "{}"'.format(name, ' '.join(saved['words']))
            )
        now = status.look(folder)
        if now['state'] == 'running' or now['code'] == 0:
            return {'state': now['state'], 'started': False, 'unit': None}
        files.save(runs.path(folder, 'request.json'), {'words': words})
        unit = _detach(home, name, folder, words)
        _await_begin(folder, now['begun'])
    return {
        'state': status.look(folder)['state'],
        'started': True,
        'unit': unit,
    }


def _detach(home: str, name: str, folder: str, verb: List[str]) -> Any:
    program, environment = me()
    words = program + ['--home', os.path.abspath(home), 'work', name]
    if os.path.isdir('/run/systemd/system') and not os.geteuid():
        unit = 'nova-recovery-{}'.format(name)
        code, _said, complained = programs.run(
            ['systemd-run', '--quiet', '--collect', '--unit', unit]
            + ['--property', 'KillMode=mixed', '--property', 'Nice=10']
            # only the host itself can take back rules that cut it off: their
            # trial goes on when it is killed, such as for want of memory
            + ['--property=Restart=on-abnormal'] * ('rules' in verb)
            + ['--setenv={}={}'.format(*e) for e in environment.items()]
            + words
        )
        # it is at its end, and systemd has not seen that yet
        if code:
            raise AgentError('systemd-run: {}'.format(complained))
        return unit + '.service'
    with open(runs.path(folder, 'complaints'), 'ab') as file:
        subprocess.Popen(  # nosec B603
            words,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            cwd='/',
            env=dict(os.environ, **environment),
        )
    return None


def me() -> Tuple[List[str], Dict[str, str]]:
    """The words that run this same agent, and the variables they need."""
    root = os.path.abspath(__file__)
    for _level in range(5):
        root = os.path.dirname(root)
    if os.path.isfile(root):
        # in a zipapp, whose path stands for the directory
        return [sys.executable, root], {}
    return (
        [sys.executable, '-m', 'nova_recovery.host.agent'],
        {'PYTHONPATH': root},
    )


def _await_begin(folder: str, begun: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while status.look(folder)['begun'] == begun:
        if time.monotonic() > deadline:
            raise AgentError('{}: it did not begin'.format(folder))
        time.sleep(0.02)
