# SPDX-License-Identifier: Apache-2.0

"""Claim a single server, in the cloud, for as long as a run works on it."""

from __future__ import annotations

from nova_recovery.changes import base
from nova_recovery.changes import cell
from nova_recovery.cloud import claims
from nova_recovery.engine import change
from nova_recovery.engine import plan

JSON = change.JSON


class ClaimServer(base.BaseChange):
    """Data: cell, uuid."""

    kind = 'claim-server'

    def describe(self, item: plan.Item) -> list[str]:
        return ['+ tag nova-recovery-claim, while this run works on it']

    def observe(
        self,
        item: plan.Item,
        context: change.Context,
        past: change.Past | None,
    ) -> change.Observed:
        held = claims.server_holder(
            cell.database(item, context), item.data['uuid']
        )
        if held == claims.owner_tag(context.marker):
            return change.Observed(change.State.AFTER, 'claimed by this run')
        if held:
            return change.Observed(
                change.State.NEITHER, f'claimed by another run: {held}'
            )
        return change.Observed(change.State.BEFORE)

    def apply(
        self, item: plan.Item, context: change.Context, image: JSON
    ) -> str:
        claims.claim_server(
            cell.database(item, context), item.data['uuid'], context.marker
        )
        return 'claimed'

    def revert(
        self, item: plan.Item, context: change.Context, past: change.Past
    ) -> str:
        return _release(item, context)


class ReleaseServer(base.BaseChange):
    """Data: cell, uuid."""

    kind = 'release-server'

    def describe(self, item: plan.Item) -> list[str]:
        return ['- tag nova-recovery-claim']

    def observe(
        self,
        item: plan.Item,
        context: change.Context,
        past: change.Past | None,
    ) -> change.Observed:
        held = claims.server_holder(
            cell.database(item, context), item.data['uuid']
        )
        if held != claims.owner_tag(context.marker):
            return change.Observed(change.State.AFTER, 'not claimed by us')
        return change.Observed(change.State.BEFORE)

    def apply(
        self, item: plan.Item, context: change.Context, image: JSON
    ) -> str:
        return _release(item, context)

    def revert(
        self, item: plan.Item, context: change.Context, past: change.Past
    ) -> str:
        # What is taken back next is done under the claim again.
        claims.claim_server(
            cell.database(item, context), item.data['uuid'], context.marker
        )
        return 'claimed again'


def _release(item: plan.Item, context: change.Context) -> str:
    claims.release_server(
        cell.database(item, context), item.data['uuid'], context.marker
    )
    return 'claim given back'
