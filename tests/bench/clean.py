# SPDX-License-Identifier: Apache-2.0

"""Step 2 on a Juno, beside the guide's four UPDATEs.

``python -m tests.bench clean``: the tables are filled anew before each, and
the two take turns, so that what else the machine does hits both. Ours is all
from the first look to the last record of the journal: plan, plan file
(written, on disk, and read again), journal, changes. The interpreter's start
and imports are apart. The guide's UPDATEs go through the mariadb client.

The guide leaves nova's mappings and cinder's ``attached_mode`` as they are,
after which nova attaches nothing; so ours is measured twice: with these, and
on tables that have none, where both write the same rows.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import pathlib
import statistics
import subprocess
import tempfile
import time
import types
from typing import Any

from nova_recovery import changes
from nova_recovery.cloud.db.cells import Cell
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import CellDatabase, Databases
from nova_recovery.engine import planfile
from nova_recovery.engine.journal import Journal
from nova_recovery.engine.plan import Plan
from nova_recovery.engine.progress import PlainReporter
from nova_recovery.engine.runner import Runner
from nova_recovery.procedures.disaster.before_queens import (
    cleaning as cleaning_module,
)
from tests.cloud import mariadb, process
from tests.cloud.mariadb import MariaDB

#: As a cloud's database has it: the tables fit, and a log that is larger than
#: what a minute writes.
_OPTIONS = ('--innodb-buffer-pool-size=1G', '--innodb-log-file-size=512M')
SCHEMAS = pathlib.Path(__file__).parents[1] / 'schemas'
GUIDE = """
UPDATE volumes SET mountpoint = NULL;
UPDATE volumes SET status = 'available' WHERE status <> 'error_deleting';
UPDATE volumes SET attach_status = 'detached';
UPDATE volumes SET instance_uuid = NULL;
"""
#: Of each hundred volumes: data in use, available, booted from, deleted,
#: and those that are cinder's own.
_STATUS = """CASE
  WHEN seq % 100 < 80 THEN 'in-use' WHEN seq % 100 < 90 THEN 'available'
  WHEN seq % 100 < 95 THEN 'in-use' WHEN seq % 100 < 97 THEN 'deleted'
  WHEN seq % 100 = 97 THEN 'error_deleting'
  WHEN seq % 100 = 98 THEN 'backing-up' ELSE 'awaiting-transfer' END"""
_IN_USE = '(seq % 100 < 80 OR seq % 100 BETWEEN 90 AND 94)'


def _uuid(kind: str, number: str) -> str:
    """As random as real ones are: neighbours by number aren't by id."""
    text = f"MD5(CONCAT('{kind}', {number}))"
    for place in (9, 14, 19, 24):
        text = f"INSERT({text}, {place}, 0, '-')"
    return text


_DEVICE = "IF(seq % 100 < 80, '/dev/vdb', '/dev/vda')"
_SERVER = _uuid('server', 'seq DIV 2')
_VOLUME = _uuid('volume', 'seq')
_FILL = {
    'cinder': (
        f"""INSERT INTO volumes (id, display_name, size, status,
        attach_status, host, availability_zone, project_id, user_id, deleted,
        created_at, updated_at, provider_location, instance_uuid,
        mountpoint, attach_time, attached_host)
        SELECT {_VOLUME}, CONCAT('volume-', seq), 10, {_STATUS},
        IF({_IN_USE}, 'attached', 'detached'), 'control@lvm', 'nova',
        MD5(seq % 500), MD5(seq % 900), seq % 100 BETWEEN 95 AND 96, NOW(),
        NOW(), REPEAT('l', 90), IF({_IN_USE}, {_SERVER}, NULL),
        IF({_IN_USE}, {_DEVICE}, NULL),
        IF({_IN_USE}, '2014-11-01T12:00:00.000000', NULL),
        IF({_IN_USE}, CONCAT('compute-', seq % 1000), NULL)
        FROM seq_1_to_{{volumes}}""",
        f"""INSERT INTO volume_admin_metadata (volume_id, `key`, value,
        deleted) SELECT {_VOLUME}, 'attached_mode', 'rw', 0
        FROM seq_1_to_{{volumes}} WHERE {_IN_USE}""",
    ),
    'nova': (
        f"""INSERT INTO instances (id, uuid, display_name, host, vm_state,
        power_state, deleted, root_device_name, project_id)
        SELECT seq + 1, {_uuid('server', 'seq')}, CONCAT('server-', seq),
        CONCAT('compute-', seq % 1000), 'active', 1, 0, '/dev/vda', 'demo'
        FROM seq_0_to_{{servers}}""",
        f"""INSERT INTO block_device_mapping (instance_uuid, volume_id,
        device_name, boot_index, source_type, destination_type,
        connection_info, delete_on_termination, deleted)
        SELECT {_SERVER}, {_VOLUME}, {_DEVICE},
        IF(seq % 100 < 80, NULL, 0), 'volume', 'volume', REPEAT('c', 700), 0,
        0 FROM seq_1_to_{{volumes}} WHERE {_IN_USE}""",
    ),
}
#: What is written, and filled anew.
_WRITTEN = {
    'cinder': ('volumes', 'volume_admin_metadata'),
    'nova': ('block_device_mapping',),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m tests.bench.clean')
    parser.add_argument('--volumes', type=int, default=200_000)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--workers', type=int, default=16)
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=pathlib.Path.cwd()) as name:
        folder = pathlib.Path(name)
        with MariaDB(folder / 'db', options=_OPTIONS) as server:
            fill(server, parsed.volumes)
            for bare in (True, False):
                compare(server, folder, parsed, bare)


def fill(server: MariaDB, volumes: int) -> None:
    """A Juno with so many volumes; what is written, once more beside it."""
    for name, statements in _FILL.items():
        server.load(name, SCHEMAS / f'old-juno-{name}.sql')
        for statement in statements:
            server.sql(
                name, statement.format(volumes=volumes, servers=volumes // 2)
            )
        for table in _WRITTEN[name]:
            server.sql(name, f'RENAME TABLE {table} TO full_{table}')


def anew(server: MariaDB, bare: bool) -> None:
    """Fill what is written anew; *bare*: only volumes."""
    for name, tables in _WRITTEN.items():
        for table in tables:
            server.sql(name, f'DROP TABLE IF EXISTS {table}')
            server.sql(name, f'CREATE TABLE {table} LIKE full_{table}')
            if not bare or table == 'volumes':
                server.sql(
                    name, f'INSERT INTO {table} SELECT * FROM full_{table}'
                )
            server.sql(name, f'ANALYZE TABLE {table}')


def compare(
    server: MariaDB,
    folder: pathlib.Path,
    parsed: argparse.Namespace,
    bare: bool,
) -> None:
    ratios, effort = [], []
    print(
        'volumes alone, as the guide writes them'
        if bare
        else 'volumes, attached_mode, and the mappings in nova'
    )
    for number in range(parsed.rounds):
        anew(server, bare)
        before = processor(server)
        theirs = guide(server)
        theirs_used = processor(server) - before
        if not number:
            counted(server)
        anew(server, bare)
        before = processor(server)
        parts = ours(server, folder, parsed.workers, bare)
        used = processor(server) - before
        taken = sum(parts.values())
        ratios.append(taken / theirs)
        effort.append(used / theirs_used)
        told = ', '.join(f'{what} {some:.2f}' for what, some in parts.items())
        print(
            f'  guide {theirs:5.2f} s, ours {taken:5.2f} s ({told}): '
            f'{ratios[-1]:.2f}; of processor {theirs_used:.2f} s and '
            f'{used:.2f} s: {effort[-1]:.2f}',
            flush=True,
        )
    print(
        f'  median of {parsed.rounds} ratios: {statistics.median(ratios):.2f},'
        f' of processor {statistics.median(effort):.2f}'
    )


def processor(server: MariaDB) -> float:
    """Seconds of processor so far: the server's, ours, and our children's.

    On a machine that does other things too, these say more than a clock.
    """
    stat = pathlib.Path(f'/proc/{server.daemon.pid()}/stat').read_text()
    # after the name, which may have blanks: utime and stime, in ticks
    fields = stat.rpartition(')')[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf('SC_CLK_TCK') + sum(os.times()[:4])


def guide(server: MariaDB) -> float:
    """Seconds that the four UPDATEs take."""
    client = process.program('mariadb', 'mariadb-client')
    began = time.perf_counter()
    subprocess.run(
        [client, '--no-defaults', *server.client_options, 'cinder'],
        input=GUIDE.encode(),
        env={**os.environ, 'MYSQL_PWD': mariadb.ACCOUNTS['root']},
        check=True,
    )
    return time.perf_counter() - began


def counted(server: MariaDB) -> None:
    """Say what the guide's form touched that ours leaves alone."""
    rows = server.sql(
        'cinder',
        'SELECT IF(was.deleted, "deleted", was.status) AS status,'
        ' COUNT(*) AS number'
        ' FROM full_volumes AS was JOIN volumes AS now USING (id)'
        ' WHERE NOT (was.mountpoint <=> now.mountpoint'
        ' AND was.status <=> now.status'
        ' AND was.attach_status <=> now.attach_status'
        ' AND was.instance_uuid <=> now.instance_uuid)'
        ' AND NOT (was.deleted = 0 AND was.status = "in-use"'
        ' AND was.mountpoint = "/dev/vdb") GROUP BY 1',
    )
    told = ', '.join(
        f'{row["number"]} '
        + ('in use as root' if row['status'] == 'in-use' else row['status'])
        for row in rows
    )
    total = sum(row['number'] for row in rows)
    print(f'  only the guide touches {total} more: {told}')


def ours(
    server: MariaDB, folder: pathlib.Path, workers: int, bare: bool
) -> dict[str, float]:
    """Seconds that each part of ours takes."""
    nova = Database('cell1', server.url('nova'))
    cinder = Database('cinder', server.url('cinder'))
    cell = CellDatabase(Cell('', 'cell1', ''), nova)
    cloud = types.SimpleNamespace(databases=Databases(None, [cell], cinder))
    seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def timed(what: str) -> Any:
        began = time.perf_counter()
        yield
        seconds[what] = time.perf_counter() - began

    with tempfile.TemporaryDirectory(dir=folder) as name:
        path = pathlib.Path(name)
        # modules that are imported when first needed
        changes.registry()
        Journal.open(f'sqlite:///{path}/other.sqlite').close()
        with timed('plan'):
            cleaning = cleaning_module.clean(cloud.databases)
            plan = Plan(
                'disaster',
                'clean',
                {},
                cleaning.steps,
                notes=cleaning.notes,
                left_out=cleaning.left_out,
            )
        with timed('plan file'):
            planfile.save(plan, str(path / 'plan'))
            plan = planfile.load(str(path / 'plan'))
        with timed('journal'):
            journal = Journal.open(f'sqlite:///{path}/journal.sqlite')
            run_id = journal.create_run(
                plan, who='bench', machine='here', command='bench'
            )
        with timed('carried out'):
            outcome = Runner(
                journal,
                changes.registry(),
                cloud,
                reporter=PlainReporter(io.StringIO()),
                workers=workers,
            ).carry_out(run_id)
        bad = [i.detail for i in journal.items(run_id) if i.state != 'done']
        assert outcome.state == 'done', bad[:5]
        journal.close()
    cloud.databases.dispose()
    checked(server, bare)
    return seconds


def checked(server: MariaDB, bare: bool) -> None:
    """All that is stale is gone, and nothing else."""
    (row,) = server.sql(
        'cinder',
        'SELECT SUM(was.status <=> now.status) AS same,'
        ' SUM(was.status = "in-use" AND was.mountpoint = "/dev/vdb") AS stale,'
        ' SUM(now.status = "available" AND was.status <> "available"'
        ' AND now.mountpoint IS NULL AND now.attach_time IS NULL) AS cleaned,'
        ' COUNT(*) AS number'
        ' FROM full_volumes AS was JOIN volumes AS now USING (id)',
    )
    assert row['cleaned'] == row['stale'], row
    assert row['same'] + row['cleaned'] == row['number'], row
    if not bare:
        (live,) = server.sql(
            'nova',
            'SELECT COUNT(*) AS number FROM block_device_mapping'
            ' WHERE deleted = 0 AND device_name = "/dev/vdb"',
        )
        assert not live['number'], live


if __name__ == '__main__':
    main()
