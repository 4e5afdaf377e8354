# SPDX-License-Identifier: Apache-2.0

"""Up, down and back: the life of the whole cloud."""

from __future__ import annotations

import collections.abc
import concurrent.futures
import contextlib
import fcntl
import json
import pathlib
import shutil
import sys
import time
import urllib.error
import urllib.request

from tests.cloud import (
    broker,
    catalog,
    conffiles,
    packages,
    process,
    saved,
    seeding,
    servers,
    services,
    settings,
)
from tests.cloud.catalog import Commands
from tests.cloud.process import CloudError, Daemon
from tests.cloud.settings import Settings


class _Progress:
    """Prints each step with the seconds since the begin."""

    def __init__(self) -> None:
        self.begin = time.monotonic()

    def __call__(self, text: str) -> None:
        seconds = time.monotonic() - self.begin
        print(f'{seconds:6.1f} s  {text}', file=sys.stderr, flush=True)


@contextlib.contextmanager
def _alone(config: Settings) -> collections.abc.Iterator[None]:
    """Let one up, down or reset at a time have the cloud."""
    with open(config.state / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def up(config: Settings) -> None:
    """Bring the cloud up and seed it, doing only what is missing."""
    with _alone(config):
        say = _Progress()
        for name in packages.install_debian(config.logs / 'install.log'):
            say(f'installed {name}')
        if not packages.openstack_is_complete(config):
            # services that run would import from two releases
            _end_openstack(config)
        packages.install_openstack(config)
        say('OpenStack is installed')
        conffiles.write_all(config)
        _write_clouds_yaml(config)
        start_infrastructure(config)
        say('MariaDB and RabbitMQ run')
        with _once(config, 'databases') as first:
            if first:
                catalog.create_databases(config, services.database(config))
                catalog.bootstrap_keystone(config)
                catalog.create_cell(config, services.database(config))
                catalog.register_agents(config, services.database(config))
                say('databases created')
        launch(config, ['keystone'])
        with _once(config, 'catalog') as first:
            if first:
                catalog.create_users_and_endpoints(
                    config, servers.connect(config)
                )
                say('users and endpoints created')
        launch(config, services.names(config))
        wait_pools(config)
        say('all services run')
        with _once(config, 'seed') as first:
            if first:
                Commands(config).nova_manage('cell_v2', 'discover_hosts')
                _wait_inventories(config)
                seeding.seed(config)
                saved.save(config)
                say('seeded and saved')
        say('up')


@contextlib.contextmanager
def _once(config: Settings, step: str) -> collections.abc.Iterator[bool]:
    """Yield whether the step is still to be done; note when it was."""
    note = config.state / 'done' / step
    yield not note.exists()
    note.parent.mkdir(exist_ok=True)
    note.touch()


def start_infrastructure(config: Settings) -> None:
    """Start database and message bus where they are down."""
    services.daemon(config, 'epmd').start()
    process.wait_for(
        lambda: process.listens(config.port('epmd')), 20, 'epmd', 0.05
    )
    services.daemon(config, 'rabbitmq').start()
    services.database(config).start()
    _wait_serving(config, 'rabbitmq', 0)


def launch(
    config: Settings,
    names: collections.abc.Iterable[str],
    options: collections.abc.Mapping[str, object] | None = None,
) -> None:
    """Start those of the services that are down; wait for all of them.

    :param options: of [DEFAULT], for the nova-computes among them
    """
    counts = {}
    down = [
        daemon
        for daemon in (services.daemon(config, name) for name in names)
        if daemon.pid() is None
    ]
    for daemon in down:
        # all of them import side by side
        if daemon.forked_by:
            daemon.forked_by.start_forkserver()
    for daemon in down:
        name = daemon.name
        counts[name] = _reports(config, name)
        _clock_file(config, name).unlink(missing_ok=True)
        given = options if name.startswith('nova-compute-') else None
        daemon.start(services.option_environment(given or {}))
    for name, before in counts.items():
        _wait_serving(config, name, before)


def start(
    config: Settings,
    name: str,
    clock: int = 0,
    options: collections.abc.Mapping[str, object] | None = None,
) -> None:
    """Start one service with its clock shifted; wait until it serves."""
    if name == 'mariadb':
        services.database(config).start()
        return
    daemon = services.daemon(config, name)
    if daemon.pid() is not None and _clock(config, name) != clock:
        daemon.kill()
    before = _reports(config, name)
    if daemon.pid() is None:
        if name in services.APIS:
            # a worker outlives its master, which was killed, for a moment
            process.wait_for(
                lambda: not process.listens(config.port(name)),
                30,
                f'the port of {name} to be free',
            )
        daemon.start(
            {
                **services.clock_environment(clock),
                **services.option_environment(options or {}),
            }
        )
        _clock_file(config, name).write_text(str(clock))
        _wait_serving(config, name, before)


def _clock_file(config: Settings, name: str) -> pathlib.Path:
    return config.run / f'{name}.clock'


def _clock(config: Settings, name: str) -> int:
    try:
        return int(_clock_file(config, name).read_text())
    except FileNotFoundError:
        return 0


def _reports(config: Settings, name: str) -> int:
    """Return how often a worker has reported to its database so far.

    Counted, not timed: the clock of a service may be shifted.
    """
    binary = 'nova-compute' if name.startswith('nova-compute-') else name
    if name in services.CINDER_CONTROL:
        where, arguments = 'cinder', [binary]
        query = 'SELECT MIN(report_count) AS n FROM services'
        query += ' WHERE `binary` = %s AND deleted = 0'
    elif name.startswith(('nova-compute-', *services.NOVA_CONTROL)):
        where = 'nova'
        host = name.removeprefix('nova-compute-')
        arguments = [binary, host if host != name else 'control']
        query = 'SELECT report_count AS n FROM services'
        query += ' WHERE `binary` = %s AND host = %s AND deleted = 0'
    else:
        return 0
    rows = services.database(config).sql(where, query, arguments)
    return int(rows[0]['n'] or 0) if rows else 0


def _wait_serving(
    config: Settings, name: str, reports: int, seconds: float = 120
) -> None:
    """Wait until a service answers, or has reported once more."""
    daemon = services.daemon(config, name)

    def serves() -> bool:
        if daemon.pid() is None:
            raise CloudError(
                f'{name} ended; see {config.logs}:\n{daemon.log_tail()}'
            )
        if name in services.APIS:
            return _answers(config.http(name, '/'))
        if name in settings.LISTENERS:
            return process.listens(config.port(name))
        return _reports(config, name) > reports

    process.wait_for(serves, seconds, f'{name}, see {config.logs}')


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        return error.code in (300, 401)
    except OSError:
        return False


def _wait_inventories(config: Settings) -> None:
    query = 'SELECT COUNT(DISTINCT resource_provider_id) AS n FROM inventories'

    def all_there() -> bool:
        rows = services.database(config).sql('placement', query)
        return bool(rows[0]['n'] >= len(config.hosts))

    process.wait_for(all_there, 60, 'the inventories of all hosts')


def wait_pools(config: Settings) -> None:
    """Wait until cinder-scheduler has heard of both back ends."""
    storage = servers.connect(config).block_storage
    path = '/scheduler-stats/get_pools'
    process.wait_for(
        lambda: len(servers.call(storage, 'GET', path, 'pools')) >= 2,
        90,
        'the pools of both back ends',
        0.5,
    )


def ensure_up(config: Settings) -> None:
    """Return when everything runs and listens.

    :raises CloudError: naming what doesn't
    """
    down = []
    for name in services.names(config):
        if services.daemon(config, name).pid() is None:
            down.append(name)
        elif name in settings.LISTENERS:
            port = config.port(name)
            if not process.listens(port):
                down.append(f'{name} (runs, but port {port} is closed)')
    if down:
        raise CloudError(
            f'the practice cloud in {config.state} lacks '
            f"{', '.join(down)}: run 'python -m tests.cloud up'"
        )


def down(config: Settings, wipe: bool = False) -> None:
    """Stop all services; with *wipe* keep nothing but the packages."""
    with _alone(config):
        # SIGKILL: an orderly stop takes 15 s and gains nothing here
        _end_openstack(config)
        kill(config, ('rabbitmq', 'epmd'))
        services.database(config).stop(wipe=wipe)
        if wipe:
            for name in ('rabbitmq', 'var', 'etc', 'logs', 'saved', 'done'):
                shutil.rmtree(config.state / name, ignore_errors=True)


def _openstack(config: Settings) -> list[str]:
    return [
        name
        for name in services.names(config)
        if name not in services.INFRASTRUCTURE
    ]


def _end_openstack(config: Settings) -> None:
    kill(config, _openstack(config))
    for server in services.forkservers(config):
        server.kill()


def kill(config: Settings, names: collections.abc.Iterable[str]) -> None:
    """Kill several services side by side."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        daemons = [services.daemon(config, name) for name in names]
        list(pool.map(Daemon.kill, daemons))


def reset(config: Settings) -> None:
    """Put databases, queues, guests and calls back as they were saved.

    :raises CloudError: when nothing was saved
    """
    if not saved.exists(config):
        raise CloudError("nothing was saved: run 'up' first")
    with _alone(config):
        say = _Progress()
        start_infrastructure(config)
        writers = [
            name
            for name in services.names(config)
            if name.startswith('nova-compute-')
            or name in ('nova-conductor', 'cinder-volume', 'cinder-backup')
            or _clock(config, name)
        ]
        kill(config, writers)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            purged = pool.submit(broker.purge_all, config)
            changed = saved.restore(config)
            purged.result()
        say(f'{len(changed)} tables restored, queues purged')
        launch(config, services.names(config))
        wait_pools(config)
        say('reset')


def _write_clouds_yaml(config: Settings) -> None:
    """Write clouds.yaml; JSON is YAML too."""
    clouds = {}
    for cloud, user in (('practice', 'admin'), ('practice-demo', 'demo')):
        values = config.user_environment(user)
        clouds[cloud] = {
            'auth': {
                'auth_url': values['OS_AUTH_URL'],
                'username': user,
                'password': values['OS_PASSWORD'],
                'project_name': values['OS_PROJECT_NAME'],
                'user_domain_name': 'Default',
                'project_domain_name': 'Default',
            },
            'region_name': config.region,
        }
    path = config.state / 'clouds.yaml'
    path.touch(mode=0o600)
    path.write_text(json.dumps({'clouds': clouds}, indent=2) + '\n')
