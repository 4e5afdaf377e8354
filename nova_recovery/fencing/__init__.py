# SPDX-License-Identifier: Apache-2.0

"""Proof that a host is off: the extension point ``nova_recovery.fencing``.

A silent nova-compute proves nothing about the guests beside it. Only what
is known to be off may have its guests started elsewhere.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Protocol

from oslo_config import cfg
import stevedore

from nova_recovery.exceptions import ChangeFailed, ConfigError, OutcomeUnknown
from nova_recovery.fencing import programs, words
from nova_recovery.fencing.programs import Ended

#: Seconds for one call of a fence program; those talk to slow controllers.
PATIENCE = 120
#: A line that tells the state, and what its program exits with for on and off.
#: fence-agents, ``fencing.py: fence_action``: ``Status: OFF`` and 2, where 2
#: is also what getopt and argparse end with. ipmitool, ``ipmi_chassis.c``, and
#: those who print Redfish's ComputerSystem.PowerState end with 0 for both.
_LINES = (
    (re.compile('^(?:status: *)?(on|off)$', re.I), {'on': 0, 'off': 2}),
    (re.compile('^chassis power is (on|off)$', re.I), {'on': 0, 'off': 0}),
    (re.compile(r'"PowerState" *: *"(\w+)"', re.I), {'on': 0, 'off': 0}),
)


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
        self._controls = conf.fencing.control_host

    def status(self, host: str) -> Status:
        asked = self._asked(host)
        if asked.state != 'off':
            return asked
        return self._controlled(host, asked)

    def _asked(self, host: str) -> Status:
        try:
            ended = _run('command_status', self._status, host)
        except ChangeFailed as error:
            return Status('unknown', str(error))
        state = _state(ended)
        # what proves something is quoted as it came
        tell = words.plain if state == 'unknown' else words.quoted
        told = tell(ended.words)
        return Status(state, f'{state}, says command_status: {told}')

    def _controlled(self, host: str, asked: Status) -> Status:
        """Off only if the program doesn't call off what is known to be on.

        A wrong plug, a wildcard or a controller that lost its memory says
        "off" of everything.
        """
        controls = [name for name in self._controls if name != host]
        if not controls:
            return Status(
                'off',
                f'{asked.detail} (not tried on a host that is on: [fencing] '
                'control_host)',
            )
        said = []
        for name in controls:
            control = self._asked(name)
            if control.state == 'on':
                return Status('off', f'{asked.detail} (and {name} is on)')
            said.append(f'{name}: {control.detail}')
        return Status(
            'unknown',
            f'{asked.detail}, but it calls none of [fencing] control_host '
            f'on: {"; ".join(said)}',
        )

    def off(self, host: str) -> None:
        ended = _run('command_off', self._off, host)
        if ended.code:
            raise ChangeFailed(
                f'[fencing] command_off for {host} ended with {ended.code}: '
                f'{words.plain(ended.words)}'
            )


def _state(ended: Ended) -> str:
    """What a status command proves: ``on``, ``off`` or ``unknown``.

    Off is a line that says nothing else, from a program that ended as it
    does when a host is off. That a host is on needs less: it refuses.
    """
    said = set()
    for line in ended.lines:
        for form, codes in _LINES:
            for match in form.finditer(line):
                word = match[1].lower()
                agrees = codes.get(word) == ended.code
                said.add(word if agrees else 'unknown')
    if not said:
        said = {'on' if ended.code == 0 else 'unknown'}
    if ended.trouble or len(said) > 1:
        return 'unknown'
    return said.pop()


def _run(option: str, command: str | None, host: str) -> Ended:
    """Run the operator's program.

    :raises ChangeFailed: it could not be run, or not to its end
    """
    where = f'[fencing] {option}'
    typed = programs.split(where, command, {'host': host})
    try:
        return programs.run(where, typed, PATIENCE, f' for {host}')
    except OutcomeUnknown as error:
        # of a status as of an off: the host may still be on
        raise ChangeFailed(f'{error}: look at the power controller') from None


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
