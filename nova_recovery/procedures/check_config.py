# SPDX-License-Identifier: Apache-2.0

"""What ``config check`` tells: whatever the configuration leads to.

All is asked side by side, and nothing is waited for longer than it may take.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Mapping
import functools
from operator import attrgetter
from typing import Any, TypeVar

from oslo_config import cfg

from nova_recovery import exit_codes, fleet, program
from nova_recovery.cloud import bus as bus_module
from nova_recovery.cloud import clock, secrets, settings
from nova_recovery.cloud.cloud import Cloud
from nova_recovery.cloud.db import databases as databases_module
from nova_recovery.cloud.db import grants, schema
from nova_recovery.cloud.db.cells import Cell
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.settings import NovaSettings
from nova_recovery.engine.findings import Assessment, Columns, Finding
from nova_recovery.exceptions import (
    ConfigError,
    DatabaseUnavailable,
    RecoveryError,
)
from nova_recovery.procedures import check_places
from nova_recovery.procedures.configured import (
    OK,
    seen,
    UNKNOWN,
    UNUSED,
    WARNING,
    WRONG,
)
from nova_recovery.readiness import (
    bounded,
    bus,
    clocks,
    common,
    control,
    keystone,
    Site,
)

#: How states are shown.
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
    ('Fix', attrgetter('fix')),
)

#: The APIs that are used here, as the catalogue names them: what serves one,
#: and what an administrator is asked of it, who has to be one.
APIS: Mapping[str, tuple[str, Callable[[Site], object]]] = {
    'identity': ('apache2', keystone.validate),
    'compute': ('nova-api', lambda site: site.cloud.compute.ping()),
    'block-storage': ('cinder-api', lambda site: site.cloud.volume.ping()),
    'network': ('neutron-server', lambda site: site.cloud.network.ping()),
    'image': ('glance-api', control.images),
    'placement': ('placement-api', lambda site: site.cloud.placement.ping()),
}

#: Seconds that all of it may take: a site with many cells, of which some
#: don't answer, needs a few.
PATIENCE = 30.0
#: Seconds that one database has for all that it is asked; the cells are
#: known, and asked, after the others. Twice that is less than all of it, and
#: what an inventory has.
EACH = 14.0
#: Seconds that one answer may take: one that hangs is known by then, by what
#: it hangs in, and connecting comes before.
ANSWER = 10

T = TypeVar('T')
Asks = Mapping[str, Callable[[], Iterable[Finding]]]


def assess(
    conf: cfg.ConfigOpts, connect: Callable[[], Any] | None
) -> Assessment:
    """Ask everything that the configuration leads to, side by side.

    :param connect: gives an openstacksdk connection; None: no API is asked
    """
    asks: dict[str, Callable[[], Iterable[Finding]]] = {
        **databases(conf),
        'message bus': functools.partial(buses, conf),
        'files': lambda: [
            *check_places.kept(conf),
            *check_places.passwords(conf),
        ],
        'hosts': functools.partial(hosts, conf),
    }
    if connect is not None:
        asks |= apis(Site(Cloud(conf, connect, looking=True)))
    found = tuple(asked_all(asks, PATIENCE))
    return Assessment(
        conf,
        found,
        COLUMNS,
        summary=(summed(found),),
        ends=dict.fromkeys((WRONG, UNKNOWN), exit_codes.ERROR),
    )


def summed(found: Iterable[Finding]) -> str:
    """How it is altogether, and what next."""
    counts = collections.Counter(one.severity for one in found)
    told = ', '.join(
        f'{counts[state]} {word}'
        for state, word in WORDS.items()
        if counts[state]
    )
    if not counts[WRONG] + counts[UNKNOWN]:
        return f'{told}: all that is used works.'
    again = program.call('config check')
    return f'{told}: mend what does not work, then again: {again}'


def asked_all(asks: Asks, seconds: float) -> Iterator[Finding]:
    """What all of them say, each row in its place."""
    answers = bounded.each(
        {what: functools.partial(_listed, ask) for what, ask in asks.items()},
        seconds,
    )
    for what, answer in answers.items():
        if isinstance(answer, BaseException):
            yield seen(what, UNKNOWN, bounded.words(answer))
        else:
            yield from answer


def _listed(ask: Callable[[], Iterable[Finding]]) -> list[Finding]:
    return list(ask())


def databases(conf: cfg.ConfigOpts) -> Asks:
    """Ask every database that the configuration leads to, each by itself.

    What is wrong with one of them is a finding, not an error, and one that
    hangs holds up no other.
    """
    asks: dict[str, Callable[[], Iterable[Finding]]] = {}
    try:
        nova = settings.read_nova(conf.nova_config_file, conf.nova_config_dir)
    except ConfigError as error:
        asks['nova.conf'] = _told(seen('nova.conf', WRONG, str(error)))
    else:
        asks['nova.conf'] = _told(
            check_places.private('nova.conf', nova.files)
        )
        if nova.api_database:
            asks['API database'] = functools.partial(
                _database, conf, 'API', nova.api_database, grants.API
            )
        asks['cells'] = functools.partial(_cells, conf, nova)
    try:
        cinder = settings.read_cinder(conf.cinder_config_file)
    except ConfigError as error:
        asks['cinder.conf'] = _told(seen('cinder.conf', WRONG, str(error)))
    else:
        asks['cinder.conf'] = _told(
            check_places.private('cinder.conf', cinder.files)
        )
        if cinder.database:
            asks['cinder database'] = functools.partial(
                _database, conf, 'cinder', cinder.database, grants.CINDER
            )
    return asks


def _told(finding: Finding) -> Callable[[], Iterable[Finding]]:
    """What is known already, in its place among the answers."""
    return lambda: [finding]


def buses(conf: cfg.ConfigOpts) -> Iterator[Finding]:
    """Log in to each server of the message buses that cells use."""
    cloud = Cloud(conf, _nothing, looking=True)
    found = _within(lambda: bus_module.of_cloud(cloud))
    if isinstance(found, ConfigError):
        # told of nova.conf, or of the cells
        return
    if isinstance(found, (RecoveryError, TimeoutError)):
        # told of the databases; what the files say is better than nothing
        found = bus_module.of_files(cloud)
    if isinstance(found, BaseException):
        raise found
    for names, said in bus.members(found).items():
        yield _bus(names, found[names], said)


def _within(ask: Callable[[], T]) -> T | BaseException:
    """What a database says, or what is wrong, in the time that it has."""
    return bounded.each({'': ask}, EACH)['']


def _bus(
    names: str, one: bus_module.Bus, said: Mapping[str, str] | str
) -> Finding:
    """:param said: as ``readiness.bus.members`` tells it"""
    what = f'bus {names}'
    if one.other_kind:
        return seen(what, UNUSED, one.problem)
    if one.problem:
        return seen(what, WRONG, one.problem, fix=program.call('config show'))
    row = bus.reached(names, one, said)
    if row.severity == OK and not isinstance(said, str) and any(said.values()):
        down = ', '.join(address for address, why in said.items() if why)
        fix = f'systemctl start rabbitmq-server  # on {down}'
        return seen(what, WARNING, row.cause, fix=fix)
    return seen(what, row.severity, row.cause, fix=row.fix)


def hosts(conf: cfg.ConfigOpts) -> Iterator[Finding]:
    """Whether there are hosts that can be reached; none of them is."""
    if not Cloud(conf, _nothing).reaches_hosts:
        yield seen(
            'hosts',
            UNUSED,
            'no Ansible inventory is named ([fleet] inventory): "host", '
            '"guest" and "iscsi" commands need one',
        )
        return
    try:
        with fleet.load(conf) as reached:
            found = reached.names(2 * EACH)
    except RecoveryError as error:
        yield seen('hosts', WRONG, str(error))
        return
    yield seen('hosts', OK, f'{len(found)} in the inventory')


def apis(site: Site) -> Asks:
    """Log in, and ask each API what only an administrator may know."""
    return {
        f'{kind} API': functools.partial(_api, site, kind) for kind in APIS
    }


def _api(site: Site, kind: str) -> Iterator[Finding]:
    service, ask = APIS[kind]
    what = f'{kind} API'
    try:
        connection = site.apis().connection
    except RecoveryError as error:
        # it is one fault: told where it is, and mended there
        fix = common.mend_api(error, service) if kind == 'identity' else ''
        yield seen(what, UNKNOWN, secrets.mask_text(str(error)), fix=fix)
        return
    try:
        url = clocks.endpoint(connection, kind)
        if not url:
            yield _not_there(what, site, kind)
            return
        ask(site)
        ahead = _ahead(connection, kind)
    except RecoveryError as error:
        told = secrets.mask_text(str(error))
        if common.code_of(error) == 403:
            told = f'not an administrator: {told}'
        yield seen(what, UNKNOWN, told, fix=common.mend_api(error, service))
        return
    yield seen(what, OK, url, offset=ahead)


def _ahead(connection: Any, kind: str) -> float | None:
    """Seconds that the clock of an API is ahead; None: it tells no time."""
    now = clocks.api_now(connection, kind)
    return None if now is None else clock.offset(lambda: now)


def _not_there(what: str, site: Site, kind: str) -> Finding:
    if kind == 'block-storage' and site.cloud.databases.cinder is None:
        return seen(what, UNUSED, 'not in the catalogue, and no cinder.conf')
    return seen(
        what,
        WRONG,
        'the catalogue has no such endpoint for this region and interface',
        fix='openstack catalog list',
    )


def _nothing() -> Any:
    raise ConfigError('no API is asked here')


def clocks_apart(some: Iterable[Finding]) -> float:
    """Return by how many seconds the clocks differ at most."""
    offsets = [one.more['offset'] for one in some]
    known = [offset for offset in offsets if offset is not None]
    return max(known) - min(known) if known else 0.0


def _clock(offset: float | None) -> str:
    return '' if offset is None else f'{round(offset):+} s'


def _database(
    conf: cfg.ConfigOpts,
    name: str,
    url: str,
    writes: Mapping[str, tuple[str, ...]],
) -> list[Finding]:
    database = databases_module.opened(conf, name, url, answer=ANSWER)
    return [asked(f'{name} database', database, writes)]


def _cells(conf: cfg.ConfigOpts, nova: NovaSettings) -> Iterator[Finding]:
    found = _within(functools.partial(_found_cells, conf, nova))
    if isinstance(found, (DatabaseUnavailable, TimeoutError)):
        yield seen('cells', UNKNOWN, bounded.words(found))
        return
    if isinstance(found, RecoveryError):
        yield seen('cells', WRONG, str(found))
        return
    if isinstance(found, BaseException):
        raise found
    if not found:
        yield seen('cells', WRONG, 'there is no cell but cell0')
    yield from asked_all(
        {f'cell {cell.name}': _of_cell(conf, cell) for cell in found}, EACH
    )


def _found_cells(conf: cfg.ConfigOpts, nova: NovaSettings) -> list[Cell]:
    if not nova.api_database:
        return databases_module.find_cells(conf, nova, None)
    api = databases_module.opened(
        conf, 'API', nova.api_database, answer=ANSWER
    )
    try:
        return databases_module.find_cells(conf, nova, api)
    finally:
        api.dispose()


def _of_cell(
    conf: cfg.ConfigOpts, cell: Cell
) -> Callable[[], Iterable[Finding]]:
    what = f'cell {cell.name}'
    if cell.disabled:
        return _told(seen(what, UNUSED, 'disabled: it is not searched'))
    database = databases_module.opened(
        conf, cell.name, cell.url, answer=ANSWER
    )
    return lambda: [asked(what, database, grants.CELL)]


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
        return seen(
            what,
            UNKNOWN,
            f'{database.url}: {error.reason}',
            user,
            fix=_start(database),
        )
    except RecoveryError as error:
        return seen(what, WRONG, f'{database.url}: {error}', user)
    finally:
        database.dispose()
    return seen(what, state, detail, user, _rights(lacking), ahead)


def _start(database: Database) -> str:
    """What is done about a database that does not answer."""
    if database.server is None:
        return ''
    host, port = database.server
    return f'systemctl status mariadb  # on {host}, port {port}'


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
