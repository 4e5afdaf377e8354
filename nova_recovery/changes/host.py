# SPDX-License-Identifier: Apache-2.0

"""What is done to the compute service of a dead host."""

from __future__ import annotations

from nova_recovery.changes import cell
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.cloud import claims
from nova_recovery.engine.change import Observed
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed, ClaimLost, Conflict


class ClaimHost(BaseChange):
    """Disable the service, with who works on it as the reason.

    Data: cell, host, service_id, seen {disabled, disabled_reason},
    report_count (as it stood still).
    """

    kind = 'claim-host'

    def describe(self, item: Item) -> list[str]:
        return ['~ nova-compute disabled, claimed by this run']

    def observe(self, at: At) -> Observed:
        row = claims.service_row(cell.database(at), at.data['service_id'])
        reason = row['disabled_reason']
        if reason == at.marker:
            return Observed.after('claimed by this run')
        seen = at.data['seen']
        changed = cell.differences(
            {**seen, 'report_count': at.data['report_count']}, row
        )
        if changed and claims.holder(reason):
            return Observed.neither(f'claimed by another run: {reason}')
        if changed:
            return Observed.neither(cell.tell(changed))
        return Observed.before(dict(seen))

    def apply(self, at: At) -> str:
        database = cell.database(at)
        service_id = at.data['service_id']
        try:
            claims.set_service(
                database,
                service_id,
                {**at.image, 'report_count': at.data['report_count']},
                {'disabled': 1, 'disabled_reason': at.marker},
            )
        except Conflict as error:
            reason = claims.service_row(database, service_id)[
                'disabled_reason'
            ]
            if claims.holder(reason):
                raise ClaimLost(f'claimed by another run: {reason}') from error
            raise
        return 'claimed'

    def revert(self, at: At) -> str:
        database = cell.database(at)
        row = claims.service_row(database, at.data['service_id'])
        if not cell.differences(at.image, row):
            return 'already as it was'
        claims.set_service(
            database,
            at.data['service_id'],
            {'disabled_reason': at.marker},
            at.image,
        )
        return 'claim given back'


class ReleaseHost(BaseChange):
    """Give the claim back and leave the host out of service.

    It must stay disabled and forced down until its nova-compute has
    restarted and cleaned up after itself. Data: as ClaimHost.
    """

    kind = 'release-host'

    def describe(self, item: Item) -> list[str]:
        return ['~ claim given back; stays disabled and forced down']

    def observe(self, at: At) -> Observed:
        row = claims.service_row(cell.database(at), at.data['service_id'])
        if row['disabled_reason'] == released(at.run_id):
            return Observed.after()
        if row['disabled_reason'] != at.marker:
            return Observed.neither(
                f'the claim is gone: {row["disabled_reason"]!r}'
            )
        return Observed.before({'disabled_reason': at.marker})

    def apply(self, at: At) -> str:
        claims.set_service(
            cell.database(at),
            at.data['service_id'],
            at.image,
            {'disabled_reason': released(at.run_id)},
        )
        return 'stays disabled and forced down until it has cleaned up'

    def revert(self, at: At) -> str:
        database = cell.database(at)
        row = claims.service_row(database, at.data['service_id'])
        if row['disabled_reason'] == at.marker:
            return 'already claimed'
        claims.set_service(
            database,
            at.data['service_id'],
            {'disabled_reason': released(at.run_id)},
            {'disabled_reason': at.marker},
        )
        return 'claimed again'


def released(run_id: str) -> str:
    """Why a host stays disabled after its servers were recovered."""
    return (
        f'recovered by nova-recovery (run {run_id}); start its '
        'nova-compute and let it clean up before it is enabled'
    )


class ForceDown(BaseChange):
    """Tell nova that the host is off, so that it acts without it.

    Data: cell, host, service_id, forced_down (as seen).
    """

    kind = 'force-down'

    def describe(self, item: Item) -> list[str]:
        return ['~ forced_down  false -> true']

    def observe(self, at: At) -> Observed:
        row = claims.service_row(cell.database(at), at.data['service_id'])
        if row['forced_down']:
            return Observed.after('already forced down')
        return Observed.before({'forced_down': False})

    def apply(self, at: At) -> str:
        service = at.cloud.compute.service(at.data['host'])
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
