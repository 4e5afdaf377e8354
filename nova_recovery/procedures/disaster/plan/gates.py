# SPDX-License-Identifier: Apache-2.0

"""What must hold before the first step.

Whether the site is ready for guests is no gate of the plan: it may be made
while hosts are still off, and is asked before the steps (``before``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
import datetime

from nova_recovery import program, readiness
from nova_recovery.cloud import records
from nova_recovery.engine.findings import Finding
from nova_recovery.engine.plan import Gate
from nova_recovery.procedures import gates as common_gates
from nova_recovery.procedures import whereabouts
from nova_recovery.procedures.disaster import situation
from nova_recovery.procedures.disaster.request import Request
from nova_recovery.procedures.disaster.situation import Found, Situation
from nova_recovery.readiness import age
from nova_recovery.report import wording

#: Of clouds from before Queens, asked again when step 2 begins.
HOSTS_OFF = 'hosts-off'


def gates(
    request: Request,
    found: Found,
    servers: Collection[str],
    touched: frozenset[str],
    dump: str = '',
    starts: Collection[str] = (),
) -> Iterator[Gate]:
    """What must hold.

    :param servers: UUIDs of those that something is (still) done to
    :param touched: subjects that the run has begun with
    :param dump: the checksum of the dump when the plan was made; '' when it
        is being made
    :param starts: UUIDs of those that are (still) to be started: what is
        claimed only is touched, and may have gone elsewhere since
    """
    if found.legacy is None:
        yield _apis(found)
    else:
        yield from _hosts_off(found.situation, found.legacy.servers)
    yield from _cells(found.situation)
    yield from _volumes_known(found)
    yield from _snapshot(found)
    yield from _age(found)
    if not touched:
        yield _dump(found, dump)
    yield from _storage(found.situation)
    yield from _hosts_sound(found.told)
    encrypted = _encrypted(found.situation)
    for uuid in servers:
        untouched = f'server:{uuid}' not in touched
        if untouched:
            yield from _server(found, uuid)
        if (untouched or uuid in starts) and uuid in found.places:
            yield from whereabouts.gates(
                found.places[uuid], uuid, found.situation.name(uuid)
            )
        if uuid in starts and uuid in encrypted:
            yield from common_gates.keys_readable(
                uuid,
                found.situation.name(uuid),
                found.situation.servers[uuid].host,
                encrypted[uuid],
            )


def _apis(found: Found) -> Gate:
    return common_gates.apis_reachable(
        found.versions,
        found.unreachable,
        'what is missing is told by\n'
        + program.call('disaster assess --ready'),
    )


def _hosts_off(here: Situation, servers: Collection[str]) -> Iterator[Gate]:
    """Whether the guests whose volumes become available are off.

    On old clouds no guest is asked: a host that reports may not have lost
    its power at all.

    :param servers: UUIDs of the servers whose volumes are reset
    """
    hosts = {
        server.host
        for uuid in servers
        if (server := here.servers.get(uuid)) is not None and server.host
    }
    for host in sorted(hosts):
        state = here.compute(host)
        if state in situation.NOT_UP:
            continue
        up = state == records.UP
        yield Gate(
            HOSTS_OFF,
            host,
            'soft',
            'refused' if up else 'unknown',
            ('its nova-compute is up' if up else 'it is not known to be off')
            + ': guests may run there, and volumes of its servers would '
            'become available to others',
            'stop nova-compute and all guests there, leave it out with '
            '--skip-host HOST=REASON, or override if no guest runs there',
        )


def _hosts_sound(told: Sequence[Finding] | None) -> Iterator[Gate]:
    """Whether anything on the hosts is in the way, where they were asked."""
    by_subject: dict[str, list[Finding]] = {}
    for one in readiness.red(told or ()):
        by_subject.setdefault(one.subject, []).append(one)
    for subject, some in by_subject.items():
        dangers = [o for o in some if o.severity != readiness.UNKNOWN]
        fixes = dict.fromkeys(one.fix for one in some if one.fix)
        yield Gate(
            'hosts-sound',
            subject,
            'soft',
            'refused' if dangers else 'unknown',
            '; '.join(one.cause for one in some),
            '\n'.join(
                (
                    'mend that, or leave the host out with '
                    '--skip-host HOST=REASON:',
                    *fixes,
                )
            ),
        )
    if told and not by_subject:
        yield Gate('hosts-sound', '', 'soft', 'ok', told[-1].cause)


def _cells(here: Situation) -> Iterator[Gate]:
    for cell, why in sorted(here.silent.items()):
        yield Gate(
            'cells-read',
            cell,
            'hard',
            'unknown',
            f'what ran there is not known: {why}',
            'bring its database back first, or leave it out: name the other '
            'cells with --cell',
        )
    for cell in here.disabled:
        yield Gate(
            'cells-read',
            cell,
            'soft',
            'unknown',
            'it is disabled and was not read: a server of it may have a '
            'volume that looks stale',
            'enable the cell, or override if it has no servers',
        )


def _volumes_known(found: Found) -> Iterator[Gate]:
    here = found.situation
    if here.volumes is None and found.legacy is None and here.servers:
        yield Gate(
            'volumes-known',
            '',
            'hard',
            'unknown',
            f'nothing is known of volumes: {here.no_volumes}',
            'a reboot makes nova forget volumes that cinder does not hold',
        )


def _snapshot(found: Found) -> Iterator[Gate]:
    here = found.situation
    recorded = here.recorded
    if recorded is None:
        yield Gate(
            'snapshot-given',
            '',
            'advice',
            'refused',
            'there is no snapshot from before: what ran is told by the '
            'databases alone, and what nova forgot since by nothing',
            'give one with --snapshot',
        )
        return
    name = recorded.path
    if recorded.foreign:
        yield Gate(
            'snapshot-ours',
            '',
            'soft',
            'refused',
            f'{name} was taken of another cloud: '
            f'{", ".join(sorted(recorded.cloud))}',
            'take one of this cloud with --snapshot; override it only if the '
            'cells were mapped anew since',
        )
    if found.holes:
        yield Gate(
            'snapshot-whole',
            '',
            'soft',
            'refused',
            f'{name}: it has holes: {"; ".join(found.holes[:3])}',
            'take an older one that is whole with --snapshot',
        )
    else:
        yield Gate(
            'snapshot-whole', '', 'soft', 'ok', f'{name}: nothing is missing'
        )
    taken = recorded.taken_at
    # where only the snapshot tells when it was, it can't be too late
    at = here.outage.at if here.outage.how != 'snapshot' else None
    late = recorded.why_dark
    within = datetime.timedelta(seconds=here.outage.within)
    if not late and at and taken and taken > at + within:
        late = (
            f'it was taken at {wording.stamp(taken)}, and the power was lost '
            f'at {wording.stamp(at)}'
        )
    if late:
        yield Gate(
            'snapshot-older',
            '',
            'soft',
            'refused',
            f'{late}: it tells what was left, not what was',
            'take one from before with --snapshot',
        )
    elif at and taken:
        yield Gate(
            'snapshot-older',
            '',
            'soft',
            'ok',
            f'taken {_span((at - taken).total_seconds())} before the outage'
            if taken <= at
            else 'taken before the next heartbeat was due',
        )


def _age(found: Found) -> Iterator[Gate]:
    if found.age is None:
        return
    red = readiness.red(found.age)
    for row in red:
        if row.more.get(age.FORGETS):
            yield row.gate('database-not-older', row.subject, 'soft')
        else:
            yield row.gate('database-not-older', row.subject)
    if not red:
        yield Gate(
            'database-not-older',
            '',
            'hard',
            'ok',
            'no database is older than the snapshot',
        )


def _dump(found: Found, planned: str) -> Gate:
    """Whether there is a way back that isn't ours."""
    dump, outage = found.dump, found.situation.outage
    how = (
        'dump the databases now, and name the file: --dump FILE (a snapshot '
        'is no dump)'
    )

    def refused(observed: str, state: str = 'refused') -> Gate:
        return Gate('dump-named', '', 'soft', state, observed, how)

    if dump is None:
        return refused('no dump of the databases is named')
    if dump.problem or dump.modified is None:
        return refused(f"{dump.path}: can't be read: {dump.problem}")
    if not dump.size:
        return refused(f'{dump.path}: it is empty')
    if planned and planned != dump.sha256:
        return refused(
            f'{dump.path}: it is not the one that the plan was made with '
            f'(sha256 {dump.sha256[:12]}…)'
        )
    if outage.at is None:
        return refused(
            f'{dump.path}: when the power was lost is not known, nor whether '
            'it is younger',
            'unknown',
        )
    if dump.modified < outage.at:
        return refused(
            f'{dump.path}: written at {wording.stamp(dump.modified)}, '
            f'before the outage at {wording.stamp(outage.at)}'
        )
    return Gate(
        'dump-named',
        '',
        'soft',
        'ok',
        f'{dump.path}, {dump.size} bytes, sha256 {dump.sha256[:12]}…',
    )


def _storage(here: Situation) -> Iterator[Gate]:
    """What cinder mends itself when it starts is not seen before."""
    down = sorted(
        service.host
        for service in here.services
        if service.binary == 'cinder-volume'
        and not service.disabled
        and service.state != records.UP
    )
    if down:
        yield Gate(
            'storage-up',
            '',
            'advice',
            'refused',
            f'cinder-volume is not up: {", ".join(down[:5])}',
            'what it does to its volumes when it starts is not seen yet: '
            'start it, wait two minutes, and plan again',
        )


def _server(found: Found, uuid: str) -> Iterator[Gate]:
    name = found.situation.name(uuid)
    yield from common_gates.nobody_else(
        uuid, name, found.holders, found.movers
    )
    if uuid in found.migrating:
        yield Gate(
            'no-migration',
            name,
            'hard',
            'refused',
            f'its {found.migrating[uuid]} has no end',
            'see it through first, or make a new plan, which leaves it out',
        )


def _encrypted(here: Situation) -> dict[str, list[str]]:
    """Server -> its encrypted volumes."""
    found: dict[str, list[str]] = {}
    for mapping in here.volumes.mappings if here.volumes else ():
        if mapping.encrypted and mapping.server in here.servers:
            found.setdefault(mapping.server, []).append(mapping.volume)
    return {server: sorted(set(some)) for server, some in found.items()}


def _span(seconds: float) -> str:
    if seconds < 120:
        return f'{seconds:.0f} s'
    if seconds < 7200:
        return f'{seconds / 60:.0f} min'
    return f'{seconds / 3600:.0f} h'
