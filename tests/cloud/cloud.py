# SPDX-License-Identifier: Apache-2.0

"""The practice cloud, as tests use it."""

from __future__ import annotations

import collections.abc
import json
import pathlib
import typing

import openstack.connection

from tests.cloud import (
    broker,
    lifecycle,
    outage,
    process,
    saved,
    seeding,
    servers,
    services,
    settings,
)
from tests.cloud.mariadb import MariaDB
from tests.cloud.settings import Settings


class PracticeCloud:
    """A real control plane on loopback with a fake hypervisor and storage.

    :param state: the state directory; NOVA_RECOVERY_CLOUD or ``.cloud``
        below the project root when None
    """

    def __init__(self, state: pathlib.Path | None = None) -> None:
        self.state = (state or settings.default_state()).absolute()
        self._config: Settings | None = None

    @property
    def config(self) -> Settings:
        """The settings of this cloud; raises CloudError before any up()."""
        if self._config is None:
            self._config = settings.load(self.state)
        return self._config

    # the whole cloud

    def up(self) -> None:
        """Install, create, start and seed whatever is missing."""
        self._config = settings.load(self.state, create=True)
        lifecycle.up(self.config)

    def down(self, wipe: bool = False) -> None:
        """Stop everything; with *wipe* also forget all but the packages."""
        lifecycle.down(self.config, wipe)

    def seed(self) -> None:
        """Create the ten servers and what they need, where missing."""
        seeding.seed(self.config)

    def reset(self) -> None:
        """Put databases, queues, guests and call log back as seeded."""
        lifecycle.reset(self.config)
        self._to_reset.unlink(missing_ok=True)

    def leave_to_reset(self) -> None:
        """Whoever has the cloud next has to reset it first."""
        self._to_reset.touch()

    def needs_reset(self) -> bool:
        """Whether the one before left that to us."""
        return self._to_reset.exists()

    @property
    def _to_reset(self) -> pathlib.Path:
        return self.config.state / 'to-reset'

    def ensure_up(self) -> None:
        """Return when every service runs and listens.

        :raises CloudError: naming every service that is down
        """
        lifecycle.ensure_up(self.config)

    def status(self) -> dict[str, int | None]:
        """Return the pid of each service, None for those that are down."""
        return {
            name: services.daemon(self.config, name).pid()
            for name in services.names(self.config)
        }

    # one service or host

    def start(
        self,
        service: str,
        clock: int = 0,
        options: collections.abc.Mapping[str, object] | None = None,
    ) -> None:
        """Start a service and wait until it serves.

        :param clock: seconds by which the service's clock is ahead; a
            running service with another clock is started anew
        :param options: of [DEFAULT], for a service that is down, until it
            is started anew: ``{"resume_guests_state_on_host_boot": True}``
        """
        lifecycle.start(self.config, service, clock, options)

    def stop(self, service: str) -> None:
        """End a service by SIGTERM."""
        services.daemon(self.config, service).stop()

    def kill(self, service: str) -> None:
        """End a service by SIGKILL; guests of a compute host go on running."""
        services.daemon(self.config, service).kill()

    def power_loss(self, host: str) -> None:
        """Kill a host's nova-compute and shut its guests off."""
        outage.of_host(self.config, host)

    def site_power_loss(self, database: bool = False) -> None:
        """Kill all nova-computes, cinder-volume and RabbitMQ; wipe guests.

        :param database: MariaDB too
        """
        outage.of_site(self.config, database)

    def site_power_on(
        self,
        compute: bool = True,
        options: collections.abc.Mapping[str, object] | None = None,
    ) -> None:
        """Start all that is down and wait until it serves.

        :param compute: the nova-computes too; else start each one later
        :param options: of [DEFAULT], for the nova-computes. By its own
            defaults nova stops, within seconds, active servers whose guest
            is off: ``{"sync_power_state_interval": -1}`` keeps it from that
        """
        outage.site_is_back(self.config, compute, options)

    def wait_compute_up(self, host: str, seconds: float = 60) -> None:
        """Wait until nova sees the compute service of a host as up."""
        self._wait_compute(host, 'up', seconds)

    def wait_compute_down(self, host: str, seconds: float = 60) -> None:
        """Wait until nova sees the compute service of a host as down."""
        self._wait_compute(host, 'down', seconds)

    def _wait_compute(self, host: str, state: str, seconds: float) -> None:
        compute = self.connection().compute

        def seen() -> bool:
            query = f'/os-services?host={host}&binary=nova-compute'
            found = compute.get(query).json()['services']
            return bool(found) and found[0]['state'] == state

        what = f'the compute service of {host} to be {state}'
        process.wait_for(seen, seconds, what, 0.5)

    # the fake hypervisors and storage

    def guests(self, host: str) -> dict[str, dict[str, typing.Any]]:
        """Return the guests that are on a host, whatever nova believes.

        ``{server UUID: {"name": "instance-0000000a", "state": "running" |
        "paused" | "shut off", "volumes": {device: volume UUID},
        "boots": how often it was started}}``
        """
        return outage.guests(self.config, host)

    def write_guests(
        self, host: str, guests: dict[str, dict[str, typing.Any]]
    ) -> None:
        """Replace the guests of a host whose nova-compute is down."""
        outage.write_guests(self.config, host, guests)

    def next_boot(
        self,
        server: str,
        console: str = '',
        error: str = '',
        seconds: float = 0,
        host: str = '',
    ) -> None:
        """Tell how the next start of a server's guest goes, that one only.

        :param console: what it prints in place of a login prompt
        :param error: it fails with these words, and the guest is off
        :param seconds: how long it takes; the guest is off meanwhile
        :param host: where it will be started; '': where it is
        """
        how = {'console': console, 'error': error, 'seconds': seconds}
        outage.next_boot(
            self.config, server, host, **{k: v for k, v in how.items() if v}
        )

    def cinder_calls(self) -> list[dict[str, typing.Any]]:
        """Return the calls that the storage drivers got, oldest first."""
        try:
            lines = self.config.cinder_calls.read_text().splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    # databases, queues, files

    @property
    def database(self) -> MariaDB:
        """The server of all databases."""
        return services.database(self.config)

    def sql(
        self,
        database: str,
        statement: str,
        arguments: collections.abc.Sequence[object]
        | dict[str, object]
        | None = None,
    ) -> list[dict[str, typing.Any]]:
        """Carry out a statement as root; return its rows as dicts."""
        return self.database.sql(database, statement, arguments)

    def database_url(self, database: str, user: str = 'nova') -> str:
        """Return an SQLAlchemy URL for the account nova or reader."""
        return self.config.database_url(database, user)

    def queue_depth(self, queue: str) -> int | None:
        """Return how many messages wait in a queue; None if it is missing."""
        return broker.queue_depth(self.config, queue)

    def purge_queue(self, queue: str) -> None:
        """Throw away the messages that wait in a queue."""
        broker.purge_queue(self.config, queue)

    def nova_config_files(self) -> list[str]:
        """Return nova's files of the control plane, databases included."""
        return [str(f) for f in services.nova_config_files(self.config)]

    def cinder_config_file(self) -> str:
        """Return cinder's file."""
        return str(services.cinder_config_file(self.config))

    def recovery_config_file(self) -> str:
        """Return the nova-recovery.conf of this cloud's operator."""
        path = self.state / 'nova-recovery.conf'
        journal = self.state / 'journal' / 'journal.sqlite'
        files = self.nova_config_files()
        lines = [
            '[DEFAULT]',
            *(f'nova_config_file = {name}' for name in files),
            f'cinder_config_file = {self.cinder_config_file()}',
            '[journal]',
            f'connection = sqlite:///{journal}',
            '[snapshot]',
            f'directory = {self.state / "snapshots"}',
        ]
        path.write_text('\n'.join(lines) + '\n')
        return str(path)

    # APIs

    def environment(self, user: str = 'admin') -> dict[str, str]:
        """Return the OS_ variables of admin or of the plain member demo."""
        return self.config.user_environment(user)

    def connection(
        self, user: str = 'admin', project: str | None = None
    ) -> openstack.connection.Connection:
        """Return a connection of admin or demo.

        :param project: admin or demo; that of the user's name when None
        """
        return servers.connect(self.config, user, project)

    def create_server(self, name: str, **options: typing.Any) -> typing.Any:
        """Create a server and wait; see :func:`servers.create`."""
        return servers.create(self.config, name, **options)

    def create_servers(self, name: str, count: int, host: str) -> list[str]:
        """Create plain servers NAME-1, NAME-2 by one request; their ids."""
        return servers.create_many(self.config, name, count, host)

    def delete_server(self, server: str) -> None:
        """Delete a server by UUID or name, with its volumes, and wait."""
        servers.delete(self.config, server)

    def wait_for(
        self,
        predicate: collections.abc.Callable[[], object],
        seconds: float,
        what: str,
    ) -> object:
        """Poll until the predicate is true; raise CloudError naming what."""
        return process.wait_for(predicate, seconds, what)

    def save(self) -> None:
        """Make the present state the one that reset() restores."""
        saved.save(self.config)

    def exports(self) -> dict[str, str]:
        """Return the variables that ``env`` prints for a shell."""
        return {
            **self.environment(),
            'OS_CLIENT_CONFIG_FILE': str(self.state / 'clouds.yaml'),
            'NOVA_RECOVERY_CONFIG_FILE': self.recovery_config_file(),
            'PRACTICE_STATE': str(self.state),
            'PRACTICE_NOVA_CONFIG_DIR': str(self.config.etc / 'nova'),
            'PRACTICE_CINDER_CONFIG_FILE': self.cinder_config_file(),
            'PRACTICE_DATABASE_PORT': str(self.config.port('mariadb')),
            'PRACTICE_TRANSPORT_URL': self.config.transport_url,
        }
