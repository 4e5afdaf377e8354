# SPDX-License-Identifier: Apache-2.0

"""The seeded state, kept so that a reset needs seconds, not a new cloud.

Rows are kept inside the same server, in the schema ``practice_saved``; a
reset writes only the tables whose checksum has changed. APIs and their
connections live through it.
"""

from __future__ import annotations

import json
import pathlib
import shutil

from tests.cloud import services, settings
from tests.cloud.mariadb import MariaDB
from tests.cloud.settings import Settings

_SCHEMA = 'practice_saved'


def _directory(config: Settings) -> pathlib.Path:
    return config.state / 'saved'


def exists(config: Settings) -> bool:
    """Return whether a state was saved completely."""
    return (_directory(config) / 'checksums.json').exists()


def _files(config: Settings) -> dict[pathlib.Path, pathlib.Path]:
    """Return the file to restore for each saved copy."""
    copies = {_directory(config) / 'calls.jsonl': config.cinder_calls}
    for host in config.hosts:
        copies[_directory(config) / f'{host}.json'] = config.guests(host)
    return copies


def _checksums(server: MariaDB) -> dict[str, int]:
    """Return the checksum of each table, 0 when empty, by DATABASE.TABLE."""
    placeholders = ', '.join(['%s'] * len(settings.DATABASES))
    tables = server.sql(
        None,
        'SELECT table_schema AS db, table_name AS name'
        ' FROM information_schema.tables'
        f' WHERE table_schema IN ({placeholders})'
        " AND table_type = 'BASE TABLE'",
        settings.DATABASES,
    )
    names = ', '.join(f'`{row["db"]}`.`{row["name"]}`' for row in tables)
    return {
        row['Table']: row['Checksum'] or 0
        for row in server.sql(None, f'CHECKSUM TABLE {names}')
    }


def _quoted(table: str) -> tuple[str, str]:
    """Return the SQL names of a table and of its saved copy."""
    database, name = table.split('.', 1)
    return f'`{database}`.`{name}`', f'`{_SCHEMA}`.`{database}__{name}`'


def save(config: Settings) -> None:
    """Keep the present rows, guests and calls as the state to return to."""
    server = services.database(config)
    directory = _directory(config)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    server.sql(None, f'DROP DATABASE IF EXISTS {_SCHEMA}')
    server.create_database(_SCHEMA)
    checksums = _checksums(server)
    connection = server.connect()
    with connection.cursor() as cursor:
        for table in checksums:
            live, copy = _quoted(table)
            if checksums[table]:
                cursor.execute(f'CREATE TABLE {copy} AS SELECT * FROM {live}')
    connection.close()
    for copy_file, live_file in _files(config).items():
        if live_file.exists():
            shutil.copy(live_file, copy_file)
    (directory / 'checksums.json').write_text(json.dumps(checksums))


def restore(config: Settings) -> list[str]:
    """Bring the saved state back; return the tables that had changed.

    Computes, conductor, cinder-volume and cinder-backup must be down: they
    would write from memory what they know of the state before.
    """
    server = services.database(config)
    saved = json.loads((_directory(config) / 'checksums.json').read_text())
    changed = [
        table
        for table, checksum in _checksums(server).items()
        if saved.get(table) != checksum
    ]
    connection = server.connect()
    with connection.cursor() as cursor:
        cursor.execute('SET foreign_key_checks = 0, lock_wait_timeout = 10')
        cursor.execute("SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'")
        for table in changed:
            live, copy = _quoted(table)
            cursor.execute(f'TRUNCATE TABLE {live}')
            if saved.get(table):
                cursor.execute(f'INSERT INTO {live} SELECT * FROM {copy}')
    connection.close()
    for copy_file, live_file in _files(config).items():
        if copy_file.exists():
            shutil.copy(copy_file, live_file)
        else:
            live_file.unlink(missing_ok=True)
    for host in config.hosts:
        for made in (config.console(host, ''), config.next_boot(host, '')):
            shutil.rmtree(made, ignore_errors=True)
    return changed
