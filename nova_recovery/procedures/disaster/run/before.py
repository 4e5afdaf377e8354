# SPDX-License-Identifier: Apache-2.0

"""What is asked while a plan is carried out: before each step and request.

Step 1 is whole before anything is changed. Step 2 needs the storage, step 3
and each of its waves the whole site, and servers whose volumes are held.

Before each request: is the claim still ours? Does the storage still answer,
and the compute: not before each one, but often enough that a wave stops
within ten servers. And would this server lose a volume?
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
import contextlib
import threading
import time
from typing import Any, TYPE_CHECKING

from nova_recovery import program, readiness
from nova_recovery.cloud.db import mappings
from nova_recovery.cloud.db.databases import each
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.engine import printable, states
from nova_recovery.engine.change import Guard
from nova_recovery.engine.findings import DANGER, Finding
from nova_recovery.engine.overrides import as_approved
from nova_recovery.engine.plan import Item, Plan, Step
from nova_recovery.exceptions import Conflict, Paused, RecoveryError, Refused
from nova_recovery.procedures import guarding
from nova_recovery.procedures.disaster import procedure, request
from nova_recovery.procedures.disaster.plan import gates as disaster_gates
from nova_recovery.procedures.disaster.plan import steps
from nova_recovery.procedures.disaster.request import of
from nova_recovery.procedures.volumes import policy
from nova_recovery.procedures.volumes import read as volumes_read
from nova_recovery.procedures.volumes.situation import Mismatch
from nova_recovery.readiness import Site
from nova_recovery.snapshot.reading import Snapshot

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.cloud.db.database import Database


#: How many rows or servers a message names.
NAMED = 5
#: Old clouds are cleaned while everything is off.
_LEGACY = frozenset({'database', 'age'})
_ATTACH = readiness.STORAGE | readiness.VITAL


class Before:
    """Asked before each step of a plan.

    :param ours: ids of the requests that the run sent
    :param states_of: item id -> its state, as the journal has it now
    """

    def __init__(
        self,
        plan: Plan,
        cloud: Cloud,
        ours: Callable[[], frozenset[str]],
        states_of: Callable[[], Mapping[str, str]],
    ) -> None:
        self._plan, self._cloud = plan, cloud
        self._ours, self._states_of = ours, states_of
        self._request = of(plan.arguments)

    def __call__(self, step: Step) -> None:
        """Return if the step may begin.

        :raises Paused: with what is in the way, and how to go on
        """
        if step.number < steps.CLEAN:
            return
        now = self._states_of()
        self._recorded(now)
        if step.number == steps.CLEAN:
            old = any(item.kind.startswith('clean-') for item in step.items)
            self._ready(_LEGACY if old else readiness.STORAGE, now)
            if old:
                self._off()
        elif step.number == steps.RESTART:
            self._ready(None, now)
            self._held(step, now)
        elif step.number == steps.REATTACH:
            self._ready(_ATTACH, now)

    def _recorded(self, now: Mapping[str, str]) -> None:
        """The record and the claims are whole, or left out by somebody."""
        missing = [
            item
            for step in self._plan.steps
            if step.number == steps.RECORD
            for item in step.items
            if now.get(item.id) not in states.GOOD
        ]
        if missing:
            raise Paused(
                'step 1 is not complete, and nothing is changed before: '
                + _several(f'{item.label} ({item.kind})' for item in missing)
                + '; leave a server out with '
                + program.call('run resume RUN --skip SERVER=REASON')
            )

    def _ready(
        self, layers: frozenset[str] | None, now: Mapping[str, str]
    ) -> None:
        try:
            request.require(self._request)
        except Refused as error:
            raise Paused(str(error)) from error
        with contextlib.ExitStack() as stack:
            snapshot = None
            if self._request.snapshot:
                snapshot = stack.enter_context(
                    Snapshot(self._request.snapshot)
                )
            site = Site(
                self._cloud,
                snapshot,
                frozenset(self._hosts(now)),
                steps.ends_of(self._left(now)),
                servers=frozenset(steps.touches(self._plan.steps)),
                ours=self._ours,
                unsure=self._unsure(now),
            )
            red = readiness.red(readiness.look(site, layers))
        if red:
            raise Paused(
                'the site is not ready: '
                + _several(told(row) for row in red)
                + f'; {program.call("disaster assess --ready")} shows it '
                'all, with what mends it'
            )

    def _unsure(self, now: Mapping[str, str]) -> frozenset[str]:
        """Servers of whose requests nobody has noted the ids yet.

        The change itself finds out about them, once the step goes on.
        """
        return frozenset(
            item.data['uuid']
            for item in self._plan.items()
            if 'uuid' in item.data and now.get(item.id) in states.UNSETTLED
        )

    def _off(self) -> None:
        """No volume is taken from a guest that runs by now."""
        gates = as_approved(
            procedure.check(
                self._plan, self._cloud, frozenset({steps.RECORDS})
            ),
            self._plan.gates,
        )
        wrong = [
            gate
            for gate in gates
            if gate.name == disaster_gates.HOSTS_OFF and gate.blocks
        ]
        if wrong:
            raise Paused(
                _several(f'{gate.subject}: {gate.observed}' for gate in wrong)
                + '; stop nova-compute and all guests there, or make a new '
                'plan without them'
            )

    def _left(self, now: Mapping[str, str]) -> list[Item]:
        """What is still to be done."""
        return [
            item
            for item in self._plan.items()
            if now.get(item.id) not in states.FINAL
        ]

    def _hosts(self, now: Mapping[str, str]) -> Iterable[str]:
        """The hosts of that."""
        return {
            item.data['host']
            for item in self._left(now)
            if item.data.get('host')
        }

    def _held(self, step: Step, now: Mapping[str, str]) -> None:
        """It can be told whether a server has its volumes.

        One that hasn't is kept back by itself: see ``guard``.
        """
        dangers(
            self._cloud,
            {
                item.data['uuid']: item
                for item in step.items
                if item.kind == 'restart-server'
                and now.get(item.id) not in states.FINAL
            },
        )


def told(row: Finding) -> str:
    """A row of the screen in one line."""
    return f'{row.code} {row.subject}: {row.cause}'


def dangers(cloud: Cloud, servers: Mapping[str, Item]) -> list[Mismatch]:
    """What makes a reboot of these servers dangerous, as it is now.

    :raises Paused: nobody can tell
    """
    if not servers or cloud.databases.cinder is None:
        return []
    cells = {item.data['cell'] for item in servers.values()}
    volumes: set[str] = set()
    for answer in each(
        [cloud.databases.cell(name) for name in sorted(cells)],
        lambda database: _mapped(database, servers),
    ).values():
        if isinstance(answer, Exception):
            raise Paused(str(answer)) from answer
        volumes |= answer
    if not volumes:
        return []
    try:
        found = volumes_read.both_sides(cloud, sorted(volumes))
    except RecoveryError as error:
        raise Paused(
            f'whether servers have their volumes is not known: {error}'
        ) from error
    silent = sorted(cells & set(found.silent))
    if silent:
        raise Paused(
            f'whether servers have their volumes is not known: {silent[0]}: '
            f'{found.silent[silent[0]]}'
        )
    return [
        one
        for one in policy.findings(found)
        if one.severity == DANGER and one.server in servers
    ]


def _mapped(database: Database, servers: Iterable[str]) -> set[str]:
    with Reader.of(database) as reader:
        return mappings.mapped(reader, servers)


def _several(words: Iterable[str]) -> str:
    # with names that tenants chose
    every = [printable.clean(word) for word in words]
    more = len(every) - NAMED
    text = '; '.join(every[:NAMED])
    return f'{text}; and {more} more' if more > 0 else text


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
        if item.kind in SENDS:
            sites[SENDS[item.kind]].ask(item)
        if item.kind == 'restart-server':
            held(item, cloud)
        # the last, so that the least time passes until it is sent
        if claims is not None:
            claims(item)

    return ask


def held(item: Item, cloud: Cloud) -> None:
    """Return if a reboot of the server loses none of its volumes.

    :raises Conflict: it would; only this server is kept back
    :raises Paused: nobody can tell
    """
    servers = {item.data['uuid']: item}
    # what is in work differs between the databases: then it is gone at once
    wrong = dangers(cloud, servers) and dangers(cloud, servers)
    if wrong:
        one = wrong[0]
        raise Conflict(
            f'a reboot would lose volume {one.volume}: {one.code}: {one.cause}'
            + (f'; mend it with {one.fix}' if one.fix else '')
            + ', and resume; or leave the server out with '
            + program.call('run resume RUN --skip SERVER=REASON')
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
        # those of all that asked: what is skipped never does
        self._ends: frozenset[str] | None = frozenset()

    def ask(self, item: Item) -> None:
        """Return if a request may be sent.

        Whoever asks while it is being looked waits for the answer.

        :raises Paused: something is gone
        """
        with self._lock:
            ends = steps.ends_of([item])
            if self._ends is not None:
                self._ends = None if ends is None else self._ends | ends
            old = time.monotonic() - self._looked > SECONDS
            if old or self._since >= REQUESTS:
                self._look(item)
                self._looked = time.monotonic()
                self._since = 0
            self._since += 1

    def _look(self, item: Item) -> None:
        host = item.data.get('host')
        hosts = frozenset({host} if host else ())
        site = Site(
            self._cloud, hosts=hosts, backends=self._ends, memory=self._memory
        )
        red = readiness.red(readiness.vital(site, self._layers))
        if red:
            raise Paused(
                'in the middle of it: '
                + '; '.join(told(row) for row in red[:NAMED])
            )
