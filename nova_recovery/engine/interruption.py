# SPDX-License-Identifier: Apache-2.0

"""Ctrl-C and a lost terminal: stop between two items, not within one."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)


class Interruption:
    """Whether the operator wants the run to stop. A context manager.

    The first signal lets what is in flight come to its end, the second one
    makes waits give up as well. Signals are only taken in the main thread,
    and those that were ignored before (by nohup) still are.

    :ivar draining: nothing new is started (``At.draining``)
    :ivar stopping: waits are given up (``At.stopping``)
    :ivar reason: the name of the first signal
    """

    def __init__(self) -> None:
        self.draining = threading.Event()
        self.stopping = threading.Event()
        self.reason = ''
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(
                        number, self._signalled
                    )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        # no output in here, and no locks but those of the events, which the
        # main thread never waits for: it may be at them
        if self.draining.is_set():
            self.stopping.set()
        else:
            self.reason = signal.Signals(number).name
            self.draining.set()
