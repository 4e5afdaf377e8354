# SPDX-License-Identifier: Apache-2.0

"""What an operator should know before such a plan is carried out."""

from __future__ import annotations

import collections
from collections.abc import Iterator

from nova_recovery.procedures.disaster import situation
from nova_recovery.procedures.disaster.found import Found
from nova_recovery.procedures.disaster.plan.decided import Decided
from nova_recovery.procedures.disaster.request import Request
from nova_recovery.procedures.disaster.situation import Situation
from nova_recovery.report import wording


def notes(request: Request, found: Found, decided: Decided) -> Iterator[str]:
    """Lines, the most important first."""
    here = found.situation
    yield from _warnings(found, decided)
    moved = [one for one in decided.running if one.moved]
    if moved:
        some = ', '.join(one.server.name or one.uuid for one in moved[:5])
        yield (
            f'{wording.count(len(moved), "server")} moved since the snapshot, '
            f'to be restarted where they are now: {some}'
        )
    if here.new:
        yield (
            f'{wording.count(len(here.new), "server")} younger than the '
            'snapshot: whether they ran is told by the databases.'
        )
    down = sorted(
        {one.server.host or '' for one in decided.running}
        - {h for h, s in here.computes.items() if s.state == situation.UP}
    )
    if down:
        yield (
            f'nova-compute is not up on {wording.count(len(down), "host")} '
            f'that step 3 needs: {", ".join(down[:5])}. It waits for them; '
            'one that will not come back is left out with --skip-host '
            'HOST=REASON.'
        )
    yield from _skipped(here)
    if decided.again.kept:
        yield (
            f'{wording.count(decided.again.kept, "data volume")} of the '
            'record attached as they were.'
        )
    yield from decided.chosen.notes
    if found.legacy is not None:
        yield from found.legacy.notes


def _warnings(found: Found, decided: Decided) -> Iterator[str]:
    """Those of the guide, where they apply."""
    if decided.running:
        yield (
            'Each server is rebooted or started once. One that stops while it '
            'boots may be waiting for a volume that comes back in step 4, or '
            'checks its file systems: do not reboot it a second time. Only '
            'run resume --again SERVER=REASON sends again.'
        )
    if found.legacy is not None:
        yield (
            'Data may be lost on Liberty and earlier: nova-compute destroys '
            'guests of servers that are not on its host by the database. See '
            'that destroy_after_evacuate is set as it should be before it '
            'starts.'
        )
        yield (
            'This cloud is from before Queens: only the steps 1 and 2 are '
            'done here. Reboot its servers and attach the volumes again by '
            'hand, from the map file of step 1.'
        )


def _skipped(here: Situation) -> Iterator[str]:
    """Whose servers are left to another command."""
    servers = collections.Counter(
        server.host for server in here.servers.values()
    )
    for host, reason in sorted(here.scope.skip_hosts.items()):
        yield (
            f'{host} is skipped ({reason}), with '
            f'{wording.count(servers[host], "server")}, to be recovered '
            f'elsewhere: openstack recovery host recover {host}'
        )
