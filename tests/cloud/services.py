# SPDX-License-Identifier: Apache-2.0

"""The daemons of the cloud: how each one is started."""

from __future__ import annotations

import collections.abc
import pathlib

from tests.cloud import broker, packages
from tests.cloud.mariadb import MariaDB
from tests.cloud.process import CloudError, Daemon
from tests.cloud.settings import Settings

#: The APIs, and the WSGI module of each.
APIS = {
    'keystone': 'keystone.wsgi.api',
    'placement': 'placement.wsgi.api',
    'glance-api': 'glance.wsgi.api',
    'neutron-api': 'neutron.wsgi.api',
    'cinder-api': 'cinder.wsgi.api',
    'nova-api': 'nova.wsgi.osapi_compute',
}
NOVA_CONTROL = ('nova-conductor', 'nova-scheduler')
CINDER_CONTROL = ('cinder-scheduler', 'cinder-volume', 'cinder-backup')
INFRASTRUCTURE = ('mariadb', 'epmd', 'rabbitmq')
#: What a power loss of the site ends, besides the computes.
LOST_WITH_SITE = ('rabbitmq', 'cinder-volume', 'cinder-backup')

_UWSGI = (
    '--master --die-on-term --processes 1 --threads 8 --enable-threads '
    '--lazy-apps --need-app --buffer-size 65535 --http-keepalive '
    '--add-header Connection:close --disable-logging'
).split()


def compute(host: str) -> str:
    """Return the name of the compute service of a host."""
    return f'nova-compute-{host}'


def names(config: Settings) -> list[str]:
    """Return the names of all services, in the order of their start."""
    return [
        *INFRASTRUCTURE,
        *APIS,
        *NOVA_CONTROL,
        *CINDER_CONTROL,
        *(compute(host) for host in config.hosts),
    ]


def database(config: Settings) -> MariaDB:
    """Return the server of the cloud's databases."""
    return MariaDB(
        config.state / 'mariadb',
        config.port('mariadb'),
        pid_file=config.run / 'mariadb.pid',
    )


def daemon(config: Settings, name: str) -> Daemon:
    """Return the daemon of a service.

    :raises CloudError: when no service has this name
    """
    if name == 'mariadb':
        return database(config).daemon
    if name in ('epmd', 'rabbitmq'):
        return broker.daemon(config, name)
    forked_by = None
    if name in APIS:
        argv, environment = _api(config, name)
    elif name in names(config):
        argv, environment = _worker(config, name), {}
        forked_by = forkserver(config, pathlib.Path(argv[0]).name)
    else:
        raise CloudError(
            f'no service is named {name}: {", ".join(names(config))}'
        )
    return Daemon(
        name,
        argv,
        config.run / f'{name}.pid',
        config.logs / f'{name}.out',
        {'PYTHONWARNINGS': 'ignore', **environment},
        config.var,
        forked_by,
    )


def forkserver(config: Settings, program: str) -> Daemon:
    """Return the daemon that starts a program of OpenStack quickly."""
    name = f'fork-{program}'
    return Daemon(
        name,
        [
            str(config.venv / 'bin' / 'python'),
            str(pathlib.Path(__file__).with_name('forkserver.py')),
            str(config.run / f'{name}.socket'),
            program,
        ],
        config.run / f'{name}.pid',
        config.logs / f'{name}.out',
        {'PYTHONWARNINGS': 'ignore'},
    )


def forkservers(config: Settings) -> list[Daemon]:
    """Return all of them."""
    programs = (*NOVA_CONTROL, *CINDER_CONTROL, 'nova-compute')
    return [forkserver(config, program) for program in programs]


def clock_environment(offset: int) -> dict[str, str]:
    """Return the variables that shift a daemon's clock, in seconds."""
    if offset == 0:
        return {}
    return {
        'LD_PRELOAD': packages.faketime(),
        'FAKETIME': f'{offset:+d}',
        # timeouts wait on the monotonic clock, which stays true
        'FAKETIME_DONT_FAKE_MONOTONIC': '1',
        'PYTHONPATH': str(pathlib.Path(__file__).parent / 'clock'),
    }


def option_environment(
    options: collections.abc.Mapping[str, object],
) -> dict[str, str]:
    """Return the variables that give a daemon options of [DEFAULT].

    oslo.config prefers them to what configuration files have.
    """
    return {
        f'OS_DEFAULT__{name.upper()}': str(value)
        for name, value in options.items()
    }


def nova_config_files(config: Settings) -> list[pathlib.Path]:
    """Return nova's files of the control plane, databases included."""
    directory = config.etc / 'nova'
    return [directory / 'nova.conf', directory / 'db.conf']


def config_file_options(*files: pathlib.Path) -> list[str]:
    """Return the options that make an OpenStack program read the files."""
    return [f'--config-file={file}' for file in files]


def cinder_config_file(config: Settings) -> pathlib.Path:
    """Return cinder's file."""
    return config.etc / 'cinder' / 'cinder.conf'


def _api(config: Settings, name: str) -> tuple[list[str], dict[str, str]]:
    etc = config.etc
    argv = [
        str(config.venv / 'bin' / 'uwsgi'),
        *_UWSGI,
        *('--http-socket', f'127.0.0.1:{config.port(name)}'),
        *('--module', f'{APIS[name]}:application'),
        *('--logto2', str(config.logs / f'{name}.uwsgi.log')),
    ]
    # uwsgi --env comes too late: pyuwsgi runs inside a Python whose
    # os.environ was made before, so the variables come from outside
    variables = {
        'keystone': {
            'OS_KEYSTONE_CONFIG_FILES': str(etc / 'keystone/keystone.conf')
        },
        'placement': {'OS_PLACEMENT_CONFIG_DIR': str(etc / 'placement')},
        'glance-api': {'OS_GLANCE_CONFIG_DIR': str(etc / 'glance')},
        'nova-api': {
            'OS_NOVA_CONFIG_DIR': str(etc / 'nova'),
            'OS_NOVA_CONFIG_FILES': 'api-paste.ini;nova.conf;db.conf',
        },
        'neutron-api': {
            'OS_NEUTRON_CONFIG_DIR': str(etc / 'neutron'),
            'OS_NEUTRON_CONFIG_FILES': 'neutron.conf',
        },
        'cinder-api': {'OS_CINDER_CONFIG_DIR': str(etc / 'cinder')},
    }[name]
    files = {
        'neutron-api': etc / 'neutron' / 'neutron.conf',
        'cinder-api': cinder_config_file(config),
    }
    if name in files:
        argv += ['--pyargv', f'--config-file={files[name]}']
    return argv, variables


def _worker(config: Settings, name: str) -> list[str]:
    log = f'--log-file={config.logs / name}.log'
    if name in CINDER_CONTROL:
        program, files = name, [cinder_config_file(config)]
    elif name in NOVA_CONTROL:
        program, files = name, nova_config_files(config)
    else:
        host = name.removeprefix('nova-compute-')
        program = 'nova-compute'
        files = [
            config.etc / 'nova' / 'nova.conf',
            config.etc / 'compute' / f'{host}.conf',
        ]
    return [
        str(config.venv / 'bin' / program),
        *config_file_options(*files),
        log,
    ]
