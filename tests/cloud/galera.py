# SPDX-License-Identifier: Apache-2.0

"""A real three-node Galera cluster on loopback, without OpenStack."""

from __future__ import annotations

import collections.abc
import concurrent.futures
import os
import pathlib
import shutil
import tempfile
import types
import typing

import pymysql

from tests.cloud import process
from tests.cloud.mariadb import MariaDB
from tests.cloud.process import CloudError

_PROVIDER = '/usr/lib/galera/libgalera_smm.so'
NODES = (1, 2, 3)


class Galera:
    """Three nodes, each writable, as a context manager.

    As root the nodes run as the user mysql, since rsync refuses a state
    transfer as root; so the directory is a new one in the system's
    temporary directory, which mysql can enter.
    """

    def __init__(self) -> None:
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix='galera-'))
        self.directory.chmod(0o755)
        self._run_as = 'mysql' if os.geteuid() == 0 else ''
        self._group_ports = {n: process.free_port() for n in NODES}
        self._nodes = {n: self._node(n, process.free_port()) for n in NODES}

    def start(self) -> None:
        """Start the cluster and wait until it has three ready nodes.

        :raises CloudError: when Galera is missing or a node doesn't join
        """
        for path in (_PROVIDER, '/usr/bin/rsync', '/usr/bin/lsof'):
            if not pathlib.Path(path).exists():
                raise CloudError(
                    f'{path} is missing: install the Debian packages '
                    f'galera-4, rsync and lsof'
                )
        with MariaDB(
            self.directory / 'accounts', run_as=self._run_as
        ) as plain:
            plain.stop()
            shutil.move(plain.data, self.directory / 'new')
        first = self._nodes[1]
        first.directory.mkdir()
        shutil.move(self.directory / 'new', first.data)
        self._found()
        first.stop()
        # copies of a node that was in the cluster need no state transfer
        for node in NODES[1:]:
            shutil.copytree(first.data, self._nodes[node].data)
            self._own(self._nodes[node].data)
        self._found()
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(self.start_node, NODES[1:]))
        process.wait_for(
            lambda: all(self.size(node) == len(NODES) for node in NODES),
            30,
            'three Galera nodes',
        )

    def stop(self) -> None:
        """Kill all nodes and remove their data."""
        for node in self._nodes.values():
            node.stop(wipe=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Galera:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.stop()

    def url(self, node: int, database: str = '', user: str = 'nova') -> str:
        """Return the SQLAlchemy URL of a database on node 1, 2 or 3."""
        return self._nodes[node].url(database, user)

    def port(self, node: int) -> int:
        """Return the SQL port of a node."""
        return self._nodes[node].port

    def sql(
        self,
        node: int,
        database: str | None,
        statement: str,
        arguments: collections.abc.Sequence[object] | None = None,
    ) -> list[dict[str, typing.Any]]:
        """Carry out a statement as root on a node; return rows as dicts."""
        return self._nodes[node].sql(database, statement, arguments)

    def kill_node(self, node: int) -> None:
        """End a node by SIGKILL; the others go on as long as two are left."""
        self._nodes[node].daemon.kill()

    def start_node(self, node: int) -> None:
        """Start a node and wait until the cluster has taken it in."""
        self._nodes[node].start()
        process.wait_for(
            lambda: self._status(node, 'wsrep_ready') == 'ON',
            60,
            f'Galera node {node}',
        )

    def size(self, node: int) -> int:
        """Return how many nodes a node sees, itself included."""
        return int(self._status(node, 'wsrep_cluster_size') or 0)

    def _status(self, node: int, name: str) -> str | None:
        try:
            rows = self.sql(node, None, 'SHOW STATUS LIKE %s', [name])
        except pymysql.err.OperationalError:
            return None
        return str(rows[0]['Value']) if rows else None

    def _found(self) -> None:
        """Start node 1 as the first of a new cluster."""
        argv = self._nodes[1].daemon.argv
        argv.append('--wsrep-new-cluster')
        self.start_node(1)
        argv.remove('--wsrep-new-cluster')

    def _own(self, top: pathlib.Path) -> None:
        if not self._run_as:
            return
        for path in (top.parent, top, *top.rglob('*')):
            shutil.chown(path, self._run_as)

    def _node(self, node: int, port: int) -> MariaDB:
        members = ','.join(
            f'127.0.0.1:{port}' for port in self._group_ports.values()
        )
        listen = f'tcp://127.0.0.1:{self._group_ports[node]}'
        return MariaDB(
            self.directory / f'node{node}',
            port,
            [
                '--wsrep-on=ON',
                f'--wsrep-provider={_PROVIDER}',
                f'--wsrep-cluster-address=gcomm://{members}',
                f'--wsrep-provider-options=gmcast.listen_addr={listen};'
                f'ist.recv_addr=127.0.0.1:{process.free_port()}',
                '--wsrep-node-address=127.0.0.1',
                f'--wsrep-node-incoming-address=127.0.0.1:{port}',
                f'--wsrep-node-name=node{node}',
                '--wsrep-sst-method=rsync',
                f'--wsrep-sst-receive-address=127.0.0.1:{process.free_port()}',
                '--binlog-format=ROW',
                '--innodb-autoinc-lock-mode=2',
                '--innodb-buffer-pool-size=64M',
            ],
            run_as=self._run_as or 'root',
            accounts=False,
        )
