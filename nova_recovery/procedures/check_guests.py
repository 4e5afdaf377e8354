# SPDX-License-Identifier: Apache-2.0

"""``guest list`` and ``guest check``: guests of hosts beside nova's rows.

A guest that runs on two hosts writes to one disk twice, and no repair brings
that back: it is looked for on both sides, by libvirt and by the processes of
the hosts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery import program
from nova_recovery.cloud.db import servers as servers_module
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.cloud.records import Server
from nova_recovery.engine import findings
from nova_recovery.engine.findings import Assessment, Columns, Finding
from nova_recovery.procedures import reached
from nova_recovery.procedures.reached import Reached
from nova_recovery.report import wording

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

#: nova itself is at it: the guest may be on its way from host to host.
_MOVING = ('migrating', 'resize_', 'rebuild', 'spawning', 'deleting')

#: Where no command of ours mends it: what is to be done, on the host.
_ADVICE = {
    'GUEST-TWICE': 'see which of them writes, and end the other one; if both '
    'do, the one that nova does not have',
    'GUEST-ORPHAN': 'were the databases restored from a dump? Then it may be '
    'all that is left of its server. If not, its rows were archived',
    'GUEST-UNMANAGED': 'there: restart libvirt, which finds it again',
    'GUEST-LEFT': 'if nobody needs it, there: virsh undefine {uuid}',
}


_CHECK: Columns = (
    *findings.OF_HOST,
    ('Server ID', lambda one: one.server),
    ('Server', findings.more('name')),
    ('Seen', lambda one: one.cause),
    ('To do', lambda one: one.fix or one.expected),
)
_LIST: Columns = (
    ('Host', lambda one: one.host),
    ('Server ID', lambda one: one.server),
    ('Domain', findings.more('domain')),
    ('State', findings.more('state')),
    ('Server', findings.more('name')),
    ('Nova host', findings.more('nova_host')),
    ('VNC', findings.more('vnc')),
    ('DHCPSERVER', findings.more('dhcp_server')),
    ('Code', lambda one: one.code),
)


@dataclasses.dataclass(frozen=True)
class Facts:
    """Both sides.

    :ivar servers: UUID -> as nova has it, of all that was seen or is theirs
    :ivar deleted: UUIDs that nova had
    :ivar unknown: why nova's side is not known as a whole, lines
    :ivar silent: hosts that could not even be named, lines
    """

    hosts: tuple[Reached, ...]
    servers: Mapping[str, Server]
    deleted: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Guest:
    """One guest on one host.

    :ivar runs: it has a process there
    :ivar domain: as libvirt has it; {} where only the process is seen
    """

    host: str
    uuid: str
    runs: bool
    domain: Mapping[str, Any]

    @property
    def state(self) -> str:
        """What it does: libvirt's word, such as ``running`` or ``paused``.

        '' where it does not run, ``unknown`` where it has a process that
        libvirt does not tell of.
        """
        if not self.runs:
            return ''
        if not self.domain.get('active'):
            return 'unknown'
        return str(self.domain['state'])


def assess(
    cloud: Cloud, names: Collection[str], everything: bool
) -> Assessment:
    """Ask hosts, all of the cells where none is named, and the databases.

    :param everything: all guests, with what their XML says of them
    """
    silent: tuple[str, ...] = ()
    if not names:
        names, silent = reached.hosts_of(cloud)
    hosts = tuple(reached.read(cloud, names, ('guests list', {})))
    seen = {guest.uuid for host in hosts for guest in guests_of(host)}
    servers, deleted, unknown = read_nova(cloud, names, seen)
    found = Facts(hosts, servers, deleted, unknown, silent)
    return judge(found, everything)


def read_nova(
    cloud: Cloud, names: Collection[str], uuids: Collection[str]
) -> tuple[dict[str, Server], frozenset[str], tuple[str, ...]]:
    """What nova has of the servers of hosts and of these.

    :returns: live servers, UUIDs of deleted ones, why it is not all known
    """
    known, unknown = reached.of_cells(
        cloud, lambda cell: of_cell(cell, names, uuids)
    )
    servers = {u: s for live, _gone in known.values() for u, s in live.items()}
    gone = {uuid for _live, some in known.values() for uuid in some}
    return servers, frozenset(gone - set(servers)), unknown


def of_cell(
    cell: Database, names: Collection[str], uuids: Collection[str]
) -> tuple[dict[str, Server], set[str]]:
    """The servers of hosts and of these UUIDs, and those that are deleted."""
    columns = (*servers_module.COLUMNS, 'deleted')
    live: dict[str, Server] = {}
    gone: set[str] = set()
    with Reader.of(cell) as reader:
        for row in reader.select('instances', columns, 'host', names):
            # MySQL compares without regard to case or trailing blanks
            if row['host'] in names:
                live[row['uuid']] = servers_module.server(
                    row, cell.name, Server
                )
        for row in reader.select(
            'instances', columns, 'uuid', uuids, deleted=True
        ):
            if row['deleted']:
                gone.add(row['uuid'])
            else:
                live[row['uuid']] = servers_module.server(
                    row, cell.name, Server
                )
    # a resize to another cell has a hidden copy of the server there
    return {u: one for u, one in live.items() if not one.hidden}, gone


def guests_of(host: Reached) -> Iterator[Guest]:
    """The guests of a host that answered, by libvirt and by processes."""
    if host.problem:
        return
    (said,) = host.said
    running = {row['uuid'] for row in said['processes']}
    domains = {row['uuid']: row for row in said['domains'] or ()}
    for uuid, domain in domains.items():
        active = domain['active'] or uuid in running
        yield Guest(host.name, uuid, active, domain)
    for uuid in sorted(running - set(domains)):
        yield Guest(host.name, uuid, True, {})


def judge(found: Facts, everything: bool = False) -> Assessment:
    """What is wrong, or all guests."""
    guests = [guest for host in found.hosts for guest in guests_of(host)]
    where: dict[str, list[Guest]] = {}
    for guest in guests:
        if guest.runs:
            where.setdefault(guest.uuid, []).append(guest)
    made = [
        _judged(found, guest, where.get(guest.uuid, [])) for guest in guests
    ]
    made += _silent(found)
    made += _missing(found, where)
    made.sort(
        key=lambda one: (
            0 if everything else findings.SEVERITIES.index(one.severity),
            one.host,
            one.more.get('domain', ''),
        )
    )
    lines = [f'not compared with nova: {why}' for why in found.unknown]
    counts = Assessment(None, tuple(made), ()).counts
    told = findings.counted(
        {name: n for name, n in counts.items() if name != findings.GOOD}
    )
    lines.append(
        f'{wording.count(len(guests), "guest")} on '
        f'{wording.count(len(found.hosts), "host")}, '
        f'{sum(guest.runs for guest in guests)} of them run: '
        f'{told or "nothing is wrong"}.'
    )
    shown = tuple(
        one for one in made if everything or one.severity != findings.GOOD
    )
    result = Assessment(
        found,
        tuple(made),
        _LIST if everything else _CHECK,
        tuple(lines),
        silent=found.silent,
        codes=tuple(dict.fromkeys(one.code for one in shown)) or ('',),
    )
    return result


def _judged(found: Facts, guest: Guest, where: Sequence[Guest]) -> Finding:
    code, severity, seen, fix = _verdict(found, guest, where)
    server = found.servers.get(guest.uuid)
    domain = guest.domain
    return Finding(
        code,
        severity,
        f'server:{guest.uuid}',
        seen,
        expected=_ADVICE.get(code, '').format(uuid=guest.uuid),
        fix=fix,
        label=(server and server.name) or guest.uuid,
        host=guest.host,
        server=guest.uuid,
        more={
            'name': server.name if server else '',
            'nova_host': (server.host or '') if server else '',
            'domain': domain.get('name', ''),
            'state': domain.get('state', 'running, not known to libvirt'),
            'vnc': domain.get('vnc', ''),
            'dhcp_server': domain.get('dhcp_server', ''),
        },
    )


def _verdict(
    found: Facts, guest: Guest, where: Sequence[Guest]
) -> tuple[str, str, str, str]:
    """Code, severity, what was seen, and what mends it."""
    server = found.servers.get(guest.uuid)
    moving = bool(
        server and server.task_state and server.task_state.startswith(_MOVING)
    )
    # what comes to a host in a live migration is paused until it has come
    going = [one for one in where if one.domain.get('state') != 'paused']
    if guest.runs and len(where) > 1 and not (moving and len(going) < 2):
        return _twice(guest, server, where)
    if server is None:
        return _unknown_to_nova(found, guest)
    if server.host == guest.host:
        return _at_home(guest, server, where)
    if moving or (server.vm_state == 'resized' and not guest.runs):
        return (
            'GUEST-MOVING',
            findings.NOTE,
            f'nova has it on {server.host}; its task is '
            f'{server.task_state or "a resize to be confirmed"}',
            '',
        )
    if guest.runs:
        return (
            'GUEST-ELSEWHERE',
            findings.DANGER,
            f'it runs here, and nova has it on {server.host or "no host"}: a '
            'start there would be the second one',
            program.call(f'server adopt {guest.uuid} --host {guest.host}'),
        )
    return (
        'GUEST-LEFT',
        findings.STALE,
        f'only defined here; nova has it on {server.host or "no host"}: '
        'nothing may start it',
        '',
    )


def _twice(
    guest: Guest, server: Server | None, where: Sequence[Guest]
) -> tuple[str, str, str, str]:
    """One that nova does not have here, and that is not the only living one.

    What a live migration left on its source is paused, and the row may name
    that host still: the one that is ended then is the one that works.
    """
    told = ' and '.join(
        one.host if one.state == 'running' else f'{one.host} ({one.state})'
        for one in sorted(where, key=lambda one: one.host)
    )
    home = server.host if server else None
    at_home = guest.host == home
    alive = any(one.host == home and one.state == 'running' for one in where)
    return (
        'GUEST-TWICE',
        findings.DANGER,
        f'it runs on {told}: one disk, two writers; nova has it on '
        f'{home or "no host that is known"}',
        _stop(guest) if alive and not at_home else '',
    )


def _stop(guest: Guest) -> str:
    return program.call(f'guest stop {guest.uuid} --host {guest.host}')


def _at_home(
    guest: Guest, server: Server, where: Sequence[Guest]
) -> tuple[str, str, str, str]:
    if guest.runs and not guest.domain:
        return (
            'GUEST-UNMANAGED',
            findings.DANGER,
            'its process runs, and libvirt does not tell of it: a start would '
            'be the second one',
            '',
        )
    if guest.runs or server.vm_state != 'active' or server.task_state:
        return 'GUEST-GOOD', findings.GOOD, 'as nova has it', ''
    return _off(server, where)


def _off(server: Server, where: Sequence[Guest]) -> tuple[str, str, str, str]:
    """One that nova has active, and that does not run where it has it."""
    if where:
        told = ' and '.join(sorted(one.host for one in where))
        seen, fix = f'it runs on {told}, and nova has it here', ''
    else:
        seen = 'nova has it active, and it does not run'
        fix = program.call(f'server reboot {server.uuid}')
    return 'GUEST-OFF', findings.STALE, seen, fix


def _unknown_to_nova(found: Facts, guest: Guest) -> tuple[str, str, str, str]:
    if guest.domain and not guest.domain['nova']:
        return 'GUEST-FOREIGN', findings.NOTE, 'nova did not make it', ''
    if found.unknown:
        return (
            'GUEST-UNKNOWN',
            findings.UNKNOWN,
            'where nova has it is not known',
            '',
        )
    had = guest.uuid in found.deleted
    word = 'deleted it' if had else 'does not have it'
    if guest.runs:
        return (
            'GUEST-ORPHAN',
            findings.DANGER,
            f'it runs, and nova {word}: its volumes may be of others by now',
            # databases that were restored are older than the newest guests
            _stop(guest) if had else '',
        )
    return (
        'GUEST-LEFT',
        findings.STALE,
        f'only defined here; nova {word}',
        '',
    )


def _silent(found: Facts) -> Iterator[Finding]:
    for host in found.hosts:
        if host.problem:
            yield reached.unknown(host)
        elif host.said[0]['domains'] is None:
            yield Finding(
                'LIBVIRT-SILENT',
                findings.UNKNOWN,
                f'host:{host.name}',
                f'libvirt does not tell: {host.said[0]["why"]}; guests are '
                'known by their processes alone',
                label=host.name,
                host=host.name,
            )


def _missing(
    found: Facts, where: Mapping[str, Sequence[Guest]]
) -> Iterator[Finding]:
    """Servers that nova has active on a host which has nothing of them."""
    known = {
        host.name: {guest.uuid for guest in guests_of(host)}
        for host in found.hosts
        if not host.problem and host.said[0]['domains'] is not None
    }
    for server in found.servers.values():
        there = known.get(server.host or '')
        if there is None or server.uuid in there or server.task_state:
            continue
        if server.vm_state != 'active':
            continue
        code, severity, seen, fix = _off(server, where.get(server.uuid, ()))
        yield Finding(
            code,
            severity,
            f'server:{server.uuid}',
            f'{seen}; libvirt does not have it',
            fix=fix,
            label=server.name,
            host=server.host or '',
            server=server.uuid,
            more={'name': server.name, 'nova_host': server.host or ''},
        )
