# SPDX-License-Identifier: Apache-2.0

"""One database: snapshots to read from, short transactions to write in.

What a decision or a compare-and-set stands on is read where writes go: a
replica lags, and "no row" there is no proof. A proxy that splits reads sends
``START TRANSACTION READ ONLY`` and lone queries to replicas (MaxScale's
readwritesplit, ProxySQL's rules), a plain transaction to the primary.

The engine is oslo.db's. What is added: a dead or frozen server is known in
seconds, a broken connection or a deadlock repeats the whole transaction,
and a connection lost at COMMIT is told apart from one lost before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import logging
import random
import threading
import time
from typing import Any, TypeVar

from oslo_db import exception as db_exception
from oslo_db.sqlalchemy import enginefacade
import sqlalchemy
from sqlalchemy import event, exc

from nova_recovery.cloud import secrets
from nova_recovery.cloud.db import db_errors, db_server, db_url
from nova_recovery.exceptions import (
    Conflict,
    DatabaseUnavailable,
    OutcomeUnknown,
    RecoveryError,
    SchemaUnknown,
)

LOG = logging.getLogger(__name__)

T = TypeVar('T')

# What these log, with tracebacks, is in the one line of our own errors.
for _noisy in ('oslo_db', 'sqlalchemy.pool'):
    logging.getLogger(_noisy).setLevel(logging.CRITICAL)

_ERRORS = (exc.SQLAlchemyError, db_exception.DBError)

#: How often a transaction is tried, and how long a dead server is taken
#: for dead without asking it again, so that a command that needs it five
#: times does not wait five times.
ATTEMPTS = 5
DOWN_FOR = 5.0

#: Whether a server takes writes, and which one it is; MySQL and MariaDB.
_READ_ONLY = 'SELECT @@global.read_only, @@global.innodb_read_only'
_IDENTITY = 'SELECT @@hostname, @@port, @@server_id, @@global.read_only'

#: Seconds that a transaction waits for another one's lock.
LOCK_WAIT = 10


class Database:
    """A MySQL or MariaDB database, connected to when first used.

    :param name: what operators call it: a cell's name, ``API`` or
        ``cinder``; it stands in every error
    :param url: a SQLAlchemy URL; it never leaves this object unmasked
    :param connect_timeout: seconds until a server counts as down
    :param read_timeout: seconds that a single answer may take
    :param looking: nothing is decided by what is read: a replica may answer
    :ivar seen: table -> its newest row (id) when it was first read to decide
        by; what came later nobody has judged. The first look of the process
        counts, however long a run goes on: a later one only keeps back more,
        and a resume, which is a process of its own, looks anew

    A URL that can't be used makes a database that is unavailable, like any
    other: one bad cell mapping must not hide the other cells.
    """

    def __init__(
        self,
        name: str,
        url: str,
        connect_timeout: int = 3,
        read_timeout: int = 30,
        looking: bool = False,
    ) -> None:
        self.name = name
        self._url: sqlalchemy.engine.URL | None = None
        self._problem = ''
        try:
            self._url = db_url.parse(url)
        except ValueError as error:
            self._problem = str(error)
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._looking = looking
        self._lock = threading.RLock()
        self._lazy_engine: sqlalchemy.engine.Engine | None = None
        self._down: tuple[float, str] | None = None
        self.tables = Tables(name, self.connect)
        self.seen: dict[str, int] = {}

    def at(self, host: str, port: int) -> Database:
        """The same database on another server, such as of a cluster."""
        other = Database(
            f'{self.name} at {host}:{port}',
            '',
            self._connect_timeout,
            self._read_timeout,
            self._looking,
        )
        if self._url is not None:
            other._url = db_url.at(self._url, host, port)
        other._problem = self._problem
        return other

    def show(self, *statements: str) -> dict[str, str]:
        """What its server says of itself; see :func:`db_server.show`.

        :raises DatabaseUnavailable: it can't be asked
        """
        if self._url is None:
            raise DatabaseUnavailable(self.name, self._problem)
        return db_server.show(
            self.name, self._url, statements, self._connect_timeout
        )

    def __repr__(self) -> str:
        return f'<Database {self.name} {self.url}>'

    @property
    def url(self) -> str:
        """Its URL with the password masked."""
        return db_url.masked(self._url) if self._url else secrets.MASK

    @property
    def server(self) -> tuple[str, int] | None:
        """The server of its URL, see :func:`db_url.server`.

        None: the URL can't be used.
        """
        if self._url is None:
            return None
        return db_url.server(self._url)

    @property
    def user(self) -> str | None:
        """The user of its URL."""
        return self._url.username if self._url else None

    @property
    def schema(self) -> str | None:
        """The database's own name on its server, such as ``nova``."""
        return self._url.database if self._url else None

    @contextlib.contextmanager
    def connect(self) -> Iterator[sqlalchemy.engine.Connection]:
        """Yield a connection, for what needs no snapshot.

        :raises DatabaseUnavailable: when it can't be had, or breaks
        """
        with self._translated():
            connection = self._open()
            with contextlib.closing(connection):
                _patience(connection, self._read_timeout)
                yield connection

    @contextlib.contextmanager
    def reader(self) -> Iterator[sqlalchemy.engine.Connection]:
        """Yield a connection inside one consistent snapshot.

        Everything that is read from it is of one moment, and of the server
        that takes the writes. Who only looks may be answered by any, and the
        server itself refuses a write. It needs no right but SELECT.

        :raises DatabaseUnavailable: when it can't be had, or breaks; so too
            when a server answers that takes no writes
        """
        with self.connect() as connection:
            transaction = connection.begin()
            try:
                _begin_snapshot(connection, read_only=self._looking)
                if not self._looking:
                    self._refuse_replica(connection)
                yield connection
            finally:
                _rollback(transaction)

    def write(self, work: Callable[[sqlalchemy.engine.Connection], T]) -> T:
        """Carry out *work* in one short transaction and return its result.

        *work* gets the connection and may be called several times: a
        deadlock (1213, 1205, also at COMMIT, where Galera reports a
        conflict) and a connection lost before COMMIT undo everything, and
        all of it is done again. It must change nothing but the database.

        :raises OutcomeUnknown: when the connection is lost at COMMIT:
            observe, then decide
        :raises DatabaseUnavailable: when the database can't be had;
            nothing was changed
        :raises Conflict: when a row is there already (duplicate key)
        :raises RecoveryError: when the database refuses the work
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._write_once(work)
            except _Again as again:
                reason = again.reason
                LOG.warning(
                    'Database of %s: %s; trying again (%d of %d)',
                    self.name,
                    reason,
                    attempt,
                    ATTEMPTS,
                )
            if attempt < ATTEMPTS:
                # grows and differs, so that two writers that hit each
                # other don't meet again
                time.sleep(random.uniform(0.5, 1) * 0.05 * 2**attempt)
        raise DatabaseUnavailable(
            self.name,
            f'{reason}, {ATTEMPTS} times in a row; nothing was changed',
        )

    def splits(self) -> bool:
        """Whether something sends lone reads elsewhere than transactions.

        Where a proxy has several replicas, it is one of them that answers;
        so several are asked.

        :raises DatabaseUnavailable: it can't be asked
        """
        seen = set()
        for read_only in (False, True, False, True):
            with self.connect() as connection:
                transaction = connection.begin()
                try:
                    _begin_snapshot(connection, read_only)
                    row = connection.exec_driver_sql(_IDENTITY).one()
                    seen.add(tuple(row))
                finally:
                    _rollback(transaction)
        return len(seen) > 1

    def _refuse_replica(
        self, connection: sqlalchemy.engine.Connection
    ) -> None:
        """:raises DatabaseUnavailable: the server takes no writes"""
        for value in connection.exec_driver_sql(_READ_ONLY).one():
            if str(value).upper() not in ('0', 'OFF'):
                raise DatabaseUnavailable(
                    self.name,
                    f'the server takes no writes (read_only = {value}), and '
                    'what a replica says is not what is decided by: name '
                    'the primary, or end its read_only',
                )

    def dispose(self) -> None:
        """Close all connections."""
        with self._lock:
            if self._lazy_engine is not None:
                self._lazy_engine.dispose()

    def _write_once(
        self, work: Callable[[sqlalchemy.engine.Connection], T]
    ) -> T:
        with self.connect() as connection:
            transaction = connection.begin()
            try:
                # what it reads comes from where it writes, too
                connection.exec_driver_sql('START TRANSACTION')
                self._refuse_replica(connection)
                connection.exec_driver_sql(
                    # no longer than an answer may take
                    f'SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT}'
                )
                result = work(connection)
            except BaseException as error:
                _rollback(transaction)
                reason = _worth_again(error)
                if reason is not None:
                    raise _Again(reason) from None
                raise
            try:
                transaction.commit()
            except _ERRORS as error:
                if db_errors.is_deadlock(error):
                    _rollback(transaction)
                    raise _Again(db_errors.describe(error)) from None
                # whatever else went wrong, COMMIT may have arrived
                lost = db_errors.describe(error)
            else:
                return result
        raise OutcomeUnknown(
            f'database of {self.name}: {lost} at COMMIT; '
            f'it is not known whether the change was made'
        )

    def _open(self) -> sqlalchemy.engine.Connection:
        down = self._down
        if down is not None and time.monotonic() - down[0] < DOWN_FOR:
            raise DatabaseUnavailable(self.name, down[1])
        try:
            connection = self._engine().connect()
        except DatabaseUnavailable as error:
            self._down = (time.monotonic(), error.reason)
            raise
        except Exception as error:
            # What a URL leads to is not ours: the ssl module, codecs and
            # PyMySQL itself end with errors of all kinds, and one database
            # must not hide the others.
            reason = db_errors.unusable(error)
            if db_errors.is_lost(error):
                self._down = (time.monotonic(), reason)
            raise DatabaseUnavailable(self.name, reason) from None
        self._down = None
        return connection

    def _engine(self) -> sqlalchemy.engine.Engine:
        with self._lock:
            if self._lazy_engine is None:
                if self._url is None:
                    raise DatabaseUnavailable(self.name, self._problem)
                problem = db_url.obstacle(self._url, self._connect_timeout)
                if problem is not None:
                    raise DatabaseUnavailable(self.name, problem)
                context = enginefacade.transaction_context()
                context.configure(
                    connection=self._url.update_query_dict(
                        {
                            'connect_timeout': str(self._connect_timeout),
                            'read_timeout': str(self._connect_timeout),
                            'write_timeout': str(self._read_timeout),
                        }
                    ),
                    # the defaults wait 100 s for a dead server
                    max_retries=1,
                    retry_interval=0,
                    # as nova: to write what is cut short is an error
                    mysql_sql_mode='TRADITIONAL',
                    max_pool_size=20,
                    max_overflow=20,
                )
                engine = context.writer.get_engine()
                # errors would show what was written, connection_info too
                engine.hide_parameters = True
                self._be_impatient(engine)
                if not self._looking:
                    event.listen(engine, 'connect', _wait_for_writes)
                    engine.dispose()
                if db_url.wants_tls(self._url):
                    event.listen(engine, 'connect', db_server.check_tls)
                    # with the one that oslo.db tried it by
                    engine.dispose()
                self._lazy_engine = engine
            return self._lazy_engine

    def _be_impatient(self, engine: sqlalchemy.engine.Engine) -> None:
        # A connection from the pool is asked for a sign of life first. A
        # server that is frozen must not take long to fail that and the
        # connect which follows: half the time for the former.
        def hasten(dbapi_connection: Any, *unused: Any) -> None:
            if dbapi_connection is not None:
                dbapi_connection._read_timeout = self._connect_timeout / 2

        event.listen(engine, 'connect', hasten)
        event.listen(engine, 'checkin', hasten)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except db_exception.DBDuplicateEntry as error:
            raise Conflict(
                f'database of {self.name}: such a row exists already'
            ) from error
        except _ERRORS as error:
            reason = db_errors.describe(error)
            if db_errors.is_outage(error):
                raise DatabaseUnavailable(self.name, reason) from None
            raise RecoveryError(
                f'database of {self.name}: {reason}'
            ) from error


class Tables:
    """Tables by name, reflected when first asked for.

    :param name: the database as operators call it, for errors
    :param connect: yields a connection
    """

    def __init__(
        self,
        name: str,
        connect: Callable[
            [], contextlib.AbstractContextManager[sqlalchemy.engine.Connection]
        ],
    ) -> None:
        self._name = name
        self._connect = connect
        self._lock = threading.RLock()
        self._columns: dict[str, frozenset[str]] | None = None
        self._tables: dict[str, sqlalchemy.Table] = {}

    def __getitem__(self, table: str) -> sqlalchemy.Table:
        """Return a table with its columns and their types.

        :raises SchemaUnknown: when there is no such table
        :raises DatabaseUnavailable: when that can't be known
        """
        with self._lock:
            if table not in self._tables:
                if not self.has(table):
                    raise SchemaUnknown(
                        f'the database of {self._name} has no table {table}'
                    )
                with self._connect() as connection:
                    self._tables[table] = sqlalchemy.Table(
                        table,
                        sqlalchemy.MetaData(),
                        autoload_with=connection,
                        resolve_fks=False,
                    )
            return self._tables[table]

    def has(self, table: str, column: str | None = None) -> bool:
        """Tell whether there is a table, or a column of it.

        :raises DatabaseUnavailable: when that can't be known; so too when
            the user may not read the table, which must not be taken for
            the schema of an older release
        """
        columns = self._known_columns()
        if table not in columns:
            self._prove_absence(table)
            return False
        return column is None or column in columns[table]

    def _known_columns(self) -> dict[str, frozenset[str]]:
        with self._lock:
            if self._columns is None:
                columns: dict[str, set[str]] = {}
                with self._connect() as connection:
                    rows = connection.exec_driver_sql(
                        'SELECT table_name, column_name'
                        ' FROM information_schema.columns'
                        ' WHERE table_schema = DATABASE()'
                    )
                    for table, column in rows:
                        columns.setdefault(table, set()).add(column)
                self._columns = {
                    table: frozenset(names) for table, names in columns.items()
                }
            return self._columns

    def _prove_absence(self, table: str) -> None:
        # information_schema shows only what the user has rights on
        with self._connect() as connection:
            try:
                connection.execute(
                    sqlalchemy.select(sqlalchemy.literal(1))
                    .select_from(sqlalchemy.table(table))
                    .limit(0)
                )
            except (exc.SQLAlchemyError, db_exception.DBError) as error:
                if db_errors.code(error) != db_errors.NO_SUCH_TABLE:
                    raise


class _Again(Exception):
    """The transaction was undone as a whole and can be done again."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _worth_again(error: BaseException) -> str | None:
    if db_errors.is_deadlock(error) or db_errors.is_lost(error):
        return db_errors.describe(error)
    return None


def _wait_for_writes(dbapi_connection: Any, *unused: Any) -> None:
    """On a node of a Galera cluster, see what others have written before.

    A node that lags waits until it has caught up. Whatever else answers, if
    it has the variable at all, has nothing to wait for.
    """
    with contextlib.closing(dbapi_connection.cursor()) as cursor:
        try:
            cursor.execute('SET SESSION wsrep_sync_wait = 1')
        except dbapi_connection.Error as error:
            if error.args[0] != db_errors.NO_SUCH_VARIABLE:
                raise


def _begin_snapshot(
    connection: sqlalchemy.engine.Connection, read_only: bool
) -> None:
    # the sign of life may have begun a transaction
    connection.exec_driver_sql('ROLLBACK')
    connection.exec_driver_sql(
        'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ'
    )
    begin = 'START TRANSACTION WITH CONSISTENT SNAPSHOT'
    try:
        connection.exec_driver_sql(begin + ', READ ONLY' * read_only)
    except _ERRORS as error:
        # MySQL before 5.6 has no READ ONLY
        if db_errors.code(error) != db_errors.SYNTAX_ERROR:
            raise
        connection.exec_driver_sql(begin)


def _rollback(transaction: sqlalchemy.engine.Transaction) -> None:
    try:
        transaction.rollback()
    except _ERRORS as error:
        # the server rolls back by itself when a connection is gone
        LOG.debug('Rolling back: %s', db_errors.describe(error))


def _patience(
    connection: sqlalchemy.engine.Connection, seconds: float
) -> None:
    # PyMySQL reads this for each packet and has no public setter
    dbapi_connection: Any = connection.connection.dbapi_connection
    dbapi_connection._read_timeout = seconds
