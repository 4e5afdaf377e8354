# SPDX-License-Identifier: Apache-2.0

"""Where the journal lives: made, checked and brought up to date here."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import os
import pathlib
import sqlite3

from oslo_db import exception as db_exc
from oslo_db.sqlalchemy import enginefacade
import sqlalchemy as sa

from nova_recovery.engine import files
from nova_recovery.engine.journal import lease, models
from nova_recovery.exceptions import JournalError, JournalNewer

#: WAL needs memory shared between processes (sqlite.org/wal.html); some of
#: these have no working locks either.
_NETWORK = frozenset((
    '9p', 'afs', 'beegfs', 'ceph', 'cifs', 'fuse.ceph', 'fuse.ceph-fuse',
    'fuse.glusterfs', 'fuse.s3fs', 'fuse.sshfs', 'glusterfs', 'gpfs',
    'lustre', 'ncpfs', 'nfs', 'nfs4', 'smb3', 'smbfs',
))  # fmt: skip

#: 'nvrj': tells a journal from any other SQLite file.
_APPLICATION_ID = 0x6E76726A

#: Seconds that MySQL may take for an answer, or to take what is written.
LIMIT = '30'

#: What SQLite says, and what to do then.
_SQLITE = {
    'disk is full': 'make room on its file system',
    'disk I/O error': 'make room on its file system',
    'readonly': 'it belongs to the account that made it',
    'locked': 'another program writes to it: run it again',
    'malformed': 'keep the file, and set [journal] connection to another',
    'not a database': 'set [journal] connection to another file',
}
#: MySQL's numbers, and what to do then.
_NUMBERS = {
    (2002, 2003, 2005, 2006, 2013): 'no server answers there: start it, or '
    'set [journal] connection to a file',
    (1045, 1698): 'the server refuses the user or the password of [journal] '
    'connection',
    (1044, 1142, 1143): 'its user lacks rights: GRANT ALL on that database',
    (1049,): 'the server has no such database: CREATE DATABASE it',
    (1290, 1792, 1836): 'the server is read-only: name the primary',
    (1205, 1213): 'another program holds its rows: SHOW PROCESSLIST has it',
    (1040,): 'the server has too many connections: raise max_connections',
}


def open_engine(url: str) -> sa.engine.Engine:
    """An engine on a journal that exists and is up to date.

    :raises JournalError: naming the place and what is wrong with it
    """
    place = _place(url)
    path = _file(place)
    with reported(name(place)):
        engine = _open_sqlite(place, path) if path else _open_mysql(place)
        _bring_up_to_date(engine)
        lease.correct_clock(engine)
    return engine


def exists(url: str) -> bool:
    """Whether there is anything to open; a server's is taken to be there.

    :raises JournalError: as ``open_engine``
    """
    place = _place(url)
    if place.get_backend_name() != 'sqlite' or not place.database:
        return True
    with reported(name(place)):
        return pathlib.Path(place.database).exists()


def file(url: str) -> pathlib.Path | None:
    """Where the journal is, or will be; None: on a server.

    :raises JournalError: it can't be kept where the URL says
    """
    return _file(_place(url))


def _file(place: sa.engine.URL) -> pathlib.Path | None:
    kind = place.get_backend_name()
    if kind in ('mysql', 'mariadb'):
        return None
    if kind != 'sqlite':
        raise JournalError(
            f'the journal can be kept in SQLite or MySQL, not in {kind}'
        )
    if not place.database or place.database == ':memory:':
        raise JournalError(
            'a journal in memory would not survive the run; write '
            'sqlite:////PATH'
        )
    return pathlib.Path(place.database)


def ask(url: str) -> str:
    """The name of a journal on a server, which answers as it should.

    :raises JournalError: it does not
    """
    place = _place(url)
    with reported(name(place)):
        _open_mysql(place).dispose()
    return name(place)


def images(place: sa.engine.URL, configured: str) -> pathlib.Path:
    """Where before-images in files are kept.

    Beside the journal; where that is a server's, where it would be by
    default.
    """
    if configured:
        return pathlib.Path(configured)
    if place.get_backend_name() == 'sqlite':
        return pathlib.Path(str(place.database)).parent / 'images'
    return pathlib.Path('/var/lib/nova-recovery/images')


def _place(url: str) -> sa.engine.URL:
    """The parts of the URL.

    :raises JournalError: it has none; without the URL, which may hold a
        password wherever it is broken
    """
    with contextlib.suppress(sa.exc.ArgumentError, ValueError):
        place = sa.engine.make_url(url)
        if '@' not in (place.host or ''):
            return place
    raise JournalError(
        '[journal] connection is not a database URL; write sqlite:////PATH '
        'or mysql+pymysql://USER:PASSWORD@HOST/DATABASE, with %40 for an @ '
        'in the password'
    )


def name(place: sa.engine.URL) -> str:
    """The journal as operators call it, without the password."""
    if place.get_backend_name() == 'sqlite':
        return str(place.database)
    # without the options, which say nothing of where it is
    return place.set(query={}).render_as_string(hide_password=True)


@contextlib.contextmanager
def reported(journal: str) -> Iterator[None]:
    """Turn errors of the database into words for the operator."""
    try:
        yield
    except (sa.exc.SQLAlchemyError, db_exc.DBError, sqlite3.Error) as error:
        reason: BaseException = error
        while inner := (
            getattr(reason, 'inner_exception', None)
            or getattr(reason, 'orig', None)
        ):
            reason = inner
        text = _told(reason)
        raise JournalError(f'journal {journal}: {text}') from error
    except OSError as error:
        raise JournalError(
            f'journal {journal}: {error.strerror or error}; run as the '
            f'account that owns it or set [journal] connection'
        ) from error


def _told(reason: BaseException) -> str:
    """What a database says, and what to do about it."""
    if 'timed out' in str(reason):
        return 'the server does not answer in time (timed out): look at it'
    number = reason.args[0] if reason.args else None
    if isinstance(number, int):
        for numbers, words in _NUMBERS.items():
            if number in numbers:
                return f'{words} ({number})'
    # the statement and its values are of no use to the operator
    text = str(reason).partition('\n')[0]
    for known, words in _SQLITE.items():
        if known in text:
            return f'{text}; {words}'
    return text


def _open_sqlite(place: sa.engine.URL, path: pathlib.Path) -> sa.engine.Engine:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    kind = file_system(path.parent)
    if kind in _NETWORK:
        raise JournalError(
            f'journal {path}: it lies on a network file system ({kind}), '
            f'where SQLite can lose it; set [journal] connection to a local '
            f'file, or to MySQL'
        )
    _make_private(path)
    engine = _engine(place)
    sa.event.listen(engine, 'connect', _set_up_sqlite)
    return engine


def _make_private(path: pathlib.Path) -> None:
    """SQLite would make it 0644; its -wal and -shm take over this mode."""
    files.check_folder(str(path.parent))
    os.close(files.private(str(path), os.O_RDWR))
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _set_up_sqlite(connection: sqlite3.Connection, record: object) -> None:
    connection.execute('PRAGMA busy_timeout=30000')
    connection.execute('PRAGMA journal_mode=WAL')
    connection.execute('PRAGMA synchronous=FULL')


def _open_mysql(place: sa.engine.URL) -> sa.engine.Engine:
    # PyMySQL has no limits of its own: a server that is frozen, or a proxy
    # without one behind it, would hold a run for ever
    limits = {'connect_timeout': '5', 'read_timeout': LIMIT,
              'write_timeout': LIMIT}  # fmt: skip
    place = place.set(
        drivername='mysql+pymysql',
        query={'charset': 'utf8mb4', **limits, **place.query},
    )
    try:
        engine = _engine(place)
        with engine.connect() as connection:
            flush = connection.exec_driver_sql(
                'SELECT @@GLOBAL.innodb_flush_log_at_trx_commit'
            ).scalar()
    except OSError as error:
        raise JournalError(
            f'journal {name(place)}: a file that its URL names can not be '
            f'used: {error.strerror or type(error).__name__}'
        ) from error
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        # options that the driver doesn't know, a name that is none
        raise JournalError(
            f'journal {name(place)}: its URL can not be used '
            f'({type(error).__name__})'
        ) from error
    if str(flush) != '1':
        raise JournalError(
            f'journal {name(place)}: the server has '
            f'innodb_flush_log_at_trx_commit={flush} and would lose what it '
            f'confirmed when it crashes; set it to 1, or keep the journal '
            f'in SQLite'
        )
    return engine


def _engine(place: sa.engine.URL) -> sa.engine.Engine:
    manager = enginefacade.transaction_context()
    manager.configure(
        connection=place.render_as_string(hide_password=False),
        # the default hangs for 100 s on a server that is down
        max_retries=1,
        retry_interval=1,
        mysql_sql_mode='TRADITIONAL',
    )
    return manager.writer.get_engine()


def _bring_up_to_date(engine: sa.engine.Engine) -> None:
    with engine.connect() as connection:
        found = _version(connection)
    if found == models.HEAD:
        return
    with engine.begin() as connection:
        if engine.dialect.name == 'sqlite':
            # as a write it takes the lock: whoever else wants to upgrade
            # waits here, and then finds it done
            connection.exec_driver_sql(
                f'PRAGMA application_id={_APPLICATION_ID}'
            )
        found = _version(connection)
        if found != models.HEAD:
            _upgrade(connection, found, name(engine.url))


def _version(connection: sa.engine.Connection) -> str | None:
    """The migration that the journal is at; None for an empty one."""
    tables = sa.inspect(connection).get_table_names()
    if not tables:
        return None
    if 'alembic_version' not in tables:
        raise JournalError(
            f'{name(connection.engine.url)} holds something else than a '
            f'journal of nova-recovery: {", ".join(sorted(tables)[:5])}'
        )
    return connection.exec_driver_sql(
        'SELECT version_num FROM alembic_version'
    ).scalar()


def _upgrade(
    connection: sa.engine.Connection, found: str | None, journal: str
) -> None:
    # 0.8 s, which only the first command after an upgrade has to spend
    from alembic import command, config, script

    settings = config.Config()
    settings.set_main_option(
        'script_location',
        str(pathlib.Path(__file__).parent / 'migrations').replace('%', '%%'),
    )
    known = script.ScriptDirectory.from_config(settings).walk_revisions()
    if found is not None and found not in {one.revision for one in known}:
        raise JournalNewer(
            f'journal {journal} is of version {found}, and this '
            f'nova-recovery knows versions up to {models.HEAD}: use the '
            f'newer nova-recovery that wrote it'
        )
    settings.attributes['connection'] = connection
    command.upgrade(settings, 'head')


def file_system(directory: pathlib.Path) -> str:
    """The type of the file system that a directory lies on, see proc(5)."""
    wanted = directory.resolve()
    best, kind = pathlib.Path('/'), ''
    mounts = pathlib.Path('/proc/self/mountinfo').read_text()
    for line in mounts.splitlines():
        mount, _, source = line.partition(' - ')
        text = mount.split(' ')[4]
        # proc(5): blanks and such are written as octal numbers
        point = pathlib.Path(
            text.encode().decode('unicode_escape').encode('latin-1').decode()
        )
        # of several on one point the last one is on top
        if wanted.is_relative_to(point) and point.is_relative_to(best):
            best, kind = point, source.split(' ')[0]
    return kind
