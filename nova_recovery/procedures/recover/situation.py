# SPDX-License-Identifier: Apache-2.0

"""What a recovery has to know before it decides, as plain records.

``read`` fills them from the cloud; ``decide`` is a pure function of them.
Whatever could not be had is None: unknown, never empty.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping
import dataclasses
import functools
import ipaddress
from typing import Any

from nova_recovery.cloud import records
from nova_recovery.cloud.db.mappings import Unheld
from nova_recovery.engine import printable
from nova_recovery.procedures.whereabouts import Whereabouts

JSON = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Request:
    """What the operator asked for, names resolved.

    :ivar hosts: the dead hosts
    :ivar servers: only these servers (uuids); empty: all of the hosts
    :ivar method: ``auto``, ``evacuate`` or ``move``
    :ivar target_host: where all of them go, None: proposed
    :ivar target_for: server uuid -> host
    :ivar exclude: servers to leave alone (uuids)
    :ivar exclude_projects: and all of these projects (IDs)
    :ivar exclude_metadata: and those with ``KEY``, or ``KEY=VALUE``, in
        their metadata
    :ivar exclude_tags: and those with one of these tags
    :ivar leave_out_refused: and those that a gate refuses
    :ivar fenced: the operator's sentence that the hosts are off
    :ivar fence: turn hosts off that are still on
    :ivar shared_storage: the disks of the servers can be reached from the
        targets; None: nobody said
    :ivar connectors: target host -> its connector, as ``nova-manage
        volume_attachment get_connector --json`` prints it there
    :ivar not_running: ``SERVER-UUID@HOST`` -> how the operator knows that
        the guest does not run there
    :ivar per_target: servers brought up side by side on one target
    :ivar settle: see changes.once
    :ivar patience: seconds for each server
    """

    hosts: tuple[str, ...]
    servers: tuple[str, ...] = ()
    method: str = 'auto'
    target_host: str | None = None
    target_for: dict[str, str] = dataclasses.field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    exclude_projects: tuple[str, ...] = ()
    exclude_metadata: tuple[str, ...] = ()
    exclude_tags: tuple[str, ...] = ()
    leave_out_refused: bool = False
    fenced: str = ''
    fence: bool = False
    shared_storage: bool | None = None
    connectors: dict[str, JSON] = dataclasses.field(default_factory=dict)
    not_running: dict[str, str] = dataclasses.field(default_factory=dict)
    per_target: int = 4
    settle: int = 1800
    patience: int = 600


@dataclasses.dataclass(frozen=True)
class Node:
    """One row of ``compute_nodes``; its uuid is the provider's."""

    id: int
    uuid: str | None
    name: str
    host_ip: str | None
    hypervisor_type: str | None


@dataclasses.dataclass(frozen=True)
class Host:
    """A host with nova-compute.

    :ivar service_id: of its row in ``services``; None: somebody deleted it
    :ivar reports: ``services.report_count``, read twice
    :ivar apart: seconds between the two readings
    :ivar heartbeat_age: seconds since the last heartbeat by the database's
        clock; tells nothing by itself, for that clock may be wrong
    :ivar heartbeat: when that was, seconds since 1970
    :ivar zone: its availability zone
    :ivar api_state: ``up`` or ``down`` as nova's API says
    :ivar free: resource class -> room, of hosts that are named as targets
        or that placement proposes; None: not asked
    :ivar connector: how it connects to volumes; None: not known
    :ivar fence: ``on``, ``off`` or ``unknown``, as the fencing driver says
    :ivar fence_detail: its words
    """

    name: str
    cell: str
    service_id: int | None
    disabled: bool
    disabled_reason: str | None
    forced_down: bool
    nodes: tuple[Node, ...]
    reports: tuple[int, int]
    apart: float
    heartbeat_age: float | None = None
    heartbeat: float | None = None
    zone: str | None = None
    api_state: str | None = None
    free: dict[str, int] | None = None
    connector: JSON | None = None
    fence: str = 'unknown'
    fence_detail: str = ''

    @property
    def silent(self) -> bool:
        return self.reports[0] == self.reports[1]


@dataclasses.dataclass(frozen=True)
class Volume:
    """A volume of a server, nova's mapping and cinder's attachment.

    :ivar attachment: the attachment that nova names; None: attached before
        Queens
    :ivar protocol: ``driver_volume_type`` of the connection data; None:
        never connected
    :ivar source_connector: how the dead host was connected
    """

    id: str
    mapping: int
    device: str | None
    root: bool
    attachment: str | None
    protocol: str | None
    encrypted: bool = False
    mode: str = ''
    source_connector: JSON | None = None


@dataclasses.dataclass(frozen=True)
class Port:
    """A port of a server, as neutron has it."""

    id: str
    address: str
    host: str
    vnic_type: str
    has_resources: bool = False


@dataclasses.dataclass(frozen=True)
class Server(records.Server):
    """A server of a dead host, and what decides how it is brought back.

    :ivar allocations: provider uuid -> resources; None: unknown
    :ivar devices: what it holds of providers below the node's, in words
    :ivar ports: None: unknown
    :ivar local_disk: it has files below instances_path that it needs (an
        image disk, a config drive, an ephemeral or swap disk)
    :ivar config_drive: it has one, which only an evacuation makes anew
    :ivar special: what binds it to its host, in words (pinned CPUs, …)
    :ivar open_migrations: in words
    :ivar resized_from: the hosts from which it was resized, which waits to
        be confirmed
    :ivar armed: host -> evacuations away from it that it didn't clean up
        after: ``{'id', 'status'}``
    :ivar unheld: what cinder doesn't hold for it as nova says; None: nothing
    :ivar whereabouts: where its guest may run; None: nobody asked
    :ivar serviceless: its host has no nova-compute in the databases
    :ivar specless: nova's API has no request spec of it
    :ivar mapped: the cell in which nova's API looks for it, '' where there
        is only one; None: in none
    :ivar metadata: what its owner noted
    :ivar tags: the same
    :ivar pinned_zone: the zone that it was asked for, if any
    :ivar group: its server group: ``policy``, ``members``, server uuid ->
        host (None: unknown) of the others, and ``most``, how many members of
        an anti-affinity group one host may have
    """

    host: str
    node: str
    volumes: tuple[Volume, ...] = ()
    ports: tuple[Port, ...] | None = None
    allocations: dict[str, dict[str, int]] | None = None
    devices: tuple[str, ...] = ()
    local_disk: bool = True
    config_drive: bool = False
    vtpm: bool = False
    shares: int = 0
    special: tuple[str, ...] = ()
    open_migrations: tuple[str, ...] = ()
    resized_from: tuple[str, ...] = ()
    armed: dict[str, list[JSON]] = dataclasses.field(default_factory=dict)
    whereabouts: Whereabouts | None = None
    unheld: Unheld | None = None
    serviceless: bool = False
    specless: bool = False
    mapped: str | None = ''
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    pinned_zone: str | None = None
    group: JSON | None = None

    @property
    def subject(self) -> str:
        return f'server:{self.uuid}'

    @property
    def runs(self) -> bool:
        """Whether it shall run again: it did, or was only paused."""
        if self.vm_state == 'error':
            return self.power_state == 1
        return self.vm_state in ('active', 'paused')


@dataclasses.dataclass(frozen=True)
class Sight:
    """What a target says that it sees of the servers' disks.

    :ivar time: by its clock, seconds since 1970
    :ivar path: its instances directory
    :ivar lies_on: the file system of that, in words
    :ivar remote: of a type that others may have mounted, too
    :ivar users: host -> when its nova-compute last wrote there that it keeps
        its servers there, by its own clock
    :ivar files: server -> what lies in its directory
    :ivar images_type: of its nova.conf; None: not said there
    :ivar pool: of Ceph
    :ivar images: server -> what of it is in the pool, named as files are
    :ivar problem: why that is not known, '' if it is
    """

    host: str
    time: float = 0.0
    path: str = ''
    lies_on: str = ''
    remote: bool = False
    users: Mapping[str, float] = dataclasses.field(default_factory=dict)
    files: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)
    images_type: str | None = None
    pool: str = ''
    images: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)
    problem: str = ''


@dataclasses.dataclass(frozen=True)
class Situation:
    """Everything at one moment.

    :ivar hosts: every host of the cells concerned, by name
    :ivar servers: of the dead hosts
    :ivar apis: API -> its version
    :ivar unreachable: API -> why it can't be reached
    :ivar reports_apart: seconds between two readings of the report counts
        without which silence is not seen at all
    :ivar down_after: seconds without a heartbeat after which nova takes a
        compute for down (``service_down_time``): one whose own
        ``report_interval`` is longer than ours reports within them
    :ivar evacuates_with_task: nova evacuates whatever the task state is
        (26.0 and later, from microversion 2.93)
    :ivar modern: the schema has what a move needs; without it there is
        only the SQL
    :ivar unknown_cells: cells that don't answer, with why
    :ivar sights: target -> what it sees; without those that nobody asked
    """

    hosts: dict[str, Host]
    servers: tuple[Server, ...]
    apis: dict[str, str] = dataclasses.field(default_factory=dict)
    unreachable: dict[str, str] = dataclasses.field(default_factory=dict)
    reports_apart: float = 20
    down_after: float = 60
    evacuates_with_task: bool = True
    modern: bool = True
    unknown_cells: dict[str, str] = dataclasses.field(default_factory=dict)
    sights: Mapping[str, Sight] = dataclasses.field(default_factory=dict)

    def same_machine(self, name: str) -> dict[str, str]:
        """Other hosts that are, or may be, the machine of this one.

        A nova-compute that was given another name (a full one in place of a
        short one) is another service, with other servers, on the machine
        where those of the old name run.

        :returns: host -> what they have in common, in words
        """
        own = self.hosts[name].nodes or self._named(name)
        found: dict[str, str] = {}
        for other in self.hosts.values():
            if other.name == name:
                continue
            for mine in own:
                for its in other.nodes:
                    what = self._in_common(mine, its)
                    if what:
                        found.setdefault(other.name, what)
        return found

    def _named(self, name: str) -> tuple[Node, ...]:
        """Those that servers of a host name, where nova has none by now."""
        names = {one.node for one in self.servers if one.host == name}
        return tuple(
            Node(0, None, node, None, None) for node in sorted(names) if node
        )

    def _in_common(self, one: Node, other: Node) -> str:
        if one.uuid and one.uuid == other.uuid:
            return f'the same compute node {one.uuid}'
        if one.name and one.name == other.name:
            return f'the same hypervisor {one.name}'
        # A loopback address, and one that many have, is nobody's.
        if (
            one.host_ip
            and one.host_ip == other.host_ip
            and not ipaddress.ip_address(one.host_ip).is_loopback
            and self._addresses[one.host_ip] == 2
        ):
            return f'the same address {one.host_ip}'
        return ''

    @functools.cached_property
    def _addresses(self) -> collections.Counter[str]:
        return collections.Counter(
            address
            for host in self.hosts.values()
            for address in {node.host_ip for node in host.nodes}
            if address
        )

    def label(self, server: Server) -> str:
        """What to call a server so that no other is meant.

        A name that can't be typed in a command is none.
        """
        once = self._names[server.name] == 1
        if once and printable.typed(server.name, ''):
            return server.name
        return server.uuid

    @functools.cached_property
    def _names(self) -> collections.Counter[str]:
        return collections.Counter(server.name for server in self.servers)
