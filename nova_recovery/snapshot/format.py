# SPDX-License-Identifier: Apache-2.0

"""What stands in a snapshot file: a SQLite database of plain rows.

``meta`` says what the file is, ``sources`` where its rows are from (a cell,
cinder, an API, a host), ``parts`` which section was read from which source,
how many rows, and their checksum. Every other table is a section.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses

#: Raised when a reader of the old number would misread the file.
VERSION = 1

#: "NRSN": what ``file`` and SQLite call the application id.
APPLICATION_ID = 0x4E52534E

#: A part was read, its source has no such thing (an older release, nothing
#: configured), or it could not be read: then what it holds is unknown.
COMPLETE, ABSENT, UNKNOWN = 'complete', 'absent', 'unknown'


@dataclasses.dataclass(frozen=True)
class Section:
    """A table of the file.

    :ivar columns: after ``source``, which every section begins with
    :ivar key: what makes a row the same one in another snapshot
    :ivar noun: what a row is, the first word of the codes of its findings
    :ivar compared: code -> the columns whose change it stands for
    :ivar label: the column with the name that people use
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    noun: str
    compared: Mapping[str, tuple[str, ...]]
    label: str


def _section(
    name: str,
    noun: str,
    columns: str,
    key: str,
    label: str = '',
    **compared: str,
) -> Section:
    return Section(
        name=name,
        columns=tuple(columns.split()),
        key=('source', *key.split()),
        noun=noun,
        compared={
            f'{noun}-{change}': tuple(names.split())
            for change, names in compared.items()
        },
        label=label or key.split()[-1],
    )


#: What is read of the cloud.
CLOUD = (
    _section(
        'servers',
        'server',
        'id uuid name instance_name host node compute_id vm_state power_state'
        ' task_state project_id user_id availability_zone launched_on'
        ' launched_at locked hidden root_device_name image_ref config_drive'
        ' flavor_id memory_mb vcpus root_gb ephemeral_gb',
        'uuid',
        'name',
        moved='host node',
        state='vm_state power_state task_state',
        changed='name project_id availability_zone locked memory_mb vcpus',
    ),
    _section(
        'flavors',
        'flavor',
        'server name flavorid vcpus memory_mb root_gb extra_specs',
        'server',
        changed='name flavorid extra_specs',
    ),
    _section(
        'metadata',
        'metadata',
        'server key value',
        'server key',
        changed='value',
    ),
    _section('tags', 'tag', 'server tag', 'server tag'),
    _section(
        'devices',
        'device',
        'id uuid server disk volume device_name boot_index source_type'
        ' destination_type attachment tag delete_on_termination device_type'
        ' disk_bus guest_format volume_size image_id driver connection_info',
        'server disk',
        changed='device_name boot_index tag delete_on_termination driver',
        attachment='attachment',
    ),
    _section(
        'interfaces',
        'interface',
        'server port mac network addresses type',
        'server port',
        changed='mac network addresses',
    ),
    _section(
        'volumes',
        'volume',
        'id name size status attach_status migration_status previous_status'
        ' host availability_zone volume_type project_id user_id bootable'
        ' multiattach encrypted service_uuid cluster_name server mountpoint'
        ' attached_host updated_at',
        'id',
        'name',
        status='status attach_status migration_status',
        moved='host',
        changed='name size project_id bootable multiattach',
    ),
    _section(
        'attachments',
        'attachment',
        'id volume server host mountpoint mode status attach_time connector',
        'id',
        'volume',
        changed='volume server host mountpoint mode status',
    ),
    _section(
        'services',
        'service',
        'id uuid host binary topic disabled disabled_reason forced_down'
        ' report_count version availability_zone last_seen_up updated_at',
        'binary host',
        changed='disabled disabled_reason forced_down',
    ),
    _section(
        'nodes',
        'node',
        'id uuid host hypervisor_hostname host_ip hypervisor_type vcpus'
        ' memory_mb local_gb',
        'hypervisor_hostname',
        changed='uuid host host_ip vcpus memory_mb',
    ),
    _section(
        'aggregates',
        'aggregate',
        'id uuid name hosts metadata',
        'id',
        'name',
        changed='name hosts metadata',
    ),
    _section(
        'ports',
        'port',
        'id server device_owner host vnic_type vif_type status profile mac'
        ' network addresses',
        'id',
        moved='host',
        state='status vif_type',
        changed='server device_owner mac addresses',
    ),
    _section(
        'agents',
        'agent',
        'id host binary agent_type alive admin_state_up',
        'id',
        'host',
        state='alive admin_state_up',
    ),
    _section(
        'allocations',
        'allocation',
        'consumer provider provider_name resources',
        'consumer provider',
        changed='resources',
    ),
)

#: Where nova and cinder contradicted each other, twice: a difference that
#: was only there because their databases were read one after the other is
#: gone when it is read again.
DIFFERENCES = _section(
    'differences',
    'difference',
    'code server volume device nova cinder',
    'code server volume',
    'volume',
)

#: What a host says of itself.
HOST = (
    _section(
        'sessions',
        'session',
        'protocol target portal lun device state volume server',
        'target portal lun',
        changed='state volume server',
    ),
    _section('rules', 'rules', 'tool text', 'tool', changed='text'),
    _section(
        'domains',
        'domain',
        'uuid name state autostart persistent xml',
        'uuid',
        'name',
        state='state',
        changed='autostart persistent xml',
    ),
    _section(
        'mounts',
        'mount',
        'target device fstype options',
        'target',
        changed='device fstype options',
    ),
    _section('fstab', 'fstab', 'line text', 'text'),
)

#: What hosts told of their packet filters when they were asked: a chain
#: each, or with ``why`` a tool that does not show its own. Older files lack
#: the table.
CHAINS = _section(
    'chains', 'chain', 'tool chain text why', 'tool chain', changed='text why'
)

SECTIONS: Mapping[str, Section] = {
    section.name: section for section in (*CLOUD, DIFFERENCES, *HOST, CHAINS)
}

#: Told where they could not be read, and a snapshot is whole without them: a
#: host may be off for months.
BESIDE = frozenset({CHAINS.name})

#: Too long for a table or one line of a difference.
LONG = frozenset(
    {'connection_info', 'connector', 'xml', 'text', 'extra_specs'}
)

#: What is looked up by something that is not the key.
_INDEXES = {
    'servers': 'host',
    'devices': 'volume',
    'attachments': 'volume',
    'ports': 'server',
}


def tables() -> list[str]:
    """The statements that make the empty file."""
    return [
        f'PRAGMA application_id = {APPLICATION_ID}',
        f'PRAGMA user_version = {VERSION}',
        'CREATE TABLE meta (key, value)',
        'CREATE TABLE sources (source, kind, state, taken_at, offset,'
        ' markers, detail)',
        'CREATE TABLE parts (section, source, state, rows, sha256, detail)',
        *(
            f'CREATE TABLE {section.name} (source, '
            f'{", ".join(section.columns)})'
            for section in SECTIONS.values()
        ),
    ]


def indexes(name: str) -> list[str]:
    """The statements that make a section searchable, once it is filled."""
    source, *key = SECTIONS[name].key
    made = {'key': ', '.join([*key, source])}
    if name in _INDEXES:
        made[_INDEXES[name]] = _INDEXES[name]
    return [
        f'CREATE INDEX IF NOT EXISTS {name}_{what} ON {name} ({columns})'
        for what, columns in made.items()
    ]
