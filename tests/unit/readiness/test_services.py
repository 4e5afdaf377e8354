# SPDX-License-Identifier: Apache-2.0

"""What services, APIs and clocks say, and what it means."""

from __future__ import annotations

import datetime
from http import server as http_server
import threading
import time
from typing import Any
import urllib.request

from nova_recovery import program, readiness
from nova_recovery.cloud.api.network import Port
from nova_recovery.cloud.records import ComputeNode
from nova_recovery.engine.findings import Finding
from nova_recovery.exceptions import ApiUnavailable, NotFound, RecoveryError
from nova_recovery.readiness import (
    bus,
    clocks,
    common,
    compute,
    control,
    placement,
    quiet,
    Site,
    volume,
)
from nova_recovery.readiness import network as network_probe
from nova_recovery.readiness.quiet import Move
from tests.base import TestCase
from tests.unit.changes.case import Cloud


class TestControl(TestCase):
    def judge(self, *states: str, unheard: str = '') -> Finding:
        return control.judge(
            'nova-conductor',
            [
                {'binary': 'nova-conductor', 'host': f'c{n}', 'state': state}
                for n, state in enumerate(states)
            ]
            + [{'binary': 'nova-compute', 'host': 'h', 'state': 'up'}],
            unheard,
        )

    def test_one_of_several_is_enough(self) -> None:
        row = self.judge('down', 'up')
        self.assertEqual(readiness.GO, row.severity)
        self.assertIn('1 of 2 up; no heartbeat from c0', row.cause)

    def test_none_is_up(self) -> None:
        for states in ((), ('down', 'down'), ('unknown',)):
            self.assertEqual(readiness.NO_GO, self.judge(*states).severity)

    def test_a_heartbeat_that_is_older_than_its_death(self) -> None:
        row = self.judge('up', unheard='conductor')
        self.assertEqual(readiness.NO_GO, row.severity)
        self.assertIn('nobody listens to conductor', row.cause)


class TestBackEnds(TestCase):
    """Those with volumes; a clustered one answers by its cluster."""

    def backends(self, **meant: Any) -> list[str]:
        cloud: Any = Cloud('nova34-nova', 'nova34-cinder')
        self.addCleanup(cloud.close)
        for number, (host, cluster) in enumerate(
            [
                ('a@ceph#p1', None),
                ('a@ceph#p2', None),
                ('b@array#p', 'c@array'),
                ('b@old#p', None),
            ]
        ):
            cloud.cinder.add(
                'volumes', id=str(number), host=host, cluster_name=cluster,
                deleted=0, volume_type_id='t',
            )  # fmt: skip
        return common.backends(Site(cloud, **meant))

    def test_those_that_matter(self) -> None:
        self.assertEqual(['a@ceph', 'b@old', 'c@array'], self.backends())
        self.assertEqual(
            ['c@array'], self.backends(backends=frozenset({'b@array'}))
        )
        self.assertEqual([], self.backends(backends=frozenset()))
        for name in ('b@array', 'c@array'):
            self.assertEqual(
                ['a@ceph', 'b@old'], self.backends(without=frozenset({name}))
            )


class TestVolume(TestCase):
    def test_all_answer(self) -> None:
        (row,) = volume.judge(
            {'a@x': None, 'b@y': None}, {'a@x': 'up', 'b@y': 'up'}
        )
        self.assertEqual(readiness.GO, row.severity)
        self.assertIn('a@x, b@y', row.cause)

    def test_each_that_does_not_has_a_row(self) -> None:
        rows = list(
            volume.judge(
                {
                    'a@x': None,
                    'b@y': None,
                    'c@z': TimeoutError('no answer within 8 s'),
                },
                {'a@x': 'up', 'b@y': 'down', 'c@z': 'up'},
            )
        )
        self.assertEqual(
            [('b@y', readiness.NO_GO), ('c@z', readiness.UNKNOWN)],
            [(row.subject, row.severity) for row in rows],
        )
        self.assertIn('cinder-volume  # on b', rows[0].fix)

    def test_an_unknown_heartbeat_is_unknown(self) -> None:
        (row,) = volume.judge({'a@x': None}, {})
        self.assertEqual(readiness.UNKNOWN, row.severity)


class TestCompute(TestCase):
    def judge(self, answers: Any = None, **states: str) -> Any:
        return list(
            compute.judge(
                {host: {'state': state} for host, state in states.items()},
                answers or {},
            )
        )

    def test_a_guest_that_does_not_run_is_an_answer(self) -> None:
        (row,) = self.judge({'h1': False, 'h2': True}, h1='up', h2='up')
        self.assertEqual(readiness.GO, row.severity)
        self.assertIn('2 up, 2 answer', row.cause)

    def test_a_host_without_servers_has_only_its_heartbeat(self) -> None:
        (row,) = self.judge({'h1': True}, h1='up', h2='up')
        self.assertEqual(readiness.GO, row.severity)
        self.assertIn('heartbeat only', row.cause)
        self.assertIn('h2', row.cause)

    def test_what_is_not_well_has_a_row(self) -> None:
        rows = self.judge(
            {'h2': ApiUnavailable('HTTP 500')},
            h1='down',
            h2='up',
            h3='unknown',
        )
        self.assertEqual(
            {
                'h1': readiness.NO_GO,
                'h2': readiness.UNKNOWN,
                'h3': readiness.UNKNOWN,
            },
            {row.subject: row.severity for row in rows},
        )

    def test_where_hosts_are_reached_ours_finds_the_unit(self) -> None:
        """kolla's is nova_compute, TripleO's tripleo_nova_compute."""
        answers = {'h2': bus.Unheard('nobody listens')}
        states = {'h1': {'state': 'down'}, 'h2': {'state': 'up'}}
        for ours, start, restart in (
            (False, 'systemctl start nova-', 'systemctl restart nova-'),
            (
                True,
                program.call('host service list h1'),
                program.call('host service restart h2'),
            ),
        ):
            down, deaf = compute.judge(states, answers, ours=ours)
            self.assertTrue(down.fix.startswith(start), down.fix)
            self.assertIn('--skip-host h1=REASON', down.fix)
            self.assertTrue(deaf.fix.startswith(restart), deaf.fix)

    def test_a_host_that_nova_does_not_know(self) -> None:
        (row,) = compute.judge({}, {}, ['gone'])
        self.assertEqual(('gone', 'unknown'), (row.subject, row.severity))


class TestPlacement(TestCase):
    NODE = ComputeNode(
        id=1,
        uuid='u',
        host='h1',
        hypervisor_hostname='node1',
        host_ip=None,
        hypervisor_type='QEMU',
        vcpus=16,
        memory_mb=4096,
        local_gb=10,
        cell='cell1',
    )

    def test_shared_and_pinned_cpus_add_up(self) -> None:
        found = {
            'VCPU': {'total': 12},
            'PCPU': {'total': 4},
            'MEMORY_MB': {'total': 4096},
        }
        self.assertEqual([], list(placement.judge(self.NODE, found)))

    def test_disks_may_be_of_a_provider_that_is_shared(self) -> None:
        found = {'VCPU': {'total': 16}, 'MEMORY_MB': {'total': 4096}}
        self.assertEqual([], placement.differences(self.NODE, found))

    def test_bare_metal_has_a_class_of_its_own(self) -> None:
        self.assertEqual(
            [], placement.differences(self.NODE, {'CUSTOM_GOLD': {'total': 1}})
        )

    def test_what_is_missing_or_otherwise(self) -> None:
        for found, words in (
            (NotFound('x'), 'no resource provider u'),
            ({}, 'no inventory'),
            (
                {'VCPU': {'total': 8}, 'MEMORY_MB': {'total': 4096}},
                '8 CPUs, compute_nodes has 16',
            ),
            ({'VCPU': {'total': 16}}, 'MEMORY_MB None'),
        ):
            (row,) = placement.judge(self.NODE, found)
            self.assertEqual(readiness.NO_GO, row.severity)
            self.assertIn(words, row.cause)

    def test_no_answer_is_unknown(self) -> None:
        (row,) = placement.judge(self.NODE, TimeoutError('no answer'))
        self.assertEqual(readiness.UNKNOWN, row.severity)


def agent(host: str, alive: int, up: int = 1) -> dict[str, Any]:
    return {
        'host': host,
        'binary': 'neutron-openvswitch-agent',
        'agent_type': 'Open vSwitch agent',
        'alive': alive,
        'admin_state_up': up,
    }


def port(name: str, vif_type: str) -> Port:
    return Port(
        name, 's', 'compute:nova', 'h1', 'normal', vif_type, '', {}, (), False
    )


class TestNetwork(TestCase):
    SITE = Site(None, hosts=frozenset({'h1', 'h2'}))  # type: ignore

    def agents(self, now: Any, before: Any = None) -> Any:
        return list(network_probe.agents(now, before, self.SITE))

    def test_one_that_was_alive_and_is_not(self) -> None:
        before = [agent('h1', 1), agent('h2', 0), agent('h9', 1)]
        (row,) = self.agents([agent('h1', 0), agent('h2', 0)], before)
        self.assertEqual(readiness.NO_GO, row.severity)
        self.assertIn('h1', row.subject)
        self.assertIn('systemctl start neutron-openvswitch-agent', row.fix)

    def test_one_that_neutron_forgot(self) -> None:
        (row,) = self.agents([], [agent('h1', 1)])
        self.assertIn('does not know it', row.cause)

    def test_without_a_snapshot_those_that_are_switched_on(self) -> None:
        (row,) = self.agents([agent('h1', 0), agent('h2', 0, up=0)])
        self.assertIn('h1', row.subject)
        (row,) = self.agents([agent('h1', 1), agent('h2', 0, up=0)])
        self.assertEqual(readiness.GO, row.severity)

    def bindings(self, found: Any, before: Any = None) -> Any:
        return list(network_probe.bindings({'h1': found}, before or {}))

    def test_a_binding_that_failed(self) -> None:
        (row,) = self.bindings(
            [port('p1', 'binding_failed'), port('p2', 'ovs')]
        )
        self.assertEqual(readiness.NO_GO, row.severity)
        self.assertIn('1 ports are binding_failed, such as p1', row.cause)

    def test_one_that_was_never_bound_is_as_before(self) -> None:
        (row,) = self.bindings(
            [port('p1', 'unbound')], {'p1': ('h1', 'unbound')}
        )
        self.assertEqual(readiness.GO, row.severity)

    def test_one_that_is_bound_by_another_driver(self) -> None:
        (row,) = self.bindings([port('p1', 'bridge')], {'p1': ('h1', 'ovs')})
        self.assertEqual(readiness.NO_GO, row.severity)


class TestApis(TestCase):
    def test_only_what_may_be_down_is_restarted(self) -> None:
        for error, mended in (
            (TimeoutError('no answer within 8 s'), True),
            (RecoveryError('nova: internal error (HTTP 500)'), True),
            (RecoveryError("nova: policy doesn't allow it (HTTP 403)"), False),
            (RecoveryError('TLS with the endpoint of nova failed'), False),
        ):
            row = control._api('nova-api', error)
            self.assertEqual(readiness.UNKNOWN, row.severity)
            self.assertEqual(mended, 'systemctl restart' in row.fix, error)
            self.assertTrue(row.fix)


class TestClocks(TestCase):
    def test_each_answer_narrows_it_down(self) -> None:
        known = float('-inf'), float('inf')
        # ahead by 0.4 s: asked at .0, .3 and .7 of a second of ours
        for before in (100.0, 100.3, 100.7):
            theirs = float(int(before + 0.4))
            known = clocks.narrowed(known, theirs, before, before + 0.01)
        self.assertLessEqual(known[0], 0.4)
        self.assertGreaterEqual(known[1], 0.4)
        self.assertLess(known[1] - known[0], 0.45)

    def test_whole_seconds_of_a_web_server(self) -> None:
        address = self._serve(0)
        low, high = self._measured(address)
        # how narrow depends on how busy this machine is; see the test above
        self.assertLessEqual(low, 0)
        self.assertGreaterEqual(high, 0)
        self.assertLess(high - low, 1)

    def test_a_web_server_that_is_an_hour_ahead(self) -> None:
        low, high = self._measured(self._serve(3600))
        self.assertLessEqual(low, 3600)
        self.assertGreaterEqual(high, 3600)
        (row,) = clocks.judge({'compute API': (low, high)}, {})
        self.assertEqual(readiness.NO_GO, row.severity)
        self.assertIn('ahead of this host', row.cause)

    def test_two_seconds_are_too_many(self) -> None:
        for seconds, state in (
            (0.8, readiness.GO),
            (-2, readiness.NO_GO),
            (2, readiness.NO_GO),
        ):
            (row,) = clocks.judge({'x': (seconds - 0.1, seconds + 0.1)}, {})
            self.assertEqual(state, row.severity)

    def test_one_that_tells_no_time_is_counted(self) -> None:
        (row,) = clocks.judge({'x': (0.0, 0.1), 'image API': None}, {})
        self.assertEqual(readiness.GO, row.severity)
        self.assertIn('1 APIs tell no time', row.cause)

    def test_one_that_does_not_answer_is_unknown(self) -> None:
        (row,) = clocks.judge(
            {'x': TimeoutError('no answer')}, {'x': ('control/nova-api',)}
        )
        self.assertEqual(readiness.UNKNOWN, row.severity)
        self.assertEqual(('control/nova-api',), row.behind)

    def test_heartbeats_of_the_future(self) -> None:
        self.assertEqual([], list(clocks.ahead('cell1', {('a', 'h'): 1.0})))
        (row,) = clocks.ahead(
            'cell1', {('nova-conductor', 'c1'): 3600.0, ('b', 'h'): -5.0}
        )
        self.assertEqual(readiness.NO_GO, row.severity)
        self.assertIn('nova-conductor c1: up to 3600 s', row.cause)
        self.assertIn('# on c1', row.fix)

    def _measured(self, address: str) -> tuple[float, float]:
        def ask() -> datetime.datetime:
            with urllib.request.urlopen(address) as answer:
                return datetime.datetime.strptime(
                    answer.headers['Date'], '%a, %d %b %Y %H:%M:%S GMT'
                ).replace(tzinfo=datetime.timezone.utc)

        found = clocks.measured(ask)
        assert found is not None
        return found

    def _serve(self, ahead: int) -> str:
        class Handler(http_server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(204)
                self.end_headers()

            def date_time_string(self, timestamp: Any = None) -> str:
                return super().date_time_string(int(time.time()) + ahead)

            def log_message(self, *words: Any) -> None:
                pass

        server = http_server.HTTPServer(('127.0.0.1', 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f'http://127.0.0.1:{server.server_port}/'


class TestQuiet(TestCase):
    def judge(self, window: float = 300, **changed: Any) -> Finding:
        values = {
            'table': 'instance_actions',
            'id': 501,
            'server': 'u',
            'what': 'reboot',
            'request': 'req-1',
            'user': 'alice',
            'age': 5.0,
            **changed,
        }
        return quiet.judge(
            'cell1', [Move(**values)], {'req-ours'}, window, {'unsure'}
        )

    def test_what_a_user_does(self) -> None:
        row = self.judge()
        self.assertEqual(readiness.NO_GO, row.severity)
        self.assertIn(
            'instance_actions 501 (reboot of u by alice), 5 s ago', row.cause
        )

    def test_what_does_not_count(self) -> None:
        for changed in (
            {'request': 'req-ours'},
            # sent by us, perhaps, when we were killed
            {'server': 'unsure'},
            {'what': 'stop', 'user': None},
            {'age': 301.0},
        ):
            self.assertEqual(readiness.GO, self.judge(**changed).severity)

    def test_only_what_the_plan_is_about_holds_it_up(self) -> None:
        move = Move('migrations', 7, 'u', 'resize', None, 'mallory', 5.0)
        for servers, state in (
            ({'u'}, readiness.NO_GO),
            ({'other'}, readiness.GO),
            (None, readiness.NO_GO),
        ):
            row = quiet.judge('cell1', [move], (), 300, (), servers)
            self.assertEqual(state, row.severity)

    def test_nobody_is_a_hindrance_if_told_so(self) -> None:
        self.assertEqual(readiness.GO, self.judge(0, age=0).severity)
        self.assertEqual(readiness.NO_GO, self.judge(1, age=0).severity)

    def test_a_user_who_stops_a_server_counts(self) -> None:
        self.assertEqual(readiness.NO_GO, self.judge(what='stop').severity)

    def test_a_migration_counts(self) -> None:
        row = self.judge(
            table='migrations',
            what='live-migration, running',
            request=None,
            user=None,
        )
        self.assertEqual(readiness.NO_GO, row.severity)
