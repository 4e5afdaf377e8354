# SPDX-License-Identifier: Apache-2.0

"""A private MariaDB server below one directory, up in about a second."""

from __future__ import annotations

import collections.abc
import os
import pathlib
import shutil
import subprocess
import types
import typing

import pymysql
import pymysql.cursors

from tests.cloud import process
from tests.cloud.process import CloudError, Daemon

#: Passwords of the accounts; the server listens on loopback only.
ACCOUNTS = {'root': 'practice-root', 'nova': 'practice', 'reader': 'reading'}

_GRANTS = {
    'root': 'ALL PRIVILEGES ON *.* TO {user} WITH GRANT OPTION',
    'nova': 'ALL PRIVILEGES ON *.* TO {user}',
    'reader': 'SELECT ON *.* TO {user}',
}

# durability is of no use in a server that is thrown away
_FAST = (
    '--innodb-flush-log-at-trx-commit=0',
    '--innodb-doublewrite=0',
    '--innodb-log-file-size=16M',
    '--innodb-data-file-path=ibdata1:12M:autoextend',
)


class MariaDB:
    """A MariaDB server of our own: three accounts, TCP on loopback.

    ``root`` and ``nova`` may do everything, ``reader`` may SELECT. Usable
    as a context manager, which wipes the directory at the end.

    :param directory: holds data, pid file and log; made when missing
    :param port: TCP port; a free one when None
    :param options: further options of mariadbd
    :param pid_file: where the pid is kept; in the directory when None
    :param accounts: whether each start makes the three accounts anew; a
        Galera node can't, before it has joined
    """

    def __init__(
        self,
        directory: pathlib.Path | str,
        port: int | None = None,
        options: collections.abc.Sequence[str] = (),
        pid_file: pathlib.Path | None = None,
        accounts: bool = True,
    ) -> None:
        self.directory = pathlib.Path(directory).absolute()
        self.port = port or process.free_port()
        self.data = self.directory / 'data'
        self._accounts = self.directory / 'accounts.sql' if accounts else None
        self._user = ['--user=root'] if os.geteuid() == 0 else []
        self.daemon = Daemon(
            'mariadb',
            [
                'mariadbd',
                '--no-defaults',
                *self._user,
                f'--datadir={self.data}',
                # a server that starts deletes the temporary tables that it
                # finds: each its own place for them
                f'--tmpdir={self.data}',
                # relative to datadir: a socket's path must be short
                '--socket=sock',
                '--bind-address=127.0.0.1',
                f'--port={self.port}',
                f'--pid-file={self.directory / "own.pid"}',
                *([f'--init-file={self._accounts}'] if accounts else []),
                '--innodb-buffer-pool-size=256M',
                '--max-connections=500',
                '--character-set-server=utf8mb3',
                '--collation-server=utf8mb3_general_ci',
                '--skip-log-bin',
                '--skip-name-resolve',
                '--performance-schema=0',
                *_FAST,
                *options,
            ],
            pid_file or self.directory / 'mariadbd.pid',
            self.directory / 'mariadbd.log',
        )

    def start(self) -> None:
        """Make the data directory when missing, start, wait until it serves.

        :raises CloudError: when MariaDB is missing or doesn't come up
        """
        self.daemon.argv[0] = process.program('mariadbd', 'mariadb-server')
        self.directory.mkdir(parents=True, exist_ok=True)
        if not (self.data / 'mysql').is_dir():
            self._install()
        if self._accounts:
            self._write_accounts(self._accounts)
        self.daemon.start()
        try:
            process.wait_for(self._serves, 60, 'MariaDB', 0.05)
        except CloudError as error:
            raise CloudError(
                f'{error}; it wrote:\n{self.daemon.log_tail()}'
            ) from None

    def stop(self, wipe: bool = False) -> None:
        """Stop the server; with *wipe* remove its directory too."""
        if wipe:
            self.daemon.kill()
            shutil.rmtree(self.directory, ignore_errors=True)
        else:
            self.daemon.stop()

    def __enter__(self) -> MariaDB:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.stop(wipe=True)

    def url(self, database: str = '', user: str = 'nova') -> str:
        """Return the SQLAlchemy URL of a database for one of the accounts."""
        return (
            f'mysql+pymysql://{user}:{ACCOUNTS[user]}@127.0.0.1:{self.port}'
            f'/{database}?charset=utf8'
        )

    def connect(
        self, database: str | None = None, user: str = 'root'
    ) -> pymysql.connections.Connection[typing.Any]:
        """Return a PyMySQL connection, autocommit on, rows as dicts."""
        return pymysql.connect(
            host='127.0.0.1',
            port=self.port,
            user=user,
            password=ACCOUNTS[user],
            database=database,
            autocommit=True,
            connect_timeout=10,
            cursorclass=pymysql.cursors.DictCursor,
        )

    def sql(
        self,
        database: str | None,
        statement: str,
        arguments: collections.abc.Sequence[object]
        | dict[str, object]
        | None = None,
    ) -> list[dict[str, typing.Any]]:
        """Carry out one statement as root; return its rows as dicts."""
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, arguments)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def create_database(self, name: str) -> None:
        """Create an empty database, unless it exists."""
        self.sql(None, f'CREATE DATABASE IF NOT EXISTS `{name}`')

    def load(self, database: str, *files: pathlib.Path | str) -> None:
        """Run SQL files in a database, which is created when missing.

        :raises CloudError: with the client's words, when a statement fails
        """
        self.create_database(database)
        client = process.program('mariadb', 'mariadb-client')
        for file in files:
            with open(file, 'rb') as script:
                done = subprocess.run(
                    [client, '--no-defaults', *self.client_options, database],
                    stdin=script,
                    capture_output=True,
                    text=True,
                    env={**os.environ, 'MYSQL_PWD': ACCOUNTS['root']},
                )
            if done.returncode != 0:
                raise CloudError(f'{file}: {done.stderr.strip()}')

    @property
    def client_options(self) -> list[str]:
        """Options of the mariadb command-line programs for this server."""
        return ['--host=127.0.0.1', f'--port={self.port}', '--user=root']

    def _install(self) -> None:
        done = subprocess.run(
            [
                process.program('mariadb-install-db', 'mariadb-server'),
                '--no-defaults',
                *self._user,
                f'--datadir={self.data}',
                '--auth-root-authentication-method=normal',
                '--skip-test-db',
                *_FAST,
            ],
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise CloudError(
                f'mariadb-install-db failed:\n{done.stdout}{done.stderr}'
            )

    def _write_accounts(self, path: pathlib.Path) -> None:
        # mariadbd runs the file before it listens: nobody can come first
        path.touch(mode=0o600)
        lines = []
        for name, password in ACCOUNTS.items():
            for host in ('127.0.0.1', 'localhost'):
                user = f"'{name}'@'{host}'"
                lines += [
                    f'CREATE OR REPLACE USER {user} '
                    f"IDENTIFIED BY '{password}';",
                    f'GRANT {_GRANTS[name].format(user=user)};',
                ]
        path.write_text('\n'.join(lines) + '\n')

    def _serves(self) -> bool:
        if self.daemon.pid() is None:
            raise CloudError('mariadbd ended')
        try:
            self.sql(None, 'SELECT 1')
        except pymysql.err.OperationalError:
            return False
        return True
