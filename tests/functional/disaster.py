# SPDX-License-Identifier: Apache-2.0

"""A whole cloud before and after its power loss, and how they compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent import futures
import dataclasses
from typing import Any

import fixtures

from nova_recovery.compat import pairs
from tests.cloud import servers
from tests.cloud.cloud import PracticeCloud
from tests.functional.base import Ended, FunctionalTest

JSON = dict[str, Any]

#: Of a mapping, what must be as it was whatever happened. Its id too: a
#: mapping that was made anew has lost what only nova-compute knew.
MAPPING = (
    'id',
    'volume_id',
    'device_name',
    'tag',
    'boot_index',
    'delete_on_termination',
    'destination_type',
    'attachment_id',
)
ROW = (
    'host',
    'node',
    'compute_id',
    'vm_state',
    'power_state',
    'task_state',
    'locked',
)
#: Nova's power sync keeps its hands off: see tests/cloud/README.rst.
NO_SYNC = {'sync_power_state_interval': -1}


@dataclasses.dataclass(frozen=True)
class Whole:
    """Everything that a server is.

    :ivar row: host and states, of nova
    :ivar devices: its mappings, and whether each one has connection data
    :ivar volumes: volume -> status and attachments, of cinder
    :ivar guests: host -> state, of the hypervisors
    :ivar disks: device -> volume, of its guest
    :ivar boots: how often its guest was started
    :ivar actions: what was asked of it: action, request id, user
    """

    uuid: str
    name: str
    row: JSON
    devices: list[JSON]
    volumes: dict[str, JSON]
    guests: dict[str, str]
    disks: dict[str, str]
    boots: int
    actions: list[tuple[str, str, str | None]]

    @property
    def ran(self) -> bool:
        return bool(self.row['vm_state'] == 'active')


def look(practice: PracticeCloud, uuids: Iterable[str]) -> list[Whole]:
    """Servers as they are now, in few queries for them all."""
    wanted = list(uuids)
    found = {
        row['uuid']: row
        for row in _rows(practice, 'nova', 'instances', 'uuid', wanted)
    }
    devices = _rows(
        practice, 'nova', 'block_device_mapping', 'instance_uuid', wanted
    )
    volumes = _volumes(
        practice, [row['volume_id'] for row in devices if row['volume_id']]
    )
    actions = practice.sql(
        'nova',
        'SELECT instance_uuid, action, request_id, user_id'
        f' FROM instance_actions WHERE instance_uuid IN ({_marks(wanted)})'
        ' ORDER BY id',
        wanted,
    )
    guests: dict[str, dict[str, JSON]] = {uuid: {} for uuid in wanted}
    for host in practice.config.hosts:
        for uuid, guest in practice.guests(host).items():
            guests.setdefault(uuid, {})[host] = guest
    return [
        _whole(
            found[uuid],
            [row for row in devices if row['instance_uuid'] == uuid],
            volumes,
            guests[uuid],
            [row for row in actions if row['instance_uuid'] == uuid],
        )
        for uuid in wanted
    ]


def _whole(
    row: JSON,
    devices: list[JSON],
    volumes: dict[str, JSON],
    guests: dict[str, JSON],
    actions: list[JSON],
) -> Whole:
    return Whole(
        row['uuid'],
        row['display_name'],
        {name: row[name] for name in ROW},
        [
            {
                **{name: device[name] for name in MAPPING},
                'connected': device['connection_info'] not in (None, '{}'),
            }
            for device in devices
        ],
        {
            device['volume_id']: volumes[device['volume_id']]
            for device in devices
            if device['volume_id']
        },
        {host: guest['state'] for host, guest in guests.items()},
        {
            device: volume
            for guest in guests.values()
            for device, volume in guest['volumes'].items()
        },
        # one that the hypervisor doesn't count yet was started once
        sum(guest.get('boots', 1) for guest in guests.values()),
        [(a['action'], a['request_id'], a['user_id']) for a in actions],
    )


def _marks(values: list[str]) -> str:
    return ', '.join(['%s'] * len(values))


def _rows(
    practice: PracticeCloud,
    database: str,
    table: str,
    column: str,
    values: list[str],
) -> list[JSON]:
    if not values:
        return []
    return practice.sql(
        database,
        f'SELECT * FROM {table} WHERE {column} IN ({_marks(values)})'
        ' AND deleted = 0 ORDER BY id',
        values,
    )


def _volumes(practice: PracticeCloud, ids: list[str]) -> dict[str, JSON]:
    attachments = _rows(
        practice, 'cinder', 'volume_attachment', 'volume_id', ids
    )
    return {
        row['id']: {
            'status': row['status'],
            'attach_status': row['attach_status'],
            'attachments': [
                {
                    name: one[name]
                    for name in (
                        'id', 'instance_uuid', 'mountpoint', 'attached_host',
                        'attach_status', 'attach_mode',
                    )
                }
                for one in attachments
                if one['volume_id'] == row['id']
            ],
        }
        for row in _rows(practice, 'cinder', 'volumes', 'id', ids)
    }  # fmt: skip


class DisasterTest(FunctionalTest):
    """The site loses its power, and ``recovery disaster`` brings it back."""

    fresh = True

    def setUp(self) -> None:
        super().setUp()
        # Nothing of these tests is under way when it is looked at.
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.procedures.volumes.situation.SETTLE', -3600
            )
        )
        self.snapshot = self.home / 'cloud.snapshot'
        # Whatever others do lies back when the next command is typed.
        self.configure(snapshot__directory=self.home, disaster__quiet=1)

    # before

    def take_snapshot(self, *words: Any) -> None:
        """The whole cloud, before anything happens to it."""
        self.done('snapshot', 'create', '--file', self.snapshot, *words)
        (now,) = self.practice.sql('nova', 'SELECT UTC_TIMESTAMP() AS t')
        # An outage is known by the last sign of life, which must not seem
        # older than the snapshot.
        self.wait_for(
            lambda: (
                not self.practice.sql(
                    'nova',
                    "SELECT id FROM services WHERE `binary` = 'nova-compute'"
                    ' AND deleted = 0 AND last_seen_up <= %s',
                    [now['t']],
                )
            ),
            'a sign of life of each host',
        )

    def everything(self) -> dict[str, Whole]:
        """Every server of the cloud by its name."""
        rows = self.practice.sql(
            'nova', 'SELECT uuid FROM instances WHERE deleted = 0 ORDER BY id'
        )
        found = look(self.practice, [row['uuid'] for row in rows])
        return {one.name: one for one in found}

    def attach(
        self, uuid: str, kind: str, volume: str = '', **options: Any
    ) -> str:
        """Attach a volume by nova and wait; its id.

        :param kind: of a new volume, where none is given
        :param options: of the request: device, tag, delete_on_termination
        """
        owner = self.practice.connection('admin', 'demo')
        volume = volume or servers.create_volume(
            owner, f'{kind}-{uuid[:8]}', kind
        )
        body = {'volumeId': volume, **options}
        servers.call(
            self.admin.compute,
            'POST',
            f'/servers/{uuid}/os-volume_attachments',
            body={'volumeAttachment': body},
            microversion='2.90',
        )
        self.wait_for(
            lambda: [
                one
                for one in self.state.attachments(volume)
                if one['instance_uuid'] == uuid
                and one['attach_status'] == 'attached'
            ],
            f'volume {volume} at server {uuid}',
        )
        return volume

    def cinder(self, volume: str) -> JSON:
        """cinder's row of a volume."""
        (row,) = self.practice.sql(
            'cinder', 'SELECT * FROM volumes WHERE id = %s', [volume]
        )
        return row

    def cinder_reset(self, volume: str) -> None:
        """The second step of the guide, by cinder's own API."""
        servers.call(
            self.admin.block_storage,
            'POST',
            f'/volumes/{volume}/action',
            body={
                'os-reset_status': {
                    'status': 'available',
                    'attach_status': 'detached',
                }
            },
        )

    # the outage

    def lose_power(  # type: ignore[override]
        self, database: bool = False
    ) -> None:
        """Of the whole site; it is back when the test ends."""
        self.practice.site_power_loss(database)
        self.addCleanup(self.practice.site_power_on)

    def power_on(
        self,
        compute: bool = True,
        options: Mapping[str, object] | None = NO_SYNC,
    ) -> None:
        self.practice.site_power_on(compute, options)

    def wait_up(self) -> None:
        """Wait until nova sees every nova-compute as up."""
        with futures.ThreadPoolExecutor(3) as pool:
            list(
                pool.map(
                    self.practice.wait_compute_up, self.practice.config.hosts
                )
            )

    # the recovery

    def plan_file(self, *words: Any, code: int = 0) -> JSON:
        """The plan against the snapshot, as JSON; saved in its 'file'."""
        dump = self.home / 'dump.sql'
        dump.write_text('-- made after the outage\n')
        return self.plan(
            'disaster', 'plan', '--snapshot', self.snapshot, '--dump', dump,
            *words, code=code,
        )  # fmt: skip

    def apply(
        self, *words: Any, through: int | None = None, code: int = 0
    ) -> Ended:
        """Plan it, and carry the plan out, agreed to by its digest.

        ``--yes`` is for small plans only.
        """
        made = self.plan_file(*words)
        more = () if through is None else ('--through', through)
        return self.done(
            'disaster', 'apply', made['file'], '--approve', made['digest'],
            *more, code=code,
        )  # fmt: skip

    # afterwards

    def asked(self, before: Whole, now: Whole) -> list[str]:
        """What was asked of a server since, but by nova's power sync."""
        return [
            action
            for action, _, user in now.actions[len(before.actions) :]
            if (action, user) != ('stop', None)
        ]

    def assert_back(
        self,
        before: Iterable[Whole],
        by: Mapping[str, str] | None = None,
        repaired: bool = False,
    ) -> None:
        """Those that ran run as they did, the others are as they were.

        :param by: name -> what brought it back where that was no reboot:
            ``start``, or '' where nova did it without a request
        :param repaired: cinder's attachments may be others than before
        """
        before = list(before)
        now = look(self.practice, [one.uuid for one in before])
        for old, new in pairs(before, now):
            how = (by or {}).get(old.name, 'reboot') if old.ran else None
            wanted = [how] if how else []
            self.assertEqual(wanted, self.asked(old, new), old.name)
            self.assertEqual(
                old.boots + (how is not None), new.boots, old.name
            )
            self._assert_same(old, new, repaired)
        claims = self.practice.sql(
            'nova', "SELECT * FROM task_log WHERE task_name = 'nova-recovery'"
        )
        self.assertEqual([], claims)

    def _assert_same(self, old: Whole, new: Whole, repaired: bool) -> None:
        row = dict(old.row)
        if old.row['vm_state'] == 'paused':
            # its memory is gone: whatever nova makes of it
            row = {**row, 'power_state': new.row['power_state'],
                   'vm_state': new.row['vm_state']}  # fmt: skip
        self.assertEqual(row, new.row, old.name)
        (host,) = old.guests
        state = 'running' if old.ran else 'shut off'
        self.assertEqual({host: state}, new.guests, old.name)
        self.assertEqual(old.disks, new.disks, old.name)
        if not repaired:
            self.assertEqual(old.devices, new.devices, old.name)
            self.assertEqual(old.volumes, new.volumes, old.name)
            return
        self.assertEqual(_kept(old), _kept(new), old.name)
        for device in new.devices:
            if not device['volume_id']:
                continue
            self.assertTrue(device['connected'], old.name)
            volume = new.volumes[device['volume_id']]
            self.assertEqual('in-use', volume['status'])
            self.assertEqual(
                len(old.volumes[device['volume_id']]['attachments']),
                len(volume['attachments']),
            )
            (held,) = [
                one
                for one in volume['attachments']
                if one['instance_uuid'] == old.uuid
            ]
            self.assertEqual(device['attachment_id'], held['id'])
            self.assertEqual('attached', held['attach_status'])
            self.assertEqual(device['device_name'], held['mountpoint'])


def _kept(one: Whole) -> list[JSON]:
    loose = ('attachment_id', 'connected')
    return [
        {k: v for k, v in device.items() if k not in loose}
        for device in one.devices
    ]
