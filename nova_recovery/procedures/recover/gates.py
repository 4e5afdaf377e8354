# SPDX-License-Identifier: Apache-2.0

"""What must hold before a recovery may begin.

Pure functions of the situation and of what is planned. Unknown refuses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
import datetime

from nova_recovery.cloud import claims
from nova_recovery.engine.plan import Gate
from nova_recovery.procedures.recover import server_gates, targets
from nova_recovery.procedures.recover.situation import Host, Request, Situation
from nova_recovery.procedures.recover.targets import Assignment

OK, REFUSED, UNKNOWN = 'ok', 'refused', 'unknown'


def check(
    request: Request,
    found: Situation,
    assigned: Iterable[Assignment],
    to_fence: Collection[str],
) -> tuple[Gate, ...]:
    """All gates: of the cloud, the dead hosts, the targets, the servers.

    :param to_fence: hosts that will be turned off before anything else
    """
    assigned = list(assigned)
    gates = [*_cloud(found)]
    for name in request.hosts:
        gates.extend(_source(found.hosts[name], name in to_fence, found))
    gates.extend(_many_dead(request, found))
    for name in sorted({a.target for a in assigned if a.target}):
        gates.extend(_target(name, request, found, assigned))
    gates.extend(server_gates.check(assigned, request, found))
    return tuple(gates)


def _cloud(found: Situation) -> Iterator[Gate]:
    if found.unreachable:
        why = '; '.join(_once_each(found.unreachable))
        yield Gate(
            'apis-reachable',
            '',
            'hard',
            UNKNOWN,
            why,
            'the plan can be read without them, but not carried out',
        )
    else:
        versions = ', '.join(f'{k} {v}' for k, v in found.apis.items())
        yield Gate('apis-reachable', '', 'hard', OK, versions)
    if not found.modern:
        yield Gate(
            'schema-modern',
            '',
            'hard',
            REFUSED,
            'these databases are older than cells and placement',
            'print the statements with --sql and run them by hand',
        )
    for cell, why in found.unknown_cells.items():
        yield Gate('cell-known', cell, 'advice', UNKNOWN, why)


def _once_each(unreachable: dict[str, str]) -> Iterator[str]:
    """``nova, cinder: why``: without Keystone all have the same reason."""
    for why in dict.fromkeys(unreachable.values()):
        names = [name for name, reason in unreachable.items() if reason == why]
        # Each API begins its own words with its name.
        yield f'{", ".join(names)}: {why.removeprefix(f"{names[0]}: ")}'


def _source(host: Host, to_fence: bool, found: Situation) -> Iterator[Gate]:
    yield _silent(host, found)
    yield _fenced(host, to_fence)
    holder = claims.holder(host.disabled_reason)
    if holder:
        yield Gate(
            'source-unclaimed',
            host.name,
            'soft',
            REFUSED,
            f'claimed: {holder}',
            'go on with that run (run resume), or take it over where its '
            'controller is lost (run take over). An override is only for a '
            'run whose journal is lost as well and that nothing carries out',
        )


def _silent(host: Host, found: Situation) -> Gate:
    """The report count tells; a heartbeat's age depends on two clocks."""
    last = ''
    if host.heartbeat_age is not None:
        last = f'; last heartbeat {age(host.heartbeat_age)}'
    if not host.silent:
        return Gate(
            'source-silent',
            host.name,
            'hard',
            REFUSED,
            f'its nova-compute is alive: report count {host.reports[0]} -> '
            f'{host.reports[1]} within {host.apart:.0f} s{last}',
            'stop nova-compute there first, or use openstack server migrate',
        )
    if host.apart < found.reports_apart:
        return Gate(
            'source-silent',
            host.name,
            'hard',
            UNKNOWN,
            f'watched for only {host.apart:.0f} s',
        )
    return Gate(
        'source-silent',
        host.name,
        'hard',
        OK,
        f'report count stood still at {host.reports[1]} for '
        f'{host.apart:.0f} s{last}',
    )


def age(seconds: float) -> str:
    """A heartbeat's age in words, by the clock of the database."""
    span = datetime.timedelta(seconds=round(seconds))
    if span < datetime.timedelta():
        return f'{-span} in the future: some clock is wrong'
    return f'{span} ago'


def _fenced(host: Host, to_fence: bool) -> Gate:
    if host.fence == 'off':
        return Gate('source-fenced', host.name, 'soft', OK, host.fence_detail)
    if host.fence == 'on' and to_fence:
        return Gate(
            'source-fenced',
            host.name,
            'soft',
            OK,
            'on; will be turned off by the fencing driver',
        )
    if host.fence == 'on':
        return Gate(
            'source-fenced',
            host.name,
            'hard',
            REFUSED,
            host.fence_detail,
            'turn it off, or let --fence do it: its guests may still run',
        )
    return Gate(
        'source-fenced',
        host.name,
        'soft',
        UNKNOWN,
        host.fence_detail,
        'a silent nova-compute proves nothing about the guests beside it. '
        'Turn the host off and say so with --fenced "HOW", or configure '
        '[fencing]',
    )


def _many_dead(request: Request, found: Situation) -> Iterator[Gate]:
    """Many silent computes are a broken message bus, not dead hosts."""
    for cell in sorted({found.hosts[name].cell for name in request.hosts}):
        hosts = [h for h in found.hosts.values() if h.cell == cell]
        # A host that somebody took out of service is known to be dead.
        dead = sorted(
            host.name
            for host in hosts
            if host.silent
            and (
                host.name in request.hosts
                or not (host.disabled or host.forced_down)
            )
        )
        words = f'{len(dead)} of {len(hosts)} computes are silent'
        if len(dead) > max(1.0, len(hosts) / 5):
            yield Gate(
                'cell-alive',
                cell,
                'soft',
                REFUSED,
                f'{words}: {", ".join(dead[:10])}',
                'more than a fifth: look at the message bus, the conductor '
                'and the database of the cell first',
            )
        else:
            yield Gate('cell-alive', cell, 'soft', OK, words)


def _target(
    name: str, request: Request, found: Situation, assigned: list[Assignment]
) -> Iterator[Gate]:
    host = found.hosts.get(name)
    if host is None:
        yield Gate(
            'target-ready', name, 'hard', REFUSED, 'nova has no such host'
        )
        return
    against = list(targets.unready(host, request))
    if against:
        yield Gate(
            'target-ready',
            name,
            'hard',
            REFUSED,
            '; '.join(against),
            'choose another with --target-host or --target-for',
        )
    elif host.api_state is None:
        yield Gate('target-ready', name, 'hard', UNKNOWN, 'nova was not asked')
    else:
        yield Gate('target-ready', name, 'hard', OK, 'up and enabled')
    yield _capacity(host, assigned)


def _capacity(host: Host, assigned: list[Assignment]) -> Gate:
    wanted: dict[str, int] = {}
    for one in assigned:
        if one.target == host.name:
            for name, amount in targets.needs(one.server).items():
                wanted[name] = wanted.get(name, 0) + amount
    if host.free is None:
        return Gate(
            'capacity', host.name, 'hard', UNKNOWN, 'placement was not asked'
        )
    free = host.free
    words = (
        f'needs {targets.resources(wanted)}; free '
        f'{targets.resources({k: free.get(k, 0) for k in wanted})}'
    )
    short = [k for k, v in wanted.items() if free.get(k, 0) < v]
    if short:
        return Gate(
            'capacity',
            host.name,
            'hard',
            REFUSED,
            f'{words}: not enough {", ".join(sorted(short))}',
            'spread the servers with --target-for, or leave some out with '
            '--exclude',
        )
    return Gate('capacity', host.name, 'hard', OK, words)
