# SPDX-License-Identifier: Apache-2.0

"""Writes the services' configuration files, as an operator has them."""

from __future__ import annotations

import pathlib
import shutil

from tests.cloud.settings import Settings

Sections = dict[str, dict[str, object]]


def write_all(config: Settings) -> None:
    """Write every configuration file below the etc directory.

    The layout of nova is that of a real control plane: ``nova.conf`` alone,
    which computes have too, has no database; ``db.conf`` adds both.
    """
    etc = config.etc
    for name, sections in {
        'keystone/keystone.conf': _keystone(config),
        'placement/placement.conf': _placement(config),
        'glance/glance-api.conf': _glance(config),
        'neutron/neutron.conf': _neutron(config),
        'nova/nova.conf': _nova(config),
        'nova/db.conf': {
            'api_database': _database(config, 'nova_api'),
            'database': _database(config, 'nova'),
        },
        'cinder/cinder.conf': _cinder(config),
        **{
            f'compute/{host}.conf': _compute(config, host)
            for host in config.hosts
        },
    }.items():
        _write(etc / name, sections)
    packaged = config.venv / 'etc'
    for name in (
        'glance/glance-api-paste.ini',
        'nova/api-paste.ini',
        'neutron/api-paste.ini',
        'cinder/api-paste.ini',
        'cinder/resource_filters.json',
    ):
        shutil.copy(packaged / name, etc / name)
    for directory in (
        *(config.logs, config.run, config.var / 'lock'),
        *(config.var / name for name in ('nova', 'cinder', 'neutron')),
        *(config.var / 'glance' / name for name in ('images', 'tmp')),
        *(config.var / f'compute-{host}' for host in config.hosts),
    ):
        directory.mkdir(parents=True, exist_ok=True)


def _write(path: pathlib.Path, sections: Sections) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for section, options in sections.items():
        lines.append(f'[{section}]')
        lines += [f'{name} = {value}' for name, value in options.items()]
        lines.append('')
    path.touch(mode=0o640)
    path.write_text('\n'.join(lines))


def _database(config: Settings, name: str) -> dict[str, object]:
    return {
        'connection': config.database_url(name),
        'max_pool_size': 10,
        'max_overflow': 20,
    }


def _auth(config: Settings, user: str) -> dict[str, object]:
    return {
        'auth_type': 'password',
        'auth_url': config.auth_url,
        'username': user,
        'password': config.service_password,
        'project_name': 'service',
        'user_domain_name': 'Default',
        'project_domain_name': 'Default',
        'region_name': config.region,
    }


def _authtoken(
    config: Settings, user: str, service_type: str
) -> dict[str, object]:
    return {
        'www_authenticate_uri': config.http('keystone'),
        'service_token_roles': 'service',
        'service_token_roles_required': 'true',
        'service_type': service_type,
        **_auth(config, user),
    }


def _locks(config: Settings) -> dict[str, object]:
    return {'lock_path': config.var / 'lock'}


def _keystone(config: Settings) -> Sections:
    keys = config.var / 'keystone'
    return {
        'DEFAULT': {'log_file': config.logs / 'keystone.log'},
        'database': _database(config, 'keystone'),
        'token': {'provider': 'fernet', 'expiration': 86400},
        'fernet_tokens': {'key_repository': keys / 'tokens'},
        'fernet_receipts': {'key_repository': keys / 'receipts'},
        'credential': {'key_repository': keys / 'credential'},
        'identity': {'password_hash_rounds': 4},
        'cache': {'enabled': 'true', 'backend': 'dogpile.cache.memory'},
    }


def _placement(config: Settings) -> Sections:
    return {
        'DEFAULT': {'log_file': config.logs / 'placement.log'},
        'placement_database': _database(config, 'placement'),
        'keystone_authtoken': _authtoken(config, 'placement', 'placement'),
    }


def _glance(config: Settings) -> Sections:
    store = config.var / 'glance'
    return {
        'DEFAULT': {
            'log_file': config.logs / 'glance-api.log',
            'enabled_backends': 'file1:file',
            'worker_self_reference_url': config.http('glance-api'),
        },
        'glance_store': {'default_backend': 'file1'},
        'file1': {'filesystem_store_datadir': store / 'images'},
        'os_glance_staging_store': {'filesystem_store_datadir': store / 'tmp'},
        'os_glance_tasks_store': {'filesystem_store_datadir': store / 'tmp'},
        'database': _database(config, 'glance'),
        'paste_deploy': {
            'flavor': 'keystone',
            'config_file': config.etc / 'glance' / 'glance-api-paste.ini',
        },
        'oslo_concurrency': _locks(config),
        'keystone_authtoken': _authtoken(config, 'glance', 'image'),
    }


def _nova(config: Settings) -> Sections:
    return {
        'DEFAULT': {
            'my_ip': '127.0.0.1',
            'host': 'control',
            'state_path': config.var / 'nova',
            'transport_url': config.transport_url,
            'report_interval': config.report_interval,
            'service_down_time': config.service_down_time,
            'rpc_response_timeout': config.rpc_response_timeout,
            'osapi_compute_workers': 1,
            'periodic_fuzzy_delay': 2,
            'update_resources_interval': 20,
            'heal_instance_info_cache_interval': -1,
            # no agent plugs anything, so no event will come
            'vif_plugging_is_fatal': 'false',
            'vif_plugging_timeout': 0,
        },
        'api': {'auth_strategy': 'keystone'},
        'wsgi': {'api_paste_config': config.etc / 'nova' / 'api-paste.ini'},
        'conductor': {'workers': 1},
        'scheduler': {'workers': 1},
        'vnc': {'enabled': 'false'},
        'quota': {'instances': -1, 'cores': -1, 'ram': -1},
        'oslo_concurrency': _locks(config),
        'filter_scheduler': {'track_instance_changes': 'false'},
        'placement': _auth(config, 'placement'),
        'glance': _auth(config, 'glance'),
        'cinder': {
            **_auth(config, 'cinder'),
            'catalog_info': 'block-storage::publicURL',
        },
        'neutron': _auth(config, 'neutron'),
        'barbican': {'auth_endpoint': config.auth_url},
        'service_user': {
            'send_service_user_token': 'true',
            **_auth(config, 'nova'),
        },
        'keystone_authtoken': _authtoken(config, 'nova', 'compute'),
    }


def _compute(config: Settings, host: str) -> Sections:
    state = config.var / f'compute-{host}'
    return {
        'DEFAULT': {
            'host': host,
            'state_path': state,
            'compute_driver': 'practice.PracticeDriver',
        },
        'oslo_concurrency': {'lock_path': state},
    }


def _cinder(config: Settings) -> Sections:
    etc = config.etc / 'cinder'
    backends: Sections = {
        name: {
            'volume_driver': f'cinder.volume.drivers.practice.{driver}',
            'volume_backend_name': name,
        }
        for name, driver in (('iscsi', 'ISCSIDriver'), ('rbd', 'RBDDriver'))
    }
    return {
        'DEFAULT': {
            'my_ip': '127.0.0.1',
            'host': 'volumes',
            'state_path': config.var / 'cinder',
            'transport_url': config.transport_url,
            'auth_strategy': 'keystone',
            'api_paste_config': etc / 'api-paste.ini',
            'resource_query_filters_file': etc / 'resource_filters.json',
            'enabled_backends': ','.join(backends),
            'default_volume_type': 'iscsi',
            'glance_api_servers': config.http('glance-api'),
            'report_interval': config.report_interval,
            'service_down_time': config.service_down_time,
            'rpc_response_timeout': config.rpc_response_timeout,
            'osapi_volume_workers': 1,
            'quota_volumes': -1,
            'quota_gigabytes': -1,
            'quota_backups': -1,
            'quota_backup_gigabytes': -1,
            'backup_manager': 'cinder.backup.practice.PracticeManager',
            'backup_driver': 'cinder.backup.practice.PracticeDriver',
            # the class reads a whole one at a time
            'backup_file_size': 1048576,
            'backup_native_threads_pool_size': 20,
        },
        **backends,
        'database': _database(config, 'cinder'),
        'oslo_concurrency': _locks(config),
        'nova': _auth(config, 'nova'),
        'service_user': {
            'send_service_user_token': 'true',
            **_auth(config, 'cinder'),
        },
        'keystone_authtoken': _authtoken(config, 'cinder', 'block-storage'),
    }


def _neutron(config: Settings) -> Sections:
    return {
        'DEFAULT': {
            'host': 'control',
            'state_path': config.var / 'neutron',
            'log_file': config.logs / 'neutron-api.log',
            'transport_url': config.transport_url,
            'auth_strategy': 'keystone',
            'api_paste_config': config.etc / 'neutron' / 'api-paste.ini',
            'core_plugin': 'ml2',
            'service_plugins': '',
            'notify_nova_on_port_status_changes': 'false',
            'notify_nova_on_port_data_changes': 'false',
            'dhcp_agent_notification': 'false',
            'agent_down_time': 3600,
            'api_workers': 1,
            'rpc_workers': 0,
            'rpc_state_report_workers': 0,
        },
        'ml2': {
            'type_drivers': 'flat,vlan,local',
            'tenant_network_types': 'local',
            'mechanism_drivers': 'openvswitch',
            'extension_drivers': 'port_security',
        },
        'ml2_type_flat': {'flat_networks': '*'},
        'ml2_type_vlan': {'network_vlan_ranges': 'physnet1:100:200'},
        'database': _database(config, 'neutron'),
        'oslo_concurrency': _locks(config),
        'nova': _auth(config, 'nova'),
        'keystone_authtoken': _authtoken(config, 'neutron', 'network'),
    }
