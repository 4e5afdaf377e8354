# SPDX-License-Identifier: Apache-2.0

"""What the services need before they start: databases, users, endpoints."""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import subprocess
import typing

import openstack.connection

from tests.cloud import process, services, settings
from tests.cloud.mariadb import MariaDB
from tests.cloud.process import CloudError
from tests.cloud.settings import Settings

#: Service, its type, its listener and the path of its endpoint.
_SERVICES = (
    ('nova', 'compute', 'nova-api', '/v2.1'),
    ('cinder', 'block-storage', 'cinder-api', '/v3'),
    ('cinderv3', 'volumev3', 'cinder-api', '/v3'),
    ('glance', 'image', 'glance-api', ''),
    ('placement', 'placement', 'placement', ''),
    ('neutron', 'network', 'neutron-api', ''),
)

# "Open vSwitch agent" rows: with them ml2 binds ports, no agent needed
_AGENT = """
REPLACE INTO agents (id, agent_type, `binary`, topic, host, admin_state_up,
  created_at, started_at, heartbeat_timestamp, configurations, `load`)
VALUES (md5(%s), 'Open vSwitch agent', 'neutron-openvswitch-agent', 'N/A', %s,
  1, utc_timestamp(), utc_timestamp(), '2099-01-01 00:00:00',
  '{"bridge_mappings": {"physnet1": "br-ex"}, "tunnel_types": ["vxlan"],
    "datapath_type": "system", "ovs_hybrid_plug": false}', 0)
"""


class Commands:
    """The services' own management programs."""

    def __init__(self, config: Settings) -> None:
        self.config = config

    def run(
        self,
        program: str,
        files: list[pathlib.Path],
        *arguments: str,
        **environment: str,
    ) -> None:
        """Run one; its output goes to a log file of its name.

        :raises CloudError: with the end of the log, when it fails
        """
        log = self.config.logs / f'{program}.log'
        done = subprocess.run(
            [
                str(self.config.venv / 'bin' / program),
                *services.config_file_options(*files),
                *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=process.clean_environment(
                {'PYTHONWARNINGS': 'ignore'}, environment
            ),
        )
        with open(log, 'a') as output:
            output.write(done.stdout)
        if done.returncode != 0:
            tail = '\n'.join(done.stdout.splitlines()[-15:])
            raise CloudError(
                f'{program} {" ".join(arguments)} failed:\n{tail}'
            )

    def nova_manage(self, *arguments: str) -> None:
        files = services.nova_config_files(self.config)
        self.run('nova-manage', files, *arguments)


def create_databases(config: Settings, server: MariaDB) -> None:
    """Create all databases and their tables, two at a time."""
    for database in settings.DATABASES:
        server.create_database(database)
    etc = config.etc
    commands = Commands(config)

    def nova_and_placement() -> None:
        commands.nova_manage('api_db', 'sync')
        commands.nova_manage(
            *('cell_v2', 'map_cell0'),
            *('--database_connection', config.database_url('nova_cell0')),
        )
        # with cell0 mapped this makes the tables of cell0 too
        commands.nova_manage('db', 'sync')
        commands.run(
            'placement-manage',
            [etc / 'placement' / 'placement.conf'],
            *('db', 'sync'),
            OS_PLACEMENT_CONFIG_DIR=str(etc / 'placement'),
        )

    def others() -> None:
        commands.run(
            'neutron-db-manage',
            [etc / 'neutron' / 'neutron.conf'],
            *('upgrade', 'heads'),
        )
        commands.run(
            'keystone-manage', [etc / 'keystone' / 'keystone.conf'], 'db_sync'
        )
        commands.run(
            'glance-manage', [etc / 'glance' / 'glance-api.conf'], 'db_sync'
        )
        commands.run(
            'cinder-manage',
            [services.cinder_config_file(config)],
            'db',
            'sync',
        )

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(nova_and_placement), pool.submit(others)]:
            done.result()


def bootstrap_keystone(config: Settings) -> None:
    """Make the keys, the admin user and the identity endpoints."""
    commands = Commands(config)
    files = [config.etc / 'keystone' / 'keystone.conf']
    for repository in ('tokens', 'receipts', 'credential'):
        path = config.var / 'keystone' / repository
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    owner = ('--keystone-user', str(os.geteuid()))
    group = ('--keystone-group', str(os.getegid()))
    for setup in ('fernet_setup', 'receipt_setup', 'credential_setup'):
        commands.run('keystone-manage', files, setup, *owner, *group)
    commands.run(
        'keystone-manage',
        files,
        'bootstrap',
        *('--bootstrap-password', config.admin_password),
        *('--bootstrap-public-url', config.auth_url),
        *('--bootstrap-internal-url', config.auth_url),
        *('--bootstrap-admin-url', config.auth_url),
        *('--bootstrap-region-id', config.region),
    )


def create_cell(config: Settings, server: MariaDB) -> None:
    """Map cell1, unless it is mapped."""
    if not server.sql(
        'nova_api', "SELECT id FROM cell_mappings WHERE name = 'cell1'"
    ):
        Commands(config).nova_manage(
            'cell_v2', 'create_cell', '--name', 'cell1'
        )


def register_agents(config: Settings, server: MariaDB) -> None:
    """Give each compute host a live L2 agent, as far as neutron can see."""
    for host in config.hosts:
        server.sql('neutron', _AGENT, [f'ovs-{host}', host])


def create_users_and_endpoints(
    config: Settings, admin: openstack.connection.Connection
) -> None:
    """Create projects, users, services and endpoints that are missing."""
    # typed by openstacksdk as either version of the API
    identity: typing.Any = admin.identity
    project = {p.name: p for p in identity.projects()}
    for name in ('service', 'demo'):
        if name not in project:
            project[name] = identity.create_project(
                name=name, domain_id='default'
            )
    role = {r.name: r for r in identity.roles()}
    user = {u.name: u for u in identity.users()}
    if 'demo' not in user:
        user['demo'] = identity.create_user(
            name='demo', password=config.demo_password, domain_id='default'
        )
    identity.assign_project_role_to_user(
        project['demo'], user['demo'], role['member']
    )
    identity.assign_project_role_to_user(
        project['demo'], user['admin'], role['admin']
    )
    service = {s.name: s for s in identity.services()}
    endpoints = {(e.service_id, e.interface): e for e in identity.endpoints()}
    for name, kind, listener, path in _SERVICES:
        if name not in user and name != 'cinderv3':
            user[name] = identity.create_user(
                name=name,
                password=config.service_password,
                domain_id='default',
            )
            for granted in ('admin', 'service'):
                identity.assign_project_role_to_user(
                    project['service'], user[name], role[granted]
                )
        if name not in service:
            service[name] = identity.create_service(name=name, type=kind)
        for interface in ('public', 'internal'):
            if (service[name].id, interface) not in endpoints:
                identity.create_endpoint(
                    service_id=service[name].id,
                    interface=interface,
                    url=config.http(listener, path),
                    region_id=config.region,
                )
