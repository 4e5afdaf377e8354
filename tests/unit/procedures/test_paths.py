# SPDX-License-Identifier: Apache-2.0

"""Disks of volumes: how they are reached, and whose they are."""

from __future__ import annotations

import dataclasses
from typing import Any

from nova_recovery.cloud.db.connections import Connection, Path
from nova_recovery.engine import findings
from nova_recovery.engine.findings import Finding
from nova_recovery.procedures import list_paths
from nova_recovery.procedures.iscsi.facts import Facts
from nova_recovery.procedures.reached import Reached
from tests.base import TestCase
from tests.unit.procedures import test_iscsi
from tests.unit.procedures.test_iscsi import ARRAY, PORTAL, VOLUME, WEB

OTHER = '0' * 8 + VOLUME[8:]


def disk(device: str = 'sdb', lun: Any = 1, **more: Any) -> dict[str, Any]:
    row = {
        'way': 'iscsi',
        'target': ARRAY,
        'portal': PORTAL,
        'links': [['session 1', 'LOGGED_IN']],
    }
    return {**test_iscsi.disk(device, lun), **row, **more}


def host(*disks: dict[str, Any], maps: Any = (), domains: Any = ()) -> Reached:
    said = {'disks': list(disks), 'maps': maps, 'domains': domains, 'why': ''}
    return Reached('c1', 'id', said=(said,))


def wanted(volume: str = VOLUME, **more: Any) -> Connection:
    one = test_iscsi.wanted(volume, target=ARRAY)
    return dataclasses.replace(one, **more)


def guest(**more: Any) -> dict[str, Any]:
    domain = {'uuid': WEB, 'name': 'i-1', 'state': 'running'}
    return {**domain, 'disks': {}, 'network': {}, **more}


class Listed(TestCase):
    def judge(
        self, one: Reached, *own: Connection, **more: Any
    ) -> list[Finding]:
        found = Facts((one,), {'c1': own}, **more)
        return list(list_paths.judge(found).findings)

    def test_each_lun_of_one_session_is_a_volume_of_its_own(self) -> None:
        second = wanted(OTHER, paths=(Path(ARRAY, PORTAL, 2),))
        found = self.judge(host(disk(), disk('sdc', 2)), wanted(), second)
        self.assertEqual(
            [('sdb', VOLUME), ('sdc', OTHER)],
            [(one.more['disk'], one.volume) for one in found],
        )
        self.assertEqual({'PATH-GOOD'}, {one.code for one in found})

    def test_a_map_is_one_disk_with_the_state_of_each_path(self) -> None:
        paths = disk(), disk('sdc')
        for maps, links, code, seen in (
            (['sdb', 'sdc'], [], 'PATH-GOOD', 'sdb, sdc'),
            (['sdb'], ['sdc'], 'PATH-FAILED', 'sdb, sdc (failed)'),
            ([], ['sdb', 'sdc'], 'PATH-DEAD', 'sdb (failed), sdc (failed)'),
        ):
            one = {'name': 'mpatha', 'good': maps, 'failed': links}
            (found,) = self.judge(host(*paths, maps=[one]), wanted())
            self.assertEqual((code, seen), (found.code, found.more['paths']))
            self.assertEqual('mpatha', found.more['disk'])

    def test_a_path_is_as_good_as_what_it_comes_over(self) -> None:
        for row, seen in (
            (disk(state='blocked'), 'sdb: blocked'),
            (disk(links=[['session 1', 'FAILED']]), 'sdb: session 1 FAILED'),
            (
                disk(way='fc', links=[['rport-2:0-1', 'Blocked']]),
                'sdb: rport-2:0-1 Blocked',
            ),
        ):
            (found,) = self.judge(host(row), wanted())
            self.assertEqual(
                ('PATH-DEAD', findings.DANGER, seen),
                (found.code, found.severity, found.cause),
            )
        (found,) = self.judge(host(disk(state='blocked')))
        self.assertEqual(findings.STALE, found.severity)

    def test_the_ways_of_nvme_are_paths(self) -> None:
        links = [['nvme0 a', 'live'], ['nvme1 b', 'connecting']]
        row = disk(
            'nvme0n1',
            None,
            way='nvmeof',
            target='nqn.x',
            portal='',
            links=links,
        )
        one = wanted(paths=(Path('nqn.x', '', None),), protocol='nvmeof')
        (found,) = self.judge(host(row), one)
        self.assertEqual(('PATH-FAILED', VOLUME), (found.code, found.volume))
        self.assertIn('1 of 2', found.cause)

    def test_what_qemu_reaches_by_itself(self) -> None:
        domain = guest(network={f'rbd:volumes/volume-{VOLUME}': VOLUME})
        one = wanted(
            paths=(Path(f'volumes/volume-{VOLUME}', '', None),), protocol='rbd'
        )
        (found,) = self.judge(host(domains=[domain]), one)
        self.assertEqual(
            ('PATH-GOOD', 'rbd', VOLUME, WEB),
            (found.code, found.more['way'], found.volume, found.server),
        )

    def test_a_volume_of_an_active_server_that_no_disk_is(self) -> None:
        for active, severity in (
            (True, findings.DANGER),
            # its start connects it
            (False, findings.STALE),
        ):
            (found,) = self.judge(
                host(domains=[guest(active=active)]),
                wanted(protocol='fibre_channel'),
            )
            self.assertEqual(
                ('PATH-LOST', severity), (found.code, found.severity)
            )
        (found,) = self.judge(host(domains=None), wanted(protocol='rbd'))
        self.assertEqual('PATH-UNKNOWN', found.code)
        off = test_iscsi.wanted(vm_state='stopped', target=ARRAY)
        self.assertEqual([], self.judge(host(), off))

    def test_by_the_wwid_where_nothing_else_tells(self) -> None:
        row = disk(way='fc', target='0x5006', portal='', wwid='3600a')
        one = wanted(paths=(), wwid='3600a', protocol='fibre_channel')
        (found,) = self.judge(host(row), one)
        self.assertEqual((VOLUME, WEB), (found.volume, found.server))

    def test_one_that_nobody_uses_and_what_is_not_known(self) -> None:
        (found,) = self.judge(host(disk()))
        self.assertEqual(
            ('PATH-UNUSED', findings.NOTE), (found.code, found.severity)
        )
        (found,) = self.judge(host(disk()), unknown=('cell1 is down',))
        self.assertIn('not known', found.cause)
        (found,) = self.judge(host(maps=None))
        self.assertEqual('PATH-UNKNOWN', found.code)
        (found,) = self.judge(Reached('c1', problem='unreachable'))
        self.assertEqual('HOST-UNKNOWN', found.code)
