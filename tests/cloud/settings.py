# SPDX-License-Identifier: Apache-2.0

"""All that is fixed about one practice cloud: paths, ports, passwords."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import pathlib
import socket
import tempfile

from tests.cloud import mariadb
from tests.cloud.process import CloudError

PROJECT_ROOT = pathlib.Path(__file__).resolve().parents[2]

#: What listens; the position is the offset from the base port.
LISTENERS = (
    'mariadb',
    'rabbitmq',
    'rabbitmq-dist',
    'epmd',
    'keystone',
    'placement',
    'glance-api',
    'neutron-api',
    'nova-api',
    'cinder-api',
)
_BASE_PORTS = range(15000, 25000, 100)
#: Held while ports are chosen, by whichever clone.
_CHOOSING = (
    pathlib.Path(tempfile.gettempdir())
    / f'practice-cloud-ports-{os.getuid()}.lock'
)

#: Databases of the services, in the order in which nova wants them.
DATABASES = (
    'nova_api',
    'nova_cell0',
    'nova',
    'placement',
    'neutron',
    'keystone',
    'glance',
    'cinder',
)


def default_state() -> pathlib.Path:
    """Return the state directory: NOVA_RECOVERY_CLOUD or .cloud."""
    chosen = os.environ.get('NOVA_RECOVERY_CLOUD')
    path = pathlib.Path(chosen) if chosen else PROJECT_ROOT / '.cloud'
    return path.absolute()


@dataclasses.dataclass(frozen=True)
class Settings:
    """One practice cloud. Passwords guard nothing: it is loopback only."""

    state: pathlib.Path
    base_port: int
    hosts: tuple[str, ...] = ('host1', 'host2', 'host3')
    region: str = 'RegionOne'
    admin_password: str = 'practice-admin'
    demo_password: str = 'practice-demo'
    service_password: str = 'practice-service'
    report_interval: int = 3
    service_down_time: int = 15
    rpc_response_timeout: int = 20

    @property
    def venv(self) -> pathlib.Path:
        return self.state / 'venv'

    @property
    def etc(self) -> pathlib.Path:
        return self.state / 'etc'

    @property
    def logs(self) -> pathlib.Path:
        return self.state / 'logs'

    @property
    def run(self) -> pathlib.Path:
        return self.state / 'run'

    @property
    def var(self) -> pathlib.Path:
        return self.state / 'var'

    @property
    def cinder_calls(self) -> pathlib.Path:
        """The JSON lines that the cinder drivers write, one for a call."""
        return self.var / 'cinder' / 'calls.jsonl'

    def guests(self, host: str) -> pathlib.Path:
        """The file in which the hypervisor of a host keeps its guests."""
        return self.var / f'compute-{host}' / 'guests.json'

    def console(self, host: str, server: str) -> pathlib.Path:
        """The file with what a server's guest printed at its last start."""
        return self.var / f'compute-{host}' / 'console' / server

    def next_boot(self, host: str, server: str) -> pathlib.Path:
        """The file that tells a hypervisor how a guest's next start goes."""
        return self.var / f'compute-{host}' / 'next' / server

    def port(self, listener: str) -> int:
        """Return the TCP port of one of the listeners."""
        return self.base_port + LISTENERS.index(listener)

    def http(self, listener: str, path: str = '') -> str:
        """Return the URL of an API on loopback."""
        return f'http://127.0.0.1:{self.port(listener)}{path}'

    @property
    def auth_url(self) -> str:
        return self.http('keystone', '/v3')

    @property
    def transport_url(self) -> str:
        port = self.port('rabbitmq')
        return f'rabbit://guest:guest@127.0.0.1:{port}//'

    def database_url(self, database: str, user: str = 'nova') -> str:
        """Return the SQLAlchemy URL of a database for nova or reader."""
        password = mariadb.ACCOUNTS[user]
        return (
            f'mysql+pymysql://{user}:{password}@127.0.0.1:'
            f'{self.port("mariadb")}/{database}?charset=utf8'
        )

    def user_environment(self, user: str = 'admin') -> dict[str, str]:
        """Return the OS_ variables of the users admin or demo."""
        password = {'admin': self.admin_password, 'demo': self.demo_password}[
            user
        ]
        return {
            'OS_AUTH_TYPE': 'password',
            'OS_AUTH_URL': self.auth_url,
            'OS_USERNAME': user,
            'OS_PASSWORD': password,
            'OS_PROJECT_NAME': user,
            'OS_USER_DOMAIN_NAME': 'Default',
            'OS_PROJECT_DOMAIN_NAME': 'Default',
            'OS_IDENTITY_API_VERSION': '3',
            'OS_REGION_NAME': self.region,
            'OS_INTERFACE': 'public',
        }


def _chosen_elsewhere(places: str, state: pathlib.Path) -> set[int]:
    """What other clouds of this user have chosen; they may not listen yet.

    :param places: their state directories, a line each
    """
    others = (
        pathlib.Path(line) / 'cloud.json'
        for line in places.splitlines()
        if line != str(state)
    )
    return {
        json.loads(path.read_text())['base_port']
        for path in others
        if path.exists() and path.stat().st_size
    }


def _block_is_free(base: int) -> bool:
    for offset in range(len(LISTENERS)):
        with socket.socket() as probe:
            # as the daemons do, so that TIME_WAIT counts as free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(('127.0.0.1', base + offset))
            except OSError:
                return False
    return True


def load(state: pathlib.Path | None = None, create: bool = False) -> Settings:
    """Return the settings of the cloud in a state directory.

    Ports are chosen once, by the first ``up``, and then remembered, so that
    clouds of two clones can run side by side.

    :raises CloudError: when there is no cloud and *create* is false
    """
    state = state or default_state()
    remembered = state / 'cloud.json'
    if not remembered.exists():
        if not create:
            raise CloudError(
                f'there is no practice cloud in {state}: run '
                f"'python -m tests.cloud up'"
            )
        state.mkdir(parents=True, exist_ok=True)
        with open(_CHOOSING, 'a+') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.seek(0)
            others = _chosen_elsewhere(lock.read(), state.resolve())
            lock.write(f'{state.resolve()}\n')
            base = next(
                base
                for base in _BASE_PORTS
                if base not in others and _block_is_free(base)
            )
            remembered.write_text(json.dumps({'base_port': base}) + '\n')
    return Settings(state, json.loads(remembered.read_text())['base_port'])
