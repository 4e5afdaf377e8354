# SPDX-License-Identifier: Apache-2.0

"""The verb ``status``: how a run stands, and what it said."""

import argparse
import json
from typing import Any, Callable, Dict, List

from nova_recovery.host.agent import files, runs

HELP = 'whether a run is running, done, lost or unknown, and what it said'

#: The lines that decide how a verb ended.
_ENDS = frozenset({'result', 'refused', 'error', 'usage', 'interrupted'})
#: Lines of one answer; who wants more asks on from ``since``.
_AT_MOST = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('run', metavar='RUN')
    parser.add_argument(
        '--since',
        type=int,
        default=0,
        metavar='OFFSET',
        help='of what it said, only what comes after this',
    )


def run(parsed: argparse.Namespace, say: Callable[..., None]) -> int:
    say(
        'result',
        **look(runs.where(parsed.home, parsed.run), max(parsed.since, 0)),
    )
    return 0


def look(folder: str, since: int = 0) -> Dict[str, Any]:
    """How a run stands.

    :param since: the ``since`` of an earlier answer
    :returns: ``state``: ``running``, ``done`` (it came to its end, which may
        be a refusal), ``lost`` (it was killed, or the host was: start it
        again) or ``unknown`` (there is no such run); ``code``: its exit code
        when it is done; ``end``: the line that decides; ``progress``: the
        last one; ``lines``: the others since; ``begun``: how often
    """
    # the lock first: what ends in between is then seen as ended
    alive = files.is_locked(runs.path(folder, 'lock'))
    if files.load(runs.path(folder, 'request.json')) is None:
        return dict(_EMPTY, state='unknown', since=since)
    said = _said(folder)
    found = dict(_EMPTY, lines=[])  # type: Dict[str, Any]
    for offset, line in said:
        event = line['event']
        if event == 'begun':
            found.update(begun=found['begun'] + 1, code=None, end=None)
        elif event == 'ended':
            found['code'] = line['code']
        elif event == 'progress':
            found['progress'] = line
        elif event in _ENDS:
            found['end'] = line
        elif offset > since and len(found['lines']) < _AT_MOST:
            found['lines'].append(line)
            found['since'] = offset
    ended = found['code'] is not None
    found['state'] = 'running' if alive else 'done' if ended else 'lost'
    if len(found['lines']) < _AT_MOST:
        found['since'] = said[-1][0] if said else since
    return found


_EMPTY = {
    'state': 'lost',
    'begun': 0,
    'code': None,
    'end': None,
    'progress': None,
    'lines': [],
    'since': 0,
}  # type: Dict[str, Any]


def _said(folder: str) -> List[Any]:
    """(offset behind it, line) of each whole line."""
    found, offset = [], 0
    try:
        with open(runs.path(folder, 'status.jsonl'), 'rb') as file:
            for raw in file:
                offset += len(raw)
                if raw.endswith(b'\n'):
                    found.append((offset, _parsed(raw)))
    except FileNotFoundError:
        pass
    return found


def _parsed(raw: bytes) -> Dict[str, Any]:
    try:
        line = json.loads(raw.decode('utf-8', 'replace'))
    except ValueError:
        line = None
    if isinstance(line, dict) and isinstance(line.get('event'), str):
        return line
    # torn by a power cut, or of a program that we ran
    return {'event': 'text', 'text': raw.decode('utf-8', 'replace').rstrip()}
