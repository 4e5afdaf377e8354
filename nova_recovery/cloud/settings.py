# SPDX-License-Identifier: Apache-2.0

"""nova.conf and cinder.conf, read as the services read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import os
import pathlib
import socket
from typing import Any

from oslo_config import cfg
from oslo_utils import netutils

from nova_recovery.cloud.db import db_url
from nova_recovery.conf import files as conf_files
from nova_recovery.exceptions import ConfigError

# kolla-ansible keeps the files of each container on the host
KOLLA_NOVA = '/etc/kolla/nova-api/nova.conf'
KOLLA_CINDER = '/etc/kolla/cinder-api/cinder.conf'

_DATABASE = [
    cfg.StrOpt('connection', secret=True),
    # appended to each URL (oslo_db/sqlalchemy/engines.py: create_engine)
    cfg.StrOpt('connection_parameters', default='', secret=True),
]

_TRANSPORT = cfg.StrOpt('transport_url', secret=True)

# oslo.messaging's, and what they were called up to Pike
_RABBIT = [
    cfg.BoolOpt('ssl', default=False),
    cfg.StrOpt('ssl_ca_file', default=''),
    cfg.StrOpt('ssl_cert_file', default=''),
    cfg.StrOpt('ssl_key_file', default=''),
    cfg.StrOpt('rabbit_login_method', default=''),
    cfg.BoolOpt('rabbit_use_ssl', default=False),
    cfg.StrOpt('kombu_ssl_ca_certs', default=''),
    cfg.StrOpt('kombu_ssl_certfile', default=''),
    cfg.StrOpt('kombu_ssl_keyfile', default=''),
]

# What Essex to Juno called [database]connection; section names don't tell
# capitals from small letters. As deprecated names they would be warned of.
_OLD_CONNECTIONS = (
    ('DEFAULT', 'sql_connection'),
    ('database', 'sql_connection'),
    ('sql', 'connection'),
)

# Options that others refer to ($my_ip, $pybasedir) must be known too. The
# defaults are nova's, or those of the packages where nova's is a place in
# the source tree (nova/conf/paths.py, nova/conf/netconf.py).
_NOVA = [
    cfg.StrOpt('host', default=socket.gethostname()),
    cfg.StrOpt('my_ip', default=netutils.get_my_ipv4()),
    cfg.StrOpt('my_block_storage_ip', default='$my_ip'),
    cfg.StrOpt('pybasedir', default='/var/lib/nova'),
    cfg.StrOpt('bindir'),
    cfg.StrOpt('state_path', default='/var/lib/nova'),
    cfg.StrOpt('instances_path', default='$state_path/instances'),
    cfg.StrOpt('instance_name_template', default='instance-%08x'),
    cfg.IntOpt('service_down_time', default=60),
    cfg.IntOpt('report_interval', default=10),
    cfg.StrOpt('default_availability_zone', default='nova'),
]

_CINDER = [
    cfg.StrOpt('host', default=socket.gethostname()),
    cfg.StrOpt('my_ip', default=netutils.get_my_ipv4()),
    cfg.StrOpt('state_path', default='/var/lib/cinder'),
    cfg.IntOpt('service_down_time', default=60),
]


@dataclasses.dataclass(frozen=True)
class BusSettings:
    """How a service reaches the message bus.

    :ivar url: ``transport_url``; None where there is none
    :ivar tls: whether RabbitMQ is spoken to by TLS, with these files
    :ivar login: how one logs in: ``EXTERNAL`` is by a certificate
    """

    url: str | None = dataclasses.field(default=None, repr=False)
    tls: bool = False
    ca_file: str = ''
    cert_file: str = ''
    key_file: str = ''
    login: str = ''


@dataclasses.dataclass(frozen=True)
class NovaSettings:
    """What is needed of nova.conf.

    :ivar files: what was read, in order; () where there is no nova.conf
    :ivar database: ``[database]connection``: what the URLs of cells are
        rendered from, and the only database of a cloud without cells. It
        is not "the" database of the servers.
    :ivar parameters: what nova appends to the URLs of all cells
    :ivar origins: where each option that is not a default comes from
    """

    files: tuple[str, ...]
    database: str | None = dataclasses.field(repr=False)
    api_database: str | None = dataclasses.field(repr=False)
    host: str
    my_ip: str | None
    state_path: str
    instances_path: str
    instance_name_template: str
    service_down_time: int
    report_interval: int = 10
    default_availability_zone: str = 'nova'
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict)
    bus: BusSettings = BusSettings()
    parameters: str = dataclasses.field(default='', repr=False)


@dataclasses.dataclass(frozen=True)
class CinderSettings:
    """What is needed of cinder.conf; files is () where there is none."""

    files: tuple[str, ...]
    database: str | None = dataclasses.field(repr=False)
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict)
    bus: BusSettings = BusSettings()
    service_down_time: int = 60


def read_nova(
    files: Sequence[str] = (), dirs: Sequence[str] = ()
) -> NovaSettings:
    """Read nova.conf, from nova's default places when no place is given.

    The environment (``OS_DATABASE__CONNECTION`` …) overrides the files, as
    it does for nova's services.

    :raises ConfigError: a file can't be read or an option is impossible
    """
    if not files and not dirs:
        files, dirs = _nova_places()
    options = cfg.ConfigOpts()
    options.register_opts(_NOVA)
    _register_connections(options)
    _register_bus(options)
    options.register_opts(_DATABASE, group='api_database')
    read = _parse(options, 'nova', files, dirs, use_env=True)
    values = _Values(options)
    return NovaSettings(
        files=read,
        database=values.connection(),
        api_database=values.with_parameters(
            values.get('connection', 'api_database'), 'api_database'
        ),
        parameters=values.get('connection_parameters', 'database'),
        host=values.get('host'),
        my_ip=values.get('my_ip'),
        state_path=values.get('state_path'),
        instances_path=values.get('instances_path'),
        instance_name_template=values.get('instance_name_template'),
        service_down_time=values.get('service_down_time'),
        report_interval=values.get('report_interval'),
        default_availability_zone=values.get('default_availability_zone'),
        bus=values.bus(),
        origins=values.origins,
    )


def read_cinder(files: Sequence[str] = ()) -> CinderSettings:
    """Read cinder.conf, from cinder's default places when none is given.

    The environment does not count: it is nova's, whose
    ``OS_DATABASE__CONNECTION`` would be taken for cinder's.

    :raises ConfigError: a file can't be read or an option is impossible
    """
    dirs: Sequence[str] = ()
    if not files:
        files, dirs = _default_places('cinder', KOLLA_CINDER)
    options = cfg.ConfigOpts()
    options.register_opts(_CINDER)
    _register_connections(options)
    _register_bus(options)
    read = _parse(options, 'cinder', files, dirs, use_env=False)
    values = _Values(options)
    return CinderSettings(
        files=read,
        database=values.with_parameters(values.connection(), 'database'),
        bus=values.bus(),
        origins=values.origins,
        service_down_time=values.get('service_down_time'),
    )


class _Values:
    """Options by name, and where those come from that are no defaults."""

    def __init__(self, options: cfg.ConfigOpts) -> None:
        self._options = options
        self.origins: dict[str, str] = {}

    def get(self, name: str, group: str = 'DEFAULT') -> Any:
        value = conf_files.value(self._options, name, group)
        origin = conf_files.origin(self._options, name, group)
        if origin:
            self.origins[f'[{group}] {name}'] = origin
        return value

    def connection(self) -> str | None:
        """Return ``[database]connection``, by its old names too."""
        for group, name in (('database', 'connection'), *_OLD_CONNECTIONS):
            value: str | None = self.get(name, group)
            if value is not None:
                return value
        return None

    def with_parameters(self, url: str | None, group: str) -> str | None:
        """Return a URL with what the group appends to it."""
        parameters = self.get('connection_parameters', group)
        return url and db_url.with_parameters(url, parameters)

    def bus(self) -> BusSettings:
        """Return how the message bus is reached."""

        def either(name: str, old: str) -> Any:
            group = 'oslo_messaging_rabbit'
            return self.get(name, group) or self.get(old, group)

        return BusSettings(
            url=self.get('transport_url'),
            tls=either('ssl', 'rabbit_use_ssl'),
            ca_file=either('ssl_ca_file', 'kombu_ssl_ca_certs'),
            cert_file=either('ssl_cert_file', 'kombu_ssl_certfile'),
            key_file=either('ssl_key_file', 'kombu_ssl_keyfile'),
            login=self.get('rabbit_login_method', 'oslo_messaging_rabbit'),
        )


def _register_bus(options: cfg.ConfigOpts) -> None:
    options.register_opt(_TRANSPORT)
    options.register_opts(_RABBIT, group='oslo_messaging_rabbit')


def _register_connections(options: cfg.ConfigOpts) -> None:
    options.register_opts(_DATABASE, group='database')
    for group, name in _OLD_CONNECTIONS:
        options.register_opt(
            cfg.StrOpt(name, secret=True),
            group=None if group == 'DEFAULT' else group,
        )


def _parse(
    options: cfg.ConfigOpts,
    project: str,
    files: Sequence[str],
    dirs: Sequence[str],
    use_env: bool,
) -> tuple[str, ...]:
    for directory in dirs:
        # oslo.config passes over a default directory that is not there
        if not os.path.isdir(directory):
            raise ConfigError(f'no such directory: {directory}')
    conf_files.parse(
        options,
        project=project,
        prog=project,
        default_config_files=list(files),
        default_config_dirs=list(dirs),
        use_env=use_env,
    )
    inside = (
        str(path)
        for directory in dirs
        # as oslo.config does it (_parse_config_files)
        for path in sorted(pathlib.Path(directory).glob('*.conf'))
    )
    return (*files, *inside)


def _nova_places() -> tuple[list[str], list[str]]:
    # nova/api/openstack/wsgi_app.py: _get_config_files; it lists
    # api-paste.ini too, which holds no options
    directory = os.environ.get('OS_NOVA_CONFIG_DIR', '').strip()
    names = [
        name.strip()
        for name in os.environ.get('OS_NOVA_CONFIG_FILES', '').split(';')
        if name.strip().endswith('.conf')
    ]
    if directory or names:
        base = pathlib.Path(directory or '/etc/nova')
        return [str(base / name) for name in names or ['nova.conf']], []
    return _default_places('nova', KOLLA_NOVA)


def _default_places(project: str, kolla: str) -> tuple[list[str], list[str]]:
    # prog is the project too: what only one service reads is not ours
    files = list(dict.fromkeys(cfg.find_config_files(project, project)))
    dirs = list(dict.fromkeys(cfg.find_config_dirs(project, project)))
    if not files and not dirs and os.path.exists(kolla):
        files = [kolla]
    return files, dirs
