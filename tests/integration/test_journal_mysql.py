# SPDX-License-Identifier: Apache-2.0

"""The journal in MySQL: the same promises on a server that can go away."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import tempfile
import threading
from typing import Any

import pymysql
import pymysql.constants.ER
import sqlalchemy as sa

from nova_recovery.engine import states
from nova_recovery.engine.journal import Journal, models
from nova_recovery.engine.journal.lease import Holder
from nova_recovery.engine.plan import LeftOut
from nova_recovery.exceptions import JournalError, JournalNewer, RunLocked
from tests.base import TestCase
from tests.integration import dbserver
from tests.unit.engine import world
from tests.unit.engine.world import Set, Site, World


class MySQLSite(Site):
    """A site whose journal is in the shared server."""

    def __post_init__(self) -> None:
        self.world = World(self.directory / 'world')
        self.url = dbserver.shared().url('journal')


class JournalTestCase(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = dbserver.shared()
        # the server of the tests is fast, not durable
        self.durable(1)
        self.addCleanup(self.durable, 0)
        self.server.sql(None, 'DROP DATABASE IF EXISTS journal')
        self.server.create_database('journal')
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.site = MySQLSite(pathlib.Path(directory.name))

    def durable(self, value: int) -> None:
        self.server.sql(
            None, f'SET GLOBAL innodb_flush_log_at_trx_commit={value}'
        )

    def sql(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        return self.server.sql('journal', statement, values)


class TestPlace(JournalTestCase):
    def test_a_server_that_may_forget_is_refused(self) -> None:
        self.durable(2)
        error = self.assertRaises(JournalError, Journal.open, self.site.url)
        self.assertIn('innodb_flush_log_at_trx_commit=2', str(error))
        self.assertNotIn('practice', str(error))
        self.assertEqual([], self.sql('SHOW TABLES'))

    def test_a_newer_one_is_refused_naming_both_versions(self) -> None:
        Journal.open(self.site.url).close()
        self.sql("UPDATE alembic_version SET version_num='0099'")
        error = self.assertRaises(JournalNewer, Journal.open, self.site.url)
        self.assertIn('0099', str(error))
        self.assertIn(models.HEAD, str(error))

    def test_what_a_server_says_is_told_with_what_to_do(self) -> None:
        Journal.open(self.site.url).close()
        self.sql("CREATE USER 'diarist'@'127.0.0.1' IDENTIFIED BY 'practice'")
        self.addCleanup(self.sql, "DROP USER 'diarist'@'127.0.0.1'")
        user = sa.engine.make_url(self.site.url)
        for place, told in (
            (
                user.set(password='practise'),
                'refuses the user or the password',
            ),
            (user.set(database='diary'), 'CREATE DATABASE'),
            (user.set(username='diarist'), 'GRANT ALL'),
            (user.set(port=1), 'start it'),
        ):
            url = place.render_as_string(hide_password=False)
            error = self.assertRaises(JournalError, Journal.open, url)
            self.assertIn(told, str(error))
            self.assertNotIn('pymysql.err', str(error))


class TestRun(JournalTestCase):
    def test_a_run_its_failure_its_resume_and_its_undo(self) -> None:
        run_id = self.site.create(
            world.plan_of(
                [
                    world.set_item(f's:{n}', follows=('h:ü',))
                    for n in range(50)
                ],
                [world.set_item('s:0', 'up', from_='new')],
            )
        )
        self.site.world.add(set='s:0', to='odd')
        outcome = self.site.run(run_id)
        self.assertEqual(
            {'done': 49, 'conflict': 1, 'blocked': 1}, outcome.counts
        )
        self.site.world.add(set='s:0', to='old')
        self.assertEqual({'done': 51}, self.site.run(run_id).counts)
        images = {
            json.dumps(item.image) for item in self.site.items(run_id).values()
        }
        self.assertEqual({'{"value": "old"}', '{"value": "new"}'}, images)
        self.assertEqual({'reverted': 51}, self.site.undo(run_id).counts)

    def test_the_wide_columns_are_wide(self) -> None:
        large = {'text': '\N{SNOWMAN}\N{PILE OF POO}' * 100_000}
        item = dataclasses.replace(world.set_item('s:1'), data=large)
        plan = dataclasses.replace(
            world.plan_of([item]),
            left_out=(LeftOut('s:2', '', 'x' * 200_000),),
        )
        run_id = self.site.create(plan)
        self.assertEqual(plan, Journal.open(self.site.url).plan(run_id))

    def test_it_moves_to_sqlite_and_back(self) -> None:
        run_id = self.site.create(world.plan_of([world.set_item('s:1')]))
        self.site.run(run_id)
        there = Journal.open(f'sqlite:///{self.site.directory}/j')
        here = Journal.open(self.site.url)
        here.export(run_id, self.site.directory / 'a')
        there.import_(self.site.directory / 'a')
        there.export(run_id, self.site.directory / 'b')
        for table in ('runs', 'items', 'events'):
            self.sql(f'DELETE FROM {table}')
        here.import_(self.site.directory / 'b')
        self.assertEqual(here.run(run_id), there.run(run_id))
        self.assertEqual(here.plan(run_id), there.plan(run_id))
        self.assertEqual(list(here.items(run_id)), list(there.items(run_id)))
        self.assertRaises(
            JournalError,
            here.import_, self.site.directory / 'b',
        )  # fmt: skip


class TestLost(JournalTestCase):
    def test_connections_that_are_cut_are_made_again(self) -> None:
        run_id = self.site.create(
            world.plan_of(
                [world.set_item(f's:{n}', kind='scripted') for n in range(60)]
            )
        )

        def apply(at: Any) -> str:
            if at.item.subject in ('s:10', 's:30', 's:50'):
                self.cut()
            return Set().apply(at)

        self.site.scripted.script['apply'] = apply
        self.assertEqual({'done': 60}, self.site.run(run_id).counts)

    def cut(self) -> None:
        for row in self.sql(
            'SELECT id FROM information_schema.processlist'
            " WHERE user='nova' AND db='journal'"
        ):
            try:
                self.sql('KILL %s', row['id'])
            except pymysql.err.OperationalError as error:
                # it ended by itself in the meantime
                if error.args[0] != pymysql.constants.ER.NO_SUCH_THREAD:
                    raise

    def test_two_controllers_one_run(self) -> None:
        run_id = self.site.create(world.plan_of([world.set_item('s:1')]))
        first, second = (Journal.open(self.site.url) for _ in range(2))
        elsewhere = dataclasses.replace(
            Holder.mine(), machine='ctl2', where='elsewhere'
        )

        def lose() -> None:
            with first.carrying_out(run_id) as writer:
                self.sql('UPDATE runs SET holder=%s', elsewhere.to_column())
                self.assertRaises(
                    RunLocked, second.carrying_out(run_id).__enter__
                )
                # who lost it can write no intent any more
                writer.write(0, state=states.INTENT)

        self.assertRaises(RunLocked, lose)
        self.assertEqual(
            [states.PENDING], [item.state for item in second.items(run_id)]
        )
        self.sql('UPDATE runs SET heard=heard-100')
        with second.carrying_out(run_id) as writer:
            writer.write(0, state=states.INTENT)

    def test_only_one_of_many_gets_the_run(self) -> None:
        run_id = self.site.create(world.plan_of([world.set_item('s:1')]))
        journals = [Journal.open(self.site.url) for _ in range(4)]
        ready, over = threading.Barrier(4), threading.Barrier(4)
        got: list[str] = []

        def take(journal: Journal) -> None:
            ready.wait(30)
            try:
                with journal.carrying_out(run_id):
                    got.append('taken')
                    over.wait(30)
            except RunLocked:
                got.append('refused')
                over.wait(30)

        threads = [
            threading.Thread(target=take, args=(journal,))
            for journal in journals
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(
            ['refused', 'refused', 'refused', 'taken'], sorted(got)
        )
