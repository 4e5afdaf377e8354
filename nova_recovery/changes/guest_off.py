# SPDX-License-Identifier: Apache-2.0

"""Whether a guest still is off, right before a volume is taken from it.

The gate of the plan asked that, perhaps days ago: its owner may have started
the server since, which keeps nova's mapping as it was.
"""

from __future__ import annotations

from nova_recovery.changes import cell, once
from nova_recovery.changes.base import At
from nova_recovery.engine.change import Observed
from nova_recovery.exceptions import NotFound, RecoveryError

#: Statuses of attachments that a guest may be using.
IN_USE = frozenset({'attached', 'detaching'})


def refused(at: At, host: str | None = None) -> Observed | None:
    """Why nothing may be taken from the item's server; None: it may.

    A host whose nova-compute isn't up is not asked, it would wait for an
    answer: what the gate made of it stands.

    :param host: the one that the attachment is of, if it says
    """
    if at.data.get('cell') is None:
        # it was gone when this was planned
        return None
    try:
        own = cell.server_row(at)['host']
    except NotFound:
        return None
    if not own or host not in (None, own):
        return None
    compute = at.cloud.compute
    try:
        if once.compute_state(at, own) != 'up':
            return None
        runs = compute.runs(at.data['uuid'])
    except RecoveryError as error:
        return Observed.unknown(
            f'whether the guest runs on {own} is not known: {error}'
        )
    if not runs:
        return None
    return Observed.neither(
        f'the guest runs on {own} by now and may use the volume: stop it '
        f'first: openstack server stop {at.data["uuid"]}'
    )
