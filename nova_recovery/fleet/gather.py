# SPDX-License-Identifier: Apache-2.0

"""The calls of all workers as one: what reaches hosts has a high price once.

As the journal's writer does with commits: one thread, which waits a moment
for those who are about to call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import logging
import threading
import time
from types import TracebackType

from nova_recovery.fleet import answer
from nova_recovery.fleet.answer import Answer

LOG = logging.getLogger(__name__)

#: Seconds without another call after which those that came are carried, and
#: for which the first one waits at most. A play takes a second to begin.
QUIET, AT_MOST = 0.1, 2.0


class Call:
    """One call that waits, and then its answer.

    :param anew: by a connection that was not there before
    """

    def __init__(
        self,
        name: str,
        host: str,
        words: list[str],
        seconds: float,
        anew: bool = False,
    ) -> None:
        self.name, self.host = name, host
        self.words, self.seconds, self.anew = words, seconds, anew
        self.answer: Answer | None = None
        self._settled = threading.Event()

    def settle(self, found: Answer) -> None:
        self.answer = found
        self._settled.set()

    def wait(self) -> Answer:
        self._settled.wait()
        return self.answer or answer.doubt(self.host, answer.CANCELLED)


#: Carries calls, one for each name, and gives the answer to each name.
Carry = Callable[[list[Call]], Mapping[str, Answer]]


class Gatherer:
    """Carries calls of many threads together; leaving it cancels.

    :param carry: never called twice at a time, nor with a name twice
    """

    def __init__(self, carry: Carry) -> None:
        self._carry = carry
        self._changed = threading.Condition()
        self._waiting: list[Call] = []
        self._last = 0.0
        self._closed = False
        self._thread = threading.Thread(
            target=self._work, name='fleet', daemon=True
        )

    def __enter__(self) -> Gatherer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def ask(self, calls: list[Call]) -> list[Answer]:
        """The answers to these calls, as soon as the last one is there."""
        with self._changed:
            if self._closed:
                return [answer.doubt(c.host, answer.CANCELLED) for c in calls]
            self._waiting += calls
            self._last = time.monotonic()
            self._changed.notify()
        return [call.wait() for call in calls]

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._closed):
                    self._changed.wait()
                self._gather()
                group, self._waiting = _one_a_name(self._waiting)
                closed = self._closed
            if closed:
                _cancel([*group, *self._waiting])
                return
            self._settle(group)

    def _gather(self) -> None:
        """Wait until nobody has called for a moment."""
        deadline = time.monotonic() + AT_MOST
        while not self._closed:
            left = min(self._last + QUIET, deadline) - time.monotonic()
            if left <= 0:
                return
            self._changed.wait(left)

    def _settle(self, group: list[Call]) -> None:
        try:
            answers = self._carry(group)
        except Exception as error:
            LOG.exception('the calls to %d hosts failed', len(group))
            reason = f'{type(error).__name__}: {error}'
            answers = {
                call.name: answer.doubt(call.host, answer.NO_RESULT, reason)
                for call in group
            }
        for call in group:
            call.settle(
                answers.get(call.name)
                or answer.doubt(call.host, answer.NO_RESULT, 'nothing came')
            )


def _one_a_name(calls: list[Call]) -> tuple[list[Call], list[Call]]:
    """The first call of each name, and the others, in order."""
    first: dict[str, Call] = {}
    later = []
    for call in calls:
        if call.name in first:
            later.append(call)
        else:
            first[call.name] = call
    return list(first.values()), later


def _cancel(calls: list[Call]) -> None:
    for call in calls:
        call.settle(answer.doubt(call.host, answer.CANCELLED))
