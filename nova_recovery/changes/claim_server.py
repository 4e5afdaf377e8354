# SPDX-License-Identifier: Apache-2.0

"""Claim a single server, in the cloud, for as long as a run works on it."""

from __future__ import annotations

from nova_recovery.changes import cell
from nova_recovery.changes.base import BaseChange
from nova_recovery.cloud import claims
from nova_recovery.engine.change import Context, JSON, Observed, Past, State
from nova_recovery.engine.plan import Item


class ClaimServer(BaseChange):
    """Data: cell, uuid."""

    kind = 'claim-server'

    def describe(self, item: Item) -> list[str]:
        return ['+ tag nova-recovery-claim, while this run works on it']

    def observe(
        self, item: Item, context: Context, past: Past | None
    ) -> Observed:
        held = claims.server_holder(
            cell.database(item, context), item.data['uuid']
        )
        if held == claims.owner_tag(context.marker):
            return Observed(State.AFTER, 'claimed by this run')
        if held:
            return Observed(State.NEITHER, f'claimed by another run: {held}')
        return Observed(State.BEFORE)

    def apply(self, item: Item, context: Context, image: JSON) -> str:
        claims.claim_server(
            cell.database(item, context), item.data['uuid'], context.marker
        )
        return 'claimed'

    def revert(self, item: Item, context: Context, past: Past) -> str:
        return _release(item, context)


class ReleaseServer(BaseChange):
    """Data: cell, uuid."""

    kind = 'release-server'

    def describe(self, item: Item) -> list[str]:
        return ['- tag nova-recovery-claim']

    def observe(
        self, item: Item, context: Context, past: Past | None
    ) -> Observed:
        held = claims.server_holder(
            cell.database(item, context), item.data['uuid']
        )
        if held != claims.owner_tag(context.marker):
            return Observed(State.AFTER, 'not claimed by us')
        return Observed(State.BEFORE)

    def apply(self, item: Item, context: Context, image: JSON) -> str:
        return _release(item, context)

    def revert(self, item: Item, context: Context, past: Past) -> str:
        # What is taken back next is done under the claim again.
        claims.claim_server(
            cell.database(item, context), item.data['uuid'], context.marker
        )
        return 'claimed again'


def _release(item: Item, context: Context) -> str:
    claims.release_server(
        cell.database(item, context), item.data['uuid'], context.marker
    )
    return 'claim given back'
