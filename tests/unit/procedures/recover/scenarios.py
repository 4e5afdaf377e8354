# SPDX-License-Identifier: Apache-2.0

"""Scenario folders: what is and what was asked for, and the plan of it.

Each folder below ``tests/scenarios/recover`` has ``situation.yaml``,
``request.yaml`` and ``plan.txt``. The YAML has only what the scenario is
about, names instead of UUIDs; the rest is filled in here:

* A host is named by its key. Those of the request are dead: silent for
  twenty seconds, last seen ten minutes ago, off as far as ``fenced`` says
  so. The others are up and have room.
* A server is named by its key, if it has no ``name``. It is active on the
  first dead host, boots from an rbd volume and has one port, which is all
  that most servers are.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any
from unittest import mock

import yaml

from nova_recovery.cloud import records
from nova_recovery.cloud.providers import Provider
from nova_recovery.fencing import Operator
from nova_recovery.procedures.recover.situation import (
    Host,
    Node,
    Port,
    Request,
    Server,
    Sight,
    Situation,
    Volume,
)
from nova_recovery.procedures.whereabouts import judge, Whereabouts
from tests.unit.procedures import rows

FOLDERS = pathlib.Path(__file__).parents[3] / 'scenarios' / 'recover'
UUID = '3f57699a-e773-4650-a443-{:012}'
ROOM = {'VCPU': 64, 'MEMORY_MB': 262144, 'DISK_GB': 4000}
HELD = {'VCPU': 2, 'MEMORY_MB': 4096, 'DISK_GB': 20}
#: Two readings of a report count, of a dead and of a living nova-compute.
NOW = 1_800_000_000
SILENT, ALIVE = (4711, 4711), (4711, 4713)
JSON = dict[str, Any]


def load(folder: pathlib.Path) -> tuple[Request, Situation]:
    """What was asked for and what was found."""
    asked = _yaml(folder / 'request.yaml')
    found = make(asked['hosts'], **_yaml(folder / 'situation.yaml'))
    return request(found, **asked), found


def _yaml(path: pathlib.Path) -> JSON:
    content: JSON = yaml.safe_load(path.read_text())
    return content


def make(
    dead: list[str], hosts: JSON, servers: JSON, **others: Any
) -> Situation:
    """A situation of hosts and servers by name, the rest as usual."""
    complete = {
        name: _host(number, name, name in dead, **(fields or {}))
        for number, (name, fields) in enumerate(hosts.items(), 1)
    }
    made = tuple(
        _server(number, dead[0], complete, {'name': key, **(fields or {})})
        for number, (key, fields) in enumerate(servers.items(), 1)
    )
    uuids = {server.name: server.uuid for server in made}
    others['sights'] = {
        name: _sight(name, uuids, **fields)
        for name, fields in others.get('sights', {}).items()
    }
    return Situation(
        hosts=complete,
        servers=made,
        **{'apis': {'nova': '2.103', 'placement': '1.28'}, **others},
    )


def cloud() -> Any:
    """One whose hosts nobody said how to reach."""
    made = mock.Mock()
    made.conf.fleet = mock.Mock(
        driver='ansible', inventory=[], directory=None, host=[], host_map=None
    )
    return made


def request(found: Situation, hosts: list[str], **fields: Any) -> Request:
    """A request with the servers' names resolved, as the commands do it."""
    uuids = {server.name: server.uuid for server in found.servers}
    for name in ('servers', 'exclude'):
        if name in fields:
            fields[name] = tuple(uuids[one] for one in fields[name])
    fields['target_for'] = {
        uuids[name]: host
        for name, host in fields.get('target_for', {}).items()
    }
    return Request(
        hosts=tuple(hosts),
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        },
    )


def fenced(asked: Request, found: Situation) -> Situation:
    """The same, with the operator's word for the dead hosts.

    Where the situation says what a fence program told, it stays.
    """
    word = Operator(None, asked.fenced)  # type: ignore[arg-type]
    hosts = dict(found.hosts)
    for name in asked.hosts:
        if not hosts[name].fence_detail:
            status = word.status(name)
            hosts[name] = dataclasses.replace(
                hosts[name], fence=status.state, fence_detail=status.detail
            )
    return dataclasses.replace(found, hosts=hosts)


def _host(number: int, name: str, dead: bool, **fields: Any) -> Host:
    usual: JSON = {
        'cell': 'cell1',
        'service_id': number,
        'disabled': False,
        'disabled_reason': None,
        'forced_down': False,
        'reports': SILENT if dead else ALIVE,
        'apart': 20.4,
        'heartbeat_age': 600.0 if dead else 4.0,
        'heartbeat': NOW - (600 if dead else 4),
        'zone': 'nova',
        'api_state': 'down' if dead else 'up',
        'free': None if dead else dict(ROOM),
    }
    nodes = fields.pop('nodes', 1)
    hypervisor = fields.pop('hypervisor', 'QEMU')
    node_name = fields.pop('node_name', f'{name}.example.org')
    fields['reports'] = tuple(fields.get('reports', usual['reports']))
    return Host(
        name=name,
        nodes=tuple(
            Node(
                id=10 * number + extra,
                uuid=provider(name) + extra * '+',
                name=node_name,
                host_ip=f'192.0.2.{number}',
                hypervisor_type=hypervisor,
            )
            for extra in range(nodes)
        ),
        **{**usual, **fields},
    )


def _sight(host: str, uuids: dict[str, str], **fields: Any) -> Sight:
    """What a target sees; ``users``: host -> seconds ago that it wrote."""
    usual: JSON = {
        'time': NOW,
        'path': '/var/lib/nova/instances',
        'lies_on': 'nfs4 (filer:/instances)',
        'remote': True,
    }
    users = fields.pop('users', {})
    for name in ('files', 'images'):
        named = fields.pop(name, {})
        usual[name] = {uuids[one]: files for one, files in named.items()}
    users = {name: NOW - ago for name, ago in users.items()}
    return Sight(host, users=users, **{**usual, **fields})


def _node(host: Host) -> str:
    return host.nodes[0].name if host.nodes else f'{host.name}.example.org'


def provider(host: str) -> str:
    """The provider of a host, by a name that a person can read."""
    return f'provider-of-{host}'


def _server(
    number: int, dead: str, hosts: dict[str, Host], fields: JSON
) -> Server:
    host = hosts[fields.pop('host', dead)]
    uuid = UUID.format(number)
    volumes = fields.pop('volumes', [{'protocol': 'rbd', 'root': True}])
    ports = fields.pop('ports', [{}])
    held = fields.pop('allocations', {host.name: {}})
    usual: JSON = {
        **rows.SERVER,
        'uuid': uuid,
        'host': host.name,
        'cell': host.cell,
        'node': _node(host),
        'vm_state': 'active',
        'power_state': 1,
        'task_state': None,
        'locked': False,
        'zone': host.zone,
        'compute_id': host.nodes[0].id if host.nodes else 10,
        'serviceless': host.service_id is None,
        'local_disk': False,
        'row': {},
    }
    fields['whereabouts'] = _whereabouts(
        uuid, {**usual, **fields}, fields.pop('migrations', []), held, hosts
    )
    usual['tags'] = frozenset(fields.pop('tags', ()))
    for words in ('special', 'open_migrations'):
        usual[words] = tuple(fields.pop(words, ()))
    return Server(
        volumes=tuple(
            _volume(10 * number + index, **one)
            for index, one in enumerate(volumes)
        ),
        ports=None
        if ports is None
        else tuple(
            _port(10 * number + index, host.name, **one)
            for index, one in enumerate(ports)
        ),
        allocations=None
        if held is None
        else {
            provider(one): resources or dict(HELD)
            for one, resources in held.items()
        },
        **{**usual, **fields},
    )


def _whereabouts(
    uuid: str,
    row: JSON,
    migrations: list[list[str]],
    held: JSON | None,
    hosts: dict[str, Host],
) -> Whereabouts:
    """What is judged of its migrations and allocations.

    :param migrations: type, status, source and target of each
    :param held: by host; what is none's is a child of the server's own
    """
    columns = {field.name for field in dataclasses.fields(records.Server)}
    own: JSON = dict.fromkeys(columns)
    own |= {name: row[name] for name in columns & set(row)}
    providers = {}
    for name in held or ():
        of = name if name in hosts else row['host']
        # of a node that was deleted, placement knows the name
        host = of if hosts[of].nodes else None
        providers[provider(of)] = Provider(_node(hosts[of]), host)
    return judge(
        records.Server(**{**own, 'uuid': uuid}),
        [
            records.Migration(
                id=number,
                uuid=None,
                instance_uuid=uuid,
                source_compute=source,
                source_node=source,
                dest_compute=target,
                dest_node=target,
                status=status,
                migration_type=kind,
                deleted=False,
                created_at=None,
            )
            for number, (kind, status, source, target) in enumerate(migrations)
        ],
        None if held is None else providers,
    )


def _volume(number: int, **fields: Any) -> Volume:
    usual: JSON = {
        'id': f'volume-{number}',
        'mapping': number,
        'device': '/dev/vda' if fields.get('root') else '/dev/vdb',
        'root': False,
        'attachment': f'attachment-{number}',
        'protocol': 'rbd',
        'mode': 'rw',
    }
    return Volume(**{**usual, **fields})


def _port(number: int, host: str, **fields: Any) -> Port:
    usual: JSON = {
        'id': f'port-{number}',
        'address': f'10.0.0.{number}',
        'host': host,
        'vnic_type': 'normal',
    }
    return Port(**{**usual, **fields})
