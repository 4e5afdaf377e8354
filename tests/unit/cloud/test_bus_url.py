# SPDX-License-Identifier: Apache-2.0

"""A transport URL is spoken to as oslo.messaging would, or told."""

from __future__ import annotations

import socket
import threading

import fixtures
import hypothesis
from hypothesis import strategies

from nova_recovery.cloud import bus
from nova_recovery.cloud.bus import Bus, BusUnavailable
from nova_recovery.cloud.settings import BusSettings
from tests.base import TestCase


class Wire(fixtures.Fixture):
    """A server that hears the first byte of each client and hangs up.

    :ivar heard: those bytes
    """

    def __init__(self, words: bytes = b'') -> None:
        super().__init__()
        self._words = words
        self.heard: list[bytes] = []

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
                self.heard.append(peer.recv(1))
                if self._words:
                    peer.sendall(self._words)


class QueryTest(TestCase):
    def setting(self, query: str, **conf: object) -> BusSettings:
        """What is in force of a URL with that query beside nova.conf."""
        url = f'rabbit://u:p@mq/?{query}'
        return bus.with_query(BusSettings(url, **conf))  # type: ignore

    def test_options_of_oslo_messaging_rabbit_are_in_the_query(self) -> None:
        found = self.setting(
            'ssl=1&ssl_ca_file=/ca%20s&ssl_cert_file=/c&ssl_key_file=/k'
            '&rabbit_login_method=EXTERNAL'
        )
        self.assertEqual(
            (True, '/ca s', '/c', '/k', 'EXTERNAL'),
            (
                found.tls,
                found.ca_file,
                found.cert_file,
                found.key_file,
                found.login,
            ),
        )

    def test_so_they_were_called_up_to_pike(self) -> None:
        found = self.setting('rabbit_use_ssl=True&kombu_ssl_ca_certs=/ca')
        self.assertEqual((True, '/ca'), (found.tls, found.ca_file))

    def test_the_query_goes_before_nova_conf(self) -> None:
        for query, expected in (
            ('', True),
            ('ssl=0', False),
            ('ssl=false', False),
            ('heartbeat_timeout_threshold=60&rabbit_quorum_queue=1', True),
        ):
            self.assertEqual(expected, self.setting(query, tls=True).tls)

    def test_what_is_neither_true_nor_false_is_told(self) -> None:
        found = Bus('cell1', BusSettings('rabbit://u:p@mq/?ssl=hunter2'))
        self.assertEqual(
            'ssl in its transport_url is neither true nor false', found.problem
        )

    def test_the_same_server_with_and_without_is_two_buses(self) -> None:
        plain = Bus('a', BusSettings('rabbit://u:p@mq/'))
        self.assertNotEqual(
            plain.identity,
            Bus('b', BusSettings('rabbit://u:p@mq/?ssl=1')).identity,
        )
        self.assertEqual(
            plain.identity,
            Bus('c', BusSettings('rabbit://u:p@mq/?ssl=0')).identity,
        )

    def test_a_file_of_a_container_is_told_by_its_name(self) -> None:
        found = Bus(
            'cell1',
            BusSettings('rabbit://u:p@mq/?ssl=1&ssl_ca_file=/nowhere/ca'),
        )
        error = self.assertRaises(BusUnavailable, found.members)
        self.assertIn('its ssl_ca_file /nowhere/ca can not be', str(error))

    def test_nobody_needs_it_without_tls(self) -> None:
        url = 'rabbit://u:p@mq/?ssl_ca_file=/nowhere/ca'
        self.assertEqual('', Bus('cell1', BusSettings(url)).problem)


class WireTest(TestCase):
    def ask(self, wire: Wire, query: str) -> str:
        """Why the server can't be used."""
        url = f'rabbit://u:p@127.0.0.1:{wire.port}/?{query}'
        (why,) = Bus('cell1', BusSettings(url)).members().values()
        return why

    def test_tls_by_query_is_spoken(self) -> None:
        wire = self.useFixture(Wire())
        self.ask(wire, 'ssl=1')
        # the record of a ClientHello, RFC 8446 5.1
        self.assertEqual(b'\x16', wire.heard[0])

    def test_without_it_amqp_is(self) -> None:
        wire = self.useFixture(Wire())
        self.ask(wire, 'ssl=0')
        self.assertEqual(b'A', wire.heard[0])

    def test_tls_of_a_server_that_has_none_is_told(self) -> None:
        # RabbitMQ answers what it doesn't understand with its version
        wire = self.useFixture(Wire(b'AMQP\x00\x00\x09\x01'))
        self.assertIn('the server has none', self.ask(wire, 'ssl=1'))

    def test_what_is_no_rabbitmq_is_told(self) -> None:
        for words in (
            b'',
            b'HTTP/1.1 400 Bad Request\r\n\r\n',
            b'\x15\x03\x01\x00\x02\x02\x0a',
            b'AMQP\x00\x00\x09\x01',
            b'\x01' * 64,
            b'\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x0a\xce',
        ):
            for query in ('ssl=0', 'ssl=1'):
                self.assertNotEqual(
                    '', self.ask(self.useFixture(Wire(words)), query)
                )


_PIECES = strategies.sampled_from(
    'rabbit kombu amqp :// : / ? & = @ @@ # [ ] [::1] [x] % %zz %00 ,'
    ' u:hunter2@ 127.0.0.1 127.0.0.1:1 :1 :65536 :x ssl=1& ssl=x&'
    ' rabbit_use_ssl=on& ssl_ca_file=/nowhere& ssl_cert_file=/dev/null&'
    ' ssl_key_file=/& rabbit_login_method=NONE& \0 \u0660 \u20ac {port}'.split(
        ' '
    )
)


class FuzzTest(TestCase):
    @hypothesis.settings(
        max_examples=300, deadline=None, derandomize=True, database=None
    )
    @hypothesis.given(strategies.lists(_PIECES, max_size=14))
    def test_any_url_is_usable_or_told(self, pieces: list[str]) -> None:
        self.told(''.join(pieces))

    @hypothesis.settings(
        max_examples=150, deadline=None, derandomize=True, database=None
    )
    @hypothesis.given(
        strategies.text(max_size=12), strategies.lists(_PIECES, max_size=8)
    )
    def test_any_password_and_option(
        self, password: str, pieces: list[str]
    ) -> None:
        self.told(f'rabbit://u:{password}@127.0.0.1:1/?{"".join(pieces)}')

    def told(self, url: str) -> None:
        """Words on one line, without what may be a password."""
        made = Bus('cell1', BusSettings(url))
        told = [repr(made), made.problem]
        try:
            told += made.members().values()
            self.assertRaises(BusUnavailable, made.queues, ['compute.host1'])
        except BusUnavailable as error:
            told.append(str(error))
        for words in told:
            self.assertNotIn('hunter2', words)
            self.assertLessEqual(len(words.splitlines()), 1)
