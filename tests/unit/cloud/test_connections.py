# SPDX-License-Identifier: Apache-2.0

"""By which targets nova says that its servers have their volumes."""

from __future__ import annotations

import json
from typing import Any

from nova_recovery.cloud.db import connections
from nova_recovery.cloud.db.connections import Path
from tests.base import TestCase
from tests.unit.tables import Memory


class OfHosts(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.cell = Memory(
            instances='id uuid host display_name vm_state deleted',
            block_device_mapping='id instance_uuid volume_id connection_info'
            ' deleted',
        )
        self.number = 0

    def server(self, uuid: str, host: str) -> None:
        self.number += 1
        self.cell.add(
            'instances', id=self.number, uuid=uuid, host=host, deleted=0
        )

    def volume(self, server: str, info: Any, **more: Any) -> None:
        self.number += 1
        self.cell.add(
            'block_device_mapping',
            id=self.number,
            instance_uuid=server,
            connection_info=info if info is None else json.dumps(info),
            **{'volume_id': f'v{self.number}', 'deleted': 0, **more},
        )

    def found(self, *hosts: str) -> list[connections.Connection]:
        return connections.of_hosts(self.cell, hosts)

    def iscsi(self, **data: Any) -> dict[str, Any]:
        return {'driver_volume_type': 'iscsi', 'data': data}

    def test_each_path_and_the_wwid(self) -> None:
        self.server('s1', 'np-rcc4')
        self.volume(
            's1',
            self.iscsi(
                target_iqn='iqn.a',
                target_portal='10.0.0.1:3260',
                target_lun=1,
                target_iqns=['iqn.a', 'iqn.b'],
                target_portals=['10.0.0.1:3260', '10.0.0.2:3260'],
                target_luns=[1, 2],
                multipath_id='3600',
                auth_password='hunter2',
            ),
        )
        (one,) = self.found('np-rcc4')
        self.assertEqual(
            (
                Path('iqn.a', '10.0.0.1:3260', 1),
                Path('iqn.b', '10.0.0.2:3260', 2),
            ),
            one.paths,
        )
        self.assertEqual('3600', one.wwid)
        self.assertNotIn('hunter2', repr(one))

    def test_one_path(self) -> None:
        self.server('s1', 'np-rcc4')
        self.volume(
            's1',
            self.iscsi(
                target_iqn='iqn.a', target_portal='p:3260', target_lun='1'
            ),
        )
        (one,) = self.found('np-rcc4')
        self.assertEqual((Path('iqn.a', 'p:3260', 1),), one.paths)

    def test_several_paths_of_one_lun_or_of_none_that_is_told(self) -> None:
        self.server('s1', 'np-rcc4')
        several = {'target_iqns': ['i', 'j'], 'target_portals': ['p', 'q']}
        for data, lun in (({'target_lun': 3, **several}, 3), (several, 0)):
            self.volume('s1', self.iscsi(**data))
            self.assertEqual(
                (Path('i', 'p', lun), Path('j', 'q', lun)),
                self.found('np-rcc4')[-1].paths,
            )

    def test_a_lun_as_the_host_has_it_where_addresses_are_flat(self) -> None:
        self.server('s1', 'np-rcc4')
        several = {'target_iqns': ['i'], 'target_portals': ['p']}
        for mode, lun, seen in (
            (None, 256, 256),
            ('SAM', 256, 256),
            ('SAM2', 255, 255),
            ('SAM2', 256, 16640),
            ('SAM3-flat', 1, 16385),
        ):
            data: dict[str, Any] = {'target_luns': [lun], **several}
            if mode:
                data['addressing_mode'] = mode
            self.volume('s1', self.iscsi(**data))
            self.assertEqual(
                (Path('i', 'p', seen),), self.found('np-rcc4')[-1].paths
            )

    def test_exactly_these_hosts_and_only_iscsi(self) -> None:
        for uuid, host in (('s1', 'np-rcc4'), ('s2', 'np-rcc46')):
            self.server(uuid, host)
            self.volume(uuid, self.iscsi(target_iqn='i', target_portal='p'))
        self.volume('s1', {'driver_volume_type': 'rbd', 'data': {}})
        self.volume('s1', None)
        self.volume('s1', self.iscsi(), deleted=9)
        (one,) = self.found('np-rcc4')
        self.assertEqual('s1', one.server.uuid)

    def test_what_becomes_a_disk_otherwise_by_what_tells_it(self) -> None:
        self.server('s1', 'np-rcc4')
        for kind, data in (
            ('fibre_channel', {'target_wwn': ['5006'], 'multipath_id': '36'}),
            ('nvmeof', {'target_nqn': 'nqn.a', 'vol_uuid': '0a-1b'}),
            ('nvmeof', {'nqn': 'nqn.b', 'transport_type': 'tcp'}),
            ('rbd', {'name': 'volumes/volume-1', 'secret_uuid': 'x'}),
            ('nfs', {'name': 'volume-2', 'export': 'filer:/a'}),
        ):
            self.volume('s1', {'driver_volume_type': kind, 'data': data})
        found = connections.of_hosts(self.cell, ['np-rcc4'], connections.DISKS)
        self.assertEqual(
            [
                ('fibre_channel', (), '36'),
                ('nvmeof', (), 'uuid.0a-1b'),
                ('nvmeof', (Path('nqn.b', '', None),), ''),
                ('rbd', (Path('volumes/volume-1', '', None),), ''),
            ],
            [(one.protocol, one.paths, one.wwid) for one in found],
        )
