# SPDX-License-Identifier: Apache-2.0

"""Step 4: data volumes that nova has lost are attached again.

By the record, or by the map file where one is given: then by nothing else.
Never a root volume, which no API can attach as such.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
import dataclasses

from nova_recovery import program
from nova_recovery.cloud.db.mappings import Mapping
from nova_recovery.cloud.db.volumes import Access, Pair
from nova_recovery.engine.plan import Item
from nova_recovery.procedures.disaster.plan.clean import Cleaned
from nova_recovery.procedures.disaster.request import Request
from nova_recovery.procedures.disaster.situation import Device, Found, Server
from nova_recovery.procedures.volumes import attach, situation

#: What a member asks for to take a volume away; nova records no volume.
DETACH = 'detach_volume'
#: Where a server boots from when nova doesn't say.
_FIRST = ('vda', 'sda', 'hda', 'xvda')


@dataclasses.dataclass(frozen=True)
class Reattached:
    """What step 4 does.

    :ivar items: by server, those of one server in the order of devices
    :ivar left: (volume, server) -> why it is not attached again
    :ivar kept: how many of the record are attached as they were
    """

    items: tuple[Item, ...] = ()
    left: dict[Pair, str] = dataclasses.field(default_factory=dict)
    kept: int = 0


def plan(
    request: Request,
    found: Found,
    cleaned: Cleaned,
    running: Collection[str],
    alone: Collection[str],
) -> Reattached:
    """Decide for each volume of the record, or of the map file.

    :param running: servers that run again by then
    :param alone: servers that must be left alone
    """
    items: list[Item] = []
    left: dict[Pair, str] = {}
    kept = 0
    before: dict[str, str] = {}
    numbers = {
        (line.volume, line.server): f'line {line.number} of the map file: '
        for line in found.lines or ()
    }
    for device in _wished(found):
        pair = (device.volume, device.server)
        if _has(found, cleaned, device):
            kept += 1
            continue
        why = _reason_not_to(found, cleaned, device, running, alone)
        if why:
            left[pair] = f'{numbers[pair]}{why}' if pair in numbers else why
            continue
        follows = [f'server:{device.server}']
        if device.server in before:
            # the guest sees them in the order in which they come
            follows.append(f'volume:{before[device.server]}')
        before[device.server] = device.volume
        items.append(_item(request, found, device, tuple(follows)))
    return Reattached(tuple(items), left, kept)


def _wished(found: Found) -> Iterable[Device]:
    """The volumes in the order in which they are attached."""
    here = found.situation
    recorded = {
        (one.volume, one.server): one
        for some in here.devices.values()
        for one in some
    }
    if found.lines is None:
        if here.recorded is None:
            return []
        return [
            one
            for some in here.devices.values()
            for one in some
            if not one.root
        ]
    made = []
    for line in found.lines:
        was = recorded.get((line.volume, line.server))
        made.append(
            Device(
                server=line.server,
                volume=line.volume,
                device=None if line.device == 'auto' else line.device,
                root=was.root if was else False,
                tag=was.tag if was else None,
                delete_on_termination=bool(was and was.delete_on_termination),
                attachment=None,
                mode=was.mode if was else '',
            )
        )
    return sorted(made, key=_device_order)


def _device_order(one: Device) -> tuple[str, bool, int, str]:
    device = one.device or ''
    return one.server, not device, len(device), device


def _has(found: Found, cleaned: Cleaned, device: Device) -> bool:
    """Whether nova has it for the server; what is wrong then is step 2's."""
    return any(
        one.server == device.server
        for one in _mapped(found, cleaned, device.volume)
    )


def _mapped(found: Found, cleaned: Cleaned, volume: str) -> list[Mapping]:
    """What nova still has of a volume after step 2."""
    both = found.situation.volumes
    if both is None:
        return []
    return [
        one
        for one in both.mapped(volume)
        if (one.cell, one.id) not in cleaned.unmapped
    ]


def _reason_not_to(
    found: Found,
    cleaned: Cleaned,
    device: Device,
    running: Collection[str],
    alone: Collection[str],
) -> str:
    here = found.situation
    server = here.servers.get(device.server)
    both = here.volumes
    if server is None:
        return 'its server is gone, or not asked for'
    if device.server in alone:
        return 'its server is left alone'
    if device.root:
        return 'the server booted from it, and nova attaches no boot volume'
    why = _perhaps_root(found, device, server)
    if why:
        return why
    if both is None:
        return f'nothing is known of volumes: {here.no_volumes}'
    volume = both.volumes.get(device.volume)
    if volume is None:
        return 'cinder has no such volume'
    why = situation.untouchable(volume)
    if why:
        return why
    if found.lines is None and any(
        action.action == DETACH and action.result != 'Error'
        for action in server.newest
    ):
        return (
            'a volume of its server was detached on purpose since the '
            'snapshot: '
            + program.call(f'volume attach {device.server} {device.volume}')
            + ', if it was another one'
        )
    if device.server not in running and (
        server.vm_state not in attach.ATTACHES or server.task_state
    ):
        return f'its server is {server.vm_state}'
    others = [m.server for m in _mapped(found, cleaned, device.volume)]
    if others and not volume.multiattach:
        return f'nova maps it for server {here.name(others[0])}'
    if (
        volume.status == 'available'
        or device.volume in cleaned.free
        or (volume.multiattach and volume.status == 'in-use')
    ):
        return _not_writable(found, device)
    return f'it is {volume.status} and {volume.attach_status}'


def _not_writable(found: Found, device: Device) -> str:
    """Why nova must not attach it: the server could perhaps only read it.

    It had it, so that nothing known of its mode is no answer.
    """
    access = found.access.get((device.server, device.volume), Access())
    mode = device.mode if access.mode is None else access.mode
    why = attach.by_nova(mode, access)
    if not why:
        return ''
    way = program.call(f'volume attach {device.server} {device.volume}')
    return f'{why}: {way} --mode rw, if the server may write to it'


def _perhaps_root(found: Found, device: Device, server: Server) -> str:
    """Why it may be the boot volume, '' if it isn't.

    Of one that nova has lost and the record doesn't have, only the device
    tells.
    """
    root = server.root_device
    if device.device and _disk(device.device) in (
        _FIRST if root is None else (_disk(root),)
    ):
        return (
            f'the server boots from {root or device.device}, and nova '
            'attaches no boot volume'
        )
    if device.device or found.lines is None or server.image:
        return ''
    if server.boots_from_volume or any(
        one.root for one in found.situation.devices.get(server.uuid, ())
    ):
        return ''
    return (
        'which volume its server boots from is not known: name its device in '
        'the map file if it is another one'
    )


def _disk(device: str) -> str:
    # old releases have vda for /dev/vda, and a root may be a partition
    return device.rpartition('/')[2].rstrip('0123456789')


def _item(
    request: Request, found: Found, device: Device, follows: tuple[str, ...]
) -> Item:
    server = found.situation.servers[device.server]
    both = found.situation.volumes
    known = both.volumes.get(device.volume) if both else None
    return Item(
        id=f'attach-volume:{device.volume}:{device.server}',
        kind='attach-volume',
        subject=f'volume:{device.volume}',
        label=(known.name if known else '') or device.volume,
        data={
            'uuid': device.server,
            'cell': server.cell,
            'host': server.host,
            'volume': device.volume,
            'device': device.device,
            'tag': device.tag,
            'delete_on_termination': device.delete_on_termination,
            'settle': request.settle,
            'patience': request.patience,
        },
        follows=follows,
    )
