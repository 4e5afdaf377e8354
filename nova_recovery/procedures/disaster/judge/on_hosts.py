# SPDX-License-Identifier: Apache-2.0

"""What hosts have, beside what nova and cinder say that they have.

Hosts tell it in snapshot files of their own (``snapshot create --local``).
A file from before the outage tells nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
import re

from oslo_utils import uuidutils

from nova_recovery import program
from nova_recovery.engine.findings import DANGER, Finding, NOTE, STALE
from nova_recovery.procedures.disaster.judge import alive
from nova_recovery.procedures.disaster.judge.wanted import Answer
from nova_recovery.procedures.disaster.look.hosts import Domain, Host
from nova_recovery.procedures.disaster.situation import Server, Situation

_TELL = 'snapshot create --local --no-api'

#: What differs each time that rules are written out: counters, handles,
#: the time.
_VOLATILE = re.compile(
    r'\[\d+:\d+\]|counter packets \d+ bytes \d+|-c \d+ \d+|# handle \d+'
)

#: How many lines of rules are quoted.
QUOTED = 1


#: Said better by whoever compares all hosts with each other.
_GUESTS = frozenset({'DOM-TWICE', 'DOM-LEFT'})


def findings(found: Situation, answer: Answer) -> Iterator[Finding]:
    """What differs between a host, nova and cinder.

    What hosts told when they were asked themselves is not told twice.
    """
    told = {
        (one.host, about)
        for one in found.of_hosts
        for about in (one.code, one.server, one.volume)
        if about
    }
    for one in _findings(found, answer):
        if not (
            (one.code == 'HOST-UNSEEN' and (one.host, 'HOST-UNKNOWN') in told)
            or (one.code in _GUESTS and (one.host, one.server) in told)
            or (one.code == 'SES-GONE' and (one.host, one.volume) in told)
        ):
            yield one


def _findings(found: Situation, answer: Answer) -> Iterator[Finding]:
    if not (found.hosts_now or found.of_hosts):
        return
    up = {
        one.uuid
        for one in answer.servers
        if alive.judge(found, one.server).state == alive.UP
    }
    wanted_ones = {one.uuid for one in answer.servers}
    for name in sorted(found.computes):
        told = found.hosts_now.get(name)
        if told is None:
            yield _of(
                name,
                'HOST-UNSEEN',
                NOTE,
                'no file tells of it',
                program.call(_TELL),
            )
        elif alive.older(found, told):
            yield _of(
                name,
                'HOST-OLD',
                STALE,
                f'its file was made {told.taken_at}, before the power went: '
                'it is not used',
                program.call(_TELL),
            )
        else:
            before = found.hosts_before.get(name)
            if before is not None:
                yield from _sessions(found, before, told, wanted_ones, up)
                yield from _rules(found, before, told)
            yield from _domains(found, told, wanted_ones)


def _sessions(
    found: Situation,
    before: Host,
    now: Host,
    wanted_ones: set[str],
    up: set[str],
) -> Iterator[Finding]:
    if before.sessions is None:
        return
    if now.sessions is None:
        yield _of(
            now.name,
            'SES-UNKNOWN',
            STALE,
            'its file does not tell its iSCSI sessions',
            program.call(_TELL),
        )
        return
    there = {session.key for session in now.sessions}
    for session in before.sessions:
        if session.key in there:
            continue
        server = found.servers.get(session.server or '')
        fix, severity = '', STALE
        if server is None:
            why, severity = 'nothing in scope uses it now', NOTE
        elif server.host != now.name:
            why, severity = f'its server is on {server.host} now', NOTE
        elif server.uuid in up:
            why = 'its server runs without it'
            fix = program.call(f'server reboot {server.uuid}')
        elif server.uuid in wanted_ones:
            why, severity = 'the start of its server makes it again', NOTE
        else:
            why, severity = 'its server is to stay off', NOTE
        yield Finding(
            'SES-GONE',
            severity,
            f'session:{session.target}@{session.portal}',
            f'{now.name} had it'
            f'{f", lun {session.lun}" if session.lun is not None else ""}'
            f'{f", volume {session.volume}" if session.volume else ""}; '
            f'{why}',
            label=server.name if server else '',
            project=server.project if server else '',
            host=now.name,
            fix=fix,
            server=server.uuid if server else '',
            volume=session.volume or '',
        )


def _rules(found: Situation, before: Host, now: Host) -> Iterator[Finding]:
    if before.rules is None or not now.in_files:
        return
    if now.rules is None:
        yield _of(
            now.name,
            'RULES-UNKNOWN',
            STALE,
            'its file does not tell its packet filter',
            program.call(_TELL),
        )
        return
    agent = found.agents.get(now.name)
    for tool, text in before.rules.items():
        there = set(_lines(now.rules.get(tool, '')))
        missing = [line for line in _lines(text) if line not in there]
        if missing:
            quoted = '; '.join(missing[:QUOTED])
            yield Finding(
                'RULES-GONE',
                STALE,
                f'rules:{now.name}:{tool}',
                f'{len(missing)} rules were not made again, such as: '
                f'{quoted}; those of guests come with them, the rest with '
                'the L2 agent of the host',
                label=tool,
                host=now.name,
                fix=f'systemctl restart {agent}' if agent else '',
            )


def _lines(text: str) -> list[str]:
    """The rules in a dump, without what differs each time."""
    plain = (_VOLATILE.sub('', line).strip() for line in text.splitlines())
    return [
        ' '.join(line.split())
        for line in dict.fromkeys(plain)
        if line and not line.startswith('#') and line not in ('COMMIT', '}')
    ]


def _domains(
    found: Situation, told: Host, wanted_ones: set[str]
) -> Iterator[Finding]:
    if told.domains is None:
        if not told.in_files:
            # LIBVIRT-SILENT
            return
        yield _of(
            told.name,
            'DOM-UNKNOWN',
            STALE,
            'its file does not tell its guests',
            program.call(_TELL),
        )
        return
    mapped: dict[str, set[str]] = {}
    for mapping in found.volumes.mappings if found.volumes else ():
        mapped.setdefault(mapping.server, set()).add(mapping.volume)
    deleted = {one.uuid for one in found.gone if one.deleted}
    for uuid, domain in told.domains.items():
        server = found.servers.get(uuid)
        if not domain.runs:
            continue
        if server is None:
            if uuid in deleted:
                yield Finding(
                    'DOM-LEFT',
                    STALE,
                    f'server:{uuid}',
                    f'{told.name} runs it, although it was deleted',
                    label=domain.name,
                    host=told.name,
                    server=uuid,
                )
            continue
        if server.host != told.name:
            if server.task_state != 'migrating':
                yield of_server(
                    server,
                    'DOM-TWICE',
                    DANGER,
                    f'{told.name} runs it, and nova has it on '
                    f'{server.host or "no host"}: started there, it would '
                    'run twice on the same disks',
                    host=told.name,
                )
            continue
        if uuid not in wanted_ones:
            yield of_server(
                server,
                'DOM-UNASKED',
                STALE,
                f'{told.name} runs it, and for nova it is '
                f"{server.vm_state}: nova's power sync stops it",
                host=told.name,
            )
        if found.volumes is not None and not server.task_state:
            yield from _disks(found, server, domain, mapped.get(uuid, set()))


def _disks(
    found: Situation, server: Server, domain: Domain, mapped: set[str]
) -> Iterator[Finding]:
    """The disks of a guest that runs, beside nova's mappings."""
    for volume in sorted(mapped - domain.disks):
        yield of_server(
            server,
            'DISK-MISSING',
            DANGER,
            f'nova maps volume {volume}, and its guest runs without it',
            program.call(f'server reboot {server.uuid}'),
            volume=volume,
        )
    for serial in sorted(domain.disks - mapped):
        if not uuidutils.is_uuid_like(serial):
            continue
        known = found.volumes.volumes.get(serial) if found.volumes else None
        others = sorted(
            {a.server for a in known.attachments if a.server} - {server.uuid}
            if known
            else ()
        )
        yield of_server(
            server,
            'DISK-CROSSED' if others else 'DISK-EXTRA',
            DANGER,
            f'its guest has volume {serial}, which nova does not map to it'
            + (
                f'; cinder has it attached to {", ".join(others)}'
                if others
                else ''
            ),
            volume=serial,
        )


def _of(host: str, code: str, severity: str, cause: str, fix: str) -> Finding:
    return Finding(
        code, severity, f'host:{host}', cause, label=host, host=host, fix=fix
    )


def of_server(
    server: Server,
    code: str,
    severity: str,
    cause: str,
    fix: str = '',
    host: str | None = None,
    volume: str = '',
) -> Finding:
    """A finding about a server.

    :param host: where it was found; None: where the server is
    """
    return Finding(
        code,
        severity,
        f'server:{server.uuid}',
        cause,
        label=server.name,
        project=server.project,
        host=(server.host or '') if host is None else host,
        fix=fix,
        server=server.uuid,
        volume=volume,
    )
