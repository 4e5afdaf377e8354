# SPDX-License-Identifier: Apache-2.0

"""Turn a host off by the site's fencing driver."""

from __future__ import annotations

from nova_recovery import fencing
from nova_recovery.changes.base import BaseChange
from nova_recovery.engine.change import Context, JSON, Observed, Past, State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed


class FenceHost(BaseChange):
    """Data: host. Turning off twice does no harm."""

    kind = 'fence-host'

    def describe(self, item: Item) -> list[str]:
        return ['> turned off by [fencing] command_off']

    def observe(
        self, item: Item, context: Context, past: Past | None
    ) -> Observed:
        status = fencing.load(context.cloud.conf, '').status(item.data['host'])
        state = {'off': State.AFTER, 'on': State.BEFORE}.get(
            status.state, State.UNKNOWN
        )
        return Observed(state, status.detail)

    def apply(self, item: Item, context: Context, image: JSON) -> str:
        driver = fencing.load(context.cloud.conf, '')
        driver.off(item.data['host'])
        status = driver.status(item.data['host'])
        if status.state != 'off':
            raise ChangeFailed(
                f'{item.data["host"]} was told to turn off: {status.detail}'
            )
        return status.detail

    def revert(self, item: Item, context: Context, past: Past) -> str:
        # Whoever turned it off decides when it may come back.
        return 'stays off'
