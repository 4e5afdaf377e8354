# SPDX-License-Identifier: Apache-2.0

"""Bind a port to the host that its server is on now."""

from __future__ import annotations

from typing import Any

from nova_recovery.changes import cell
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.engine.change import JSON, Observed
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import Conflict, RecoveryError


class BindPort(BaseChange):
    """One port of a moved server.

    Data: cell, uuid (of the server), port, address, source, target, zone.
    ``device_owner`` carries the availability zone, as nova writes it
    (``_update_port_binding_for_instance`` in nova/network/neutron.py).
    """

    kind = 'bind-port'
    confirms = True

    def describe(self, item: Item) -> list[str]:
        return [
            f'~ port  {item.data["address"]}  {item.data["source"]} -> '
            f'{item.data["target"]}'
        ]

    def observe(self, at: At) -> Observed:
        port = at.cloud.network.port(at.data['port'])
        if port.device_id != at.data['uuid']:
            return Observed.neither(f'now belongs to {port.device_id!r}')
        if port.host == at.data['target']:
            if port.vif_type in ('unbound', 'binding_failed'):
                # Bound there by us or by nova, and neutron couldn't.
                return Observed.before(_image(port))
            return Observed.after('bound there')
        if port.host not in (at.data['source'], ''):
            return Observed.neither(f'bound to {port.host}')
        return Observed.before(_image(port))

    def apply(self, at: At) -> str:
        network = at.cloud.network
        port = network.port(at.data['port'])
        at.confirm()
        network.bind(
            port,
            at.data['target'],
            f'compute:{at.data["zone"]}',
            _settled(port.profile),
        )
        port = network.port(at.data['port'])
        if port.vif_type in ('unbound', 'binding_failed'):
            # Not ChangeFailed, which says that nothing was changed: where
            # it was bound before has to stay in the journal.
            raise RecoveryError(
                f'neutron could not bind port {port.id} on '
                f'{at.data["target"]}: {port.vif_type}; is its network '
                'agent alive there? (openstack network agent list --host '
                f'{at.data["target"]})'
            )
        return f'bound to {at.data["target"]}'

    def revert(self, at: At) -> str:
        port = at.cloud.network.port(at.data['port'])
        image = at.image
        if port.host == image['host']:
            return 'already as it was'
        if port.host != at.data['target']:
            raise Conflict(f'port {port.id} is on {port.host}')
        cell.expect_parked(at)
        at.cloud.network.bind(
            port,
            image['host'],
            image['device_owner'],
            _settled(image['profile']),
        )
        return f'bound to {image["host"]} again'


def _settled(profile: JSON) -> JSON:
    """Without what nova adds while a live migration is under way.

    It is not taken back either: the binding that it spoke of counts by now,
    or is gone.
    """
    return {k: v for k, v in profile.items() if k != 'migrating_to'}


def _image(port: Any) -> JSON:
    return {
        'host': port.host,
        'device_owner': port.device_owner,
        'profile': port.profile,
        'vif_type': port.vif_type,
    }
