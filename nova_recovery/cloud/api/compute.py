# SPDX-License-Identifier: Apache-2.0

"""Nova's API, as much of it as a recovery needs.

Through python-novaclient on the session of the unified client: old SDK
proxies send a request a second time after a read time-out, novaclient
never does. Each call names the microversion that it needs; a cloud too old
for it gets the newest that it has.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from novaclient import api_versions
from novaclient import client as novaclient
from novaclient import exceptions as nova_exceptions
from novaclient.v2 import client as nova_v2

from nova_recovery.cloud.api import apis
from nova_recovery.exceptions import ChangeFailed, NotFound

JSON = dict[str, Any]

#: What answers here.
_SERVICE = 'nova-api'
_reading, _sending = apis.by(_SERVICE)

#: Power states of a guest that is there and does not run.
_HOLDING = frozenset({'paused', 'suspended'})


class Compute:
    """Nova, asked by an administrator.

    :param session: a keystoneauth session
    :param endpoint: keyword arguments that pick the endpoint
        (``region_name``, ``interface``, ``endpoint_override``)
    """

    def __init__(self, session: Any, endpoint: JSON, timeout: float) -> None:
        self._session = session
        self._endpoint = endpoint
        self._timeout = timeout

    @functools.cached_property
    def newest(self) -> api_versions.APIVersion:
        """The newest microversion that this nova speaks."""
        with _reading('nova'):
            found = self._client('2.1').versions.get_current()
        if found is None or not found.version:
            return api_versions.APIVersion('2.1')
        return api_versions.APIVersion(found.version)

    def speaks(self, version: str) -> bool:
        return bool(self.newest >= api_versions.APIVersion(version))

    @functools.lru_cache(maxsize=16)  # noqa: B019 - one object a process
    def _client(self, version: str) -> nova_v2.Client:
        endpoint = dict(self._endpoint)
        if 'interface' in endpoint:
            # Its own name for it; it warns of the other each time.
            endpoint['endpoint_type'] = endpoint.pop('interface')
        return novaclient.Client(
            version, session=self._session, timeout=self._timeout, **endpoint
        )

    def _at_most(self, version: str) -> nova_v2.Client:
        return self._client(
            version if self.speaks(version) else self.newest.get_string()
        )

    # What is asked

    def ping(self) -> str:
        """The newest microversion, as proof that nova and keystone answer.

        :raises ApiUnavailable: if one of them doesn't
        """
        version = self.newest.get_string()
        with _reading('nova'):
            # The version document needs no token; the services do, and an
            # administrator's.
            self._at_most('2.11').services.list(binary='nova-conductor')
        return str(version)

    def service(self, host: str) -> JSON:
        """nova-compute of exactly this host, as the API tells it.

        :returns: id, host, state, status, forced_down, disabled_reason
        :raises NotFound: the host has no nova-compute
        """
        with _reading(f'nova-compute of {host}'):
            found = self._at_most('2.53').services.list(
                host=host, binary='nova-compute'
            )
        for service in found:
            if service.host == host:
                return dict(service.to_dict())
        raise NotFound(f'nova knows no nova-compute on {host}')

    def services(self, binary: str | None = 'nova-compute') -> list[JSON]:
        """Every nova-compute, as the API tells it.

        :param binary: of another service; None: of all
        """
        with _reading('compute services'):
            found = self._at_most('2.53').services.list(binary=binary)
        return [dict(service.to_dict()) for service in found]

    def server(self, uuid: str) -> JSON:
        with _reading(f'server {uuid}'):
            return dict(self._at_most('2.73').servers.get(uuid).to_dict())

    def servers_of(self, host: str) -> list[JSON]:
        """All servers of exactly this host, of all projects."""
        with _reading(f'servers of {host}'):
            found = self._client('2.1').servers.list(
                search_opts={'all_tenants': True, 'host': host}, limit=-1
            )
        return [dict(server.to_dict()) for server in found]

    def _row_of_one_at_rest(self, uuid: str) -> str | None:
        """None if the hypervisor has the guest running.

        The compute itself is asked, not the database: diagnostics are
        answered for a running domain alone (``get_instance_diagnostics`` in
        nova/compute/manager.py). The refusal doesn't say what was found, but
        what the *row* has as its power state. Never ask for a server of a
        dead host.

        :returns: else nova's word for the power state of its row:
            ``running`` where nova's power sync didn't see it yet, ``paused``,
            ``shutdown`` …; ``''``: it didn't say
        """
        with _reading(f'diagnostics of server {uuid}'):
            try:
                self._at_most('2.48').servers.diagnostics(uuid)
            except nova_exceptions.Conflict as error:
                found = re.search(r'power state (\w+)', str(error))
                return found.group(1) if found else ''
        return None

    def runs(self, uuid: str) -> bool:
        """Whether the hypervisor has the guest running."""
        return self._row_of_one_at_rest(uuid) is None

    def off(self, uuid: str) -> bool:
        """Whether the hypervisor has no guest that holds its volumes.

        A paused one does, by its owner or by QEMU after an I/O error, and
        its row says so after nova's power sync, ten minutes later at most.
        """
        state = self._row_of_one_at_rest(uuid)
        return state is not None and state not in _HOLDING

    def console(self, uuid: str, lines: int) -> str | None:
        """The end of what the guest wrote to its serial console.

        :returns: None where the server has no log of it: none is kept
            (404, ConsoleNotAvailable), it isn't ready yet (409), or the
            driver has none (501)
        """
        with _reading(f'console log of server {uuid}'):
            try:
                return str(
                    self._client('2.1').servers.get_console_output(uuid, lines)
                    or ''
                )
            except nova_exceptions.ClientException as error:
                if error.code in (404, 409, 501):
                    return None
                raise

    # What is sent

    def force_down(self, service: JSON, down: bool) -> None:
        """Tell nova that a compute is off (or may be used again)."""
        what = f'forced_down={down} of nova-compute on {service["host"]}'
        with _sending(what):
            if self.speaks('2.53'):
                self._client('2.53').services.force_down(service['id'], down)
            else:
                self._at_most('2.11').services.force_down(
                    service['host'], 'nova-compute', down
                )

    def lock(self, uuid: str, reason: str) -> None:
        with _sending(f'lock of server {uuid}'):
            if self.speaks('2.73'):
                self._client('2.73').servers.lock(uuid, reason=reason)
            else:
                self._client('2.1').servers.lock(uuid)

    def unlock(self, uuid: str) -> None:
        with _sending(f'unlock of server {uuid}'):
            self._client('2.1').servers.unlock(uuid)

    def evacuate(self, uuid: str, target: str) -> str:
        """Evacuate a server; sent once.

        2.95 and later leave the server shut off; 2.94 starts it again if
        it ran. Between 2.29 and 2.67 the scheduler still validates the
        host, because ``force`` is not sent.

        :returns: the request id
        """
        if not self.speaks('2.14'):
            raise ChangeFailed(
                f'evacuation of {uuid}: nova is too old (2.14 is needed)'
            )
        with _sending(f'evacuation of server {uuid}'):
            return _request_id(
                self._at_most('2.94').servers.evacuate(uuid, host=target)
            )

    def start(self, uuid: str) -> str:
        with _sending(f'start of server {uuid}'):
            return _request_id(self._client('2.1').servers.start(uuid))

    def attach_volume(
        self,
        uuid: str,
        volume: str,
        device: str | None,
        tag: str | None,
        delete_on_termination: bool = False,
    ) -> str:
        """Attach; sent once.

        Never 2.101 and later, which answer before anything is done. A nova
        before 2.79 attaches none that is deleted with its server.

        :returns: the request id
        :raises ChangeFailed: refused, such as with 400 "already attached"
        """
        options: JSON = {}
        if delete_on_termination and self.speaks('2.79'):
            options['delete_on_termination'] = True
        if tag:
            if not self.speaks('2.49'):
                raise ChangeFailed(
                    f'volume {volume}: this nova takes no tag (2.49 is needed)'
                )
            options['tag'] = tag
        with _sending(f'attach of volume {volume} to server {uuid}'):
            return _request_id(
                self._at_most('2.79').volumes.create_server_volume(
                    uuid, volume, device, **options
                )
            )

    def reboot_hard(self, uuid: str) -> str:
        with _sending(f'hard reboot of server {uuid}'):
            return _request_id(
                self._client('2.1').servers.reboot(uuid, 'HARD')
            )


def _request_id(answer: Any) -> str:
    """Nova's id of the request, the one in ``instance_actions``."""
    return str((getattr(answer, 'request_ids', None) or [''])[-1])
