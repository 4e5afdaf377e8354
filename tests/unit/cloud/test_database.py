# SPDX-License-Identifier: Apache-2.0

"""What of a database needs no server."""

from __future__ import annotations

import datetime

from oslo_db import exception as db_exception
import pymysql
import sqlalchemy as sa
from sqlalchemy import exc

from nova_recovery.cloud.db import cas, databases, db_errors, db_url, schema
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import Databases
from nova_recovery.exceptions import DatabaseUnavailable, NotFound
from tests.base import TestCase


class TestUrl(TestCase):
    def test_old_drivers_become_pymysql(self) -> None:
        for url in (
            'mysql://nova:s@db1/nova',
            'mysql+mysqldb://nova:s@db1/nova',
            'mysql+pymysql://nova:s@db1/nova',
        ):
            self.assertEqual('mysql+pymysql', db_url.parse(url).drivername)

    def test_an_encoded_password_is_decoded(self) -> None:
        parsed = db_url.parse('mysql+pymysql://nova:p%40s%2Fs@[fd00::1]/nova')
        self.assertEqual('p@s/s', str(parsed.password))
        self.assertEqual('fd00::1', parsed.host)

    def test_an_address_needs_no_resolver(self) -> None:
        for host in ('127.0.0.1', '[fd00::1]'):
            url = db_url.parse(f'mysql://nova:s@{host}/nova')
            self.assertIsNone(db_url.resolve(url, 0))


class TestRepr(TestCase):
    def test_the_password_is_masked(self) -> None:
        made = Database('c', 'mysql://nova:hunter2@db1:3306/nova')
        self.assertEqual(
            '<Database c mysql+pymysql://nova:***@db1:3306/nova>', repr(made)
        )
        self.assertEqual(('nova', 'nova'), (made.user, made.schema))

    def test_a_broken_url_is_not_shown(self) -> None:
        made = Database('c', 'hunter2')
        self.assertEqual('<Database c ***>', repr(made))
        self.assertIsNone(made.user)
        self.assertIsNone(made.schema)


class TestErrors(TestCase):
    def error(self, number: int, text: str) -> exc.OperationalError:
        return exc.OperationalError(
            'UPDATE x',
            {'a': 'hunter2'},
            pymysql.OperationalError(number, text),
        )

    def test_what_may_be_done_again(self) -> None:
        for number in (1213, 1205, 1020):
            self.assertTrue(db_errors.is_deadlock(self.error(number, '')))
            self.assertFalse(db_errors.is_lost(self.error(number, '')))
        self.assertTrue(db_errors.is_deadlock(db_exception.DBDeadlock()))

    def test_what_means_that_there_is_no_server(self) -> None:
        for number in (2003, 2006, 2013, 1047, 1927, 1053):
            self.assertTrue(db_errors.is_lost(self.error(number, '')))
            self.assertFalse(db_errors.is_deadlock(self.error(number, '')))
        self.assertTrue(
            db_errors.is_lost(
                db_exception.DBConnectionError(
                    pymysql.OperationalError(2003, '')
                )
            )
        )

    def test_errors_of_the_work_itself(self) -> None:
        for error in (
            self.error(1406, 'Data too long'),
            ValueError(1213),
            exc.ArgumentError('x'),
        ):
            self.assertFalse(db_errors.is_outage(error))

    def test_no_user_no_host_no_value(self) -> None:
        for number, text in (
            (1045, "Access denied for user 'hunter2'@'hunter2'"),
            (1049, "Unknown database 'hunter2'"),
            (2003, "Can't connect to MySQL server on 'hunter2' (timed out)"),
            (1062, "Duplicate entry 'hunter2' for key 'PRIMARY'"),
        ):
            told = db_errors.describe(self.error(number, text))
            self.assertNotIn('hunter2', told)
            self.assertNotIn('\n', told)

    def test_a_wrapped_error_has_its_number(self) -> None:
        inner = self.error(1045, 'denied')
        self.assertEqual(1045, db_errors.code(db_exception.DBError(inner)))
        self.assertIsNone(db_errors.code(db_exception.DBError(None)))


class TestPyMySQL(TestCase):
    def test_the_time_out_that_is_changed_on_the_fly_is_there(self) -> None:
        connection = pymysql.Connection(
            host='127.0.0.1', read_timeout=7, defer_connect=True
        )
        self.assertEqual(7, connection._read_timeout)


class TestLive(TestCase):
    def condition(self, kind: sa.types.TypeEngine) -> str:
        table = sa.Table('t', sa.MetaData(), sa.Column('deleted', kind))
        return str(
            schema.live(table).compile(compile_kwargs={'literal_binds': True})
        )

    def test_by_the_type_of_the_column(self) -> None:
        self.assertEqual('t.deleted = 0', self.condition(sa.Integer()))
        self.assertEqual("t.deleted = '0'", self.condition(sa.String(36)))

    def test_a_table_that_deletes_for_good(self) -> None:
        table = sa.Table('t', sa.MetaData(), sa.Column('id', sa.Integer))
        self.assertIsInstance(schema.live(table), sa.sql.elements.True_)


class TestSame(TestCase):
    def test_values_of_different_releases(self) -> None:
        for seen, now in ((True, 1), (0, False), (None, None), ('a', 'a')):
            self.assertTrue(cas.same(seen, now))
        when = datetime.datetime(2026, 3, 1)
        self.assertTrue(cas.same(when, when))

    def test_what_differs(self) -> None:
        for seen, now in (
            ('a', 'A'),
            ('0', 0),
            (None, 0),
            (None, ''),
            (0, ''),
        ):
            self.assertFalse(cas.same(seen, now))


class TestDatabases(TestCase):
    def test_each_tells_the_unknown_from_the_known(self) -> None:
        def ask(asked: Database) -> str:
            if asked.name == 'b':
                raise DatabaseUnavailable('b', 'down')
            return asked.name.upper()

        answers = databases.each([Database(name, '') for name in 'abc'], ask)
        known, unknown = databases.divide(answers)
        self.assertEqual({'a': 'A', 'c': 'C'}, known)
        self.assertEqual(['b'], list(unknown))

    def test_no_cells_at_all(self) -> None:
        self.assertEqual({}, Databases(None, []).each_cell(str))

    def test_a_cell_that_does_not_exist(self) -> None:
        error = self.assertRaises(NotFound, Databases(None, []).cell, 'x')
        self.assertIn('x', str(error))
