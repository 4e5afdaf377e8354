# SPDX-License-Identifier: Apache-2.0
"""Power losses of a host and of the whole site, and the power's return."""

from __future__ import annotations

import collections.abc
import json
import typing

from tests.cloud import lifecycle, services
from tests.cloud.process import CloudError
from tests.cloud.settings import Settings

Guests = dict[str, dict[str, typing.Any]]


def guests(config: Settings, host: str) -> Guests:
    """Return the guests that are on a host, whatever nova believes."""
    try:
        text = config.guests(host).read_text()
    except FileNotFoundError:
        return {}
    return dict(json.loads(text))


def write_guests(config: Settings, host: str, wanted: Guests) -> None:
    """Replace the guests of a host whose nova-compute is down."""
    path = config.guests(host)
    new = path.with_suffix('.new')
    new.write_text(json.dumps(wanted, indent=1))
    new.replace(path)


def of_host(config: Settings, host: str) -> None:
    """Kill a host's nova-compute and shut its guests off."""
    services.daemon(config, services.compute(host)).kill()
    _guests_off(config, host)


def _guests_off(config: Settings, host: str) -> None:
    there = guests(config, host)
    for guest in there.values():
        # paused and suspended ones had their memory, too
        guest['state'] = 'shut off'
    write_guests(config, host, there)


def of_site(config: Settings, database: bool = False) -> None:
    """Kill what a power loss of the whole site kills; wipe all guests.

    Every nova-compute, cinder-volume and the message bus with what waits in
    it; the API services and the schedulers are spared, since their start
    takes longer than all the rest and they remember nothing.

    :param database: MariaDB too
    """
    computes = [services.compute(host) for host in config.hosts]
    lost = [*computes, *services.LOST_WITH_SITE]
    if database:
        lost.append('mariadb')
        # ours writes its log once a second only; a real one keeps what it
        # has committed
        services.database(config).sql(None, 'FLUSH ENGINE LOGS')
    lifecycle.kill(config, lost)
    for host in config.hosts:
        _guests_off(config, host)


def site_is_back(
    config: Settings,
    compute: bool = True,
    options: collections.abc.Mapping[str, object] | None = None,
) -> None:
    """Start what is down and wait until it serves.

    :param compute: the nova-computes too
    :param options: of [DEFAULT], for the nova-computes
    """
    computes = [services.compute(host) for host in config.hosts]
    lifecycle.start_infrastructure(config)
    names = [name for name in services.names(config) if name not in computes]
    lifecycle.launch(config, names + (computes if compute else []), options)
    lifecycle.wait_pools(config)


def next_boot(
    config: Settings, server: str, where: str = '', **how: object
) -> None:
    """Tell the hypervisor of a server how its next start goes.

    :param where: the host that will start it; '': the one that has it
    :raises CloudError: when no host has the guest
    """
    for host in config.hosts:
        if host == where or (not where and server in guests(config, host)):
            path = config.next_boot(host, server)
            path.parent.mkdir(exist_ok=True)
            new = path.with_suffix('.new')
            new.write_text(json.dumps(how))
            new.replace(path)
            return
    raise CloudError(f'no host has a guest of server {server}')
