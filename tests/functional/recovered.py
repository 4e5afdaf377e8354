# SPDX-License-Identifier: Apache-2.0

"""Whether servers are, after a recovery, all that they were before."""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses
import json
from typing import Any

from nova_recovery.compat import pairs
from tests.functional.base import FunctionalTest

JSON = dict[str, Any]
#: Of a mapping, what only the connection to another host changes.
CONNECTION = {'attachment_id', 'connection_info', 'updated_at'}


@dataclasses.dataclass(frozen=True)
class Before:
    """A server before its host died."""

    row: JSON
    devices: list[JSON]
    actions: list[str]

    @property
    def uuid(self) -> str:
        return str(self.row['uuid'])

    @property
    def name(self) -> str:
        return str(self.row['display_name'])

    @property
    def host(self) -> str:
        return str(self.row['host'])

    @property
    def ran(self) -> bool:
        return self.row['vm_state'] in ('active', 'paused')


class RecoveredTest(FunctionalTest):
    """Remembers servers and compares them."""

    def before(self, uuids: Iterable[str]) -> list[Before]:
        """What a recovery has to bring back."""
        return [
            Before(
                self.state.row(uuid),
                self.state.devices(uuid),
                self.state.actions(uuid),
            )
            for uuid in uuids
        ]

    def assert_recovered(
        self, before: Before, moved: bool, targets: Iterable[str]
    ) -> str:
        """The server is whole on one of the hosts; return which.

        :param moved: by hand; else nova evacuated it
        """
        row = self.state.row(before.uuid)
        target = str(row['host'])
        self.assertIn(target, set(targets), before.name)
        node = self.state.node(target)
        wanted = {
            'node': node['hypervisor_hostname'],
            'compute_id': node['id'],
            'availability_zone': 'nova',
            'vm_state': 'active' if before.ran else 'stopped',
            'power_state': 1 if before.ran else 4,
            'task_state': None,
            'locked': 0,
        }
        self.assertEqual(
            wanted, {name: row[name] for name in wanted}, before.name
        )
        self._assert_guest(before, target, moved)
        self._assert_asked(before, moved)
        self._assert_tombstone(before, target, moved)
        self.assertEqual(
            {target} if moved else {target, before.host},
            set(self.state.allocations(before.uuid)),
        )
        self.assert_ports(before.uuid, target)
        self.assert_volumes(before, target, moved)
        claims = self.practice.sql(
            'nova', 'SELECT * FROM task_log WHERE host = %s', [before.uuid]
        )
        self.assertEqual([], claims)
        return target

    def _assert_guest(self, before: Before, target: str, moved: bool) -> None:
        guests = self.state.guests(before.uuid)
        guests.pop(before.host, None)
        if before.ran:
            self.assertEqual({target: 'running'}, guests, before.name)
        elif moved:
            # Nothing is defined there until somebody starts it.
            self.assertEqual({}, guests, before.name)
        else:
            self.assertEqual({target: 'shut off'}, guests, before.name)

    def _assert_asked(self, before: Before, moved: bool) -> None:
        asked = self.state.actions(before.uuid)[len(before.actions) :]
        wanted = ['evacuate']
        if moved:
            # Never a reboot: a soft one would look for the guest.
            wanted = ['lock', *(['start'] if before.ran else []), 'unlock']
        self.assertEqual(wanted, asked, before.name)

    def _assert_tombstone(
        self, before: Before, target: str, moved: bool
    ) -> None:
        migration = self.state.migrations(before.uuid)[-1]
        wanted = {
            'migration_type': 'evacuation',
            # it was said, not proven, that the disk is shared: armed when
            # the guest runs on the target, and never where none did
            'status': 'cancelled' if moved and not before.ran else 'done',
            'source_compute': before.host,
            'source_node': before.row['node'],
            'dest_compute': target,
            'dest_node': self.state.node(target)['hypervisor_hostname'],
            'dest_compute_id': self.state.node(target)['id'],
            'deleted': 0,
        }
        self.assertEqual(
            wanted, {name: migration[name] for name in wanted}, before.name
        )
        # nova writes down for whom; by hand it is for nobody.
        self.assertEqual(moved, migration['user_id'] is None, before.name)

    def assert_ports(self, uuid: str, host: str) -> None:
        """Every port is bound to the host, nowhere else."""
        ports = self.state.ports(uuid)
        self.assertEqual(1, len(ports))
        for port in ports:
            self.assertEqual(host, port['binding:host_id'])
            self.assertEqual('ovs', port['binding:vif_type'])
            self.assertEqual('compute:nova', port['device_owner'])
            self.assertNotIn('migrating_to', port['binding:profile'])
            bindings = self.practice.sql(
                'neutron',
                'SELECT host, status FROM ml2_port_bindings'
                ' WHERE port_id = %s',
                [port['id']],
            )
            self.assertEqual([{'host': host, 'status': 'ACTIVE'}], bindings)

    def assert_volumes(self, before: Before, target: str, moved: bool) -> None:
        """nova has all that it had, and cinder has the same."""
        now = self.state.devices(before.uuid)
        self.assertEqual(_kept(before.devices), _kept(now), before.name)
        volumes = {}
        for old, new in pairs(before.devices, now):
            volume = new['volume_id']
            if not volume:
                continue
            volumes[new['device_name']] = volume
            info = json.loads(new['connection_info'])
            self.assertEqual(volume, info['serial'])
            (attached,) = self.state.attachments(volume)
            self.assertEqual(new['attachment_id'], attached['id'])
            self.assertEqual('attached', attached['attach_status'])
            self.assertEqual(before.uuid, attached['instance_uuid'])
            self.assertEqual(new['device_name'], attached['mountpoint'])
            status = self.practice.sql(
                'cinder', 'SELECT status FROM volumes WHERE id = %s', [volume]
            )
            self.assertEqual([{'status': 'in-use'}], status)
            if moved and info['driver_volume_type'] == 'rbd':
                self.assertEqual(old['attachment_id'], new['attachment_id'])
                continue
            self.assertNotEqual(old['attachment_id'], new['attachment_id'])
            self.assertEqual(target, attached['connector']['host'])
            if info['driver_volume_type'] == 'iscsi':
                self.assertEqual(
                    f'iqn.1993-08.org.debian:01:{target}',
                    info['data']['initiator'],
                )
        if before.ran:
            guest = self.practice.guests(target)[before.uuid]
            self.assertEqual(volumes, guest['volumes'], before.name)

    def assert_out_of_service(self, host: str, run: str) -> None:
        """The dead host stays disabled and forced down, with our reason."""
        service = self.state.service(host)
        self.assertEqual(1, service['disabled'])
        self.assertEqual(1, service['forced_down'])
        self.assertIn(f'nova-recovery (run {run})', service['disabled_reason'])
        self.assertEqual(0, self.state.queued(host))


def _kept(devices: list[JSON]) -> list[JSON]:
    return [
        {k: v for k, v in device.items() if k not in CONNECTION}
        for device in devices
    ]
