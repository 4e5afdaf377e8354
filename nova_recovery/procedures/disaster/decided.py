# SPDX-License-Identifier: Apache-2.0

"""What was decided, before it is made a plan."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses

from nova_recovery.procedures.disaster import clean
from nova_recovery.procedures.disaster import guests
from nova_recovery.procedures.disaster import reattach
from nova_recovery.procedures.disaster import wanted

PROCEDURE = 'disaster'
#: The steps of the guide.
RECORD, CLEAN, RESTART, REATTACH, GUESTS = 1, 2, 3, 4, 5


@dataclasses.dataclass(frozen=True)
class Decided:
    """What becomes of everything.

    :ivar running: W without those that can't be restarted, in order
    :ivar left: server -> why it is left alone
    """

    answer: wanted.Answer
    running: tuple[wanted.Wanted, ...]
    left: Mapping[str, str]
    cleaned: clean.Cleaned
    again: reattach.Again
    chosen: guests.Chosen
