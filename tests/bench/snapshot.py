# SPDX-License-Identifier: Apache-2.0

"""A snapshot of many servers, beside mariadb-dump of the same rows.

``python -m tests.bench.snapshot --servers 100000``: the tables are filled
anew, then both read them, one after the other, each from a warm cache and in
a process of its own. Interpreter start and logins are part of the times.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

from tests.cloud import mariadb, process
from tests.cloud.mariadb import MariaDB

SCHEMAS = pathlib.Path(__file__).parents[1] / 'schemas'

#: What the snapshot reads of each database.
TABLES = {
    'nova': (
        'instances',
        'instance_extra',
        'instance_metadata',
        'tags',
        'block_device_mapping',
        'instance_info_caches',
        'services',
        'compute_nodes',
    ),
    'cinder': ('volumes', 'volume_attachment', 'services'),
}

#: A table is filled from the numbers 1 to n; two volumes a server.
_FILL = {
    'nova': (
        """INSERT INTO instances (id, uuid, display_name, hostname, host, node,
        vm_state, power_state, project_id, user_id, deleted, launched_on,
        availability_zone, hidden, locked, memory_mb, vcpus, root_gb,
        ephemeral_gb, instance_type_id, root_device_name, image_ref,
        created_at, updated_at, launched_at)
        SELECT seq, {server}, CONCAT('server-', seq), CONCAT('server-', seq),
        CONCAT('compute-', seq % 1000), CONCAT('compute-', seq % 1000),
        'active', 1, MD5(seq % 500), MD5(seq % 900), 0,
        CONCAT('compute-', seq % 1000), 'nova', 0, 0, 4096, 2, 20, 0, 5,
        '/dev/vda', '', NOW(), NOW(), NOW() FROM seq_1_to_{servers}""",
        """INSERT INTO instance_extra (instance_uuid, flavor, numa_topology,
        pci_requests, vcpu_model, deleted)
        SELECT {server}, CONCAT('{flavor_a}', seq % 40, '{flavor_b}'), NULL,
        '[]', REPEAT('v', 1500), 0 FROM seq_1_to_{servers}""",
        """INSERT INTO instance_metadata (instance_uuid, `key`, value, deleted)
        SELECT {server}, 'priority', seq % 5, 0 FROM seq_1_to_{servers}""",
        """INSERT INTO block_device_mapping (id, uuid, instance_uuid,
        volume_id, device_name, boot_index, source_type, destination_type,
        attachment_id, delete_on_termination, connection_info, deleted)
        SELECT seq, {other}, {owner}, {volume},
        IF(seq % 2, '/dev/vda', '/dev/vdb'), IF(seq % 2, 0, NULL), 'volume',
        'volume', {attachment}, 0, CONCAT('{connection_a}', {volume},
        '{connection_b}'), 0 FROM seq_1_to_{volumes}""",
        """INSERT INTO instance_info_caches (instance_uuid, network_info,
        deleted) SELECT {server}, CONCAT('{cache_a}', {server},
        '{cache_b}'), 0 FROM seq_1_to_{servers}""",
        """INSERT INTO services (host, `binary`, topic, report_count, deleted,
        disabled) SELECT CONCAT('compute-', seq), 'nova-compute', 'compute',
        1000, 0, 0 FROM seq_0_to_999""",
        """INSERT INTO compute_nodes (host, hypervisor_hostname, uuid, vcpus,
        memory_mb, local_gb, vcpus_used, memory_mb_used, local_gb_used,
        hypervisor_type, hypervisor_version, cpu_info, deleted)
        SELECT CONCAT('compute-', seq), CONCAT('compute-', seq), UUID(), 64,
        262144, 1000, 0, 0, 0, 'QEMU', 1, '{{}}', 0 FROM seq_0_to_999""",
    ),
    'cinder': (
        """INSERT INTO volumes (id, display_name, size, status, attach_status,
        host, availability_zone, project_id, user_id, deleted, bootable,
        volume_type_id, use_quota, created_at, updated_at, provider_location,
        multiattach)
        SELECT {volume}, CONCAT('volume-', seq), 10, 'in-use', 'attached',
        'control@lvm#lvm', 'nova', MD5(seq % 500), MD5(seq % 900), 0, 1,
        MD5('type'), 1, NOW(), NOW(), REPEAT('l', 90), 0
        FROM seq_1_to_{volumes}""",
        """INSERT INTO volume_attachment (id, volume_id, instance_uuid,
        attached_host, mountpoint, attach_mode, attach_status, attach_time,
        connection_info, connector, deleted)
        SELECT {attachment}, {volume}, {owner},
        CONCAT('compute-', (seq + 1) DIV 2 % 1000), IF(seq % 2, '/dev/vda',
        '/dev/vdb'), 'rw', 'attached', NOW(), CONCAT('{connection_a}',
        {volume}, '{connection_b}'), CONCAT('{connector_a}',
        (seq + 1) DIV 2 % 1000, '{connector_b}'), 0
        FROM seq_1_to_{volumes}""",
    ),
}

_CONNECTION = {
    'driver_volume_type': 'iscsi',
    'data': {
        'target_discovered': False,
        'target_portal': '10.0.0.1:3260',
        'target_iqn': 'iqn.2010-10.org.openstack:volume-@',
        'target_lun': 1,
        'volume_id': 'x' * 36,
        'auth_method': 'CHAP',
        'auth_username': 'abcdefghijklmnopqrst',
        'auth_password': 'bench-secret',
        'encrypted': False,
        'qos_specs': None,
        'access_mode': 'rw',
        'cacheable': False,
        'device_path': '/dev/sdb',
    },
    'status': 'reserved',
    'instance': 'y' * 36,
    'attached_at': '',
    'serial': 'z' * 36,
}
_CONNECTOR = {
    'platform': 'x86_64',
    'os_type': 'linux',
    'ip': '10.0.0.9',
    'host': 'compute-@',
    'multipath': False,
    'initiator': 'iqn.1993-08.org.debian:01:abcdef',
    'do_local_attach': False,
    'uuid': 'u' * 36,
    'mountpoint': '/dev/vdb',
}
_FLAVOR = {
    'cur': {
        'nova_object.name': 'Flavor',
        'nova_object.data': {
            'id': 5,
            'name': 'm1.@',
            'memory_mb': 4096,
            'vcpus': 2,
            'root_gb': 20,
            'flavorid': '5',
            'extra_specs': {'hw:cpu_policy': 'shared'},
            'description': 'd' * 400,
        },
    },
    'old': None,
    'new': None,
}
_CACHE = [
    {
        'id': '@',
        'address': 'fa:16:3e:00:00:01',
        'type': 'ovs',
        'network': {
            'id': 'n' * 36,
            'label': 'l' * 300,
            'subnets': [
                {
                    'cidr': '10.0.0.0/24',
                    'ips': [{'address': '10.0.0.7', 'floating_ips': []}],
                    'routes': ['r' * 400],
                }
            ],
        },
        'details': {'more': 'm' * 400},
    }
]


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m tests.bench.snapshot')
    parser.add_argument('--servers', type=int, default=10_000)
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=pathlib.Path.cwd()) as name:
        folder = pathlib.Path(name)
        with MariaDB(folder / 'db') as server:
            fill(server, parsed.servers)
            compare(server, folder)


def fill(server: MariaDB, servers: int) -> None:
    """Two databases with so many servers, and twice as many volumes."""

    def uuid(kind: int, number: str) -> str:
        return (
            f"CONCAT('{kind:08x}-0000-4000-8000-', LPAD(HEX({number}), 12,"
            f" '0'))"
        )

    values: dict[str, Any] = {
        'servers': servers,
        'volumes': 2 * servers,
        'server': uuid(1, 'seq'),
        'owner': uuid(1, '(seq + 1) DIV 2'),
        'volume': uuid(2, 'seq'),
        'attachment': uuid(3, 'seq'),
        'other': uuid(4, 'seq'),
    }
    for key, data in (
        ('connection', _CONNECTION),
        ('connector', _CONNECTOR),
        ('flavor', _FLAVOR),
        ('cache', _CACHE),
    ):
        text = json.dumps(data)
        values[f'{key}_a'], _at, values[f'{key}_b'] = text.partition('@')
    for database, statements in _FILL.items():
        server.load(database, SCHEMAS / f'nova34-{database}.sql')
        for statement in statements:
            server.sql(
                database,
                'SET STATEMENT foreign_key_checks = 0 FOR '
                + statement.format(**values),
            )


def compare(server: MariaDB, folder: pathlib.Path) -> None:
    dump = folder / 'dump.sql'
    began = time.perf_counter()
    with open(dump, 'wb') as output:
        for database, tables in TABLES.items():
            subprocess.run(
                [
                    process.program('mariadb-dump', 'mariadb-client'),
                    '--no-defaults',
                    *server.client_options,
                    '--single-transaction',
                    '--quick',
                    database,
                    *tables,
                ],
                stdout=output,
                env={**os.environ, 'MYSQL_PWD': mariadb.ACCOUNTS['root']},
                check=True,
            )
    dumped = time.perf_counter() - began
    nova, cinder = folder / 'nova.conf', folder / 'cinder.conf'
    ours = folder / 'nova-recovery.conf'
    nova.write_text('[DEFAULT]\nhost = control\n')
    cinder.write_text(f'[database]\nconnection = {server.url("cinder")}\n')
    ours.write_text(
        f'[DEFAULT]\nnova_config_file = {nova}\n'
        f'cinder_config_file = {cinder}\n[cells]\n'
        f'connection = cell1={server.url("nova")}\n'
    )
    path = folder / 'bench.snapshot'
    print(f'mariadb-dump    {dumped:7.1f} s  {size(dump)}')
    taken = run(
        f'snapshot create --no-api --file {path}', ours, 'snapshot create'
    )
    ratio = f'{taken / dumped:.2f} of the time of mariadb-dump'
    print(f'                {size(path)}, {ratio}')
    run(f'snapshot verify {path}', ours, 'snapshot verify')
    server.sql('nova', "UPDATE instances SET host = 'x' WHERE id % 100 = 0")
    run(f'snapshot diff {path} now --no-api', ours, 'snapshot diff now')


def run(
    words: str, ours: pathlib.Path, what: str, fine: tuple[int, ...] = (0,)
) -> float:
    """Run nova-recovery; print and return how long it took."""
    began, before = time.perf_counter(), used()
    done = subprocess.Popen(
        [
            str(pathlib.Path(sys.executable).with_name('nova-recovery')),
            *words.split(),
            '-f',
            'json',
            '--recovery-config-file',
            str(ours),
        ],
        stdout=subprocess.PIPE,
    )
    output = done.communicate()[0]
    taken = time.perf_counter() - began
    if done.returncode not in fine:
        raise SystemExit(f'{what} ended with {done.returncode}')
    # the largest child so far: each command takes more than those before
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f'{what:16}{taken:7.1f} s  {used() - before:.1f} s of processor, '
        f'{memory:.0f} MB of memory at most'
    )
    told = json.loads(output)
    print(
        f'                {len(told)} lines'
        if isinstance(told, list)
        else f'                {told["Rows"]} rows'
    )
    return taken


def used() -> float:
    """Seconds of processor time of all children so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def size(path: pathlib.Path) -> str:
    return f'{path.stat().st_size / 1e6:.0f} MB'


if __name__ == '__main__':
    main()
