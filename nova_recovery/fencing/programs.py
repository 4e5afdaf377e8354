# SPDX-License-Identifier: Apache-2.0

"""Programs that the operator configured, run without a shell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
import dataclasses
import logging
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess  # nosec: a command that the operator configured
import tempfile
import time
from typing import Any

from nova_recovery.cloud import secrets
from nova_recovery.exceptions import ChangeFailed, OutcomeUnknown
from nova_recovery.fencing import words as words_module

LOG = logging.getLogger(__name__)

#: Whoever says so was called wrongly or failed, whatever else it says.
_TROUBLE = re.compile(r'^\W*usage\b|\b(error|failed|failure)\b', re.IGNORECASE)
#: Options that are followed by a secret: the fence agents' -p, ipmitool's -P
#: and -k, and the like.
_SECRET_OPTION = re.compile('-[pPk]|--?[a-z-]*(pass|secret|token|key)[a-z-]*')
#: A secret within a word: curl's ``-u``, and what stands behind its option.
_LOGIN = re.compile('(?:-u|--user=)[^:/]+:(.+)')
_BEHIND = re.compile('--?[a-z-]*(?:pass|secret|token|key)[a-z-]*=(.+)')
#: The same as ``-pSECRET``, of programs of which that is known.
_GLUED = re.compile('-[pPk](.+)')
_OF_POWER = re.compile(r'(?:.*/)?(?:ipmi\w*|fence_\w+|sshpass|racadm)')
#: Seconds between two looks whether one has ended.
_TICK = 0.05


@dataclasses.dataclass(frozen=True)
class Ended:
    """A program that ended.

    :ivar lines: what it wrote to stdout
    :ivar words: the same and stderr on one line, without secrets
    """

    code: int
    lines: tuple[str, ...]
    trouble: bool
    words: str


def split(
    option: str, command: str | None, values: Mapping[str, str] | None = None
) -> list[str]:
    """The words of a program.

    :param option: where it is configured, ``[fencing] command_off``
    :param values: what stands for ``{name}`` in them
    :raises ChangeFailed: there are none
    """
    if not command:
        raise ChangeFailed(f'{option} is not set')
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ChangeFailed(f'{option} is no command line: {error}') from None
    for name, value in (values or {}).items():
        words = [word.replace(f'{{{name}}}', value) for word in words]
    return words


def shown(option: str, command: str | None) -> str:
    """How it is typed, without secrets.

    :raises ChangeFailed: see :func:`split`
    """
    words = split(option, command)
    masked = secrets.mask_command(words)
    for place, secret in _secrets(words):
        # mask_command leaves what it does not know
        masked[place] = words[place].replace(secret, secrets.MASK)
    return shlex.join(masked)


def missing(option: str, command: str | None) -> str:
    """Why it can't be run, '' if it can be."""
    try:
        words = split(option, command)
    except ChangeFailed as error:
        return str(error)
    if not words or shutil.which(words[0]) is None:
        return (
            f'{option}: there is no program {words[0] if words else ""!r} '
            'that can be executed'
        )
    return ''


def run(
    option: str,
    words: list[str],
    seconds: float,
    about: str = '',
    begun: Callable[[int], None] = lambda pid: None,
    waiting: Callable[[float], None] = lambda seconds: None,
) -> Ended:
    """Run it, and wait for its end; no longer than it may take.

    What it writes goes to files, not pipes, and it has a session of its own:
    it goes on where we are killed, and daemons that it starts hold nobody up.

    :param about: for messages: whom it is run for
    :param begun: told its pid, as soon as it runs
    :param waiting: told each second how long it has run
    :raises ChangeFailed: it could not be run
    :raises OutcomeUnknown: it did not come to its end
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(  # nosec: no shell, the operator's
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            # ValueError: a NUL in the name of the host
            raise ChangeFailed(
                f'{option}{about}: {words_module.not_run(words[0], error)}'
            ) from error
        _wait(process, f'{option}{about}', seconds, begun, waiting)
        said = [_read(file) for file in (out, err)]
    everything = '\n'.join(said)
    told = _said(everything, words)
    LOG.info('%s ended with %s: %s', option, process.returncode, told)
    return Ended(
        code=process.returncode,
        lines=tuple(line.strip() for line in said[0].splitlines()),
        trouble=any(map(_TROUBLE.search, everything.splitlines())),
        words=told,
    )


def _wait(
    process: subprocess.Popen[bytes],
    what: str,
    seconds: float,
    begun: Callable[[int], None],
    waiting: Callable[[float], None],
) -> None:
    began = told = time.monotonic()
    try:
        begun(process.pid)
    finally:
        # whoever could not write that down has started it all the same
        while process.poll() is None:
            now = time.monotonic()
            gone = now - began
            if gone > seconds:
                # with what it has started: a loop over hosts would else go
                # on with the one that it was at
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                # The words of its own exception are the whole command line.
                raise OutcomeUnknown(f'{what}: no answer within {seconds} s')
            if now - told >= 1:
                told = now
                waiting(gone)
            time.sleep(_TICK)


def _read(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode(errors='replace'))


def _secrets(words: list[str]) -> Iterator[tuple[int, str]]:
    """The secrets of a command line, each with the place of its word."""
    glued = any(map(_OF_POWER.fullmatch, words))
    for place, word in enumerate(words):
        before = words[place - 1] if place else ''
        found = _LOGIN.fullmatch(word) or _BEHIND.fullmatch(word)
        if not found and glued:
            found = _GLUED.fullmatch(word)
        if before in ('-u', '--user') and ':' in word:
            secret = word.partition(':')[2]
        elif _SECRET_OPTION.fullmatch(before) and not found:
            secret = word
        else:
            secret = found[1] if found else ''
        name, equals, rest = word.partition('=')
        if not secret and equals and secrets.is_secret(name):
            # for env(1)
            secret = rest
        if secret:
            yield place, secret


def _said(output: str, command: list[str]) -> str:
    # Fence agents have been seen to print their own command line.
    for _, secret in _secrets(command):
        output = output.replace(secret, secrets.MASK)
    return secrets.mask_text(' '.join(output.split()))


def born(pid: int) -> str:
    """When a process began, in ticks of this boot; '' if there is none.

    With its pid it is the process, and no other one of this boot.
    """
    try:
        stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return ''
    # behind the name, which may have blanks and brackets: proc(5)
    state, *fields = stat[stat.rindex(')') + 2 :].split()
    return '' if state in 'ZX' else fields[18]
