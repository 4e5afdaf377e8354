# SPDX-License-Identifier: Apache-2.0

"""What was decided, before it is made a plan."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses

from nova_recovery.procedures.disaster.judge.wanted import Answer, Wanted
from nova_recovery.procedures.disaster.plan.clean import Cleaned
from nova_recovery.procedures.disaster.plan.guests import Chosen
from nova_recovery.procedures.disaster.plan.reattach import Again

NAME = 'disaster'
#: The steps of the guide.
RECORD, CLEAN, RESTART, REATTACH, GUESTS = 1, 2, 3, 4, 5


@dataclasses.dataclass(frozen=True)
class Decided:
    """What becomes of everything.

    :ivar running: W without those that can't be restarted, in order
    :ivar left: server -> why it is left alone
    """

    answer: Answer
    running: tuple[Wanted, ...]
    left: Mapping[str, str]
    cleaned: Cleaned
    again: Again
    chosen: Chosen
