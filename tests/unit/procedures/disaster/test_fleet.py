# SPDX-License-Identifier: Apache-2.0

"""What hosts tell when they are asked, each thing once, and what it means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
import dataclasses
from types import SimpleNamespace
from typing import Any
from unittest import mock

from nova_recovery import readiness
from nova_recovery.cloud.db.connections import Connection
from nova_recovery.cloud.records import Server
from nova_recovery.engine import findings
from nova_recovery.engine.findings import Finding
from nova_recovery.exceptions import DatabaseUnavailable
from nova_recovery.fleet import answer
from nova_recovery.fleet.answer import Answer
from nova_recovery.procedures.disaster.judge import findings as judging
from nova_recovery.procedures.disaster.judge import ready, wanted
from nova_recovery.procedures.disaster.look import fleet
from nova_recovery.procedures.disaster.look.fleet import Told
from nova_recovery.procedures.disaster.scope import Scope
from nova_recovery.readiness import Site
from tests.base import TestCase
from tests.unit.procedures import (
    test_check_guests,
    test_check_hosts,
    test_iscsi,
    test_paths,
)
from tests.unit.procedures.disaster import situations
from tests.unit.procedures.test_iscsi import IQN, PORTAL, VOLUME, WEB

GOOD: dict[str, Any] = {
    'mounts': [],
    'targets': [],
    'fstab': [],
    'maps': [],
    'sessions': [],
    'disks': [],
    'lvm': test_check_hosts.LVM,
    'ceph': None,
    'synchronized': True,
}
FULL = {**test_check_hosts.MOUNT, 'free': 0}


def host(
    *sessions: dict[str, Any],
    domains: Any = (),
    paths: Sequence[dict[str, Any]] = (),
    **check: Any,
) -> list[dict[str, Any]]:
    """What one answers to the four questions."""
    domains = None if domains is None else list(domains)
    return [
        {**GOOD, 'sessions': list(sessions), **check},
        {'sessions': list(sessions), 'domains': domains, 'why': 'no'},
        {'processes': [], 'domains': domains, 'why': 'no'},
        {'disks': list(paths), 'maps': [], 'domains': domains, 'why': 'no'},
    ]


def domain(**more: Any) -> dict[str, Any]:
    given = test_check_guests.domain()
    return {**given, 'network': {}, 'serials': [], **more}


class Fleet:
    """Hosts by their names; one without answers is off."""

    def __init__(self, hosts: dict[str, Any]) -> None:
        self.hosts = hosts
        self.calls: list[tuple[str, ...]] = []

    def knows(self, name: str) -> bool:
        return name in self.hosts

    def identify(self, names: Iterable[str]) -> dict[str, Answer]:
        return {
            name: Answer(
                name, answer.DONE, {'machine_id': name, 'layout': LAYOUT}
            )
            if self.hosts[name]
            else answer.doubt(name, answer.UNREACHABLE)
            for name in names
        }

    def each(
        self, names: Sequence[str], ask: Callable[[str], Answer]
    ) -> dict[str, Answer]:
        return {name: ask(name) for name in names}

    def several(self, name: str, *calls: Any) -> Answer:
        self.calls.append((name, *(verb for verb, _words in calls)))
        said = [dict(one) for one in self.hosts[name]]
        said[0].setdefault('time', fleet.time.time())
        return Answer(name, answer.DONE, {'answers': said})


LAYOUT = {'exec_prefix': []}


class FleetTestCase(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.wanted: dict[str, tuple[Connection, ...]] = {}
        self.servers: dict[str, Server] = {}
        self.differ: list[Finding] = []
        for name, value in (
            (
                'iscsi_facts.wanted_by',
                lambda cloud, names, protocols: (self.wanted, ()),
            ),
            (
                'check_guests.read_nova',
                lambda *given: (self.servers, frozenset(), ()),
            ),
            ('check_hosts.differences', lambda cloud, names: self.differ),
        ):
            patch = mock.patch.object(
                *_place(name), side_effect=value, autospec=True
            )
            patch.start()
            self.addCleanup(patch.stop)

    def cloud(self, **hosts: Any) -> Any:
        self.fleet = Fleet(hosts)
        return SimpleNamespace(fleet=self.fleet)

    def told(self, *storage: str, **hosts: Any) -> Told:
        cloud = self.cloud(**hosts)
        computes = [name for name in hosts if name not in storage]
        return fleet.read(cloud, computes, [*storage, 'elsewhere'])

    def codes(self, told: Told) -> list[tuple[str, str, str]]:
        return sorted((o.host, o.code, o.severity) for o in told.findings)


def _place(name: str) -> tuple[Any, str]:
    module, _dot, function = name.partition('.')
    return getattr(fleet, module), function


class Asked(FleetTestCase):
    def test_all_is_asked_of_each_in_one_call(self) -> None:
        told = self.told('st1', c1=host(), c2=host(), st1=host())
        verbs = ('check', 'iscsi list', 'guests list', 'paths')
        self.assertEqual(
            [(name, *verbs) for name in ('c1', 'c2', 'st1')], self.fleet.calls
        )
        self.assertEqual([], self.codes(told))
        self.assertEqual(
            ('3 of 3 hosts answered; of them: nothing is wrong',), told.summary
        )

    def test_one_that_is_off_is_unknown_and_the_others_are_told(self) -> None:
        told = self.told(c1=None, c2=host(mounts=[FULL]))
        self.assertEqual(
            [
                ('c1', 'HOST-UNKNOWN', findings.UNKNOWN),
                ('c2', 'FS-FULL', findings.DANGER),
            ],
            self.codes(told),
        )
        (silent,) = [one for one in told.findings if one.host == 'c1']
        self.assertIn('host check c1', silent.fix)
        self.assertIn('1 of 2 hosts answered, 1 did not', told.summary[0])
        self.assertEqual(['c2'], [one.name for one in told.hosts])

    def test_of_storage_only_what_it_is_for(self) -> None:
        # no libvirt is there, and none is missed
        told = self.told(
            'st1', c1=host(), st1=host(domains=None, mounts=[FULL])
        )
        self.assertEqual(
            [('st1', 'FS-FULL', findings.DANGER)], self.codes(told)
        )
        self.assertEqual(['c1'], [one.name for one in told.hosts])

    def test_a_dead_session_is_told_once_with_its_volume(self) -> None:
        disk = test_iscsi.disk(state='blocked')
        session = test_iscsi.session(disk, state='FAILED')
        path = test_paths.disk(state='blocked', target=IQN)
        self.wanted = {'c1': (test_iscsi.wanted(),)}
        self.servers = test_check_guests.server()
        told = self.told(c1=host(session, domains=[domain()], paths=[path]))
        self.assertEqual(
            [('c1', 'ISCSI-DEAD', findings.DANGER)], self.codes(told)
        )
        self.assertEqual(VOLUME, told.findings[0].volume)

    def test_a_lost_volume_is_told_once_and_not_where_nothing_runs(
        self,
    ) -> None:
        self.wanted = {'c1': (test_iscsi.wanted(),)}
        self.servers = test_check_guests.server()
        told = self.told(c1=host(domains=[domain()]))
        self.assertEqual(
            [('c1', 'ISCSI-LOST', findings.DANGER)], self.codes(told)
        )
        told = self.told(c1=host(domains=[domain(active=False)]))
        self.assertEqual(
            [
                ('c1', 'GUEST-OFF', findings.STALE),
                ('c1', 'ISCSI-LOST', findings.STALE),
            ],
            self.codes(told),
        )

    def test_as_its_file_would_tell_of_it(self) -> None:
        session = test_iscsi.session(test_iscsi.disk())
        told = self.told(c1=host(session, domains=[domain(serials=[VOLUME])]))
        (one,) = told.hosts
        assert one.domains is not None and one.sessions is not None
        self.assertTrue(one.domains[WEB].runs)
        self.assertEqual({VOLUME}, one.domains[WEB].disks)
        self.assertEqual((IQN, PORTAL, '1'), one.sessions[0].key)
        told = self.told(c1=host(domains=None))
        self.assertIsNone(told.hosts[0].domains)


class Judged(FleetTestCase):
    """In ``disaster assess``."""

    def found(self, told: Told, **given: Any) -> list[Finding]:
        before = {'host': 'c1'}
        given.setdefault(
            'servers', {WEB: {'host': 'c1', 'name': 'web', 'before': before}}
        )
        found = situations.make(
            **{'computes': {'c1': 'up', 'c2': 'up'}, **given},
            of_hosts=told.findings,
        )
        hosts_now = {**found.hosts_now, **{o.name: o for o in told.hosts}}
        found = dataclasses.replace(found, hosts_now=hosts_now)
        return judging.findings(found, wanted.wanted(found))

    def test_a_guest_that_is_off_is_a_server_that_is_down(self) -> None:
        self.servers = test_check_guests.server()
        found = self.found(self.told(c1=host(), c2=host()))
        self.assertEqual(['SRV-DOWN'], [one.code for one in found])
        self.assertIn('c1 does not have it', found[0].cause)

    def test_a_guest_that_runs_proves_it(self) -> None:
        self.servers = test_check_guests.server()
        told = self.told(c1=host(domains=[domain()]), c2=host())
        self.assertEqual([], self.found(told))

    def test_elsewhere_is_told_once_with_what_adopts_it(self) -> None:
        self.servers = test_check_guests.server()
        told = self.told(c1=host(), c2=host(domains=[domain()]))
        found = {one.code: one for one in self.found(told)}
        self.assertEqual({'SRV-DOWN', 'GUEST-ELSEWHERE'}, set(found))
        self.assertIn('server adopt', found['GUEST-ELSEWHERE'].fix)
        # a start would be the second one
        self.assertEqual('', found['SRV-DOWN'].fix)

    def test_one_that_is_silent_is_no_host_without_a_file(self) -> None:
        found = self.found(self.told(c1=None, c2=host()))
        self.assertEqual(
            {'HOST-UNKNOWN', 'SRV-UNPROVEN'}, {one.code for one in found}
        )

    def test_a_host_that_answers_tells_what_hangs_there(self) -> None:
        computes = {'c1': 'down', 'c2': 'down'}
        found = self.found(
            self.told(c1=host(), c2=None), servers={}, computes=computes
        )
        down = {one.host: one for one in found if one.code == 'HOST-DOWN'}
        self.assertIn('host service list c1', down['c1'].fix)
        self.assertEqual('systemctl start nova-compute', down['c2'].fix)

    def test_words_of_advice_are_no_command(self) -> None:
        found = self.found(
            self.told(c1=host(mounts=[FULL]), c2=host()), servers={}
        )
        self.assertEqual(('FS-FULL', ''), (found[0].code, found[0].fix))
        self.assertIn('; to do: make room', found[0].cause)


class Ready(FleetTestCase):
    def rows(self, told: Told) -> dict[tuple[str, str], Finding]:
        return {(one.code, one.subject): one for one in ready.judge(told)}

    def test_nothing_is_in_the_way(self) -> None:
        warned = {**test_check_hosts.MOUNT, 'free': 8}
        told = self.told(c1=host(mounts=[warned]), c2=host())
        self.assertEqual('FS-FULL', told.findings[0].code)
        (row,) = ready.judge(told)
        self.assertEqual(readiness.GO, row.severity)
        self.assertIn('2 answered', row.cause)

    def test_each_thing_is_in_the_row_of_its_matter(self) -> None:
        self.servers = test_check_guests.server('c2')
        lvm = {**test_check_hosts.LVM, 'wanted': ['cinder-volumes']}
        left = {'path': '/a', 'uid': 1, 'gid': 1, 'was': [2, 3]}
        told = self.told(
            'st1',
            c1=host(domains=[domain()], mounts=[FULL], disks=[left], time=1.0),
            c2=None,
            st1=host(lvm=lvm),
        )
        rows = self.rows(told)
        no_go = {key for key, o in rows.items() if o.severity == 'danger'}
        self.assertEqual(
            {
                ('clocks', 'c1 clock'),
                ('compute', 'c1 web'),
                ('hosts', 'c1 /srv'),
                ('hosts', 'c1 /a'),
                ('volume', 'st1 cinder-volumes'),
            },
            no_go,
        )
        self.assertEqual('unknown', rows['hosts', 'c2'].severity)
        self.assertEqual('chown 2:3 /a  # on c1', rows['hosts', 'c1 /a'].fix)
        self.assertTrue(all(one.fix for one in rows.values()))
        told_of = readiness.look(
            Site(mock.Mock(), told=tuple(rows.values())), {'hosts'}
        )
        order = [readiness.LAYERS.index(one.code) for one in told_of]
        self.assertEqual(sorted(order), order)

    def test_a_portal_waits_for_the_service_behind_it(self) -> None:
        session = test_iscsi.session(
            test_iscsi.disk(uses=[{'kind': 'a', 'what': 'b', 'server': None}]),
            state='FAILED',
        )
        (row,) = ready.judge(self.told(c1=host(session)))
        self.assertEqual(readiness.NO_GO, row.severity)
        down = Finding('volume', readiness.NO_GO, 'st1@lvm', 'down')
        first, second = readiness.look(
            Site(mock.Mock(), told=(row, down)), {'hosts'}
        )
        self.assertEqual(
            [('volume', 'danger'), ('hosts', 'stale')],
            [(o.code, o.severity) for o in (first, second)],
        )

    def test_what_a_start_makes_again_is_not_in_the_way(self) -> None:
        self.wanted = {'c1': (test_iscsi.wanted(),)}
        self.servers = test_check_guests.server()
        told = self.told(c1=host(domains=[domain()]))
        (row,) = ready.judge(told)
        self.assertEqual(readiness.GO, row.severity)

    def test_a_cell_that_is_disabled_is_in_nobodys_way(self) -> None:
        told = self.told(c1=host())
        told = dataclasses.replace(
            told, unknown=('cell3 is disabled, and not asked',)
        )
        enable = 'nova-manage cell_v2 update_cell --cell_uuid 3 --enable'
        cells = {told.unknown[0]: ('cell3', enable)}
        cell, hosts = ready.judge(told, told.unknown, cells)
        self.assertEqual(
            ('cell3', readiness.GO, enable),
            (cell.subject, cell.severity, cell.fix),
        )
        self.assertEqual('all', hosts.subject)
        # a host that was named may be of that cell
        row, *_ = ready.judge(told, told.unknown)
        self.assertEqual(readiness.UNKNOWN, row.severity)

    def test_no_database_no_names(self) -> None:
        cloud = self.cloud()
        with (
            mock.patch.object(
                ready.reached,
                'hosts_of',
                side_effect=DatabaseUnavailable('api', 'it is down'),
            ),
            mock.patch.object(ready.layout, 'of_cinder', return_value=()),
        ):
            (row,) = ready.rows(cloud, None, Scope())
        self.assertEqual(readiness.UNKNOWN, row.severity)
        self.assertIn('no host was asked', row.cause)
        self.assertEqual([], self.fleet.calls)
