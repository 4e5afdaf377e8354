# SPDX-License-Identifier: Apache-2.0

"""Every form of a database URL that services accept, or one row of it."""

from __future__ import annotations

import pathlib
import socket
import threading

import fixtures
import hypothesis
from hypothesis import strategies
import pymysql
import sqlalchemy

from nova_recovery.cloud.db import db_errors, db_url
from nova_recovery.cloud.db.database import Database
from nova_recovery.exceptions import DatabaseUnavailable
from tests.base import TestCase


def query(url: str) -> dict[str, str]:
    """The options that PyMySQL is given for a URL."""
    return dict(db_url.parse(url).query)


class OptionFiles(TestCase):
    """A folder with a my.cnf."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)

    def write(self, text: str) -> str:
        """Write my.cnf; the option that names it."""
        path = self.folder / 'my.cnf'
        path.write_text(text)
        return f'read_default_file={path}'


class PasswordTest(TestCase):
    def test_a_bare_at_sign_is_of_the_password(self) -> None:
        # SQLAlchemy took it so up to 1.3
        for text, password in (
            ('p@ss', 'p@ss'),
            ('p@ss/w0rd', 'p@ss/w0rd'),
            ('p?s', 'p?s'),
            ('a@b?c@d', 'a@b?c@d'),
            ('p%40ss', 'p@ss'),
            ('p@s%2Fs', 'p@s/s'),
            ('a:b', 'a:b'),
        ):
            parsed = db_url.parse(f'mysql://nova:{text}@db1:3307/nova?x=1')
            self.assertEqual(
                (password, 'db1', 3307, 'nova'),
                (parsed.password, parsed.host, parsed.port, parsed.database),
            )

    def test_an_at_sign_of_an_option_is_not(self) -> None:
        parsed = db_url.parse('mysql://nova:s@db1/nova?ssl_ca=/a@b')
        self.assertEqual(('s', 'db1'), (parsed.password, parsed.host))
        self.assertEqual('/a@b', parsed.query['ssl_ca'])


class PlaceTest(OptionFiles):
    def test_a_socket_needs_no_host(self) -> None:
        path = '/run/mysqld/mysqld.sock'
        for url in (
            f'mysql+pymysql://nova:s@/nova?unix_socket={path}',
            f'mysql+pymysql:///nova?unix_socket={path}',
            f'mysql://nova:s@localhost/nova?unix_socket={path}',
        ):
            parsed = db_url.parse(url)
            self.assertEqual(path, parsed.query['unix_socket'])
            self.assertEqual((path, 3306), db_url.server(parsed))
            self.assertIsNone(db_url.resolve(parsed, 0))

    def test_a_socket_that_is_not_there_is_told(self) -> None:
        made = Database('c', 'mysql://n:s@/nova?unix_socket=/nowhere/sock')
        error = self.assertRaises(DatabaseUnavailable, made._open)
        self.assertIn('has no socket there', str(error))

    def test_a_member_is_asked_by_tcp(self) -> None:
        parsed = db_url.parse('mysql://n:s@/nova?unix_socket=/s&ssl_ca=/ca')
        member = db_url.at(parsed, 'db2', 3307)
        self.assertEqual(('db2', 3307), db_url.server(member))
        self.assertEqual({'ssl_ca': '/ca'}, dict(member.query))

    def test_an_option_file_tells_what_the_url_does_not(self) -> None:
        option = self.write(
            '!includedir /etc/my.cnf.d\n[client]\nuser = root\n'
            '[nova]\nhost = db1\nport = 3307\nuser = nova\n'
            'password = "s3 cret"\nssl_ca = /ca.pem\nquick\n'
        )
        url = f'mysql+pymysql:///nova?{option}&read_default_group=nova'
        parsed = db_url.parse(url)
        self.assertEqual(
            ('db1', 3307, 'nova', 's3 cret', 'nova'),
            (
                parsed.host,
                parsed.port,
                parsed.username,
                parsed.password,
                parsed.database,
            ),
        )
        self.assertEqual({'ssl_ca': '/ca.pem'}, dict(parsed.query))

    def test_what_the_url_tells_goes_before_the_file(self) -> None:
        option = self.write('[client]\nhost=db1\nuser=a\nssl-ca=/one\n')
        parsed = db_url.parse(f'mysql://b@db2/nova?ssl_ca=/two&{option}')
        self.assertEqual(('db2', 'b'), (parsed.host, parsed.username))
        self.assertEqual('/two', parsed.query['ssl_ca'])

    def test_tripleo_and_rhoso_ask_for_tls_in_the_file(self) -> None:
        option = self.write(
            '[tripleo]\nbind-address=203.0.113.7\nssl=1\n[client]\nssl\n'
        )
        for group in ('tripleo', 'client'):
            parsed = db_url.parse(
                f'mysql://n:s@db1/nova?{option}&read_default_group={group}'
            )
            self.assertTrue(db_url.wants_tls(parsed))
            # not an address of this machine
            self.assertNotIn('bind_address', parsed.query)

    def test_a_file_of_a_container_is_passed_over(self) -> None:
        # as PyMySQL does
        self.assertEqual(
            {}, query('mysql://n:s@db1/nova?read_default_file=/nowhere/my.cnf')
        )

    def test_unless_it_has_the_server(self) -> None:
        error = self.assertRaises(
            ValueError,
            db_url.parse,
            'mysql:///nova?read_default_file=/nowhere/my.cnf',
        )
        self.assertEqual(
            'its URL names no server; its option file /nowhere/my.cnf is not '
            'on this machine',
            str(error),
        )

    def test_a_broken_option_file_is_told_by_its_name_alone(self) -> None:
        for text in ('hunter2\n', '[client]\nport=hunter2\n', '[c\0\n=\n'):
            option = self.write(text)
            error = self.assertRaises(
                ValueError, db_url.parse, f'mysql://n:s@db1/nova?{option}'
            )
            self.assertIn('my.cnf', str(error))
            self.assertNotIn('hunter2', str(error))

    def test_a_directory_is_no_option_file(self) -> None:
        url = f'mysql://n:s@db1/nova?read_default_file={self.folder}'
        error = self.assertRaises(ValueError, db_url.parse, url)
        self.assertIn('Is a directory', str(error))

    def test_a_source_address_of_this_machine_is_kept(self) -> None:
        url = 'mysql://n:s@db1/nova?bind_address='
        self.assertEqual(
            {'bind_address': '127.0.0.1'}, query(f'{url}127.0.0.1')
        )
        self.assertEqual({}, query(f'{url}203.0.113.7'))

    def test_a_port_that_is_none(self) -> None:
        for port in ('0', '65536', '99999999999999999999', 'x'):
            self.assertRaises(
                ValueError, db_url.parse, f'mysql://n:s@db1:{port}/nova'
            )

    def test_a_name_that_is_none_is_told(self) -> None:
        for host in ('a' * 300, 'a\0b', '.', 'a..b', 'ß' * 80):
            parsed = sqlalchemy.engine.make_url('mysql+pymysql://h/nova')
            problem = db_url.resolve(parsed.set(host=host), 5)
            self.assertIn('can not be resolved', problem or '')


class OptionsTest(TestCase):
    def test_what_only_services_need_is_left_out(self) -> None:
        # devstack's plugin, MySQLdb's options, what would change how we
        # write
        for option in (
            'plugin=dbcounter',
            'plugin=a&plugin=b',
            'use_unicode=0',
            'autocommit=true',
            'client_flag=x',
            'compress=1',
            'named_pipe=1',
            'cursorclass=x',
            'conv=1',
            'max_retries=10',
            'charset=klingon',
            'charset=',
            'defer_connect=1',
            'sql_mode=ANSI',
            'passwd=x&db=y',
            'connect_timeout=hour',
        ):
            self.assertEqual({}, query(f'mysql://n:s@db1/nova?{option}'))

    def test_of_two_values_the_last_counts(self) -> None:
        self.assertEqual(
            {'charset': 'utf8mb4'},
            query('mysql://n:s@db1/nova?charset=utf8&charset=utf8mb4'),
        )

    def test_connection_parameters_are_appended(self) -> None:
        for url, parameters, expected in (
            ('mysql://h/n', 'charset=utf8', 'mysql://h/n?charset=utf8'),
            ('mysql://h/n?a=1', '&b=2', 'mysql://h/n?a=1&b=2'),
            ('mysql://h/n', '', 'mysql://h/n'),
            ('mysql://h/n', None, 'mysql://h/n'),
            ('', 'a=1', ''),
        ):
            self.assertEqual(expected, db_url.with_parameters(url, parameters))


class TlsTest(TestCase):
    def test_how_tls_is_asked_for(self) -> None:
        for option, expected in (
            ('ssl_ca=/ca', {'ssl_ca': '/ca'}),
            ('ssl=1', {'ssl_check_hostname': 'false'}),
            ('ssl=true&ssl_ca=/ca', {'ssl_ca': '/ca'}),
            ('ssl=0', {}),
            ('ssl_mode=REQUIRED', {'ssl_check_hostname': 'false'}),
            ('ssl_mode=preferred', {}),
            ('ssl_mode=DISABLED&ssl_ca=/ca', {'ssl_disabled': 'true'}),
            (
                'ssl_mode=VERIFY_CA&ssl_ca=/ca',
                {'ssl_ca': '/ca', 'ssl_check_hostname': 'false'},
            ),
            ('ssl_mode=VERIFY_IDENTITY&ssl_ca=/ca', {'ssl_ca': '/ca'}),
            ('ssl_mode=VERIFY_IDENTITY', {'ssl_verify_identity': 'true'}),
            ('ssl_disabled=true&ssl_ca=/ca', {'ssl_disabled': 'true'}),
            ('ssl_disabled=false&ssl_ca=/ca', {'ssl_ca': '/ca'}),
            (
                'ssl_ca=/ca&ssl_check_hostname=no',
                {'ssl_ca': '/ca', 'ssl_check_hostname': 'false'},
            ),
            # as text, "false" would be true to PyMySQL
            ('ssl_verify_cert=false', {}),
            ('ssl_verify_cert=1', {'ssl_verify_cert': 'true'}),
        ):
            url = f'mysql://n:s@db1/nova?{option}'
            self.assertEqual(expected, query(url), option)
            self.assertEqual(
                bool(set(expected) - {'ssl_disabled'}),
                db_url.wants_tls(db_url.parse(url)),
            )

    def test_a_file_of_a_container_is_told_by_its_name(self) -> None:
        made = Database('c', 'mysql://n:s@127.0.0.1/nova?ssl_ca=/nowhere/ca')
        for ask in (made._open, lambda: made.show('SHOW STATUS')):
            error = self.assertRaises(DatabaseUnavailable, ask)
            self.assertEqual(
                'database of c unavailable: its ssl_ca /nowhere/ca can not be '
                'read on this machine: No such file or directory. It may be '
                'in a container: copy it here, or name another file',
                str(error),
            )

    def test_a_file_that_is_no_certificate(self) -> None:
        made = Database('c', f'mysql://n:s@127.0.0.1/n?ssl_ca={__file__}')
        for ask in (made._open, lambda: made.show('SHOW STATUS')):
            error = self.assertRaises(DatabaseUnavailable, ask)
            self.assertIn("isn't what it should be", str(error))

    def test_what_cant_be_written_in_the_charset(self) -> None:
        made = Database('c', 'mysql://n:%E2%82%AC@127.0.0.1/n')
        for ask in (made._open, lambda: made.show('SHOW STATUS')):
            error = self.assertRaises(DatabaseUnavailable, ask)
            self.assertNotIn('\N{EURO SIGN}', str(error))

    def test_words_of_tls(self) -> None:
        for number in (2026, 3159):
            error = pymysql.err.OperationalError(number, '')
            self.assertIn('TLS', db_errors.describe(error))


#: What is put together to URLs: their parts, and what breaks them.
_PIECES = strategies.sampled_from(
    'mysql mysql+pymysql mariadb :// : / ? & = @ @@ # [ ] [::1] % %zz %00 '
    'nova hunter2 127.0.0.1 localhost , :1 :65536 :x ssl=1& ssl_mode=REQUIRED '
    'charset=utf8& plugin=x unix_socket=/nowhere& ssl_verify_cert=1& '
    'read_default_file=/dev/null& read_default_file=/proc/self/mem& '
    'read_default_group=client& ssl_ca=/nowhere& ssl_cert=/dev/null& '
    'ssl_key=/& ssl_cipher=none& bind_address=0.0.0.0& connect_timeout=x '
    '\0 \u0660 \u20ac {port}'.split(' ')
)


class FuzzTest(TestCase):
    @hypothesis.settings(
        max_examples=400, deadline=None, derandomize=True, database=None
    )
    @hypothesis.given(strategies.lists(_PIECES, max_size=14))
    def test_any_url_is_usable_or_told(self, pieces: list[str]) -> None:
        self.told(''.join(pieces))

    @hypothesis.settings(
        max_examples=60, deadline=None, derandomize=True, database=None
    )
    @hypothesis.given(
        strategies.text(max_size=12), strategies.lists(_PIECES, max_size=8)
    )
    def test_any_password_and_option(
        self, password: str, pieces: list[str]
    ) -> None:
        self.told(f'mysql://nova:{password}@127.0.0.1:1/n?{"".join(pieces)}')

    def told(self, url: str) -> None:
        """One row: never an error of another kind, never a line more."""
        made = Database('cell1', url, 1, 1)
        for ask in (made._open, lambda: made.show('SHOW STATUS')):
            error = self.assertRaises(DatabaseUnavailable, ask)
            self.assertEqual(1, len(str(error).splitlines()), error)
            self.assertNotIn('hunter2', str(error))
        repr(made), made.url, made.server, made.user


class WireTest(TestCase):
    """A server that is no MySQL, but takes the connection."""

    def answering(self, words: bytes) -> str:
        """Why a server that says this can't be used."""
        listener = self.useFixture(Listener(words))
        made = Database(
            'c', f'mysql://n:s@127.0.0.1:{listener.port}/n?ssl=1', 1, 1
        )
        return str(self.assertRaises(DatabaseUnavailable, made._open))

    def test_what_is_no_mysql_is_told(self) -> None:
        for words in (b'', b'HTTP/1.1 400 Bad Request\r\n\r\n', b'\x01'):
            self.assertIn('database of c unavailable: ', self.answering(words))


class Listener(fixtures.Fixture):
    """A server that says something and hangs up."""

    def __init__(self, words: bytes) -> None:
        super().__init__()
        self._words = words

    def _setUp(self) -> None:
        self._socket = socket.create_server(('127.0.0.1', 0))
        self.port = self._socket.getsockname()[1]
        thread = threading.Thread(target=self._serve, daemon=True)
        self.addCleanup(thread.join)
        self.addCleanup(self._socket.close)
        self.addCleanup(self._socket.shutdown, socket.SHUT_RDWR)
        thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            with peer:
                peer.sendall(self._words)
