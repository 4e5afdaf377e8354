# SPDX-License-Identifier: Apache-2.0

"""Ports, agents and allocations, from the APIs of neutron and placement.

In large pages, and placement by host instead of by server: one request for
each of some hundred hosts, not for each of a hundred thousand servers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from nova_recovery.cloud.api import apis
from nova_recovery.exceptions import ApiUnavailable
from nova_recovery.snapshot import masking

Rows = Iterator[Sequence[Any]]

PAGE = 1000


def ports(connection: Any, timeout: float) -> Rows:
    """The ports of servers and their bindings.

    :param connection: an openstacksdk connection
    :raises ApiUnavailable: it doesn't answer
    """
    marker: dict[str, str] = {}
    while True:
        found = _get(
            connection.network,
            'neutron',
            '/ports',
            timeout,
            {'limit': PAGE, 'sort_key': 'id', 'sort_dir': 'asc', **marker},
        ).get('ports', [])
        for port in found:
            if str(port.get('device_owner', '')).startswith('compute:'):
                yield _port(port)
        # a neutron without pagination gives all at once
        if len(found) != PAGE:
            return
        marker = {'marker': found[-1]['id']}


def agents(connection: Any, timeout: float) -> Rows:
    """The network agents of the hosts."""
    found = _get(connection.network, 'neutron', '/agents', timeout)
    for agent in found.get('agents', []):
        yield (
            agent['id'],
            agent.get('host'),
            agent.get('binary'),
            agent.get('agent_type'),
            _flag(agent.get('alive')),
            _flag(agent.get('admin_state_up')),
        )


def allocations(connection: Any, timeout: float) -> Rows:
    """What servers hold on each resource provider."""
    providers = _get(
        connection.placement, 'placement', '/resource_providers', timeout
    )
    for provider in providers.get('resource_providers', []):
        uuid = provider['uuid']
        held = _get(
            connection.placement,
            'placement',
            f'/resource_providers/{uuid}/allocations',
            timeout,
        ).get('allocations', {})
        for consumer in sorted(held):
            resources = held[consumer].get('resources', {})
            yield (
                consumer,
                uuid,
                provider.get('name'),
                masking.compact(dict(sorted(resources.items()))),
            )


def _get(
    proxy: Any,
    api: str,
    path: str,
    timeout: float,
    params: dict[str, Any] | None = None,
) -> dict[str, Any]:
    with apis.reading(f'{api} {path}'):
        answer = proxy.get(path, params=params or {}, timeout=timeout)
        if answer.status_code >= 400:
            raise ApiUnavailable(f'{api} {path}: HTTP {answer.status_code}')
        return dict(answer.json())


def _port(port: dict[str, Any]) -> Sequence[Any]:
    return (
        port['id'],
        port.get('device_id'),
        port.get('device_owner'),
        port.get('binding:host_id'),
        port.get('binding:vnic_type'),
        port.get('binding:vif_type'),
        port.get('status'),
        masking.compact(masking.masked(port.get('binding:profile') or {})),
        port.get('mac_address'),
        port.get('network_id'),
        masking.compact(
            [ip.get('ip_address') for ip in port.get('fixed_ips') or ()]
        ),
    )


def _flag(value: Any) -> int | None:
    return None if value is None else int(bool(value))
