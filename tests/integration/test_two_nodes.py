# SPDX-License-Identifier: Apache-2.0

"""Two operators on two nodes of a Galera cluster want the same rows.

A lock guards nothing there: each node lets its own operator come as far as
COMMIT, and only then the cluster decides.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
import pathlib
import threading
from typing import Any, TypeVar
import uuid as uuid_module

from nova_recovery.changes.claims import ClaimHost, ClaimServer
from nova_recovery.changes.record import MoveRecord
from nova_recovery.cloud import claims
from nova_recovery.cloud.db.cells import Cell
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import CellDatabase, Databases
from nova_recovery.engine.change import At
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ClaimLost, Conflict, RecoveryError
from tests.base import TestCase
from tests.cloud import galera, process
from tests.cloud.galera import Galera
from tests.cloud.mariadb import MariaDB
from tests.unit.at import at

SCHEMA = pathlib.Path(__file__).parents[1] / 'schemas' / 'nova34-nova.sql'
ROUNDS = 12
SERVICE = 7
#: Seconds after which a test that hangs fails.
PATIENCE = 60
T = TypeVar('T')


class Meeting(Database):
    """Waits before COMMIT, the first time, for whoever else is there."""

    def __init__(self, url: str) -> None:
        super().__init__('cell1', url)
        self.meet: threading.Barrier | None = None
        self.attempts = 0

    def write(self, work: Callable[[Any], T]) -> T:
        def and_wait(connection: Any) -> T:
            self.attempts += 1
            result = work(connection)
            meet, self.meet = self.meet, None
            if meet is not None:
                meet.wait(PATIENCE)
            return result

        return super().write(and_wait)


class Operator:
    """An operator on one node: what a change sees as the cloud."""

    def __init__(self, who: str, url: str) -> None:
        self.marker = f'nova-recovery run={who * 8} by={who}@ctl-{who}'
        self.database = Meeting(url)
        cell = Cell('', 'cell1', url)
        self.databases = Databases(None, [CellDatabase(cell, self.database)])

    def at(self, item: Item, image: dict[str, Any]) -> At[Any]:
        return at(item, self, image, marker=self.marker)


class TestTwoNodes(TestCase):
    cluster: Galera

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.cluster = Galera()
        cls.addClassCleanup(cls.cluster.stop)
        cls.cluster.start()
        client = MariaDB(cls.cluster.directory / 'client', cls.cluster.port(1))
        client.load('nova', SCHEMA)
        cls.cluster.sql(
            1,
            'nova',
            'INSERT INTO services (id, host, `binary`, report_count, disabled,'
            ' deleted) VALUES (%s, "host1", "nova-compute", 0, 0, 0)',
            [SERVICE],
        )

    def setUp(self) -> None:
        super().setUp()
        self.operators = [
            Operator(who, self.cluster.url(node, 'nova'))
            for who, node in (('a', 1), ('b', 2))
        ]
        for operator in self.operators:
            self.addCleanup(operator.databases.dispose)

    def sql(self, statement: str, *arguments: Any) -> list[dict[str, Any]]:
        """On the node that is nobody's."""
        return self.cluster.sql(3, 'nova', statement, arguments)

    def wait_everywhere(self, query: str, *rows: dict[str, Any]) -> None:
        """A commit on one node takes its time to be seen on the others."""
        process.wait_for(
            lambda: all(
                self.cluster.sql(node, 'nova', query) == list(rows)
                for node in galera.NODES
            ),
            PATIENCE,
            f'the same answer of three nodes to {query}',
            0.01,
        )

    def new_server(self) -> str:
        uuid = str(uuid_module.uuid4())
        self.sql(
            'INSERT INTO instances (uuid, host, node, vm_state, power_state,'
            ' deleted) VALUES (%s, "host1", "host1", "paused", 3, 0)',
            uuid,
        )
        self.wait_everywhere(
            f'SELECT host FROM instances WHERE uuid = "{uuid}"',
            {'host': 'host1'},
        )
        return uuid

    def race(
        self, act: Callable[[Operator], object], meet: bool
    ) -> tuple[Operator, Exception]:
        """Let both do it at once; who won, and how the other one lost.

        :param meet: neither may COMMIT before both have done all the rest
        """
        barrier = threading.Barrier(2)

        def go(operator: Operator) -> Exception | None:
            operator.database.attempts = 0
            operator.database.meet = barrier if meet else None
            if not meet:
                barrier.wait(PATIENCE)
            try:
                act(operator)
            except RecoveryError as error:
                return error
            return None

        with futures.ThreadPoolExecutor(2) as pool:
            ends = list(pool.map(go, self.operators, timeout=PATIENCE))
        lost = [end for end in ends if end is not None]
        self.assertEqual(1, len(lost), ends)
        winner = self.operators[ends.index(None)]
        if meet:
            # Both did all of their work. The cluster refused the COMMIT of
            # one (1213); when that one began anew, it saw why.
            attempts = sorted(one.database.attempts for one in self.operators)
            self.assertEqual((1, 1), (attempts[0], winner.database.attempts))
            self.assertGreater(attempts[1], 1)
        return winner, lost[0]

    def test_one_of_two_claims_on_a_host_is_made(self) -> None:
        change = ClaimHost()
        item = Item(
            'claim-host:host1', 'claim-host', 'host:host1', 'host1',
            {'cell': 'cell1', 'service_id': SERVICE, 'report_count': 0},
        )  # fmt: skip
        seen = {'disabled': 0, 'disabled_reason': None}
        winners = set()
        for number in range(ROUNDS):
            self.sql(
                'UPDATE services SET disabled=0, disabled_reason=NULL,'
                ' report_count=0'
            )
            self.wait_everywhere(
                'SELECT disabled, disabled_reason FROM services', seen
            )
            winner, error = self.race(
                lambda operator: change.apply(operator.at(item, seen)),
                meet=number % 2 == 0,
            )
            self.assertIsInstance(error, ClaimLost)
            self.assertIn(winner.marker, str(error))
            self.wait_everywhere(
                'SELECT disabled, disabled_reason FROM services',
                {'disabled': 1, 'disabled_reason': winner.marker},
            )
            winners.add(winner.marker)
        self.assertEqual(2, len(winners), 'the same one won all rounds')

    def test_one_of_two_claims_on_a_server_is_made(self) -> None:
        change = ClaimServer()
        for number in range(ROUNDS):
            uuid = self.new_server()
            item = Item(
                f'claim-server:{uuid}', 'claim-server', f'server:{uuid}',
                'web', {'cell': 'cell1', 'uuid': uuid},
            )  # fmt: skip
            winner, error = self.race(
                lambda operator, item=item: change.apply(
                    operator.at(item, {})
                ),
                meet=number % 2 == 0,
            )
            self.assertIsInstance(error, ClaimLost)
            run = winner.marker.split(' ')[1]
            self.assertIn(run, str(error))
            claims = self.sql(
                'SELECT message FROM task_log WHERE host=%s', uuid
            )
            self.assertEqual([{'message': winner.marker}], list(claims))

    def test_a_node_that_lags_is_waited_for(self) -> None:
        """It has not applied yet what another node has committed."""
        client = MariaDB(
            self.cluster.directory / 'client', self.cluster.port(2)
        ).connect('nova')
        self.addCleanup(client.close)
        with client.cursor() as cursor:
            cursor.execute('FLUSH TABLES WITH READ LOCK')
            self.cluster.sql(
                1, 'nova', 'UPDATE services SET report_count = 4711'
            )
            cursor.execute('SELECT report_count FROM services')
            self.assertNotEqual(
                4711, (cursor.fetchone() or {})['report_count']
            )
            database = self.operators[1].database
            seen: list[Any] = []
            asked = threading.Thread(
                target=lambda: seen.append(
                    claims.service_row(database, SERVICE)['report_count']
                )
            )
            asked.start()
            asked.join(1)
            self.assertEqual([], seen)
            cursor.execute('UNLOCK TABLES')
        asked.join(PATIENCE)
        self.assertEqual([4711], seen)

    def test_one_of_two_moves_of_a_server_is_made(self) -> None:
        change = MoveRecord()
        for number in range(ROUNDS):
            uuid = self.new_server()
            targets = {
                operator.marker: f'host{place}'
                for place, operator in enumerate(self.operators, 2)
            }

            def move(
                operator: Operator,
                uuid: str = uuid,
                targets: dict[str, str] = targets,
            ) -> None:
                item = _move(uuid, targets[operator.marker])
                image = {'tombstone': str(uuid_module.uuid4())}
                change.apply(operator.at(item, image))

            winner, error = self.race(move, meet=number % 2 == 0)
            target = targets[winner.marker]
            self.assertIsInstance(error, Conflict)
            self.assertEqual(('host1', target), error.differences['host'])
            self.wait_everywhere(
                'SELECT host, node, vm_state FROM instances'
                f' WHERE uuid="{uuid}"',
                {'host': target, 'node': target, 'vm_state': 'stopped'},
            )
            self.wait_everywhere(
                'SELECT source_compute, dest_compute, status FROM migrations'
                f' WHERE instance_uuid="{uuid}"',
                {
                    'source_compute': 'host1',
                    'dest_compute': target,
                    'status': 'done',
                },
            )


def _move(uuid: str, target: str) -> Item:
    seen = {'host': 'host1', 'node': 'host1', 'vm_state': 'paused'}
    return Item(
        f'move-record:{uuid}',
        'move-record',
        f'server:{uuid}',
        'web',
        {
            'cell': 'cell1',
            'uuid': uuid,
            'source': {'host': 'host1', 'node': 'host1'},
            'target': {
                'host': target,
                'node': target,
                'host_ip': '127.0.0.1',
                'compute_id': 1,
            },
            'seen': seen,
            'values': {'host': target, 'node': target, 'vm_state': 'stopped'},
            'disarm': [],
        },
    )
