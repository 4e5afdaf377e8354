# SPDX-License-Identifier: Apache-2.0

"""What was started on a host, to its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import time
from typing import Any

from nova_recovery.exceptions import OutcomeUnknown
from nova_recovery.fleet.fleet import Fleet

#: Seconds between two looks, at first and at most.
POLL, SELDOM = 1.0, 10.0
#: Seconds for which a host may say nothing; a reboot takes that long.
SILENCE = 600


def follow(
    fleet: Fleet,
    host: str,
    run: str,
    wait: Callable[[float], None],
    tell: Callable[[str], None],
) -> Mapping[str, Any]:
    """Ask until it no longer works.

    :param wait: lets so many seconds pass
    :param tell: shows how far it is, one line
    :returns: the agent's ``status``: done, lost (the host was rebooted), or
        unknown (it was not started)
    :raises OutcomeUnknown: the host says nothing any more
    :raises ChangeFailed: it refuses to be asked
    """
    # by the clock: to ask a host that is silent takes long by itself
    pause, heard = POLL, time.monotonic()
    while True:
        wait(pause)
        try:
            found = fleet.status(host, run).need()
        except OutcomeUnknown as error:
            if time.monotonic() - heard > SILENCE:
                raise
            tell(f'waiting for an answer: {error}')
        else:
            heard = time.monotonic()
            if found['state'] != 'running':
                return found
            tell(_told(found['progress']))
        pause = min(pause * 1.5, SELDOM)


def _told(line: Mapping[str, Any] | None) -> str:
    if not line:
        return 'it works'
    left = line.get('left_seconds')
    more = f', about {left} s left' if left is not None else ''
    return (
        f'{line.get("seen", 0)} files seen, {line.get("changed", 0)} '
        f'changed{more}'
    )


def left(found: Mapping[str, Any]) -> str:
    """What a walk over files left, with the first of them by name.

    :param found: the status of one that ended with 4
    """
    end = found['end'] or {}
    problems = end.get('problems') or {}
    told = ', '.join(f'{number} {code}' for code, number in problems.items())
    named = [
        f'{line.get("path", "")}: {line.get("text") or _owner(line)}'
        for line in found['lines']
        if line['event'] in ('problem', 'left')
        # one that was started again said more, earlier
        and line.get('code', '') in ('', *problems)
    ]
    first = f'; first {named[0]}' if named else ''
    return f'left: {told or end.get("entries", "some")}{first}'


def _owner(line: Mapping[str, Any]) -> str:
    return f'owner {line.get("uid")}:{line.get("gid")}'
