# SPDX-License-Identifier: Apache-2.0

"""From nova's rows to what a recovery decides on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nova_recovery.cloud.api import network
from nova_recovery.cloud.db.facts import parsed
from nova_recovery.cloud.records import ServerFacts
from nova_recovery.procedures.recover import situation
from nova_recovery.procedures.recover.situation import JSON, Server, Volume

#: A migration that is over (``in_progress`` in nova/db/main/api.py lists
#: the others); 'finished' is a resize that waits to be confirmed.
OVER = frozenset(
    {
        'confirmed',
        'reverted',
        'error',
        'failed',
        'completed',
        'cancelled',
        'done',
    }
)
#: An evacuation that the source will act on when it returns.
ARMED = frozenset({'accepted', 'pre-migrating', 'done'})


def server(
    facts: ServerFacts,
    connectors: Mapping[str, Mapping[str, Any]],
    group: dict[str, Any] | None,
    allocations: dict[str, dict[str, int]] | None,
    ports: list[network.Port] | None,
) -> Server:
    """One server, from the databases' facts and the APIs' answers.

    :param connectors: attachment -> {'mode', 'connector'}
    """
    own = facts.server
    return Server(
        uuid=own.uuid,
        name=own.name,
        cell=own.cell,
        host=own.host or '',
        node=own.node or '',
        vm_state=own.vm_state or '',
        power_state=own.power_state,
        task_state=own.task_state,
        locked=own.locked,
        availability_zone=own.availability_zone,
        project_id=own.project_id,
        compute_id=own.compute_id,
        volumes=tuple(_volumes(facts, connectors)),
        ports=None if ports is None else tuple(_port(p) for p in ports),
        allocations=allocations,
        local_disk=_local_disk(facts),
        config_drive=bool(own.row.get('config_drive')),
        vtpm=_vtpm(facts),
        shares=facts.shares,
        special=tuple(_special(facts)),
        open_migrations=tuple(
            f'its {m.migration_type} {m.source_compute} -> {m.dest_compute} '
            f'is {m.status}'
            for m in facts.migrations
            if not m.deleted and m.status not in OVER
        ),
        armed=_armed(facts),
        pinned_zone=(facts.request_spec or {}).get('availability_zone'),
        group=group,
    )


def _volumes(
    facts: ServerFacts, connectors: Mapping[str, Mapping[str, Any]]
) -> Iterator[Volume]:
    for device in facts.devices:
        if not device.volume_id:
            continue
        info = device.connection_info or {}
        stored = connectors.get(device.attachment_id or '', {})
        yield Volume(
            id=device.volume_id,
            mapping=device.id,
            device=device.device_name,
            root=device.is_root,
            attachment=device.attachment_id,
            protocol=info.get('driver_volume_type'),
            encrypted=bool((info.get('data') or {}).get('encrypted')),
            mode=stored.get('mode') or '',
            source_connector=stored.get('connector'),
        )


def _port(port: network.Port) -> situation.Port:
    return situation.Port(
        id=port.id,
        address=', '.join(port.addresses) or 'no address',
        host=port.host,
        vnic_type=port.vnic_type,
        has_resources=port.has_resources,
    )


def _local_disk(facts: ServerFacts) -> bool:
    """Whether the server has files of its own on the hypervisor."""
    if facts.server.row.get('kernel_id') or facts.server.row.get('ramdisk_id'):
        return True
    if any(device.destination_type == 'local' for device in facts.devices):
        return True
    return not any(
        device.is_root and device.volume_id for device in facts.devices
    )


def _armed(facts: ServerFacts) -> dict[str, list[JSON]]:
    found: dict[str, list[JSON]] = {}
    for migration in facts.migrations:
        if migration.migration_type == 'evacuation' and (
            migration.status in ARMED
        ):
            found.setdefault(migration.source_compute or '', []).append(
                {'id': migration.id, 'status': migration.status}
            )
    return found


def _vtpm(facts: ServerFacts) -> bool:
    return bool(
        _extra_specs(facts).get('hw:tpm_version')
        or facts.system_metadata.get('image_hw_tpm_version')
    )


def _extra_specs(facts: ServerFacts) -> Mapping[str, Any]:
    return (facts.flavor or {}).get('extra_specs') or {}


def _special(facts: ServerFacts) -> Iterator[str]:
    """What only an evacuation can make anew on another host."""
    extra = facts.extra
    yield from _numa(_loaded(extra.get('numa_topology'), 'numa_topology'))
    requests = _loaded(extra.get('pci_requests'), 'pci_requests')
    if requests:
        yield 'it has PCI devices'
    if extra.get('resources'):
        yield 'it has persistent memory'
    if extra.get('migration_context'):
        yield 'a migration of it was not finished'
    specs = _extra_specs(facts)
    if any('VGPU' in key for key in specs):
        yield 'it has a virtual GPU'
    if 'accel:device_profile' in specs:
        yield 'it has an accelerator'
    if _true(specs.get('hw:mem_encryption')) or _true(
        facts.system_metadata.get('image_hw_mem_encryption')
    ):
        yield 'its memory is encrypted'
    if facts.server.hidden:
        yield 'it is hidden: a cross-cell resize was not finished'


def _numa(topology: Any) -> Iterator[str]:
    if not topology:
        return
    cells = [
        cell.get('nova_object.data', cell)
        for cell in topology.get('nova_object.data', topology).get('cells', ())
    ]
    if any(
        cell.get('cpu_pinning_raw')
        or cell.get('pcpuset')
        or cell.get('cpu_policy') in ('dedicated', 'mixed')
        for cell in cells
    ):
        yield 'it has pinned CPUs'
    elif len(cells) > 1 or any(cell.get('pagesize') for cell in cells):
        yield 'it has a NUMA topology'


def _loaded(text: str | None, what: str) -> Any:
    return parsed(text, f'instance_extra.{what}')


def _true(value: Any) -> bool:
    return str(value).lower() in ('true', '1', 'yes')
