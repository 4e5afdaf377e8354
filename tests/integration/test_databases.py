# SPDX-License-Identifier: Apache-2.0

"""Transactions, outages and cells on a real MariaDB."""

from __future__ import annotations

import datetime
import os
import signal
import socket
import tempfile
import threading
import time
import traceback
from typing import Any
from unittest import mock

import pymysql
import sqlalchemy as sa

from nova_recovery import conf
from nova_recovery.cloud import clock, settings
from nova_recovery.cloud.db import (
    cas,
    cells,
    database,
    databases,
    grants,
    servers,
    services,
)
from nova_recovery.cloud.db.cells import Cell
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import CellDatabase, Databases
from nova_recovery.cloud.records import Server
from nova_recovery.cloud.settings import CinderSettings
from nova_recovery.exceptions import (
    Ambiguous,
    ConfigError,
    Conflict,
    DatabaseUnavailable,
    NotFound,
    OutcomeUnknown,
    RecoveryError,
    SchemaUnknown,
)
from nova_recovery.procedures import check_config
from tests.base import TestCase
from tests.cloud.mariadb import MariaDB
from tests.cloud.proxy import SplitProxy
from tests.integration import dbserver
from tests.integration.dbserver import Rows

WEB = '3f57699a-e773-4650-a443-b4b37eed5a06'
MAIL = '6c1d5f57-f4a5-4b38-a6a9-8ed1d7d5bd36'
CELL1 = '11111111-1111-4111-8111-111111111111'
CELL2 = '22222222-2222-4222-8222-222222222222'

#: Seconds: half of what an answer may take (30) on a machine that is busy
#: with other tests. A frozen server takes 4.5 where nothing else runs.
SOON = 15


class DatabaseTestCase(TestCase):
    """One cell, with one server of np-rcc4."""

    def setUp(self) -> None:
        super().setUp()
        self.server = dbserver.shared()
        for name in ('nova', 'nova2', 'nova_api'):
            self.server.sql(None, f'DROP DATABASE IF EXISTS `{name}`')
            self.server.create_database(name)
        self.make_cell('nova')
        rows = Rows('nova')
        rows.add_server(WEB, 'np-rcc4', 'web', id=10)
        rows.close()
        self.cell = self.open('cell1', 'nova')

    def make_cell(self, name: str) -> None:
        # the tables that are used here, without the other hundred
        for table in ('instances', 'services', 'compute_nodes'):
            self.server.sql(
                name, f'CREATE TABLE {table} LIKE {self.template()}.{table}'
            )
        self.server.sql(
            name,
            'CREATE TABLE block_device_mapping LIKE'
            f' {self.template()}.block_device_mapping',
        )

    @staticmethod
    def template() -> str:
        name = 'template_nova34'
        server = dbserver.shared()
        if not server.sql(None, f"SHOW DATABASES LIKE '{name}'"):
            dbserver.load(name, 'nova34-nova')
            dbserver.load(name + '_api', 'nova34-nova_api')
        return name

    def open(
        self, name: str, schema: str, user: str = 'nova', **options: Any
    ) -> Database:
        made = Database(name, self.server.url(schema, user), **options)
        self.addCleanup(made.dispose)
        return made

    def progress(self) -> int:
        (row,) = self.server.sql(
            'nova', 'SELECT progress FROM instances WHERE uuid = %s', [WEB]
        )
        return row['progress']

    def set_progress(self, connection: Any, value: int) -> None:
        table = self.cell.tables['instances']
        connection.execute(
            sa.update(table).where(table.c.uuid == WEB).values(progress=value)
        )


class TestReading(DatabaseTestCase):
    def test_everything_is_read_of_one_moment(self) -> None:
        table = self.cell.tables['instances']
        query = sa.select(sa.func.count()).select_from(table)
        with self.cell.reader() as connection:
            rows = Rows('nova')
            rows.add_server(MAIL, 'np-rcc4', 'mail')
            rows.close()
            self.assertEqual(1, connection.execute(query).scalar())
        with self.cell.reader() as connection:
            self.assertEqual(2, connection.execute(query).scalar())

    def write_in_reader(self, cell: Database) -> None:
        with cell.reader() as connection:
            self.set_progress(connection, 1)

    def test_the_server_itself_refuses_a_write(self) -> None:
        looking = Database('cell1', self.server.url('nova'), looking=True)
        self.addCleanup(looking.dispose)
        refused = self.assertRaises(
            DatabaseUnavailable, self.write_in_reader, looking
        )
        self.assertIn('read-only', str(refused))

    def test_what_is_written_by_mistake_does_not_stay(self) -> None:
        self.write_in_reader(self.cell)
        with self.cell.reader() as connection:
            table = self.cell.tables['instances']
            (row,) = connection.execute(sa.select(table.c.progress))
        self.assertNotEqual(1, row[0])

    def test_a_table_without_the_right_to_read_it_is_not_missing(self) -> None:
        self.server.sql(
            None, "CREATE OR REPLACE USER blind@'%' IDENTIFIED BY 'x'"
        )
        self.server.sql(None, "GRANT SELECT ON nova.services TO blind@'%'")
        blind = Database(
            'cell1',
            f'mysql+pymysql://blind:x@127.0.0.1:{self.server.port}/nova',
        )
        self.addCleanup(blind.dispose)
        self.assertTrue(blind.tables.has('services', 'host'))
        self.assertRaises(DatabaseUnavailable, blind.tables.has, 'instances')

    def test_a_table_that_is_not_there(self) -> None:
        self.assertFalse(self.cell.tables.has('share_mapping'))
        self.assertRaises(
            SchemaUnknown, self.cell.tables.__getitem__, 'share_mapping'
        )


class TestWriting(DatabaseTestCase):
    def test_a_deadlock_repeats_the_whole_transaction(self) -> None:
        rows = Rows('nova')
        rows.add_server(MAIL, 'np-rcc4', 'mail', id=11)
        # the transaction that changed less is the one undone: ours
        for number in range(30):
            rows.add_server(
                f'00000000-0000-4000-8000-{number:012}', 'other', f's{number}'
            )
        rows.close()
        rival = self.server.connect('nova')
        self.addCleanup(rival.close)
        rival.begin()
        cursor = rival.cursor()
        # by primary key, so that no other rows are locked
        cursor.execute('UPDATE instances SET progress = 2 WHERE id > 11')
        cursor.execute('UPDATE instances SET progress = 2 WHERE id = 11')
        calls = []

        def ours(connection: Any) -> str:
            calls.append(1)
            self.set_progress(connection, 1)
            if len(calls) == 1:
                threads.append(threading.Thread(target=theirs))
                threads[0].start()
            table = self.cell.tables['instances']
            connection.execute(
                sa.update(table).where(table.c.id == 11).values(progress=1)
            )
            return 'done'

        def theirs() -> None:
            cursor.execute('UPDATE instances SET progress = 2 WHERE id = 10')
            rival.commit()

        threads: list[threading.Thread] = []
        self.assertEqual('done', self.cell.write(ours))
        threads[0].join(10)
        self.assertEqual(2, len(calls))
        self.assertEqual(1, self.progress())

    def test_a_lock_that_is_not_given_up(self) -> None:
        rival = self.server.connect('nova')
        self.addCleanup(rival.close)
        rival.begin()
        rival.cursor().execute('UPDATE instances SET progress = 2')
        with (
            mock.patch.object(database, 'LOCK_WAIT', 1),
            mock.patch.object(database, 'ATTEMPTS', 2),
        ):
            error = self.assertRaises(
                DatabaseUnavailable,
                self.cell.write,
                lambda connection: self.set_progress(connection, 1),
            )
        self.assertIn('(1205): SHOW PROCESSLIST', str(error))
        self.assertIn('nothing was changed', str(error))
        rival.rollback()
        self.assertEqual(0, self.progress() or 0)

    def test_a_connection_lost_before_commit_repeats_everything(self) -> None:
        calls = []

        def work(connection: Any) -> int:
            calls.append(1)
            self.set_progress(connection, len(calls))
            if len(calls) == 1:
                self.kill(connection)
            connection.exec_driver_sql('SELECT 1')
            return len(calls)

        self.assertEqual(2, self.cell.write(work))
        self.assertEqual(2, self.progress())

    def test_a_connection_lost_at_commit_is_not_repeated(self) -> None:
        calls = []

        def work(connection: Any) -> None:
            calls.append(1)
            self.set_progress(connection, 7)
            self.kill(connection)

        error = self.assertRaises(OutcomeUnknown, self.cell.write, work)
        self.assertIn('cell1', str(error))
        self.assertEqual(1, len(calls))
        # here it did not arrive, but only looking can tell
        self.assertEqual(0, self.progress() or 0)

    def test_a_commit_whose_answer_is_lost_is_not_repeated(self) -> None:
        commit = pymysql.connections.Connection.commit

        def committed_but_unheard(connection: Any) -> None:
            commit(connection)
            raise pymysql.err.OperationalError(2013, 'Lost connection')

        with mock.patch.object(
            pymysql.connections.Connection, 'commit', committed_but_unheard
        ):
            self.assertRaises(
                OutcomeUnknown,
                self.cell.write,
                lambda connection: self.set_progress(connection, 7),
            )
        self.assertEqual(7, self.progress())

    def test_a_conflict_at_commit_repeats_the_whole_transaction(self) -> None:
        # Galera certifies at COMMIT: 1213, and nothing was committed
        calls = []
        commit = pymysql.connections.Connection.commit

        def certified(connection: Any) -> None:
            if len(calls) == 1:
                connection.rollback()
                raise pymysql.err.OperationalError(
                    1213,
                    'Deadlock found when trying to get lock; '
                    'try restarting transaction',
                )
            commit(connection)

        def work(connection: Any) -> None:
            calls.append(1)
            self.set_progress(connection, len(calls))

        with mock.patch.object(
            pymysql.connections.Connection, 'commit', certified
        ):
            self.cell.write(work)
        self.assertEqual(2, len(calls))
        self.assertEqual(2, self.progress())

    def test_an_error_of_the_work_undoes_it(self) -> None:
        def work(connection: Any) -> None:
            self.set_progress(connection, 7)
            raise Conflict('somebody was faster')

        self.assertRaises(Conflict, self.cell.write, work)
        self.assertEqual(0, self.progress() or 0)

    def test_an_error_shows_no_values(self) -> None:
        def work(connection: Any) -> None:
            table = self.cell.tables['instances']
            connection.execute(
                sa.update(table).values(user_id='chap-secret' * 100)
            )

        error = self.assertRaises(RecoveryError, self.cell.write, work)
        told = ''.join(traceback.format_exception(error))
        self.assertIn('cell1', told)
        self.assertIn('1406', told)
        self.assertNotIn('chap-secret', told)

    def test_a_row_that_is_there_already_is_a_conflict(self) -> None:
        table = self.cell.tables['instances']
        self.assertRaises(
            Conflict,
            self.cell.write,
            lambda connection: connection.execute(
                sa.insert(table).values(uuid=WEB, deleted=0)
            ),
        )

    def kill(self, connection: Any) -> None:
        number = connection.exec_driver_sql('SELECT CONNECTION_ID()').scalar()
        self.server.sql(None, f'KILL {number}')


class TestCompareAndSet(DatabaseTestCase):
    def update(self, seen: dict[str, Any]) -> Any:
        table = self.cell.tables['instances']
        return self.cell.write(
            lambda connection: cas.update_one(
                connection,
                table,
                {'uuid': WEB},
                seen,
                {'host': 'np-rcc46', 'node': 'np-rcc46'},
            )
        )

    def test_the_row_as_it_was_comes_back(self) -> None:
        before = self.update(
            {'host': 'np-rcc4', 'task_state': None, 'deleted': 0}
        )
        self.assertEqual(('np-rcc4', 10), (before['host'], before['id']))
        (now,) = self.server.sql('nova', 'SELECT host, node FROM instances')
        self.assertEqual({'host': 'np-rcc46', 'node': 'np-rcc46'}, now)

    def test_what_changed_is_told(self) -> None:
        conflict = self.assertRaises(
            Conflict,
            self.update,
            {'host': 'np-rcc4', 'task_state': 'rebuilding', 'locked': True},
        )
        self.assertEqual(
            {'task_state': ('rebuilding', None), 'locked': (True, 0)},
            conflict.differences,
        )
        self.assertEqual(
            [{'host': 'np-rcc4'}],
            self.server.sql('nova', 'SELECT host FROM instances'),
        )

    def test_the_case_of_a_host_matters(self) -> None:
        self.assertRaises(Conflict, self.update, {'host': 'NP-RCC4'})

    def test_a_row_that_is_gone(self) -> None:
        self.server.sql('nova', 'DELETE FROM instances')
        conflict = self.assertRaises(Conflict, self.update, {})
        self.assertIn(WEB, str(conflict))

    def test_a_value_that_is_there_already_counts_as_set(self) -> None:
        self.update({'host': 'np-rcc4'})
        self.update({'host': 'np-rcc46'})


class TestOutages(TestCase):
    """A server of its own, since it is stopped and frozen."""

    server: MariaDB

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = MariaDB(tempfile.mkdtemp(prefix='outage-'))
        cls.addClassCleanup(cls.server.stop, wipe=True)

    def setUp(self) -> None:
        super().setUp()
        # a test may have killed it
        self.server.start()
        self.server.create_database('nova')
        self.database = self.open(self.server.url('nova'))

    def open(self, url: str) -> Database:
        made = Database('cell1', url)
        self.addCleanup(made.dispose)
        return made

    def ask(self, asked: Database) -> Any:
        with asked.reader() as connection:
            return connection.exec_driver_sql('SELECT DATABASE()').scalar()

    def assertUnknownSoon(self, asked: Database, reason: str = '') -> None:
        started = time.monotonic()
        error = self.assertRaises(DatabaseUnavailable, self.ask, asked)
        self.assertLess(time.monotonic() - started, SOON)
        self.assertEqual('cell1', error.name)
        self.assertIn(reason, error.reason)
        self.assertNotIn('practice', str(error))
        self.assertNotIn('\n', str(error))

    def test_a_server_that_was_killed(self) -> None:
        self.assertEqual('nova', self.ask(self.database))
        self.server.daemon.kill()
        self.assertUnknownSoon(self.database)
        self.assertUnknownSoon(self.open(self.server.url('nova')), 'start it')

    def test_it_is_used_again_when_it_is_back(self) -> None:
        self.ask(self.database)
        self.server.daemon.kill()
        self.assertUnknownSoon(self.database)
        self.server.start()
        with mock.patch.object(database, 'DOWN_FOR', 0):
            self.assertEqual('nova', self.ask(self.database))

    def test_a_frozen_server(self) -> None:
        self.ask(self.database)
        pid = self.server.daemon.pid()
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(os.kill, pid, signal.SIGCONT)
        self.assertUnknownSoon(self.database)
        self.assertUnknownSoon(self.open(self.server.url('nova')))

    def test_a_dead_server_is_not_asked_again_at_once(self) -> None:
        pid = self.server.daemon.pid()
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(os.kill, pid, signal.SIGCONT)
        self.assertUnknownSoon(self.database)
        started = time.monotonic()
        self.assertUnknownSoon(self.database)
        # asked, it would hold us for as long as a connection may take: 3 s
        self.assertLess(time.monotonic() - started, 2)

    def test_an_address_that_answers_nothing(self) -> None:
        # a full backlog: the kernel drops further SYNs
        with socket.socket() as listener:
            listener.bind(('127.0.0.1', 0))
            listener.listen(0)
            port = listener.getsockname()[1]
            waiting = [socket.socket() for _ in range(4)]
            for client in waiting:
                self.addCleanup(client.close)
                client.setblocking(False)
                client.connect_ex(('127.0.0.1', port))
            self.assertUnknownSoon(
                self.open(f'mysql+pymysql://n:practice@127.0.0.1:{port}/nova'),
                'in time: look at',
            )

    def test_a_resolver_that_does_not_answer(self) -> None:
        released = threading.Event()
        self.addCleanup(released.set)
        with mock.patch.object(
            socket, 'getaddrinfo', lambda *unused: released.wait(30)
        ):
            self.assertUnknownSoon(
                self.open('mysql+pymysql://nova:practice@db1.example/nova'),
                'resolved',
            )

    def test_a_wrong_password(self) -> None:
        url = self.server.url('nova').replace(':practice@', ':practise@')
        self.assertUnknownSoon(self.open(url), 'password')

    def test_a_database_that_does_not_exist(self) -> None:
        self.assertUnknownSoon(
            self.open(self.server.url('nowa')), 'look at the URL'
        )

    def test_a_url_that_is_none(self) -> None:
        for url, reason in (
            ('practice', 'can not be read'),
            ('mysql+pymysql://nova:practice@{hostname}:{port}/x', 'template'),
            ('mysql+pymysql://nova:practice@db1:None/nova', 'no port'),
            ('postgresql://nova:practice@db1/nova', 'postgresql'),
            ('mysql+pymysql://nova:practice@db1', 'no database'),
            ('mysql+pymysql:///nova', 'no server'),
        ):
            self.assertUnknownSoon(self.open(url), reason)


class TestCells(DatabaseTestCase):
    """Two cells, found through cell_mappings."""

    def setUp(self) -> None:
        super().setUp()
        self.make_cell('nova2')
        for table in (
            'cell_mappings',
            'host_mappings',
            'instance_mappings',
            'request_specs',
        ):
            self.server.sql(
                'nova_api',
                f'CREATE TABLE {table} LIKE {self.template()}_api.{table}',
            )
        self.api_rows = Rows('nova_api')
        self.addCleanup(self.api_rows.close)
        self.map(1, cells.CELL0, 'cell0', 'mysql+pymysql://{bad}/cell0')
        # kolla: nova-api's own [database] is cell0
        self.template_url = (
            '{scheme}://{username}:{password}@{hostname}:{port}/nova?{query}'
        )
        self.map(2, CELL1, 'cell1', self.template_url)
        self.map(3, CELL2, 'cell2', self.server.url('nova2'))
        rows = Rows('nova2')
        rows.add_server(MAIL, 'np-rcc46', 'mail', id=10)
        rows.close()
        for number, uuid, cell in ((1, WEB, 2), (2, MAIL, 3)):
            self.api_rows.add(
                'instance_mappings',
                id=number,
                instance_uuid=uuid,
                cell_id=cell,
                project_id='demo',
            )
        self.api_rows.add('host_mappings', host='np-rcc4', cell_id=2)

    def map(self, number: int, uuid: str, name: str, url: str) -> None:
        self.api_rows.add(
            'cell_mappings',
            id=number,
            uuid=uuid,
            name=name,
            database_connection=url,
            transport_url='none:///',
            disabled=0,
        )

    def connect(self, text: str = '') -> Databases:
        nova_conf = self.create_tempfiles(
            [
                (
                    'nova',
                    text
                    or '[database]\nconnection = '
                    + self.server.url('nova_cell0')
                    + '\n[api_database]\nconnection = '
                    + self.server.url('nova_api'),
                )
            ]
        )[0]
        found = databases.connect(
            conf.load([]),
            settings.read_nova([nova_conf]),
            CinderSettings((), None),
        )
        self.addCleanup(found.dispose)
        return found

    def test_every_cell_but_cell0(self) -> None:
        found = self.connect()
        self.assertEqual(
            ['cell1', 'cell2'], [known.cell.name for known in found.cells]
        )
        listed, unknown = servers.list_servers(found)
        self.assertEqual({}, unknown)
        self.assertEqual(
            {(WEB, 'cell1'), (MAIL, 'cell2')},
            {(one.uuid, one.cell) for one in listed},
        )
        self.assertNotIn('practice', repr([c.cell for c in found.cells]))
        self.assertNotIn('practice', repr([c.database for c in found.cells]))

    def test_the_same_id_in_two_cells_is_ambiguous(self) -> None:
        found = self.connect()
        error = self.assertRaises(
            Ambiguous, servers.find, found, 'instance-0000000a'
        )
        self.assertEqual(2, len(error.candidates))
        self.assertIn(WEB, str(error))
        self.assertIn('cell2', str(error))

    def test_a_cell_that_is_down_is_unknown_not_empty(self) -> None:
        self.break_cell2()
        found = self.connect()
        started = time.monotonic()
        listed, unknown = servers.list_servers(found)
        self.assertLess(time.monotonic() - started, SOON)
        self.assertEqual([WEB], [one.uuid for one in listed])
        self.assertEqual(['cell2'], list(unknown))
        # 'web' may exist in cell2 as well
        for name in ('web', 'nobody', MAIL):
            self.assertRaises(DatabaseUnavailable, servers.find, found, name)
        # a UUID is mapped to its cell, and that one is up
        self.assertEqual('cell1', servers.find(found, WEB).cell)
        other = servers.server({'uuid': MAIL, 'id': 1}, 'cell2', Server)
        self.assertRaises(
            DatabaseUnavailable, servers.facts, found, [*listed, other]
        )

    def break_cell2(self) -> None:
        self.server.sql(
            'nova_api',
            'UPDATE cell_mappings SET database_connection = %s WHERE id = 3',
            ['mysql+pymysql://nova:practice@127.0.0.1:1/nova2'],
        )

    def test_a_broken_mapping_hides_no_other_cell(self) -> None:
        self.server.sql(
            'nova_api',
            "UPDATE cell_mappings SET database_connection = '{huh}' "
            'WHERE id = 3',
        )
        listed, unknown = servers.list_servers(self.connect())
        self.assertEqual([WEB], [one.uuid for one in listed])
        self.assertIn('template', unknown['cell2'].reason)

    def test_disabled_cells_are_named_where_nothing_is_found(self) -> None:
        self.server.sql(
            'nova_api', 'UPDATE cell_mappings SET disabled = 1 WHERE id = 3'
        )
        found = self.connect()
        self.assertEqual(['cell1'], [c.cell.name for c in found.cells])
        for name in ('mail', MAIL):
            error = self.assertRaises(NotFound, servers.find, found, name)
            self.assertIn('disabled', str(error))

    def test_two_cells_of_one_name_stay_two(self) -> None:
        self.server.sql('nova_api', "UPDATE cell_mappings SET name = 'c'")
        found = self.connect()
        self.assertEqual(
            ['c-11111111', 'c-22222222'], [c.cell.name for c in found.cells]
        )
        self.assertEqual(2, len(servers.list_servers(found)[0]))

    def test_a_server_that_was_never_scheduled(self) -> None:
        uuid = '99999999-e773-4650-a443-b4b37eed5a06'
        self.api_rows.add(
            'instance_mappings',
            instance_uuid=uuid,
            cell_id=1,
            project_id='demo',
        )
        error = self.assertRaises(NotFound, servers.find, self.connect(), uuid)
        self.assertIn('cell0', str(error))

    def test_a_resize_to_another_cell_has_one_server(self) -> None:
        rows = Rows('nova2')
        rows.add_server(WEB, 'np-rcc46', 'web', hidden=1)
        rows.close()
        self.assertEqual('cell1', servers.find(self.connect(), 'web').cell)

    def test_the_cell_of_a_host(self) -> None:
        found = self.connect()
        self.assertEqual('cell1', services.host_mapping(found, 'np-rcc4'))
        for host in ('np-rcc46', 'NP-RCC4', 'np-rcc'):
            self.assertRaises(NotFound, services.host_mapping, found, host)

    def test_the_api_database_is_down(self) -> None:
        error = self.assertRaises(
            DatabaseUnavailable,
            self.connect,
            '[api_database]\n'
            'connection = mysql+pymysql://nova:practice@127.0.0.1:1/nova_api',
        )
        self.assertEqual('API', error.name)

    def test_one_cell_of_several_is_refused(self) -> None:
        # kolla's nova-conductor of a cell, or nova-api's without its
        # [api_database]: there may be other cells
        error = self.assertRaises(
            ConfigError,
            self.connect,
            '[database]\nconnection = ' + self.server.url('nova'),
        )
        self.assertIn('[cells] connection', str(error))
        self.assertNotIn('practice', str(error))

    def test_our_user_for_a_cell_that_nova_maps(self) -> None:
        name, other = self.cell_names()
        found = self.find_cells(
            f'connection = {name}={self.server.url("nova", "reader")}'
        )
        urls = {cell.name: cell.url for cell in found}
        self.assertIn('reader', urls[name])
        self.assertNotIn('reader', urls[other])

    def test_our_url_of_a_cell_that_nova_does_not_map_is_refused(self) -> None:
        error = self.assertRaises(
            ConfigError,
            self.find_cells,
            f'connection = c={self.server.url("nova")}',
        )
        self.assertIn('no cell named c', str(error))
        self.assertNotIn('practice', str(error))

    def cell_names(self) -> list[str]:
        return [cell.name for cell in self.find_cells('')][:2]

    def find_cells(self, ours: str) -> list[Cell]:
        path = self.create_tempfiles([('ours', f'[cells]\n{ours}\n')])[0]
        nova_conf = self.create_tempfiles([('nova', '')])[0]
        return databases.find_cells(
            conf.load([path]),
            settings.read_nova([nova_conf]),
            self.open('API', 'nova_api'),
        )

    def test_listed_cells(self) -> None:
        nova_conf = self.create_tempfiles(
            [('nova', '[DEFAULT]\ninstance_name_template = vm-%d\n')]
        )[0]
        ours = self.create_tempfiles(
            [
                (
                    'ours',
                    '[cells]\n'
                    f'connection = north={self.server.url("nova")}\n'
                    f'connection = south={self.server.url("nova2")}\n',
                )
            ]
        )[0]
        found = databases.connect(
            conf.load([ours]),
            settings.read_nova([nova_conf]),
            CinderSettings((), None),
        )
        self.addCleanup(found.dispose)
        self.assertEqual(
            {'north': 'vm-10', 'south': 'vm-10'},
            {
                one.cell: one.instance_name
                for one in servers.list_servers(found)[0]
            },
        )
        rows = Rows('nova2')
        rows.add(
            'services',
            host='np-rcc46',
            binary='nova-compute',
            deleted=0,
            report_count=1,
        )
        rows.close()
        self.assertEqual('south', services.host_mapping(found, 'np-rcc46'))
        self.assertRaises(NotFound, services.host_mapping, found, 'np-rcc4')


class TestOldCloud(DatabaseTestCase):
    def test_the_only_cell_of_a_cloud_without_cells(self) -> None:
        dbserver.load('essex', 'old-essex-nova')
        rows = Rows('essex')
        rows.add_server(WEB, 'np-rcc4', 'web')
        rows.close()
        nova_conf = self.create_tempfiles(
            [
                (
                    'nova',
                    '[DEFAULT]\nsql_connection = '
                    + self.server.url('essex').replace('+pymysql', ''),
                )
            ]
        )[0]
        found = databases.connect(
            conf.load([]),
            settings.read_nova([nova_conf]),
            CinderSettings((), None),
        )
        self.addCleanup(found.dispose)
        self.assertEqual('nova', servers.find(found, 'web').cell)


class TestSize(DatabaseTestCase):
    def test_few_queries_for_many_servers(self) -> None:
        connection = self.server.connect('nova')
        self.addCleanup(connection.close)
        with connection.cursor() as cursor:
            cursor.executemany(
                'INSERT INTO instances (uuid, host, node, deleted)'
                ' VALUES (%s, %s, %s, 0)',
                [
                    (f'00000000-0000-4000-8000-{n:012}', 'np-rcc46', 'n')
                    for n in range(2000)
                ],
            )
            cursor.executemany(
                'INSERT INTO block_device_mapping'
                ' (instance_uuid, deleted, device_name) VALUES (%s, 0, %s)',
                [
                    (f'00000000-0000-4000-8000-{n:012}', '/dev/vda')
                    for n in range(2000)
                ],
            )
        found = Databases(
            None, [CellDatabase(Cell('', 'cell1', ''), self.cell)]
        )
        listed, _unknown = servers.list_servers(found, 'np-rcc46')
        self.assertEqual(2000, len(listed))
        servers.facts(found, listed[:1])
        before = self.questions()
        facts = servers.facts(found, listed)
        self.assertLess(self.questions() - before, 60)
        self.assertEqual(2000, len(facts))
        self.assertTrue(all(len(one.devices) == 1 for one in facts.values()))

    def questions(self) -> int:
        (row,) = self.server.sql(None, "SHOW GLOBAL STATUS LIKE 'Questions'")
        return int(row['Value'])


class TestClocksAndGrants(DatabaseTestCase):
    def test_the_clock_of_a_database(self) -> None:
        now = clock.database_now(self.cell)
        self.assertEqual(datetime.timezone.utc, now.tzinfo)
        offset = clock.offset(lambda: clock.database_now(self.cell))
        self.assertLess(abs(offset), 2)

    def test_a_clock_that_is_an_hour_ahead(self) -> None:
        ahead = datetime.timedelta(hours=1)
        offset = clock.offset(lambda: clock.database_now(self.cell) + ahead)
        self.assertLess(abs(offset - 3600), 2)

    def test_planning_needs_select_only(self) -> None:
        self.assertEqual(
            ["GRANT SELECT ON `nova`.* TO 'recovery'@'10.0.0.%';"],
            grants.statements(
                self.cell, grants.CELL, 'recovery', '10.0.0.%', planning=True
            ),
        )

    def test_an_underscore_is_no_wildcard(self) -> None:
        (statement,) = grants.statements(
            self.open('API', 'nova_api'), grants.API, 'recovery', '%'
        )
        self.assertIn(r'`nova\_api`.*', statement)
        self.server.sql(None, "CREATE OR REPLACE USER recovery@'%'")
        self.server.sql(None, statement)

    def test_a_user_that_cannot_be_quoted(self) -> None:
        self.assertRaises(
            ValueError,
            grants.statements,
            self.cell,
            grants.CELL,
            "x' IDENTIFIED",
            '%',
        )


class TestReadWhereWritesGo(TestCase):
    """A primary, a replica that lags, and a proxy that splits reads."""

    primary: MariaDB
    replica: MariaDB

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        directory = tempfile.mkdtemp(prefix='nova-recovery-replica-')
        cls.replica = MariaDB(directory)
        cls.replica.start()
        cls.addClassCleanup(cls.replica.stop, wipe=True)
        cls.primary = dbserver.shared()
        for server in (cls.primary, cls.replica):
            for statement in (
                'CREATE OR REPLACE DATABASE split',
                'CREATE TABLE split.claims (id INT PRIMARY KEY)',
                'CREATE TABLE split.volumes (attach_status INT)',
                "CREATE OR REPLACE USER split@'%' IDENTIFIED BY ''",
                "GRANT ALL ON split.* TO split@'%'",
            ):
                server.sql(None, statement)
        cls.primary.sql('split', 'INSERT INTO claims VALUES (7)')

    def setUp(self) -> None:
        super().setUp()
        self.proxy = SplitProxy(self.primary.port, self.replica.port)
        self.addCleanup(self.proxy.close)

    def at(self, port: int, looking: bool = False) -> Database:
        made = Database(
            'cell1',
            f'mysql+pymysql://split@127.0.0.1:{port}/split',
            looking=looking,
        )
        self.addCleanup(made.dispose)
        return made

    def claims(self, one: Database) -> list[int]:
        with one.reader() as connection:
            return [
                row[0]
                for row in connection.exec_driver_sql('SELECT id FROM claims')
            ]

    def test_who_decides_reads_what_was_written(self) -> None:
        self.assertEqual([7], self.claims(self.at(self.proxy.port)))

    def test_who_looks_may_read_anywhere(self) -> None:
        looking = self.at(self.proxy.port, looking=True)
        self.assertEqual([], self.claims(looking))

    def test_what_a_write_reads_is_of_the_primary(self) -> None:
        one = self.at(self.proxy.port)
        self.assertEqual(
            7,
            one.write(
                lambda c: c.exec_driver_sql('SELECT id FROM claims').scalar()
            ),
        )

    def test_a_proxy_that_splits_is_told(self) -> None:
        self.assertTrue(self.at(self.proxy.port).splits())
        self.assertFalse(self.at(self.primary.port).splits())
        found = check_config.asked('cell c', self.at(self.proxy.port), {})
        self.assertEqual(check_config.WARNING, found.severity)
        self.assertIn('a proxy sends some reads', found.cause)

    def test_a_server_that_takes_no_writes_decides_nothing(self) -> None:
        self.replica.sql(None, 'SET GLOBAL read_only = 1')
        self.addCleanup(self.replica.sql, None, 'SET GLOBAL read_only = 0')
        one = self.at(self.replica.port)
        for ask in (
            lambda: self.claims(one),
            lambda: one.write(lambda c: c.exec_driver_sql('SELECT 1')),
        ):
            error = self.assertRaises(DatabaseUnavailable, ask)
            self.assertIn('read_only = 1', str(error))
        found = check_config.asked('cell c', one, {})
        self.assertEqual(check_config.UNKNOWN, found.severity)
        self.assertEqual([], self.claims(self.at(self.replica.port, True)))
