# SPDX-License-Identifier: Apache-2.0

"""Which servers have which volumes, as the cells of nova have it.

And whether cinder holds them: from 28.0 on, each reboot makes nova ask
cinder for the attachment of every volume, and forget those that cinder
doesn't know, the boot volume too (``_delete_dangling_bdms`` in
nova/compute/manager.py). It never asks at a start.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
import dataclasses
from typing import Any, TYPE_CHECKING

import sqlalchemy as sa

from nova_recovery.cloud import volume_protocols
from nova_recovery.cloud.db import schema, volumes
from nova_recovery.cloud.db import servers as servers_module
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.cloud.records import Server
from nova_recovery.exceptions import NotFound, RecoveryError, SchemaUnknown

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud


@dataclasses.dataclass(frozen=True)
class Mapping:
    """A live row of ``block_device_mapping`` that names a volume.

    :ivar attachment: None where nova attached it before Queens, or failed
        before it had one
    :ivar connected: nova has stored how the hypervisor reaches it
    :ivar host_bound: what is stored is good for one host only
    :ivar encrypted: the volume is, and its key is with the key manager
    """

    id: int
    cell: str
    server: str
    volume: str
    device: str | None
    root: bool
    attachment: str | None
    connected: bool
    host_bound: bool = False
    encrypted: bool = False


@dataclasses.dataclass(frozen=True)
class Cell:
    """What one cell has.

    :ivar gone: servers that were asked for and are deleted here, by UUID
    :ivar needs_attachments: its nova deletes mappings whose attachment
        cinder doesn't know, at each reboot (28.0 and later; the column
        ``instances.compute_id`` came with the same release)
    """

    servers: dict[str, Server]
    mappings: tuple[Mapping, ...]
    gone: dict[str, Server]
    needs_attachments: bool


_MAPPING = (
    'id',
    'instance_uuid',
    'volume_id',
    'device_name',
    # the device tells before Havana
    'boot_index',
    'attachment_id',
)
_SERVER = (*servers_module.COLUMNS, 'deleted')


def of_cell(
    cell: Database, ids: Collection[str] | None, servers: Collection[str]
) -> Cell:
    """Return the mappings of volumes, and the servers that they are of.

    :param ids: only mappings of these volumes; None: all, and all servers
    :param servers: these servers too, whether they have mappings or not
    """
    schema.require(cell, 'servers')
    if not cell.tables.has('block_device_mapping', 'instance_uuid'):
        # Essex maps by the server's id, and its volumes are nova's own
        raise SchemaUnknown(
            f'the database of {cell.name} has no '
            'block_device_mapping.instance_uuid'
        )
    table = cell.tables['block_device_mapping']
    info: Any = table.c.connection_info.like(volumes.CONNECTED)
    # By the database as well: the text itself holds secrets.
    bound: Any = sa.or_(
        sa.false(),
        *(
            table.c.connection_info.like(f'%"driver_volume_type": "{name}"%')
            for name in volume_protocols.bound_ones()
        ),
    )
    with Reader.of(cell) as reader:
        mappings = tuple(
            _mapping(row, cell.name)
            for row in reader.select(
                'block_device_mapping',
                _MAPPING,
                'volume_id',
                ids,
                table.c.volume_id.is_not(None),
                {
                    'connected': info,
                    'host_bound': bound,
                    'encrypted': table.c.connection_info.like(_ENCRYPTED),
                },
            )
        )
        asked = {mapping.server for mapping in mappings} | set(servers)
        live: dict[str, Server] = {}
        if ids is None:
            for row in reader.select('instances', _SERVER):
                one = servers_module.server(row, cell.name, Server)
                live[one.uuid] = one
        gone: dict[str, Server] = {}
        for row in reader.select(
            'instances', _SERVER, 'uuid', asked - set(live), deleted=True
        ):
            one = servers_module.server(row, cell.name, Server)
            (gone if row['deleted'] else live)[one.uuid] = one
    # A resize to another cell has a hidden copy of the server there, with
    # mappings of its own (cross_cell_migrate.py in nova/conductor/tasks).
    copies = {uuid for uuid, server in live.items() if server.hidden}
    return Cell(
        servers={u: s for u, s in live.items() if u not in copies},
        mappings=tuple(m for m in mappings if m.server not in copies),
        gone={u: s for u, s in gone.items() if u not in live},
        needs_attachments=cell.tables.has('instances', 'compute_id'),
    )


def mapped(reader: Reader, servers: Iterable[str]) -> set[str]:
    """Return the volumes that live mappings of servers name."""
    volume = reader.database.tables['block_device_mapping'].c.volume_id
    return {
        row['volume_id']
        for row in reader.select(
            'block_device_mapping',
            ('volume_id',),
            'instance_uuid',
            servers,
            volume.is_not(None),
        )
    }


def _mapping(row: Any, cell: str) -> Mapping:
    return Mapping(
        id=row['id'],
        cell=cell,
        server=row['instance_uuid'],
        volume=row['volume_id'],
        device=row['device_name'],
        root=row['boot_index'] == 0,
        attachment=row['attachment_id'],
        connected=bool(row['connected']),
        host_bound=bool(row['host_bound']),
        encrypted=bool(row['encrypted']),
    )


#: In the connection data of a volume with a key
#: (``_parse_connection_options`` in cinder/volume/manager.py).
_ENCRYPTED = '%"encrypted": true%'


def encrypted(
    cell: Database, servers: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """The encrypted volumes of servers; nothing of those without any."""
    if not cell.tables.has('block_device_mapping', 'instance_uuid'):
        return {}
    table = cell.tables['block_device_mapping']
    found: dict[str, set[str]] = {}
    with Reader.of(cell) as reader:
        for row in reader.select(
            'block_device_mapping',
            ('instance_uuid', 'volume_id'),
            'instance_uuid',
            servers,
            sa.and_(
                table.c.volume_id.is_not(None),
                table.c.connection_info.like(_ENCRYPTED),
            ),
        ):
            found.setdefault(row['instance_uuid'], set()).add(row['volume_id'])
    return {server: tuple(sorted(some)) for server, some in found.items()}


@dataclasses.dataclass(frozen=True)
class Unheld:
    """The volumes of a server that aren't held as they should be.

    :ivar lost: those whose attachment cinder doesn't have
    :ivar foreign: those whose attachment is another server's: whoever uses
        it writes to what that server has
    :ivar unnamed: those of which nova names no attachment
    :ivar unknown: why cinder can't tell, '' if it did
    :ivar gone: those of ``lost`` and ``unnamed`` that cinder doesn't have at
        all: nova can't attach them anew
    :ivar taken: those that another server has by now, with that one's UUID
    """

    lost: tuple[str, ...] = ()
    unnamed: tuple[str, ...] = ()
    unknown: str = ''
    foreign: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    taken: tuple[tuple[str, str], ...] = ()


def unheld(
    cloud: Cloud,
    cell: Database,
    servers: Collection[str],
    started: bool = False,
) -> dict[str, Unheld]:
    """What a reboot would do to the volumes of these servers of a cell.

    :param started: they are to be started on another host: whoever holds
        their volumes counts for a nova too, that is too old to forget one
    :returns: server uuid -> what is wrong; nothing where all is well, or
        where nova is too old to forget a volume
    """
    if not started and not cell.tables.has('instances', 'compute_id'):
        return {}
    if not cell.tables.has('block_device_mapping', 'attachment_id'):
        return {}
    of_server: dict[str, list[tuple[str, str | None]]] = {}
    with Reader.of(cell) as reader:
        for server, own in reader.grouped(
            'block_device_mapping',
            'instance_uuid',
            servers,
            ('volume_id', 'attachment_id'),
        ).items():
            of_server[server] = [
                (row['volume_id'], row['attachment_id'])
                for row in own
                if row['volume_id'] is not None
            ]
    named = {a for own in of_server.values() for _, a in own if a}
    held: dict[str, str | None] = {}
    unknown = ''
    try:
        held = _held(cloud, named)
    except RecoveryError as error:
        unknown = str(error)
    found: dict[str, Unheld] = {}
    for server, pairs in of_server.items():
        wrong = Unheld(
            lost=tuple(
                v for v, a in pairs if a and a not in held and not unknown
            ),
            unnamed=tuple(v for v, a in pairs if not a),
            unknown=unknown if any(a for _, a in pairs) else '',
            foreign=tuple(
                v
                for v, a in pairs
                if a in held and held[a] not in (None, server)
            ),
        )
        if wrong != Unheld():
            found[server] = wrong
    return _with_fates(cloud, found) if started else found


def _with_fates(cloud: Cloud, found: dict[str, Unheld]) -> dict[str, Unheld]:
    """The same, with what became of volumes that cinder does not hold.

    Nova asks it for a new attachment, which it refuses for one that is gone,
    or in use (``_attachment_reserve`` in cinder/volume/api.py).
    """
    cinder = cloud.databases.cinder
    wanted = {v for one in found.values() for v in (*one.lost, *one.unnamed)}
    if cinder is None or not wanted:
        return found
    users: dict[str, set[str]] = {}
    with Reader.of(cinder) as reader:
        there = {
            row['id']: bool(row['multiattach'])
            for row in reader.select(
                'volumes', ('id', 'multiattach'), 'id', wanted
            )
        }
        for row in reader.select(
            'volume_attachment',
            ('volume_id', 'instance_uuid', 'attach_status'),
            'volume_id',
            wanted,
        ):
            if row['instance_uuid'] and row['attach_status'] != 'detached':
                users.setdefault(row['volume_id'], set()).add(
                    row['instance_uuid']
                )
    return {
        server: dataclasses.replace(
            one,
            gone=tuple(v for v in (*one.lost, *one.unnamed) if v not in there),
            taken=tuple(
                (volume, user)
                for volume in one.lost
                if not there.get(volume)
                for user in sorted(users.get(volume, set()) - {server})
            ),
        )
        for server, one in found.items()
    }


def _held(cloud: Cloud, named: Collection[str]) -> dict[str, str | None]:
    """Those of the attachments that cinder has, and the server of each.

    :raises RecoveryError: neither its database nor its API can tell
    """
    if not named:
        return {}
    cinder = cloud.databases.cinder
    if cinder is None:
        # As nova itself asks, one by one.
        asked = {one: _known(cloud, one) for one in named}
        return {
            one: found.get('instance')
            for one, found in asked.items()
            if found is not None
        }
    with Reader.of(cinder) as reader:
        return {
            row['id']: row['instance_uuid']
            for row in reader.select(
                'volume_attachment', ('id', 'instance_uuid'), 'id', named
            )
        }


def _known(cloud: Cloud, attachment: str) -> dict[str, Any] | None:
    try:
        return cloud.volume.attachment(attachment)
    except NotFound:
        return None
