# SPDX-License-Identifier: Apache-2.0

"""By which iSCSI targets nova says that hosts have their servers' volumes.

From ``block_device_mapping.connection_info``, by name only what is no
secret: it holds the passwords of CHAP beside it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
import dataclasses
from typing import Any

from nova_recovery.cloud.db import servers as servers_module
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.cloud.records import Server

#: ``driver_volume_type`` of what goes through sessions of open-iscsi.
ISCSI = frozenset({'iscsi', 'iser'})
#: And of all that becomes a disk of the host or of the guest's process.
DISKS = ISCSI | {'fibre_channel', 'nvmeof', 'rbd'}


@dataclasses.dataclass(frozen=True)
class Path:
    """One way to a volume; its LUN as the host has it."""

    target: str
    portal: str
    lun: int | None


@dataclasses.dataclass(frozen=True)
class Connection:
    """One volume of one server, as nova has stored how to reach it.

    :ivar paths: all that cinder named; nova may use the first one only
    :ivar wwid: as multipath has it, of NVMe as the kernel; '' where os-brick
        found none
    :ivar protocol: ``driver_volume_type``
    """

    volume: str
    server: Server
    paths: tuple[Path, ...]
    wwid: str = ''
    protocol: str = 'iscsi'


def of_hosts(
    cell: Database, hosts: Collection[str], protocols: Collection[str] = ISCSI
) -> list[Connection]:
    """The volumes of the servers of hosts.

    :param hosts: exact names
    :param protocols: of those that are connected by one of these
    :raises DatabaseUnavailable: the cell doesn't answer
    """
    with Reader.of(cell) as reader:
        live = {
            row['uuid']: servers_module.server(row, cell.name, Server)
            for row in reader.select(
                'instances', servers_module.COLUMNS, 'host', hosts
            )
            # MySQL compares without regard to case or trailing blanks
            if row['host'] in hosts
        }
        return [
            connection
            for uuid, rows in reader.grouped(
                'block_device_mapping',
                'instance_uuid',
                live,
                ('volume_id', 'connection_info'),
            ).items()
            for row in rows
            for connection in _connections(row, live[uuid])
            if connection.protocol in protocols
        ]


def _connections(
    row: Mapping[str, Any], server: Server
) -> Iterator[Connection]:
    info = servers_module.parsed(
        row['connection_info'], f'block_device_mapping {row["id"]}'
    )
    if row['volume_id'] is None or not isinstance(info, dict):
        return
    data = info.get('data')
    protocol = str(info.get('driver_volume_type'))
    if protocol in DISKS and isinstance(data, dict):
        yield Connection(
            row['volume_id'],
            server,
            tuple(dict.fromkeys(_paths(data))),
            _wwid(data),
            protocol,
        )


def _wwid(data: Mapping[str, Any]) -> str:
    """What the kernel calls it, whatever it was connected by."""
    if data.get('vol_uuid'):
        return f'uuid.{data["vol_uuid"]}'
    if data.get('volume_nguid'):
        return f'eui.{str(data["volume_nguid"]).replace("-", "")}'
    return str(data.get('multipath_id') or '')


def _paths(data: Mapping[str, Any]) -> Iterator[Path]:
    """As os-brick reads them (_get_all_targets in initiator/connectors)."""
    mode = str(data.get('addressing_mode'))
    targets, portals = data.get('target_iqns'), data.get('target_portals')
    lun = data.get('target_lun', 0)
    if targets and portals:
        luns = data.get('target_luns') or [lun] * len(targets)
        for target, portal, number in zip(targets, portals, luns):
            yield _path(target, portal, number, mode)
    elif data.get('target_iqn') and data.get('target_portal'):
        yield _path(data['target_iqn'], data['target_portal'], lun, mode)
    elif not _wwid(data):
        # of NVMe-oF one subsystem, of RBD one image (POOL/IMAGE)
        for key in ('target_nqn', 'nqn', 'name'):
            if data.get(key):
                yield Path(str(data[key]), '', None)


def _path(target: Any, portal: Any, lun: Any, mode: str) -> Path:
    """With the LUN as the host has it.

    :param mode: of flat addresses (lun_for_addressing in
        initiator/linuxscsi.py of os-brick): LUN 256 is the disk 2:0:0:16640
    """
    number = int(lun) if str(lun).isdecimal() else None
    if number is not None and (
        mode == 'SAM3-flat' or (mode == 'SAM2' and number >= 256)
    ):
        number += 16384
    return Path(str(target), str(portal), number)
