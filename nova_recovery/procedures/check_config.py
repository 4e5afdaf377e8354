# SPDX-License-Identifier: Apache-2.0

"""What ``config show`` and ``config check`` tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
import dataclasses
import datetime
from email import utils as email_utils
from operator import attrgetter
import os
import pathlib
import pwd
import shutil
import stat
from typing import Any

from oslo_config import cfg

from nova_recovery import conf as recovery_conf
from nova_recovery import exit_codes
from nova_recovery.cloud import clock, secrets, settings
from nova_recovery.cloud.api import apis
from nova_recovery.cloud.db import databases as databases_module
from nova_recovery.cloud.db import grants, schema
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.settings import CinderSettings, NovaSettings
from nova_recovery.conf import files as conf_files
from nova_recovery.engine import findings
from nova_recovery.engine.findings import (
    Assessment,
    Columns,
    DANGER,
    Finding,
    GOOD,
    NOTE,
    STALE,
)
from nova_recovery.engine.journal import location
from nova_recovery.exceptions import (
    ApiUnavailable,
    ConfigError,
    DatabaseUnavailable,
    JournalError,
    NotFound,
    RecoveryError,
)

#: What a disk should have for journals and snapshots, MiB: a snapshot of
#: 100,000 servers takes some 130.
ROOM = 256

#: As it should be; it does not answer; it is configured wrongly; it is not
#: used: a disabled cell, a cinder.conf that is not there.
OK, UNKNOWN, WRONG, UNUSED = GOOD, findings.UNKNOWN, DANGER, NOTE
#: It works, and is not as one might think.
WARNING = STALE

#: How they are shown.
WORDS = {
    OK: 'ok',
    UNKNOWN: 'unknown',
    WRONG: 'wrong',
    WARNING: 'warning',
    UNUSED: 'unused',
}

COLUMNS: Columns = (
    ('What', attrgetter('subject')),
    ('State', lambda one: WORDS[one.severity]),
    ('User', lambda one: one.more['user']),
    ('Rights', lambda one: one.more['rights']),
    ('Clock', lambda one: _clock(one.more['offset'])),
    ('Detail', attrgetter('cause')),
)


@dataclasses.dataclass(frozen=True)
class Option:
    """An option as it is in force, secrets masked.

    :ivar file: whose: ``nova.conf``, ``cinder.conf``, ``nova-recovery.conf``
    :ivar origin: the file it comes from; '' for a default
    """

    file: str
    name: str
    value: str
    origin: str


def seen(
    what: str,
    state: str,
    detail: str,
    user: str = '',
    rights: str = '',
    offset: float | None = None,
) -> Finding:
    """What was found of one thing.

    :param user: as whom a database is used
    :param rights: what that user may do
    :param offset: seconds that its clock is ahead of ours; None: not known
    """
    more = {'user': user, 'rights': rights, 'offset': offset}
    return Finding('CONFIG', state, what, detail, more=more)


def options(conf: cfg.ConfigOpts) -> list[Option]:
    """Return the options in force: nova's, cinder's and ours.

    :raises ConfigError: a file can't be read
    """
    nova = settings.read_nova(conf.nova_config_file, conf.nova_config_dir)
    cinder = settings.read_cinder(conf.cinder_config_file)
    return [
        *_of_service('nova.conf', nova),
        *_of_service('cinder.conf', cinder),
        *_of_ours(conf),
    ]


def assess(
    conf: cfg.ConfigOpts, connect: Callable[[], Any] | None
) -> Assessment:
    """Ask everything that the configuration leads to.

    :param connect: gives an openstacksdk connection; None: no API is asked
    """
    some = [*databases(conf), *kept(conf)]
    if connect is not None:
        some.append(compute_api(connect, conf.timeouts.api))
    return Assessment(
        conf,
        tuple(some),
        COLUMNS,
        ends={WRONG: exit_codes.ERROR, UNKNOWN: exit_codes.PARTLY},
    )


def databases(conf: cfg.ConfigOpts) -> list[Finding]:
    """Ask every database that the configuration leads to.

    What is wrong with one of them is a finding, not an error.
    """
    some: list[Finding] = []
    try:
        nova = settings.read_nova(conf.nova_config_file, conf.nova_config_dir)
    except ConfigError as error:
        some.append(seen('nova.conf', WRONG, str(error)))
    else:
        some.append(_files('nova.conf', nova.files))
        some += _of_nova(conf, nova)
    try:
        cinder = settings.read_cinder(conf.cinder_config_file)
    except ConfigError as error:
        some.append(seen('cinder.conf', WRONG, str(error)))
    else:
        some.append(_files('cinder.conf', cinder.files))
        database = databases_module.open_cinder(conf, cinder)
        if database is not None:
            some.append(asked('cinder database', database, grants.CINDER))
    return some


def kept(conf: cfg.ConfigOpts) -> Iterator[Finding]:
    """Where the journal and the snapshots are, or will be; nothing is made."""
    yield _journal(conf.journal.connection)
    yield _folder('snapshots', pathlib.Path(conf.snapshot.directory))


def _journal(url: str) -> Finding:
    try:
        path = location.file(url)
    except JournalError as error:
        return seen('journal', WRONG, str(error))
    if path is not None:
        found = _folder('journal', path.parent)
        if found.severity != WRONG and os.path.exists(path):
            owner = path.stat().st_uid
            if owner != os.geteuid():
                return seen(
                    'journal',
                    WRONG,
                    f'{path} belongs to {_account(owner)}, and only that '
                    'account may use it: run all commands as that one',
                )
        return found
    try:
        return seen('journal', OK, location.ask(url))
    except JournalError as error:
        return seen('journal', UNKNOWN, str(error))


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f'uid {uid}'


def _folder(what: str, folder: pathlib.Path) -> Finding:
    # what may not be looked at is not there for us
    above = next(
        one for one in (folder, *folder.parents) if os.path.exists(one)
    )
    if not above.is_dir():
        return seen(what, WRONG, f'{above} is no directory')
    if not os.access(above, os.W_OK | os.X_OK):
        account = _account(os.geteuid())
        return seen(
            what,
            WRONG,
            f'{account} may not write in {above}: run as the account that '
            f'may, or: install -d -m 0700 -o {account} {folder}',
        )
    free = shutil.disk_usage(above).free >> 20
    if free < ROOM:
        return seen(what, WARNING, f'{folder}: only {free} MiB are free')
    if above != folder:
        return seen(what, OK, f'{folder}: made when it is needed')
    if folder.stat().st_mode & stat.S_IRWXO:
        return seen(
            what,
            WARNING,
            f'{folder}: all users may look into it: chmod o-rwx {folder}',
        )
    return seen(what, OK, f'{folder}: {free} MiB are free')


def compute_api(connect: Callable[[], Any], timeout: float) -> Finding:
    """Log in, ask the compute API for its time.

    :param connect: gives an openstacksdk connection
    """
    what = 'compute API'
    place: list[str] = []

    def now() -> datetime.datetime:
        answer = connection.session.get(
            place[0],
            authenticated=False,
            raise_exc=False,
            connect_retries=0,
            timeout=timeout,
        )
        return email_utils.parsedate_to_datetime(answer.headers['Date'])

    try:
        with apis.reading(what):
            connection = connect()
            place.append(str(connection.compute.get_endpoint()))
            ahead = clock.offset(now)
    except (ApiUnavailable, NotFound) as error:
        return seen(what, UNKNOWN, secrets.mask_text(str(error)))
    except (KeyError, TypeError, ValueError):
        return seen(what, OK, f'{place[0]}; it tells no time')
    return seen(what, OK, place[0], offset=ahead)


def clocks_apart(some: Iterable[Finding]) -> float:
    """Return by how many seconds the clocks differ at most."""
    offsets = [one.more['offset'] for one in some]
    known = [offset for offset in offsets if offset is not None]
    return max(known) - min(known) if known else 0.0


def _clock(offset: float | None) -> str:
    return '' if offset is None else f'{round(offset):+} s'


def _of_service(
    file: str, read: NovaSettings | CinderSettings
) -> Iterator[Option]:
    yield Option(file, 'files', ', '.join(read.files) or 'none found', '')
    for field in dataclasses.fields(read):
        if field.name in ('files', 'origins', 'parameters'):
            continue
        value = getattr(read, field.name)
        name = f'[DEFAULT] {field.name}'
        if field.name == 'bus':
            name, value = '[DEFAULT] transport_url', read.bus.url
            value = secrets.mask_url(value) if value else value
        if field.name in ('database', 'api_database'):
            name = f'[{field.name}] connection'
            value = secrets.mask_url(value) if value else value
        yield Option(file, name, _shown(value), read.origins.get(name, ''))


def _of_ours(conf: cfg.ConfigOpts) -> Iterator[Option]:
    file = 'nova-recovery.conf'
    files = [*(conf.default_config_files or ())]
    yield Option(file, 'files', ', '.join(files) or 'none found', '')
    for group, known in recovery_conf.list_opts():
        for option in known:
            value = conf_files.value(conf, option.dest, group)
            values = value if isinstance(value, list) else [value]
            if option.secret:
                values = [_masked_connection(v) for v in values if v]
            yield Option(
                file,
                f'[{group}] {option.dest}',
                ', '.join(_shown(one) for one in values),
                conf_files.origin(conf, option.dest, group),
            )


def _masked_connection(text: str) -> str:
    # [cells]connection is NAME=URL
    name, equals, url = text.partition('=')
    if equals and '://' not in name:
        return f'{name}={secrets.mask_url(url)}'
    return secrets.mask_url(text)


def _shown(value: object) -> str:
    return '' if value is None else str(value)


def _files(what: str, files: tuple[str, ...]) -> Finding:
    open_to_all = [
        name for name in files if os.stat(name).st_mode & stat.S_IROTH
    ]
    if open_to_all:
        names = ' '.join(open_to_all)
        return seen(
            what,
            WARNING,
            f'all users may read its passwords: chmod o-rwx {names}',
        )
    if files:
        return seen(what, OK, ', '.join(files))
    return seen(what, UNUSED, 'no such file in the usual places')


def _of_nova(conf: cfg.ConfigOpts, nova: NovaSettings) -> Iterator[Finding]:
    api = databases_module.open_api(conf, nova)
    if api is not None:
        yield asked('API database', api, grants.API)
    try:
        found = databases_module.find_cells(conf, nova, api)
    except DatabaseUnavailable as error:
        yield seen('cells', UNKNOWN, str(error))
        return
    except RecoveryError as error:
        yield seen('cells', WRONG, str(error))
        return
    if not found:
        yield seen('cells', WRONG, 'there is no cell but cell0')
    opened = [
        databases_module.opened(conf, cell.name, cell.url)
        for cell in found
        if not cell.disabled
    ]
    answers = databases_module.each(
        opened,
        lambda database: asked(f'cell {database.name}', database, grants.CELL),
    )
    for cell in found:
        if cell.disabled:
            yield seen(
                f'cell {cell.name}', UNUSED, 'disabled: it is not searched'
            )
            continue
        answer = answers[cell.name]
        if isinstance(answer, DatabaseUnavailable):
            raise answer
        yield answer


def asked(
    what: str, database: Database, writes: Mapping[str, tuple[str, ...]]
) -> Finding:
    user = database.user or ''
    try:
        schema.features(database)
        lacking = grants.missing(database, writes)
        ahead = clock.offset(lambda: clock.database_now(database))
        state, detail = _how(database)
    except DatabaseUnavailable as error:
        return seen(what, UNKNOWN, f'{database.url}: {error.reason}', user)
    except RecoveryError as error:
        return seen(what, WRONG, f'{database.url}: {error}', user)
    finally:
        database.dispose()
    return seen(what, state, detail, user, _rights(lacking), ahead)


def _how(database: Database) -> tuple[str, str]:
    """Whether decisions can stand on what it answers.

    :raises DatabaseUnavailable: a server answers that takes no writes
    """
    with database.reader():
        pass
    if not database.splits():
        return OK, database.url
    return WARNING, (
        f'{database.url}: a proxy sends some reads to other servers than '
        'writes. What is decided by is read in plain transactions, which go '
        'to the primary with MaxScale and ProxySQL as they come; name the '
        'primary where yours may send those elsewhere'
    )


def _rights(lacking: list[str]) -> str:
    if not lacking:
        return 'all that is needed'
    return 'planning only; lacks ' + ', '.join(lacking)
