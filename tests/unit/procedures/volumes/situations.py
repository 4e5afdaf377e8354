# SPDX-License-Identifier: Apache-2.0

"""Volumes as both sides have them, by names that a person can read.

What a scenario doesn't say is as usual: a server is active on np-rcc4 with
its nova-compute up, a volume was changed an hour ago and watched where that
doesn't tell, an attachment is attached and connected there, a mapping has its
connection data.
"""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses
from typing import Any

from nova_recovery.cloud.db import volumes
from nova_recovery.cloud.db.mappings import Mapping
from nova_recovery.cloud.records import Server
from nova_recovery.procedures.volumes import situation
from nova_recovery.procedures.volumes.situation import BothSides
from tests.unit.procedures import rows

JSON = dict[str, Any]
HOST = 'np-rcc4'


def make(
    volumes: JSON, servers: JSON | None = None, **others: Any
) -> BothSides:
    """A situation of volumes and servers by name.

    :param volumes: name -> fields, with ``attachments`` (name -> fields)
        and ``mappings`` (server -> fields)
    """
    strict = others.pop('strict', True)
    others['elsewhere'] = frozenset(others.get('elsewhere', ()))
    others['gone'] = gone(others.get('gone', ()))
    others['disabled'] = tuple(others.get('disabled', ()))
    known = {}
    mapped = []
    for number, (name, fields) in enumerate(volumes.items(), 1):
        fields = dict(fields or {})
        mapped += [
            _mapping(10 * number + index, name, server, one or {})
            for index, (server, one) in enumerate(
                fields.pop('mappings', {}).items()
            )
        ]
        if not fields.pop('lost', False):
            own = [one for one in mapped if one.volume == name]
            known[name] = _volume(name, fields, own)
    return BothSides(
        volumes=known,
        mappings=tuple(mapped),
        servers={
            name: _server(name, fields or {})
            for name, fields in (servers or {}).items()
        },
        strict=frozenset({'cell1'} if strict else ()),
        **others,
    )


def gone(servers: Iterable[str] | JSON) -> dict[str, Server]:
    """Servers that nova-compute itself deleted, but for what is said."""
    given = servers if isinstance(servers, dict) else dict.fromkeys(servers)
    ended = {'vm_state': 'deleted', 'power_state': 0}
    return {
        name: _server(name, {**ended, **(fields or {})})
        for name, fields in given.items()
    }


def _volume(name: str, fields: JSON, own: list[Mapping]) -> volumes.Volume:
    attachments = fields.pop('attachments', {})
    usual: JSON = {
        'name': '',
        'project': 'demo',
        'status': 'in-use' if attachments else 'available',
        'attach_status': 'attached' if attachments else 'detached',
        'migration_status': None,
        'multiattach': False,
        'age': 3600.0,
    }
    volume = volumes.Volume(
        id=name,
        **{**usual, **fields},
        attachments=tuple(
            _attachment(key, name, one or {})
            for key, one in attachments.items()
        ),
    )
    if 'watched' not in fields and situation.doubtful(volume, own):
        return dataclasses.replace(volume, watched=volume.age)
    return volume


def _attachment(name: str, volume: str, fields: JSON) -> volumes.Attachment:
    usual: JSON = {
        'server': 'web',
        'status': 'attached',
        'host': HOST,
        'mode': 'rw',
        'connected': True,
    }
    return volumes.Attachment(id=name, volume=volume, **{**usual, **fields})


def _mapping(number: int, volume: str, server: str, fields: JSON) -> Mapping:
    usual: JSON = {
        'id': number,
        'cell': 'cell1',
        'device': '/dev/vda' if fields.get('root') else '/dev/vdb',
        'root': False,
        'attachment': None,
        'connected': True,
    }
    return Mapping(server=server, volume=volume, **{**usual, **fields})


def _server(name: str, fields: JSON) -> Server:
    usual: JSON = {
        'name': name,
        'host': HOST,
        'vm_state': 'active',
        'power_state': 1,
    }
    return rows.server(uuid=name, **{**usual, **fields})
