# SPDX-License-Identifier: Apache-2.0

"""Cinder's API, as much of it as a recovery needs.

Through python-cinderclient on the session of the unified client. The
attachment calls are cinder's of Queens and later (microversion 3.44).
"""

from __future__ import annotations

import functools
from typing import Any

from cinderclient import api_versions
from cinderclient import client as cinderclient
from keystoneauth1 import adapter

from nova_recovery.cloud.api import apis

JSON = dict[str, Any]

#: What answers here.
_SERVICE = 'cinder-api'
_reading, _sending = apis.by(_SERVICE)

#: os-complete; Queens has 3.50.
ATTACHMENTS = '3.44'
#: The mode (read-only or not) can be given when an attachment is made.
ATTACHMENT_MODE = '3.54'


class Volume:
    """Cinder, asked by an administrator.

    :param session: a keystoneauth session
    :param endpoint: keyword arguments that pick the endpoint
    """

    def __init__(self, session: Any, endpoint: JSON, timeout: float) -> None:
        self._session = session
        self._endpoint = endpoint
        self._timeout = timeout

    @functools.lru_cache(maxsize=4)  # noqa: B019 - one object a process
    def _client(self, version: str) -> Any:
        return cinderclient.Client(
            version,
            session=self._session,
            timeout=self._timeout,
            service_type='block-storage',
            **self._endpoint,
        )

    @functools.cached_property
    def newest(self) -> api_versions.APIVersion:
        """The newest microversion that this cinder speaks."""
        with _reading('cinder'):
            found = adapter.Adapter(
                self._session, service_type='block-storage', **self._endpoint
            ).get_endpoint_data()
        newest = found.max_microversion if found else None
        return api_versions.APIVersion(
            '.'.join(str(part) for part in newest or (3, 0))
        )

    def ping(self) -> str:
        """The newest microversion, as proof that cinder answers."""
        version = self.newest.get_string()
        with _reading('cinder'):
            self._client('3.0').services.list(binary='cinder-scheduler')
        return str(version)

    def answers(self, backend: str) -> None:
        """Have the cinder-volume of a back end answer.

        Its capabilities are asked for: a call over the message bus, which
        is answered by nobody else (cinder/api/contrib/capabilities.py).

        :param backend: ``host@backend``, without the pool
        :raises ApiUnavailable: it doesn't answer
        """
        with _reading(f'cinder-volume of {backend}'):
            self._client('3.0').capabilities.get(backend)

    def volume(self, uuid: str) -> JSON:
        with _reading(f'volume {uuid}'):
            return dict(self._client('3.0').volumes.get(uuid).to_dict())

    def attachment(self, uuid: str) -> JSON:
        """One attachment: status, instance, attach_mode, connection_info.

        :raises NotFound: it doesn't exist (any more)
        """
        with _reading(f'attachment {uuid}'):
            return dict(self._client('3.27').attachments.show(uuid).to_dict())

    def attachments(self, volume: str) -> list[JSON]:
        """The live attachments of a volume, of all projects."""
        with _reading(f'attachments of volume {volume}'):
            found = self._client('3.27').attachments.list(
                search_opts={'all_tenants': True, 'volume_id': volume},
                detailed=True,
            )
        return [dict(one.to_dict()) for one in found]

    def create_attachment(self, volume: str, server: str, mode: str) -> str:
        """Reserve a volume for a server; its id.

        Allowed while the volume is in use by the same server.
        """
        version = (
            ATTACHMENT_MODE
            if self.newest >= api_versions.APIVersion(ATTACHMENT_MODE)
            else '3.27'
        )
        with _sending(f'new attachment of volume {volume}'):
            made = self._client(version).attachments.create(
                volume, None, server, mode=mode or 'null'
            )
        return str(made['id'])

    def delete_attachment(self, uuid: str) -> None:
        """Delete; cinder unmaps the host of the stored connector.

        Without a service token cinder allows it only while nova doesn't
        name this attachment (``attachment_deletion_allowed`` in
        cinder/volume/api.py, CVE-2023-2088).
        """
        with _sending(f'delete of attachment {uuid}'):
            self._client('3.27').attachments.delete(uuid)

    def connect_attachment(self, uuid: str, connector: JSON) -> JSON:
        """Map the volume to the host of the connector; connection data."""
        with _sending(f'connection of attachment {uuid}'):
            updated = self._client('3.27').attachments.update(uuid, connector)
        return dict(updated.connection_info or {})

    def complete_attachment(self, uuid: str) -> None:
        with _sending(f'completion of attachment {uuid}'):
            self._client(ATTACHMENTS).attachments.complete(uuid)

    def services(self, binary: str) -> list[JSON]:
        """The services of a kind: host, zone, status and state of each."""
        with _reading(f'services {binary}'):
            found = self._client('3.0').services.list(binary=binary)
        return [dict(one.to_dict()) for one in found]

    def backup_room(self, project: str) -> dict[str, int | None]:
        """What the quota of a project leaves; None where it has no limit.

        :returns: of ``backups`` and of ``gigabytes``
        """
        with _reading(f'quota of project {project}'):
            quota = self._client('3.0').quotas.get(project, usage=True)
        room: dict[str, int | None] = {}
        for key, name in (
            ('backups', 'backups'),
            ('gigabytes', 'backup_gigabytes'),
        ):
            one = quota.to_dict()[name]
            left = one['limit'] - one['in_use'] - one.get('reserved', 0)
            room[key] = None if one['limit'] < 0 else left
        return room

    def create_backup(
        self,
        volume: str,
        name: str,
        description: str,
        incremental: bool,
        force: bool,
    ) -> str:
        """Ask for a backup, once; its id.

        It belongs to the caller's project, whosever the volume is.

        :param force: although the volume is in use
        """
        with _sending(f'backup of volume {volume}'):
            made = self._client('3.0').backups.create(
                volume,
                name=name,
                description=description,
                incremental=incremental,
                force=force,
            )
        return str(made.id)
