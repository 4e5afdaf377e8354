# SPDX-License-Identifier: Apache-2.0

"""Proxies: some lose an answer, one asks a replica instead."""

from __future__ import annotations

import contextlib
import http.client
import http.server
from multiprocessing import connection
import socket
import struct
import threading
import types

_COM_QUERY = 3


class CommitProxy:
    """Forwards MySQL connections; on demand loses the answer to a COMMIT.

    Packets of MySQL: three bytes of length, one of sequence, the payload;
    a query's payload begins with 3. The connection must not use TLS.
    """

    def __init__(self, port: int, host: str = '127.0.0.1') -> None:
        self._server = (host, port)
        self._armed = threading.Event()
        self.lost = threading.Event()
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_next_commit(self) -> None:
        """Cut the connection of the next COMMIT once it was carried out.

        The event ``lost`` is set when that has happened.
        """
        self.lost.clear()
        self._armed.set()

    def close(self) -> None:
        """Take no more connections."""
        # shutdown wakes the thread in accept(), which close alone doesn't
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def __enter__(self) -> CommitProxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            _Pair(client, server, self._armed, self.lost).start()


class _Pair:
    """One forwarded connection, a thread for each direction."""

    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        armed: threading.Event,
        lost: threading.Event,
    ) -> None:
        self.client, self.server = client, server
        self.armed, self.lost = armed, lost
        self.losing = False

    def start(self) -> None:
        for target in (self._requests, self._answers):
            threading.Thread(target=target, daemon=True).start()

    def _requests(self) -> None:
        # an end that hangs up in between is the end of the connection
        with contextlib.suppress(OSError):
            while packet := _packet(self.client):
                if _is_commit(packet) and self.armed.is_set():
                    self.armed.clear()
                    self.losing = True
                self.server.sendall(packet)
        _close(self.client, self.server)

    def _answers(self) -> None:
        with contextlib.suppress(OSError):
            while packet := _packet(self.server):
                if self.losing:
                    break
                self.client.sendall(packet)
        _close(self.client, self.server)
        if self.losing:
            self.lost.set()


class SplitProxy:
    """Sends reads to a replica, as MaxScale's readwritesplit does.

    What is in a READ ONLY transaction, and a SELECT in none. Both servers
    need the same account, without a password: what a client answers to one
    challenge is then right for the other, too.

    :ivar read: what went to the replica
    """

    def __init__(self, primary: int, replica: int) -> None:
        self._ports = primary, replica
        self.read: list[str] = []
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            servers = [
                socket.create_connection(('127.0.0.1', port))
                for port in self._ports
            ]
            threading.Thread(
                target=self._serve, args=(client, *servers), daemon=True
            ).start()

    def _serve(
        self,
        client: socket.socket,
        primary: socket.socket,
        replica: socket.socket,
    ) -> None:
        with contextlib.suppress(OSError):
            client.sendall(_packet(primary))
            _packet(replica)
            login = _packet(client)
            for server in (primary, replica):
                server.sendall(login)
            client.sendall(_packet(primary))
            _packet(replica)
            self._forward(client, primary, replica)
        _close(client, primary, replica)

    def _forward(
        self,
        client: socket.socket,
        primary: socket.socket,
        replica: socket.socket,
    ) -> None:
        opened: socket.socket | None = None
        while True:
            ready = connection.wait([client, primary, replica])
            for server in (primary, replica):
                if server in ready:
                    data = server.recv(65536)
                    if not data:
                        return
                    client.sendall(data)
            if client not in ready:
                continue
            packet = _packet(client)
            if not packet:
                return
            words = packet[5:].decode(errors='replace').strip().upper()
            if packet[4] != _COM_QUERY:
                primary.sendall(packet)
            elif words.startswith('SET '):
                replica.sendall(packet)
                _packet(replica)
                primary.sendall(packet)
            else:
                if words.startswith('START TRANSACTION'):
                    opened = replica if 'READ ONLY' in words else primary
                target = opened or primary
                if opened is None and words.startswith('SELECT'):
                    target = replica
                if words in ('COMMIT', 'ROLLBACK'):
                    opened = None
                if target is replica:
                    self.read.append(words)
                target.sendall(packet)


def _is_commit(packet: bytes) -> bool:
    payload = packet[4:]
    return (
        payload[:1] == bytes([_COM_QUERY])
        and payload[1:].strip().upper() == b'COMMIT'
    )


def _packet(source: socket.socket) -> bytes:
    """Return the next packet with its header; nothing at the end."""
    header = _exactly(source, 4)
    if not header:
        return b''
    (length,) = struct.unpack('<I', header[:3] + b'\0')
    return header + _exactly(source, length)


def _exactly(source: socket.socket, size: int) -> bytes:
    data = b''
    while len(data) < size:
        more = source.recv(size - len(data))
        if not more:
            return b''
        data += more
    return data


def _close(*ends: socket.socket) -> None:
    for end in ends:
        # the other direction's thread may have been faster
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


class GatewayTimeoutProxy:
    """Forwards HTTP; on demand answers 504 to a request it has forwarded."""

    def __init__(self, port: int, host: str = '127.0.0.1') -> None:
        self.upstream = (host, port)
        self.requests: list[tuple[str, str]] = []
        self._match: tuple[str, str] | None = None
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(
            ('127.0.0.1', 0), _handler(self)
        )
        self.port = self._server.server_port
        threading.Thread(
            target=self._server.serve_forever, daemon=True
        ).start()

    def lose_next(self, method: str, path: str) -> None:
        """Answer 504 to the next request whose path ends so.

        :param path: the end of the path, without a query
        """
        with self._lock:
            self._match = (method, path)

    def close(self) -> None:
        """Take no more requests."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> GatewayTimeoutProxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.close()

    def _loses(self, method: str, path: str) -> bool:
        """Note a request; return, once, whether its answer is to be lost."""
        with self._lock:
            self.requests.append((method, path))
            if self._match is None:
                return False
            wanted, end = self._match
            if method != wanted or not path.partition('?')[0].endswith(end):
                return False
            self._match = None
            return True


def _handler(
    proxy: GatewayTimeoutProxy,
) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def forward(self) -> None:
            lose = proxy._loses(self.command, self.path)
            size = int(self.headers.get('Content-Length', 0))
            body = self.rfile.read(size)
            upstream = http.client.HTTPConnection(*proxy.upstream, timeout=90)
            try:
                upstream.request(
                    self.command, self.path, body, dict(self.headers.items())
                )
                answer = upstream.getresponse()
                status, headers = answer.status, answer.getheaders()
                content = answer.read()
            finally:
                upstream.close()
            if lose:
                status, headers, content = 504, [], b'gateway time-out\n'
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in (
                    'connection',
                    'content-length',
                    'transfer-encoding',
                ):
                    self.send_header(name, value)
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            if self.command != 'HEAD':
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = forward

        def log_message(self, format: str, *arguments: object) -> None:
            """Write nothing: proxy.requests has what was asked."""

    return Handler
