# SPDX-License-Identifier: Apache-2.0

"""The claims of a plan, looked at again before each change.

So is the silence of a host that was claimed as a dead one: when it comes back
in the middle of a run, its guests would be started on two hosts. Not on the
way back, which is what is left to do then: it starts nothing, and what it
returns was the host's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nova_recovery import program
from nova_recovery.cloud import claims
from nova_recovery.engine import claiming
from nova_recovery.engine.change import Guard
from nova_recovery.engine.plan import Item, Plan
from nova_recovery.exceptions import ClaimLost, Conflict

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud


def guard(
    plan: Plan, cloud: Cloud, marker: str, undoing: bool
) -> Guard | None:
    """See ``procedures.guard``."""
    claimed = claiming.claims(plan)
    if not claimed:
        return None

    def confirm(item: Item) -> None:
        if item.kind in claiming.KINDS:
            # they look for themselves
            return
        for subject in (item.subject, *item.follows):
            if subject in claimed:
                _confirm(cloud, claimed[subject], marker, undoing)

    return confirm


def _confirm(cloud: Cloud, claim: Item, marker: str, undoing: bool) -> None:
    database = cloud.databases.cell(claim.data['cell'])
    if claim.kind == claiming.SERVER:
        _confirm_server(
            claim.label,
            claims.server_holder(database, claim.data['uuid']),
            marker,
        )
        return
    row = claims.service_row(database, claim.data['service_id'])
    if row['disabled_reason'] != marker:
        raise ClaimLost(
            f'the claim on {claim.label} is gone; its nova-compute is now '
            f'disabled because: {row["disabled_reason"]}'
        )
    if undoing or not claiming.silent(claim):
        return
    if row['report_count'] != claim.data['report_count']:
        raise ClaimLost(
            f'{claim.label} is alive again: its nova-compute reported '
            f'{row["report_count"]} times, {claim.data["report_count"]} when '
            'the plan was made; nothing more is done for it, what was can be '
            f'taken back ({program.call("run undo RUN")})'
        )


def _confirm_server(label: str, held: str | None, marker: str) -> None:
    """One server that was lost ends nothing but what is done to it.

    Its claim is a tag, which its owner can take off, and which nova deletes
    with the server.

    :param held: the tag of whoever has claimed it
    :raises ClaimLost: the run itself is somebody else's by now
    :raises Conflict: only this server's claim is gone
    """
    ours = claims.owner_tag(marker)
    if held == ours:
        return
    if held is not None and claims.run_of(held) == claims.run_of(ours):
        raise ClaimLost(f'the claim on server {label} is gone: {held}')
    raise Conflict(
        f'the claim on server {label} is gone: '
        + (f'it is claimed by {held}' if held else 'its tag was removed')
        + '; nothing more is done to it. Make a new plan for it, and leave '
        'it out here with '
        + program.call(f'run resume RUN --skip {label}=REASON')
    )
