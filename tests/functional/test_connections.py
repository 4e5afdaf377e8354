# SPDX-License-Identifier: Apache-2.0

"""TLS as URLs ask for it, of a MariaDB and the practice cloud's RabbitMQ."""

from __future__ import annotations

import datetime
import ipaddress
import pathlib
import select
import socket
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
import fixtures

from nova_recovery.cloud.bus import Bus
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.settings import BusSettings
from nova_recovery.exceptions import DatabaseUnavailable
from tests.base import TestCase
from tests.cloud.mariadb import MariaDB
from tests.functional.base import FunctionalTest
from tests.integration import dbserver


def certificate(folder: pathlib.Path, name: str) -> dict[str, str]:
    """Make a certificate of 127.0.0.1 that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address('127.0.0.1'))]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    paths = {'cert': folder / f'{name}.crt', 'key': folder / f'{name}.key'}
    paths['cert'].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths['key'].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return {name: str(path) for name, path in paths.items()}


class DatabaseTest(TestCase):
    """A MariaDB that has TLS, one that wants it, and one without."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.own = certificate(self.folder, 'own')
        self.other = certificate(self.folder, 'other')

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


class TlsProxy(fixtures.Fixture):
    """TLS in front of a server that has none.

    :ivar port: where it listens
    """

    def __init__(self, port: int, own: dict[str, str]) -> None:
        super().__init__()
        self._target = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(own['cert'], own['key'])

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
            threading.Thread(
                target=self._forward, args=(peer,), daemon=True
            ).start()

    def _forward(self, peer: socket.socket) -> None:
        try:
            with (
                self._context.wrap_socket(peer, server_side=True) as near,
                socket.create_connection(('127.0.0.1', self._target)) as far,
            ):
                while True:
                    ready, _, _ = select.select([near, far], [], [], 30)
                    for one in ready:
                        data = one.recv(65536)
                        if not data:
                            return
                        (far if one is near else near).sendall(data)
                    if not ready:
                        return
        except OSError:
            return


class BusTest(FunctionalTest):
    def test_tls_by_query_of_the_transport_url(self) -> None:
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        own = certificate(folder, 'own')
        other = certificate(folder, 'other')
        port = self.practice.config.port('rabbitmq')
        proxy = self.useFixture(TlsProxy(port, own))

        def why(query: str, at: int = proxy.port) -> str:
            url = f'rabbit://guest:guest@127.0.0.1:{at}/?{query}'
            (said,) = Bus('cell1', BusSettings(url)).members().values()
            return said

        self.assertEqual('', why('ssl=1'))
        self.assertEqual('', why(f'ssl=1&ssl_ca_file={own["cert"]}'))
        self.assertIn(
            'not of the authority', why(f'ssl=1&ssl_ca_file={other["cert"]}')
        )
        self.assertNotEqual('', why('ssl=0'))
        self.assertEqual('', why('ssl=0', port))
        self.assertIn('no TLS', why('ssl=1', port))
