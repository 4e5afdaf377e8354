# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Write another name into the claims of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nova_recovery.cloud import claims
from nova_recovery.engine import plan

if TYPE_CHECKING:
    from nova_recovery.cloud import cloud as cloud_module


def hand_over(
    whole: plan.Plan, cloud: cloud_module.Cloud, before: str, after: str
) -> list[str]:
    """Make the claims of a run somebody else's, each by compare-and-set.

    From then on the process that had them sends nothing more: it looks at
    its claim before each change. Can be repeated.

    :param before: the marker of whoever has the run
    :param after: the marker of whoever takes it
    :returns: the hosts and servers whose claims were handed over
    :raises ClaimLost: a third party has one; those before it are handed over
    """
    handed = []
    for item in whole.items():
        if item.kind not in ('claim-host', 'claim-server'):
            continue
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
