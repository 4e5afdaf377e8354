# SPDX-License-Identifier: Apache-2.0

"""Claim a single server, in the cloud, for as long as a run works on it."""

from __future__ import annotations

from nova_recovery.changes import cell
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.cloud import claims
from nova_recovery.engine.change import Observed
from nova_recovery.engine.plan import Item


class ClaimServer(BaseChange):
    """Data: cell, uuid."""

    kind = 'claim-server'

    def describe(self, item: Item) -> list[str]:
        return ['+ tag nova-recovery-claim, while this run works on it']

    def observe(self, at: At) -> Observed:
        held = claims.server_holder(cell.database(at), at.data['uuid'])
        if held == claims.owner_tag(at.marker):
            return Observed.after('claimed by this run')
        if held:
            return Observed.neither(f'claimed by another run: {held}')
        return Observed.before()

    def apply(self, at: At) -> str:
        claims.claim_server(cell.database(at), at.data['uuid'], at.marker)
        return 'claimed'

    def revert(self, at: At) -> str:
        return _release(at)


class ReleaseServer(BaseChange):
    """Data: cell, uuid."""

    kind = 'release-server'

    def describe(self, item: Item) -> list[str]:
        return ['- tag nova-recovery-claim']

    def observe(self, at: At) -> Observed:
        held = claims.server_holder(cell.database(at), at.data['uuid'])
        if held != claims.owner_tag(at.marker):
            return Observed.after('not claimed by us')
        return Observed.before()

    def apply(self, at: At) -> str:
        return _release(at)

    def revert(self, at: At) -> str:
        # What is taken back next is done under the claim again.
        claims.claim_server(cell.database(at), at.data['uuid'], at.marker)
        return 'claimed again'


def _release(at: At) -> str:
    claims.release_server(cell.database(at), at.data['uuid'], at.marker)
    return 'claim given back'
