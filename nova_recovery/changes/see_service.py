# SPDX-License-Identifier: Apache-2.0

"""Wait until nova hears of a nova-compute again."""

from __future__ import annotations

from nova_recovery.changes import cell
from nova_recovery.changes.base import At, Look
from nova_recovery.cloud import claims
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed

#: Seconds between two looks, and altogether: nova-compute looks at all of
#: its guests before it reports, every report_interval (10).
POLL, PATIENCE = 2.0, 180


class SeeService(Look):
    """Changes nothing; its count of reports goes up.

    Data: host, cell, service_id; and where it may take longer, patience
    (seconds).
    """

    kind = 'see-service'

    def describe(self, item: Item) -> list[str]:
        return ['? nova-compute reports again']

    def apply(self, at: At) -> str:
        return ''

    def follow(self, at: At) -> str:
        first = _reports(at)
        waited = 0.0
        patience = at.data.get('patience', PATIENCE)
        while waited < patience:
            at.wait(POLL)
            waited += POLL
            if _reports(at) > first:
                return f'it reports, after {waited:.0f} s'
            at.progress(f'no report for {waited:.0f} s')
        raise ChangeFailed(
            f'nova-compute of {at.data["host"]} has reported nothing for '
            f'{patience} s: see its log'
        )


def _reports(at: At) -> int:
    row = claims.service_row(cell.database(at), at.data['service_id'])
    return int(row['report_count'] or 0)
