# SPDX-License-Identifier: Apache-2.0

"""``iscsi session list`` and ``iscsi discover``: what is, what should be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TYPE_CHECKING

from nova_recovery import program
from nova_recovery.engine import findings
from nova_recovery.engine.findings import Assessment, Columns, Finding
from nova_recovery.exceptions import ChangeFailed
from nova_recovery.procedures import reached
from nova_recovery.procedures.iscsi import facts
from nova_recovery.procedures.iscsi.facts import Facts, Session
from nova_recovery.procedures.reached import Reached

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.cloud.db.connections import Connection

#: What a session is in that does its work.
LOGGED_IN = 'LOGGED_IN'
#: A session that is as it should be; a volume that has none.
SESSION, LOST = 'ISCSI-SESSION', 'ISCSI-LOST'


_COLUMNS: Columns = (
    ('Code', lambda one: one.code),
    ('Host', lambda one: one.host),
    ('Session', findings.more('session')),
    ('Target', findings.more('target')),
    ('Portal', findings.more('portal')),
    ('State', findings.more('state')),
    ('Disks', findings.more('disks')),
    ('Volume', lambda one: one.volume),
    ('Server', findings.more('server')),
    ('Seen', lambda one: one.cause),
    ('Fix', lambda one: one.fix),
)


def assess(cloud: Cloud, names: Sequence[str]) -> Assessment:
    """Ask the hosts and the databases; see :func:`judge`."""
    return judge(facts.read(cloud, names))


def judge(found: Facts) -> Assessment:
    """A finding for each session, and for each volume that has none."""
    made: list[Finding] = []
    for host in found.hosts:
        made += _of_host(found, host)
    known = [host for host in found.hosts if not host.problem]
    lines = [
        f'{host.name}: libvirt does not tell whose disks they are: '
        f'{host.said[0]["why"]}'
        for host in known
        if host.said[0]['domains'] is None
    ]
    lines += [f'not compared with nova: {why}' for why in found.unknown]
    lines.append(_sum(found, made, len(known)))
    return Assessment(
        found, tuple(made), _COLUMNS, tuple(lines), silent=found.silent
    )


def _sum(found: Facts, made: Sequence[Finding], hosts: int) -> str:
    sessions = sum('session' in one.more for one in made)
    volumes = sum(len(some) for some in found.wanted.values())
    wrong = {
        name: number
        for name, number in Assessment(None, tuple(made), ()).counts.items()
        if name != findings.GOOD
    }
    told = findings.counted(wrong) or 'nothing is wrong'
    whose = f', {volumes} iSCSI volumes of their servers'
    return (
        f'{sessions} sessions on {hosts} of {len(found.hosts)} hosts'
        f'{"" if found.unknown else whose}: {told}.'
    )


def _of_host(found: Facts, host: Reached) -> Iterator[Finding]:
    if host.problem:
        yield reached.unknown(host)
        return
    sessions = list(found.sessions(host))
    for session in sessions:
        yield _judged(found, session)
    for one in found.wanted.get(host.name, ()):
        yield from _missing(host, one, sessions)


def _judged(found: Facts, one: Session) -> Finding:
    code, severity, seen = _verdict(found, one)
    fix = ''
    if code == 'ISCSI-UNUSED':
        fix = program.call(
            f'iscsi session delete {one.host} --session {one.number}'
        )
    names = found.names
    return Finding(
        code,
        severity,
        f'session:{one.host}:{one.number}',
        seen,
        fix=fix,
        label=f'session {one.number} of {one.host}',
        host=one.host,
        volume=', '.join(one.volumes),
        server=one.servers[0] if len(one.servers) == 1 else '',
        more={
            'session': one.number,
            'target': one.target,
            'portal': one.portal,
            'state': one.state,
            'disks': ', '.join(_disk(disk) for disk in one.disks),
            'server': ', '.join(names.get(s) or s for s in one.servers),
        },
    )


def _disk(disk: Mapping[str, Any]) -> str:
    maps = f' ({", ".join(disk["maps"])})' if disk['maps'] else ''
    return f'{disk["device"]}{maps}'


def _verdict(found: Facts, one: Session) -> tuple[str, str, str]:
    """Code, severity and what was seen."""
    blocked = [
        f'{disk["device"]} is {disk["state"]}'
        for disk in one.disks
        if disk['state'] != 'running'
    ]
    used = '; '.join(one.uses)
    if one.state != LOGGED_IN or blocked:
        seen = '; '.join([*blocked, used] if used else blocked)
        return (
            'ISCSI-DEAD',
            findings.DANGER if used or one.wanted else findings.STALE,
            seen or 'it is not logged in: is its portal alive?',
        )
    if one.wanted and not one.disks:
        return SESSION, findings.NOTE, 'it has no disk'
    if one.wanted or used:
        return SESSION, findings.GOOD, used or 'nova has it so'
    if found.unknown:
        return (
            SESSION,
            findings.NOTE,
            'nothing uses it now; what nova has there is not known',
        )
    if not one.disks:
        return 'ISCSI-UNUSED', findings.STALE, 'it has no disk'
    return (
        'ISCSI-UNUSED',
        findings.STALE,
        'nothing uses it, and nova has no volume there',
    )


def _missing(
    host: Reached, one: Connection, sessions: Sequence[Session]
) -> Iterator[Finding]:
    mine = [
        session
        for session in sessions
        if facts.through(one, session.target, session.portal)
    ]
    domains = host.said[0]['domains'] or ()
    if not one.paths or any(facts.has_disk(s, one, domains) for s in mine):
        return
    path = one.paths[0]
    lacks = (
        f'session {mine[0].number} has no disk of it (LUN {path.lun}): does '
        'its target still export it?'
        if mine
        else 'no session'
    )
    active = one.server.vm_state == 'active'
    severity, seen = (
        (
            findings.NOTE,
            f'the server is {one.server.vm_state}: nova makes one when it '
            'starts it',
        )
        if not active
        else (
            findings.STALE,
            'the server is active, and its guest does not run: its start '
            'makes one',
        )
        if facts.guest_off(host.said[0], one.server.uuid)
        else (findings.DANGER, 'the server is active, without this disk')
    )
    yield Finding(
        LOST,
        severity,
        f'volume:{one.volume}',
        f'{lacks}; {seen}',
        fix=program.call(f'server reboot {one.server.uuid}') if active else '',
        label=one.volume,
        host=host.name,
        volume=one.volume,
        server=one.server.uuid,
        more={
            'target': path.target,
            'portal': path.portal,
            'server': one.server.name or one.server.uuid,
        },
    )


_OFFERED: Columns = (
    ('Target', lambda one: one.label),
    ('Portal', findings.more('portal')),
    ('Volume', lambda one: one.volume),
    ('Session', findings.more('session')),
)


def discover(cloud: Cloud, name: str, portal: str) -> Assessment:
    """What a portal offers to a host.

    :raises ChangeFailed: the host, or the portal, doesn't answer
    """
    (host,) = reached.read(
        cloud,
        [name],
        ('iscsi list', {}),
        ('iscsi discover', {'portal': portal}),
    )
    if host.problem:
        raise ChangeFailed(f'{name}: {host.problem}')
    there, offered = host.said
    numbers = {
        (row['target'], row['portal']): row['session']
        for row in there['sessions']
    }
    made = tuple(
        Finding(
            'ISCSI-TARGET',
            findings.GOOD,
            f'target:{row["target"]}',
            'offered',
            label=row['target'],
            host=name,
            volume=facts.volume_of(row['target']) or '',
            more={
                'portal': row['portal'],
                'session': numbers.get((row['target'], row['portal']), ''),
            },
        )
        for row in offered['targets']
    )
    line = f'{portal} offers {len(made)} targets to {name}.'
    return Assessment(host, made, _OFFERED, (line,))
