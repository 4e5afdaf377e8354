# SPDX-License-Identifier: Apache-2.0

"""Turn a host off by the site's fencing driver."""

from __future__ import annotations

from nova_recovery.changes import base
from nova_recovery.engine import change
from nova_recovery.engine import plan
from nova_recovery import exceptions
from nova_recovery import fencing

JSON = change.JSON


class FenceHost(base.BaseChange):
    """Data: host. Turning off twice does no harm."""

    kind = 'fence-host'

    def describe(self, item: plan.Item) -> list[str]:
        return ['> turned off by [fencing] command_off']

    def observe(
        self,
        item: plan.Item,
        context: change.Context,
        past: change.Past | None,
    ) -> change.Observed:
        status = fencing.load(context.cloud.conf, '').status(item.data['host'])
        state = {
            'off': change.State.AFTER,
            'on': change.State.BEFORE,
        }.get(status.state, change.State.UNKNOWN)
        return change.Observed(state, status.detail)

    def apply(
        self, item: plan.Item, context: change.Context, image: JSON
    ) -> str:
        driver = fencing.load(context.cloud.conf, '')
        driver.off(item.data['host'])
        status = driver.status(item.data['host'])
        if status.state != 'off':
            raise exceptions.ChangeFailed(
                f'{item.data["host"]} was told to turn off: {status.detail}'
            )
        return status.detail

    def revert(
        self, item: plan.Item, context: change.Context, past: change.Past
    ) -> str:
        # Whoever turned it off decides when it may come back.
        return 'stays off'
