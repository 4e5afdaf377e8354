# SPDX-License-Identifier: Apache-2.0

"""The driver ``local``: this machine alone, without any connection."""

from __future__ import annotations

from collections.abc import Mapping
import subprocess  # nosec B404

from oslo_config import cfg

from nova_recovery.fleet import answer
from nova_recovery.fleet.answer import Said
from nova_recovery.fleet.hosts import Inventory, Known, PATIENCE

_NAME = 'localhost'


class Transport:
    """Gives scripts to the shell of this machine."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._running: subprocess.Popen[str] | None = None
        self._cancelled = False

    def inventory(self, seconds: float = PATIENCE) -> Inventory:
        return Inventory({_NAME: Known()}, only=_NAME)

    def carry(
        self, scripts: Mapping[str, str], seconds: float
    ) -> Mapping[str, Said]:
        return {
            name: self._carried(text, seconds)
            for name, text in scripts.items()
        }

    def cancel(self) -> None:
        self._cancelled = True
        if self._running:
            self._running.kill()

    def _carried(self, text: str, seconds: float) -> Said:
        if self._cancelled:
            return Said(reason=answer.CANCELLED)
        with subprocess.Popen(  # nosec B603
            ['/bin/sh', '-c', text],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            start_new_session=True,
        ) as self._running:
            try:
                printed, _none = self._running.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                self._running.kill()
                return Said(reason=answer.TIMED_OUT)
        return Said(
            printed, reason=answer.CANCELLED if self._cancelled else ''
        )
