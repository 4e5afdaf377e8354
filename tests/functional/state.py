# SPDX-License-Identifier: Apache-2.0

"""What is in the practice cloud, asked for without nova-recovery."""

from __future__ import annotations

from collections.abc import Callable
import json
from typing import Any

from tests.cloud.cloud import PracticeCloud
from tests.cloud.process import CloudError

JSON = dict[str, Any]


class State:
    """Rows, allocations, ports and guests, as the services have them."""

    def __init__(self, practice: PracticeCloud) -> None:
        self._practice = practice
        self.admin = practice.connection()

    # nova

    def uuid(self, name: str) -> str:
        """The UUID of a live server by its name."""
        (row,) = self._practice.sql(
            'nova',
            'SELECT uuid FROM instances WHERE display_name = %s'
            ' AND deleted = 0',
            [name],
        )
        return str(row['uuid'])

    def row(self, uuid: str) -> JSON:
        """The row of a server."""
        (row,) = self._practice.sql(
            'nova',
            'SELECT * FROM instances WHERE uuid = %s AND deleted = 0',
            [uuid],
        )
        return row

    def rows(self, host: str) -> dict[str, JSON]:
        """The rows of the servers of a host, by name."""
        return {
            row['display_name']: row
            for row in self._practice.sql(
                'nova',
                'SELECT * FROM instances WHERE host = %s AND deleted = 0',
                [host],
            )
        }

    def devices(self, uuid: str) -> list[JSON]:
        """The live block device mappings of a server, in their order."""
        return self._practice.sql(
            'nova',
            'SELECT * FROM block_device_mapping WHERE instance_uuid = %s'
            ' AND deleted = 0 ORDER BY id',
            [uuid],
        )

    def migrations(self, uuid: str) -> list[JSON]:
        """The migrations of a server, oldest first."""
        return self._practice.sql(
            'nova',
            'SELECT * FROM migrations WHERE instance_uuid = %s ORDER BY id',
            [uuid],
        )

    def actions(self, uuid: str) -> list[str]:
        """What was asked of a server, oldest first."""
        rows = self._practice.sql(
            'nova',
            'SELECT action FROM instance_actions WHERE instance_uuid = %s'
            ' ORDER BY id',
            [uuid],
        )
        return [row['action'] for row in rows]

    def service(self, host: str) -> JSON:
        """The row of nova-compute on a host."""
        (row,) = self._practice.sql(
            'nova',
            'SELECT * FROM services WHERE host = %s AND deleted = 0'
            " AND `binary` = 'nova-compute'",
            [host],
        )
        return row

    def out_of_service(self) -> list[str]:
        """The hosts that are disabled or forced down."""
        rows = self._practice.sql(
            'nova',
            "SELECT host FROM services WHERE `binary` = 'nova-compute'"
            ' AND deleted = 0 AND (disabled = 1 OR forced_down = 1)',
        )
        return [row['host'] for row in rows]

    def set_service(self, host: str, **body: Any) -> Any:
        """Change nova-compute of a host by the API; return the answer."""
        uuid = self.service(host)['uuid']
        answer = self.admin.compute.put(
            f'/os-services/{uuid}', json=body, microversion='2.53'
        )
        if answer.status_code != 200:
            raise CloudError(f'{host}: {answer.text}')
        return answer

    def node(self, host: str) -> JSON:
        """The compute node of a host."""
        (row,) = self._practice.sql(
            'nova',
            'SELECT * FROM compute_nodes WHERE host = %s AND deleted = 0',
            [host],
        )
        return row

    def server_action(
        self, uuid: str, action: str, value: Any = None, user: str = 'admin'
    ) -> Any:
        """Send an action by the API; return the answer."""
        connection = self.admin
        if user != 'admin':
            connection = self._practice.connection(user)
        return connection.compute.post(
            f'/servers/{uuid}/action',
            json={action: value},
            microversion='2.90',
        )

    # placement, neutron, cinder

    def allocations(self, uuid: str) -> dict[str, JSON]:
        """What a server holds in placement, by the name of the host."""
        nodes = {
            row['uuid']: row['host']
            for row in self._practice.sql(
                'nova', 'SELECT uuid, host FROM compute_nodes'
            )
        }
        found = self.admin.placement.get(f'/allocations/{uuid}').json()
        return {
            nodes.get(provider, provider): held['resources']
            for provider, held in found['allocations'].items()
        }

    def ports(self, uuid: str) -> list[JSON]:
        """The ports of a server, as neutron shows them."""
        answer = self.admin.network.get(f'/ports?device_id={uuid}')
        return list(answer.json()['ports'])

    def attachments(self, volume: str) -> list[JSON]:
        """The live attachments of a volume, their connectors parsed."""
        rows = self._practice.sql(
            'cinder',
            'SELECT * FROM volume_attachment WHERE volume_id = %s'
            ' AND deleted = 0',
            [volume],
        )
        for row in rows:
            row['connector'] = json.loads(row['connector'] or 'null')
        return rows

    def connector(self, host: str) -> JSON:
        """How a host connects to volumes, as its hypervisor tells."""
        number = int(''.join(c for c in host if c.isdigit()))
        return {
            'platform': 'x86_64',
            'os_type': 'linux',
            'ip': f'192.0.2.{number}',
            'host': host,
            'multipath': False,
            'initiator': f'iqn.1993-08.org.debian:01:{host}',
        }

    def remove_agent(self, host: str) -> Callable[[], None]:
        """Take a host's network agent away; return what puts it back."""
        rows = self._practice.sql(
            'neutron', 'SELECT * FROM agents WHERE host = %s', [host]
        )
        self._practice.sql(
            'neutron', 'DELETE FROM agents WHERE host = %s', [host]
        )

        def restore() -> None:
            for row in rows:
                names = ', '.join(f'`{name}`' for name in row)
                marks = ', '.join(['%s'] * len(row))
                self._practice.sql(
                    'neutron',
                    f'REPLACE INTO agents ({names}) VALUES ({marks})',
                    list(row.values()),
                )

        return restore

    # guests and messages

    def guests(self, uuid: str) -> dict[str, str]:
        """Host -> state of each guest of a server, also of leftovers."""
        return {
            host: guests[uuid]['state']
            for host in self._practice.config.hosts
            if uuid in (guests := self._practice.guests(host))
        }

    def guest_volumes(self, uuid: str) -> dict[str, str]:
        """Device -> volume of a server's only guest."""
        (host,) = self.guests(uuid)
        return dict(self._practice.guests(host)[uuid]['volumes'])

    def queued(self, host: str) -> int:
        """Requests that wait for a host's nova-compute."""
        return self._practice.queue_depth(f'compute.{host}') or 0
