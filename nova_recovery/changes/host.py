# SPDX-License-Identifier: Apache-2.0

"""A dead host is made sure of: turned off, and known to nova as off."""

from __future__ import annotations

from nova_recovery import fencing
from nova_recovery.changes import cell
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.cloud import claims
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


class ForceDown(BaseChange):
    """Tell nova that the host is off, so that it acts without it.

    Data: cell, host, service_id, forced_down (as seen).
    """

    kind = 'force-down'
    confirms = True

    def describe(self, item: Item) -> list[str]:
        return ['~ forced_down  false -> true']

    def observe(self, at: At) -> Observed:
        row = claims.service_row(cell.database(at), at.data['service_id'])
        if row['forced_down']:
            return Observed.after('already forced down')
        return Observed.before({'forced_down': False})

    def apply(self, at: At) -> str:
        service = at.cloud.compute.service(at.data['host'])
        at.confirm()
        at.cloud.compute.force_down(service, True)
        return 'forced down'

    def revert(self, at: At) -> str:
        compute = at.cloud.compute
        service = compute.service(at.data['host'])
        if not service.get('forced_down'):
            return 'already as it was'
        try:
            compute.force_down(service, False)
        except ChangeFailed as error:
            # nova refuses while there are evacuations that the host did
            # not clean up after; that is no reason to keep the claim.
            return (
                f'stays forced down ({error}); start nova-compute there, let '
                'it clean up, then: openstack compute service set --up '
                f'{at.data["host"]} nova-compute'
            )
        return 'no longer forced down'
