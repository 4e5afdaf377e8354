# SPDX-License-Identifier: Apache-2.0

"""The message bus, as far as it can be looked at without taking part.

Queues are only declared passively, which never makes one. Nothing is
published and nothing is consumed; a queue can be purged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent import futures
import contextlib
import dataclasses
import re
import ssl
import struct
from typing import Any, TYPE_CHECKING
import urllib.parse

import amqp
import amqp.exceptions
from oslo_config import types
import sqlalchemy as sa

from nova_recovery.cloud import settings
from nova_recovery.cloud.db import cells
from nova_recovery.cloud.settings import BusSettings, NovaSettings
from nova_recovery.compat import pairs
from nova_recovery.conf import files as conf_files
from nova_recovery.exceptions import Conflict, NotFound, RecoveryError

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.cloud.db.database import Database

#: Seconds to connect to a server, and for each of its answers.
PATIENCE = 3

#: What oslo.messaging calls RabbitMQ, now and up to Rocky.
SCHEMES = frozenset({'rabbit', 'kombu'})

#: oslo.messaging's, with TLS too (``impl_rabbit.py: _parse_url``).
_PORT = 5672

#: The options of ``[oslo_messaging_rabbit]``, by their names of today and up
#: to Pike, that a query of ``transport_url`` may have in their stead
#: (``oslo_messaging/_drivers/common.py: ConfigOptsProxy``).
_QUERY = {
    'ssl': 'tls',
    'rabbit_use_ssl': 'tls',
    'ssl_ca_file': 'ca_file',
    'kombu_ssl_ca_certs': 'ca_file',
    'ssl_cert_file': 'cert_file',
    'kombu_ssl_certfile': 'cert_file',
    'ssl_key_file': 'key_file',
    'kombu_ssl_keyfile': 'key_file',
    'rabbit_login_method': 'login',
}

#: What a server that is something else, or speaks something else, leads to:
#: py-amqp raises what its parser or the system does.
_ERRORS = (
    amqp.exceptions.AMQPError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    struct.error,
)


class BusUnavailable(RecoveryError):
    """No server of a message bus answers, or it can't be spoken to."""


@dataclasses.dataclass(frozen=True)
class Queue:
    """A queue at one moment.

    :ivar messages: that wait for a consumer
    """

    messages: int
    consumers: int


@dataclasses.dataclass(frozen=True)
class Server:
    """One server of a bus."""

    host: str
    port: int
    user: str
    password: str = dataclasses.field(repr=False)

    @property
    def address(self) -> str:
        host = f'[{self.host}]' if ':' in self.host else self.host
        return f'{host}:{self.port}'


class Bus:
    """A message bus: the servers of one transport URL.

    :param name: whose it is: a cell's name, ``nova`` or ``cinder``
    :param setting: its URL and files; they never leave this object
    """

    def __init__(self, name: str, setting: BusSettings) -> None:
        self.name = name
        self._setting = setting
        self.servers: tuple[Server, ...] = ()
        self.vhost = '/'
        self.problem = ''
        try:
            self._setting = with_query(setting)
            self.servers, self.vhost = parse(setting.url or '')
            self.problem = _unreadable(self._setting)
        except ValueError as error:
            self.problem = str(error)

    def __repr__(self) -> str:
        return f'<Bus {self.name} {self.places}>'

    @property
    def places(self) -> str:
        """Its servers and virtual host, without user and password."""
        servers = ', '.join(server.address for server in self.servers)
        return f'{servers} vhost {self.vhost}'

    @property
    def other_kind(self) -> bool:
        """Whether it is none of RabbitMQ, or none at all: nothing is wrong."""
        scheme, colon, _ = (self._setting.url or '').partition('://')
        return not colon or scheme not in SCHEMES

    @property
    def identity(self) -> tuple[Any, ...]:
        """Equal for two names of the same bus."""
        return (self.servers, self.vhost, self._setting.tls)

    def members(self) -> dict[str, str]:
        """What is wrong with each server, by address; '' where it answers.

        :raises BusUnavailable: it can't be spoken to
        """
        self._check()

        def ask(server: Server) -> str:
            try:
                self._connected(server).close()
            except _ERRORS as error:
                return _words(error)
            return ''

        with futures.ThreadPoolExecutor(len(self.servers)) as pool:
            answers = pool.map(ask, self.servers)
            return {
                server.address: answer
                for server, answer in pairs(self.servers, answers)
            }

    def queues(self, names: Iterable[str]) -> dict[str, Queue | None]:
        """Queues by name; None where there is none of that name.

        :raises BusUnavailable: no server answers
        """
        found: dict[str, Queue | None] = {}
        with self._connection() as connection:
            channel = connection.channel()
            for name in names:
                try:
                    found[name] = _looked_at(channel, name)
                except amqp.exceptions.NotFound:
                    # it closes the channel
                    found[name] = None
                    channel = connection.channel()
        return found

    def purge(self, name: str) -> int:
        """Throw away what waits in a queue; how many messages that were.

        :raises Conflict: it has a consumer (again); nothing was purged
        :raises NotFound: there is no such queue
        :raises BusUnavailable: no server answers
        """
        with self._connection() as connection:
            channel = connection.channel()
            try:
                seen = _looked_at(channel, name)
            except amqp.exceptions.NotFound:
                raise NotFound(f'no queue {name}') from None
            if seen.consumers:
                raise Conflict(f'queue {name} has {seen.consumers} consumers')
            return int(channel.queue_purge(name))

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Any]:
        self._check()
        problems = []
        for server in self.servers:
            try:
                connection = self._connected(server)
            except _ERRORS as error:
                problems.append(f'{server.address}: {_words(error)}')
                continue
            try:
                yield connection
            except (amqp.exceptions.AMQPError, OSError) as error:
                raise BusUnavailable(
                    f'message bus of {self.name}: {server.address}: '
                    f'{_words(error)}'
                ) from None
            finally:
                with contextlib.suppress(*_ERRORS):
                    connection.close()
            return
        raise BusUnavailable(
            f'message bus of {self.name}: {"; ".join(problems)}'
        )

    def _check(self) -> None:
        if self.problem:
            raise BusUnavailable(f'message bus of {self.name}: {self.problem}')

    def _connected(self, server: Server) -> Any:
        setting = self._setting
        login = {'login_method': setting.login} if setting.login else {}
        secure: Any = False
        if setting.tls:
            secure = {
                'ca_certs': setting.ca_file or None,
                'certfile': setting.cert_file or None,
                'keyfile': setting.key_file or None,
                # as oslo.messaging: without a CA nothing is verified
                'cert_reqs': ssl.CERT_REQUIRED
                if setting.ca_file
                else ssl.CERT_NONE,
            }
        connection = amqp.Connection(
            host=server.address,
            userid=server.user,
            password=server.password,
            virtual_host=self.vhost,
            **login,
            ssl=secure,
            connect_timeout=PATIENCE,
            read_timeout=PATIENCE,
            write_timeout=PATIENCE,
            client_properties={'connection_name': 'nova-recovery'},
        )
        connection.connect()
        return connection


def with_query(setting: BusSettings) -> BusSettings:
    """The settings with what the query of their URL says in their stead.

    :raises ValueError: an option has a value that it can't have
    """
    try:
        query = urllib.parse.urlsplit(setting.url or '').query
    except ValueError:
        # told by ``parse``
        return setting
    found: dict[str, Any] = {}
    for name, values in urllib.parse.parse_qs(query).items():
        field = _QUERY.get(name)
        if field == 'tls':
            found[field] = _boolean(name, values[-1])
        elif field:
            found[field] = values[-1]
    return dataclasses.replace(setting, **found)


def _unreadable(setting: BusSettings) -> str:
    """Which of its TLS files can't be read here, and why; '' is none.

    Those of a container are often only there.
    """
    if not setting.tls:
        return ''
    for field in ('ca_file', 'cert_file', 'key_file'):
        path = getattr(setting, field)
        why = conf_files.unreadable(path) if path else ''
        if why:
            return f'its ssl_{field} {why}'
    return ''


def _boolean(name: str, text: str) -> bool:
    try:
        return bool(types.Boolean()(text))
    except ValueError:
        raise ValueError(
            f'{name} in its transport_url is neither true nor false'
        ) from None


def parse(url: str) -> tuple[tuple[Server, ...], str]:
    """The servers and the virtual host of a transport URL.

    oslo_messaging/transport.py: ``TransportURL.parse``:
    ``rabbit://user:pass@host:port[,user:pass@host:port…]/virtual_host?query``

    :raises ValueError: it is not one of RabbitMQ; without the URL, which
        may hold a password wherever it is broken
    """
    if not url:
        raise ValueError('there is no transport_url')
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        raise ValueError('its transport_url can not be read') from None
    if parts.scheme not in SCHEMES:
        raise ValueError(
            f'its transport_url is of {_kind(parts.scheme)}; only RabbitMQ '
            'can be looked at'
        )
    servers = tuple(_server(text) for text in parts.netloc.split(',') if text)
    if not servers:
        raise ValueError('its transport_url names no server')
    option, at_sign, _ = parts.query.partition('@')
    if '@' in parts.path + parts.fragment or (at_sign and '=' not in option):
        # what follows is the rest of the password
        raise ValueError(
            'a password in its transport_url has a / ? or # in it: write '
            '%2F %3F %23, as oslo.messaging wants it'
        )
    return servers, urllib.parse.unquote(parts.path[1:]) or '/'


def _kind(scheme: str) -> str:
    """A scheme, unless it may be anything, such as a user's name."""
    known = ('amqp', 'kafka', 'zmq', 'qpid', 'fake', 'pulsar')
    return scheme if scheme in known else 'nothing known'


def _server(text: str) -> Server:
    credentials, _, place = text.rpartition('@')
    user, _, password = credentials.partition(':')
    match = re.fullmatch(
        r'\[([0-9A-Fa-f:.%]+)\](?::(\d+))?|([^:\[\]]+)(?::(\d+))?',
        place,
        re.ASCII,
    )
    port = int(match[2] or match[4] or _PORT) if match else 0
    if match is None or not 0 < port < 2**16:
        raise ValueError('its transport_url can not be read')
    return Server(
        match[1] or match[3],
        port,
        urllib.parse.unquote(user) or 'guest',
        urllib.parse.unquote(password) or 'guest',
    )


def of_cloud(cloud: Cloud) -> dict[str, Bus]:
    """The buses, each once, by the names of those who use it.

    :returns: ``cell1, nova, cinder`` -> the bus
    :raises DatabaseUnavailable: the cells are not known
    """
    databases = cloud.databases
    of_cells = _of_cells(cloud.nova, databases.api)
    used = {
        known.cell.name: of_cells.get(known.cell.uuid, cloud.nova.bus)
        for known in databases.cells
    }
    return _each_once({**used, **_of_files(cloud)})


def of_files(cloud: Cloud) -> dict[str, Bus]:
    """Those that nova.conf and cinder.conf name, for want of databases."""
    return _each_once(_of_files(cloud))


def _of_files(cloud: Cloud) -> dict[str, BusSettings]:
    cinder = settings.read_cinder(cloud.conf.cinder_config_file)
    used = {'nova': cloud.nova.bus}
    if cinder.database:
        used['cinder'] = cinder.bus
    return used


def _each_once(used: Mapping[str, BusSettings]) -> dict[str, Bus]:
    same: dict[Any, list[tuple[str, Bus]]] = {}
    for name, setting in used.items():
        bus = Bus(name, setting)
        # what can't be read is not the same as what else can't be
        key = name if bus.problem else bus.identity
        same.setdefault(key, []).append((name, bus))
    return {
        ', '.join(name for name, _ in some): some[0][1]
        for some in same.values()
    }


def bus_of(buses: Mapping[str, Bus], name: str) -> tuple[str, Bus] | None:
    """The bus that a cell, ``nova`` or ``cinder`` uses."""
    for names, bus in buses.items():
        if name in names.split(', '):
            return names, bus
    return None


def compute_queue(host: str) -> str:
    """The queue of a nova-compute (``topic.server`` in oslo.messaging)."""
    return f'compute.{host}'


def _of_cells(
    nova: NovaSettings, api: Database | None
) -> dict[str, BusSettings]:
    """The bus of each cell by its UUID, as ``cell_mappings`` names it."""
    if api is None:
        return {}
    table = api.tables['cell_mappings']
    query = sa.select(table.c.uuid, table.c.transport_url).where(
        table.c.uuid != cells.CELL0
    )
    with api.reader() as connection:
        return {
            row[0]: dataclasses.replace(
                nova.bus, url=cells.render_bus_url(row[1], nova.bus.url)
            )
            for row in connection.execute(query)
        }


def _looked_at(channel: Any, name: str) -> Queue:
    found = channel.queue_declare(queue=name, passive=True)
    return Queue(found.message_count, found.consumer_count)


def _words(error: BaseException) -> str:
    """What went wrong, without what the server was told."""
    if isinstance(error, amqp.exceptions.AccessRefused):
        return 'access refused: user, password or virtual host are wrong'
    if isinstance(error, (amqp.exceptions.NotFound, amqp.NotAllowed)):
        return 'the virtual host is not there, or not for this user'
    if isinstance(error, ssl.SSLCertVerificationError):
        return 'its certificate is not of the authority in ssl_ca_file (TLS)'
    if isinstance(error, ssl.SSLError):
        return (
            'no TLS: the server has none at this port, or a file of '
            'ssl_ca_file, ssl_cert_file, ssl_key_file is none'
        )
    if isinstance(error, TimeoutError):
        return 'no answer in time'
    if isinstance(error, ConnectionRefusedError):
        return 'refused the connection: it is down'
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
