# SPDX-License-Identifier: Apache-2.0

"""A real three-node Galera cluster on loopback, without OpenStack.

No node joins it: a state transfer on a busy machine is lost now and then,
and whoever waits for it ends with "Will never receive state". The three
start with the same data and with what a cluster leaves on disk when all its
nodes lose power at once (``pc.recovery``), so they take each other for
members and are up to date from the start.
"""

from __future__ import annotations

import collections.abc
import pathlib
import shutil
import tempfile
import types
import typing
import uuid

import pymysql

from nova_recovery.compat import pairs
from tests.cloud import process
from tests.cloud.mariadb import MariaDB
from tests.cloud.process import CloudError

_PROVIDER = '/usr/lib/galera/libgalera_smm.so'
NODES = (1, 2, 3)

#: grastate.dat: which cluster's data it is, and up to which transaction.
_DATA = """\
# GALERA saved state
version: 2.1
uuid:    {cluster}
seqno:   0
safe_to_bootstrap: 0
"""

#: gvwstate.dat: who were the members when the power went.
_VIEW = """\
my_uuid: {node}
#vwbeg
view_id: 3 {first} 1
bootstrap: 0
{members}
#vwend
"""


class Galera:
    """Three nodes, each writable, as a context manager."""

    def __init__(self) -> None:
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix='galera-'))
        self._group_ports = {n: process.free_port() for n in NODES}
        self._nodes = {n: self._node(n, process.free_port()) for n in NODES}

    def start(self) -> None:
        """Start the cluster and wait until it has three ready nodes.

        :raises CloudError: when Galera is missing or a node doesn't start
        """
        if not pathlib.Path(_PROVIDER).exists():
            raise CloudError(
                f'{_PROVIDER} is missing: install the Debian package galera-4'
            )
        with MariaDB(self.directory / 'accounts') as plain:
            plain.stop()
            for node in self._nodes.values():
                shutil.copytree(plain.data, node.data)
        self._remember()
        for node in self._nodes.values():
            # none is ready before all are there
            node.daemon.argv[0] = process.program('mariadbd', 'mariadb-server')
            node.daemon.start()
        for number, node in self._nodes.items():
            node.start()
            process.wait_for(
                lambda number=number: (
                    self._status(number, 'wsrep_ready') == 'ON'
                    and self.size(number) == len(NODES)
                ),
                60,
                f'Galera node {number}',
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

    def size(self, node: int) -> int:
        """Return how many nodes a node sees, itself included."""
        return int(self._status(node, 'wsrep_cluster_size') or 0)

    def _status(self, node: int, name: str) -> str | None:
        try:
            rows = self.sql(node, None, 'SHOW STATUS LIKE %s', [name])
        except pymysql.err.OperationalError:
            return None
        return str(rows[0]['Value']) if rows else None

    def _remember(self) -> None:
        """Leave on disk that the three were a cluster with these data."""
        cluster = uuid.uuid1()
        ids = sorted(str(uuid.uuid1()) for _ in NODES)
        members = '\n'.join(f'member: {one} 0' for one in ids)
        for own, node in pairs(ids, self._nodes.values()):
            (node.data / 'grastate.dat').write_text(
                _DATA.format(cluster=cluster)
            )
            (node.data / 'gvwstate.dat').write_text(
                _VIEW.format(node=own, first=ids[0], members=members)
            )

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
                # how long a start waits for the others
                'pc.wait_prim_timeout=PT60S',
                '--wsrep-node-address=127.0.0.1',
                f'--wsrep-node-incoming-address=127.0.0.1:{port}',
                f'--wsrep-node-name=node{node}',
                '--binlog-format=ROW',
                '--innodb-autoinc-lock-mode=2',
                '--innodb-buffer-pool-size=64M',
            ],
            accounts=False,
        )
