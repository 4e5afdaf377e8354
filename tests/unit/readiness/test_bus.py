# SPDX-License-Identifier: Apache-2.0

"""The message bus: its URL, its queues, and what is purged."""

from __future__ import annotations

import datetime
from typing import Any
from unittest import mock

from nova_recovery import readiness
from nova_recovery.changes import purge_queue
from nova_recovery.changes.purge_queue import PurgeQueue
from nova_recovery.cloud import bus
from nova_recovery.cloud.bus import Bus, BusUnavailable, Queue
from nova_recovery.cloud.db import cells
from nova_recovery.cloud.records import Service
from nova_recovery.cloud.settings import BusSettings
from nova_recovery.engine.change import Observed, State
from nova_recovery.engine.findings import Finding
from nova_recovery.exceptions import NotRevertible
from nova_recovery.procedures import bus_purge
from nova_recovery.procedures.bus_purge import Waiting
from nova_recovery.readiness import bus as probe
from nova_recovery.readiness.bus import Wanted
from tests.base import TestCase
from tests.unit import plans
from tests.unit.at import at


class TestUrl(TestCase):
    def test_several_servers_and_what_is_quoted(self) -> None:
        servers, vhost = bus.parse(
            'rabbit://nova:a%40b%2F@mq1:5673,nova:x@[fd00::1]/%2Fcell1'
        )
        self.assertEqual(
            [('mq1', 5673, 'nova', 'a@b/'), ('fd00::1', 5672, 'nova', 'x')],
            [(s.host, s.port, s.user, s.password) for s in servers],
        )
        self.assertEqual('/cell1', vhost)
        self.assertEqual('[fd00::1]:5672', servers[1].address)

    def test_the_default_virtual_host(self) -> None:
        for path in ('', '/', '//'):
            self.assertEqual('/', bus.parse(f'rabbit://mq{path}')[1])

    def test_the_port_is_the_same_with_tls(self) -> None:
        # oslo.messaging/_drivers/impl_rabbit.py: _parse_url
        self.assertEqual(5672, bus.parse('rabbit://mq/?ssl=1')[0][0].port)

    def test_what_is_no_rabbit_is_said_without_its_password(self) -> None:
        for url in (
            'kafka://u:hunter2@mq/',
            'amqp://u:hunter2@mq/',
            'hunter2',
            '',
            'rabbit:///',
            'rabbit://u:hunter2@mq:notaport/',
            'rabbit://u:hunter2@mq:65536/',
            'rabbit://u:hunter2@mq:0/',
            'rabbit://u:hunter2@[mq/',
            'hunter2://mq/',
            'rabbit://u:12/hunter2@mq/',
            'rabbit://u:12?hunter2@mq/',
            'rabbit://u:12#hunter2@mq/',
        ):
            found = Bus('cell1', BusSettings(url))
            error = self.assertRaises(BusUnavailable, found.members)
            self.assertNotIn('hunter2', f'{error} {found!r}')

    def test_a_bus_never_shows_its_password(self) -> None:
        found = Bus('cell1', BusSettings('rabbit://u:hunter2@mq/'))
        self.assertNotIn('hunter2', repr(found) + repr(found.servers))

    def test_a_template_is_rendered_as_nova_does(self) -> None:
        base_url = 'rabbit://u1:p1@mq1:1,u2:p2@mq2:2/top?ssl=1'
        self.assertEqual(
            'rabbit://u1:p1@mq1:1,u2:p2@mq2:2/cell1?ssl=1',
            cells.render_bus_url(
                '{scheme}://{username1}:{password1}@{hostname1}:{port1},'
                '{username2}:{password2}@{hostname2}:{port2}/cell1?{query}',
                base_url,
            ),
        )

    def test_one_that_can_not_be_rendered_stays(self) -> None:
        template = 'rabbit://{nonsense}/'
        self.assertEqual(
            template, cells.render_bus_url(template, 'rabbit://mq/')
        )


class TestJudge(TestCase):
    COMPUTE = Wanted('compute.h1', 'compute/h1', 'nova-compute', 'h1')
    SCHEDULER = Wanted('scheduler', 'control/nova-scheduler', 'nova-scheduler')

    def rows(self, wanted: Wanted, queue: Queue | None) -> list[Finding]:
        return list(probe.judge([wanted], {wanted.queue: queue}))

    def test_who_listens_works_off_what_waits(self) -> None:
        for wanted in (self.COMPUTE, self.SCHEDULER):
            self.assertEqual([], self.rows(wanted, Queue(9, 1)))

    def test_messages_of_a_host_that_is_down(self) -> None:
        (row,) = self.rows(self.COMPUTE, Queue(3, 0))
        self.assertEqual(readiness.NO_GO, row.severity)
        self.assertIn('3 messages', row.cause)
        self.assertIn('--purge', row.fix)
        # that the host is down does not explain them away
        self.assertEqual((), row.behind)

    def test_nobody_listens_because_the_host_is_down(self) -> None:
        for queue in (None, Queue(0, 0)):
            (row,) = self.rows(self.COMPUTE, queue)
            self.assertEqual(('compute/h1',), row.behind)

    def test_messages_of_a_scheduler_are_not_purged(self) -> None:
        (row,) = self.rows(self.SCHEDULER, Queue(3, 0))
        self.assertNotIn('--purge', row.fix)
        self.assertIn('restart nova-scheduler', row.fix)

    def test_queues_that_can_not_be_seen_are_not_fine(self) -> None:
        row = probe.unseen('cell1', TimeoutError('no answer within 4 s'))
        self.assertEqual([row], readiness.red([row]))
        self.assertEqual(readiness.UNKNOWN, row.severity)
        # a broker that is gone explains it
        self.assertEqual(('bus/broker cell1',), row.behind)

    def test_one_server_of_a_bus_is_enough(self) -> None:
        found = Bus('cell1', BusSettings('rabbit://a,b/'))
        for members, state in (
            ({'a:5672': '', 'b:5672': 'refused'}, readiness.GO),
            ({'a:5672': 'x', 'b:5672': 'refused'}, readiness.NO_GO),
        ):
            row = probe.reached('cell1', found, members)
            self.assertEqual(state, row.severity)
            self.assertIn('b:5672: refused', row.cause)
        row = probe.reached('cell1', found, 'no answer in time')
        self.assertEqual(readiness.UNKNOWN, row.severity)


def waiting(
    host: str = 'h1', consumers: int = 0, age: float | None = 60
) -> Waiting:
    service = Service(
        binary='nova-compute',
        host=host,
        cell='cell1',
        id=7,
        report_count=40,
        last_seen=datetime.datetime(2026, 11, 22),
    )
    return Waiting(service, Queue(2, consumers), age)


class TestPlan(TestCase):
    def test_one_change_for_each_queue_by_name(self) -> None:
        plan = plans.checked(
            bus_purge.decide([waiting('h1'), waiting('h2')], None, 15)
        )
        self.assertEqual(
            ['compute.h1', 'compute.h2'],
            [item.data['queue'] for item in plan.items()],
        )
        self.assertFalse([gate for gate in plan.gates if gate.blocks])
        self.assertIn('no way back', plan.notes[0])

    def test_a_host_that_reports_is_refused(self) -> None:
        plan = bus_purge.decide([waiting(age=15)], None, 15)
        (gate,) = plan.gates
        self.assertTrue(gate.blocks)
        self.assertEqual(('host-down', 'hard'), (gate.name, gate.klass))

    def test_what_is_listened_to_is_left_alone(self) -> None:
        plan = bus_purge.decide([waiting(consumers=1)], None, 15)
        self.assertEqual([], list(plan.items()))

    def test_the_host_came_back_since(self) -> None:
        self.assertEqual(State.NEITHER, self.observe(Queue(2, 1), 40).state)
        self.assertEqual(State.NEITHER, self.observe(Queue(2, 0), 41).state)

    def test_what_is_purged_is_purged(self) -> None:
        for queue in (None, Queue(0, 0)):
            self.assertEqual(State.AFTER, self.observe(queue, 40).state)

    def test_what_waits_may_be_purged(self) -> None:
        found = self.observe(Queue(5, 0), 40)
        self.assertEqual(State.BEFORE, found.state)
        self.assertEqual({'messages': 5}, found.image)

    def test_there_is_no_way_back(self) -> None:
        (item,) = bus_purge.decide([waiting()], None, 15).items()
        self.assertRaises(NotRevertible, PurgeQueue().revert, at(item))

    def observe(self, queue: Queue | None, reports: int) -> Observed:
        (item,) = bus_purge.decide([waiting()], None, 15).items()
        own: Any = mock.Mock()
        own.queues.return_value = {'compute.h1': queue}
        with (
            mock.patch.object(purge_queue, '_bus', return_value=own),
            mock.patch.object(purge_queue, '_reports', return_value=reports),
        ):
            return PurgeQueue().observe(at(item))
