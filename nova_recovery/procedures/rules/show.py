# SPDX-License-Identifier: Apache-2.0

"""How the rules of hosts differ from what was saved of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
import dataclasses
import shlex
from typing import TYPE_CHECKING

from nova_recovery import program
from nova_recovery.engine import findings
from nova_recovery.engine.findings import Assessment, Columns, Finding
from nova_recovery.host import packet_filter
from nova_recovery.host.agent.rules import chains
from nova_recovery.procedures import reached
from nova_recovery.procedures.reached import Reached
from nova_recovery.procedures.rules import saved
from nova_recovery.procedures.rules.saved import Host, Saved
from nova_recovery.report import wording

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

_COLUMNS: Columns = (
    *findings.OF_HOST,
    ('Chain', findings.more('chain')),
    ('Seen', lambda one: one.cause),
    ('Difference', findings.more('difference')),
    ('To do', lambda one: one.fix),
)


def assess(cloud: Cloud, names: Collection[str], path: str) -> Assessment:
    """Compare hosts with a file.

    :param names: exact names; none: all that the file has
    :raises RecoveryError: the file can't be read
    """
    known = saved.load(path)
    names = names or list(known.hosts)
    return judge(known, reached.read(cloud, names, ('rules list', {})))


def judge(known: Saved, hosts: Sequence[Reached]) -> Assessment:
    """All that differs of each host, or that nothing does."""
    made: list[Finding] = []
    left = 0
    for host in hosts:
        own = list(_of_host(known, host))
        made += own or [_one(host, 'RULES-SAME', findings.GOOD, 'as saved')]
        if not host.problem:
            left += sum(map(chains.others, saved.of(host).chains))
    made.sort(key=lambda one: findings.SEVERITIES.index(one.severity))
    result = Assessment(known, tuple(made), _COLUMNS)
    told = findings.counted(
        {k: n for k, n in result.counts.items() if k != findings.GOOD}
    )
    lines = [
        f'{wording.count(len(hosts), "host")}, saved at {known.saved_at}: '
        f'{told or "nothing differs"}.'
    ]
    if left:
        lines.append(
            f'{wording.count(left, "chain")} of others (neutron, libvirt, …) '
            'not compared.'
        )
    return dataclasses.replace(result, summary=tuple(lines))


def _one(
    host: Reached,
    code: str,
    severity: str,
    cause: str,
    chain: str = '',
    difference: Sequence[str] = (),
    fix: str = '',
) -> Finding:
    return reached.finding(
        host,
        code,
        severity,
        cause,
        chain,
        fix=fix,
        more={'chain': chain, 'difference': '\n'.join(difference)},
    )


def _of_host(known: Saved, host: Reached) -> Iterator[Finding]:
    if host.problem:
        yield reached.unknown(host)
        return
    before = known.hosts.get(host.name)
    now = saved.of(host)
    problem = (
        f'{known.path} has nothing of it'
        if before is None
        else 'another machine than when its rules were saved'
        if before.machine_id != now.machine_id
        else ''
    )
    if before is None or problem:
        yield _one(host, 'RULES-UNKNOWN', findings.UNKNOWN, problem)
        return
    for tool, why in {**before.why, **now.why}.items():
        yield _one(
            host, 'RULES-UNKNOWN', findings.UNKNOWN, f'{tool} says: {why}'
        )
    for name in sorted({*before.chains, *now.chains}):
        if not (chains.others(name) or before.lacks(name) or now.lacks(name)):
            yield from _chain(known, host, before, now, name)


def _chain(
    known: Saved, host: Reached, before: Host, now: Host, name: str
) -> Iterator[Finding]:
    was = chains.own(chains.of(dict(before.chains), name))
    there = chains.own(chains.of(dict(now.chains), name))
    difference = packet_filter.difference(was, there)
    if not difference:
        return
    gone = sum(line[0] == '-' for line in difference)
    words = shlex.join([host.name, '--file', known.path, '--chain', name])
    code, severity, seen = (
        # by its hook it may drop all that the others let pass
        ('RULES-NEW', findings.STALE, 'it was not there')
        if was is None
        else ('RULES-LOST', findings.STALE, 'it is gone')
        if there is None
        else (
            'RULES-DIFFER',
            findings.STALE,
            f'{gone} lost, {len(difference) - gone} new',
        )
    )
    yield _one(
        host,
        code,
        severity,
        seen,
        name,
        difference,
        program.call(f'host rules restore {words} --dry-run'),
    )
