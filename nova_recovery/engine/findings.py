# SPDX-License-Identifier: Apache-2.0

"""What looking finds, and what it comes to. Pure data.

Every command that only looks tells what it saw as findings, and the whole
as an assessment: a table, a line, an exit code, and one line for monitoring.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Mapping
import dataclasses
from typing import Any

from nova_recovery import exit_codes, program
from nova_recovery.engine.plan import Gate

#: To go on as it is may lose a disk, or run a guest twice.
DANGER = 'danger'
#: It can't be known, which is no better than bad.
UNKNOWN = 'unknown'
#: Something is left over, or follows from what is bad elsewhere.
STALE = 'stale'
#: To know; nothing is to be done with it here.
NOTE = 'note'
#: As it should be.
GOOD = 'good'
#: The gravest first.
SEVERITIES = (DANGER, UNKNOWN, STALE, NOTE, GOOD)

#: What monitoring is told: the word and the exit code that plugins of Nagios
#: and its kin end with (https://nagios-plugins.org/doc/guidelines.html).
_MONITORING = {
    DANGER: ('CRITICAL', 2),
    UNKNOWN: ('UNKNOWN', 3),
    STALE: ('WARNING', 1),
    NOTE: ('OK', 0),
    GOOD: ('OK', 0),
}


def guide(name: str) -> str:
    """Where the documentation tells of a code or a gate.

    A page and an anchor below its root (doc/ext/codes.py makes them).
    """
    return f'user/codes.html#{name.lower()}'


#: So many codes are named where all could be explained.
_MEANT = 3


def meaning(names: Iterable[str]) -> str:
    """How it is read what codes or gates mean, a line; '' without any."""
    found = list(dict.fromkeys(names))[:_MEANT]
    if not found:
        return ''
    return f'What it means: {program.call(" ".join(["guide", *found]))}'


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was seen.

    :ivar code: stable, such as ``SRV-DOWN``; of readiness the layer
    :ivar severity: how bad, one of :data:`SEVERITIES`
    :ivar subject: such as ``server:UUID``, ``host:np-rcc4``
    :ivar cause: what was seen, with the most likely reason; no secrets
    :ivar expected: what should have been, where that isn't plain
    :ivar fix: the one safe command, to be typed as it is; '': none is safe
    :ivar behind: findings that this one may only follow from, as patterns
        such as ``database/*`` of ``code/subject``
    :ivar label: what people call the subject
    :ivar host: the compute host concerned, '' if none is
    :ivar project: its ID, the same
    :ivar server: UUID, the same
    :ivar volume: UUID, the same
    :ivar more: what else a table of such findings shows
    """

    code: str
    severity: str
    subject: str
    cause: str
    expected: str = ''
    fix: str = ''
    behind: tuple[str, ...] = ()
    label: str = ''
    host: str = ''
    project: str = ''
    server: str = ''
    volume: str = ''
    more: Mapping[str, Any] = dataclasses.field(
        default_factory=dict, hash=False
    )

    def gate(self, name: str, subject: str, klass: str = 'hard') -> Gate:
        """What it means for a plan: it refuses, unless all is well."""
        state = {UNKNOWN: 'unknown', NOTE: 'ok', GOOD: 'ok'}
        wanted = f'; expected: {self.expected}' if self.expected else ''
        return Gate(
            name,
            subject,
            klass,
            state.get(self.severity, 'refused'),
            f'{self.cause}{wanted}',
            self.fix,
        )


#: The headers of a table, each with what it says of a finding.
Columns = tuple[tuple[str, Callable[[Any], Any]], ...]
#: How tables of what was seen of hosts begin.
OF_HOST: Columns = (
    ('Code', lambda one: one.code),
    ('Severity', lambda one: one.severity),
    ('Host', lambda one: one.host),
)


def more(name: str) -> Callable[[Finding], Any]:
    """For a column: what a finding has under this name besides."""
    return lambda one: one.more.get(name, '')


@dataclasses.dataclass(frozen=True)
class Assessment:
    """What was found.

    :ivar found: all that was looked at, as the procedure has it
    :ivar findings: in the order in which they are shown
    :ivar columns: how they are shown
    :ivar summary: what is said besides, lines
    :ivar silent: what could not be looked at, lines
    :ivar ends: how the program ends with findings of a severity
    :ivar codes: only findings of these are shown, while all count; () is all
    """

    found: Any
    findings: tuple[Finding, ...]
    columns: Columns
    summary: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    ends: Mapping[str, int] = dataclasses.field(
        default_factory=lambda: dict.fromkeys(
            (DANGER, UNKNOWN, STALE), exit_codes.PARTLY
        )
    )
    codes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Severity -> how many, of those that there are; the gravest first."""
        counted = collections.Counter(one.severity for one in self.findings)
        return {name: counted[name] for name in SEVERITIES if counted[name]}

    @property
    def worst(self) -> str:
        """The severity that stands for all."""
        return next(iter(self.counts), GOOD)

    @property
    def exit_code(self) -> int:
        """An error if something was not looked at, else as the worst says."""
        if self.silent:
            return exit_codes.ERROR
        return self.ends.get(self.worst, exit_codes.DONE)

    @property
    def table(self) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Headers and rows."""
        return tuple(header for header, _ in self.columns), [
            tuple(value(one) for _, value in self.columns)
            for one in self.findings
            if not self.codes or one.code in self.codes
        ]

    @property
    def guided(self) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """The table, and where each code is told of: for programs."""
        where = ('Guide', lambda one: guide(one.code))
        return dataclasses.replace(self, columns=(*self.columns, where)).table

    @property
    def meaning(self) -> str:
        """How it is read what is wrong, a line; '' if nothing is.

        Only of codes that are seen: a table may have them for programs alone.
        """
        seen = {str(cell) for row in self.table[1] for cell in row}
        shown = [
            one
            for one in self.findings
            if one.severity in (DANGER, UNKNOWN, STALE) and one.code in seen
        ]
        shown.sort(key=lambda one: SEVERITIES.index(one.severity))
        return meaning(one.code for one in shown)

    @property
    def monitoring(self) -> tuple[str, int]:
        """One line for monitoring, and the exit code that goes with it.

        ``CRITICAL - 1 danger, 2 note: VOL-LOST volume:… … | danger=1 …``;
        what comes after the bar are numbers to be drawn.
        """
        state = self.worst
        if self.silent and state != DANGER:
            state = UNKNOWN
        word, code = _MONITORING[state]
        worst = (
            f'{one.code} {one.label or one.subject}: {one.cause}'
            for one in self.findings
            if one.severity == state
        )
        first = [*worst, *self.silent][:1] if code else []
        told = counted(self.counts) or ('' if first else 'nothing is wrong')
        text = ': '.join(filter(None, (told, *first)))
        drawn = ' '.join(
            f'{name}={self.counts.get(name, 0)}' for name in SEVERITIES[:-1]
        )
        # the bar ends the text
        return f'{word} - {text.replace("|", "/")} | {drawn}', code


def failed(why: str) -> Assessment:
    """Nothing could be looked at."""
    return Assessment(None, (), (), silent=(why,))


def counted(counts: Mapping[str, int]) -> str:
    """``1 danger, 2 note``; '' if there is none."""
    return ', '.join(f'{number} {name}' for name, number in counts.items())
