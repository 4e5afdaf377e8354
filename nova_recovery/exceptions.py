# SPDX-License-Identifier: Apache-2.0

"""What can go wrong, in the words that the operator will read.

Every message names the thing and what to do about it, and never holds a
secret. ``exit_code`` becomes the exit code of the program.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import difflib
import json
import re
from typing import Any

from nova_recovery import exit_codes

#: So many names that may be meant are told.
NEAR = 5


def near(word: str, names: Iterable[str]) -> list[str]:
    """Names that may be meant by a word that none of them is, the best first.

    Those that begin with it, have it in them, or differ by a few letters.
    """
    by_lower: dict[str, str] = {}
    for name in sorted(names):
        by_lower.setdefault(name.lower(), name)
    word = word.lower()
    begin = [low for low in by_lower if low.startswith(word)]
    inside = [low for low in by_lower if word in low]
    close = difflib.get_close_matches(word, by_lower, NEAR)
    found = dict.fromkeys([*begin, *close, *inside] if word else ())
    return [by_lower[low] for low in list(found)[:NEAR]]


def plainly(error: BaseException) -> str:
    """What is wrong with a file, without the words of parsers and Python."""
    if isinstance(error, json.JSONDecodeError):
        return f'no JSON at line {error.lineno}, column {error.colno}'
    if isinstance(error, UnicodeDecodeError):
        return f'byte {error.start} is not UTF-8'
    if isinstance(error, KeyError):
        return f'it lacks {error}'
    text = ' '.join(str(error).split())
    # Python's own; whoever checks a file raises TypeError with words of ours
    if isinstance(error, AttributeError) or (
        isinstance(error, TypeError)
        and re.search('object|argument|indices|iterable|integer is', text)
    ):
        return 'something in it has another form'
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return text or type(error).__name__


class RecoveryError(Exception):
    """Any error that an operator can act on."""

    exit_code = exit_codes.ERROR


class ConfigError(RecoveryError):
    """A configuration file can't be read or says something impossible."""


class UsageError(RecoveryError):
    """The words of the command contradict each other."""

    exit_code = exit_codes.USAGE


class Refused(RecoveryError):
    """A gate refused; nothing was changed.

    :ivar table: the same for a program: columns and rows, if there are any
    """

    exit_code = exit_codes.REFUSED

    def __init__(
        self,
        message: str,
        table: tuple[tuple[str, ...], list[tuple[Any, ...]]] | None = None,
    ) -> None:
        super().__init__(message)
        self.table = table


class NotFound(RecoveryError):
    """Nothing has that name, and every cell was asked.

    :ivar candidates: what has nearly that name, one line each
    """

    def __init__(self, message: str, candidates: Sequence[str] = ()) -> None:
        meant = '; one of these?' if candidates else ''
        super().__init__('\n'.join([f'{message}{meant}', *_lines(candidates)]))
        self.candidates = tuple(candidates)


class Ambiguous(RecoveryError):
    """A name means several things.

    :ivar candidates: what it could mean, one line each
    """

    def __init__(self, message: str, candidates: Sequence[str] = ()) -> None:
        super().__init__('\n'.join([message, *_lines(candidates)]))
        self.candidates = tuple(candidates)


def _lines(candidates: Sequence[str]) -> list[str]:
    """One line each: in a name that a tenant chose may be anything."""
    return ['  ' + ' '.join(one.splitlines()) for one in candidates]


class DatabaseUnavailable(RecoveryError):
    """A database doesn't answer: what it holds is unknown, not empty.

    :ivar name: the database as operators call it, such as ``cell1``
    :ivar reason: why, without the URL
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f'database of {name} unavailable: {reason}')
        self.name = name
        self.reason = reason


class ApiUnavailable(RecoveryError):
    """An API can't be reached, or there are no credentials for it."""


class SchemaUnknown(RecoveryError):
    """A database lacks what a command needs; named is what."""


class Conflict(RecoveryError):
    """What was to be changed is no longer as it was seen.

    :ivar differences: column or field -> (as it was seen, as it is now)
    """

    def __init__(
        self,
        message: str,
        differences: Mapping[str, tuple[Any, Any]] | None = None,
    ) -> None:
        super().__init__(message)
        self.differences = dict(differences or {})


class Closed(Conflict):
    """Nothing is left to be done to a subject: what for is gone.

    Not a fault: the run goes on without it, and what was half done to it is
    taken back. Such as a dead host that came back: its servers are there.

    :ivar then: what the operator can do when the run is over, one line each
    """

    def __init__(self, message: str, then: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.then = tuple(then)


class OutcomeUnknown(RecoveryError):
    """It was sent, and nobody knows whether it was carried out.

    A connection lost at COMMIT, a time-out of an API: observe, then decide.
    """

    exit_code = exit_codes.PARTLY


class ChangeFailed(RecoveryError):
    """A change was answered with a no: it was not carried out."""

    exit_code = exit_codes.PARTLY


class NotRevertible(RecoveryError):
    """A change can't be taken back.

    :ivar instead: what the operator can do
    """

    def __init__(self, message: str, instead: str = '') -> None:
        super().__init__(f'{message}; {instead}' if instead else message)
        self.instead = instead


class Paused(RecoveryError):
    """Nothing more may be started for now; the message says why.

    What is in flight comes to its end, and the run can go on later.
    """

    exit_code = exit_codes.PARTLY


class ClaimLost(RecoveryError):
    """Somebody else works on the same thing, or took it over."""

    exit_code = exit_codes.REFUSED


class JournalError(RecoveryError):
    """The journal can't be used; nothing is sent without it."""


class JournalNewer(JournalError):
    """The journal was written by a newer version of this program."""


class RunLocked(JournalError):
    """Somebody else carries the run out just now."""

    exit_code = exit_codes.REFUSED
