# SPDX-License-Identifier: Apache-2.0

"""Mends time.sleep in a service whose clock libfaketime shifts.

time.sleep of Python 3.11 and later is an absolute clock_nanosleep of the
monotonic clock, which libfaketime 0.9.10 takes for the shifted real-time
clock and refuses as EINVAL. A select with a timeout it leaves alone.
"""

import select
import time


def _sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = _sleep  # type: ignore[assignment]
