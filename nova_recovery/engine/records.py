# SPDX-License-Identifier: Apache-2.0

"""Runs, items, events and outcomes: plain frozen records."""

from __future__ import annotations

import dataclasses
import datetime
import json
from typing import Any
import zlib

#: Smaller values aren't compressed: it would take longer than writing them.
_SMALL = 4096


def marker(run_id: str, who: str, machine: str) -> str:
    """What a claim in the cloud says of a run."""
    return f'nova-recovery run={run_id} by={who}@{machine}'


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """A plan carried out, or about to be.

    :ivar id: eight hex digits
    :ivar state: ready, running, interrupted, paused, done, partly or undone
    :ivar holder: the process that carries it out just now, or ''; running
        without one means that it was killed and can be resumed
    :ivar who: who answers for it, and from which ``machine``
    :ivar command: what was typed, secrets masked
    :ivar digest: of the plan
    :ivar created_at: and the other times: UTC, ISO 8601 with Z, or ''
    :ivar counts: item state -> number of items
    """

    id: str
    procedure: str
    title: str
    state: str
    who: str
    machine: str
    command: str
    digest: str
    created_at: str
    started_at: str
    finished_at: str
    holder: str
    counts: dict[str, int]

    @property
    def marker(self) -> str:
        """What a claim in the cloud says of this run."""
        return marker(self.id, self.who, self.machine)


@dataclasses.dataclass(frozen=True)
class ItemRecord:
    """One item of a run.

    :ivar id: as in the plan
    :ivar number: its place in the run, from 0; the order of the plan
    :ivar step: the name of its step, and its ``position`` there, from 0
    :ivar begun: it may have been sent, and the image is from before that
    :ivar detail: what came of it, one line
    :ivar image: the before-image, {} before the intent
    :ivar notes: what the change wanted to remember
    """

    id: str
    number: int
    step: str
    position: int
    kind: str
    subject: str
    label: str
    state: str
    begun: bool
    detail: str
    image: dict[str, Any]
    notes: dict[str, Any]
    started_at: str
    finished_at: str


@dataclasses.dataclass(frozen=True)
class EventRecord:
    """Something that happened to a run as a whole.

    :ivar kind: created, started, resumed, interrupted, paused, finished,
        undoing, undone, skipped, again, taken-over, overridden,
        abandoned or imported
    """

    at: str
    kind: str
    who: str
    machine: str
    detail: str


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run stands after it was carried out or taken back.

    :ivar state: of the run: done, partly, paused, interrupted or undone
    :ivar counts: item state -> number of items, of the whole run
    :ivar reason: why it paused, or what interrupted it
    :ivar then: what else an operator can do now, a line each
    """

    run_id: str
    state: str
    counts: dict[str, int]
    exit_code: int
    reason: str = ''
    then: tuple[str, ...] = ()


def now() -> str:
    """The time in UTC, ISO 8601 with Z, to the millisecond."""
    moment = datetime.datetime.now(datetime.timezone.utc)
    text = moment.isoformat(timespec='milliseconds')
    return text.replace('+00:00', 'Z')


def pack(value: Any) -> bytes:
    """JSON as bytes, compressed where that is worth it."""
    text = json.dumps(value, separators=(',', ':')).encode()
    if len(text) < _SMALL:
        return text
    # level 1: a third of the time of 6 for nearly the same size
    return b'z' + zlib.compress(text, 1)


def unpack(packed: bytes | None) -> Any:
    """What ``pack`` was given; {} for NULL."""
    if packed is None:
        return {}
    # JSON never begins with a z
    if packed[:1] == b'z':
        packed = zlib.decompress(packed[1:])
    return json.loads(packed)
