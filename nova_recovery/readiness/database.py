# SPDX-License-Identifier: Apache-2.0

"""Every database can be written to, and a Galera cluster is whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
import dataclasses
import functools
import re
from typing import Union

from nova_recovery import readiness
from nova_recovery.cloud import settings
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import open_api, open_cinder
from nova_recovery.engine.findings import Finding
from nova_recovery.exceptions import DatabaseUnavailable
from nova_recovery.readiness import bounded, Site

LAYER = 'database'

_row = functools.partial(Finding, LAYER)

#: Seconds for a server and the members that it names.
_PATIENCE = 9.0

_VARIABLES = (
    'read_only',
    'super_read_only',
    'innodb_read_only',
    'wsrep_on',
    'wsrep_cluster_address',
    'wsrep_reject_queries',
)
_OFF = frozenset({'OFF', '0', 'NONE', ''})

#: What a member has that takes part (Galera Cluster documentation,
#: "Monitoring the cluster").
_MEMBER = {
    'wsrep_cluster_status': 'Primary',
    'wsrep_ready': 'ON',
    'wsrep_local_state_comment': 'Synced',
}

#: address -> what it said: variables and status, or why it said nothing
Answers = Mapping[str, Union[Mapping[str, str], str]]


@dataclasses.dataclass(frozen=True)
class Server:
    """A server, by the databases that are on it.

    :ivar names: of the databases, such as ``API`` and ``cell1``
    """

    names: tuple[str, ...]
    address: str
    database: Database

    @property
    def subject(self) -> str:
        return ', '.join(self.names)


class Probe:
    """See :class:`nova_recovery.readiness.Probe`."""

    needs: tuple[str, ...] = ()

    def rows(self, site: Site) -> Iterator[Finding]:
        databases, problem = _databases(site)
        if problem:
            yield Finding(
                LAYER,
                readiness.UNKNOWN,
                'cells',
                problem,
                'every database is known',
                'mend the API database, then look again',
                ('database/API*',),
            )
        yield from asked(_servers(databases))


def asked(servers: Sequence[Server]) -> Iterator[Finding]:
    """Ask servers, and the members that they name, side by side."""
    answers = bounded.each(
        {
            server.subject: functools.partial(_with_members, server)
            for server in servers
        },
        _PATIENCE,
    )
    for server in servers:
        answer = answers[server.subject]
        if isinstance(answer, BaseException):
            yield from judge(server.subject, server.address, _why(answer), {})
        else:
            yield from judge(server.subject, server.address, *answer)


def judge(
    subject: str,
    address: str,
    answer: Mapping[str, str] | str,
    members: Answers,
) -> Iterator[Finding]:
    """What one server, and the members of its cluster, mean.

    :param answer: of the server that the URL leads to
    :param members: of each member that it names
    """
    if isinstance(answer, str):
        yield _row(
            readiness.UNKNOWN,
            subject,
            f'{address}: {answer}',
            'it answers',
            f'systemctl start mariadb  # on {_host(address)}',
        )
        return
    everyone = _everyone(address, answer, members)
    bad = list(_judged(subject, everyone, answer))
    if is_galera(answer) and not bad:
        bad += _missing(subject, answer, len(everyone))
    if bad:
        yield from bad
        return
    observed = f'{address}: writable'
    if is_galera(answer):
        observed = (
            f'{len(everyone)} members writable, Synced, in the primary '
            f'component: {", ".join(sorted(everyone))}'
        )
    yield _row(readiness.GO, subject, observed, 'writable')


def is_galera(answer: Mapping[str, str]) -> bool:
    return answer.get('wsrep_on', 'OFF').upper() in ('ON', '1')


def addresses(answer: Mapping[str, str], port: int) -> list[str]:
    """Where the members can be asked, as far as one of them tells.

    ``wsrep_incoming_addresses``: ``10.0.0.1:3306,10.0.0.2:3306``. Where it
    is not set, it says ``AUTO`` or nothing, and it has no members that are
    not in the component. Those of ``wsrep_cluster_address`` are asked too,
    at the same port.

    :param port: of the server that was asked
    """
    told = [
        (host, number)
        for host, number in map(
            split, answer.get('wsrep_incoming_addresses', '').split(',')
        )
        if host not in ('', 'AUTO', 'unspecified') and number
    ]
    known = {host for host, _ in told}
    told += [(host, port) for host in configured(answer) if host not in known]
    return list(dict.fromkeys(f'{host}:{number}' for host, number in told))


def configured(answer: Mapping[str, str]) -> list[str]:
    """The hosts of ``wsrep_cluster_address``, once for each member."""
    text = answer.get('wsrep_cluster_address', '')
    return [
        split(one)[0]
        for one in re.sub(r'^gcomm://|\?.*$', '', text).split(',')
        if one.strip()
    ]


def split(address: str) -> tuple[str, int]:
    """Host and port of ``host``, ``host:port`` or ``[v6]:port``."""
    match = re.fullmatch(
        r'\[(?P<v6>[^\]]*)\](?::(?P<p6>\d+))?|(?P<v4>[^:]*)(?::(?P<p4>\d+))?',
        address.strip(),
    )
    if match is None:
        return address, 3306
    port = match['p6'] or match['p4']
    return match['v6'] or match['v4'] or '', 3306 if port is None else int(
        port
    )


def _judged(
    subject: str, everyone: Answers, first: Mapping[str, str]
) -> Iterator[Finding]:
    cluster = first.get('wsrep_cluster_state_uuid')
    for address, said in everyone.items():
        place = address if len(everyone) > 1 else subject
        name = subject if place == subject else f'{subject}: {address}'
        host = _host(address)
        if isinstance(said, str):
            yield _row(
                readiness.UNKNOWN,
                name,
                f'{address}: {said}',
                'every member answers',
                f'systemctl start mariadb  # on {host}',
            )
            continue
        closed = [
            option
            for option in (
                'read_only',
                'super_read_only',
                'innodb_read_only',
                'wsrep_reject_queries',
            )
            if said.get(option, 'OFF').upper() not in _OFF
        ]
        if closed:
            shown = ', '.join(f'{o} = {said[o]}' for o in closed)
            yield _row(
                readiness.NO_GO,
                name,
                f'{address}: {shown}',
                'writable: ' + ', '.join(f'{o} = OFF' for o in closed),
                _opened(host, closed),
            )
        if not is_galera(said):
            if len(everyone) > 1:
                yield _row(
                    readiness.NO_GO,
                    name,
                    f'{address}: takes part in no cluster (wsrep_on = OFF)',
                    'a member of the cluster',
                    f'systemctl restart mariadb  # on {host}',
                )
            continue
        wrong = {
            option: said.get(option, 'not told')
            for option, wanted in _MEMBER.items()
            if said.get(option) != wanted
        }
        if said.get('wsrep_cluster_state_uuid') != cluster:
            wrong['wsrep_cluster_state_uuid'] = 'of another cluster'
        if wrong:
            yield _row(
                readiness.NO_GO,
                name,
                f'{address}: '
                + ', '.join(f'{o} = {v}' for o, v in wrong.items()),
                ', '.join(
                    f'{o} = {_MEMBER.get(o, "the same everywhere")}'
                    for o in wrong
                ),
                _joined(wrong, host),
            )


def _everyone(
    address: str, answer: Mapping[str, str], members: Answers
) -> dict[str, Mapping[str, str] | str]:
    """The members, each once.

    The server that the URL leads to may be one of them by another name,
    or whichever a balancer chose.
    """
    found = dict(members)
    seen = {
        said.get('wsrep_gcomm_uuid')
        for said in members.values()
        if not isinstance(said, str)
    }
    if answer.get('wsrep_gcomm_uuid') not in seen or not members:
        found = {address: answer, **found}
    return found


def _missing(
    subject: str, answer: Mapping[str, str], asked: int
) -> Iterator[Finding]:
    """Members that are not in the component, or could not be asked."""
    size = int(answer.get('wsrep_cluster_size') or 0)
    wanted = len(configured(answer))
    if size < wanted:
        yield _row(
            readiness.NO_GO,
            f'{subject}: members',
            f'{size} of {wanted} members are in the component',
            'all that wsrep_cluster_address names',
            'systemctl start mariadb  # on each that is missing',
        )
    elif asked < size:
        yield _row(
            readiness.UNKNOWN,
            f'{subject}: members',
            f'{size - asked} of {size} members could not be asked: '
            'wsrep_incoming_addresses does not tell where they are',
            'every member can be asked',
            'set wsrep_node_incoming_address on every member',
        )


def _joined(wrong: Mapping[str, str], host: str) -> str:
    if 'wsrep_cluster_status' in wrong:
        return (
            'start the members that are down; if none can be, on the one '
            'with the highest wsrep_last_committed: mariadb -e "SET GLOBAL '
            "wsrep_provider_options = 'pc.bootstrap=YES'\""
        )
    return f'systemctl restart mariadb  # on {host}'


def _opened(host: str, closed: Sequence[str]) -> str:
    dynamic = [o for o in closed if o != 'innodb_read_only']
    if not dynamic:
        return f'start mariadb without innodb_read_only  # on {host}'
    values = {'wsrep_reject_queries': 'NONE'}
    sets = '; '.join(
        f'SET GLOBAL {option} = {values.get(option, "OFF")}'
        # read_only last: super_read_only would put it back
        for option in sorted(dynamic, reverse=True)
    )
    return f'mariadb -h {host} -e "{sets}"'


def _databases(site: Site) -> tuple[list[Database], str]:
    """All that can be found; why not more, '' if these are all."""
    cloud = site.cloud
    try:
        found = cloud.databases
    except DatabaseUnavailable as error:
        cinder = settings.read_cinder(cloud.conf.cinder_config_file)
        some = (
            open_api(cloud.conf, cloud.nova),
            open_cinder(cloud.conf, cinder),
        )
        return [one for one in some if one is not None], str(error)
    every = (found.api, *(cell.database for cell in found.cells), found.cinder)
    return [one for one in every if one is not None], ''


def _servers(databases: Iterable[Database]) -> list[Server]:
    """The servers, each once: one that is down is one thing to mend."""
    by_place: dict[str, list[Database]] = {}
    for database in databases:
        place = database.server
        address = f'{place[0]}:{place[1]}' if place else database.name
        by_place.setdefault(address, []).append(database)
    return [
        Server(tuple(one.name for one in some), address, some[0])
        for address, some in by_place.items()
    ]


def _with_members(server: Server) -> tuple[Mapping[str, str], Answers]:
    """What a server says, and each member of its cluster.

    :raises DatabaseUnavailable: the server doesn't answer
    """
    answer = _ask(server.database)
    if not is_galera(answer):
        return answer, {}
    found = bounded.each(
        {
            address: functools.partial(
                _ask, server.database.at(*split(address))
            )
            for address in addresses(answer, split(server.address)[1])
        },
        _PATIENCE / 2,
    )
    return answer, {
        address: _why(said) if isinstance(said, BaseException) else said
        for address, said in found.items()
    }


def _ask(database: Database) -> dict[str, str]:
    """Its variables and what Galera says."""
    names = ', '.join(f"'{name}'" for name in _VARIABLES)
    return database.show(
        f'SHOW GLOBAL VARIABLES WHERE variable_name IN ({names})',
        "SHOW GLOBAL STATUS LIKE 'wsrep%'",
    )


def _why(error: BaseException) -> str:
    return str(getattr(error, 'reason', '')) or bounded.words(error)


def _host(address: str) -> str:
    return split(address.partition(' ')[0])[0]
