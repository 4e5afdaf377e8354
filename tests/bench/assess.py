# SPDX-License-Identifier: Apache-2.0

"""What a power loss did, beside plain SELECTs of the same columns.

``python -m tests.bench.assess --servers 10000``: the tables are filled anew,
a snapshot is taken, and then the power goes: first no compute is back, then
all are and nova's power sync has stopped every second server. Each time every
server that is down is read twice. The yardstick is the mariadb client, which
reads what has to be read at least once and throws it away. Interpreter start
and logins are part of the times.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import subprocess
import tempfile
import time

from tests.bench import snapshot
from tests.cloud import mariadb, process
from tests.cloud.mariadb import MariaDB

#: Actions of each server from before the outage.
HISTORY = 10

_SELECTS = {
    'nova': (
        'SELECT id, uuid, display_name, host, node, vm_state, power_state,'
        ' task_state, project_id FROM instances WHERE deleted = 0',
        'SELECT instance_uuid, `key`, value FROM instance_metadata'
        ' WHERE deleted = 0',
        'SELECT id, instance_uuid, volume_id, device_name, boot_index, tag,'
        " attachment_id, connection_info LIKE '%driver_volume_type%'"
        ' FROM block_device_mapping WHERE deleted = 0',
        'SELECT id, instance_uuid, action, user_id, request_id'
        ' FROM instance_actions WHERE id > {mark}',
        'SELECT host, `binary`, last_seen_up FROM services',
    ),
    'cinder': (
        'SELECT id, display_name, project_id, status, attach_status,'
        ' migration_status, multiattach, created_at, updated_at FROM volumes'
        ' WHERE deleted = 0',
        'SELECT id, volume_id, instance_uuid, attach_status, attached_host,'
        " attach_mode, connection_info LIKE '%driver_volume_type%'"
        ' FROM volume_attachment WHERE deleted = 0',
        'SELECT host, `binary`, updated_at FROM services',
    ),
}

_ALIVE = 'UPDATE services SET last_seen_up = UTC_TIMESTAMP()'
_DARK = (
    'UPDATE services SET last_seen_up = UTC_TIMESTAMP() - INTERVAL 1 HOUR',
)
_BACK = (
    'UPDATE services SET last_seen_up = UTC_TIMESTAMP() + INTERVAL 30 SECOND',
    "UPDATE instances SET vm_state = 'stopped', power_state = 4"
    ' WHERE id % 2 = 0',
    'INSERT INTO instance_actions (instance_uuid, action, request_id,'
    " start_time, deleted) SELECT uuid, 'stop', CONCAT('req-', uuid),"
    ' UTC_TIMESTAMP(), 0 FROM instances WHERE id % 2 = 0',
)


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m tests.bench.assess')
    parser.add_argument('--servers', type=int, default=10_000)
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=pathlib.Path.cwd()) as name:
        folder = pathlib.Path(name)
        with MariaDB(folder / 'db') as server:
            compare(server, folder, parsed.servers)


def compare(server: MariaDB, folder: pathlib.Path, servers: int) -> None:
    """Print what both take."""
    snapshot.fill(server, servers)
    server.sql(
        'nova',
        'INSERT INTO instance_actions (instance_uuid, action, request_id,'
        " user_id, start_time, deleted) SELECT uuid, 'reboot',"
        " CONCAT('req-', uuid, seq), 'alice', UTC_TIMESTAMP(), 0"
        f' FROM instances, seq_1_to_{HISTORY}',
    )
    server.sql('nova', _ALIVE)
    ours = folder / 'nova-recovery.conf'
    nova, cinder = folder / 'nova.conf', folder / 'cinder.conf'
    nova.write_text('[DEFAULT]\nhost = control\n')
    cinder.write_text(f'[database]\nconnection = {server.url("cinder")}\n')
    ours.write_text(
        f'[DEFAULT]\nnova_config_file = {nova}\n'
        f'cinder_config_file = {cinder}\n[cells]\n'
        f'connection = cell1={server.url("nova")}\n'
    )
    path = folder / 'before.snapshot'
    snapshot.run(
        f'snapshot create --no-api --file {path}', ours, 'snapshot create'
    )
    for what, statements in (('dark', _DARK), ('half back', _BACK)):
        for statement in statements:
            server.sql('nova', statement)
        floor = select(server, servers * HISTORY)
        print(f'SELECTs         {floor:7.1f} s')
        taken = snapshot.run(
            f'disaster assess --snapshot {path}',
            ours,
            f'assess, {what}',
            fine=(0, 4),
        )
        print(
            f'                {taken / floor:.1f} times the SELECTs; '
            f'{servers / taken:.0f} servers a second'
        )


def select(server: MariaDB, mark: int) -> float:
    """How long the mariadb client takes to read it all once."""
    began = time.perf_counter()
    for database, statements in _SELECTS.items():
        text = ';\n'.join(statements).format(mark=mark)
        subprocess.run(
            [
                process.program('mariadb', 'mariadb-client'),
                '--no-defaults',
                *server.client_options,
                '--quick',
                '--batch',
                database,
            ],
            input=text.encode(),
            stdout=subprocess.DEVNULL,
            env={**os.environ, 'MYSQL_PWD': mariadb.ACCOUNTS['root']},
            check=True,
        )
    return time.perf_counter() - began


if __name__ == '__main__':
    main()
