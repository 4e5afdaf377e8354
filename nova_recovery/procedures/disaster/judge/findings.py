# SPDX-License-Identifier: Apache-2.0

"""What the power loss did, each thing with a cause and one safe fix.

Pure functions over what was and what is.
"""

from __future__ import annotations

import collections
from collections.abc import Collection, Iterable, Iterator
import dataclasses

from nova_recovery import program
from nova_recovery.cloud import records, tasks
from nova_recovery.engine.findings import (
    DANGER,
    Finding,
    NOTE,
    SEVERITIES,
    STALE,
)
from nova_recovery.procedures.disaster.judge import alive, on_hosts
from nova_recovery.procedures.disaster.judge.alive import Judgement
from nova_recovery.procedures.disaster.judge.on_hosts import of_server
from nova_recovery.procedures.disaster.judge.wanted import Answer, Wanted
from nova_recovery.procedures.disaster.situation import Situation
from nova_recovery.procedures.volumes import policy

#: The code of a server that is to run and does not.
DOWN = 'SRV-DOWN'


def findings(found: Situation, answer: Answer) -> list[Finding]:
    """Everything that is not as it was, or not as it should be.

    :param answer: what ``wanted.wanted`` says of the situation
    """
    wanted = [*_wanted(found, answer)]
    down = {one.server for one in wanted if one.code == DOWN}
    return _safe(
        [
            *_site(found),
            *wanted,
            *_left(found, answer),
            *_gone(found),
            *_volumes(found),
            *_lost_mappings(found),
            *on_hosts.findings(found, answer),
            *_told(found, down),
        ]
    )


def _told(found: Situation, down: Collection[str]) -> Iterator[Finding]:
    """What hosts told when they were asked, with what is to be done."""
    for one in found.of_hosts:
        if one.code == 'GUEST-OFF' and one.server in down:
            continue
        if one.expected and not one.fix:
            one = dataclasses.replace(
                one, cause=f'{one.cause}; to do: {one.expected}'
            )
        server = found.servers.get(one.server)
        yield dataclasses.replace(
            one, project=server.project if server else ''
        )


def _safe(some: list[Finding]) -> list[Finding]:
    """Without a reboot of what first needs something else."""
    dangers: dict[str, set[str]] = {}
    for one in some:
        if one.server and one.severity == DANGER:
            dangers.setdefault(one.server, set()).add(one.code)
    return [
        dataclasses.replace(one, fix='')
        if one.fix.startswith(program.call('server reboot'))
        and dangers.get(one.server, set()) - {one.code}
        else one
        for one in some
    ]


def _wanted(found: Situation, answer: Answer) -> Iterator[Finding]:
    unproven: dict[str, int] = collections.Counter()
    for one in answer.servers:
        server = one.server
        judged = alive.judge(found, server)
        if judged.state in (alive.DOWN, alive.STARTING):
            yield _down(found, one, judged)
        elif judged.state == alive.UNPROVEN:
            unproven[server.host or ''] += 1
        if server.task_state and judged.state != alive.STARTING:
            yield of_server(
                server,
                'SRV-TASK',
                STALE,
                f'its task is {server.task_state}: '
                + (
                    'a nova-compute that starts takes that up in newer '
                    'releases (34), and leaves it for ever in others (27)'
                    if server.task_state in tasks.LEFT
                    else 'nova-compute takes that up or clears it when it '
                    'starts'
                ),
                fix=tasks.unstuck(server.uuid, server.name)
                if server.task_state in tasks.LEFT
                else program.call(f'server show {server.uuid}'),
            )
        if one.moved and server.before:
            yield of_server(
                server,
                'SRV-MOVED',
                NOTE,
                f'it is on {server.host}, and was on {server.before.host}',
            )
    for host, count in sorted(unproven.items()):
        yield Finding(
            'SRV-UNPROVEN',
            NOTE,
            f'host:{host}',
            f'nova says that servers run there ({count}), and nothing since '
            'the outage proves it',
            label=host,
            host=host,
            fix=program.call(f'disaster status --host {host}'),
        )


def _down(found: Situation, one: Wanted, judged: Judgement) -> Finding:
    server = one.server
    cause = one.why if judged.obvious else f'{one.why}; {judged.why}'
    sent = alive.brought_up(server)
    if sent is not None and str(sent.request_id) not in cause:
        cause += f'; {sent.action} since the outage ({sent.request_id})'
    fix = ''
    if sent is not None:
        # the guide: never a second time
        fix = f'openstack server event show {server.uuid} {sent.request_id}'
    elif found.compute(server.host) == records.UP and not server.task_state:
        fix = program.call(f'server reboot {server.uuid}')
    return of_server(server, DOWN, STALE, cause, fix)


def _left(found: Situation, answer: Answer) -> Iterator[Finding]:
    for uuid, why in answer.left.items():
        server = found.servers.get(uuid)
        if server is None:
            continue
        if uuid in answer.doubtful:
            yield of_server(
                server,
                'SRV-UNCLEAR',
                STALE,
                f'{why}: it is left alone',
                fix=f'openstack server event list {uuid}',
            )
        elif server.host in found.scope.skip_hosts:
            yield of_server(
                server,
                'SRV-SKIPPED',
                NOTE,
                why,
                fix=program.call(f'host recover {server.host}'),
            )
        else:
            yield of_server(
                server, 'SRV-OFF', NOTE, f'{why}: it stays as it is'
            )
    for uuid in sorted(found.new):
        yield of_server(
            found.servers[uuid], 'SRV-NEW', NOTE, 'the snapshot has no such'
        )


def _gone(found: Situation) -> Iterator[Finding]:
    for one in found.gone:
        code, severity = 'SRV-LOST', DANGER
        cause = (
            'nova has no record of it, not even a deleted one: the database '
            'is older than the snapshot, or was purged'
        )
        if one.host:
            code, severity = 'SRV-MOVED', NOTE
            cause = (
                f'it is on {one.host}, which is not asked for, and was on '
                f'{one.before.host}'
            )
        elif one.deleted:
            code, severity = 'SRV-GONE', NOTE
            cause = 'it was deleted since the snapshot'
        yield Finding(
            code,
            severity,
            f'server:{one.uuid}',
            cause,
            label=one.name,
            project=one.project,
            host=one.before.host or '',
            server=one.uuid,
        )


def _volumes(found: Situation) -> Iterator[Finding]:
    if found.volumes is None:
        yield Finding(
            'VOL-UNKNOWN',
            DANGER,
            'volumes',
            f'they were not compared: {found.no_volumes}',
            fix=program.call('config check'),
        )
        return
    for one in policy.findings(found.volumes):
        server = found.servers.get(one.server)
        of = f' (server {server.name or one.server})' if server else ''
        volume = found.volumes.volumes.get(one.volume)
        yield Finding(
            one.code,
            one.severity,
            f'volume:{one.volume}',
            f'{one.cause}{of}',
            label=volume.name if volume else '',
            project=(volume.project or '') if volume else '',
            host=(server.host or '') if server else '',
            fix=one.fix,
            server=one.server,
            volume=one.volume,
        )


def _lost_mappings(found: Situation) -> Iterator[Finding]:
    """Volumes that servers had by the snapshot, and nova maps no more."""
    if found.volumes is None or found.recorded is None:
        return
    mapped = {(m.server, m.volume) for m in found.volumes.mappings}
    for uuid, devices in found.devices.items():
        server = found.servers.get(uuid)
        if server is None or server.cell in found.silent:
            continue
        asked = {a.action for a in server.newest}
        for device in devices:
            if (uuid, device.volume) in mapped:
                continue
            if 'detach_volume' in asked and not device.root:
                # which volume it was of, nova does not write down
                continue
            there = device.volume in found.volumes.volumes
            yield Finding(
                'VOL-UNMAPPED',
                DANGER if device.root else STALE,
                f'volume:{device.volume}',
                (
                    f'server {server.name or uuid} had it as '
                    f'{device.device or "a disk"}, and nova maps it no more'
                    + ('; it booted from it' if device.root else '')
                    + ('' if there else '; cinder has no such volume')
                ),
                label=server.name,
                project=server.project,
                host=server.host or '',
                fix=program.call(f'volume attach {uuid} {device.volume}')
                if there and not device.root
                else '',
                server=uuid,
                volume=device.volume,
            )


def sort(some: Iterable[Finding]) -> list[Finding]:
    """The gravest first, what is about one thing together."""
    return sorted(
        some,
        key=lambda one: (
            SEVERITIES.index(one.severity),
            one.code,
            one.label,
            one.subject,
        ),
    )


def same(one: Finding) -> tuple[str, str, str, str]:
    """What makes it the same finding at a second look."""
    return one.code, one.subject, one.server, one.host


def _site(found: Situation) -> Iterator[Finding]:
    """What stands between the operator and the truth, or the servers."""
    yield from _snapshot(found)
    yield from _cells(found)
    yield from _services(found)


def _snapshot(found: Situation) -> Iterator[Finding]:
    recorded = found.recorded
    if recorded is None:
        more = (
            f'what nova stopped since {found.outage.at:%Y-%m-%dT%H:%M:%S}Z '
            'counts as having run'
            if found.outage.how == 'given'
            else 'what nova has stopped by itself can not be told from what '
            'its owner stopped (--since tells)'
        )
        yield Finding(
            'SNAP-NONE',
            NOTE,
            'snapshot',
            f'there is none: what ran is what the databases say; {more}',
        )
        return
    if recorded.foreign:
        yield Finding(
            'SNAP-FOREIGN',
            DANGER,
            'snapshot',
            'it was taken of another cloud: '
            f'{", ".join(sorted(recorded.cloud))}; all that is compared with '
            'it means nothing',
            label=recorded.path,
            fix=program.call('snapshot list'),
        )
    at, taken = found.outage.at, recorded.taken_at
    late = recorded.why_dark
    given = found.outage.how == 'given'
    if not late and given and at and taken and taken > at:
        late = f'it was taken {taken:%Y-%m-%dT%H:%M:%S}Z'
    if late:
        yield Finding(
            'SNAP-LATE',
            DANGER,
            'snapshot',
            f'{late}: after the power went. What nova has stopped before '
            'passes for stopped on purpose',
            label=recorded.path,
            fix=program.call('snapshot list'),
        )
    for cell in sorted(set(found.marks) - recorded.cells):
        yield Finding(
            'SNAP-PART',
            STALE,
            f'cell:{cell}',
            'the snapshot does not have its servers: of them, what ran is '
            'what the database says',
            label=cell,
        )


def _cells(found: Situation) -> Iterator[Finding]:
    for cell, why in found.silent.items():
        yield Finding(
            'CELL-SILENT',
            DANGER,
            f'cell:{cell}',
            f'its database does not answer ({why}): what ran there is not '
            'known, and not judged',
            label=cell,
            fix=program.call('config check'),
        )
    for cell in found.disabled:
        yield Finding(
            'CELL-DISABLED',
            NOTE,
            f'cell:{cell}',
            'it is disabled, and was not read',
            label=cell,
        )
    markers = found.recorded.markers if found.recorded else {}
    for cell, highest in found.highest.items():
        behind = [
            f'{table} {highest[table]} < {number}'
            for table, number in sorted(markers.get(cell, {}).items())
            if highest.get(table, number) < number
        ]
        if behind:
            yield Finding(
                'CELL-OLDER',
                DANGER,
                f'cell:{cell}',
                'its database is older than the snapshot: the highest ids '
                f'are lower than they were ({", ".join(behind)})',
                label=cell,
                fix=program.call('disaster assess --ready'),
            )


def _start(found: Situation, one: records.Service, compute: str) -> str:
    """What brings a service back that sends no heartbeat.

    One that runs and hangs is started by nothing: the host that was asked
    itself tells which it is.
    """
    told = found.hosts_now.get(compute)
    if told is not None and not told.in_files:
        return program.call(f'host service list {compute}')
    return f'systemctl start {one.binary}'


def _services(found: Situation) -> Iterator[Finding]:
    for one in (*found.computes.values(), *found.services):
        compute = one.host if one.host in found.computes else ''
        code = 'HOST' if one is found.computes.get(one.host) else 'SVC'
        subject = (
            f'host:{one.host}'
            if code == 'HOST'
            else f'service:{one.binary}@{one.host}'
        )
        seen = f'{one.last_seen:%Y-%m-%dT%H:%M:%S}Z' if one.last_seen else ''
        disabled = '; it is disabled' if one.disabled else ''
        skipped = found.scope.skip_hosts.get(compute, '')
        if one.state == records.FORCED_DOWN:
            yield Finding(
                'HOST-FORCED',
                NOTE,
                subject,
                'nova-compute was forced down by somebody: its servers may '
                'have been evacuated, and nothing is sent there',
                label=one.host,
                fix=program.call(f'server list --host {one.host}'),
            )
        elif one.state == records.DOWN:
            yield Finding(
                f'{code}-DOWN',
                NOTE if one.disabled or skipped else STALE,
                subject,
                f'{one.binary} sent no heartbeat since {seen or "ever"}'
                f'{disabled}{f"; skipped: {skipped}" if skipped else ""}',
                label=one.host,
                fix=_start(found, one, compute),
                host=compute,
            )
        elif one.state == records.UNKNOWN:
            yield Finding(
                f'{code}-CLOCK',
                STALE,
                subject,
                f'the last heartbeat of {one.binary} is of the future '
                f'({seen}): a clock is wrong, and whether it is up is not '
                'known',
                label=one.host,
                fix='chronyc tracking',
                host=compute,
            )
