# SPDX-License-Identifier: Apache-2.0

"""Turn a host off by the site's fencing driver."""

from __future__ import annotations

from nova_recovery import fencing
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.engine.change import Observed, State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed


class FenceHost(BaseChange):
    """Data: host. Turning off twice does no harm."""

    kind = 'fence-host'

    def describe(self, item: Item) -> list[str]:
        return ['> turned off by [fencing] command_off']

    def observe(self, at: At) -> Observed:
        status = fencing.load(at.cloud.conf, '').status(at.data['host'])
        state = {'off': State.AFTER, 'on': State.BEFORE}.get(
            status.state, State.UNKNOWN
        )
        return Observed(state, status.detail)

    def apply(self, at: At) -> str:
        driver = fencing.load(at.cloud.conf, '')
        driver.off(at.data['host'])
        status = driver.status(at.data['host'])
        if status.state != 'off':
            raise ChangeFailed(
                f'{at.data["host"]} was told to turn off: {status.detail}'
            )
        return status.detail

    def revert(self, at: At) -> str:
        # Whoever turned it off decides when it may come back.
        return 'stays off'
