# SPDX-License-Identifier: Apache-2.0

"""TLS of the practice cloud's RabbitMQ as its URL asks for it."""

from __future__ import annotations

from multiprocessing import connection
import pathlib
import socket
import ssl
import threading

import fixtures

from nova_recovery.cloud.bus import Bus
from nova_recovery.cloud.settings import BusSettings
from tests.functional.base import FunctionalTest
from tests.integration import certificates


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
                    ready = connection.wait([near, far], 30)
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
        own = certificates.make(folder, 'own')
        other = certificates.make(folder, 'other')
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
