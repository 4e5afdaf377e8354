# SPDX-License-Identifier: Apache-2.0

"""What was read from the databases, as plain records.

What the schema of an old release doesn't have is None, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import datetime
from typing import Any

from nova_recovery.cloud import secrets

#: How nova and cinder call a service; UNKNOWN: it has a heartbeat of the
#: future.
UP, DOWN, FORCED_DOWN, UNKNOWN = 'up', 'down', 'forced down', 'unknown'


@dataclasses.dataclass(frozen=True)
class Server:
    """One live server as its cell has it.

    Who knows more of a server than its row (what it was before, what stands
    in the way of a move) derives a record from this one.

    :ivar name: what the user calls it (``display_name``)
    :ivar instance_name: what the hypervisor calls it, such as
        ``instance-000015b9``: from ``instance_name_template``; '' where its
        row was not read whole
    :ivar cell: the name of its cell
    :ivar vm_state: '' where nova has given it none yet
    :ivar zone: the availability zone; of its row, where nothing else is said
    :ivar image: what it was made from; None: a volume
    :ivar root_device: what it boots from; None: not known
    :ivar row: every column of its row in ``instances``; {} where it was not
        read whole
    """

    uuid: str
    id: int
    name: str
    instance_name: str
    cell: str
    host: str | None
    node: str | None
    compute_id: int | None
    vm_state: str
    power_state: int | None
    task_state: str | None
    project: str | None
    zone: str | None
    locked: bool
    hidden: bool | None
    image: str | None
    root_device: str | None
    row: Mapping[str, Any] = dataclasses.field(repr=False, compare=False)


@dataclasses.dataclass(frozen=True)
class BlockDevice:
    """One live row of ``block_device_mapping``.

    :ivar connection_info: how the hypervisor reaches the volume; None where
        nothing is stored. It holds secrets: its repr is masked.
    """

    id: int
    uuid: str | None
    instance_uuid: str
    volume_id: str | None
    device_name: str | None
    boot_index: int | None
    source_type: str | None
    destination_type: str | None
    attachment_id: str | None
    connection_info: Mapping[str, Any] | None = dataclasses.field(repr=False)
    delete_on_termination: bool
    tag: str | None
    row: Mapping[str, Any] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )

    def __repr__(self) -> str:
        return (
            f'BlockDevice(id={self.id}, instance_uuid={self.instance_uuid!r},'
            f' volume_id={self.volume_id!r},'
            f' device_name={self.device_name!r},'
            f' attachment_id={self.attachment_id!r},'
            f' connection_info={secrets.mask(self.connection_info)!r})'
        )

    @property
    def is_root(self) -> bool:
        """Whether the server boots from it."""
        return self.boot_index == 0


@dataclasses.dataclass(frozen=True)
class Migration:
    """One row of ``migrations``, soft-deleted ones too.

    :ivar deleted: nova reads soft-deleted rows when a host returns
        (``_destroy_evacuated_instances``), so they count
    """

    id: int
    uuid: str | None
    instance_uuid: str
    source_compute: str | None
    source_node: str | None
    dest_compute: str | None
    dest_node: str | None
    status: str | None
    migration_type: str | None
    deleted: bool
    created_at: datetime.datetime | None
    row: Mapping[str, Any] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )


@dataclasses.dataclass(frozen=True)
class Service:
    """One live service of nova or cinder; times are UTC without a zone.

    :ivar host: of cinder-volume ``host@backend``
    :ivar cell: ``cinder`` for cinder's
    :ivar id: 0 where its API told of it
    :ivar last_seen: its last heartbeat, by the clock of its own cloud
    :ivar zone: its availability zone
    :ivar state: UP, DOWN, FORCED_DOWN or UNKNOWN; '' where nobody asked
    """

    binary: str
    host: str
    cell: str
    id: int = 0
    report_count: int = 0
    disabled: bool = False
    disabled_reason: str | None = None
    forced_down: bool | None = None
    last_seen: datetime.datetime | None = None
    zone: str | None = None
    state: str = ''

    @property
    def up(self) -> bool:
        return self.state == UP


@dataclasses.dataclass(frozen=True)
class ComputeNode:
    """One live row of ``compute_nodes``.

    :ivar uuid: also the UUID of its resource provider in placement
    :ivar host: the compute service's host; up to Juno only the service
        says it, and it is taken from there
    """

    id: int
    uuid: str | None
    host: str | None
    hypervisor_hostname: str | None
    host_ip: str | None
    hypervisor_type: str | None
    vcpus: int | None
    memory_mb: int | None
    local_gb: int | None
    cell: str
    row: Mapping[str, Any] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )


@dataclasses.dataclass(frozen=True)
class Action:
    """What was asked of a server, one row of ``instance_actions``.

    :ivar user: None: nova itself, such as its power sync
    :ivar result: of its newest event, ``Success`` or ``Error``; None: it
        has none, is not at its end, or nobody looked
    :ivar at: by the clock of the API's host
    """

    id: int
    action: str
    user: str | None
    request_id: str | None
    result: str | None = None
    at: datetime.datetime | None = None


@dataclasses.dataclass(frozen=True)
class ServerFacts:
    """Everything that the databases know of one server.

    :ivar extra: its row of ``instance_extra``, {} where there is none
    :ivar migrations: all rows, soft-deleted ones too, oldest first
    :ivar actions: the newest twenty, newest last
    :ivar request_spec: the inner data of the request spec (API database)
    :ivar network_info: the ports as ``instance_info_caches`` has them
    :ivar shares: how many Manila shares are mapped
    :ivar flavor: the inner data of the flavor that it was built with
    """

    server: Server
    extra: Mapping[str, Any] = dataclasses.field(repr=False)
    devices: tuple[BlockDevice, ...]
    migrations: tuple[Migration, ...]
    actions: tuple[Action, ...]
    request_spec: Mapping[str, Any] | None = dataclasses.field(repr=False)
    system_metadata: Mapping[str, str | None] = dataclasses.field(repr=False)
    network_info: tuple[Mapping[str, Any], ...] = dataclasses.field(repr=False)
    shares: int
    flavor: Mapping[str, Any] | None = dataclasses.field(repr=False)
