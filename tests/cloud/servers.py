# SPDX-License-Identifier: Apache-2.0

"""Servers and volumes of the practice cloud, through the APIs.

Plain REST through the connection's adapters: the same for every release of
openstacksdk, and one request for each thing that is wanted.
"""

from __future__ import annotations

import collections.abc
import typing

import openstack.connection

from tests.cloud import process
from tests.cloud.process import CloudError
from tests.cloud.settings import Settings

IMAGE = 'practice'
FLAVOR = 'practice'
NETWORK = 'practice'

#: The first microversion whose boot request names a host is 2.74.
_MICROVERSION = '2.90'
_ACTIONS = {'stopped': 'os-stop', 'paused': 'pause', 'suspended': 'suspend'}


def connect(
    config: Settings, user: str = 'admin', project: str | None = None
) -> openstack.connection.Connection:
    """Return a connection of admin or demo, scoped to admin or demo."""
    values = config.user_environment(user)
    return openstack.connection.Connection(
        auth_url=values['OS_AUTH_URL'],
        username=user,
        password=values['OS_PASSWORD'],
        project_name=project or values['OS_PROJECT_NAME'],
        user_domain_name='Default',
        project_domain_name='Default',
        region_name=config.region,
    )


def call(
    adapter: typing.Any,
    method: str,
    path: str,
    key: str | None = None,
    body: object = None,
    microversion: str | None = None,
) -> typing.Any:
    """Send one request; return what is below *key* of the answer.

    :raises CloudError: with the answer's text, on any HTTP error
    """
    answer = adapter.request(
        path, method, json=body, microversion=microversion, raise_exc=False
    )
    if answer.status_code >= 400:
        raise CloudError(
            f'{method} {path}: {answer.status_code} {answer.text}'
        )
    return answer.json()[key] if key else None


def _id(adapter: typing.Any, path: str, key: str, name: str) -> str:
    def found() -> str | None:
        rows = call(adapter, 'GET', path, key)
        return next((str(r['id']) for r in rows if r['name'] == name), None)

    # of the first two that ask neutron at once, one may see nothing: it is
    # just reading its policy
    what = f"{name} in {key}; run 'seed' first"
    return str(process.wait_for(found, 10, what, 0.5))


def create_volume(
    connection: openstack.connection.Connection,
    name: str,
    volume_type: str = 'iscsi',
    image: str | None = None,
) -> str:
    """Create a volume of 1 GiB, wait until it is available; return its id."""
    storage = connection.block_storage
    volume = {'name': name, 'size': 1, 'volume_type': volume_type}
    if image:
        volume['imageRef'] = image
    made = call(storage, 'POST', '/volumes', 'volume', {'volume': volume})
    path = f'/volumes/{made["id"]}'

    def available() -> bool:
        status = call(storage, 'GET', path, 'volume')['status']
        if status == 'error':
            raise CloudError(f'volume {name} is in error')
        return bool(status == 'available')

    process.wait_for(available, 60, f'volume {name}', 0.3)
    return str(made['id'])


def _common(
    connection: openstack.connection.Connection, name: str, host: str
) -> dict[str, typing.Any]:
    """Return what the requests for all servers have."""
    network = _id(connection.network, '/networks', 'networks', NETWORK)
    return {
        'name': name,
        'host': host,
        'flavorRef': _id(connection.compute, '/flavors', 'flavors', FLAVOR),
        'networks': [{'uuid': network}],
    }


def create_many(
    config: Settings, name: str, count: int, host: str
) -> list[str]:
    """Create plain servers by one request; wait until all are active.

    :returns: their ids, in the order of their names: NAME-1, NAME-2
    """
    connection = connect(config, 'admin', 'demo')
    compute = connection.compute
    body = {
        **_common(connection, name, host),
        'imageRef': _id(connection.image, '/images', 'images', IMAGE),
        'min_count': count,
    }
    call(
        compute, 'POST', '/servers', 'server', {'server': body}, _MICROVERSION
    )
    names = [f'{name}-{number}' for number in range(1, count + 1)]

    def all_active() -> dict[str, str]:
        path = f'/servers/detail?name={name}-&limit=1000'
        rows = call(compute, 'GET', path, 'servers')
        found = {r['name']: r['id'] for r in rows if r['status'] == 'ACTIVE'}
        for row in rows:
            if row['status'] == 'ERROR':
                raise CloudError(f'{row["name"]}: {row["fault"]}')
        return found if set(names) <= set(found) else {}

    what = f'{count} active servers {name}'
    found: typing.Any = process.wait_for(all_active, 180, what, 1)
    return [found[name] for name in names]


def create(
    config: Settings,
    name: str,
    host: str = 'host1',
    volumes: collections.abc.Sequence[str] = (),
    boot_from_volume: bool | str = False,
    state: str = 'active',
    project: str = 'demo',
) -> typing.Any:
    """Create a server with a port on a host; wait until it is in the state.

    :param volumes: types of its data volumes, of iscsi and rbd
    :param boot_from_volume: the type of its root volume; True means iscsi
    :param state: active, stopped, paused or suspended
    :param project: demo or admin, which is to own it
    :returns: an openstacksdk server
    """
    connection = connect(config, 'admin', project)
    compute = connection.compute
    image = _id(connection.image, '/images', 'images', IMAGE)
    server = _common(connection, name, host)
    devices = []
    if boot_from_volume:
        kind = 'iscsi' if boot_from_volume is True else boot_from_volume
        root = create_volume(connection, f'{name}-root', kind, image)
        devices.append((root, 0))
    else:
        server['imageRef'] = image
    for number, kind in enumerate(volumes, 1):
        data = create_volume(connection, f'{name}-data{number}', kind)
        devices.append((data, -1))
    server['block_device_mapping_v2'] = [
        {
            'uuid': volume,
            'source_type': 'volume',
            'destination_type': 'volume',
            'boot_index': boot_index,
        }
        for volume, boot_index in devices
    ]
    if devices and not boot_from_volume:
        server['block_device_mapping_v2'].insert(
            0,
            {
                'uuid': image,
                'source_type': 'image',
                'destination_type': 'local',
                'boot_index': 0,
            },
        )
    made = call(
        compute,
        'POST',
        '/servers',
        'server',
        {'server': server},
        _MICROVERSION,
    )
    _wait_status(compute, made['id'], name, 'ACTIVE')
    if state != 'active':
        action = f'/servers/{made["id"]}/action'
        call(compute, 'POST', action, body={_ACTIONS[state]: None})
        status = {'stopped': 'SHUTOFF'}.get(state, state.upper())
        _wait_status(compute, made['id'], name, status)
    return compute.get_server(made['id'])


def _wait_status(
    compute: typing.Any, server: str, name: str, status: str
) -> None:
    def reached() -> bool:
        found = call(compute, 'GET', f'/servers/{server}', 'server')
        if found['status'] == 'ERROR' and status != 'ERROR':
            raise CloudError(f'{name} is in error: {found["fault"]}')
        settled = found['OS-EXT-STS:task_state'] is None
        return bool(settled and found['status'] == status)

    process.wait_for(reached, 90, f'{name} to be {status}', 0.3)


def find(connection: openstack.connection.Connection, server: str) -> str:
    """Return the UUID of a server by UUID or exact name, in any project."""
    rows = call(connection.compute, 'GET', '/servers?all_tenants=1', 'servers')
    found = [row['id'] for row in rows if server in (row['id'], row['name'])]
    if len(found) != 1:
        raise CloudError(f'{len(found)} servers are named {server}')
    return str(found[0])


def delete(config: Settings, server: str) -> None:
    """Delete a server and its volumes; wait until all are gone."""
    connection = connect(config)
    uuid = find(connection, server)
    compute, storage = connection.compute, connection.block_storage
    found = call(compute, 'GET', f'/servers/{uuid}', 'server')
    attached = found['os-extended-volumes:volumes_attached']
    call(compute, 'DELETE', f'/servers/{uuid}')

    def server_gone() -> bool:
        answer = compute.get(f'/servers/{uuid}', raise_exc=False)
        return bool(answer.status_code == 404)

    process.wait_for(server_gone, 90, f'the end of {server}', 0.3)
    for volume in attached:
        path = f'/volumes/{volume["id"]}'

        def volume_gone(path: str = path) -> bool:
            answer = storage.get(path, raise_exc=False)
            if answer.status_code != 404:
                if answer.json()['volume']['status'] == 'available':
                    call(storage, 'DELETE', path)
            return bool(answer.status_code == 404)

        process.wait_for(volume_gone, 60, f'the end of {path}', 0.3)
