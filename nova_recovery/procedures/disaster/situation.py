# SPDX-License-Identifier: Apache-2.0

"""A cloud after a power loss, as plain records.

What was comes from a snapshot, what is from the databases. Times are UTC
without a zone, as nova writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import datetime
from typing import Any

from nova_recovery.cloud import records
from nova_recovery.cloud.db.identity import Identity
from nova_recovery.cloud.db.volumes import Access, Pair
from nova_recovery.cloud.records import (
    Action,
    DOWN,
    FORCED_DOWN,
    Service,
    UNKNOWN,
)
from nova_recovery.engine.findings import Finding
from nova_recovery.procedures.disaster.before_queens import cleaning
from nova_recovery.procedures.disaster.look.hosts import Host
from nova_recovery.procedures.disaster.scope import Scope
from nova_recovery.procedures.guests.reach import Reach
from nova_recovery.procedures.volumes import situation as volumes_module
from nova_recovery.procedures.volumes.gates import Outside
from nova_recovery.procedures.whereabouts import Whereabouts
from nova_recovery.snapshot.mapfile import Line

#: Nothing that is sent there is carried out.
NOT_UP = frozenset({DOWN, FORCED_DOWN})

#: How it is known from which action on something happened after the outage:
#: by the snapshot's marker, by the moment that the operator gave, or not at
#: all (then it is the highest there is).
BY_SNAPSHOT, BY_TIME, BY_NOW = 'snapshot', 'time', 'now'

RUNNING = 1


@dataclasses.dataclass(frozen=True)
class Before:
    """A server as the snapshot has it."""

    host: str | None
    vm_state: str
    power_state: int | None
    task_state: str | None = None

    @property
    def ran(self) -> bool:
        return self.vm_state == 'active' and self.power_state == RUNNING


@dataclasses.dataclass(frozen=True)
class Server(records.Server):
    """A live server, and what the snapshot and the requests tell of it.

    :ivar zone: the availability zone of its host
    :ivar group: UUID of its server group
    :ivar before: None: the snapshot doesn't have it, or there is none
    :ivar newest: actions above the mark of its cell, oldest first
    :ivar earlier: the newest action up to the mark; only read where a
        server was stopped by nova itself and no snapshot tells whether it
        ran before
    """

    project: str
    zone: str
    metadata: Mapping[str, str]
    group: str | None
    boots_from_volume: bool
    before: Before | None = None
    newest: tuple[Action, ...] = ()
    earlier: Action | None = None


@dataclasses.dataclass(frozen=True)
class Gone:
    """A server of the snapshot that is no more, or out of the scope.

    :ivar deleted: nova has it as deleted; False: nova has no such row
    :ivar host: where it lives now, if it only left the scope
    """

    uuid: str
    name: str
    cell: str
    project: str
    before: Before
    deleted: bool = False
    host: str | None = None


@dataclasses.dataclass(frozen=True)
class Device:
    """A disk of a server that is a volume.

    :ivar attachment: id in cinder
    :ivar mode: of that attachment, as the snapshot has it; '': it doesn't
    """

    server: str
    volume: str
    device: str | None
    root: bool
    tag: str | None
    delete_on_termination: bool
    attachment: str | None
    mode: str = ''


@dataclasses.dataclass(frozen=True)
class Outage:
    """When it was.

    :ivar at: None: nothing tells
    :ivar how: ``given``, ``heartbeat`` (the newest among the computes that
        are down, and were up in the snapshot), ``snapshot`` (not before it
        was taken), ``unknown``
    :ivar within: seconds by which it may have been later: the next heartbeat
        did not come any more
    """

    at: datetime.datetime | None = None
    how: str = 'unknown'
    within: int = 0


@dataclasses.dataclass(frozen=True)
class Recorded:
    """The snapshot that tells what was.

    :ivar taken_at: by the clock of the machine that took it
    :ivar cells: those whose servers it has
    :ivar markers: cell -> table -> its highest id then
    :ivar moments: cell -> when it was read, by its database's clock
    :ivar computes: how many nova-compute it has
    :ivar dead: how many of them sent no heartbeat any more
    :ivar cloud: of which it is; nothing: it does not say so
    :ivar foreign: it is known to be of another cloud
    """

    path: str
    taken_at: datetime.datetime | None
    cells: frozenset[str]
    markers: Mapping[str, Mapping[str, int]]
    moments: Mapping[str, datetime.datetime] = dataclasses.field(
        default_factory=dict
    )
    computes: int = 0
    dead: int = 0
    cloud: Identity = frozenset()
    foreign: bool = False

    @property
    def dark(self) -> bool:
        """Whether it was taken when the power was gone already."""
        return self.dead * 2 > self.computes

    @property
    def why_dark(self) -> str:
        """The same in words, '' if it wasn't."""
        if not self.dark:
            return ''
        return (
            f'when it was taken {self.dead} of {self.computes} computes sent '
            'no heartbeat any more'
        )


@dataclasses.dataclass(frozen=True)
class Situation:
    """What was and what is, of a scope.

    :ivar now: the database's clock
    :ivar recorded: None: there is no snapshot
    :ivar servers: live ones of the scope, by UUID
    :ivar gone: of the snapshot and no longer in the scope
    :ivar new: UUIDs of servers that the snapshot doesn't have, although it
        has their cell
    :ivar marks: cell -> highest id of ``instance_actions`` before the
        outage; what is above was asked since
    :ivar marked: cell -> BY_SNAPSHOT, BY_TIME or BY_NOW
    :ivar before_outage: cell -> the mark, or a higher id if the moment of
        the outage was given: nothing up to it is under way any more
    :ivar highest: cell -> table -> highest id now
    :ivar computes: nova-compute of the scope, by host
    :ivar services: all other services of nova's cells and of cinder
    :ivar volumes: both sides of the scope's volumes; None: not known
    :ivar no_volumes: why they are not known
    :ivar devices: server -> volumes that it had, by the snapshot; else that
        it has; in the order of devices
    :ivar groups: UUID -> name of server groups
    :ivar silent: cell -> why it is not known what is there
    :ivar disabled: cells that were not read because they are disabled
    :ivar agents: host -> its L2 agent, as the snapshot has them
    :ivar hosts_before: what hosts told of themselves in the snapshot
    :ivar hosts_now: what they told since
    :ivar of_hosts: what is wrong on those that were asked themselves
    """

    scope: Scope
    now: datetime.datetime
    recorded: Recorded | None = None
    outage: Outage = Outage()
    servers: Mapping[str, Server] = dataclasses.field(default_factory=dict)
    gone: tuple[Gone, ...] = ()
    new: frozenset[str] = frozenset()
    marks: Mapping[str, int] = dataclasses.field(default_factory=dict)
    marked: Mapping[str, str] = dataclasses.field(default_factory=dict)
    before_outage: Mapping[str, int] = dataclasses.field(default_factory=dict)
    highest: Mapping[str, Mapping[str, int]] = dataclasses.field(
        default_factory=dict
    )
    computes: Mapping[str, Service] = dataclasses.field(default_factory=dict)
    services: tuple[Service, ...] = ()
    volumes: volumes_module.BothSides | None = None
    no_volumes: str = ''
    devices: Mapping[str, tuple[Device, ...]] = dataclasses.field(
        default_factory=dict
    )
    groups: Mapping[str, str] = dataclasses.field(default_factory=dict)
    silent: Mapping[str, str] = dataclasses.field(default_factory=dict)
    disabled: tuple[str, ...] = ()
    agents: Mapping[str, str] = dataclasses.field(default_factory=dict)
    hosts_before: Mapping[str, Host] = dataclasses.field(default_factory=dict)
    hosts_now: Mapping[str, Host] = dataclasses.field(default_factory=dict)
    of_hosts: tuple[Finding, ...] = ()

    def name(self, uuid: str) -> str:
        found = self.servers.get(uuid)
        return (found.name if found else '') or uuid

    def compute(self, host: str | None) -> str:
        """The state of nova-compute on a host."""
        found = self.computes.get(host or '')
        return found.state if found else UNKNOWN


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
    :ivar access: of the attachment that was
    """

    connector: Mapping[str, Any] | None = None
    access: Access = Access()


@dataclasses.dataclass(frozen=True)
class Found:
    """Everything at one moment.

    :ivar versions: API -> its version
    :ivar unreachable: API -> why it can't be reached
    :ivar holders: server -> who claimed it
    :ivar movers: server -> whose run moves it just now
    :ivar migrating: server -> its migration that has no end
    :ivar places: server -> where its guest may run
    :ivar claimable: cells whose database can hold claims
    :ivar runs: server -> whether the hypervisor has it running, of those
        whose volumes are wrong and whose nova-compute is up
    :ivar connections: (server, volume) -> how it was connected
    :ivar access: (server, volume) -> how the server could use it, of what
        was to be attached and nova doesn't map
    :ivar storage: cinder-volume -> its state
    :ivar age: whether the databases are older than the snapshot; None: there
        is no snapshot
    :ivar holes: what the snapshot could not read when it was taken
    :ivar lines: of the map file; None: none was given
    :ivar reach: see ``guests``
    :ivar legacy: step 2 on a cloud from before Queens; None: it is none
    :ivar told: rows of what the hosts tell, as of ``assess --ready``; None:
        they were not asked
    """

    situation: Situation
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unreachable: Mapping[str, str] = dataclasses.field(default_factory=dict)
    holders: Mapping[str, str] = dataclasses.field(default_factory=dict)
    movers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    migrating: Mapping[str, str] = dataclasses.field(default_factory=dict)
    places: Mapping[str, Whereabouts] = dataclasses.field(default_factory=dict)
    claimable: frozenset[str] = frozenset()
    runs: Mapping[str, bool] = dataclasses.field(default_factory=dict)
    connections: Mapping[Pair, Connection] = dataclasses.field(
        default_factory=dict
    )
    access: Mapping[Pair, Access] = dataclasses.field(default_factory=dict)
    age: tuple[Finding, ...] | None = None
    holes: tuple[str, ...] = ()
    dump: Dump | None = None
    lines: tuple[Line, ...] | None = None
    reach: Mapping[str, Reach] = dataclasses.field(default_factory=dict)
    legacy: cleaning.Cleaning | None = None
    told: tuple[Finding, ...] | None = None

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
            if state == UNKNOWN
            else (state if found.host else 'none'),
            runs=self.runs.get(server) if found.host else False,
            holder=None,
            claimable=found.cell in self.claimable,
        )
