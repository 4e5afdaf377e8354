# SPDX-License-Identifier: Apache-2.0

"""What is seen of a canary that lost its power, and its way back.

The same that an operator would ask: ``iscsi session list``, ``disaster
status`` and ``disaster apply``, for this one server.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
import dataclasses
import datetime
from typing import Any, TYPE_CHECKING

from nova_recovery.compat import utc
from nova_recovery.engine.overrides import (
    apply,
    as_approved,
    Override,
    Overrides,
)
from nova_recovery.engine.plan import Plan
from nova_recovery.exceptions import RecoveryError
from nova_recovery.procedures.disaster import procedure as disaster
from nova_recovery.procedures.disaster.judge import alive
from nova_recovery.procedures.disaster.look import read
from nova_recovery.procedures.disaster.request import Request
from nova_recovery.procedures.disaster.scope import Scope
from nova_recovery.procedures.disaster.situation import Server
from nova_recovery.procedures.drill import procedure
from nova_recovery.procedures.iscsi import facts, show
from nova_recovery.snapshot.reading import Snapshot

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

NO_DUMP = 'a drill of one server, which has a snapshot'


@dataclasses.dataclass(frozen=True)
class Lost:
    """What lost its power.

    :ivar plan: that took it
    :ivar snapshot: the path of the one from before
    :ivar lost_at: when, as the journal has it
    """

    plan: Plan
    snapshot: str
    lost_at: str

    @property
    def since(self) -> datetime.datetime:
        """When, UTC, as the databases have times."""
        return utc(self.lost_at).replace(microsecond=0)


@dataclasses.dataclass(frozen=True)
class Drill(Lost):
    """A server that lost its power."""

    @property
    def server(self) -> str:
        return str(self.plan.arguments['server'])

    @property
    def request(self) -> procedure.Request:
        return procedure.Request(**self.plan.arguments)

    @property
    def host(self) -> str:
        return str(self._data(procedure.CUT)[0]['host'])

    @property
    def volumes(self) -> tuple[str, ...]:
        """Whose sessions were closed."""
        closed = self._data(procedure.CLOSE)
        return tuple(
            dict.fromkeys(v for data in closed for v in data['volumes'])
        )

    def _data(self, kind: str) -> list[dict[str, Any]]:
        return [i.data for i in self.plan.items() if i.kind == kind]


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the findings say of the server.

    :ivar sessions: volume -> the code of what was found of its session
    :ivar state: of the server, as ``disaster status`` has it
    :ivar why: what says so
    """

    sessions: Mapping[str, str]
    state: str
    why: str = ''

    def loss(self, volumes: Collection[str]) -> tuple[bool, str]:
        """Whether all of the loss is seen, and what is seen of it.

        :param volumes: whose sessions were closed
        """
        return self._all(volumes, show.LOST, alive.DOWN)

    def back(self, volumes: Collection[str]) -> tuple[bool, str]:
        """Whether it is as it was, and what is seen of that.

        :param volumes: as of :meth:`loss`
        """
        return self._all(volumes, show.SESSION, alive.UP)

    def _all(
        self, volumes: Collection[str], code: str, state: str
    ) -> tuple[bool, str]:
        told = [
            f'volume {volume}: {self.sessions.get(volume, "not found")}'
            for volume in volumes
        ]
        told.append(f'the server is {self.state}: {self.why}')
        right = all(self.sessions.get(one) == code for one in volumes)
        return right and self.state == state, '; '.join(told)


def look(cloud: Cloud, drill: Drill) -> Seen:
    """Ask the host, the databases and the compute.

    A host that doesn't answer has no session and has lost none.

    :raises RecoveryError: the snapshot or nova's databases can't be read
    """
    found = show.judge(facts.read(cloud, [drill.host])).findings
    with Snapshot(drill.snapshot) as snapshot:
        here = read.look(
            cloud,
            snapshot,
            procedure.scope(drill.server, drill.request.cell),
            since=drill.since,
            with_volumes=False,
        )
    server = here.servers.get(drill.server)
    if here.silent or server is None:
        why = '; '.join(here.silent.values()) or 'nova does not have it'
        return Seen({}, alive.UNPROVEN, why)
    runs = _runs(cloud, server)
    judged = alive.judge(here, server, {server.uuid: runs})
    if judged.state == alive.UP and not runs:
        # that a start succeeded is no guest
        judged = alive.Judgement(alive.UNPROVEN, judged.why)
    return Seen(
        {
            volume: one.code
            for one in found
            for volume in one.volume.split(', ')
            if volume in drill.volumes
        },
        judged.state,
        judged.why,
    )


def _runs(cloud: Cloud, server: Server) -> bool | None:
    """Whether its compute says that the guest runs; None: it does not say."""
    try:
        return read.running(cloud, [server])[server.uuid]
    except RecoveryError:
        return None


def make_plan(cloud: Cloud, drill: Drill, overrides: Overrides = ()) -> Plan:
    """The five steps for this server alone; see :func:`forward`."""
    scope = procedure.scope(drill.server, drill.request.cell)
    return forward(cloud, drill, scope, NO_DUMP, overrides)


def forward(
    cloud: Cloud,
    drill: Lost,
    scope: Scope,
    no_dump: str,
    overrides: Overrides = (),
) -> Plan:
    """The five steps after a drill.

    What was overridden before the power was taken stays so where the same is
    asked for the same reason: who took the power agreed to the way back.

    :param no_dump: why there is no dump
    :param overrides: given since
    :raises RecoveryError: as of a disaster's plan
    """
    conf = cloud.conf
    plan = disaster.make_plan(
        cloud,
        Request(
            scope=scope,
            snapshot=drill.snapshot,
            priority_key=conf.disaster.priority_key,
            since=drill.since.isoformat(),
            settle=conf.timeouts.settle,
            patience=conf.timeouts.server,
        ),
    )
    asked = {(one.name, one.subject) for one in plan.gates}
    before = [g for g in drill.plan.gates if (g.name, g.subject) in asked]
    gates = as_approved(plan.gates, before)
    if any(one.name == 'dump-named' and one.blocks for one in gates):
        overrides = (*overrides, Override('dump-named', '', no_dump))
    return dataclasses.replace(plan, gates=apply(gates, overrides))
