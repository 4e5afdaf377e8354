# SPDX-License-Identifier: Apache-2.0

"""What is asked before each request: is the claim still ours?

And does the storage still answer, and the compute: not before each one, but
often enough that a wave stops within ten servers. And would this server lose
a volume?
"""

from __future__ import annotations

import threading
import time
from typing import Any, TYPE_CHECKING

from nova_recovery import readiness
from nova_recovery.engine.change import Guard
from nova_recovery.engine.plan import Item, Plan
from nova_recovery.exceptions import Conflict, Paused
from nova_recovery.procedures import guarding
from nova_recovery.procedures.disaster.run import before
from nova_recovery.readiness import Site

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

#: Layers without which a request can't be carried out. Step 2 is made while
#: the hosts may be off still; what it writes into databases needs neither.
_STORAGE = frozenset({'volume'})
SENDS = {
    'recreate-attachment': _STORAGE,
    'drop-attachment': _STORAGE,
    'restart-server': readiness.VITAL,
    'attach-volume': readiness.VITAL,
}
#: An answer counts for so many seconds, and so many requests.
SECONDS = 3.0
REQUESTS = 8


def guard(
    plan: Plan, cloud: Cloud, marker: str, undoing: bool
) -> Guard | None:
    """See ``procedures.guard``."""
    claims = guarding.guard(plan, cloud, marker, undoing)
    if undoing:
        return claims
    sites = {layers: Vital(cloud, layers) for layers in SENDS.values()}

    def ask(item: Item) -> None:
        if claims is not None:
            claims(item)
        if item.kind in SENDS:
            sites[SENDS[item.kind]].ask(item)
        if item.kind == 'restart-server':
            held(item, cloud)

    return ask


def held(item: Item, cloud: Cloud) -> None:
    """Return if a reboot of the server loses none of its volumes.

    :raises Conflict: it would; only this server is kept back
    :raises Paused: nobody can tell
    """
    servers = {item.data['uuid']: item}
    # what is in work differs between the databases: then it is gone at once
    wrong = before.dangers(cloud, servers) and before.dangers(cloud, servers)
    if wrong:
        one = wrong[0]
        raise Conflict(
            f'a reboot would lose volume {one.volume}: {one.code}: {one.cause}'
            + (f'; mend it with {one.fix}' if one.fix else '')
            + ', and resume; or leave the server out with run resume --skip '
            'SERVER=REASON'
        )


class Vital:
    """Whether what requests need is still there.

    :param layers: of readiness
    """

    def __init__(self, cloud: Cloud, layers: frozenset[str]) -> None:
        self._cloud, self._layers = cloud, layers
        self._lock = threading.Lock()
        self._looked = 0.0
        self._memory: dict[str, Any] = {}
        # how many requests were let through since
        self._since = REQUESTS

    def ask(self, item: Item) -> None:
        """Return if a request may be sent.

        Whoever asks while it is being looked waits for the answer.

        :raises Paused: something is gone
        """
        with self._lock:
            old = time.monotonic() - self._looked > SECONDS
            if old or self._since >= REQUESTS:
                self._look(item)
                self._looked = time.monotonic()
                self._since = 0
            self._since += 1

    def _look(self, item: Item) -> None:
        host = item.data.get('host')
        hosts = frozenset({host} if host else ())
        site = Site(self._cloud, hosts=hosts, memory=self._memory)
        red = readiness.red(readiness.vital(site, self._layers))
        if red:
            raise Paused(
                'in the middle of it: '
                + '; '.join(before.told(row) for row in red[: before.NAMED])
            )
