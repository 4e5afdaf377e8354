# SPDX-License-Identifier: Apache-2.0

"""All claims of a run at once: hand them over, or give them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nova_recovery.changes import host
from nova_recovery.cloud import claims
from nova_recovery.engine.plan import Item, Plan

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud


def hand_over(whole: Plan, cloud: Cloud, before: str, after: str) -> list[str]:
    """Make the claims of a run somebody else's, each by compare-and-set.

    From then on the process that had them sends nothing more: it looks at
    its claim before each change. Can be repeated.

    :param before: the marker of whoever has the run
    :param after: the marker of whoever takes it
    :returns: the hosts and servers whose claims were handed over
    :raises ClaimLost: a third party has one; those before it are handed over
    """
    handed = []
    for item in _claiming(whole):
        database = cloud.databases.cell(item.data['cell'])
        if item.kind == 'claim-host':
            done = claims.hand_over_service(
                database, item.data['service_id'], before, after
            )
        else:
            done = claims.hand_over_server(
                database, item.data['uuid'], before, after
            )
        if done:
            handed.append(item.label)
    return handed


def give_back(
    whole: Plan, cloud: Cloud, run_id: str, marker: str
) -> list[str]:
    """Give back what an undone run still claims.

    A host keeps its claim where servers were recovered that can't go back
    to it. Such a run can't be resumed, so that nobody else could ever work
    on the host. It stays disabled and forced down.

    :returns: the hosts and servers whose claims were given back
    """
    given = []
    for item in _claiming(whole):
        database = cloud.databases.cell(item.data['cell'])
        if item.kind == 'claim-server':
            claims.release_server(database, item.data['uuid'], marker)
            continue
        service_id = item.data['service_id']
        reason = claims.service_row(database, service_id)['disabled_reason']
        if reason == marker:
            claims.set_service(
                database,
                service_id,
                {'disabled_reason': marker},
                {'disabled_reason': host.released(run_id)},
            )
            given.append(item.label)
    return given


def _claiming(whole: Plan) -> list[Item]:
    return [
        item
        for item in whole.items()
        if item.kind in ('claim-host', 'claim-server')
    ]
