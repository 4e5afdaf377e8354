# SPDX-License-Identifier: Apache-2.0

"""What a host answered, or that nobody knows."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
import dataclasses
import json
import re
from typing import Any

from nova_recovery.exceptions import ChangeFailed, OutcomeUnknown

DONE = 'done'
REFUSED = 'refused'
FAILED = 'failed'
DOUBT = 'doubt'

#: Why there may be no result line.
UNREACHABLE = 'unreachable'
NO_RESULT = 'failed'
TIMED_OUT = 'timed out'
CANCELLED = 'cancelled'

#: Events that decide how a verb ended -> the state of the answer.
_ENDS = {
    'result': DONE,
    'refused': REFUSED,
    'usage': REFUSED,
    'error': FAILED,
    'interrupted': FAILED,
}


@dataclasses.dataclass(frozen=True)
class Said:
    """What came back from a host, whatever it is.

    :ivar text: all that was printed there
    :ivar reason: why it is not all: UNREACHABLE, NO_RESULT, TIMED_OUT,
        CANCELLED; '' when the command came to its end
    :ivar words: of whoever carried it
    """

    text: str = ''
    reason: str = ''
    words: str = ''


@dataclasses.dataclass(frozen=True)
class Answer:
    """What is known of one call to one host.

    :ivar state: ``done``; ``refused``: nothing was carried out; ``failed``:
        some of it may have been, says the agent; ``doubt``: it may have been
        carried out, nobody knows
    :ivar result: the fields of the agent's last line
    :ivar code: the exit code of the agent: 4, something is left, is done too
    :ivar lines: all that the agent said
    :ivar reason: of a doubt: ``unreachable``, ``failed``, ``timed out`` or
        ``cancelled``
    :ivar detail: one line for people
    """

    host: str
    state: str
    result: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    code: int | None = None
    lines: tuple[Mapping[str, Any], ...] = ()
    reason: str = ''
    detail: str = ''

    def need(self) -> Mapping[str, Any]:
        """The result, where there is one.

        :raises ChangeFailed: nothing was carried out
        :raises OutcomeUnknown: some of it may have been: look, then decide
        """
        if self.state == DONE:
            return self.result
        if self.state == REFUSED:
            raise ChangeFailed(f'{self.host}: {self.detail}')
        raise OutcomeUnknown(f'{self.host}: {self.detail}')


def refused(host: str, detail: str) -> Answer:
    """What we refuse by ourselves: nothing was sent."""
    return Answer(host, REFUSED, detail=detail)


def doubt(host: str, reason: str, words: str = '') -> Answer:
    """Nobody knows what came of it."""
    told = f'{reason}: {words}' if words else reason
    return Answer(host, DOUBT, reason=reason, detail=f'in doubt, {told}')


def lacks(mark: str, said: Said) -> str:
    """What the host had to have before anything could run there.

    :returns: ``agent``, ``python``, ``place`` (the agent could not be put
        there); '' where the agent ran, or nobody knows
    """
    found = re.findall(rf'nova-recovery:{mark}:lacks-(\w+):end', said.text)
    return found[-1] if found else ''


def read(host: str, mark: str, said: Said) -> Answer:
    """The answer in what was printed."""
    found = re.findall(
        # a pty may put line ends anywhere but into a word
        rf'nova-recovery:{mark}:(\d+):([A-Za-z0-9+/=\s]*):end',
        said.text,
    )
    if not found:
        return doubt(host, said.reason or NO_RESULT, _words(said))
    try:
        text = base64.b64decode(found[-1][1]).decode()
        lines = [json.loads(line) for line in text.splitlines()]
        last = lines[-1]
        state = _ENDS[last['event']]
        detail = '' if state == DONE else ' '.join(last['text'].split())
    except (binascii.Error, ValueError, LookupError, TypeError):
        return doubt(
            host,
            said.reason or NO_RESULT,
            'it answered with something else than our agent does',
        )
    return Answer(
        host,
        state,
        result={k: v for k, v in last.items() if k != 'event'},
        code=int(found[-1][0]),
        lines=tuple(lines),
        detail=detail,
    )


def _words(said: Said) -> str:
    """What whoever carried it says, else the end of what came; one line."""
    return ' '.join((said.words or said.text).split())[-400:]
