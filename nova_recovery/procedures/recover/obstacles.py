# SPDX-License-Identifier: Apache-2.0

"""What speaks against evacuating or moving a server, in words.

Pure functions; ``server list`` shows the same words as the plans.
"""

from __future__ import annotations

from nova_recovery.cloud import volume_protocols
from nova_recovery.procedures.recover.situation import Server, Volume

#: ``evacuate`` in nova/compute/api.py.
EVACUABLE = frozenset({'active', 'stopped', 'error'})
#: A stopped row and a start bring these back; the others have state that
#: a start would lose (rescued, resized) or have no host.
MOVABLE = frozenset({'active', 'stopped', 'error', 'paused', 'suspended'})
#: vNIC types that are nothing but a tap device.
PLAIN_VNICS = frozenset({'normal'})


def to_evacuate(server: Server, evacuates_with_task: bool) -> list[str]:
    """Why nova won't evacuate this server; empty: it will."""
    why = []
    if server.vm_state not in EVACUABLE:
        why.append(
            f'it is {server.vm_state}: nova evacuates only active, stopped '
            'and error'
        )
    if server.task_state and not evacuates_with_task:
        why.append(
            f'its task is {server.task_state}: a nova before Zed evacuates '
            'only servers without a task'
        )
    if server.vtpm:
        why.append('it has a virtual TPM: nova refuses to rebuild it')
    if server.shares:
        why.append('it has shares mounted: nova refuses to evacuate it')
    return why


def to_move(server: Server) -> list[str]:
    """Why this server must not be moved by hand; empty: it may.

    Facts that hold wherever it goes; what depends on the target is for
    the gates.
    """
    why = []
    if server.vm_state not in MOVABLE:
        why.append(f'it is {server.vm_state}')
    why.extend(server.special)
    if server.vtpm:
        why.append('it has a virtual TPM, whose secret its owner has')
    if server.shares:
        why.append('it has shares mounted')
    why.extend(server.open_migrations)
    if server.allocations is not None and len(server.allocations) != 1:
        why.append(f'placement has it on {len(server.allocations)} providers')
    for port in server.ports or ():
        if port.vnic_type not in PLAIN_VNICS:
            why.append(f'port {port.id} is {port.vnic_type}')
        if port.has_resources:
            why.append(f'port {port.id} has guaranteed resources')
    for volume in server.volumes:
        why.extend(_volume(volume))
    return why


def _volume(volume: Volume) -> list[str]:
    if volume.attachment is None:
        return [
            f'volume {volume.id} was attached before Queens: a reboot by '
            'its owner would detach it'
        ]
    if volume.encrypted:
        return [f'volume {volume.id} is encrypted with a key of its owner']
    if volume.protocol is None:
        return [
            f'volume {volume.id} has no connection data: the guest would '
            'start without it'
        ]
    if volume_protocols.host_bound(volume.protocol) is None:
        return [
            f'volume {volume.id} is connected by {volume.protocol}, which '
            'nobody has described (nova_recovery.volume_protocols)'
        ]
    return []


def disks(server: Server, method: str) -> str | None:
    """What of the server may be lost with its host's disks, None: nothing.

    :param method: an evacuation makes a config drive anew, a move can't
    """
    if server.local_disk:
        return 'its disk is in the instances directory'
    if server.config_drive and method == 'move':
        return 'its config drive is in the instances directory'
    return None
