# SPDX-License-Identifier: Apache-2.0

"""What a plan is decided on: the situation, and what else was asked."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import datetime
from typing import Any

from nova_recovery.procedures.disaster import situation
from nova_recovery.procedures.disaster.before_queens import legacy
from nova_recovery.procedures.disaster.plan.guests import Reach
from nova_recovery.procedures.volumes.gates import Outside
from nova_recovery.readiness import Row
from nova_recovery.snapshot.mapfile import Line

#: Servers and volumes: what an attachment is of.
Pair = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Dump:
    """A dump of the databases, as the file is.

    :ivar modified: UTC, without a zone
    :ivar problem: why it can't be read; '' if it can
    """

    path: str
    modified: datetime.datetime | None = None
    size: int = 0
    sha256: str = ''
    problem: str = ''


@dataclasses.dataclass(frozen=True)
class Connection:
    """How a host connects to a volume, as cinder kept it.

    :ivar connector: None: not known
    :ivar mode: of the attachment that was, ``rw`` or ``ro``
    """

    connector: Mapping[str, Any] | None = None
    mode: str = 'rw'


@dataclasses.dataclass(frozen=True)
class Found:
    """Everything at one moment.

    :ivar versions: API -> its version
    :ivar unreachable: API -> why it can't be reached
    :ivar holders: server -> who claimed it
    :ivar movers: server -> whose run moves it just now
    :ivar migrating: server -> its migration that has no end
    :ivar claimable: cells whose database can hold claims
    :ivar runs: server -> whether the hypervisor has it running, of those
        whose volumes are wrong and whose nova-compute is up
    :ivar connections: (server, volume) -> how it was connected
    :ivar storage: cinder-volume -> its state
    :ivar age: whether the databases are older than the snapshot; None: there
        is no snapshot
    :ivar holes: what the snapshot could not read when it was taken
    :ivar lines: of the map file; None: none was given
    :ivar reach: see ``guests``
    :ivar legacy: step 2 on a cloud from before Queens; None: it is none
    """

    situation: situation.Situation
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unreachable: Mapping[str, str] = dataclasses.field(default_factory=dict)
    holders: Mapping[str, str] = dataclasses.field(default_factory=dict)
    movers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    migrating: Mapping[str, str] = dataclasses.field(default_factory=dict)
    claimable: frozenset[str] = frozenset()
    runs: Mapping[str, bool] = dataclasses.field(default_factory=dict)
    connections: Mapping[Pair, Connection] = dataclasses.field(
        default_factory=dict
    )
    age: tuple[Row, ...] | None = None
    holes: tuple[str, ...] = ()
    dump: Dump | None = None
    lines: tuple[Line, ...] | None = None
    reach: Mapping[str, Reach] = dataclasses.field(default_factory=dict)
    legacy: legacy.Cleaning | None = None

    def outside(self, server: str) -> Outside:
        """What the APIs and the claims say of a server.

        A dead host is no news after a disaster: its guests are not known
        to be off.
        """
        found = self.situation.servers.get(server)
        if found is None:
            return Outside()
        state = self.situation.compute(found.host)
        return Outside(
            compute=None
            if state == situation.UNKNOWN
            else (state if found.host else 'none'),
            runs=self.runs.get(server) if found.host else False,
            holder=None,
            claimable=found.cell in self.claimable,
        )
