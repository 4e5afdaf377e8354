# SPDX-License-Identifier: Apache-2.0

"""A plan: what is to be done, as plain data.

A plan is made by a procedure, which only reads, and carried out by the
runner, which only does what it says. Between the two it can be shown,
saved, compared, approved by somebody else and applied later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
import dataclasses
import functools
import hashlib
import json
from typing import Any

from nova_recovery.exceptions import RecoveryError

#: Of plans, in files and in the journal. 1: what is left out has no label.
FORMAT = 2

#: So many digits of a plan's digest are shown at its head, and are enough to
#: approve it. Two plans whose first eight are the same are found in seconds.
SHORT = 16


@dataclasses.dataclass(frozen=True)
class Item:
    """One change to one subject.

    :ivar id: unique in the plan and stable between two plans of the same
        state, such as ``move-server:3f57699a-…``
    :ivar kind: which change does it (``nova_recovery.changes``)
    :ivar subject: what it is done to, ``server:UUID`` or ``host:NAME``. An
        item starts only when all earlier items of its subject are done.
    :ivar label: the subject as people call it
    :ivar data: all that the change needs, JSON types only, no secrets
    :ivar follows: other subjects whose earlier items must be done as well
        (a server follows its dead host)
    """

    id: str
    kind: str
    subject: str
    label: str
    data: dict[str, Any] = dataclasses.field(default_factory=dict)
    follows: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Step:
    """Changes that may run side by side.

    :ivar name: short and stable, such as ``evacuate``
    :ivar title: the same for people
    :ivar limits: at most so many at a time for each value of a key in the
        items' data, such as ``{'target': 4}``
    :ivar at_a_time: at most so many in all, those that only look aside;
        None: as many as there are workers
    :ivar number: which step of the guide it is part of, from 1; 0: of none
    :ivar failures: the run pauses when more than so many of its items end
        badly (failed, conflict or doubt); None: never. Each session counts
        anew, and not what had ended so before it.
    """

    name: str
    title: str
    items: tuple[Item, ...]
    limits: dict[str, int] = dataclasses.field(default_factory=dict)
    number: int = 0
    failures: int | None = None
    at_a_time: int | None = None

    @property
    def extras(self) -> dict[str, int]:
        """Those of its fields that plans of format 1 may lack, if set.

        Only then are they in a digest, a file or the journal: a plan without
        them is the same as ever.
        """
        found = {'number': self.number} if self.number else {}
        for name in ('failures', 'at_a_time'):
            if getattr(self, name) is not None:
                found[name] = getattr(self, name)
        return found


@dataclasses.dataclass(frozen=True)
class Gate:
    """A named precondition and what was found.

    :ivar name: such as ``source-silent``
    :ivar subject: the host or server it was asked for; ``''`` is the plan
    :ivar klass: ``hard`` (can't be overridden), ``soft`` or ``advice``
    :ivar state: ``ok``, ``refused``, ``unknown`` (which refuses) or
        ``overridden``
    :ivar observed: what was seen, one line
    :ivar remedy: what the operator can do, lines
    :ivar reason: with ``overridden``: the reason given
    """

    name: str
    subject: str
    klass: str
    state: str
    observed: str
    remedy: str = ''
    reason: str = ''

    @property
    def blocks(self) -> bool:
        return self.klass != 'advice' and self.state in ('refused', 'unknown')


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A subject that a plan doesn't touch.

    :ivar subject: as of an item, such as ``server:UUID``
    :ivar label: the subject as people call it, '' if it has no other name
    :ivar why: in words; a command to be copied has a line of its own
    """

    subject: str
    label: str
    why: str

    @property
    def line(self) -> str:
        """Why, in one line, for tables."""
        return ' '.join(self.why.split())

    @property
    def told(self) -> str:
        """The label and why, for whoever sees the subject."""
        return f'{self.label}: {self.why}' if self.label else self.why


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a procedure decided.

    :ivar procedure: which one, such as ``host-recover``
    :ivar title: one line for people
    :ivar arguments: what was asked for; enough to check the gates again
    :ivar steps: in strict order
    :ivar gates: as they stood when the plan was made
    :ivar notes: what the operator should know
    :ivar left_out: subjects that the plan doesn't touch, each with why
    :ivar created_at: UTC, ISO 8601 with Z
    :ivar format: in which it was made: a plan of an older version keeps its
        digest, which somebody may have approved
    :ivar down_since: subject -> since when it is known to be down, UTC, ISO
        8601 with Z; ``''`` is all that the plan starts. For the report
    :ivar cloud: what the command called the cloud, ``''`` if nothing
    """

    procedure: str
    title: str
    arguments: dict[str, Any]
    steps: tuple[Step, ...]
    gates: tuple[Gate, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    created_at: str = ''
    format: int = FORMAT
    down_since: dict[str, str] = dataclasses.field(default_factory=dict)
    cloud: str = ''

    @property
    def extras(self) -> dict[str, Any]:
        """Those of its fields that plans of before lack, if set.

        They only describe, and are in no digest.
        """
        every = {'down_since': self.down_since, 'cloud': self.cloud}
        return {name: value for name, value in every.items() if value}

    def items(self) -> Iterator[Item]:
        for step in self.steps:
            yield from step.items

    def check(self, kinds: Mapping[str, str]) -> None:
        """Return if it can be carried out as it stands.

        What would otherwise be noticed in the middle of a run, or never: an
        item that waits for what comes later, a claim that nobody gives back.

        :param kinds: those that there are, each with the kind that it gives
            back, '' for none
        :raises RecoveryError: the plan is wrong, and why
        """
        wrong = next(_faults(tuple(self.items()), kinds), '')
        if wrong:
            raise RecoveryError(
                f'the plan is wrong: {wrong}. Nothing was changed; please '
                'report this with the command that was typed'
            )

    def remaining(self, finished: Iterable[str]) -> Plan:
        """The same plan without the items of those ids."""
        gone = set(finished)
        steps = tuple(
            dataclasses.replace(
                step, items=tuple(i for i in step.items if i.id not in gone)
            )
            for step in self.steps
        )
        return dataclasses.replace(self, steps=steps)

    @property
    def headings(self) -> tuple[str, ...]:
        """What each step is called: by the guide's number, or its place."""
        if any(step.number for step in self.steps):
            return tuple(
                f'Step {step.number}' if step.number else 'Then'
                for step in self.steps
            )
        places = range(1, len(self.steps) + 1)
        return tuple(f'Step {place}' for place in places)

    @property
    def blocked(self) -> bool:
        return any(gate.blocks for gate in self.gates)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 in hex over what will be done and why it may be.

        What only describes a moment (when the plan was made, the wording of
        what a gate saw, why something is left out) isn't in it, so that
        the plan made a minute later from the same state has the same digest
        and can be approved with it. Overrides are in it: an approval is for
        them too.
        """
        digest = hashlib.sha256()
        head = {
            'format': self.format,
            'procedure': self.procedure,
            'arguments': self.arguments,
            'left_out': self._left_out,
            'overrides': sorted(
                [g.name, g.subject, g.reason]
                for g in self.gates
                if g.state == 'overridden'
            ),
        }
        digest.update(_canonical(head))
        for step in self.steps:
            head_of_step = [step.name, step.limits]
            if step.extras:
                head_of_step.append(step.extras)
            digest.update(_canonical(head_of_step))
            for item in step.items:
                digest.update(_canonical(vars(item)))
        return digest.hexdigest()

    @property
    def _left_out(self) -> Any:
        if self.format == 1:
            return {one.subject: one.why for one in self.left_out}
        return sorted([one.subject, one.label] for one in self.left_out)


def _faults(items: Sequence[Item], kinds: Mapping[str, str]) -> Iterator[str]:
    first: dict[str, int] = {}
    last: dict[tuple[str, str], int] = {}
    ids: set[str] = set()
    for place, item in enumerate(items):
        if item.id in ids:
            yield f'two items have the id {item.id}'
        ids.add(item.id)
        if item.kind not in kinds:
            yield f'there is no change called {item.kind}'
        first.setdefault(item.subject, place)
        last[item.kind, item.subject] = place
    given_back = {taken: kind for kind, taken in kinds.items() if taken}
    for place, item in enumerate(items):
        for subject in item.follows:
            if first.get(subject, -1) >= place:
                yield f'{item.id} follows {subject}, which comes later'
        back = given_back.get(item.kind)
        if back and last.get((back, item.subject), -1) < place:
            yield f'{item.id} has no {back} after it'


def _canonical(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(',', ':'))
    return text.encode() + b'\n'
