# SPDX-License-Identifier: Apache-2.0

"""It was carried out and nobody said so: nothing is done a second time."""

from __future__ import annotations

import collections
import dataclasses
import os
import signal
import threading
from typing import Any

import fixtures
import sqlalchemy as sa

from nova_recovery.changes.once import SentOnce
from nova_recovery.cloud.api.compute import Compute
from nova_recovery.cloud.db import cas, cells
from nova_recovery.cloud.db.cells import Cell
from nova_recovery.cloud.db.database import Database
from nova_recovery.engine import planfile
from tests.cloud.proxy import CommitProxy, GatewayTimeoutProxy
from tests.functional.dead_host import DeadHostTest
from tests.integration import killing
from tests.unit.engine import world

MOVED = {'volumes': ['iscsi'], 'state': 'paused'}


class Holding(GatewayTimeoutProxy):
    """Keeps one POST to itself for a while, as proxies do.

    :param number: which one, from 1
    """

    def __init__(self, port: int, number: int) -> None:
        super().__init__(port)
        self._number = number
        self.holds, self.let_go = threading.Event(), threading.Event()
        # whoever sent it is dead when the answer comes
        self._server.handle_error = lambda *unused: None  # type: ignore

    def _loses(self, method: str, path: str) -> bool:
        lost = super()._loses(method, path)
        posts = [one for one, _ in self.requests if one == 'POST']
        if method == 'POST' and len(posts) == self._number:
            self.holds.set()
            self.let_go.wait(60)
        return lost


class TestLostAnswers(DeadHostTest):
    wanted = {
        'evacuated': {'volumes': ['iscsi']},
        'moved': MOVED,
        'committed': MOVED,
        'late': MOVED,
    }

    def lose_commits(self) -> CommitProxy:
        """Reach the cell's database through a proxy from now on."""
        made = CommitProxy(self.practice.config.port('mariadb'))
        self.addCleanup(made.close)
        load = cells.load_cells

        def load_cells(*args: Any) -> list[Cell]:
            return [
                dataclasses.replace(
                    cell,
                    url=sa.engine.make_url(cell.url)
                    .set(port=made.port)
                    .render_as_string(hide_password=False),
                )
                for cell in load(*args)
            ]

        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.cloud.db.cells.load_cells', load_cells
            )
        )
        return made

    def test_each_commit_once(self) -> None:
        """Whatever the run writes into the cell: it looks, and goes on."""
        between, moved = self.lose_commits(), self.server('committed')
        lost: list[str] = []
        really_set, really_write = cas.update_one, Database.write

        def update_one(
            connection: Any, table: Any, key: Any, seen: Any, values: Any
        ) -> Any:
            result = really_set(connection, table, key, seen, values)
            what = f'{table.name}.{sorted(values)[0]}'
            if what not in lost:
                lost.append(what)
                between.lose_next_commit()
            return result

        unknown = collections.Counter[str]()

        def write(self_: Database, work: Any) -> Any:
            try:
                return really_write(self_, work)
            except Exception as error:
                unknown[type(error).__name__] += 1
                raise

        for name, value in (
            ('nova_recovery.cloud.db.cas.update_one', update_one),
            ('nova_recovery.cloud.db.database.Database.write', write),
        ):
            self.useFixture(fixtures.MonkeyPatch(name, value))
        self.done(*self.words(moved), '--yes')
        self.assertEqual(
            [
                'services.disabled',
                'instances.availability_zone',
                'block_device_mapping.attachment_id',
                'block_device_mapping.connection_info',
                # the tombstone, armed when the guest ran
                'migrations.status',
                'services.disabled_reason',
            ],
            lost,
        )
        self.assertEqual({'OutcomeUnknown': len(lost)}, unknown)
        self.assert_recovered(moved, True, ('host2',))
        self.assertEqual(1, len(self.state.migrations(moved.uuid)))
        self.assert_out_of_service('host1', self.newest_run())

    def between(self, made: GatewayTimeoutProxy) -> None:
        """Reach nova's API through this proxy from now on."""
        self.addCleanup(made.close)
        self.useFixture(
            fixtures.EnvironmentVariable(
                'OS_COMPUTE_ENDPOINT_OVERRIDE',
                f'http://127.0.0.1:{made.port}/v2.1',
            )
        )

    def before_sending(self, name: str, act: Any) -> None:
        """Call *act* with the path right before a request is sent."""
        really = getattr(Compute, name)

        def send(self_: Compute, uuid: str, *args: Any) -> Any:
            act(f'/servers/{uuid}/action')
            return really(self_, uuid, *args)

        self.useFixture(
            fixtures.MonkeyPatch(
                f'nova_recovery.cloud.api.compute.Compute.{name}', send
            )
        )

    def test_gateway_timeout(self) -> None:
        """Start and evacuation are found in nova's own records."""
        between = GatewayTimeoutProxy(self.practice.config.port('nova-api'))
        self.between(between)
        sent: list[str] = []

        def lose(path: str) -> None:
            sent.append(path)
            between.lose_next('POST', path)

        self.before_sending('start', lose)
        self.before_sending('evacuate', lose)
        evacuated, moved = self.server('evacuated'), self.server('moved')
        ended = self.done(*self.words(evacuated, moved), '--yes')
        self.assertEqual(2, len(sent), ended.stderr)
        posts = [path for method, path in between.requests if method == 'POST']
        # evacuate; lock, start, unlock
        self.assertEqual(1 + 3, len(posts))
        self.assert_recovered(evacuated, False, ('host2',))
        self.assert_recovered(moved, True, ('host2',))
        for one in (evacuated, moved):
            self.assertEqual(1, len(self.state.migrations(one.uuid)))

    def test_arrives_after_the_program_was_killed(self) -> None:
        """Held by a proxy, and carried out while the resume looks.

        Nova has no record of the start when the resume begins: only that
        it waits as long as a proxy may hold it keeps it from sending a
        second one.
        """
        moved = self.server('late')
        plan = self.plan(*self.words(moved))
        run_id = killing.create_run(
            f'sqlite:///{self.journal}', planfile.load(str(plan['file']))
        )
        # after the lock
        between = Holding(self.practice.config.port('nova-api'), 2)
        self.between(between)
        pid = world.start(lambda: killing.carry_out(self.conf_file, run_id, 1))
        self.assertTrue(between.holds.wait(60))
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(-signal.SIGKILL, world.ended(pid))
        asked = self.state.actions(moved.uuid)
        self.assertNotIn('start', asked)

        settled = SentOnce._settled
        found: list[Any] = []

        def arrives(self_: Any, *args: Any) -> Any:
            # It has looked once, and found nothing.
            between.let_go.set()
            found.append(settled(self_, *args))
            return found[-1]

        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.changes.once.SentOnce._settled', arrives
            )
        )
        self.done('run', 'resume', run_id, '--yes')
        self.assertEqual(1, len(found))
        self.assert_recovered(moved, True, ('host2',))
