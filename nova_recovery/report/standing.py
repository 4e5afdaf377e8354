# SPDX-License-Identifier: Apache-2.0

"""How a run stands, why, and what an operator can type next."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from nova_recovery.engine import states

if TYPE_CHECKING:
    from nova_recovery.engine.records import EventRecord, RunRecord


def state_of(run: RunRecord) -> str:
    """Its state; ``killed`` if nobody is left who carries it out."""
    killed = run.state == states.RUNNING and not run.holder
    return 'killed' if killed else run.state


def reason_of(run: RunRecord, events: Iterable[EventRecord]) -> str:
    """Why a run paused, was interrupted or closed, '' if it wasn't.

    :param events: of the run, the oldest first
    """
    if run.state not in states.AT_REST:
        return ''
    kind = run.state if run.state in states.HALTED else 'finished'
    return next(
        (event.detail for event in [*events][::-1] if event.kind == kind), ''
    )


def ways(
    run: RunRecord, forward: Collection[str] = (), back: bool = True
) -> list[tuple[str, tuple[str, ...]]]:
    """What leads on: what it does, and the words of the command.

    :param forward: see ``undo.forward``
    :param back: see ``undo.worth``
    """
    if run.state == states.UNDONE:
        return []
    found: list[tuple[str, tuple[str, ...]]] = []
    # nothing is left, or its undo was begun: then it can't be resumed
    if set(run.counts) - states.FINAL and (
        forward or not states.UNDO & set(run.counts)
    ):
        found.append(('Go on', ('run', 'resume', run.id)))
    if back and run.state != states.READY:
        found.append(('Take back', ('run', 'undo', run.id)))
    return found


def lines(
    run: RunRecord,
    call: Callable[..., str],
    forward: Collection[str] = (),
    back: bool = True,
) -> Iterator[str]:
    """The same for a terminal.

    :param call: gives another command as it is typed in this program
    """
    found = ways(run, forward, back)
    if not found:
        return
    yield ''
    if run.holder:
        yield f'When {run.holder} has ended:'
    for what, words in found:
        yield f'{what + ":":<10} {call(*words)}'
