# SPDX-License-Identifier: Apache-2.0

"""What programs that turn hosts off say, one line with what to do next.

fence-agents put a time, a level and a word on how they are used around it;
ipmitool speaks of sessions and devices.
"""

from __future__ import annotations

import re

from nova_recovery import exceptions

#: What stands in their text -> what is so, and what next. fence-agents 4.12
#: (``fencing.py: fail``) ends each with 1, so that the text alone tells.
_WORDS = (
    (
        'ModuleNotFoundError|ImportError|error while loading shared libraries|'
        'not found or not accessible|command not found|: not found',
        'a program or a library that it needs is not installed here',
    ),
    (
        'not recognized|invalid option|unrecognized|You have to|^usage',
        'it is called wrongly: run its command of [fencing] by hand',
    ),
    (
        'Could not open device',
        'there is no such device here: ipmitool needs -I lanplus and -H '
        'ADDRESS',
    ),
    (
        'Address lookup for|Name or service not known|resolution|'
        'Could not resolve',
        'the name of the power controller can not be resolved: look at '
        '[fencing], and at DNS',
    ),
    (
        'correct plug status|plug is not available|VM UUID',
        'the power controller knows no such plug: look at what stands for '
        'the host in [fencing]',
    ),
    (
        'Timed out waiting to power',
        'the power controller took the order, and nobody knows whether it '
        'was carried out: look at the host',
    ),
    (
        'connect/login|[Ll]ogin (failed|denied)|RAKP|Unauthorized|'
        'correct privileges|\\b40[13]\\b',
        'the power controller refuses the login, or is not there: look at '
        'user, password and address in [fencing]',
    ),
    (
        'timed out|Unable to establish|refused|No route|unreachable|'
        'Connection lost|Max retries',
        'the power controller does not answer: look at its address in '
        '[fencing], and at the way there',
    ),
)
#: So much of what is not known is quoted.
_QUOTED = 200


def plain(text: str) -> str:
    """What such a program says; what is not known is as it is.

    :param text: on one line, without secrets
    """
    for words, told in _WORDS:
        if re.search(words, text):
            return told
    return quoted(text)


def quoted(text: str) -> str:
    """As it is, as far as there is room for it."""
    return text[:_QUOTED]


def not_run(program: str, error: Exception) -> str:
    """Why a program could not be run at all."""
    if isinstance(error, FileNotFoundError):
        return f'there is no program {program} here: install it, or name it'
    if isinstance(error, PermissionError):
        return f'{program} may not be run by this account'
    return f'{program}: {exceptions.plainly(error)}'
