# SPDX-License-Identifier: Apache-2.0

"""TLS of a MariaDB as its URL asks for it, and its socket."""

from __future__ import annotations

import pathlib

import fixtures

from nova_recovery.cloud.db.database import Database
from nova_recovery.exceptions import DatabaseUnavailable
from tests.base import TestCase
from tests.cloud.mariadb import MariaDB
from tests.integration import certificates, dbserver


class DatabaseTest(TestCase):
    """A MariaDB that has TLS, one that wants it, and one without."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.own = certificates.make(self.folder, 'own')
        self.other = certificates.make(self.folder, 'other')

    def with_tls(self) -> MariaDB:
        """A server of our own with TLS, where ``tls`` may not come without."""
        server = MariaDB(
            self.folder / 'db',
            options=(
                f'--ssl-cert={self.own["cert"]}',
                f'--ssl-key={self.own["key"]}',
            ),
        )
        self.addCleanup(server.stop, wipe=True)
        server.start()
        server.create_database('nova')
        return server

    def ask(self, server: MariaDB, query: str, database: str = 'nova') -> str:
        """Whether it is TLS, or why there is no answer, both ways."""
        url = server.url(database).partition('?')[0]
        made = Database('cell1', f'{url}?{query}')
        self.addCleanup(made.dispose)
        try:
            with made.reader() as connection:
                row = connection.exec_driver_sql(
                    "SHOW STATUS LIKE 'Ssl_cipher'"
                ).one()
            read = 'tls' if row[1] else 'clear'
        except DatabaseUnavailable as error:
            read = error.reason
        try:
            cipher = made.show("SHOW STATUS LIKE 'Ssl_cipher'")
            shown = 'tls' if cipher['ssl_cipher'] else 'clear'
        except DatabaseUnavailable as error:
            shown = error.reason
        self.assertEqual(read, shown)
        return read

    def test_tls_is_spoken_as_the_url_asks(self) -> None:
        server = self.with_tls()
        option_file = self.folder / 'my.cnf'
        option_file.write_text(f'[tripleo]\nssl=1\nssl-ca={self.own["cert"]}')
        for query in (
            f'ssl_ca={self.own["cert"]}',
            f'ssl_ca={self.own["cert"]}&ssl_mode=VERIFY_CA&plugin=dbcounter',
            'ssl=1',
            'ssl_mode=REQUIRED',
            f'read_default_file={option_file}&read_default_group=tripleo',
        ):
            self.assertEqual('tls', self.ask(server, query), query)
        # whose PyMySQL prefers TLS is no matter
        self.assertEqual('clear', self.ask(server, 'ssl_disabled=1'))

        other = self.ask(server, f'ssl_ca={self.other["cert"]}')
        self.assertIn('not of the authority', other)
        missing = self.ask(server, 'ssl_ca=/nowhere/ca')
        self.assertIn('/nowhere/ca can not be read', missing)

    def test_a_server_that_wants_tls(self) -> None:
        server = self.with_tls()
        server.sql(None, 'SET GLOBAL require_secure_transport = ON')
        self.assertEqual('tls', self.ask(server, 'ssl=1'))
        # MySQL says so with a number of its own, MariaDB with "denied"
        self.assertIn('TLS', self.ask(server, 'ssl_disabled=1'))

    def test_a_server_without_tls(self) -> None:
        server = dbserver.shared()
        server.create_database('nova')
        self.assertEqual('clear', self.ask(server, 'charset=utf8'))
        for query in ('ssl=1', f'ssl_ca={self.own["cert"]}'):
            self.assertIn(
                'its URL asks for TLS, and the server has none',
                self.ask(server, query),
            )

    def test_a_socket(self) -> None:
        server = dbserver.shared()
        server.create_database('nova')
        made = Database(
            'cell1',
            'mysql+pymysql://nova:practice@/nova?unix_socket='
            f'{server.data / "sock"}',
        )
        self.addCleanup(made.dispose)
        with made.reader() as connection:
            found = connection.exec_driver_sql('SELECT DATABASE()').scalar()
        self.assertEqual('nova', found)
        self.assertEqual((str(server.data / 'sock'), 3306), made.server)
