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

"""Keep the owner of a server from acting while it is moved."""

from __future__ import annotations

from nova_recovery.changes import base
from nova_recovery.changes import cell
from nova_recovery.engine import change
from nova_recovery.engine import plan

JSON = change.JSON


class LockServer(base.BaseChange):
    """Lock; planned only for servers that aren't locked already.

    Data: cell, uuid. An administrator's lock stops members, not other
    administrators: the claim on the host is for those.
    """

    kind = 'lock-server'

    def describe(self, item: plan.Item) -> list[str]:
        return ['~ locked while it is moved']

    def observe(
        self,
        item: plan.Item,
        context: change.Context,
        past: change.Past | None,
    ) -> change.Observed:
        row = cell.server_row(item, context)
        if row['locked']:
            # Before the first intent this is somebody else's lock, which
            # protects just as well.
            return change.Observed(change.State.AFTER, 'locked')
        return change.Observed(change.State.BEFORE, image={'locked': False})

    def apply(
        self, item: plan.Item, context: change.Context, image: JSON
    ) -> str:
        context.cloud.compute.lock(item.data['uuid'], context.marker)
        return 'locked'

    def revert(
        self, item: plan.Item, context: change.Context, past: change.Past
    ) -> str:
        if not cell.server_row(item, context)['locked']:
            return 'already unlocked'
        context.cloud.compute.unlock(item.data['uuid'])
        return 'unlocked'


class UnlockServer(base.BaseChange):
    """Take our lock off again. Data: cell, uuid."""

    kind = 'unlock-server'

    def describe(self, item: plan.Item) -> list[str]:
        return ['~ unlocked']

    def observe(
        self,
        item: plan.Item,
        context: change.Context,
        past: change.Past | None,
    ) -> change.Observed:
        if not cell.server_row(item, context)['locked']:
            return change.Observed(change.State.AFTER, 'unlocked')
        return change.Observed(change.State.BEFORE, image={'locked': True})

    def apply(
        self, item: plan.Item, context: change.Context, image: JSON
    ) -> str:
        context.cloud.compute.unlock(item.data['uuid'])
        return 'unlocked'

    def revert(
        self, item: plan.Item, context: change.Context, past: change.Past
    ) -> str:
        return 'stays unlocked'
