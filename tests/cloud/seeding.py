# SPDX-License-Identifier: Apache-2.0

"""The servers that every test starts from."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import typing

from tests.cloud import servers
from tests.cloud.settings import Settings


@dataclasses.dataclass(frozen=True)
class Seed:
    """One seeded server; the fields are the options of servers.create."""

    name: str
    host: str = 'host1'
    volumes: tuple[str, ...] = ()
    boot_from_volume: bool | str = False
    state: str = 'active'


#: Six kinds on host1, one server on host2, none on host3.
SEEDS = (
    Seed('at3-ui01'),
    Seed('at3-ui02', volumes=('iscsi',)),
    Seed('at3-ui03', volumes=('rbd',)),
    Seed('at3-ui04', boot_from_volume='iscsi', volumes=('iscsi',)),
    Seed('at3-ui05', state='stopped'),
    Seed('at3-ui06', state='paused'),
    Seed('at3-ui07'),
    Seed('at3-ui08', volumes=('iscsi',)),
    Seed('at3-ui09', boot_from_volume='rbd', volumes=('rbd',)),
    Seed('at3-ui10', state='stopped', volumes=('iscsi',)),
    Seed('at3-ui11', host='host2'),
)


def seed(config: Settings) -> None:
    """Create what is missing of flavor, image, types, network, servers."""
    admin = servers.connect(config)
    _flavor_and_image(admin)
    _volume_types(admin)
    _network(admin)
    rows = servers.call(
        admin.compute, 'GET', '/servers?all_tenants=1', 'servers'
    )
    there = {row['name'] for row in rows}
    missing = [seed for seed in SEEDS if seed.name not in there]
    # four at a time keep the few threads of the services busy
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for made in [
            pool.submit(servers.create, config, **dataclasses.asdict(seed))
            for seed in missing
        ]:
            made.result()


def _flavor_and_image(admin: typing.Any) -> None:
    if not admin.compute.find_flavor(servers.FLAVOR):
        admin.compute.create_flavor(
            name=servers.FLAVOR, ram=2048, vcpus=1, disk=1
        )
    if not admin.image.find_image(servers.IMAGE):
        admin.image.create_image(
            servers.IMAGE,
            data=b'\0' * 1024,
            disk_format='raw',
            container_format='bare',
            visibility='public',
            wait=True,
        )


def _volume_types(admin: typing.Any) -> None:
    storage = admin.block_storage
    rows = servers.call(storage, 'GET', '/types', 'volume_types')
    there = {row['name'] for row in rows}
    for name in ('iscsi', 'rbd'):
        if name not in there:
            specs = {'volume_backend_name': name}
            body = {'volume_type': {'name': name, 'extra_specs': specs}}
            servers.call(storage, 'POST', '/types', body=body)


def _network(admin: typing.Any) -> None:
    network = admin.network.find_network(
        servers.NETWORK
    ) or admin.network.create_network(
        name=servers.NETWORK,
        provider_network_type='vlan',
        provider_physical_network='physnet1',
        provider_segmentation_id=101,
        shared=True,
    )
    if not admin.network.find_subnet(servers.NETWORK):
        admin.network.create_subnet(
            name=servers.NETWORK,
            network_id=network.id,
            ip_version=4,
            cidr='10.20.0.0/24',
            enable_dhcp=False,
        )
