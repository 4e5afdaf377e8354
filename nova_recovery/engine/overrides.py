# SPDX-License-Identifier: Apache-2.0

"""Overrides: gates that an operator takes upon himself, with a reason.

Only soft gates can be overridden, only those that refuse, and only by name:
an override that means nothing is an error, not a spare key.
"""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses

from nova_recovery.engine.plan import Gate
from nova_recovery.exceptions import UsageError

FORM = 'GATE:SUBJECT=REASON'


@dataclasses.dataclass(frozen=True)
class Override:
    """One ``--override``, divided at its first ``=``.

    :ivar subject: ``''`` for a gate of the whole plan
    """

    gate: str
    subject: str
    reason: str

    def __str__(self) -> str:
        return address(self.gate, self.subject)

    def reason_for(self, gate: Gate) -> str:
        """The reason, if that gate is meant; else ``''``.

        Tenants may put a ``=`` into the name of a server, so the subject is
        looked for at the head of all that follows the gate's name.
        """
        if gate.name != self.gate:
            return ''
        head, given = f'{gate.subject}=', f'{self.subject}={self.reason}'
        return given[len(head) :].strip() if given.startswith(head) else ''


Overrides = tuple[Override, ...]


def address(name: str, subject: str) -> str:
    """How a gate is named on the command line: ``NAME:SUBJECT``."""
    return f'{name}:{subject}' if subject else name


def parse_overrides(words: Iterable[str] | None) -> Overrides:
    """Read the values of ``--override``.

    ``GATE:=REASON`` and ``GATE=REASON`` both mean a gate of the whole plan.

    :raises UsageError: not of that form, or without a reason
    """
    found: list[Override] = []
    for word in words or ():
        where, equals, reason = word.partition('=')
        gate, _, subject = where.partition(':')
        if not equals or not gate.strip():
            raise UsageError(f'--override {word!r}: give it as {FORM}')
        if not reason.strip():
            raise UsageError(
                f'--override {word!r}: the reason is empty; it is kept in '
                f'the journal, so say why'
            )
        found.append(Override(gate.strip(), subject.strip(), reason.strip()))
    return tuple(found)


def apply(gates: Iterable[Gate], overrides: Overrides) -> tuple[Gate, ...]:
    """The gates of a new plan, the overridden ones marked so.

    :raises UsageError: an override of a hard gate, of advice, or one that
        means no gate that refuses
    """
    gates = tuple(gates)
    for override in overrides:
        meant = [gate for gate in gates if override.reason_for(gate)]
        # A procedure that plans otherwise because of an override has marked
        # its gate already.
        if not any(g.blocks or g.state == 'overridden' for g in meant):
            raise UsageError(
                '\n'.join(
                    [f'--override {override}: {_why_not(meant)}']
                    + _those_that_could(gates)
                )
            )
        if any(gate.klass == 'hard' and gate.blocks for gate in meant):
            raise UsageError(
                f"--override {override}: this gate is hard, it can't be "
                f'overridden'
            )
    return tuple(
        _override(gate, overrides) if gate.blocks else gate for gate in gates
    )


def as_approved(
    now: Iterable[Gate], before: Iterable[Gate]
) -> tuple[Gate, ...]:
    """The gates of a plan that was approved before, as they are now.

    What was overridden then stays so, also where the gate is passed or no
    longer asked: the approval, and with it the digest, was for that. But it
    was for what was observed then: "3 of 10 are silent" isn't "10 of 10". It
    never covers a gate that is hard, nor one that wasn't overridden then.
    """
    then: dict[tuple[str, str], list[Gate]] = {}
    for gate in before:
        if gate.state == 'overridden':
            then.setdefault((gate.name, gate.subject), []).append(gate)
    gates, asked = [], set()
    for gate in now:
        key = gate.name, gate.subject
        asked.add(key)
        if key in then and gate.klass == 'soft':
            gate = _still(gate, then[key])
        gates.append(gate)
    gone = (some for key, some in then.items() if key not in asked)
    return (*gates, *(gate for some in gone for gate in some))


def _still(gate: Gate, given: list[Gate]) -> Gate:
    """A gate as it is now, overridden if one of these was for that."""
    for old in given:
        if not gate.blocks or gate.observed == old.observed:
            return dataclasses.replace(
                gate, state='overridden', reason=old.reason
            )
    return dataclasses.replace(
        gate,
        remedy='\n'.join(
            filter(
                None,
                (
                    'the override was given when it was otherwise: '
                    + '; '.join(old.observed for old in given),
                    gate.remedy,
                ),
            )
        ),
    )


def _override(gate: Gate, overrides: Overrides) -> Gate:
    if gate.klass != 'soft':
        return gate
    for override in overrides:
        if reason := override.reason_for(gate):
            return dataclasses.replace(gate, state='overridden', reason=reason)
    return gate


def _why_not(meant: list[Gate]) -> str:
    if any(gate.klass == 'advice' for gate in meant):
        return 'this is advice, which never refuses'
    if meant:
        return "this gate doesn't refuse"
    return 'no gate of this plan has that name and subject'


def _those_that_could(gates: tuple[Gate, ...]) -> list[str]:
    """The gates that an override could be for, as lines of a message."""
    open_ones = [g for g in gates if g.blocks and g.klass == 'soft']
    if not open_ones:
        return ['no gate of this plan wants an override']
    lines = ['those that refuse and can be overridden:']
    lines += [f'  {address(g.name, g.subject)}' for g in open_ones[:10]]
    if len(open_ones) > 10:
        lines.append(f'  … and {len(open_ones) - 10} more')
    return lines
