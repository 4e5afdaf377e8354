# SPDX-License-Identifier: Apache-2.0

"""How long ago something was, by a clock that nobody sets.

The boot clock goes on while the process, or the machine, stands still; it is
the same for all processes of a boot, and means nothing after the next one.
"""

from __future__ import annotations

import pathlib
import time
from typing import Any

_BOOT = pathlib.Path('/proc/sys/kernel/random/boot_id')


def boot_clock() -> float:
    """Seconds since the machine was booted, those that it slept, too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def stamp() -> dict[str, Any]:
    """This moment, for the journal."""
    return {'boot': _boot(), 'at': boot_clock()}


def since(then: dict[str, Any] | None) -> float | None:
    """Seconds since a stamp; None: of another boot, or machine, or none."""
    if not then or not _boot() or then['boot'] != _boot():
        return None
    return boot_clock() - float(then['at'])


def _boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ''
