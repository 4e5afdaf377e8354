# SPDX-License-Identifier: Apache-2.0

"""What can go wrong with the journal, in the words of the operator."""

from __future__ import annotations

from nova_recovery import exit_codes
from nova_recovery.exceptions import RecoveryError


class JournalError(RecoveryError):
    """The journal can't be used; nothing is sent without it."""


class JournalNewer(JournalError):
    """The journal was written by a newer version of this program."""


class RunLocked(JournalError):
    """Somebody else carries the run out just now."""

    exit_code = exit_codes.REFUSED
