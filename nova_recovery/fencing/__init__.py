# SPDX-License-Identifier: Apache-2.0

"""Proof that a host is off: the extension point ``nova_recovery.fencing``.

A silent nova-compute proves nothing about the guests beside it. Only what
is known to be off may have its guests started elsewhere.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess  # nosec: a command that the operator configured
from typing import Any, Protocol

from oslo_config import cfg
import stevedore

from nova_recovery.cloud import secrets
from nova_recovery.exceptions import ChangeFailed, ConfigError

#: Seconds for one call of a fence program; those talk to slow controllers.
PATIENCE = 120
#: What the fence agents' ``--action status`` exit with.
ON, OFF = 0, 2
_SAYS_OFF = re.compile(r'\boff\b', re.IGNORECASE)
#: Options that are followed by a secret: the fence agents' -p and the like.
_SECRET_OPTION = re.compile('-p|--?[a-z-]*(pass|secret|token|key)[a-z-]*')


@dataclasses.dataclass(frozen=True)
class Status:
    """Whether a host is off.

    :ivar state: ``off``, ``on`` or ``unknown``
    :ivar detail: who says so, one line
    """

    state: str
    detail: str


class Driver(Protocol):
    """How a site proves that a host is off."""

    def status(self, host: str) -> Status:
        """Whether the host is off. Changes nothing, never raises."""

    def off(self, host: str) -> None:
        """Turn the host off.

        :raises ChangeFailed: it may still be on
        """


class Operator:
    """The word of an operator who looked or pulled the plug."""

    def __init__(self, conf: cfg.ConfigOpts, words: str) -> None:
        self._words = words

    def status(self, host: str) -> Status:
        if self._words.strip():
            return Status('off', f'operator: {self._words.strip()}')
        return Status('unknown', 'nobody said that the host is off')

    def off(self, host: str) -> None:
        raise ChangeFailed(
            f'turn {host} off by hand, or configure [fencing] driver=command'
        )


class Command:
    """Any program with a status and an off, such as a fence agent."""

    def __init__(self, conf: cfg.ConfigOpts, words: str) -> None:
        self._status = conf.fencing.command_status
        self._off = conf.fencing.command_off

    def status(self, host: str) -> Status:
        try:
            code, words = _run('command_status', self._status, host)
        except ChangeFailed as error:
            return Status('unknown', str(error))
        state = {ON: 'on', OFF: 'off'}.get(code, 'unknown')
        # 2 is also what a program ends with that was called wrongly.
        if state == 'off' and not _SAYS_OFF.search(words):
            state = 'unknown'
        return Status(state, f'{state}, says command_status: {words}')

    def off(self, host: str) -> None:
        code, words = _run('command_off', self._off, host)
        if code:
            raise ChangeFailed(
                f'[fencing] command_off for {host} ended with {code}: {words}'
            )


def _run(option: str, command: str | None, host: str) -> tuple[int, str]:
    """The exit code of the operator's program and what it said, one line.

    :raises ChangeFailed: it could not be run, or not to its end
    """
    if not command:
        raise ChangeFailed(f'[fencing] {option} is not set')
    try:
        words = [word.replace('{host}', host) for word in shlex.split(command)]
    except ValueError as error:
        raise ChangeFailed(f'[fencing] {option}: {error}') from None
    try:
        done = subprocess.run(  # nosec: no shell, the operator's program
            words,
            capture_output=True,
            text=True,
            errors='replace',
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=False,
        )
    except OSError as error:
        raise ChangeFailed(
            f'[fencing] {option} for {host}: {error}'
        ) from error
    except subprocess.TimeoutExpired:
        # The words of this exception are the whole command line.
        raise ChangeFailed(
            f'[fencing] {option} for {host}: no answer within {PATIENCE} s'
        ) from None
    return done.returncode, _said(f'{done.stdout} {done.stderr}', words)


def _said(output: str, command: list[str]) -> str:
    # Fence agents have been seen to print their own command line.
    for option, value in zip(command, command[1:], strict=False):
        if value and _SECRET_OPTION.fullmatch(option):
            output = output.replace(value, secrets.MASK)
    return secrets.mask_text(' '.join(output.split()))[:200]


def load(conf: cfg.ConfigOpts, words: str) -> Driver:
    """The driver that is configured; the operator's word goes before it.

    :param words: of ``--fenced``; with them, the operator answers for it
    :raises ConfigError: no driver has that name
    """
    name = 'operator' if words else conf.fencing.driver
    try:
        manager: Any = stevedore.DriverManager(
            'nova_recovery.fencing',
            name,
            invoke_on_load=True,
            invoke_args=(conf, words),
        )
    except stevedore.exception.NoMatches as error:
        raise ConfigError(
            f'[fencing] driver: nothing is called {name!r}'
        ) from error
    driver: Driver = manager.driver
    return driver
