# SPDX-License-Identifier: Apache-2.0

"""Neutron: the ports of a server and the host that each is bound to."""

from __future__ import annotations

import dataclasses
from typing import Any

from openstack import exceptions as sdk_exceptions

from nova_recovery.cloud.api import apis
from nova_recovery.exceptions import ChangeFailed, NotFound, RecoveryError

JSON = dict[str, Any]

#: What answers here.
_SERVICE = 'neutron-server'
_reading, _sending = apis.by(_SERVICE)


@dataclasses.dataclass(frozen=True)
class Port:
    """A port, bound to a host.

    :ivar profile: binding:profile as neutron has it
    :ivar addresses: its fixed addresses
    """

    id: str
    device_id: str
    device_owner: str
    host: str
    vnic_type: str
    vif_type: str
    status: str
    profile: JSON
    addresses: tuple[str, ...]
    has_resources: bool


class Network:
    """Neutron, asked by an administrator, through openstacksdk."""

    def __init__(self, connection: Any, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout

    def ping(self) -> str:
        """The API's version, as proof that neutron and keystone answer."""
        with _reading('neutron'):
            answer = self._connection.network.get(
                '/agents', params={'limit': 1}, timeout=self._timeout
            )
            _check(answer)
        return 'v2.0'

    def ports(self, server: str) -> list[Port]:
        with _reading(f'ports of server {server}'):
            answer = self._connection.network.get(
                '/ports', params={'device_id': server}, timeout=self._timeout
            )
            _check(answer)
            return [_port(p) for p in answer.json()['ports']]

    def bound_to(self, host: str, limit: int) -> list[Port]:
        """Ports of servers that are bound to a host, not more than limit."""
        with _reading(f'ports of host {host}'):
            answer = self._connection.network.get(
                '/ports',
                params={'binding:host_id': host, 'limit': limit},
                timeout=self._timeout,
            )
            _check(answer)
            found = [_port(p) for p in answer.json()['ports']]
        return [p for p in found if p.device_owner.startswith('compute:')]

    def port(self, uuid: str) -> Port:
        with _reading(f'port {uuid}'):
            answer = self._connection.network.get(
                f'/ports/{uuid}', timeout=self._timeout
            )
            if answer.status_code == 404:
                raise NotFound(f'port {uuid} is gone')
            _check(answer)
            return _port(answer.json()['port'])

    def bind(
        self, port: Port, host: str, device_owner: str, profile: JSON
    ) -> None:
        """Bind a port to a host.

        The profile is sent only where it changes: since 2023.2 only
        services may write it, administrators may not
        (``update_port:binding:profile`` in neutron/conf/policies/port.py).

        :raises ChangeFailed: it was not done; who only administrates is
            told how to go on
        :raises RecoveryError: it was done in part
        """
        what = f'binding of port {port.id} to {host}'
        with _sending(what):
            active = self._inactive_on(port.id, host)
            if not active:
                self._put(port, host, device_owner, profile, what)
        if active:
            self._activate(port, host, what)
            self._settle(port.id, port.host, host, device_owner, profile)

    def _settle(
        self, uuid: str, before: str, host: str, owner: str, profile: JSON
    ) -> None:
        """What is left to do once the binding to this host is active."""
        what = f'what goes with the binding of port {uuid} to {host}'
        try:
            with _sending(what):
                self._forget(uuid, before)
                self._put(self.port(uuid), host, owner, profile, what)
        except ChangeFailed as error:
            # not ChangeFailed: where it was bound before has to stay known
            raise RecoveryError(
                f'{error}; the binding that was there is active already'
            ) from error

    def _put(
        self, port: Port, host: str, owner: str, profile: JSON, what: str
    ) -> None:
        body: JSON = {'binding:host_id': host, 'device_owner': owner}
        if port.profile != profile:
            body['binding:profile'] = profile
        answer = self._connection.network.put(
            f'/ports/{port.id}',
            json={'port': body},
            timeout=self._timeout,
            **apis.SENT_ONCE,
        )
        self._check_sent(answer, what)

    def _activate(self, port: Port, host: str, what: str) -> None:
        """Let a binding count that was made for a live migration.

        As nova does at its end. Binding the port to that host instead ends
        in an internal error: the key of a binding is port and host.
        """
        with _sending(f'activation, for the {what}'):
            answer = self._connection.network.put(
                f'/ports/{port.id}/bindings/{host}/activate',
                timeout=self._timeout,
                **apis.SENT_ONCE,
            )
            self._check_sent(answer, what)

    def _forget(self, uuid: str, host: str) -> None:
        """Delete the binding that was active until now.

        Unchecked: the port is where it should be, and a way back would
        activate what is left.
        """
        if host:
            self._connection.network.delete(
                f'/ports/{uuid}/bindings/{host}',
                timeout=self._timeout,
                **apis.SENT_ONCE,
            )

    def _check_sent(self, answer: Any, what: str) -> None:
        if answer.status_code != 403:
            return _check(answer)
        own = self._connection
        try:
            why = answer.json()['NeutronError']['message']
        except (KeyError, TypeError, ValueError):
            why = '403'
        raise ChangeFailed(
            f'{what}: neutron lets only services do it ({why}). Have the role '
            'service for as long as it takes (openstack role add --user '
            f'{own.current_user_id} --project {own.current_project_id} '
            'service), and go on'
        )

    def _inactive_on(self, uuid: str, host: str) -> bool:
        answer = self._connection.network.get(
            f'/ports/{uuid}/bindings', timeout=self._timeout
        )
        if answer.status_code == 404:  # a neutron without the extension
            return False
        _check(answer)
        return any(
            binding['host'] == host and binding['status'] == 'INACTIVE'
            for binding in answer.json()['bindings']
        )


def _check(answer: Any) -> None:
    sdk_exceptions.raise_from_response(answer)


def _port(body: JSON) -> Port:
    return Port(
        id=body['id'],
        device_id=body['device_id'],
        device_owner=body['device_owner'],
        host=body.get('binding:host_id') or '',
        vnic_type=body.get('binding:vnic_type') or 'normal',
        vif_type=body.get('binding:vif_type') or '',
        status=body.get('status') or '',
        profile=dict(body.get('binding:profile') or {}),
        addresses=tuple(
            ip['ip_address'] for ip in body.get('fixed_ips') or ()
        ),
        has_resources=bool(body.get('resource_request')),
    )
