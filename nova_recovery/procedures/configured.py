# SPDX-License-Identifier: Apache-2.0

"""A row of ``config check``."""

from __future__ import annotations

from nova_recovery.engine import findings
from nova_recovery.engine.findings import DANGER, Finding, GOOD, NOTE, STALE

#: As it should be; it does not answer; it is configured wrongly; it is not
#: used: a disabled cell, a cinder.conf that is not there.
OK, UNKNOWN, WRONG, UNUSED = GOOD, findings.UNKNOWN, DANGER, NOTE
#: It works, and is not as one might think.
WARNING = STALE


def seen(
    what: str,
    state: str,
    detail: str,
    user: str = '',
    rights: str = '',
    offset: float | None = None,
    fix: str = '',
) -> Finding:
    """What was found of one thing.

    :param user: as whom a database is used
    :param rights: what that user may do
    :param offset: seconds that its clock is ahead of ours; None: not known
    :param fix: the command that mends it, if there is one
    """
    more = {'user': user, 'rights': rights, 'offset': offset}
    return Finding('CONFIG', state, what, detail, fix=fix, more=more)
