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
from nova_recovery.engine.overrides import apply, Override
from nova_recovery.engine.plan import Plan
from nova_recovery.procedures.disaster import procedure as disaster
from nova_recovery.procedures.disaster.look import read
from nova_recovery.procedures.disaster.request import Request
from nova_recovery.procedures.disaster.run import status as status_module
from nova_recovery.procedures.drill import procedure
from nova_recovery.procedures.iscsi import facts, show
from nova_recovery.snapshot.reading import Snapshot

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

NO_DUMP = 'a drill of one server, which has a snapshot'


@dataclasses.dataclass(frozen=True)
class Drill:
    """A server that lost its power.

    :ivar plan: that took it
    :ivar snapshot: the path of the one from before
    :ivar lost_at: when, as the journal has it
    """

    plan: Plan
    snapshot: str
    lost_at: str

    @property
    def server(self) -> str:
        return str(self.plan.arguments['server'])

    @property
    def request(self) -> procedure.Request:
        return procedure.Request(**self.plan.arguments)

    @property
    def since(self) -> datetime.datetime:
        """When, UTC, as the databases have times."""
        return utc(self.lost_at).replace(microsecond=0)

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
    :ivar down: why it counts as down; '' if it is up
    """

    sessions: Mapping[str, str]
    down: str

    def loss(self, volumes: Collection[str]) -> tuple[bool, str]:
        """Whether all of the loss is seen, and what is seen of it.

        :param volumes: whose sessions were closed
        """
        return self._all(volumes, show.LOST, bool(self.down))

    def back(self, volumes: Collection[str]) -> tuple[bool, str]:
        """Whether it is as it was, and what is seen of that.

        :param volumes: as of :meth:`loss`
        """
        return self._all(volumes, show.SESSION, not self.down)

    def _all(
        self, volumes: Collection[str], code: str, state: bool
    ) -> tuple[bool, str]:
        told = [
            f'volume {volume}: {self.sessions.get(volume, "not found")}'
            for volume in volumes
        ]
        told.append(self.down or 'the server is up')
        right = all(self.sessions.get(one) == code for one in volumes)
        return right and state, '; '.join(told)


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
    status = status_module.status(cloud, here, status_module.order(Request()))
    if here.silent:
        return Seen({}, f'unknown: {"; ".join(here.silent.values())}')
    return Seen(
        {
            volume: one.code
            for one in found
            for volume in one.volume.split(', ')
            if volume in drill.volumes
        },
        '; '.join(f'{row.state}: {row.why}' for row in status.rows),
    )


def make_plan(cloud: Cloud, drill: Drill) -> Plan:
    """The five steps for this server alone.

    :raises RecoveryError: as of a disaster's plan
    """
    conf = cloud.conf
    plan = disaster.make_plan(
        cloud,
        Request(
            scope=procedure.scope(drill.server, drill.request.cell),
            snapshot=drill.snapshot,
            priority_key=conf.disaster.priority_key,
            since=drill.since.isoformat(),
            settle=conf.timeouts.settle,
            patience=conf.timeouts.server,
        ),
    )
    meant = any(one.name == 'dump-named' and one.blocks for one in plan.gates)
    without = (Override('dump-named', '', NO_DUMP),) if meant else ()
    return dataclasses.replace(plan, gates=apply(plan.gates, without))
