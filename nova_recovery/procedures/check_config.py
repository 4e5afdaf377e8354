# SPDX-License-Identifier: Apache-2.0

"""What ``config check`` tells: whatever the configuration leads to.

All is asked side by side, and nothing is waited for longer than it may take.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Mapping
import functools
from operator import attrgetter
from typing import Any

from oslo_config import cfg

from nova_recovery import exit_codes, fleet, program
from nova_recovery.cloud import bus as bus_module
from nova_recovery.cloud import clock, secrets, settings
from nova_recovery.cloud.cloud import Cloud
from nova_recovery.cloud.db import databases as databases_module
from nova_recovery.cloud.db import grants, schema
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

Asks = Mapping[str, Callable[[], Iterable[Finding]]]


def assess(
    conf: cfg.ConfigOpts, connect: Callable[[], Any] | None
) -> Assessment:
    """Ask everything that the configuration leads to, side by side.

    :param connect: gives an openstacksdk connection; None: no API is asked
    """
    asks: dict[str, Callable[[], Iterable[Finding]]] = {
        'databases': functools.partial(databases, conf),
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
        some.append(check_places.private('nova.conf', nova.files))
        some += _of_nova(conf, nova)
    try:
        cinder = settings.read_cinder(conf.cinder_config_file)
    except ConfigError as error:
        some.append(seen('cinder.conf', WRONG, str(error)))
    else:
        some.append(check_places.private('cinder.conf', cinder.files))
        database = databases_module.open_cinder(conf, cinder)
        if database is not None:
            some.append(asked('cinder database', database, grants.CINDER))
    return some


def buses(conf: cfg.ConfigOpts) -> Iterator[Finding]:
    """Log in to each server of the message buses that cells use."""
    cloud = Cloud(conf, _nothing, looking=True)
    try:
        found = bus_module.of_cloud(cloud)
    except ConfigError:
        # told of nova.conf, or of the cells
        return
    except RecoveryError:
        # told of the databases; what the files say is better than nothing
        found = bus_module.of_files(cloud)
    for names, said in bus.members(found).items():
        yield _bus(names, found[names], said)


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
            found = reached.names()
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
        url = clocks.endpoint(connection, kind)
        if not url:
            yield _not_there(what, site, kind)
            return
        ask(site)
        ahead = _ahead(connection, kind)
    except RecoveryError as error:
        told = secrets.mask_text(str(error))
        fix = '' if 'credentials' in told else _restart(service)
        yield seen(what, UNKNOWN, told, fix=fix)
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


def _restart(service: str) -> str:
    return f'systemctl restart {service}  # or the web server that runs it'


def _nothing() -> Any:
    raise ConfigError('no API is asked here')


def clocks_apart(some: Iterable[Finding]) -> float:
    """Return by how many seconds the clocks differ at most."""
    offsets = [one.more['offset'] for one in some]
    known = [offset for offset in offsets if offset is not None]
    return max(known) - min(known) if known else 0.0


def _clock(offset: float | None) -> str:
    return '' if offset is None else f'{round(offset):+} s'


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
